"""Whether a whole body came, told while it streams past: a multipart one by its closing boundary, any other by its
content. HTTP's framing says no more than that what the last hop sent has come."""

from dwcli.dicomweb import media, multipart
from dwcli.dicomweb.content import End, Witness
from dwcli.errors import ProtocolError

_HEAD = 132  # bytes that tell what a body is


class BodyProof:
    """To be fed with the body as it comes; `end` says what is proven once it has ended."""

    def __init__(self, content_type: str) -> None:
        self._content_type = content_type
        self._head = b""
        self._follows: multipart.Reader | Witness | None = None
        self._unreadable = False

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        if self._follows is None:
            self._head += data
            if len(self._head) < _HEAD:
                return
            self._follows, data = self._begin(), self._head
        self._pass_on(data)

    def end(self) -> End:
        """What is proven, after the last bytes. An empty body lacks nothing."""
        if self._follows is None:
            if not self._head:
                return End.WHOLE
            self._follows = self._begin()
            self._pass_on(self._head)
        if isinstance(self._follows, Witness):
            return self._follows.end()
        if self._unreadable:
            return End.UNPROVEN
        try:
            self._follows.finish()
        except ProtocolError:
            return End.UNPROVEN
        return End.WHOLE if self._follows.closed else End.TRUNCATED

    def _begin(self) -> multipart.Reader | Witness:
        if media.classify(self._content_type, self._head) is media.Body.MULTIPART:
            return multipart.Reader(media.parse(self._content_type).boundary)
        return Witness()

    def _pass_on(self, data: bytes) -> None:
        if isinstance(self._follows, Witness):
            self._follows.feed(data)
        elif self._follows is not None and not self._unreadable:
            try:
                self._follows.feed(data)
            except ProtocolError:  # a body that is shown as it is need not be readable
                self._unreadable = True
