"""PostDICOM's verbs beyond DICOMweb: `dw share`, `dw folder` and `dw order`, on profiles of its dialect."""

import typer

from dwcli.vendors.postdicom import folder, order, share


def register(app: typer.Typer) -> None:
    """Add the groups."""
    app.add_typer(share.app, name="share")
    app.add_typer(folder.app, name="folder")
    app.add_typer(order.app, name="order")
