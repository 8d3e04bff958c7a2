"""The Typer app, the commands in it, and the only place that turns errors into exit codes."""

import signal
import sys
from typing import Annotated

import typer

from dwcli import __version__
from dwcli.commands import check, copy, delete, doctor, metadata, profile, render, request, retrieve, search, store
from dwcli.config import Environment
from dwcli.context import Globals, make_out
from dwcli.errors import DwError, ExitCode
from dwcli.help import App
from dwcli.options import GlobalOptions, as_globals, takes_globals
from dwcli.vendors.orthanc import commands as orthanc

app = App(name="dw", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"dw {__version__}")
        raise typer.Exit


@app.callback()
@takes_globals
def _root(
    ctx: typer.Context,
    given: GlobalOptions,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Search, retrieve, store and render medical images on any DICOMweb server.

    Examples:

    \b
      dw profile add pacs https://pacs.example.org/dicom-web --user alice
      dw search --patient "Bellona*" --modality CT
      dw retrieve study UID -o out
      dw store ./folder
    """
    ctx.obj = as_globals(given)


for module in (search, metadata, retrieve, store, render, check, copy, delete, doctor, request, profile, orthanc):
    module.register(app)


def main() -> None:
    """Run `dw` and end the process with the exit code that tells what happened."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _interrupt)
    try:
        app(prog_name="dw")
    except DwError as error:
        _say(error)
        sys.exit(int(error.exit_code))
    except KeyboardInterrupt:
        sys.exit(int(ExitCode.INTERRUPTED))


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _say(error: DwError) -> None:
    make_out(Globals(), Environment.read()).error(error)
