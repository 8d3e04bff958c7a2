"""`dw check`: a folder against a server."""

from pathlib import Path
from typing import Annotated

import typer

from dwcli.commands import references, transfer_report
from dwcli.context.run import DwContext
from dwcli.errors import ExitCode, UsageError
from dwcli.options import named_path, takes

_GO_ON = "run the same command again to check the rest"


@takes()
def check(
    ctx: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(metavar="[study|series|instance] REF... DIR", help="References or -; then the folder."),
    ],
    deep: Annotated[bool, typer.Option("--deep", help="Retrieve every instance and compare its bytes.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, max=64, help="Concurrent requests.")] = 4,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write one JSON line per instance, then a summary.")
    ] = None,
) -> None:
    """Check a folder against what the server lists.

    Reports missing and extra instances.

    Examples:

    \b
      dw check UID out/
      dw check study UID out/ --deep
      dw search --date 7d -f uids | dw check study - out/ --report check.jsonl
    """
    from dwcli.jobs import check as job
    from dwcli.jobs.result import Tally

    dw: DwContext = ctx.obj
    log = transfer_report.begin(dw, report)
    level, rest = references.split_level(words)
    if len(rest) < 2:
        raise UsageError("check needs a reference and a folder", "dw check UID out/")
    folder = named_path(rest.pop())
    if not folder.is_dir():
        raise UsageError(f"folder not found: {folder}", "dw retrieve REF -o DIR (to create it)")
    tally = Tally()
    with dw.out.progress("checking") as progress:
        asked = references.read(dw, rest, level)
        items = job.check(dw.transfer_client, asked, folder, deep=deep, jobs=jobs, on_expect=progress.expect)
        transfer_report.show(dw, transfer_report.ticked(items, progress.item), tally, log, go_on=_GO_ON, few=True)
    how = "identical byte for byte" if deep else "present"
    words_out = [f"{tally.outcomes['present']} instances {how}"]
    words_out += transfer_report.counts(
        tally,
        missing="missing",
        extra="extra",
        conflict="different",
        failed="failed",
        warned="identical but truncated on the server",
        unverified="not verified",
    )
    if ExitCode.TEMPORARY in tally.codes:
        words_out.append(_GO_ON)
    dw.out.info(f"{folder}: {', '.join(words_out)}")
    dw.finish(tally.code)
