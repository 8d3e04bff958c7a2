"""The kinds of login that a profile's `auth` table can select: one row each in TABLE.

A row defines a kind completely: its keys in the file (and so its options), what it requires, how to read it, which flow
of net/auth.py sends it, and what to type after a 401. Another kind (Google's or Amazon's own) is one more row, and its
flow there.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from dwcli.config.secret_sources import SUFFIXES, Sources, from_netrc
from dwcli.errors import UsageError, did_you_mean
from dwcli.net.registration import GRANTS, Registration

if TYPE_CHECKING:
    from dwcli.net import auth
    from dwcli.net.oidc import Provider
    from dwcli.net.tokens import TokenFile

_KEPT = "stdin now, saved in the configuration (0600)"


class Login(NamedTuple):
    """How a profile logs in. `secret`: returns the password or token; None if dw must prompt."""

    kind: str = "none"
    username: str = ""
    secret: Callable[[], str] | None = None
    source: str = ""
    """A description of the secret's source, without the secret."""
    renewable: bool = False
    """Whether calling `secret` again may return a new one."""
    oidc: Registration | None = None

    def for_person(self, other: "Login", *, unattended: bool) -> "Login":
        """Return this login with the user name and password of `other`."""
        mine = self._replace(username=other.username, secret=other.secret)
        if self.oidc is None:
            return mine._replace(source=other.source)
        return mine._replace(
            oidc=self.oidc._replace(username=other.username, password=other.secret, unattended=unattended)
        )


class Key(NamedTuple):
    """A key of an `auth` table, and its option. `option`: the option's name if it differs from the key's.

    `sources`: for a secret, the help of its options -env, -command, -file and -stdin; it has no option of its own name.
    """

    name: str
    metavar: str = ""
    help: str = ""
    option: str = ""
    choices: tuple[str, ...] = ()
    sources: tuple[str, str, str, str] | None = None

    @property
    def written(self) -> tuple[str, ...]:
        """The names of the key in the file."""
        return tuple(self.name + suffix for suffix in SUFFIXES) if self.sources else (self.name,)


class Written(NamedTuple):
    """An `auth` table to read, with its context: the profile's name and URL, `where` for errors."""

    auth: Mapping[str, Any]
    name: str
    url: str
    where: str
    sources: Sources
    netrc: Path

    @property
    def username(self) -> str:
        """The user name, empty if none is written."""
        return str(self.auth.get("username", ""))

    def question(self, word: str) -> str:
        """Return the prompt for a secret that has no other source."""
        return f"{word.capitalize()}{f' of {self.username}' if self.username else ''} at {self.name}: "


class Way(NamedTuple):
    """What a flow may need: its origin, the provider, and callbacks for messages."""

    origin: str
    provider: "Callable[[], tuple[Provider, TokenFile]]"
    warn: Callable[[str], None]
    log: Callable[[int, str], None]


class Kind(NamedTuple):
    """A row. `title` heads its options in the help; `keys` are its own, `shared` those of other rows it accepts too.

    `flag`: the help of an option named after the kind, for a kind without keys; `needs`: required keys;
    `begins`: a key that the options must set when a profile switches to this kind, and the error without it.
    `check(auth, where)` raises UsageError; `beforehand`: whether the user logs in once with `dw profile login`.
    `hint`: what to type after a 401, with {name} of the profile and {source} of the secret.
    """

    title: str
    keys: tuple[Key, ...] = ()
    shared: tuple[str, ...] = ()
    flag: str = ""
    needs: tuple[str, ...] = ()
    begins: tuple[str, str] | None = None
    check: Callable[[Mapping[str, Any], str], None] | None = None
    read: Callable[[Written], Login] = lambda _written: Login()
    flow: "Callable[[Login, Way], auth.Login | None]" = lambda _login, _way: None
    beforehand: bool = False
    hint: str = ""

    @property
    def written(self) -> set[str]:
        """The keys that its `auth` table may contain, besides `kind`."""
        return {word for key in all_keys() if key in self.keys or key.name in self.shared for word in key.written}


def all_keys() -> Iterator[Key]:
    """Yield every row's own keys."""
    return (key for row in TABLE.values() for key in row.keys)


def row_of(auth: Mapping[str, Any]) -> Kind:
    """Return the row of an `auth` table; the row `none` for an unknown kind."""
    return TABLE.get(str(auth.get("kind", "none")), TABLE["none"])


def read(auth: Mapping[str, Any], *, name: str, url: str, where: str, sources: Sources, netrc: Path) -> Login:
    """Return the login of one `auth` table. Raises UsageError as `check` does."""
    check(auth, where)
    return row_of(auth).read(Written(auth, name, url, where, sources, netrc))


def check(auth: Mapping[str, Any], where: str) -> None:
    """Raise UsageError, starting with `where`, on an `auth` table that is invalid or cannot work."""
    kind = str(auth.get("kind", "none"))
    if kind not in TABLE:
        raise UsageError(f"{where}: unknown auth kind {kind!r}", did_you_mean(kind, TABLE))
    row = TABLE[kind]
    known = {"kind", *row.written}
    for word in auth:
        if word not in known:
            raise UsageError(f"{where}: auth: unknown key {word!r}", did_you_mean(word, known))
    for needed in row.needs:
        if not auth.get(needed):
            raise UsageError(f"{where}: {kind} requires {needed}", f"--{needed.replace('_', '-')} …")
    if row.check:
        row.check(auth, where)
    for key in row.keys:
        value = auth.get(key.name)
        if key.choices and value is not None and value not in key.choices:
            raise UsageError(f"{where}: unknown {key.name} {value!r}", did_you_mean(str(value), key.choices))


