"""The archive over HTTP, for programs on this machine."""

import errno
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from dwcli.archive.app import Archive, Start
from dwcli.archive.reply import text
from dwcli.errors import DwError, UsageError

PREFIX = "/dicom-web"
_ADDRESS = "127.0.0.1"
_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_THREADS = 10
_SILENCE = 60  # seconds


def run(archive: Archive, port: int, *, ready: Callable[[str], None], log: Callable[[str], None]) -> None:
    """Serve on 127.0.0.1 until KeyboardInterrupt, which ends it without an error.

    `ready(url)` receives the address once the port is open, `log(line)` every request. Raises DwError.
    """
    from cheroot.wsgi import Server

    class Quiet(Server):
        """Its own errors, mostly of clients that went away, are log lines like the others."""

        def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
            del traceback
            if level >= logging.WARNING:
                log(msg.strip())

    server = Quiet((_ADDRESS, port), _Guarded(archive, log), numthreads=_THREADS, timeout=_SILENCE, shutdown_timeout=2)
    server.server_name = "dw"
    try:
        server.prepare()
    except OSError as error:
        if error.errno == errno.EADDRINUSE or "already in use" in str(error):
            raise UsageError(f"port {port} is already in use", "use --port N, or --port 0 for any free port") from error
        raise DwError(f"cannot listen on port {port}: {error}") from error
    try:
        ready(f"http://{_ADDRESS}:{server.bind_addr[1]}{PREFIX}")
        server.serve()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()


class _Guarded:
    """Lets only requests pass that name this machine, as a web page may let its own name point here; logs each."""

    def __init__(self, archive: Archive, log: Callable[[str], None]) -> None:
        self._archive = archive
        self._log = log

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        began = time.monotonic()
        status = [""]

        def started(line: str, headers: list[tuple[str, str]]) -> object:
            status[0] = line
            return start(line, headers)

        try:
            named = urlsplit(f"//{environ.get('HTTP_HOST', '')}")
            host = named.hostname
            if named.port is None:
                # dicomweb_client leaves the port out; the URLs in the response need it.
                environ["HTTP_HOST"] = f"{named.netloc}:{environ['SERVER_PORT']}"
        except ValueError:
            host = None
        if host not in _NAMES:
            refused = text(421, "this server accepts only the hosts 127.0.0.1 and localhost")
            started(refused.line, [("Content-Type", refused.content_type), ("Content-Length", str(refused.length))])
            body: Iterable[bytes] = refused.body
        else:
            body = self._archive(environ, started)
        return self._told(body, environ, status, began)

    def _told(self, body: Iterable[bytes], environ: dict[str, Any], status: list[str], began: float) -> Iterator[bytes]:
        sent = 0
        end = ""
        try:
            for chunk in body:
                sent += len(chunk)
                yield chunk
        except GeneratorExit:
            end = ", and the client disconnected"
            raise
        except Exception as error:
            end = f", and stopped: {error}"
            raise
        finally:
            target = environ.get("REQUEST_URI", environ.get("PATH_INFO", ""))
            seconds = time.monotonic() - began
            self._log(f"{environ['REQUEST_METHOD']} {target} {status[0][:3]} {sent} bytes {seconds:.3f} s{end}")
