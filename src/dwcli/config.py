"""Profiles: where servers are. The only reader of the environment.

A flag beats a variable, a variable beats the file, the file beats the default.
"""

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from dwcli import logins
from dwcli.dicomweb.dialects import Dialect, choose
from dwcli.errors import DwError, UsageError, did_you_mean
from dwcli.logins import KINDS, SECRETS, Login
from dwcli.secrets import SUFFIXES, Sources

if TYPE_CHECKING:
    import ssl

__all__ = ["KINDS", "SECRETS", "Environment", "File", "Login", "Profile", "read_secret", "select"]

_LONGEST = 1e6  # seconds
_TLS_FILES = ("ca", "client_cert", "client_key")
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that answers in this process. `archive`: it can be stored into; `folder`: files of any layout, which are
    only read; `demo`: an archive made on first use, only read. `index`: where a folder's index is kept.
    """

    kind: Literal["archive", "folder", "demo"]
    root: Path
    index: Path


@dataclass(frozen=True, slots=True)
class Profile:
    """One server, with everything resolved but the secret."""

    name: str
    url: str
    dialect: Dialect
    headers: Mapping[str, str] = field(default_factory=dict)
    login: Login = field(default_factory=Login)
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

    def tls(self) -> "ssl.SSLContext":
        """Whom to trust and what to show. Raises UsageError where a file cannot be used, AuthError for a passphrase."""
        from dwcli.net import tls

        if self.url.lower().startswith("http:") and self.login.oidc is None:
            return tls.none()
        return tls.context(
            ca=self.ca,
            client_cert=self.client_cert,
            client_key=self.client_key,
            passphrase=self.key_password,
            insecure=self.insecure,
        )


@dataclass(frozen=True, slots=True)
class Environment:
    """What the environment says; nothing else reads it."""

    config: Path
    profile: str
    url: str
    user: str
    password: str | None = field(repr=False)
    token: str | None = field(repr=False)
    no_color: bool
    dumb: bool
    columns: int | None
    state: Path = field(default_factory=lambda: _state())
    netrc: Path = field(default_factory=lambda: Path("~/.netrc").expanduser())
    screen: bool = False
    """Whether a browser's window can be opened here."""

    @classmethod
    def read(cls) -> "Environment":
        """The process's environment, now."""
        get = os.environ.get
        columns = get("COLUMNS", "")
        return cls(
            config=Path(get("DW_CONFIG", "")).expanduser() if get("DW_CONFIG") else _default_config(),
            profile=get("DW_PROFILE", ""),
            url=get("DW_URL", ""),
            user=get("DW_USER", ""),
            password=get("DW_PASSWORD"),
            token=get("DW_TOKEN") or None,
            no_color=bool(get("NO_COLOR")),
            dumb=get("TERM") == "dumb",
            columns=int(columns) if columns.isdecimal() and int(columns) > 0 else None,
            netrc=Path(get("NETRC") or "~/.netrc").expanduser(),
            screen=sys.platform in ("win32", "darwin") or bool(get("DISPLAY") or get("WAYLAND_DISPLAY")),
        )


def _default_config() -> Path:
    from platformdirs import user_config_path

    return user_config_path("dw", appauthor=False) / "config.toml"


BUILT_IN = ("local", "demo")
"""Profiles that need no file; one of the same name in the file goes before."""


def local_archive() -> Path:
    """The folder of the archive that the profile `local` means."""
    from platformdirs import user_data_path

    return user_data_path("dw", appauthor=False) / "archive"


def place_of(root: Path) -> Place:
    """Any folder of DICOM files, read only; its index goes to the cache, as nothing is written beside the files."""
    from hashlib import sha256

    name = sha256(os.fsencode(root.resolve())).hexdigest()[:32]
    return Place("folder", root.resolve(), _cache() / "folders" / f"{name}.sqlite")


def _cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("dw", appauthor=False)


def _built_in(name: str) -> Profile:
    root = local_archive() if name == "local" else _cache() / "demo"
    place = Place("archive" if name == "local" else "demo", root, root)
    return Profile(name=name, url=f"http://{name}", dialect=choose("archive"), place=place)


