"""A proxy in front of any HTTP/1.1 server that passes bytes on unchanged, or spoils them as a test asks.

proxy.rule = Cut(after=1000)                       # every answer from now on
proxy.rule = first(2, Answer(503))                 # two requests, then pass
proxy.rule = lambda seen: Cut(10) if seen.method == "POST" else Pass()
"""

import contextlib
import itertools
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

_CHUNK = 1 << 18
_LARGEST_HEAD = 1 << 18


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it came. `target` is raw; header names keep their case and order."""

    number: int  # 0 for the first one
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str | None:
        """The first header of that name in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class Pass:
    """Nothing is touched."""


@dataclass(frozen=True, slots=True)
class Cut:
    """End the connection after so many bytes of the answer.

    `body` counts from behind its head, chunk sizes included; `whole` from the status line.
    """

    after: int
    of: Literal["body", "whole"] = "body"
    reset: bool = False  # by RST, not by an orderly end


@dataclass(frozen=True, slots=True)
class Hang:
    """Fall silent after so many bytes of the answer, for `seconds` or (None) until the client gives up."""

    after: int
    of: Literal["body", "whole"] = "body"
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Delay:
    """Hold the answer back for that long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Trickle:
    """Send the body of the answer in pieces of `size` bytes, `pause` seconds apart."""

    size: int = 1
    pause: float = 0.001


@dataclass(frozen=True, slots=True)
class Rate:
    """A line of so many bytes a second for each connection, and so many seconds to the first byte."""

    bytes_per_second: float
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Flip:
    """Invert one byte of the answer's body as sent, counted from 0."""

    at: int


@dataclass(frozen=True, slots=True)
class CutRequest:
    """Pass so many bytes of the request's body on, then end both connections."""

    after: int
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer in the server's place. The request's body is read and thrown away first."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


Rule = Pass | Cut | Hang | Delay | Trickle | Rate | Flip | CutRequest | Answer
Chooser = Callable[[Seen], Rule]


def first(times: int, rule: Rule, then: Rule = Pass()) -> Chooser:
    """`rule` for that many requests, counted from now, then `then`."""
    turns = itertools.count()
    return lambda _: rule if next(turns) < times else then


class Faults:
    """The proxy, listening at once on a port of its own; `url` is `upstream`'s URL seen through it."""

    def __init__(self, upstream: str, rule: Rule | Chooser = Pass()) -> None:
        parts = urlsplit(upstream)
        self.rule = rule
        self.seen: list[Seen] = []
        self.connections = 0
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._path = parts.path
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name="faults", daemon=True)
        self._acceptor.start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return self.origin + self._path

    def close(self) -> None:
        """End every connection and stop listening."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for open_socket in self._sockets:
                with contextlib.suppress(OSError):
                    open_socket.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), name="faults", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        client, server = self._pipe(connection), None
        try:
            while (head := client.head(unless=server)) is not None:
                seen, rule = self._note(head)
                if isinstance(rule, Answer):
                    self._answer(client, head, rule)
                    continue
                if server is None:
                    server = self._pipe(socket.create_connection(self._upstream))
                if not self._exchange(client, server, seen, head, rule):
                    break
        except (_Reset, OSError) as problem:
            if isinstance(problem, _Reset):
                client.reset()
        finally:
            for pipe in (client, server):
                if pipe is not None:
                    pipe.close()
                    with self._lock:
                        self._sockets.discard(pipe.socket)

    def _pipe(self, connection: socket.socket) -> "_Pipe":
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._sockets.add(connection)
        return _Pipe(connection)

    def _note(self, head: bytes) -> tuple[Seen, Rule]:
        first_line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, target = [*first_line.split(" "), ""][:2]
        headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
        with self._lock:
            seen = Seen(len(self.seen), method, target, headers)
            self.seen.append(seen)
            rule = self.rule
            return seen, rule(seen) if callable(rule) else rule

    def _answer(self, client: "_Pipe", head: bytes, rule: Answer) -> None:
        if b"100-continue" in head.lower():
            client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = _Framing.of_request(head)
        while not body.done and (data := client.receive()):
            client.unread(data[body.feed(data) :])
        headers = {"Content-Length": str(len(rule.body)), **rule.headers}
        lines = [f"HTTP/1.1 {rule.status} Fault", *(f"{name}: {value}" for name, value in headers.items())]
        client.send("\r\n".join([*lines, "", ""]).encode("latin-1") + rule.body)

    def _exchange(self, client: "_Pipe", server: "_Pipe", seen: Seen, head: bytes, rule: Rule) -> bool:
        """Pass one request and its answer on; False where the connection ends with it."""
        limit = rule.after if isinstance(rule, CutRequest) else None
        server.send(head)
        request, passed, answer = _Framing.of_request(head), 0, None
        while not request.done and answer is None:
            # A server may refuse while the body is still coming, or ask for it by a 100.
            if not client.buffered and server.socket in select.select([client.socket, server.socket], [], [])[0]:
                answer = server.head()
                if answer is None:
                    return False
                if _interim(answer):
                    client.send(answer)
                    answer = None
                continue
            data = client.receive()
            if not data:
                return False
            used = request.feed(data)
            client.unread(data[used:])
            if limit is not None and passed + used >= limit:
                server.send(data[: limit - passed])
                if rule == CutRequest(limit, reset=True):
                    server.reset()
                    raise _Reset
                return False
            try:
                server.send(data[:used])
            except OSError:
                break
            passed += used
        if limit is not None:
            return False
        while answer is None or _interim(answer):
            answer = server.head()
            if answer is None:
                return False
            if _interim(answer):
                client.send(answer)
        framing = _Framing.of_answer(answer, seen.method)
        whole = self._relay(client, itertools.chain([answer], server.body(framing)), len(answer), rule)
        if not whole:
            client.finish()
        last = framing.until_close or not request.done or not framing.done
        return whole and not last and b"connection: close" not in (head + answer).lower()

    def _relay(self, client: "_Pipe", pieces: Iterator[bytes], head: int, rule: Rule) -> bool:
        """Send an answer whose first `head` bytes are its head, under `rule`; False where it was cut."""
        began, sent = time.monotonic(), 0
        stop: int | None = None
        match rule:
            case Cut(after, of) | Hang(after, of):
                stop = after + (head if of == "body" else 0)
            case Delay(seconds) | Rate(_, seconds):
                self._closing.wait(seconds)
        if stop == 0 and isinstance(rule, Cut):
            if rule.reset:
                raise _Reset
            return False
        for piece in pieces:
            if stop is not None and sent + len(piece) >= stop:
                client.send(piece[: stop - sent])
                match rule:
                    case Cut(reset=True):
                        raise _Reset
                    case Hang(seconds=None):
                        client.wait_for_end()
                        return False
                    case Hang(seconds=float() | int() as seconds):
                        self._closing.wait(seconds)
                        client.send(piece[stop - sent :])
                        sent, stop = sent + len(piece), None
                        continue
                return False
            match rule:
                case Flip(at) if sent <= head + at < sent + len(piece):
                    where = head + at - sent
                    client.send(piece[:where] + bytes([piece[where] ^ 0xFF]) + piece[where + 1 :])
                case Trickle(size, pause) if sent >= head:
                    for start in range(0, len(piece), size):
                        client.send(piece[start : start + size])
                        self._closing.wait(pause)
                case Rate(speed):
                    # In pieces of 10 ms, else a fast line would come in bursts.
                    step = max(1, int(speed / 100))
                    for start in range(0, len(piece), step):
                        client.send(piece[start : start + step])
                        due = began + rule.delay + (sent + start + step) / speed
                        self._closing.wait(max(0.0, due - time.monotonic()))
                case _:
                    client.send(piece)
            sent += len(piece)
        return True


class _Reset(Exception):
    """The client's connection is to end by RST."""


