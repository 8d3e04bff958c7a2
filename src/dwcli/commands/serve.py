"""`dw serve`: a folder as a DICOMweb server for other programs on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from dwcli.context.run import DwContext
from dwcli.errors import UsageError
from dwcli.options import takes


@takes()
def serve(
    ctx: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]",
            help="An archive, which is made where DIR is empty; other folders are only read. Default: profile local's.",
        ),
    ] = None,
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0: any free one.")] = 8080,
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse to store.")] = False,
    reindex: Annotated[
        bool, typer.Option("--reindex", help="Look at all files first: some were put there or removed by hand.")
    ] = False,
) -> None:
    """Serve the local archive, or any folder, to this machine.

    It answers programs on this machine only, without a login. It searches, retrieves, renders and stores; it has no
    XML, WADO-URI, fuzzy matching or deletion. One line of log a request goes to stderr.

    Examples:

    \b
      dw serve
      dw serve ./folder --port 8042
      dw serve --read-only -q &
      dw --url http://127.0.0.1:8080/dicom-web search
    """
    dw: DwContext = ctx.obj
    if dw.given.profile or dw.given.url:
        raise UsageError("dw serve serves a folder, not a profile or an address", "dw serve [DIR]")
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder", "dw serve [DIR]")
    dw.serve(folder, port, read_only=read_only, reindex=reindex)