def _folder(path: Path) -> Profile:
    return Profile(name=str(path), url="http://folder", dialect=choose("archive"), place=place_of(path))


def _is_folder(address: str) -> bool:
    return not re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", address) and Path(address).expanduser().is_dir()


def _state() -> Path:
    from platformdirs import user_state_path

    return user_state_path("dw", appauthor=False)


def proxy_from_environment(url: str) -> str:
    """The proxy that HTTP_PROXY and its kin, but for NO_PROXY, put before this URL; empty where there is none."""
    from urllib import request

    split = urlsplit(url)
    found = request.getproxies_environment()
    chosen = found.get(split.scheme) or found.get("all") or ""
    return "" if request.proxy_bypass_environment(split.netloc, found) else chosen  # type: ignore[attr-defined]


def variable(name: str) -> str | None:
    """One named variable, for secrets that live in the environment."""
    return os.environ.get(name)


def read_secret(word: str, variable_name: str | None, command: str | None) -> str:
    """A secret that belongs to no profile: from a named variable, or a command's first line. Raises AuthError."""
    named = {f"{word}_command": command} if command is not None else {f"{word}_env": variable_name or ""}
    found = Sources(Path(), variable, lambda _question: "").find(named, word, "")
    assert found is not None
    return found.get()


def select(
    environment: Environment,
    *,
    profile: str = "",
    url: str = "",
    timeout: float | None = None,
    headers: Mapping[str, str] | None = None,
    ask: Callable[[str], str],
) -> Profile:
    """The profile a command runs with. `ask(question)` prompts for a secret; it raises where nobody can answer.

    Raises UsageError with the next command where there is none, or where `url` would carry a profile's login elsewhere.
    """
    if timeout is not None and not 0 < timeout < _LONGEST:
        raise UsageError(f"not a time-out in seconds: {timeout}", "--timeout 30")
    file = File.load(environment.config)
    name = profile or ("" if url else environment.profile)
    address = url or ("" if profile or environment.profile else environment.url)
    if address and not name and _is_folder(address):
        chosen = _folder(Path(address).expanduser())
    elif address and not name:
        chosen = _bare(environment, _address(address), ask)
    else:
        name = name or file.default
        if not name:
            raise UsageError(
                "no server chosen", "dw profile add NAME URL   (or --url URL for this once; -p demo to look around)"
            )
        chosen = file.profile(name, environment, ask) if name in file.names or name not in BUILT_IN else _built_in(name)
        if address:
            address = _address(address)
            if _origin(address) != _origin(chosen.url):
                raise UsageError(
                    f"--url {address} is on another server than profile {name}, whose login stays at home",
                    "leave out either -p or --url",
                )
            chosen = replace(chosen, url=address)
    later = {header.lower() for header in headers or {}}
    return replace(
        chosen,
        headers={**{k: v for k, v in chosen.headers.items() if k.lower() not in later}, **(headers or {})},
        timeout=timeout if timeout is not None else chosen.timeout,
    )


def _bare(environment: Environment, url: str, ask: Callable[[str], str]) -> Profile:
    """`--url` or DW_URL alone: the login comes from the environment."""
    return Profile(name="", url=url, dialect=choose("auto"), login=_from_environment(environment, ask) or Login())


def _from_environment(environment: Environment, ask: Callable[[str], str]) -> Login | None:
    if environment.token is not None:
        token = environment.token
        return Login("bearer", secret=lambda: token, source="DW_TOKEN")
    if environment.user:
        password = environment.password
        secret = (lambda: password) if password is not None else (lambda: ask(f"Password of {environment.user}: "))
        return Login("basic", environment.user, secret, "DW_PASSWORD" if password is not None else "prompt")
    return None


def _address(url: str) -> str:
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


def _origin(url: str) -> tuple[str, str | None, int | None]:
    split = urlsplit(url)
    return split.scheme, split.hostname, split.port or {"http": 80, "https": 443}.get(split.scheme)


