"""`dw copy`: server to server."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dwcli import config
from dwcli.commands import references, transfer_report
from dwcli.context.run import DwContext
from dwcli.dicomweb import refs
from dwcli.errors import ExitCode, UsageError
from dwcli.options import takes

if TYPE_CHECKING:
    from dwcli.jobs.retrieve import Planned


_GO_ON = "run the same command again to copy the rest"


@takes()
def copy(
    ctx: typer.Context,
    words: Annotated[
        list[str], typer.Argument(metavar="[study|series|instance] REF...", help="References, or - for stdin.")
    ],
    to: Annotated[str, typer.Option("--to", metavar="PROFILE", help="The target server's profile.")],
    jobs: Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, max=64, help="Concurrent transfers.")] = 4,
    verify: Annotated[
        bool, typer.Option("--verify", help="Retrieve each instance from the target and compare.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be copied, and copy nothing.")] = False,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write one JSON line per instance, then a summary.")
    ] = None,
    max_errors: Annotated[
        int | None, typer.Option("--max-errors", metavar="N", min=1, help="Stop after N failures.")
    ] = None,
) -> None:
    """Copy from one server to another.

    Nothing is kept on disk. Instances already on the target are compared; at the end, dw checks that the target lists
    every instance it received.

    Examples:

    \b
      dw copy UID --to archive
      dw -p pacs search --date today -f uids | dw -p pacs copy study - --to archive
      dw copy STUDY/SERIES --to archive --verify
      dw copy UID --to archive --dry-run
    """
    from dwcli.jobs import copy as job
    from dwcli.jobs import retrieve, store
    from dwcli.jobs.result import Tally

    dw: DwContext = ctx.obj
    log = transfer_report.begin(dw, report)
    level, rest = references.split_level(words)
    if not to:
        raise UsageError("--to is empty", "dw copy REF --to PROFILE")
    if refs.origin(to):
        owner = dw.profile_at(to)
        raise UsageError(
            f"--to takes a profile's name, not an address: {to}",
            f"--to {owner}" if owner else "dw profile add NAME URL, then --to NAME",
        )
    # DW_USER and similar variables apply to the source; the target uses its own profile.
    own = dw.environment._replace(user="", password=None, token=None)
    target = config.select(own, profile=to, timeout=dw.given.timeout, ask=dw.ask)
    if target.url == dw.profile.url:
        raise UsageError("source and target are the same server", "-p FROM … --to TO")
    # Read all references before sending anything: one that names another server stops the command.
    asked = list(references.read(dw, rest, level, verb="copy"))
    if dry_run:
        _plan(dw, job.plan(dw.transfer_client, dw.connect(target), asked), target.name)
        return
    tally = Tally()
    with dw.out.progress("copying") as progress:
        items = job.copy(
            dw.transfer_client,
            dw.connect(target),
            asked,
            fetching=retrieve.Options(jobs=jobs, verify=verify, max_errors=max_errors),
            storing=store.Options(jobs=jobs, verify=verify, max_errors=max_errors),
            on_bytes=progress.add,
            on_expect=progress.expect,
        )
        seconds = transfer_report.show(dw, transfer_report.ticked(items, progress.item), tally, log, go_on=_GO_ON)
    done = tally.count("stored", "warned", "unexpected")
    summary = [f"{done} copied ({transfer_report.speed(tally, seconds)})"]
    summary += transfer_report.counts(
        tally,
        warned="of these with warnings",
        unexpected="of these not requested",
        present="already there",
        conflict="in conflict",
        failed="failed",
        unknown="unknown",
        unverified="not verified",
    )
    if ExitCode.TEMPORARY in tally.codes:
        summary.append(_GO_ON)
    dw.out.info(f"{target.name}: {', '.join(summary)}")
    dw.finish(tally.code)


def _plan(dw: DwContext, plans: "Iterable[Planned]", target: str) -> None:
    """Show the plan (`--dry-run`): series, their instances, and how many of them the target lists."""
    sums = transfer_report.show_plans(dw, plans)
    words = f"would copy {sums['instances']} instances in {sums['series']} series to {target}"
    words += f", which already lists {sums['present']} of them"
    if sums["unknown"]:
        words += f", plus the instances of {sums['unknown']} references that the server does not list"
    dw.out.info(f"{words}; nothing was copied")
