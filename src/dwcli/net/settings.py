"""How to reach one server: URL, trusted certificates, login, and time-outs."""

import ssl
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from dwcli.errors import UsageError
from dwcli.net.auth import Login, origin_of


class Settings(NamedTuple):
    """How to reach one server. Times in seconds. There is no total deadline: silence times out, slowness does not."""

    base: str
    auth: httpx.Auth | None = None
    login_hint: str = "check it with `dw profile test`, change it with `dw profile edit`"
    """What to do after a 401."""
    headers: Mapping[str, str] = MappingProxyType({})
    verify: ssl.SSLContext | bool = True
    """Whom to trust."""
    proxy: str | None = None
    trust_env: bool = True
    connect: float = 10.0
    silence: float = 60.0
    first_byte: float = 300.0
    tries: int = 12
    patience: float = 300.0
    """Seconds that all pauses between the tries of one request, and the silences, may take together."""
    connections: int = 64

    @property
    def login(self) -> Login | None:
        """The flow that adds the credential, or None."""
        return self.auth if isinstance(self.auth, Login) else None

    @property
    def trust(self) -> ssl.SSLContext | bool:
        """What httpx verifies certificates by."""
        if self.base.lower().startswith("http:"):
            # Reading all certificate authorities takes 20 ms, and no request leaves the origin: trust none.
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return self.verify

    def hide(self, text: str) -> str:
        """The server's own words without the credential that it was sent."""
        return self.login.hide(text) if self.login else text


def origin_of_url(url: str) -> str:
    """Return `scheme://host:port` of a URL, always with the port. Raises UsageError for anything else."""
    try:
        found = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise UsageError(
            f"not a URL: {url[:200]} ({error})", "use a URL such as https://pacs.example.org/dicom"
        ) from error
    if any(c.isspace() for c in urlsplit(url).netloc) or not 0 < (found.port or 1) < 65536:
        raise UsageError(f"not a URL: {url[:200]}", "check it for white space and a port number above 65535")
    return origin_of(found)
