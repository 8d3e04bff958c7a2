"""STOW-RS: one store request, and what its reply says of each instance (PS3.18 10.5)."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from dwcli.client.connection import Connection
from dwcli.dicomweb import media, request
from dwcli.errors import DwError, ProtocolError, TemporaryError, TruncatedError
from dwcli.net.response import Response

if TYPE_CHECKING:
    from dwcli.dicomweb import stow
    from dwcli.net.body import Part

_LARGEST = 16 << 20  # bytes of a reply; 300 an instance are usual


class UnansweredError(TemporaryError):
    """A store request went out, and no reply came: nobody knows what the server took in."""


class Storing(Connection):
    """Stores; the reply's body decides, whatever the status."""

    def store(
        self,
        parts: Sequence["Part"],
        instances: Sequence[str],
        study: str = "",
        *,
        on_bytes: Callable[[int], None],
    ) -> "stow.Reply":
        """Store Part 10 bytes in one request (PS3.18 10.5); the reply's body decides, whatever the status.

        `instances`: the SOP Instance UIDs in the parts' order; where the reply is cut, each is Unknown. Raises only
        where the server took nothing in (a refusal without an account of instances, a login, no connection), and
        UnansweredError where bytes went out and no reply came.
        """
        from dwcli.net.body import Multipart

        went = False

        def count(n: int) -> None:
            nonlocal went
            went = True
            on_bytes(n)

        body = Multipart(parts, on_bytes=count)

        def ask(at_root: bool) -> Iterator["stow.Reply"]:
            asked = request.store(self.base, study, body.boundary, body, self.dialect, at_root=at_root)
            try:
                with self.transport.exchange(asked) as response:
                    reply = self._reply(response, instances)
            except TemporaryError as error:
                if went:
                    raise UnansweredError(error.message, error.hint) from error
                raise
            if isinstance(reply, DwError):
                raise reply
            yield reply

        return next(self._either("store", ask, own=self.dialect.store_at_root))

    def _reply(self, response: Response, instances: Sequence[str]) -> "stow.Reply | DwError":
        """What a store reply says, or the refusal that it is."""
        from dwcli.dicomweb import stow

        try:
            data = response.read(_LARGEST + 1)
            if len(data) > _LARGEST:
                raise ProtocolError(f"{response.host} sent a store reply of more than {_LARGEST >> 20} MB")
        except (TruncatedError, ProtocolError) as error:
            if response.status >= 400:
                return response.refusal(b"")
            return stow.Reply({uid: stow.Unknown(uid, error.message) for uid in instances}, (), ())
        except DwError as error:
            if isinstance(error.__cause__, TruncatedError | ProtocolError):
                return error  # the refusal that a damaged body leaves
            raise
        kind = media.classify(response.content_type, data)
        if kind is media.Body.HTML and response.status < 400:
            self._expect(response, kind, data, media.Body.JSON)
        reply = stow.read(response.status, response.content_type, data, instances)
        if response.status >= 400 and not _accounts(reply):
            return response.refusal(data)
        return reply


def _accounts(reply: "stow.Reply") -> bool:
    """Whether a store reply says anything about an instance."""
    from dwcli.dicomweb import stow

    return bool(reply.strays) or any(not isinstance(o, stow.Unknown) for o in reply.outcomes.values())
