"""A transport onto a WSGI application in this process: no port, and bodies that stream both ways."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

import httpx

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Input:
    """`wsgi.input` over the request's chunks, each pulled when the application reads (PEP 3333)."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""
        self.failure: BaseException | None = None

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes, fewer where a chunk ends; all there is where `size` is negative."""
        if size < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        while not self._rest:
            try:
                self._rest = next(self._chunks)
            except StopIteration:
                return b""
            except BaseException as failure:
                # The application must see an upload that broke off, and the caller what it was.
                self.failure = failure
                raise OSError("the upload was interrupted") from failure
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


class _Stream(httpx.SyncByteStream):
    def __init__(self, body: Iterable[bytes]) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._body
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except Exception as error:
            # What a server says by breaking the connection.
            raise httpx.RemoteProtocolError(f"the archive stopped inside its response: {error}") from error

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close:
            close()


class InProcess(httpx.BaseTransport):
    """Hands each request to `application`, in the thread that sends it."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx.BaseTransport. A response without Content-Length counts as chunked: its end is certain."""
        assert isinstance(request.stream, httpx.SyncByteStream)
        body = _Input(request.stream)
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> None:
            started.append((status, headers))

        found = self._application(_environ(request, body), start)
        if body.failure:
            raise body.failure
        status, headers = started[-1]
        code = int(status[:3])
        if code not in (204, 304) and not any(name.lower() == "content-length" for name, _ in headers):
            headers = [*headers, ("Transfer-Encoding", "chunked")]
        return httpx.Response(code, headers=headers, stream=_Stream(found))


def _environ(request: httpx.Request, body: _Input) -> dict[str, Any]:
    target = request.extensions.get("target", request.url.raw_path).decode("ascii")
    path, _, query = target.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "REQUEST_URI": target,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": request.url.host,
        "SERVER_PORT": str(request.url.port or 80),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": request.url.scheme,
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        key = name.upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    return environ
