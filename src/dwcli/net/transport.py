"""One way out: sends finished requests, streams bodies both ways, retries, and turns every failure into a DwError."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from dwcli.dicomweb.request import Body, Request
from dwcli.errors import (
    AuthError,
    DwError,
    ProtocolError,
    TemporaryError,
    UsageError,
)
from dwcli.net import codings
from dwcli.net.auth import Login
from dwcli.net.failures import failures
from dwcli.net.response import CODING, MESSAGE_BYTES, Response
from dwcli.net.settings import Settings, origin_of_url

RETRIED = frozenset({408, 429, 502, 503, 504})
_REDIRECTS = 5
_SLOW = 10  # seconds
_UNKNOWN = 3  # tries of a server that never responded yet: the address may be wrong, and the user waits


class Transport:
    """Sends requests to one server over one shared connection pool; safe to use from several threads.

    `log(level, text)` receives retries (level 1) and every request and response (level 2), never a secret;
    `slow(text)` is called once if a response is slow.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        log: Callable[[int, str], None] = lambda _level, _text: None,
        slow: Callable[[str], None] | None = None,
        http: httpx.BaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._log = log
        self._slow = slow
        self._host = urlsplit(settings.base).netloc.rpartition("@")[2] or settings.base
        self._origin = origin_of_url(settings.base)
        self._stopped = threading.Event()
        self._answered = False
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.throttled = 0
        """How often the server responded 429 or 503."""
        limits = httpx.Limits(max_connections=settings.connections, max_keepalive_connections=settings.connections)
        try:
            self._client = httpx.Client(
                auth=settings.auth,
                verify=settings.trust,
                proxy=settings.proxy,
                trust_env=settings.trust_env,
                transport=http,
                follow_redirects=False,
                limits=limits,
                headers={"User-Agent": "dw", "Accept-Encoding": codings.ACCEPTED},
                event_hooks={"response": [_untouched]},
            )
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            reason = "SOCKS proxies are not supported" if isinstance(error, ImportError) else error
            raise UsageError(
                f"the proxy cannot be used: {reason}",
                "use an http:// or https:// address: --proxy, or HTTP_PROXY, HTTPS_PROXY and ALL_PROXY",
            ) from error

    @property
    def login(self) -> Login | None:
        """The flow that adds the credential, or None."""
        return self._settings.login

    @contextmanager
    def exchange(self, request: Request) -> Iterator[Response]:
        """Send a request and yield the response, whatever its status, with its body unread."""
        settings = self._settings
        response, timeouts = self._answer(request)
        try:
            timeouts["read"] = settings.silence
            yield Response(response, self._host, settings)
        except DwError as error:
            # An error may quote the response, and some servers repeat what they were sent.
            raise error.worded(settings.hide(error.message)) from None
        finally:
            response.close()

    @contextmanager
    def stream(self, request: Request) -> Iterator[Response]:
        """The same, but a status of 400 or above is raised as the DwError that it means."""
        with self.exchange(request) as response:
            response.check()
            yield response

    def stop(self) -> None:
        """End every connection at once: readers blocked in other threads wake within a millisecond."""
        self._stopped.set()
        with self._lock:
            sockets = list(self._sockets)
        for sock in sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _answer(self, request: Request) -> tuple[httpx.Response, dict[str, Any]]:
        """The first response that is neither a redirect within the origin nor worth a retry."""
        waited = 0.0
        attempt = 0
        while True:
            attempt += 1
            pause: float | None = None
            failure: DwError | None = None
            began = time.monotonic()
            try:
                response, timeouts = self._redirected(request)
                if response.status_code not in RETRIED:
                    return response, timeouts
                reason = f"{response.status_code} {response.reason_phrase}".strip()
                if response.status_code in (429, 503):
                    self.throttled += 1
                pause = retry_after(response.headers.get("Retry-After", ""), time.time())
            except TemporaryError as error:
                response, reason, failure = None, error.message, error
                if isinstance(error.__cause__, httpx.TimeoutException):
                    waited += time.monotonic() - began
                if not request.repeatable:
                    raise
            if pause is None:
                from random import uniform

                pause = min(10.0, 0.5 * 2 ** (attempt - 1)) * uniform(0.5, 1.0)
            tries = self._settings.tries if self._answered else min(self._settings.tries, _UNKNOWN)
            last = attempt >= tries or waited + pause > self._settings.patience
            if response is not None:
                if last or not request.repeatable:
                    return response, timeouts
                response.close()
            elif last and failure:
                self._answered = False  # gone: what else there is to ask is given up soon
                raise failure
            self._log(1, f"{reason}; try {attempt + 1} of {tries} in {pause:.1f} s")
            waited += pause
            if self._stopped.wait(pause):
                raise _stopped()

    def _redirected(self, request: Request) -> tuple[httpx.Response, dict[str, Any]]:
        """Follow redirects within the origin, for reads; any other is reported as a login page or a move."""
        url = request.url
        for _ in range(_REDIRECTS):
            response, timeouts = self._send(request, url)
            location = response.headers.get("Location", "")
            if response.status_code not in (301, 302, 303, 307, 308) or not location:
                return response, timeouts
            response.close()
            try:
                url = urljoin(url, location)
                origin = origin_of_url(url)
            except (ValueError, UsageError) as error:
                raise ProtocolError(f"{self._host} redirects to an invalid address: {location[:200]}") from error
            foreign = origin != self._origin
            where = origin if foreign else url
            if foreign or request.method not in ("GET", "HEAD"):
                raise AuthError(
                    f"{self._host} redirects to {where}, which was not followed",
                    "this is usually a login page: check the profile's URL and login with `dw profile test`",
                )
        raise ProtocolError(f"{self._host} redirects in a loop", "check the profile's URL with `dw profile show`")

    def _send(self, request: Request, url: str) -> tuple[httpx.Response, dict[str, Any]]:
        if self._stopped.is_set():
            raise _stopped()
        settings = self._settings
        timeouts: dict[str, Any] = {
            "connect": settings.connect,
            "read": settings.first_byte,
            "write": settings.silence,
            "pool": None,
        }
        home = origin_of_url(url) == self._origin
        scheme, _, rest = url.partition("://")
        # urlsplit would drop line breaks and tabs.
        authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
        target = rest[len(authority) :].partition("#")[0]
        target = target if target.startswith("/") else f"/{target}"
        host = authority.rpartition("@")[2]
        address = httpx.URL(f"{scheme}://{host}/")
        headers = httpx.Headers(self._client.headers)
        headers.update({"Host": address.netloc.decode(), **(settings.headers if home else {})})
        headers.update(request.headers)
        if request.body is not None:
            headers["Content-Length"] = str(request.body.length)
        sought: list[str] = []
        own = f"{address.raw_host.decode()}:{address.port or (443 if scheme == 'https' else 80)}"
        with failures(self._host, proxy=lambda: "".join(at for at in sought[-1:] if at != own)), self._noticed():
            built = httpx.Request(
                request.method,
                address,
                headers=headers,
                stream=_Upload(request.body) if request.body is not None else None,
                extensions={"timeout": timeouts, "trace": partial(self._trace, sought)},
            )
            built.url = _Url(address, target.encode(errors="replace"))
            self._log(2, f"> {request.method} {scheme}://{host}{target}")
            started = time.monotonic()
            response = self._client.send(built, stream=True, auth=httpx.USE_CLIENT_DEFAULT)
            self._answered = True
        kind = response.headers.get("Content-Type", "no Content-Type")
        self._log(2, f"< {response.status_code} {kind} after {time.monotonic() - started:.3f} s")
        return response, timeouts

    @contextmanager
    def _noticed(self) -> Iterator[None]:
        """While the block waits for a response, call `slow` once."""
        if self._slow is None:
            yield
            return
        timer = threading.Timer(_SLOW, self._notice)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _notice(self) -> None:
        slow, self._slow = self._slow, None
        if slow is not None:
            slow(f"{self._host} has sent no response for {_SLOW} s; --timeout S limits the wait")

    def _trace(self, sought: list[str], event: str, info: Mapping[str, Any]) -> None:
        """Collects the sockets, the only way to wake a blocked reader (httpx's `trace` extension).

        `sought` takes the addresses to which a connection is made.
        """
        if event == "connection.connect_tcp.started":
            sought.append(f"{info['host']}:{info['port']}")
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            sock = info["return_value"].get_extra_info("socket")
            if sock is not None:
                with self._lock:
                    self._sockets = {known for known in self._sockets if known.fileno() != -1} | {sock}
        # Nothing new begins; what ends, or is closed, may do so in peace.
        if self._stopped.is_set() and event.endswith(".started") and "close" not in event:
            raise _stopped()