class File:
    """The configuration file, edited in place so that comments survive (tomlkit), mode 0600."""

    def __init__(self, path: Path, document: Any) -> None:
        self.path = path
        self._document = document

    @classmethod
    def load(cls, path: Path) -> "File":
        """Read it; one that does not exist is empty. Raises UsageError with the line where it is not TOML."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return cls(path, None)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read {path}: {error}") from error
        import tomllib

        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{path}: {error}", "mend the file, or move it away") from error
        _known(document, {"default", "profiles"}, str(path))
        for name, profile in _table(document, "profiles", str(path)).items():
            if not isinstance(profile, dict):
                raise UsageError(f"{path}: profile {name} is no table", f"[profiles.{name}]")
        return cls(path, document)

    @property
    def default(self) -> str:
        """The profile used when none is named, empty where there is none."""
        return str((self._document or {}).get("default", ""))

    @property
    def names(self) -> list[str]:
        """The profiles' names in the file's order."""
        return list((self._document or {}).get("profiles", {}))

    def table(self, name: str) -> Mapping[str, Any]:
        """One profile as written. Raises UsageError with near names where there is none."""
        profiles = (self._document or {}).get("profiles", {})
        if name not in profiles and name in BUILT_IN:
            raise UsageError(f"the profile {name} is built in: nothing of it is in {self.path}", f"dw -p {name} search")
        if name not in profiles:
            hint = did_you_mean(name, [*profiles, *BUILT_IN]) if profiles else f"dw profile add {name} URL"
            raise UsageError(f"no profile called {name!r}", hint)
        found: Mapping[str, Any] = profiles[name]
        return found

    def profile(self, name: str, environment: Environment, ask: Callable[[str], str]) -> Profile:
        """One profile, resolved. DW_USER, DW_PASSWORD and DW_TOKEN beat what the file says."""
        table = dict(self.table(name))
        where = f"{self.path}: profile {name}"
        _known(table, {"url", "dialect", "headers", "auth", "tls", "proxy", "timeout"}, where)
        tls = _table(table, "tls", where)
        passphrases = {f"client_key_password{suffix}" for suffix in SUFFIXES}
        _known(tls, {*_TLS_FILES, "insecure", *passphrases}, f"{where}: tls")
        timeout = table.get("timeout")
        if timeout is not None and not (type(timeout) in (int, float) and 0 < timeout < _LONGEST):
            raise UsageError(f"{where}: timeout = {timeout!r}", "a number of seconds")
        sources = Sources(self.path, variable, ask)
        url = _address(str(table.get("url", "")))
        headers = _headers(_table(table, "headers", where), where)
        if any(key.lower() in _SECRET_HEADERS for key in headers):
            sources.keep_private("a header with a secret", where)
        proxy = str(table.get("proxy") or "")
        if "@" in proxy:
            sources.keep_private("the proxy's password", where)
        paths = {key: sources.path(str(tls[key])) if tls.get(key) else None for key in _TLS_FILES}
        passphrase = sources.find(tls, "client_key_password", where) or sources.prompt(
            f"Passphrase of {paths['client_key'] or paths['client_cert']}: "
        )
        return Profile(
            name=name,
            url=url,
            dialect=_dialect(table.get("dialect", "auto"), where),
            headers=headers,
            login=_login(_table(table, "auth", where), name, url, where, sources, environment),
            insecure=tls.get("insecure") is True,
            proxy=proxy or None,
            timeout=float(timeout) if timeout is not None else None,
            key_password=passphrase.get,
            ca=paths["ca"],
            client_cert=paths["client_cert"],
            client_key=paths["client_key"],
        )

    # Writing

    def put(self, name: str, table: Mapping[str, Any], *, replace: bool = False) -> None:
        """Write a profile; the first one becomes the default. Raises UsageError on a bad or a taken name."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise UsageError(f"not a profile name: {name!r}", "letters, digits, dots, dashes and underscores")
        if name in self.names and not replace:
            raise UsageError(
                f"there is a profile {name} already",
                f"dw profile edit {name} …  or  dw profile remove {name}",
            )
        _address(str(table.get("url", "")))
        _dialect(table.get("dialect", "auto"), f"profile {name}")

        def change(document: Any) -> None:
            import tomlkit

            profiles = document.setdefault("profiles", tomlkit.table(is_super_table=True))
            _merge(profiles, name, table)

        self._write(change, default=self.default or name)

    def use(self, name: str) -> None:
        """Make a profile the default."""
        self.table(name)
        self._write(lambda _document: None, default=name)

    def remove(self, name: str) -> None:
        """Take a profile out; the default falls away with it."""
        self.table(name)

        def change(document: Any) -> None:
            del document["profiles"][name]

        self._write(change, default="" if self.default == name else self.default)

    def _write(self, change: Callable[[Any], None], *, default: str) -> None:
        """Edit the file and put it in place whole, readable by its owner only."""
        import tempfile

        import tomlkit

        try:
            text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
            document = tomlkit.parse(text)
            change(document)
            if default and "default" in document:
                document["default"] = default
            elif "default" in document:
                del document["default"]
            written = tomlkit.dumps(document)
            if default and "default" not in document:
                # Above all tables, where TOML wants it.
                written = f"default = {tomlkit.string(default).as_string()}\n\n{written}"
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=".config-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(written)
                os.replace(temporary, os.path.realpath(self.path))  # noqa: PTH105
            except BaseException:
                os.unlink(temporary)  # noqa: PTH108
                raise
        except OSError as error:
            raise DwError(f"cannot write {self.path}: {error.strerror or error}") from error
        self._document = tomlkit.parse(written).unwrap()


