"""Logins as httpx.Auth flows. Each knows the one origin that its credential is for."""

import base64
import json
import threading
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx

from dwcli.errors import AuthError

if TYPE_CHECKING:
    from dwcli.net.tokens import Tokens

Log = Callable[[int, str], None]


def _silent(_level: int, _text: str) -> None:
    pass


class Login(httpx.Auth):
    """Adds an Authorization header, only ever for `origin`; after a 401 asks for another one once.

    `authorization(refused)` gives the header's value, called from several threads; `refused` is the value that the
    server has just turned down, empty at first. It never looks at the request's body: an auth class that does makes
    httpx read a whole upload into memory. `log` receives a 401 that another credential may fix, as Transport's does.
    """

    def __init__(
        self, origin: str, authorization: Callable[[str], str], *, renewable: bool = False, log: Log = _silent
    ) -> None:
        self._origin = origin
        self._authorization = authorization
        self._renewable = renewable
        self._secrets: set[str] = set()
        self._log = log

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """See httpx.Auth."""
        if origin_of(request.url) != self._origin:
            yield request
            return
        given = self.header()
        request.headers["Authorization"] = given
        response = yield request
        if response.status_code == 401 and self._renewable:
            self._log(2, f"< 401 {response.headers.get('Content-Type', 'no Content-Type')}")
            fresh = self.header(given)
            if fresh != given:
                self._log(1, "login refused (401); retrying with a new token")
                request.headers["Authorization"] = fresh
                yield request

    def header(self, refused: str = "") -> str:
        """The Authorization header's value. Raises AuthError where there is no credential to be had."""
        value = self._authorization(refused)
        self._secrets |= _spellings(value)
        return value

    def hide(self, text: str) -> str:
        """`text`, such as a server's own words, without any credential that was sent."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "(hidden)")
        return text


def origin_of(url: httpx.URL) -> str:
    """`scheme://host:port`, the port always written."""
    port = url.port or {"http": 80, "https": 443}.get(url.scheme, 0)
    return f"{url.scheme}://{url.host}:{port}"


def basic(origin: str, user: str, password: Callable[[], str]) -> Login:
    """HTTP Basic (RFC 7617), the pair as UTF-8. The password is asked for when it is first needed."""
    value = ""
    guard = threading.Lock()

    def authorization(_refused: str) -> str:
        nonlocal value
        with guard:
            if not value:
                pair = f"{user}:{password()}".encode()
                value = f"Basic {base64.b64encode(pair).decode()}"
            return value

    return Login(origin, authorization)


def bearer(origin: str, token: Callable[[], str], *, renewable: bool, log: Log = _silent) -> Login:
    """A bearer token (RFC 6750); `renewable`: calling `token` again may bring another (a command).

    It is called again after a 401, and before a token ends that says itself when (a JWT, RFC 7519 4.1.4).
    """
    from dwcli.net.tokens import Token

    now: Token | None = None
    guard = threading.Lock()

    def authorization(refused: str) -> str:
        nonlocal now
        with guard:
            spent = now is not None and renewable and (refused == f"Bearer {now.access}" or now.due(time.time()))
            if now is None or spent:
                fresh = token()
                now = Token(fresh, issued=time.time(), expires=_end_of(fresh))
            return _bearer(now.access)

    return Login(origin, authorization, renewable=renewable, log=log)


def oidc(origin: str, tokens: "Tokens", *, log: Log = _silent) -> Login:
    """Access tokens of an OpenID provider, renewed as they end."""

    def authorization(refused: str) -> str:
        return _bearer(tokens.current(refused.removeprefix("Bearer ")))

    return Login(origin, authorization, renewable=True, log=log)


def _bearer(token: str) -> str:
    if not token or not token.isascii() or any(c.isspace() or not c.isprintable() for c in token):
        raise AuthError(
            "the token is empty or contains white space or non-ASCII characters",
            "check the profile's token source: dw profile show",
        )
    return f"Bearer {token}"


def _end_of(token: str) -> float | None:
    """When a JWT ends, by its own words; None for any other token."""
    try:
        body = token.split(".")[1]
        end = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"]
        return float(end)
    except (IndexError, ValueError, KeyError, TypeError):
        return None


def _spellings(header: str) -> set[str]:
    """A credential in the ways a server may repeat it; one of few characters would hide half the text."""
    scheme, _, credential = header.partition(" ")
    found = {credential}
    if scheme == "Basic":
        found.add(base64.b64decode(credential).decode().partition(":")[2])
    found |= {spelt for secret in found for spelt in (quote(secret, safe=""), json.dumps(secret)[1:-1])}
    return {secret for secret in found if len(secret) >= 4}
