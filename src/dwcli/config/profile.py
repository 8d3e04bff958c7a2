"""A profile: one server, or a folder that answers as one."""

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
"""Profiles that need no file; one of the same name in the file goes before."""


class Place(NamedTuple):
    """A folder that answers in this process. `archive`: it can be stored into; `folder`: files of any layout, which are
    only read; `demo`: an archive made on first use, only read. `indexes`: where a folder's index is kept.
    """

    kind: Literal["archive", "folder", "demo"]
    root: Path
    indexes: Path


class Profile(NamedTuple):
    """One server, with everything resolved but the secret."""

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
    """Where no server is asked but a folder."""
    key_password: Callable[[], str] | None = None
    """The passphrase of the client's key, asked for where the key is encrypted."""

    @property
    def encrypted(self) -> bool:
        """Whether TLS is used at all."""
        return not self.url.lower().startswith("http:") or self.login.oidc is not None

    def tls(self) -> "ssl.SSLContext | None":
        """Whom to trust and what to show; None where no TLS is spoken, for to make one takes 2 ms.

        Raises UsageError where a file cannot be used, AuthError for a passphrase.
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
    """The folder of the archive that the profile `local` means."""
    return data() / "archive"


def place_of(root: Path) -> Place:
    """Any folder of DICOM files, read only; its index goes to the cache, as nothing is written beside the files."""
    from hashlib import sha256

    name = sha256(os.fsencode(root.resolve())).hexdigest()[:32]
    return Place("folder", root.resolve(), cache() / "folders" / f"{name}.sqlite")


def built_in(name: str) -> Profile:
    """One of BUILT_IN."""
    from dwcli.dicomweb.dialects import choose

    root = local_archive() if name == "local" else cache() / "demo"
    place = Place("archive" if name == "local" else "demo", root, root)
    return Profile(name=name, url=f"http://{name}", dialect=choose("archive"), place=place)


def built_ins() -> list[Profile]:
    """Those of BUILT_IN that have a place: without a home folder there is none to keep an archive in."""
    found = []
    for name in BUILT_IN:
        try:
            found.append(built_in(name))
        except UsageError:
            continue
    return found


def folder(path: Path) -> Profile:
    """Any folder of DICOM files as a profile without a name in the configuration."""
    from dwcli.dicomweb.dialects import choose

    place = place_of(path)
    # Each folder has an address of its own, so that what is found in one is not looked for in another.
    return Profile(
        name=str(path), url=f"http://folder-{place.indexes.stem[:8]}", dialect=choose("archive"), place=place
    )


def is_folder(address: str) -> bool:
    return not re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", address) and at_home(address).is_dir()


def address_of(url: str) -> str:
    """A base URL as it is used: no trailing slash, no login inside. Raises UsageError."""
    url = url.strip()
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise UsageError("a URL must not hold a login: it would be seen in process lists and logs", "use --user NAME")
    try:
        split = urlsplit(url)
        good = split.scheme in ("http", "https") and split.hostname and split.port != 0
    except ValueError:
        good = False
    if not good or any(c.isspace() or not c.isprintable() for c in url):
        raise UsageError(
            f"not a server address: {url!r}", "a URL such as https://pacs.example.org/dicom-web, or a folder"
        )
    if split.query or split.fragment:
        raise UsageError(f"a base URL has no query or fragment: {url}", "give the address up to /studies, without it")
    if split.path.rstrip("/").endswith("/studies"):
        raise UsageError(f"the base URL ends before /studies: {url}", url.rstrip("/").removesuffix("/studies"))
    return url.rstrip("/")


def origin_of(url: str) -> tuple[str, str | None, int | None]:
    split = urlsplit(url)
    return split.scheme, split.hostname, split.port or {"http": 80, "https": 443}.get(split.scheme)
