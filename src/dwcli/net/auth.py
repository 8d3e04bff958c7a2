"""Logins as httpx.Auth flows. Each knows the one origin that its credential is for."""

import base64
import threading
from collections.abc import Callable, Generator

import httpx

from dwcli.errors import AuthError


class Login(httpx.Auth):
    """Adds an Authorization header, only ever for `origin`; after a 401 asks for a fresh one once.

    `authorization()` makes the header's value when it is first needed, and again where it is `renewable`. It never
    looks at the request's body: an auth class that does makes httpx read a whole upload into memory.
    """

    def __init__(self, origin: str, authorization: Callable[[], str], *, renewable: bool = False) -> None:
        self._origin = origin
        self._authorization = authorization
        self._renewable = renewable
        self._value = ""
        self._lock = threading.Lock()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """See httpx.Auth."""
        if origin_of(request.url) != self._origin:
            yield request
            return
        sent = self._current()
        request.headers["Authorization"] = sent
        response = yield request
        if response.status_code == 401 and self._renewable:
            request.headers["Authorization"] = self._current(stale=sent)
            yield request

    def _current(self, stale: str = "") -> str:
        """The header's value, a new one where it is still the `stale` one; threads wait for one question together."""
        with self._lock:
            if self._value == stale:
                self._value = self._authorization()
            return self._value


def origin_of(url: httpx.URL) -> str:
    """`scheme://host:port`, the port always written."""
    port = url.port or {"http": 80, "https": 443}.get(url.scheme, 0)
    return f"{url.scheme}://{url.host}:{port}"


def basic(origin: str, user: str, password: Callable[[], str]) -> Login:
    """HTTP Basic (RFC 7617), the pair as UTF-8. The password is asked for when it is first needed."""
    return Login(origin, lambda: f"Basic {base64.b64encode(f'{user}:{password()}'.encode()).decode()}")


def bearer(origin: str, token: Callable[[], str], *, renewable: bool) -> Login:
    """A bearer token (RFC 6750); `renewable`: calling `token` again may bring another (a command)."""

    def authorization() -> str:
        fresh = token()
        if not fresh or any(c.isspace() or not c.isprintable() for c in fresh):
            raise AuthError("the token is empty or has white space in it", "look at where the profile takes it from")
        return f"Bearer {fresh}"

    return Login(origin, authorization, renewable=renewable)
