"""The login and TLS options of a profile, and the tables they become."""

import sys
from collections import namedtuple
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args
from urllib.parse import urlsplit

import typer

from dwcli.config import at_home
from dwcli.config.logins import KINDS, TABLE, Key, all_keys
from dwcli.config.secret_sources import SUFFIXES
from dwcli.dicomweb.dialects import PRESETS
from dwcli.errors import UsageError, did_you_mean

_BASIC, _TLS = "User and password", "TLS and proxy"


def _word(name: str, metavar: str, text: str, panel: str) -> Any:
    return typer.Option(name, metavar=metavar, help=text, rich_help_panel=panel)


class ServerOptions(NamedTuple):
    """A server's own behaviour."""

    dialect: Annotated[str | None, typer.Option("--dialect", metavar="D", help=f"One of: {', '.join(PRESETS)}.")] = None
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set any other key, e.g. dialect.page_size=100."),
    ] = None


def login_fields() -> dict[str, Any]:
    """Return the options of the table of logins: name -> annotation, in the order of its rows."""
    kinds = f"{', '.join(KINDS[:-1])} or {KINDS[-1]}"
    fields: dict[str, Any] = {
        "auth": Annotated[
            str | None, _word("--auth", "KIND", f"{kinds}; usually inferred from the other options.", _BASIC)
        ]
    }
    for kind, row in TABLE.items():
        for key in row.keys:
            fields |= _fields_of(key, row.title)
        if row.flag:
            fields[kind] = Annotated[bool, typer.Option(f"--{kind}", help=row.flag, rich_help_panel=row.title)]
    return fields


def _fields_of(key: Key, panel: str) -> dict[str, Any]:
    name = key.option or key.name
    option = f"--{name.replace('_', '-')}"
    if key.sources is None:
        return {name: Annotated[str | None, _word(option, key.metavar, key.help, panel)]}
    variable, command, file, stdin = key.sources
    return {
        f"{name}_env": Annotated[str | None, _word(f"{option}-env", "V", variable, panel)],
        f"{name}_command": Annotated[str | None, _word(f"{option}-command", "C", command, panel)],
        f"{name}_file": Annotated[Path | None, _word(f"{option}-file", "F", file, panel)],
        f"{name}_stdin": Annotated[bool, typer.Option(f"{option}-stdin", help=stdin, rich_help_panel=panel)],
    }


_FIELDS = login_fields()
_tuple: Any = namedtuple  # mypy takes literal fields only
_Made: Any = _tuple(
    "_Made", _FIELDS, defaults=[False if get_args(hint)[0] is bool else None for hint in _FIELDS.values()]
)
_Made.__annotations__ = _FIELDS


class LoginOptions(_Made):  # type: ignore[misc]  # no checker can follow a table
    """Login options. A secret itself is never an option: the process list is public."""

    __slots__ = ()


class TlsOptions(NamedTuple):
    """TLS trust, client certificate and proxy."""

    ca: Annotated[Path | None, _word("--ca", "FILE", "Trust this CA (PEM) besides the system's.", _TLS)] = None
    client_cert: Annotated[Path | None, _word("--client-cert", "FILE", "Client certificate (PEM).", _TLS)] = None
    client_key: Annotated[
        Path | None, _word("--client-key", "FILE", "Its key, if it is not in the same file.", _TLS)
    ] = None
    client_key_password_env: Annotated[
        str | None, _word("--client-key-password-env", "V", "The key's passphrase: from this variable,", _TLS)
    ] = None
    client_key_password_command: Annotated[
        str | None, _word("--client-key-password-command", "C", "from this command,", _TLS)
    ] = None
    client_key_password_file: Annotated[
        Path | None, _word("--client-key-password-file", "F", "or from this file; else dw prompts.", _TLS)
    ] = None
    insecure: Annotated[
        bool | None,
        typer.Option("--insecure/--secure", help="Do not verify the server's certificate.", rich_help_panel=_TLS),
    ] = None
    proxy: Annotated[str | None, _word("--proxy", "URL", "Connect through this proxy.", _TLS)] = None


