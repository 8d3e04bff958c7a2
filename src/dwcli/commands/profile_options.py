"""The options by which a profile says how to log in and whom to trust, and the tables they become."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

import typer

from dwcli.config.logins import GRANTS, KINDS
from dwcli.config.secret_sources import SUFFIXES
from dwcli.errors import UsageError, did_you_mean
from dwcli.options import ALIASES

_BASIC, _TOKEN, _OIDC, _TLS = "User and password", "Token", "OpenID provider", "TLS and proxy"


def _word(name: str, metavar: str, text: str, panel: str) -> Any:
    return typer.Option(name, metavar=metavar, help=text, rich_help_panel=panel)


class LoginOptions(NamedTuple):
    """How to get in. A secret itself is never an option: everybody may see the process list."""

    auth: Annotated[
        str | None, _word("--auth", "KIND", "none, basic, bearer, netrc or oidc; mostly the others tell.", _BASIC)
    ] = None
    user: Annotated[str | None, _word("--user", "U", "The user's name; the password comes from one of:", _BASIC)] = None
    password_env: Annotated[str | None, _word("--password-env", "V", "this variable,", _BASIC)] = None
    password_command: Annotated[str | None, _word("--password-command", "C", "this command's first line,", _BASIC)] = (
        None
    )
    password_file: Annotated[Path | None, _word("--password-file", "F", "this file,", _BASIC)] = None
    password_stdin: Annotated[
        bool,
        typer.Option(
            "--password-stdin",
            help="stdin now, kept in the configuration (0600); else a prompt.",
            rich_help_panel=_BASIC,
        ),
    ] = False
    netrc: Annotated[bool, typer.Option("--netrc", help="User and password from ~/.netrc.", rich_help_panel=_BASIC)] = (
        False
    )
    token_env: Annotated[str | None, _word("--token-env", "V", "A bearer token from this variable,", _TOKEN)] = None
    token_command: Annotated[
        str | None,
        _word("--token-command", "C", "from this command, run again after a 401 or when it ends,", _TOKEN),
    ] = None
    token_file: Annotated[Path | None, _word("--token-file", "F", "from this file,", _TOKEN)] = None
    token_stdin: Annotated[
        bool,
        typer.Option("--token-stdin", help="or stdin now, kept in the configuration (0600).", rich_help_panel=_TOKEN),
    ] = False
    issuer: Annotated[str | None, _word("--issuer", "URL", "The provider's issuer, for --auth oidc.", _OIDC)] = None
    client_id: Annotated[str | None, _word("--client-id", "ID", "What it knows this client as.", _OIDC)] = None
    client_secret_env: Annotated[
        str | None, _word("--client-secret-env", "V", "The client's own secret from this variable,", _OIDC)
    ] = None
    client_secret_command: Annotated[str | None, _word("--client-secret-command", "C", "from this command,", _OIDC)] = (
        None
    )
    client_secret_file: Annotated[Path | None, _word("--client-secret-file", "F", "from this file,", _OIDC)] = None
    client_secret_stdin: Annotated[
        bool,
        typer.Option(
            "--client-secret-stdin", help="or stdin now, kept in the configuration (0600).", rich_help_panel=_OIDC
        ),
    ] = False
    scope: Annotated[str | None, _word("--scope", "S", "The scopes to ask for, in one word with spaces.", _OIDC)] = None
    grant: Annotated[
        str | None,
        _word("--grant", "G", "device, code, client_credentials or password; else as the provider allows.", _OIDC),
    ] = None
    redirect: Annotated[
        str | None,
        _word(
            "--redirect", "URL", "The browser's way back as registered: http://127.0.0.1 or http://localhost.", _OIDC
        ),
    ] = None


class TlsOptions(NamedTuple):
    """Whom to trust, what to show, and by which way."""

    ca: Annotated[Path | None, _word("--ca", "FILE", "Trust this authority (PEM), besides the system's.", _TLS)] = None
    client_cert: Annotated[Path | None, _word("--client-cert", "FILE", "Client certificate (PEM).", _TLS)] = None
    client_key: Annotated[
        Path | None, _word("--client-key", "FILE", "Its key, where it is not in the same file.", _TLS)
    ] = None
    client_key_password_env: Annotated[
        str | None, _word("--client-key-password-env", "V", "An encrypted key's passphrase from this variable,", _TLS)
    ] = None
    client_key_password_command: Annotated[
        str | None, _word("--client-key-password-command", "C", "from this command,", _TLS)
    ] = None
    client_key_password_file: Annotated[
        Path | None, _word("--client-key-password-file", "F", "or this file; else a prompt.", _TLS)
    ] = None
    insecure: Annotated[
        bool | None,
        typer.Option("--insecure/--secure", help="Do not check the server's certificate.", rich_help_panel=_TLS),
    ] = None
    proxy: Annotated[str | None, _word("--proxy", "URL", "Through this proxy.", _TLS)] = None


ALIASES[LoginOptions] = "login"
ALIASES[TlsOptions] = "tls"


def auth_table(login: LoginOptions, old: Mapping[str, Any]) -> dict[str, Any] | None:
    """The `auth` table to write over `old`, None where no option names it; a value of None takes a key out.

    Raises UsageError where the options contradict each other.
    """
    given = {
        **_secret("password", login.password_env, login.password_command, login.password_file, login.password_stdin),
        **_secret("token", login.token_env, login.token_command, login.token_file, login.token_stdin),
        **_secret(
            "client_secret",
            login.client_secret_env,
            login.client_secret_command,
            login.client_secret_file,
            login.client_secret_stdin,
        ),
        "username": login.user,
        "issuer": login.issuer,
        "client_id": login.client_id,
        "scope": login.scope,
        "grant": login.grant,
        "redirect": login.redirect,
    }
    given = {key: value for key, value in given.items() if value is not None}
    kind = _kind(login, given, str(old.get("kind", "none")))
    if kind is None:
        return None
    if login.grant is not None and login.grant not in GRANTS:
        raise UsageError(f"there is no grant {login.grant!r}", did_you_mean(login.grant, GRANTS))
    if kind != old.get("kind"):
        return {**dict.fromkeys(old), "kind": kind, **given}
    replaced = {
        word + suffix: None
        for word in ("password", "token", "client_secret")
        if any(word + suffix in given for suffix in SUFFIXES)
        for suffix in SUFFIXES
        if word + suffix in old
    }
    return {**replaced, "kind": kind, **given}


def _kind(login: LoginOptions, given: Mapping[str, Any], old: str) -> str | None:
    """The kind of login that the options ask for, None where they ask for nothing."""
    words = {
        "oidc": [key for key in given if key in ("issuer", "client_id", "scope", "grant", "redirect")]
        + [key for key in given if key.startswith("client_secret")],
        "bearer": [key for key in given if key.startswith("token")],
        "basic": [key for key in given if key == "username" or key.startswith("password")],
        "netrc": ["netrc"] if login.netrc else [],
    }
    if login.auth is not None and login.auth not in KINDS:
        raise UsageError(f"there is no kind of login {login.auth!r}", did_you_mean(login.auth, KINDS))
    named = [kind for kind, keys in words.items() if keys]
    if "oidc" in named or ((login.auth or old) == "oidc" and named == ["basic"]):
        # A provider takes a user and a password as well.
        named = ["oidc"] + [kind for kind in named if kind not in ("oidc", "basic")]
    if len(named) > 1 or (login.auth is not None and named not in ([], [login.auth])):
        options = (words[kind][0].replace("_", "-") for kind in named if words[kind])
        shown = " and ".join("--user" if option == "username" else f"--{option}" for option in options)
        raise UsageError(f"more than one kind of login: {shown or named}", "--auth says which one it is")
    kind = login.auth or (named[0] if named else None)
    if kind == "basic" and old != "basic" and "username" not in given:
        raise UsageError("a password without a user", "--user NAME")
    return kind


def _secret(
    word: str, variable: str | None, command: str | None, file: Path | None, stdin: bool
) -> dict[str, str | None]:
    """The one source named for a secret. Raises UsageError where there are more."""
    sources = {
        f"{word}_env": variable,
        f"{word}_command": command,
        f"{word}_file": str(file.expanduser().absolute()) if file else None,
        word: "" if stdin else None,
    }
    chosen = {key: value for key, value in sources.items() if value is not None}
    if len(chosen) > 1:
        raise UsageError(f"more than one source for the {word.replace('_', ' ')}", "give one of them")
    return {key: _from_stdin(word) if key == word else value for key, value in chosen.items()}


def _from_stdin(word: str) -> str:
    option = f"--{word.replace('_', '-')}-stdin"
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise UsageError(f"{option}, but stdin is empty", f'printf %s "$SECRET" | dw profile add … {option}')
    return line


def tls_table(tls: TlsOptions, old: Mapping[str, Any]) -> dict[str, Any]:
    """The `tls` table to write over `old`. Raises UsageError where a file is missing."""
    table: dict[str, Any] = {}
    for key, path in (("ca", tls.ca), ("client_cert", tls.client_cert), ("client_key", tls.client_key)):
        if path is not None:
            if not path.expanduser().is_file():
                raise UsageError(f"there is no file {path}")
            table[key] = str(path.expanduser().absolute())
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
    """The proxy as written. Raises UsageError where it would show a password to everybody."""
    if proxy is not None and urlsplit(proxy).password is not None:
        raise UsageError(
            "a proxy's password must not be an option: everybody may see the process list",
            "write it into the configuration file, key `proxy` of the profile; or set HTTPS_PROXY",
        )
    return proxy


def shown(key: str, value: Any) -> Any:
    """A value of a profile as it may be shown: a proxy without its login."""
    if key == "proxy" and "@" in str(value):
        scheme, _, rest = str(value).partition("://")
        return f"{scheme}://(not shown)@{rest.rpartition('@')[2]}"
    return value
