"""`dw profile`: the servers that `dw` knows."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from dwcli import config
from dwcli.context import DwContext, ask, parse_headers
from dwcli.dicomweb.dialects import PRESETS
from dwcli.errors import DwError, UsageError, did_you_mean
from dwcli.help import App
from dwcli.options import takes

app = App()

_Name = Annotated[str, typer.Argument(metavar="NAME", help="The profile's name.")]
_Dialect = Annotated[str | None, typer.Option("--dialect", metavar="D", help=f"One of: {', '.join(PRESETS)}.")]
_Viewer = Annotated[
    str | None, typer.Option("--viewer", metavar="TEMPLATE", help="A viewer's URL with {StudyInstanceUID}.")
]
_User = Annotated[str | None, typer.Option("--user", metavar="U", help="HTTP Basic; the password comes from one of:")]
_PasswordEnv = Annotated[str | None, typer.Option("--password-env", metavar="V", help="this variable,")]
_PasswordCommand = Annotated[
    str | None, typer.Option("--password-command", metavar="C", help="this command's first line,")
]
_PasswordFile = Annotated[Path | None, typer.Option("--password-file", metavar="F", help="this file,")]
_PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="stdin now, kept in the configuration (0600); else a prompt.")
]
_TokenEnv = Annotated[str | None, typer.Option("--token-env", metavar="V", help="A bearer token from this variable,")]
_TokenCommand = Annotated[
    str | None, typer.Option("--token-command", metavar="C", help="or from this command, anew after a 401.")
]
_Ca = Annotated[Path | None, typer.Option("--ca", metavar="FILE", help="Trust this authority (PEM).")]
_Cert = Annotated[Path | None, typer.Option("--client-cert", metavar="FILE", help="Client certificate (PEM).")]
_Key = Annotated[
    Path | None,
    typer.Option("--client-key", metavar="FILE", help="Its key, where it is not in the same file."),
]
_Insecure = Annotated[bool | None, typer.Option("--insecure/--secure", help="Do not check the server's certificate.")]
_Proxy = Annotated[str | None, typer.Option("--proxy", metavar="URL", help="Through this proxy.")]
_Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any other key, e.g. dialect.page_size=100."),
]


def register(parent: typer.Typer) -> None:
    """Add the group."""
    parent.add_typer(app, name="profile", help="The servers that dw knows, and how to get in.")


@app.command("add")
@takes()
def add(
    ctx: typer.Context,
    name: _Name,
    address: Annotated[str, typer.Argument(metavar="URL", help="The DICOMweb base URL, up to /studies without it.")],
    dialect: _Dialect = None,
    viewer: _Viewer = None,
    user: _User = None,
    password_env: _PasswordEnv = None,
    password_command: _PasswordCommand = None,
    password_file: _PasswordFile = None,
    password_stdin: _PasswordStdin = False,
    token_env: _TokenEnv = None,
    token_command: _TokenCommand = None,
    ca: _Ca = None,
    client_cert: _Cert = None,
    client_key: _Key = None,
    insecure: _Insecure = None,
    proxy: _Proxy = None,
    setting: _Set = None,
) -> None:
    """Add a server; the first one becomes the default.

    Examples:

    \b
      dw profile add pacs https://pacs.example.org/dicom-web --dialect orthanc --user alice
      dw profile add pacs https://… --user alice --password-command "pass show pacs"
      dw profile add cloud https://… --token-command "gcloud auth print-access-token"
      dw profile add site https://… --ca hospital.pem --client-cert me.pem -H "X-Site: north"
    """
    dw: DwContext = ctx.obj
    login = _login(user, password_env, password_command, password_file, password_stdin, token_env, token_command)
    table = _table(dw, address, dialect, viewer, login, ca, client_cert, client_key, insecure, proxy, setting)
    first = not dw.file.default
    dw.file.put(name, table)
    dw.out.info(f"profile {name} added to {dw.file.path}" + (" as the default" if first else ""))
    dw.out.info(f"try: dw profile test {name}")


@app.command("edit")
@takes()
def edit(
    ctx: typer.Context,
    name: _Name,
    dialect: _Dialect = None,
    viewer: _Viewer = None,
    user: _User = None,
    password_env: _PasswordEnv = None,
    password_command: _PasswordCommand = None,
    password_file: _PasswordFile = None,
    password_stdin: _PasswordStdin = False,
    token_env: _TokenEnv = None,
    token_command: _TokenCommand = None,
    ca: _Ca = None,
    client_cert: _Cert = None,
    client_key: _Key = None,
    insecure: _Insecure = None,
    proxy: _Proxy = None,
    setting: _Set = None,
) -> None:
    """Change a profile; what is not named stays.

    Examples:

    \b
      dw profile edit pacs --url https://new.example.org/dicom-web
      dw profile edit pacs --password-file ~/.pacs
      dw profile edit pacs --set dialect.page_size=100
    """
    dw: DwContext = ctx.obj
    old = dw.file.table(name)
    auth = old.get("auth", {})
    user = user if user is not None or auth.get("kind") != "basic" else str(auth.get("username", ""))
    login = _login(user, password_env, password_command, password_file, password_stdin, token_env, token_command)
    if login is not None:
        login = {**dict.fromkeys(auth), **login}
    url = dw.given.url or str(old.get("url", ""))
    dw.file.put(
        name,
        _table(dw, url, dialect, viewer, login, ca, client_cert, client_key, insecure, proxy, setting, old=old),
        replace=True,
    )
    dw.out.info(f"profile {name} changed")


@app.command("list")
@takes()
def list_profiles(ctx: typer.Context) -> None:
    """List the profiles.

    Examples:

    \b
      dw profile list
      dw profile list -f json
    """
    dw: DwContext = ctx.obj

    def records() -> Iterator[dict[str, Any]]:
        for name in dw.file.names:
            table = dw.file.table(name)
            dialect = table.get("dialect", "auto")
            yield {
                "name": name,
                "default": "*" if name == dw.file.default else "",
                "url": table.get("url", ""),
                "dialect": dialect.get("name", "auto") if isinstance(dialect, dict) else dialect,
                "auth": table.get("auth", {}).get("kind", "none"),
            }

    dw.out.table(
        records(),
        columns=("name", "default", "url", "dialect", "auth"),
        empty="no profile yet: dw profile add NAME URL",
    )


@app.command("show")
@takes()
def show(ctx: typer.Context, name: _Name) -> None:
    """Show a profile, without its secrets.

    Examples:

    \b
      dw profile show pacs
    """
    dw: DwContext = ctx.obj

    def records(table: Any, prefix: str = "") -> Iterator[dict[str, Any]]:
        for key, value in table.items():
            if isinstance(value, dict):
                yield from records(value, f"{prefix}{key}.")
                continue
            secret = key in config.SECRETS or prefix == "headers."
            yield {"key": f"{prefix}{key}", "value": "(not shown)" if secret else value}

    dw.out.table(records(dw.file.table(name)), columns=("key", "value"))


@app.command("use")
@takes()
def use(ctx: typer.Context, name: _Name) -> None:
    """Make a profile the default.

    Examples:

    \b
      dw profile use pacs
    """
    dw: DwContext = ctx.obj
    dw.file.use(name)
    dw.out.info(f"{name} is the default now")


@app.command("remove")
@takes()
def remove(ctx: typer.Context, name: _Name) -> None:
    """Remove a profile.

    Examples:

    \b
      dw profile remove old
    """
    dw: DwContext = ctx.obj
    was_default = dw.file.default == name
    dw.file.remove(name)
    dw.out.info(f"profile {name} removed" + ("; no default now: dw profile use NAME" if was_default else ""))


@app.command("test")
@takes()
def test(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The profile; the chosen one by default.")
    ] = None,
) -> None:
    """Try to reach a server, log in and search.

    Examples:

    \b
      dw profile test pacs
    """
    from dwcli.jobs.probe import probe

    dw: DwContext = ctx.obj
    chosen = (
        dw.profile if name is None else config.select(dw.environment, profile=name, timeout=dw.given.timeout, ask=ask)
    )
    failure: list[DwError] = []

    def records() -> Iterator[dict[str, str]]:
        for step in probe(dw.connect(chosen, tries=1), direct=chosen.proxy is None):
            if step.error:
                failure.append(step.error)
            yield {
                "step": step.name,
                "result": "failed" if step.error else "ok",
                "detail": step.error.message if step.error else step.result,
            }

    dw.out.table(records(), columns=("step", "result", "detail"))
    if failure:
        raise failure[0]


def _login(
    user: str | None,
    password_env: str | None,
    password_command: str | None,
    password_file: Path | None,
    password_stdin: bool,
    token_env: str | None,
    token_command: str | None,
) -> dict[str, Any] | None:
    """The `auth` table that the options ask for, None where they say nothing. Raises UsageError."""
    passwords = {
        "password_env": password_env,
        "password_command": password_command,
        "password_file": str(password_file.expanduser().absolute()) if password_file else None,
        "password": _from_stdin() if password_stdin else None,
    }
    tokens = {"token_env": token_env, "token_command": token_command}
    chosen = {key: value for key, value in {**passwords, **tokens}.items() if value is not None}
    if len(chosen) > 1:
        raise UsageError("more than one source for the secret", "give one of them")
    if any(key.startswith("token") for key in chosen):
        return {"kind": "bearer", **chosen}
    if user:
        return {"kind": "basic", "username": user, **chosen}
    if chosen:
        raise UsageError("a password without a user", "--user NAME")
    return None


def _from_stdin() -> str:
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise UsageError(
            "--password-stdin, but stdin is empty", 'printf %s "$SECRET" | dw profile add … --password-stdin'
        )
    return line


def _table(
    dw: DwContext,
    url: str,
    dialect: str | None,
    viewer: str | None,
    login: dict[str, Any] | None,
    ca: Path | None,
    client_cert: Path | None,
    client_key: Path | None,
    insecure: bool | None,
    proxy: str | None,
    settings: list[str] | None,
    *,
    old: Any = None,
) -> dict[str, Any]:
    """The profile's table: only what was named; None takes a key out. Raises UsageError."""
    table: dict[str, Any] = {"url": url.rstrip("/")}
    was = (old or {}).get("dialect")
    if dialect is not None:
        table["dialect"] = {**was, "name": dialect} if isinstance(was, dict) else dialect
    optional = {"viewer": viewer, "proxy": proxy}
    table.update({key: value for key, value in optional.items() if value is not None})
    headers = parse_headers(dw.given.headers)
    if headers:
        table["headers"] = headers
    if login is not None:
        table["auth"] = login
    files = {"ca": ca, "client_cert": client_cert, "client_key": client_key}
    tls: dict[str, Any] = {}
    for key, path in files.items():
        if path is not None:
            if not path.expanduser().is_file():
                raise UsageError(f"there is no file {path}")
            tls[key] = str(path.expanduser().absolute())
    if insecure is not None:
        tls["insecure"] = insecure
    if tls:
        table["tls"] = tls
    for setting in settings or []:
        _apply(table, setting, was)
    return table


def _apply(table: dict[str, Any], setting: str, was: Any) -> None:
    """`dialect.page_size=100` into the table, the value as TOML has it, or as a string."""
    import tomllib

    key, equals, value = setting.partition("=")
    if not equals:
        raise UsageError(f"not a setting: {setting}", "write --set KEY=VALUE")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    first, _, rest = key.partition(".")
    known = ("dialect", "timeout", "viewer", "proxy")
    if first not in known:
        raise UsageError(f"no key {first!r} can be set so", did_you_mean(first, known))
    if first == "dialect" and rest:
        now = table.get("dialect", was if was is not None else "auto")
        table["dialect"] = {**({"name": now} if isinstance(now, str) else now), rest: parsed}
    else:
        table[first] = parsed
