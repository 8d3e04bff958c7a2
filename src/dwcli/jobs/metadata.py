"""The metadata of many references, and the bulkdata that they name by URL: rows with files instead of the URLs."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dwcli.client import Client
from dwcli.dicomweb import refs
from dwcli.dicomweb.content import End
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.dicomweb.refs import Ref
from dwcli.dicomweb.request import rebase
from dwcli.errors import AuthError, DwError, ExitCode, RefusedError, TemporaryError, TruncatedError, UsageError
from dwcli.files.layout import Layout
from dwcli.files.spool import Spool
from dwcli.jobs import parts

_NOWHERE = 501  # this server has no metadata at all
_NAMED = Layout("{SOPInstanceUID}")


class Describing:
    """One run. `on_error` receives each reference that shows nothing, and `codes` counts those; `shown` the others.

    A single reference raises its error instead.
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
                named = error.worded(f"{refs.show(given)}: {error.message}")
                if _ends_all(error):
                    raise named from error
                self.codes.append(error.exit_code)
                if number:
                    self._on_error(named)
                else:
                    first = named
        if first is not None:
            raise first


def _ends_all(error: DwError) -> bool:
    if isinstance(error, RefusedError):
        return error.status == _NOWHERE
    return isinstance(error, AuthError | TemporaryError | TruncatedError)


class Fetching:
    """Fetches into `folder`, a folder for each instance and a file for each attribute: `1.2.3/7FE00010.bin`.

    Of several parts (the offset table and the fragments of compressed pixels) each gets a number, `7FE00010.1.bin`, and
    the row names them all in a list. What fails keeps its URL and is counted in `codes`. To be used in a `with`.
    """

    def __init__(
        self,
        client: Client,
        folder: Path,
        *,
        on_bytes: Callable[[int], None],
        on_error: Callable[[str], None],
        on_doubt: Callable[[str], None],
    ) -> None:
        self._client = client
        self._folder = folder
        self._on_error = on_error
        self._on_doubt = on_doubt
        try:
            self._spool = Spool(folder)
        except (FileExistsError, NotADirectoryError) as error:
            raise UsageError(f"{folder} is a file, not a folder", "--bulkdata DIR") from error
        except OSError as error:
            raise DwError(f"cannot write in {folder}: {error.strerror or error}", "--bulkdata DIR") from error
        self._receiver = parts.Receiver(client, self._spool, on_bytes=on_bytes)
        self.files = 0
        self.codes: list[ExitCode] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spool.close()

    def row(self, ref: Ref, row: Row, *, whole: Row | None = None) -> Row:
        """The row with every BulkDataURI a path here; `ref` is what its metadata was asked for.

        `whole`: all that the metadata say of the instance, where `row` is a part of it.
        """
        self._size = partial(parts.pixel_data_size, row if whole is None else whole)
        own = self._folder / _NAMED.relative({"SOPInstanceUID": text(row, refs.INSTANCE_UID)})
        return self._data_set(row, f"{self._client.base}/{refs.path(ref)}/metadata", own, "")

    def _data_set(self, row: Row, asked: str, own: Path, path: str) -> Row:
        return {tag: self._element(element, asked, own, f"{path}{tag.upper()}") for tag, element in row.items()}

    def _element(self, element: Any, asked: str, own: Path, path: str) -> Any:
        if not isinstance(element, dict):
            return element
        if uri := element.get("BulkDataURI"):
            files = self._fetched(str(uri), asked, own, path)
            return {**element, "BulkDataURI": files if len(files) > 1 else files[0] if files else uri}
        items = element.get("Value")
        if element.get("vr") != "SQ" or not isinstance(items, list):
            return element
        inner = [
            self._data_set(item, asked, own, f"{path}.{place}.") if isinstance(item, dict) else item
            for place, item in enumerate(items, 1)
        ]
        return {**element, "Value": inner}

    def _fetched(self, uri: str, asked: str, own: Path, path: str) -> list[str]:
        """Where the value lies now, in the order of its parts; nothing where it did not come."""
        url = rebase(uri, self._client.base, asked)
        expected = self._size if path == parts.PIXEL_DATA else parts.unknown
        try:
            own.mkdir(parents=True, exist_ok=True)
            found = self._receiver.bulkdata(url, expected)
            many = len(found) > 1
            names = [own / (f"{path}.{n}.bin" if many else f"{path}.bin") for n in range(1, len(found) + 1)]
            for part, name in zip(found, names, strict=True):
                part.path.replace(name)
                if part.end is End.UNPROVEN:
                    self._on_doubt(f"{name}: cannot confirm that it is complete (unverified)")
        except AuthError:
            raise
        except OSError as error:
            raise DwError(f"cannot write in {own}: {error.strerror or error}") from error
        except DwError as error:
            self._on_error(f"{path}: {error.message}")
            self.codes.append(error.exit_code)
            return []
        self.files += len(names)
        return list(map(str, names))