def auth_table(login: LoginOptions, old: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the `auth` table to write over `old`, None if no option sets it; a value of None removes a key.

    Raises UsageError if the options contradict each other.
    """
    options = login._asdict()
    given: dict[str, Any] = {}
    for key in all_keys():
        name = key.option or key.name
        if key.sources:
            named = (options[f"{name}_{source}"] for source in ("env", "command", "file", "stdin"))
            given |= _secret(key.name, *named)
        elif options[name] is not None:
            given[key.name] = options[name]
    kind = _kind(options, given, str(old.get("kind", "none")))
    if kind is None:
        return None
    for key in all_keys():
        value = given.get(key.name)
        if key.choices and value is not None and value not in key.choices:
            raise UsageError(f"unknown {key.name} {value!r}", did_you_mean(value, key.choices))
    if kind != old.get("kind"):
        return {**dict.fromkeys(old), "kind": kind, **given}
    replaced = {
        word: None
        for key in all_keys()
        if key.sources and not given.keys().isdisjoint(key.written)
        for word in key.written
        if word in old
    }
    return {**replaced, "kind": kind, **given}


def _kind(options: Mapping[str, Any], given: Mapping[str, Any], old: str) -> str | None:
    """Return the kind of login that the options request, or None.

    Keeps the old kind if it accepts all given keys; else returns the first kind that does.
    """
    asked: str | None = options["auth"]
    if asked is not None and asked not in TABLE:
        raise UsageError(f"unknown kind of login {asked!r}", did_you_mean(asked, TABLE))
    flags = {kind for kind, row in TABLE.items() if row.flag and options[kind]}
    told = {*given, *(f"--{kind}" for kind in flags)}
    if asked is None and not told:
        return None
    takes = {kind: told <= {*row.written, f"--{kind}"} for kind, row in TABLE.items()}
    kind = next((kind for kind in ([asked] if asked else [old, *TABLE]) if takes.get(kind)), None)
    if kind is None:
        raise UsageError(f"more than one kind of login: {_told(told)}", "select one with --auth KIND")
    row = TABLE[kind]
    if row.begins and kind != old and row.begins[0] not in given:
        key = next(key for key in row.keys if key.name == row.begins[0])
        raise UsageError(row.begins[1], f"--{key.option or key.name} NAME")
    return kind


def _told(told: Set[str]) -> str:
    """Return one option for each kind that the given keys and flags belong to."""
    shown = []
    for kind, row in TABLE.items():
        if f"--{kind}" in told:
            shown.append(f"--{kind}")
        for key in row.keys:
            if named := [word for word in key.written if word in told]:
                word = key.option or (named[0] if named[0] != key.name or not key.sources else f"{key.name}_stdin")
                shown.append(f"--{word.replace('_', '-')}")
                break
    return " and ".join(shown)


def _secret(
    word: str, variable: str | None, command: str | None, file: Path | None, stdin: bool
) -> dict[str, str | None]:
    """Return the one given source of a secret. Raises UsageError if there are more."""
    sources = {
        f"{word}_env": variable,
        f"{word}_command": command,
        f"{word}_file": str(at_home(str(file)).absolute()) if file else None,
        word: "" if stdin else None,
    }
    chosen = {key: value for key, value in sources.items() if value is not None}
    if len(chosen) > 1:
        raise UsageError(f"more than one source for the {word.replace('_', ' ')}", "give only one")
    return {key: _from_stdin(word) if key == word else value for key, value in chosen.items()}


def _from_stdin(word: str) -> str:
    option = f"--{word.replace('_', '-')}-stdin"
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise UsageError(f"{option}, but stdin is empty", f'printf %s "$SECRET" | dw profile add … {option}')
    return line


def tls_table(tls: TlsOptions, old: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `tls` table to write over `old`. Raises UsageError if a file is missing."""
    table: dict[str, Any] = {}
    for key, path in (("ca", tls.ca), ("client_cert", tls.client_cert), ("client_key", tls.client_key)):
        if path is not None:
            found = at_home(str(path))
            if not found.is_file():
                raise UsageError(f"file not found: {path}")
            table[key] = str(found.absolute())
    word = "client_key_password"
    passphrase = _secret(
        word, tls.client_key_password_env, tls.client_key_password_command, tls.client_key_password_file, False
    )
    if passphrase:
        table |= {word + suffix: None for suffix in SUFFIXES if word + suffix in old}
        table |= passphrase
    if tls.insecure is not None:
        table["insecure"] = tls.insecure
    return table


def proxy_address(proxy: str | None) -> str | None:
    """Return the proxy as written. Raises UsageError if it would expose a password in the process list."""
    if proxy is not None and urlsplit(proxy).password is not None:
        raise UsageError(
            "a proxy password on the command line would appear in the process list",
            "set `proxy` of the profile in the configuration file, or HTTPS_PROXY",
        )
    return proxy


def shown(key: str, value: Any) -> Any:
    """Return a profile's value without its secrets: a proxy without its login."""
    if key == "proxy" and "@" in str(value):
        scheme, _, rest = str(value).partition("://")
        return f"{scheme}://(not shown)@{rest.rpartition('@')[2]}"
    return value
