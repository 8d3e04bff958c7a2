"""A scripted HTTP/1.1 server, for the answers that no real server gives on demand.

def handler(request: Request) -> Answer:
    return Answer(200, {"Content-Type": "application/dicom+json"}, b"[]")
"""

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came: `target` is raw, `headers` keep case, order and repetition."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    size: int  # of the body in bytes, also where it was not kept

    def header(self, name: str) -> str | None:
        """The first header of that name in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send. A number among the body's chunks is a pause in seconds.

    `framing`: `length` sends Content-Length (`length`, where given, in place of the true one), `chunked` one
    HTTP chunk for each chunk and the last one, `close` neither, and ends the connection. `cut` ends the
    connection after the body as well, without the last chunk; `reset` does it by RST.
    """

    status: int = 200
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = ()
    body: bytes | Iterable[bytes | float] = b""
    framing: Literal["length", "chunked", "close"] = "length"
    length: int | None = None
    cut: bool = False
    reset: bool = False


Handler = Callable[[Request], Answer]


class Fake:
    """A server for `handler`, listening at once on a port of its own.

    `early(request)` is asked before the body is read; its answer goes out at once and ends the connection,
    None goes on. `keep_bodies=False` counts request bodies but forgets them, for tests of memory.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        early: Callable[[Request], Answer | None] | None = None,
        keep_bodies: bool = True,
        tls: ssl.SSLContext | None = None,
        path: str = "",
    ) -> None:
        self.handler = handler
        self.early = early
        self.keep_bodies = keep_bodies
        self.requests: list[Request] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.fake = self
        if tls is not None:
            # Each connection's thread shakes hands: a client that is slow with it holds up no other.
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._scheme = "https" if tls else "http"
        self._path = path
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="fake", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def origin(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return self.origin + self._path

    def close(self) -> None:
        self._server.shutdown()
        self._server.end_connections()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(slots=True)
class _Open:
    """The connections in use."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    sockets: set[socket.socket] = field(default_factory=set)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    fake: Fake

    def __init__(self, *args: Any) -> None:
        self.connections = _Open()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.connections.lock:
            self.connections.sockets.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self.connections.lock:
            self.connections.sockets.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        with self.connections.lock:
            for connection in self.connections.sockets:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error here, and a broken handler answers 500 itself."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._handle
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:
        """Silence: `Fake.requests` is the log."""

    def handle_expect_100(self) -> bool:
        return True  # sent when the body is wanted

    def _handle(self) -> None:
        fake = self.server.fake
        # self.path has lost the second of two leading slashes.
        target = self.requestline.split(" ")[1]
        headers = tuple(self.headers.items())
        request = Request(self.command, target, headers, b"", 0)
        if fake.early is not None and (answer := fake.early(request)) is not None:
            fake.requests.append(request)
            self.close_connection = True
            self._send(answer)
            self._linger()
            return
        if "100-continue" in self.headers.get("Expect", "").lower():
            self.send_response_only(100)
            self.end_headers()
        kept, size = [], 0
        for chunk in self._body():
            size += len(chunk)
            if fake.keep_bodies:
                kept.append(chunk)
        request = Request(self.command, target, headers, b"".join(kept), size)
        fake.requests.append(request)
        try:
            answer = fake.handler(request)
        except Exception as problem:
            answer = Answer(500, {"Content-Type": "text/plain"}, f"handler failed: {problem!r}".encode())
        self._send(answer)

    def _linger(self) -> None:
        """End in order: closing with unread bytes sends RST, which may overtake the answer."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(2)
            while self.connection.recv(_CHUNK):
                pass

    def _body(self) -> Iterable[bytes]:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return
        left = int(self.headers.get("Content-Length", 0))
        while left and (chunk := self.rfile.read(min(left, _CHUNK))):
            left -= len(chunk)
            yield chunk
        if left:
            self.close_connection = True

    def _send(self, answer: Answer) -> None:
        headers = answer.headers.items() if isinstance(answer.headers, Mapping) else answer.headers
        bodiless = self.command == "HEAD" or answer.status in (204, 304)
        chunks: Iterable[bytes | float] = (answer.body,) if isinstance(answer.body, bytes) else answer.body
        if answer.framing == "length" and answer.length is None and not isinstance(answer.body, bytes):
            chunks = list(chunks)
        self.send_response_only(answer.status)
        for name, value in headers:
            self.send_header(name, value)
        match answer.framing:
            case "length" if answer.status != 204:
                length = answer.length
                if length is None:
                    length = sum(len(chunk) for chunk in chunks if isinstance(chunk, bytes))
                self.send_header("Content-Length", str(length))
            case "chunked":
                self.send_header("Transfer-Encoding", "chunked")
            case "close":
                self.close_connection = True
        self.end_headers()
        for chunk in () if bodiless else chunks:
            if not isinstance(chunk, bytes):
                self.wfile.flush()
                time.sleep(chunk)
            elif answer.framing != "chunked":
                self.wfile.write(chunk)
            elif chunk:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        if answer.cut or answer.reset:
            self.close_connection = True
        elif answer.framing == "chunked" and not bodiless:
            self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()
        if answer.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # shutdown() before close() would send an orderly FIN; the socket has to be closed as it is.
            self.connection.close()
