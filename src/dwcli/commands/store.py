"""`dw store`: STOW-RS from files and folders."""

import re
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from dwcli.commands import references, transfer_report
from dwcli.context.run import DwContext
from dwcli.dicomweb.refs import Level
from dwcli.errors import ExitCode, UsageError
from dwcli.options import named_path, takes
from dwcli.output import size

if TYPE_CHECKING:
    from dwcli.jobs.result import Tally
    from dwcli.jobs.selection import Found
    from dwcli.jobs.store import Options

_WITH_JOURNAL = "run the same command again to send only the rest"
_WITHOUT = "the same command sends everything again; add --journal FILE to send only the rest"


class StoreOptions(NamedTuple):
    """Which of the given files to send, and how."""

    study: Annotated[
        str | None,
        typer.Option(
            "--study", metavar="UID", help="Store into this study; the server refuses instances of other studies."
        ),
    ] = None
    jobs: Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, max=64, help="Concurrent requests.")] = 4
    batch_size: Annotated[
        str, typer.Option("--batch-size", metavar="SIZE", help="Maximum size of one request: 64M, 500k, 1G.")
    ] = "64M"
    include: Annotated[
        list[str] | None, typer.Option("--include", metavar="GLOB", help="Store only matching files; repeatable.")
    ] = None
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="GLOB", help="Skip matching files and folders; repeatable."),
    ] = None
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Retrieve each instance and compare; exit 3 if that is impossible."),
    ] = False
    journal: Annotated[
        Path | None,
        typer.Option("--journal", metavar="FILE", help="Record stored instances; the next run sends only the rest."),
    ] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")] = False
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write one JSON line per file, then a summary.")
    ] = None
    max_errors: Annotated[
        int | None, typer.Option("--max-errors", metavar="N", min=1, help="Stop after N failures.")
    ] = None


@takes(StoreOptions)
def store(
    ctx: typer.Context,
    how: StoreOptions,
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...", parser=named_path, help="Files and folders; folders are searched recursively."
        ),
    ],
) -> None:
    """Store DICOM files (STOW-RS).

    An instance counts as stored only if the store response says so.

    Examples:

    \b
      dw store ./folder
      dw store ./folder --dry-run
      dw store ./folder --journal night.jsonl   # run it again to send the rest
      dw store scan.dcm --study UID --verify
    """
    from dwcli.files.scan import scan
    from dwcli.jobs.store import Options

    dw: DwContext = ctx.obj
    if how.report and how.journal and how.report.absolute() == how.journal.absolute():
        raise UsageError("the report would overwrite the journal", "use different file names")
    study = _study(dw, how.study)
    log = transfer_report.begin(dw, how.report)
    found = scan(paths, include=how.include or (), exclude=how.exclude or ())
    options = Options(study, how.jobs, _bytes(how.batch_size), how.verify, how.max_errors)
    tally, summary = (_plan if how.dry_run else _send)(dw, found, options, how.journal, log)
    _tell_of_nothing(dw, tally, paths, filtered=bool(how.include or how.exclude))
    dw.out.info(summary)
    dw.finish(tally.code)


def _plan(
    dw: DwContext, found: "Iterable[Found]", options: "Options", journal: Path | None, log: transfer_report.Report
) -> "tuple[Tally, str]":
    """Return what would be sent (`--dry-run`), and its summary."""
    from dwcli.files.journal import Journal
    from dwcli.jobs.result import Tally
    from dwcli.jobs.selection import plan

    tally = Tally()
    # Opening a journal would create it.
    book = Journal(journal, dw.profile.url) if journal and journal.exists() else None
    with book or nullcontext():
        planned = plan(found, options, book, store_bytes=dw.profile.dialect.store_bytes)
        transfer_report.show(dw, planned, tally, log)
    files = tally.outcomes["planned"]
    return tally, f"would send {files} instances ({size(tally.bytes)}); nothing was sent"


def _send(
    dw: DwContext, found: "Iterable[Found]", options: "Options", journal: Path | None, log: transfer_report.Report
) -> "tuple[Tally, str]":
    """Send the instances; returns the results and their summary."""
    from dwcli.files.journal import Journal
    from dwcli.jobs.result import Tally
    from dwcli.jobs.store import Storing

    tally = Tally()
    book = Journal(journal, dw.profile.url) if journal else None
    with book or nullcontext(), dw.out.progress("storing") as progress:
        job = Storing(dw.transfer_client, options, journal=book, on_bytes=progress.add, on_expect=progress.expect)
        items = transfer_report.ticked(job.run(found), progress.item)
        seconds = transfer_report.show(dw, items, tally, log, go_on=_WITH_JOURNAL if book else _WITHOUT)
    by_journal = book is not None and not options.verify
    return tally, _summary(tally, dw.profile.name or dw.profile.url, seconds, journal=by_journal)


def _study(dw: DwContext, typed: str | None) -> str:
    """Return the study to store into, empty for any. Raises UsageError."""
    if typed is None:
        return ""
    if not typed:
        # An unset variable in a script must not allow every study.
        raise UsageError("--study is empty", "give a study or leave the option out")
    return references.parse(dw, typed, Level.STUDY, verb="store").study


def _tell_of_nothing(dw: DwContext, tally: "Tally", paths: list[Path], *, filtered: bool) -> None:
    """Warn if there is nothing to send: not a failure, but usually the wrong folder."""
    if tally.outcomes.total() > tally.outcomes["skipped"]:
        return
    more = f" (nor in {len(paths) - 1} others)" if len(paths) > 1 else ""
    which = " that match --include and --exclude" if filtered else ""
    dw.out.warn(f"no DICOM files found in {paths[0]}{more}{which}")


def _bytes(typed: str) -> int:
    match = re.fullmatch(r"(\d+)\s*([kKmMgG]?)[bB]?", typed.strip())
    if not match or not int(match[1]):
        raise UsageError(f"not a size: {typed}", "write 64M, 500k or 1G")
    return int(match[1]) * {"": 1, "k": 1000, "m": 1_000_000, "g": 1_000_000_000}[match[2].lower()]


def _summary(tally: "Tally", where: str, seconds: float, *, journal: bool) -> str:
    done = tally.count("stored", "warned")
    words = [f"{done} stored ({transfer_report.speed(tally, seconds)})" if done else "0 stored"]
    words += transfer_report.counts(
        tally,
        warned="of these with warnings",
        present="already there, or stored by an earlier run (journal)" if journal else "already there",
        conflict="in conflict",
        failed="failed",
        unknown="unknown",
        skipped="skipped",
    )
    if tally.code is ExitCode.TEMPORARY:
        words.append("run the same command again to send them")
    return f"{where}: {', '.join(words)}"