class _Pipe:
    """A socket with what was read from it too early."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.buffered = b""

    def receive(self) -> bytes:
        """What there is; b"" at the end."""
        if self.buffered:
            data, self.buffered = self.buffered, b""
            return data
        return self.socket.recv(_CHUNK)

    def unread(self, data: bytes) -> None:
        self.buffered = data + self.buffered

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def head(self, *, unless: "_Pipe | None" = None) -> bytes | None:
        """The next message's head with its empty line, or None where the stream or `unless` ends first."""
        if unless is not None and not self.buffered:
            readable = select.select([self.socket, unless.socket], [], [])[0]
            if unless.socket in readable:
                return None
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            more = self.receive()
            if not more or len(data) > _LARGEST_HEAD:
                return None
            data += more
        self.unread(data[end + 4 :])
        return data[: end + 4]

    def body(self, framing: "_Framing") -> Iterator[bytes]:
        """The body's bytes as they come, up to its end or that of the stream."""
        while not framing.done:
            data = self.receive()
            if not data:
                return
            used = framing.feed(data)
            if used < len(data):
                self.unread(data[used:])
                data = data[:used]
            yield data

    def wait_for_end(self) -> None:
        """Read and forget until the other side ends."""
        with contextlib.suppress(OSError):
            while self.receive():
                pass

    def finish(self) -> None:
        """An orderly end: without reading what is still coming in, closing would send RST."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            self.socket.settimeout(2)
            self.wait_for_end()

    def reset(self) -> None:
        """Make `close` send RST."""
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self) -> None:
        self.socket.close()


class _Framing:
    """Where a body ends: by length, by chunks, or with the connection (RFC 9112 6.3)."""

    def __init__(self, left: int, *, chunked: bool = False, until_close: bool = False) -> None:
        self.until_close = until_close
        self.done = left == 0 and not chunked and not until_close
        self._chunked = chunked
        self._left = left  # of the length, or of this chunk with its CRLF
        self._line = b""
        self._trailer = False

    @classmethod
    def of_request(cls, head: bytes) -> Self:
        if b"chunked" in _field(head, b"transfer-encoding").lower():
            return cls(0, chunked=True)
        return cls(int(_field(head, b"content-length") or 0))

    @classmethod
    def of_answer(cls, head: bytes, method: str) -> Self:
        status = int(head.split(b" ", 2)[1])
        if method == "HEAD" or status in (204, 304):
            return cls(0)
        if b"chunked" in _field(head, b"transfer-encoding").lower():
            return cls(0, chunked=True)
        length = _field(head, b"content-length")
        return cls(int(length)) if length else cls(0, until_close=True)

    def feed(self, data: bytes) -> int:
        """How many of these bytes belong to the body."""
        if self.until_close:
            return len(data)
        if not self._chunked:
            used = min(len(data), self._left)
            self._left -= used
            self.done = self._left == 0
            return used
        position = 0
        while position < len(data) and not self.done:
            if self._left:
                used = min(self._left, len(data) - position)
                self._left -= used
                position += used
                continue
            end = data.find(b"\n", position)
            stop = len(data) if end < 0 else end + 1
            self._line += data[position:stop]
            position = stop
            if end >= 0:
                line, self._line = self._line.strip(), b""
                if self._trailer:
                    self.done = not line
                else:
                    size = int(line.split(b";")[0], 16)
                    self._left = size + 2 if size else 0
                    self._trailer = size == 0
        return position


def _field(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return b""


def _interim(head: bytes) -> bool:
    return head.split(b" ", 2)[1].startswith(b"1")
