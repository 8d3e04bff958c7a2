"""Logins as httpx.Auth flows. Each knows the one origin that its credential is for."""

import base64
from collections.abc import Callable, Generator

import httpx

from dwcli.errors import DwError


class Login(httpx.Auth):
    """Adds an Authorization header, only ever for `origin`; after a 401 asks for a fresh one once.

    `authorization(renew)` gives the header's value; with `renew` it must not come from a cache. It never looks at the
    request's body: an auth class that does makes httpx read a whole upload into memory.
    """

    def __init__(self, origin: str, authorization: Callable[[bool], str], *, renewable: bool = False) -> None:
        self._origin = origin
        self._authorization = authorization
        self._renewable = renewable

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """See httpx.Auth."""
        if origin_of(request.url) != self._origin:
            yield request
            return
        request.headers["Authorization"] = self._authorization(False)
        response = yield request
        if response.status_code == 401 and self._renewable:
            request.headers["Authorization"] = self._authorization(True)
            yield request


def origin_of(url: httpx.URL) -> str:
    """`scheme://host:port`, the port always written."""
    port = url.port or {"http": 80, "https": 443}.get(url.scheme, 0)
    return f"{url.scheme}://{url.host}:{port}"


def basic(origin: str, user: str, password: Callable[[], str]) -> Login:
    """HTTP Basic (RFC 7617), the pair as UTF-8. The password is asked for when it is first needed."""
    value = ""

    def authorization(_renew: bool) -> str:
        nonlocal value
        if not value:
            pair = f"{user}:{password()}".encode()
            value = f"Basic {base64.b64encode(pair).decode()}"
        return value

    return Login(origin, authorization)


def bearer(origin: str, token: Callable[[], str], *, renewable: bool) -> Login:
    """A bearer token (RFC 6750); `renewable`: calling `token` again may bring another (a command)."""
    value = ""

    def authorization(renew: bool) -> str:
        nonlocal value
        if renew or not value:
            fresh = token()
            if not fresh or any(c.isspace() or not c.isprintable() for c in fresh):
                raise DwError("the token is empty or has white space in it")
            value = f"Bearer {fresh}"
        return value

    return Login(origin, authorization, renewable=renewable)
