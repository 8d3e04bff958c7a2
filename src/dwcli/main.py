"""The Typer app, the commands in it, and the only place that turns errors into exit codes."""

import signal
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.main

from dwcli import __version__
from dwcli.config import Environment
from dwcli.context.global_options import GlobalOptions, make_out
from dwcli.errors import DwError, ExitCode
from dwcli.help import App, Group
from dwcli.options import takes_globals

# The location of each command and its line on the help page, in that page's order. A module is imported only when its
# command runs: importing all of them costs as much as a search.
_ROOMS = {
    "search": ("commands.search:search", "Search for studies, series or instances (QIDO-RS)."),
    "metadata": ("commands.metadata:metadata", "Show the attributes of instances (WADO-RS metadata)."),
    "retrieve": ("commands.retrieve:retrieve", "Retrieve instances, frames or bulkdata (WADO-RS)."),
    "store": ("commands.store:store", "Store DICOM files (STOW-RS)."),
    "render": ("commands.render:render", "Render an image, on the server or locally."),
    "check": ("commands.check:check", "Check a folder against what the server lists."),
    "copy": ("commands.copy:copy", "Copy from one server to another."),
    "delete": ("commands.delete:delete", "Delete studies, series or instances from a server."),
    "doctor": ("commands.doctor:doctor", "Check a server's DICOMweb conformance and quirks."),
    "request": ("commands.request:request", "Send any HTTP request with the profile's login."),
    "serve": ("commands.serve:serve", "Serve the local archive or a folder on this machine."),
    "profile": ("commands.profile:app", "Manage server profiles and logins."),
    "share": ("vendors.postdicom.share:app", "Share PostDICOM orders and folders by URL."),
    "folder": ("vendors.postdicom.folder:app", "Organize PostDICOM orders in folders."),
    "order": ("vendors.postdicom.order:app", "Create, find and assign PostDICOM orders."),
    "orthanc": ("vendors.orthanc.commands:app", "Make Orthanc retrieve from and send to other DICOMweb servers."),
}


class _Commands(Group):
    """The commands of `dw`, each loaded on first use; the help page loads none."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: dict[str, Any] = dict.fromkeys(_ROOMS)

    def list_commands(self, _ctx: Any) -> list[str]:
        """Return the names, in the order of the help page."""
        return list(_ROOMS)

    def get_command(self, _ctx: Any, name: str) -> Any:
        """Return the command of that name, or None."""
        if name in _ROOMS and self.commands[name] is None:
            self.commands[name] = _load(name)
        return self.commands.get(name)

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        """Write one line for each command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_where, summary) in _ROOMS.items()])


def _load(name: str) -> Any:
    """Return the command of that name: built from a function, or the group of its module's app."""
    room, _, made = _ROOMS[name][0].partition(":")
    found = getattr(import_module(f"dwcli.{room}"), made)
    if isinstance(found, typer.Typer):
        return typer.main.get_group(found)
    alone = App()
    alone.command(name)(found)
    return typer.main.get_command(alone)


app = App(
    name="dw",
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


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
    ctx.obj = given


def main() -> None:
    """Run `dw` and exit the process with the command's exit code."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        # An ignored signal (nohup) stays ignored.
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN:
            signal.signal(getattr(signal, name), _interrupt)
    _interrupted.clear()
    earlier = sys.modules[_LEFTOVERS].noted() if _LEFTOVERS in sys.modules else frozenset()
    try:
        app(prog_name="dw")
    except DwError as error:
        if _interrupted:  # the interruption caused the failure
            sys.exit(int(ExitCode.INTERRUPTED))
        _say(error)
        sys.exit(int(error.exit_code))
    except OSError as error:
        _say(DwError(f"cannot write the output: {error.strerror or error}"))
        make_out(GlobalOptions(), Environment.read()).close_quietly()
        sys.exit(int(ExitCode.FAILED))
    except KeyboardInterrupt:
        sys.exit(int(ExitCode.INTERRUPTED))
    except Exception:
        # A library may turn KeyboardInterrupt into an error of its own, as an import does into an ImportError.
        if not _interrupted:
            raise
        sys.exit(int(ExitCode.INTERRUPTED))
    finally:
        # Ctrl-C may have interrupted the cleanup; this is the last chance before the process ends.
        if leftovers := sys.modules.get(_LEFTOVERS):
            leftovers.clear(but=earlier)


_interrupted: list[int] = []
_LEFTOVERS = "dwcli.files.leftovers"


def _interrupt(number: int, _frame: object) -> None:
    _interrupted.append(number)
    raise KeyboardInterrupt


def _say(error: DwError) -> None:
    make_out(GlobalOptions(), Environment.read()).error(error)