def secret_words() -> frozenset[str]:
    """Return the keys whose values are never shown."""
    return frozenset({"client_key_password", *(key.name for key in all_keys() if key.sources)})


# User and password


def _read_basic(written: Written) -> Login:
    found = written.sources.find(written.auth, "password", written.where)
    secret = found or written.sources.prompt(written.question("password"))
    return Login("basic", written.username, secret.get, secret.source, secret.renewable)


def _read_netrc(written: Written) -> Login:
    user, password = from_netrc(written.netrc, urlsplit(written.url).hostname or "")
    return Login("basic", user, lambda: password, str(written.netrc))


def _send_basic(login: Login, way: Way) -> "auth.Login | None":
    from dwcli.net import auth

    return auth.basic(way.origin, login.username, login.secret) if login.secret else None


# Token


def _read_bearer(written: Written) -> Login:
    found = written.sources.find(written.auth, "token", written.where)
    secret = found or written.sources.prompt(written.question("token"))
    return Login("bearer", "", secret.get, secret.source, secret.renewable)


def _send_bearer(login: Login, way: Way) -> "auth.Login | None":
    from dwcli.net import auth

    return auth.bearer(way.origin, login.secret, renewable=login.renewable, log=way.log) if login.secret else None


# OpenID provider


def _read_oidc(written: Written) -> Login:
    auth, sources = written.auth, written.sources
    password = sources.find(auth, "password", written.where)
    secret = sources.find(auth, "client_secret", written.where)
    whose = password or sources.prompt(written.question("password"))
    registered = Registration(
        issuer=str(auth["issuer"]).rstrip("/"),
        client_id=str(auth["client_id"]),
        scope=str(auth.get("scope", "")),
        secret=secret.get if secret else None,
        username=written.username,
        password=whose.get,
        unattended=password is not None,
        grant=auth.get("grant"),
        redirect=str(auth.get("redirect", "http://127.0.0.1/")),
    )
    source = urlsplit(registered.issuer).netloc
    return Login("oidc", written.username, whose.get, source, renewable=True, oidc=registered)


def _send_oidc(_login: Login, way: Way) -> "auth.Login":
    from dwcli.net import auth
    from dwcli.net.tokens import Tokens

    provider, file = way.provider()
    return auth.oidc(way.origin, Tokens(file, provider.renew, warn=way.warn), log=way.log)


def _check_oidc(auth: Mapping[str, Any], where: str) -> None:
    _check_issuer(str(auth["issuer"]), where)
    secret = any(f"client_secret{suffix}" in auth for suffix in SUFFIXES)
    if auth.get("grant") == "client_credentials" and not secret:
        raise UsageError(f"{where}: client_credentials requires a client secret", "--client-secret-command C")


def _check_issuer(issuer: str, where: str) -> None:
    """An issuer is an https URL without query or fragment (OpenID Connect Core 1.0, 2); on this machine http too."""
    try:
        split = urlsplit(issuer)
        host = split.hostname or ""
    except ValueError:
        split, host = urlsplit(""), ""
    if split.username is not None or split.query or split.fragment or (split.scheme == "https" and not host):
        raise UsageError(f"{where}: the issuer is not a URL", "--issuer https://id.example.org/realms/main")
    if split.scheme == "https" or (split.scheme == "http" and _is_here(host)):
        return
    rest = issuer.partition("://")[2] or issuer
    hint = f"--issuer https://{rest}" if rest else "--issuer https://id.example.org/realms/main"
    raise UsageError(f"{where}: the issuer {issuer} must be an https URL, because dw sends it secrets", hint)


def _is_here(host: str) -> bool:
    from ipaddress import ip_address

    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


TABLE: dict[str, Kind] = {
    "none": Kind(
        "User and password",
        hint="dw profile edit {name} --user U   (or --token-command C, or --auth oidc)",
    ),
    "basic": Kind(
        "User and password",
        keys=(
            Key("username", "U", "The user name; the password comes from one of:", option="user"),
            Key(
                "password",
                sources=("this variable,", "this command's first line,", "this file,", f"or {_KEPT}; else dw prompts."),
            ),
        ),
        begins=("username", "a password requires a user"),
        read=_read_basic,
        flow=_send_basic,
        hint="dw profile edit {name} --user U --password-command C   (now from {source})",
    ),
    "bearer": Kind(
        "Token",
        keys=(
            Key(
                "token",
                sources=(
                    "The bearer token: from this variable,",
                    "from this command, run again after a 401 or on expiry,",
                    "from this file,",
                    f"or {_KEPT}.",
                ),
            ),
        ),
        read=_read_bearer,
        flow=_send_bearer,
        hint="dw profile edit {name} --token-command C   (now from {source})",
    ),
    # Reads as a login of the kind `basic`.
    "netrc": Kind("User and password", flag="User and password from ~/.netrc.", read=_read_netrc),
    "oidc": Kind(
        "OpenID provider",
        keys=(
            Key("issuer", "URL", "The provider's issuer, for --auth oidc."),
            Key("client_id", "ID", "The client ID registered there."),
            Key(
                "client_secret",
                sources=(
                    "The client secret: from this variable,",
                    "from this command,",
                    "from this file,",
                    f"or {_KEPT}.",
                ),
            ),
            Key("scope", "S", "The scopes to request, separated by spaces."),
            Key(
                "grant",
                "G",
                "device, code, client_credentials or password; default: what the provider allows.",
                choices=GRANTS,
            ),
            Key("redirect", "URL", "The registered redirect URI: http://127.0.0.1 or http://localhost."),
        ),
        shared=("username", "password"),
        needs=("issuer", "client_id"),
        check=_check_oidc,
        read=_read_oidc,
        flow=_send_oidc,
        beforehand=True,
        hint="dw profile login {name}",
    ),
}
KINDS = tuple(TABLE)
