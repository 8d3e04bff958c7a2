"""The client's registration at an OpenID provider; apart from net/oidc.py, as reading a profile needs no httpx."""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

Grant = Literal["device", "code", "client_credentials", "password"]
GRANTS: tuple[str, ...] = get_args(Grant)


class Registration(NamedTuple):
    """A client's registration. Secrets are fetched when needed, never kept here.

    `unattended`: the password comes from a source that needs no person. `scope`: empty for what brings a token that
    can be renewed. `redirect`: the loopback address registered for the browser's way back, its port free.
    """

    issuer: str
    client_id: str
    scope: str = ""
    secret: Callable[[], str] | None = None
    username: str = ""
    password: Callable[[], str] | None = None
    unattended: bool = False
    grant: Grant | None = None
    redirect: str = "http://127.0.0.1/"
