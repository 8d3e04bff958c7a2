"""HTTP: the only room that imports httpx, without what httpx loads and no request of `dw` uses.

Cookies are the largest part of that: they bring urllib.request, http.client and the parsers of mail. `dw` keeps none,
for every request stands for itself.
"""

from collections.abc import Callable, Iterator
from typing import Any

from dwcli import lean

# Asynchronous programs, HTTP/2, a command line with its colours.
_ABSENT = ("anyio", "trio", "h2", "httpx._main")
_LATER = (
    "certifi",
    "email.message",
    "hashlib",
    "http.cookiejar",
    "httpcore._async",
    "idna",
    "logging",
    "mimetypes",
    "urllib.request",
)


class _Jar:
    """A cookie jar that stays empty."""

    def extract_cookies(self, _response: object, _request: object) -> None:
        """Keep nothing."""

    def __iter__(self) -> Iterator[object]:
        return iter(())

    def __len__(self) -> int:
        return 0


class _Asked:
    """What a cookie jar is shown of a request."""

    def __init__(self, *_words: object, **_named: object) -> None:
        pass


class _Log:
    """A logger that nobody listens to; `dw` has its own -vv."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_words, **_named: None


with lean.imports(
    _LATER,
    absent=_ABSENT,
    taken={
        "http.cookiejar": {"Cookie": object, "CookieJar": _Jar},
        "logging": {"DEBUG": 10, "getLogger": _Log},
        "urllib.request": {"Request": _Asked},
    },
):
    import httpcore as httpcore
    import httpx as httpx


def client(**options: Any) -> httpx.Client:
    """An httpx.Client, which loads a list of authorities even where `verify` names those that it trusts."""
    with lean.imports(("certifi",)):
        return httpx.Client(**options)
