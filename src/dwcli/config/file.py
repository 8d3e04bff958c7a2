"""The configuration file: profiles as written."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dwcli.config import logins
from dwcli.config.environment import Environment, from_environment, is_homeless, known, variable
from dwcli.config.logins import Login
from dwcli.config.profile import BUILT_IN, Profile, address_of
from dwcli.config.secret_sources import SUFFIXES, Sources
from dwcli.errors import DwError, UsageError, did_you_mean

if TYPE_CHECKING:
    from dwcli.dicomweb.dialects import Dialect

LONGEST = 1e6  # seconds
_LOCK_SECONDS = 30.0
_TLS_FILES = ("ca", "client_cert", "client_key")
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})


class File:
    """The configuration file, edited in place so that comments survive (tomlkit), mode 0600."""

    def __init__(self, path: Path, document: Any) -> None:
        self.path = path
        self._document = document
        self._locked = False

    @classmethod
    def load(cls, path: Path) -> "File":
        """Read the file; a missing file is empty. Raises UsageError with the line number if it is not TOML."""
        return cls(path, _read(path))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the file among all processes and reload it: to read, decide and write.

        Raises TemporaryError if another process does not release it, UsageError as `load` does.
        """
        if self._locked:
            yield
            return
        from dwcli.lock import locked

        known(self.path, "DW_CONFIG")
        # Next to the real file, so that two links to it share one lock.
        own = Path(os.path.realpath(self.path))
        with locked(
            own.with_name(f".{own.name}.lock"), seconds=_LOCK_SECONDS, busy=f"another dw process is changing {own}"
        ):
            self._document, self._locked = _read(self.path), True
            try:
                yield
            finally:
                self._locked = False

    @property
    def default(self) -> str:
        """The default profile, empty if there is none."""
        return str((self._document or {}).get("default", ""))

    @property
    def names(self) -> list[str]:
        """The profiles' names in the file's order."""
        return list((self._document or {}).get("profiles", {}))

    def table(self, name: str) -> Mapping[str, Any]:
        """Return one profile as written. Raises UsageError with similar names if there is none."""
        profiles = (self._document or {}).get("profiles", {})
        if name not in profiles and name in BUILT_IN:
            raise UsageError(f"profile {name} is built in and not in {self.path}", f"dw -p {name} search")
        if name not in profiles:
            hint = did_you_mean(name, [*profiles, *BUILT_IN]) if profiles else f"dw profile add {name} URL"
            raise UsageError(f"unknown profile {name!r}", hint)
        found: Mapping[str, Any] = profiles[name]
        return found

    def profile(self, name: str, environment: Environment, ask: Callable[[str], str]) -> Profile:
        """Return one profile, resolved. DW_USER, DW_PASSWORD and DW_TOKEN override the file."""
        table = dict(self.table(name))
        where = f"{self.path}: profile {name}"
        _known(table, {"url", "dialect", "headers", "auth", "tls", "proxy", "timeout"}, where)
        tls = _table(table, "tls", where)
        passphrases = {f"client_key_password{suffix}" for suffix in SUFFIXES}
        _known(tls, {*_TLS_FILES, "insecure", *passphrases}, f"{where}: tls")
        timeout = table.get("timeout")
        if timeout is not None and not (type(timeout) in (int, float) and 0 < timeout < LONGEST):
            raise UsageError(f"{where}: invalid timeout {timeout!r}", "timeout = 30 (seconds)")
        sources = Sources(self.path, variable, ask)
        url = address_of(str(table.get("url", "")))
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
        """Write a profile; the first one becomes the default. Raises UsageError on an invalid or existing name.

        With `replace`, overwrites an existing profile; raises UsageError if there is none.
        """
        with self.locked():
            self._put(name, table, replace=replace)

    def _put(self, name: str, table: Mapping[str, Any], *, replace: bool) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise UsageError(f"not a profile name: {name!r}", "use letters, digits, dots, dashes and underscores")
        if name in self.names and not replace:
            raise UsageError(
                f"profile {name} already exists",
                f"dw profile edit {name} …  or  dw profile remove {name}",
            )
        if replace:
            self.table(name)
        address_of(str(table.get("url", "")))
        _dialect(table.get("dialect", "auto"), f"profile {name}")

        def change(document: Any) -> None:
            import tomlkit

            profiles = document.setdefault("profiles", tomlkit.table(is_super_table=True))
            _merge(profiles, name, table)
            logins.check(_table(profiles[name].unwrap(), "auth", f"profile {name}"), f"profile {name}")

        self._write(change, default=self.default or name)

    def use(self, name: str) -> None:
        """Make a profile the default."""
        with self.locked():
            self.table(name)
            self._write(lambda _document: None, default=name)

    def remove(self, name: str) -> None:
        """Remove a profile; also unsets the default if it was this profile."""

        def change(document: Any) -> None:
            del document["profiles"][name]

        with self.locked():
            self.table(name)
            self._write(change, default="" if self.default == name else self.default)

    def _write(self, change: Callable[[Any], None], *, default: str) -> None:
        """Edit the file and replace it atomically, readable by its owner only."""
        import tempfile

        import tomlkit

        known(self.path, "DW_CONFIG")

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
                # Before all tables, as TOML requires.
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


def _read(path: Path) -> Any:
    """Return the document, None if there is no file. Raises UsageError."""
    if is_homeless(path):
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    import tomllib

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}", "fix the file, or move it away") from error
    _known(document, {"default", "profiles"}, str(path))
    for name, profile in _table(document, "profiles", str(path)).items():
        if not isinstance(profile, dict):
            raise UsageError(f"{path}: profile {name} is not a table", f"[profiles.{name}]")
    return document


def _login(auth: dict[str, Any], name: str, url: str, where: str, sources: Sources, environment: Environment) -> Login:
    """Return the login as written, unless the environment sets one; its user and password go to a provider, if any."""
    given = from_environment(environment, sources.ask)
    row = logins.row_of(auth)
    at_provider = "password" in row.shared
    if given is not None and not (given.kind == "basic" and at_provider):
        return given
    if environment.password is not None and "password" in row.written:
        known = auth if at_provider else {k: v for k, v in auth.items() if not k.startswith("password")}
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
        raise UsageError(f"{where}: {key} is not a table", f'{key} = {{ "key" = "value" }}, or a [section]')
    return found


def _headers(table: dict[str, Any], where: str) -> dict[str, str]:
    for name, value in table.items():
        sent = f"{name}{value}"
        if not (isinstance(value, str) and sent.isascii() and sent.isprintable()) or not name or " " in name:
            raise UsageError(
                f"{where}: the header {name!r} cannot be sent", "use a name and a text, in ASCII, on one line"
            )
    return dict(table)


def _merge(tables: Any, name: str, table: Mapping[str, Any]) -> None:
    """Merge `table` into the one under `name`; None removes a key."""
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


def _dialect(written: Any, where: str) -> "Dialect":
    """Parse `dialect = "orthanc"`, or a table with `name` and overrides."""
    from dwcli.dicomweb.dialects import choose

    try:
        if isinstance(written, Mapping):
            differences = dict(written)
            return choose(str(differences.pop("name", "auto")), differences)
        return choose(str(written))
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", error.hint) from None
