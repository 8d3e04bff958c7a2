"""`dw delete`: delete studies, series and instances from a server."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from dwcli.commands import references, transfer_report
from dwcli.context.run import DwContext
from dwcli.dicomweb import refs, tags
from dwcli.dicomweb.dicomjson import text
from dwcli.errors import DwError, ExitCode, UsageError, combine
from dwcli.options import takes

if TYPE_CHECKING:
    from dwcli.dicomweb.refs import Ref
    from dwcli.jobs.delete import DeletionPlan
    from dwcli.jobs.result import Item

_COLUMNS = ("level", "reference", "PatientName", "PatientID", "StudyDate", "StudyDescription", "series", "instances")
_STUDY = {
    "PatientName": tags.PatientName,
    "PatientID": tags.PatientID,
    "StudyDate": tags.StudyDate,
    "StudyDescription": tags.StudyDescription,
}


class DeleteOptions(NamedTuple):
    """Options of `dw delete`: confirmation, and what the server is told."""

    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be deleted, and delete nothing.")] = False
    reason: Annotated[
        str | None,
        typer.Option(
            "--reason",
            metavar="CODE^SCHEME",
            help="The coded reason, for servers that reject instead of deleting (113001^DCM).",
        ),
    ] = None
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write one JSON line per reference, then a summary.")
    ] = None


@takes(DeleteOptions)
def delete(
    ctx: typer.Context,
    how: DeleteOptions,
    words: Annotated[
        list[str], typer.Argument(metavar="[study|series|instance] REF...", help="References, or - for stdin.")
    ],
) -> None:
    """Delete studies, series or instances from a server.

    Shows what would be deleted and asks for confirmation. DICOMweb does not define deletion: each server has its own
    method, set by the profile's dialect.

    Examples:

    \b
      dw delete study UID
      dw delete STUDY/SERIES --dry-run
      dw search --date ..2015 -f uids | dw delete study - --yes
    """
    from dwcli.dicomweb import deletion
    from dwcli.jobs import delete as job
    from dwcli.jobs.result import Item, Tally

    dw: DwContext = ctx.obj
    log = transfer_report.begin(dw, how.report)
    level, rest = references.split_level(words)
    code = deletion.parse_reason(how.reason or deletion.QUALITY)
    # Read all references before sending anything: one that names another server stops the command.
    asked = list(references.read(dw, rest, level, verb="delete"))
    job.can(dw.client, dw.profile.place.root if dw.profile.place else None)
    if how.reason and dw.client.dialect.delete != "reject":
        dw.out.warn(f"this server takes no reason (dialect {dw.client.dialect.name}): --reason is ignored")
    asks = not how.yes and not how.dry_run
    if asks and ("-" in rest or sys.stdin is None or not sys.stdin.isatty()):
        raise UsageError(
            "cannot prompt: stdin is not a terminal", "add --dry-run to see what would be deleted, then --yes"
        )
    looked = _look(dw, asked)
    if how.dry_run:
        _plan(dw, looked)
        return
    if asks:
        _confirm(dw, looked)
    tally = Tally()
    items = (one if isinstance(one, Item) else job.delete(dw.client, one, reason=code) for one in looked)
    transfer_report.show(dw, items, tally, log)
    dw.out.info(", ".join([f"{tally.count('deleted')} deleted", *transfer_report.counts(tally, failed="failed")]))
    if ExitCode.FAILED in tally.codes:
        dw.out.info(_otherwise(dw))
    dw.finish(tally.code)


def _look(dw: DwContext, asked: "list[Ref]") -> "list[DeletionPlan | Item]":
    """Return what each reference contains, or why it cannot be deleted. Raises UsageError if there is none."""
    from dwcli.jobs import delete as job

    try:
        looked = [job.look(dw.client, ref) for ref in asked]
    except DwError:
        dw.out.info("nothing was deleted")
        raise
    if not looked:
        raise UsageError("no reference given", "dw delete study UID")
    return looked


def _split(dw: DwContext, looked: "list[DeletionPlan | Item]") -> "tuple[list[DeletionPlan], list[Item]]":
    """Return what would be deleted and what would fail; prints each failure."""
    from dwcli.jobs.result import Item

    failed = [one for one in looked if isinstance(one, Item)]
    for one in failed:
        dw.out.failed(transfer_report.told(one))
    return [one for one in looked if not isinstance(one, Item)], failed


def _plan(dw: DwContext, looked: "list[DeletionPlan | Item]") -> None:
    """Show what would be deleted (`--dry-run`)."""
    doomed, failed = _split(dw, looked)
    dw.out.table(map(_record, doomed), columns=_COLUMNS, empty="")
    dw.out.info("nothing was deleted")
    dw.finish(combine((one.code for one in failed), succeeded=bool(doomed)))


def _confirm(dw: DwContext, looked: "list[DeletionPlan | Item]") -> None:
    """Show what would be deleted and ask for confirmation. Raises DwError if the user declines."""
    doomed, _failed = _split(dw, looked)
    for one in doomed:
        dw.out.info(_sentence(one))
    what = "this" if len(doomed) == 1 else f"these {len(doomed)}"
    if doomed and not dw.out.confirm(f"delete {what} from {dw.client.base}?"):
        raise DwError("nothing was deleted")


def _otherwise(dw: DwContext) -> str:
    """Return what to do if a server did not delete what it lists."""
    dialect = dw.client.dialect
    server = dw.profile.name or f"--url {shlex.quote(dw.profile.url)}"
    return dialect.delete_otherwise or (
        f"deletion depends on the server's dialect ({dialect.name} here); find the right one: dw doctor {server}"
    )


def _record(one: "DeletionPlan") -> dict[str, object]:
    study = {name: text(one.row, tag) for name, tag in _STUDY.items()}
    return {"level": str(one.ref.level), "reference": refs.show(one.ref), **study} | {
        "series": one.series,
        "instances": one.instances,
    }


def _sentence(one: "DeletionPlan") -> str:
    record = _record(one)
    about = ", ".join(str(record[name]) for name in _STUDY if record[name])
    number = "an unknown number of" if one.instances is None else one.instances
    what = {"study": f"{one.series} series, {number} instances", "series": f"{number} instances"}.get(one.ref.level, "")
    return f"{one.ref.level} {record['reference']}: " + "; ".join(part for part in (about, what) if part)
