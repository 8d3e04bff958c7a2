"""`dw share`: URLs through which people without an account see orders and folders."""

from datetime import date
from typing import Annotated

import typer

from dwcli.context.run import DwContext
from dwcli.help import App
from dwcli.options import takes
from dwcli.vendors.postdicom import api, calls, inputs, password

app = App(
    help="""Share PostDICOM orders and folders by URL.

    Examples:

    \b
      dw share link ORDER ORDER --expires 2026-12-31 --password-stdin < secret.txt
      dw share order ORDER --expires 30d --downloadable
      dw share folder FOLDER --title "Second opinion" --expires 7d --password-prompt
    """
)

_Orders = Annotated[list[str], typer.Argument(metavar="ORDER...", help="UUIDs of orders.")]
_Expires = Annotated[
    str, typer.Option("--expires", metavar="WHEN", help="The last valid day: 2026-12-31, 30d, 2w, 3m, 1y, tomorrow.")
]
_Downloadable = Annotated[
    bool | None,
    typer.Option("--downloadable/--view-only", help="Whether visitors may download the studies."),
]


@app.command("link")
@takes()
def link(
    ctx: typer.Context,
    orders: _Orders,
    expires: _Expires,
    downloadable: _Downloadable = None,
    password_prompt: password.Prompt = False,
    password_stdin: password.Stdin = False,
    password_env: password.Env = None,
    password_command: password.Command = None,
) -> None:
    """Create a link to orders and print only the link.

    Examples:

    \b
      dw share link ORDER --expires 2026-12-31 --password-prompt
      dw share link ORDER ORDER --expires 30d --password-command "pass show share" --downloadable
      dw share link ORDER --expires 7d | xargs open
    """
    dw: DwContext = ctx.obj
    calls.require(dw)
    verb = api.CreateShareLink(
        orders=tuple(orders),
        expires=inputs.expiry(expires, date.today()),
        password=password.read(
            prompt=password_prompt, stdin=password_stdin, env=password_env, command=password_command
        ),
        downloadable=downloadable,
    )
    calls.hint_uuids(dw, orders)
    calls.show_url(dw, calls.call(dw, verb))


@app.command("order")
@takes()
def order(
    ctx: typer.Context,
    orders: _Orders,
    expires: _Expires,
    downloadable: _Downloadable = None,
    password_prompt: password.Prompt = False,
    password_stdin: password.Stdin = False,
    password_env: password.Env = None,
    password_command: password.Command = None,
) -> None:
    """Share orders by URL and print only the URL.

    Examples:

    \b
      dw share order ORDER --expires 30d --downloadable
      dw share order ORDER ORDER --expires tomorrow --password-env SHARE_PASSWORD
      dw share order ORDER --expires 2026-12-31 --view-only -f json
    """
    dw: DwContext = ctx.obj
    calls.require(dw)
    verb = api.ShareOrders(
        orders=tuple(orders),
        expires=inputs.expiry(expires, date.today()),
        password=password.read(
            prompt=password_prompt, stdin=password_stdin, env=password_env, command=password_command
        ),
        downloadable=downloadable,
    )
    calls.hint_uuids(dw, orders)
    calls.show_url(dw, calls.call(dw, verb))


@app.command("folder")
@takes()
def folder(
    ctx: typer.Context,
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="The folder's UUID.")],
    title: Annotated[str | None, typer.Option("--title", metavar="TEXT", help="The title that visitors see.")] = None,
    description: Annotated[
        str | None, typer.Option("--description", metavar="TEXT", help="The description that visitors see.")
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires",
            metavar="WHEN",
            help="The last valid day: 2026-12-31, 30d, 2w, 3m, 1y, tomorrow (default: none).",
        ),
    ] = None,
    downloadable: _Downloadable = None,
    password_prompt: password.Prompt = False,
    password_stdin: password.Stdin = False,
    password_env: password.Env = None,
    password_command: password.Command = None,
) -> None:
    """Share a folder by URL and print only the URL.

    Examples:

    \b
      dw share folder FOLDER --title "Second opinion" --expires 7d
      dw share folder FOLDER --description "Both knees, 2024 and 2026" --password-prompt
      dw folder share FOLDER --downloadable
    """
    dw: DwContext = ctx.obj
    calls.require(dw)
    verb = api.ShareFolder(
        folder=folder,
        title=title,
        description=description,
        expires=inputs.expiry(expires, date.today()) if expires is not None else None,
        password=password.read(
            prompt=password_prompt, stdin=password_stdin, env=password_env, command=password_command
        ),
        downloadable=downloadable,
    )
    calls.hint_uuids(dw, [folder])
    calls.show_url(dw, calls.call(dw, verb))
