"""A profile: one server, or a folder that acts as one."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import urlsplit

from dwcli.config.environment import at_home, cache, data
from dwcli.config.logins import Login
from dwcli.errors import UsageError

if TYPE_CHECKING:
    import ssl

    from dwcli.dicomweb.dialects import Dialect

BUILT_IN = ("local", "demo")
"""Profiles that need no file; one of the same name in the file takes precedence."""


class Place(NamedTuple):
    """A folder served in this process. `archive`: accepts store requests; `folder`: files in any layout, read only;
    `demo`: an archive created on first use, read only. `indexes`: where the folder's index is saved.
    """

    kind: Literal["archive", "folder", "demo"]
    root: Path
    indexes: Path


class Profile(NamedTuple):
    """One server, with everything but the secret resolved."""

    name: str
    url: str
    dialect: "Dialect"
    headers: Mapping[str, str] = MappingProxyType({})
    login: Login = Login()
    ca: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    insecure: bool = False
    proxy: str | None = None
    timeout: float | None = None
    place: Place | None = None
    """The folder that replaces the server, if any."""
    key_password: Callable[[], str] | None = None
    """Returns the passphrase of the client key; called only if the key is encrypted."""

    @property
    def encrypted(self) -> bool:
        """Whether TLS is used at all."""
        return not self.url.lower().startswith("http:") or self.login.oidc is not None

    def tls(self) -> "ssl.SSLContext | None":
        """Return the TLS context; None without TLS, because creating one takes 2 ms.

        Raises UsageError if a file cannot be used, AuthError for a passphrase.
        """
        if not self.encrypted:
            return None
        from dwcli.net import tls

        return tls.context(
            ca=self.ca,
            client_cert=self.client_cert,
            client_key=self.client_key,
            passphrase=self.key_password,
            insecure=self.insecure,
        )


def local_archive() -> Path:
    """Return the folder of the archive of profile `local`."""
    return data() / "archive"


def place_of(root: Path) -> Place:
    """Return the place for any folder of DICOM files, read only; its index goes to the cache, not beside the files."""
    from hashlib import sha256

    name = sha256(os.fsencode(root.resolve())).hexdigest()[:32]
    return Place("folder", root.resolve(), cache() / "folders" / f"{name}.sqlite")


def built_in(name: str) -> Profile:
    """Return one of BUILT_IN."""
    from dwcli.dicomweb.dialects import choose

    root = local_archive() if name == "local" else cache() / "demo"
    place = Place("archive" if name == "local" else "demo", root, root)
    return Profile(name=name, url=f"http://{name}", dialect=choose("archive"), place=place)


def built_ins() -> list[Profile]:
    """Return the profiles of BUILT_IN that have a folder: without a home folder there is none."""
    found = []
    for name in BUILT_IN:
        try:
            found.append(built_in(name))
        except UsageError:
            continue
    return found


def folder(path: Path) -> Profile:
    """Return a profile for any folder of DICOM files, without a name in the configuration."""
    from dwcli.dicomweb.dialects import choose

    place = place_of(path)
    # Each folder has its own URL, so that references into one are not resolved in another.
    return Profile(
        name=str(path), url=f"http://folder-{place.indexes.stem[:8]}", dialect=choose("archive"), place=place
    )


def is_folder(address: str) -> bool:
    return not re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", address) and at_home(address).is_dir()


def address_of(url: str) -> str:
    """Return the normalized base URL: no trailing slash, no login. Raises UsageError."""
    url = url.strip()
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise UsageError("a login in a URL would appear in process lists and logs", "use --user NAME")
    try:
        split = urlsplit(url)
        good = split.scheme in ("http", "https") and split.hostname and split.port != 0
    except ValueError:
        good = False
    if not good or any(c.isspace() or not c.isprintable() for c in url):
        raise UsageError(
            f"not a server URL: {url!r}", "use a URL such as https://pacs.example.org/dicom-web, or a folder"
        )
    if split.query or split.fragment:
        raise UsageError(f"a base URL has no query or fragment: {url}", "give everything before /studies")
    if split.path.rstrip("/").endswith("/studies"):
        raise UsageError(f"the base URL must end before /studies: {url}", url.rstrip("/").removesuffix("/studies"))
    return url.rstrip("/")


def origin_of(url: str) -> tuple[str, str | None, int | None]:
    split = urlsplit(url)
    return split.scheme, split.hostname, split.port or {"http": 80, "https": 443}.get(split.scheme)