def _untouched(response: httpx.Response) -> None:
    """Keep httpx from decoding, and from reading an endless 401 response before a login."""
    if coding := response.headers.pop("Content-Encoding", ""):
        response.extensions[CODING] = coding
    if response.status_code == 401 and isinstance(response.stream, httpx.SyncByteStream):
        response.stream = _Beginning(response.stream)


class _Beginning(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        left = MESSAGE_BYTES
        for piece in self._stream:
            yield piece
            left -= len(piece)
            if left <= 0:
                return

    def close(self) -> None:
        self._stream.close()


class _Url(httpx.URL):
    """A URL whose path and query go out as they stand: httpx would encode them again and walk the dots.

    Not by httpcore's extension `target`, which a proxy's CONNECT would take for its own.
    """

    def __init__(self, url: httpx.URL, target: bytes) -> None:
        super().__init__(url)
        self._target = target

    @property
    def raw_path(self) -> bytes:
        """See httpx.URL."""
        return self._target


class _Upload(httpx.SyncByteStream):
    def __init__(self, body: Body) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)


def _stopped() -> TemporaryError:
    return TemporaryError("stopped")


def retry_after(header: str, now: float) -> float | None:
    """Seconds to wait, from a Retry-After header in either form (RFC 9110 10.2.3); None where it says nothing."""
    text = header.strip()
    if text.isdecimal():
        return float(text)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except ValueError:
        return None
