"""The kinds of login that a profile's `auth` table can ask for.

Google's and Amazon's own libraries have their place here: one more kind, and one more flow in net/auth.py.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args
from urllib.parse import urlsplit

from dwcli.config.secret_sources import SUFFIXES, Sources, from_netrc
from dwcli.errors import UsageError, did_you_mean

AuthKind = Literal["none", "basic", "bearer", "oidc"]
KINDS: tuple[str, ...] = ("none", "basic", "bearer", "netrc", "oidc")
Grant = Literal["device", "code", "client_credentials", "password"]
GRANTS: tuple[str, ...] = get_args(Grant)
SECRETS = ("password", "token", "client_secret", "client_key_password")


class Oidc(NamedTuple):
    """An OpenID provider and this client's registration there. `unattended`: the password needs no person."""

    issuer: str
    client_id: str
    client_secret: Callable[[], str] | None = None
    scope: str = ""
    grant: Grant | None = None
    redirect: str = "http://127.0.0.1/"
    unattended: bool = False


class Login(NamedTuple):
    """How a profile logs in. `secret`: the password or token; None where it has to be asked for."""

    kind: AuthKind = "none"
    username: str = ""
    secret: Callable[[], str] | None = None
    source: str = ""
    """Where the secret comes from, in words without the secret."""
    renewable: bool = False
    """Whether asking again may bring another secret."""
    oidc: Oidc | None = None

    def for_person(self, other: "Login", *, unattended: bool) -> "Login":
        """This login at its provider, with the user name and password of `other`."""
        registered = self.oidc._replace(unattended=unattended) if self.oidc else None
        source = self.source if self.oidc else other.source
        return self._replace(username=other.username, secret=other.secret, source=source, oidc=registered)


def read(auth: Mapping[str, Any], *, name: str, url: str, where: str, sources: Sources, netrc: Path) -> Login:
    """The login of one `auth` table. Raises UsageError as `check` does."""
    check(auth, where)
    kind, user = str(auth.get("kind", "none")), str(auth.get("username", ""))
    match kind:
        case "basic" | "bearer":
            word = "password" if kind == "basic" else "token"
            question = f"{word.capitalize()}{f' of {user}' if user else ''} at {name}: "
            secret = sources.find(auth, word, where) or sources.prompt(question)
            return Login(kind, user, secret.get, secret.source, secret.renewable)
        case "netrc":
            host = urlsplit(url).hostname or ""
            user, password = from_netrc(netrc, host)
            return Login("basic", user, lambda: password, str(netrc))
        case "oidc":
            return _oidc(auth, name, user, where, sources)
    return Login()


def check(auth: Mapping[str, Any], where: str) -> None:
    """Raises UsageError, which begins with `where`, on an `auth` table that is not understood or cannot work."""
    kind = str(auth.get("kind", "none"))
    if kind not in KINDS:
        raise UsageError(f"{where}: unknown auth kind {kind!r}", did_you_mean(kind, KINDS))
    known = {"kind", *_KEYS[kind]}
    for key in auth:
        if key not in known:
            raise UsageError(f"{where}: auth: unknown key {key!r}", did_you_mean(key, known))
    if kind != "oidc":
        return
    for key in ("issuer", "client_id"):
        if not auth.get(key):
            raise UsageError(f"{where}: oidc without {key}", f"--{key.replace('_', '-')} …")
    _check_issuer(str(auth["issuer"]), where)
    grant = auth.get("grant")
    if grant is not None and grant not in GRANTS:
        raise UsageError(f"{where}: unknown grant {grant!r}", did_you_mean(str(grant), GRANTS))
    if grant == "client_credentials" and not any(key in auth for key in _with_sources("client_secret")):
        raise UsageError(f"{where}: client_credentials without a client secret", "--client-secret-command C")


def _check_issuer(issuer: str, where: str) -> None:
    """An issuer is an https URL without query or fragment (OpenID Connect Core 1.0, 2); on this machine http too."""
    try:
        split = urlsplit(issuer)
        host = split.hostname or ""
    except ValueError:
        split, host = urlsplit(""), ""
    if split.username is not None or split.query or split.fragment or (split.scheme == "https" and not host):
        raise UsageError(f"{where}: the issuer is not an address", "--issuer https://id.example.org/realms/main")
    if split.scheme == "https" or (split.scheme == "http" and _is_here(host)):
        return
    rest = issuer.partition("://")[2] or issuer
    hint = f"--issuer https://{rest}" if rest else "--issuer https://id.example.org/realms/main"
    raise UsageError(f"{where}: the issuer {issuer} has to be an https address, as secrets are sent to it", hint)


def _is_here(host: str) -> bool:
    from ipaddress import ip_address

    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _oidc(auth: Mapping[str, Any], name: str, user: str, where: str, sources: Sources) -> Login:
    password = sources.find(auth, "password", where)
    secret = sources.find(auth, "client_secret", where)
    whose = password or sources.prompt(f"Password{f' of {user}' if user else ''} at {name}: ")
    registered = Oidc(
        issuer=str(auth["issuer"]).rstrip("/"),
        client_id=str(auth["client_id"]),
        client_secret=secret.get if secret else None,
        scope=str(auth.get("scope", "")),
        grant=auth.get("grant"),
        redirect=str(auth.get("redirect", "http://127.0.0.1/")),
        unattended=password is not None,
    )
    return Login("oidc", user, whose.get, urlsplit(registered.issuer).netloc, renewable=True, oidc=registered)


def _with_sources(*words: str) -> set[str]:
    return {word + suffix for word in words for suffix in SUFFIXES}


_KEYS: dict[str, set[str]] = {
    "none": set(),
    "netrc": set(),
    "basic": {"username", *_with_sources("password")},
    "bearer": _with_sources("token"),
    "oidc": {
        "issuer",
        "client_id",
        "scope",
        "grant",
        "redirect",
        "username",
        *_with_sources("password", "client_secret"),
    },
}
