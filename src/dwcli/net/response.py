"""A response whose body has yet to arrive: its head, then its bytes or the reason why they stop."""

import socket
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from functools import partial

import httpcore
import httpx

from dwcli.errors import DwError, ProtocolError, TruncatedError
from dwcli.net import codings
from dwcli.net.failures import failures, refusal
from dwcli.net.read_ahead import ahead
from dwcli.net.settings import Settings

CODING = "dw.coding"
"""The extension of an httpx response that holds its Content-Encoding, which httpx itself must not see."""

_LARGE = 1 << 20  # bytes
MESSAGE_BYTES = 64 * 1024


class Response:
    """A response whose body has not been read yet. Valid inside `Transport.stream`."""

    def __init__(self, response: httpx.Response, where: str, settings: Settings) -> None:
        self._response = response
        self._settings = settings
        self.host = where
        self.status = response.status_code
        if coding := response.extensions.pop(CODING, ""):
            response.headers["Content-Encoding"] = coding
        self.headers: Mapping[str, str] = response.headers

    @property
    def content_type(self) -> str:
        """The Content-Type header, empty where there is none."""
        return self.headers.get("Content-Type", "")

    @property
    def length(self) -> int | None:
        """The body's length in bytes where the server says it."""
        text = self.headers.get("Content-Length", "")
        coded = self.headers.get("Content-Encoding", "identity").strip().lower() != "identity"
        return int(text) if text.isdecimal() and not coded and "Transfer-Encoding" not in self.headers else None

    @property
    def framed(self) -> bool:
        """Whether HTTP tells where the body ends (Content-Length, chunks). It proves nothing of the content."""
        return "Content-Length" in self.headers or "chunked" in self.headers.get("Transfer-Encoding", "").lower()

    def chunks(self) -> Iterator[bytes]:
        """The content as it comes, decoded.

        Raises:
            TruncatedError: it ends before HTTP or its coding says so.
            ProtocolError: its coding is damaged or was not requested.
            TemporaryError: the server stops sending.
            DwError: for a status of 400 or above, the refusal instead of the first two.
        """
        try:
            with failures(self.host, reading=True):
                yield from self._content()
        except (ProtocolError, TruncatedError) as error:
            if self.status < 400:
                raise
            raise self.refusal(b"") from error

    def _content(self) -> Iterator[bytes]:
        network = self._response.extensions.get("network_stream")
        bodiless = self._response.request.method == "HEAD" or self.status in (204, 304)
        coding = "" if bodiless else codings.named(self.headers, self.host)
        small = self.length is not None and self.length < _LARGE
        if coding:
            framed = "Content-Length" in self.headers or "Transfer-Encoding" in self.headers
            yield from codings.decoded(self._response.iter_raw(), coding, self.host, empty=framed)
        elif network is None or "Transfer-Encoding" in self.headers or small or bodiless:
            yield from self._response.iter_raw()
        else:
            yield from ahead(self._straight(network), partial(_wake, network))

    def _straight(self, network: httpcore.NetworkStream) -> Generator[bytes, None, None]:
        """A large body straight off the connection, which cannot be used again then; half the time of httpx's way."""
        expected = self.length
        came = 0
        try:
            # What was read together with the head; its end would close the connection.
            first = self._response.iter_raw()
            if chunk := next(first, b""):
                came = len(chunk)
                yield chunk
            elif expected is None:
                return
            while expected is None or came < expected:
                chunk = network.read(
                    _LARGE if expected is None else min(_LARGE, expected - came), self._settings.silence
                )
                if not chunk:
                    if expected is not None:
                        raise httpx.RemoteProtocolError(f"received {came} of {expected} bytes")
                    return
                came += len(chunk)
                yield chunk
        except httpcore.TimeoutException as error:
            raise httpx.ReadTimeout(str(error)) from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise httpx.ReadError(str(error)) from error

    def check(self) -> None:
        """Raise the DwError that a status of 400 or above means, with the server's own words."""
        if self.status < 400:
            return
        try:
            words = self.read(MESSAGE_BYTES)
        except DwError:
            words = b""  # the status says enough
        raise self.refusal(words)

    def refusal(self, body: bytes) -> DwError:
        """Return this response as the error that its status means, with the server's own words."""
        settings = self._settings
        error = refusal(
            self.status,
            self.headers,
            body,
            self.host,
            logged_in=settings.auth is not None,
            login_hint=settings.login_hint,
        )
        error = error.worded(settings.hide(error.message))
        named = [name for name in self.headers if name.lower().startswith("x-")]
        error.clue = "\n".join([self.headers.get("Server", ""), *named, body.decode("utf-8", "replace")])
        return error

    def hide(self, text: str) -> str:
        """The server's own words without the credential that it was sent."""
        return self._settings.hide(text)

    def read(self, limit: int | None = None) -> bytes:
        """The body, or its first `limit` bytes."""
        data = bytearray()
        for chunk in self.chunks():
            data += chunk
            if limit is not None and len(data) >= limit:
                return bytes(data[:limit])
        return bytes(data)


def _wake(network: httpcore.NetworkStream) -> None:
    """End the reads that are blocked on a connection; it cannot be used again."""
    sock = network.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
