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
            help="An archive (created if DIR is empty) or any folder (read only). Default: that of profile local.",
        ),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="The port; 0: any free port.")
    ] = 8080,
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse store requests.")] = False,
    reindex: Annotated[
        bool, typer.Option("--reindex", help="Index all files again: some were added or removed by hand.")
    ] = False,
) -> None:
    """Serve the local archive or a folder on this machine.

    Serves programs on this machine only, without a login. Supports search, retrieve, render and store, but not XML,
    WADO-URI, fuzzy matching or deletion. Logs one line per request to stderr.

    Examples:

    \b
      dw serve
      dw serve ./folder --port 8042
      dw serve --read-only -q &
      dw --url http://127.0.0.1:8080/dicom-web search
    """
    dw: DwContext = ctx.obj
    if dw.given.profile or dw.given.url:
        raise UsageError("serve takes a folder, not a profile or URL", "dw serve [DIR]")
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", "dw serve [DIR]")
    dw.serve(folder, port, read_only=read_only, reindex=reindex)
