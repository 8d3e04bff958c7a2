"""`dw folder`: virtual folders of orders."""

from typing import Annotated

import typer

from dwcli.context.run import DwContext
from dwcli.errors import UsageError
from dwcli.help import App
from dwcli.options import takes
from dwcli.vendors.postdicom import api, calls, share

app = App(
    help="""Organize PostDICOM orders in folders.

    Examples:

    \b
      dw folder create "Knee study" --description "MR, both sides"
      dw folder search --name knee --orders
      dw folder add FOLDER FOLDER ORDER
    """
)

_Parent = Annotated[str | None, typer.Option("--parent", metavar="FOLDER", help="The parent folder's UUID.")]
_WithOrders = Annotated[
    bool | None, typer.Option("--orders/--no-orders", help="Whether to list the orders in each folder.")
]


@app.command("create")
@takes()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The folder's name.")],
    parent: _Parent = None,
    description: Annotated[
        str | None, typer.Option("--description", metavar="TEXT", help="The folder's description.")
    ] = None,
) -> None:
    """Create a folder.

    Examples:

    \b
      dw folder create "Knee study"
      dw folder create Controls --parent FOLDER --description "Healthy knees"
    """
    dw: DwContext = ctx.obj
    calls.require(dw)
    verb = api.CreateFolder(name=name, description=description, parent=parent)
    calls.hint_uuids(dw, [parent])
    calls.show(dw, calls.call(dw, verb), done=f"folder {name} created")


@app.command("search")
@takes()
def search(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Option("--name", metavar="TEXT", help="The name, or part of it.")] = None,
    parent: _Parent = None,
    orders: _WithOrders = None,
) -> None:
    """Search for folders.

    Examples:

    \b
      dw folder search --name knee
      dw folder search --name knee --orders -f json
      dw folder search --parent FOLDER
    """
    dw: DwContext = ctx.obj
    calls.require(dw, finds=True)
    _found(dw, name, parent, orders)


@app.command("list")
@takes()
def list_folders(ctx: typer.Context, parent: _Parent = None, orders: _WithOrders = None) -> None:
    """List the folders.

    Examples:

    \b
      dw folder list
      dw folder list --parent FOLDER --orders
    """
    dw: DwContext = ctx.obj
    calls.require(dw, finds=True)
    _found(dw, None, parent, orders)


@app.command("add")
@takes()
def add(
    ctx: typer.Context,
    words: Annotated[
        list[str], typer.Argument(metavar="FOLDER... ORDER", help="UUIDs: one or more folders, then the order.")
    ],
) -> None:
    """Add an order to folders; nothing is moved or copied.

    Examples:

    \b
      dw folder add FOLDER ORDER
      dw folder add FOLDER FOLDER FOLDER ORDER
    """
    dw: DwContext = ctx.obj
    calls.require(dw)
    *folders, order = words
    if not folders:
        raise UsageError("a folder or an order is missing", "dw folder add FOLDER... ORDER")
    verb = api.AddOrderToFolder(order=order, folders=tuple(folders))
    calls.hint_uuids(dw, words)
    calls.show(dw, calls.call(dw, verb), done=f"order {order} added to {', '.join(folders)}")


app.command("share")(share.folder)


def _found(dw: DwContext, name: str | None, parent: str | None, orders: bool | None) -> None:
    calls.hint_uuids(dw, [parent])
    verb = api.SearchFolder(parent=parent, name=name, orders=orders)
    calls.show_found(dw, calls.call(dw, verb), "FolderUuid", done="no match")
