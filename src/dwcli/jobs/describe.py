"""The metadata of many references: what one of them cannot show ends nothing for the others."""

from collections.abc import Callable, Iterable, Iterator

from dwcli.client import Client
from dwcli.dicomweb import refs
from dwcli.dicomweb.dicomjson import Row
from dwcli.dicomweb.refs import Ref
from dwcli.errors import AuthError, DwError, ExitCode, RefusedError, TemporaryError, TruncatedError

_NOWHERE = 501  # this server has no metadata at all


class Describing:
    """One run. `on_error` is told of each reference that shows nothing, and `codes` counts those; `shown` the others.

    A reference that is alone raises its error in place of that.
    """

    def __init__(self, client: Client, *, on_error: Callable[[DwError], None]) -> None:
        self._client = client
        self._on_error = on_error
        self.codes: list[ExitCode] = []
        self.shown = 0

    def rows(self, asked: Iterable[Ref]) -> Iterator[tuple[Ref, Row]]:
        """Each row with its reference, resolved. Raises AuthError, and what will fail for the others as well."""
        first: DwError | None = None
        for number, given in enumerate(asked):
            if first is not None:
                self._on_error(first)
                first = None
            try:
                ref = self._client.resolve(given)
                for row in self._client.metadata(ref):
                    yield ref, row
                self.shown += 1
            except DwError as error:
                error.message = f"{refs.show(given)}: {error.message}"
                if _ends_all(error):
                    raise
                self.codes.append(error.exit_code)
                if number:
                    self._on_error(error)
                else:
                    first = error
        if first is not None:
            raise first


def _ends_all(error: DwError) -> bool:
    if isinstance(error, RefusedError):
        return error.status == _NOWHERE
    return isinstance(error, AuthError | TemporaryError | TruncatedError)
