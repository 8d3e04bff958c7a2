"""`dw profile`: the servers that `dw` knows."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from dwcli import config
from dwcli.commands import profile_login
from dwcli.commands.profile_options import (
    LoginOptions,
    ServerOptions,
    TlsOptions,
    auth_table,
    proxy_address,
    shown,
    tls_table,
)
from dwcli.config import logins
from dwcli.context.global_options import parse_headers
from dwcli.context.run import DwContext
from dwcli.errors import UsageError, did_you_mean
from dwcli.help import App
from dwcli.options import takes

app = App(help="Manage server profiles and logins.")

_Name = Annotated[str, typer.Argument(metavar="NAME", help="The profile's name.")]


@app.command("add")
@takes(ServerOptions, LoginOptions, TlsOptions)
def add(
    ctx: typer.Context,
    name: _Name,
    address: Annotated[str, typer.Argument(metavar="URL", help="The DICOMweb base URL: everything before /studies.")],
    *,
    server: ServerOptions,
    login: LoginOptions,
    tls: TlsOptions,
) -> None:
    """Add a server; the first becomes the default.

    Examples:

    \b
      dw profile add pacs https://pacs.example.org/dicom-web --dialect orthanc --user alice
      dw profile add pacs https://… --user alice --password-command "pass show pacs"
      dw profile add cloud https://… --token-command "gcloud auth print-access-token"
      dw profile add site https://… --ca hospital.pem --client-cert me.pem -H "X-Site: north"
      dw profile add research https://… --auth oidc --issuer https://id.example.org/realms/main --client-id dw
    """
    dw: DwContext = ctx.obj
    table = _table(dw, address, server, login, tls)
    with dw.file.locked():
        first = not dw.file.default
        dw.file.put(name, table)
    dw.out.info(f"profile {name} added to {dw.file.path}" + (" as the default" if first else ""))
    beforehand = logins.row_of(table.get("auth", {})).beforehand
    dw.out.info(f"hint: dw profile {'login' if beforehand else 'test'} {name}")


@app.command("edit")
@takes(ServerOptions, LoginOptions, TlsOptions)
def edit(
    ctx: typer.Context,
    name: _Name,
    *,
    server: ServerOptions,
    login: LoginOptions,
    tls: TlsOptions,
) -> None:
    """Change a profile; other settings stay as they are.

    Examples:

    \b
      dw profile edit pacs --url https://new.example.org/dicom-web
      dw profile edit pacs --password-file ~/.pacs
      dw profile edit pacs --set dialect.page_size=100
    """
    dw: DwContext = ctx.obj
    with dw.file.locked():
        old = dw.file.table(name)
        url = dw.given.url or str(old.get("url", ""))
        dw.file.put(name, _table(dw, url, server, login, tls, old=old), replace=True)
    dw.out.info(f"profile {name} changed")


@app.command("list")
@takes()
def list_profiles(ctx: typer.Context) -> None:
    """List all profiles, including the built-in ones.

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
                "note": "",
            }
        for built_in in config.built_ins():
            if built_in.name not in dw.file.names and built_in.place:
                what = "your local archive" if built_in.place.kind == "archive" else "demo data"
                yield {
                    "name": built_in.name,
                    "default": "",
                    "url": str(built_in.place.root),
                    "dialect": "archive",
                    "auth": "none",
                    "note": f"built in: {what}",
                }

    dw.out.table(records(), columns=("name", "default", "url", "dialect", "auth", "note"))
    if not dw.file.names:
        dw.out.info("no server yet; hint: dw profile add NAME URL")


@app.command("show")
@takes()
def show(ctx: typer.Context, name: _Name) -> None:
    """Show a profile, without its secrets.

    Examples:

    \b
      dw profile show pacs
    """
    dw: DwContext = ctx.obj
    secrets = logins.secret_words()

    def records(table: Any, prefix: str = "") -> Iterator[dict[str, Any]]:
        for key, value in table.items():
            if isinstance(value, dict):
                yield from records(value, f"{prefix}{key}.")
                continue
            secret = key in secrets or prefix == "headers."
            yield {"key": f"{prefix}{key}", "value": "(not shown)" if secret else shown(key, value)}

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
    dw.out.info(f"{name} is now the default")


@app.command("remove")
@takes()
def remove(ctx: typer.Context, name: _Name) -> None:
    """Remove a profile.

    Examples:

    \b
      dw profile remove old
    """
    dw: DwContext = ctx.obj
    with dw.file.locked():
        was_default = dw.file.default == name
        dw.file.remove(name)
    if dw.forget_login(name):
        dw.out.info("its login was deleted locally, not at the provider (dw profile logout does both)")
    dw.out.info(
        f"profile {name} removed" + ("; there is no default now; hint: dw profile use NAME" if was_default else "")
    )


def _table(
    dw: DwContext,
    url: str,
    server: ServerOptions,
    login: LoginOptions,
    tls: TlsOptions,
    *,
    old: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the profile's table with only what was given; None removes a key. Raises UsageError."""
    old = old or {}
    table: dict[str, Any] = {"url": url.rstrip("/")}
    was = old.get("dialect")
    if server.dialect is not None:
        table["dialect"] = {**was, "name": server.dialect} if isinstance(was, dict) else server.dialect
    optional = {
        "proxy": proxy_address(tls.proxy),
        "headers": parse_headers(dw.given.headers) or None,
        "auth": auth_table(login, old.get("auth", {})),
        "tls": tls_table(tls, old.get("tls", {})) or None,
    }
    table.update({key: value for key, value in optional.items() if value is not None})
    for setting in server.setting or []:
        _apply(table, setting, was)
    return table


def _apply(table: dict[str, Any], setting: str, was: Any) -> None:
    """Apply `dialect.page_size=100` to the table; the value is TOML, or else a string."""
    import tomllib

    key, equals, value = setting.partition("=")
    if not equals:
        raise UsageError(f"not a setting: {setting}", "write --set KEY=VALUE")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    first, _, rest = key.partition(".")
    known = ("dialect", "timeout", "proxy")
    if first not in known:
        raise UsageError(f"--set cannot set {first!r}", did_you_mean(first, known))
    if first == "timeout" and not (type(parsed) in (int, float) and 0 < parsed < config.LONGEST):
        raise UsageError(f"not a time-out in seconds: {value}", "--set timeout=30")
    if first == "dialect" and rest:
        now = table.get("dialect", was if was is not None else "auto")
        table["dialect"] = {**({"name": now} if isinstance(now, str) else now), rest: parsed}
    else:
        table[first] = parsed


app.command("login")(profile_login.login)
app.command("logout")(profile_login.logout)
app.command("test")(profile_login.test)