def _login(auth: dict[str, Any], name: str, url: str, where: str, sources: Sources, environment: Environment) -> Login:
    """What is written, but for what the environment says; a user and a password are then the provider's, if any."""
    given = _from_environment(environment, sources.ask)
    if given is not None and not (given.kind == "basic" and auth.get("kind") == "oidc"):
        return given
    if environment.password is not None and auth.get("kind") in ("basic", "oidc"):
        known = auth if auth.get("kind") == "oidc" else {k: v for k, v in auth.items() if not k.startswith("password")}
        written = logins.read(known, name=name, url=url, where=where, sources=sources, netrc=environment.netrc)
        password = environment.password
        other = Login("basic", environment.user or written.username, lambda: password, "DW_PASSWORD")
        return written.for_person(other, unattended=True)
    written = logins.read(auth, name=name, url=url, where=where, sources=sources, netrc=environment.netrc)
    return written.for_person(given, unattended=False) if given else written


def _known(table: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise UsageError(f"{where}: unknown key {key!r}", did_you_mean(key, known))


def _table(parent: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    found = parent.get(key, {})
    if not isinstance(found, dict):
        raise UsageError(f"{where}: {key} is no table", f'{key} = {{ "key" = "value" }}, or a [section]')
    return found


def _headers(table: dict[str, Any], where: str) -> dict[str, str]:
    for name, value in table.items():
        sent = f"{name}{value}"
        if not (isinstance(value, str) and sent.isascii() and sent.isprintable()) or not name or " " in name:
            raise UsageError(f"{where}: the header {name!r} cannot be sent", "a name and a text, in ASCII, on one line")
    return dict(table)


def _merge(tables: Any, name: str, table: Mapping[str, Any]) -> None:
    """Put `table` under `name`, keeping what stands there unless it is named; None takes a key out."""
    import tomlkit

    if not isinstance(tables.get(name), Mapping):
        tables[name] = tomlkit.table()
    for key, value in table.items():
        if value is None:
            tables[name].pop(key, None)
        elif isinstance(value, Mapping):
            _merge(tables[name], key, value)
        else:
            tables[name][key] = value


def _dialect(written: Any, where: str) -> Dialect:
    """`dialect = "orthanc"`, or a table with `name` and single differences."""
    try:
        if isinstance(written, Mapping):
            differences = dict(written)
            return choose(str(differences.pop("name", "auto")), differences)
        return choose(str(written))
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", error.hint) from None
