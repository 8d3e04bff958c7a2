"""`dw doctor`: what a server can and cannot do."""

import sys
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dwcli import config
from dwcli.commands.doctor_table import LEGEND, tell
from dwcli.context.prompts import ask
from dwcli.context.run import DwContext
from dwcli.errors import DwError, UsageError, combine
from dwcli.options import takes

if TYPE_CHECKING:
    from dwcli.client import Client
    from dwcli.doctor import Finding, Suggestion

_COLUMNS = ("group", "check", "result", "section", "standard", "found", "consequence", "setting")
_SECONDS = 20.0


@takes()
def doctor(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[PROFILE]", help="The profile (default: the selected one).")
    ] = None,
    save: Annotated[bool, typer.Option("--save", help="Save the findings to the profile.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Also store synthetic instances, and delete them if the server can.")
    ] = False,
    large: Annotated[
        bool, typer.Option("--large", help="With --write: find the largest store request accepted; sends up to 155 MB.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="On a terminal: also show what conforms to the standard.")
    ] = False,
) -> None:
    """Check a server's DICOMweb conformance and quirks.

    Sends harmless requests and reports the response, what the standard requires, and how dw adapts.
    The report contains no patient data and no secrets; attach -f json to a support ticket.
    It takes seconds, or at most three minutes on a slow server.

    Examples:

    \b
      dw doctor pacs
      dw doctor pacs --save
      dw doctor pacs --write -f json > pacs.json
    """
    from dwcli import doctor as job

    dw: DwContext = ctx.obj
    if large and not write:
        raise UsageError("--large requires --write", "dw doctor --write --large")
    profile = (
        dw.profile if name is None else config.select(dw.environment, profile=name, timeout=dw.given.timeout, ask=ask)
    )
    if save:
        _has_place_for_it(dw, profile)
    client = dw.connect(profile, tries=2, seconds=_SECONDS)
    if write and client.dialect.delete == "none":
        _accept_what_stays(dw, client)
    findings: list[job.Finding] = []
    with closing(job.examine(client, write=write, large=large)) as examined:

        def found() -> Iterator[job.Finding]:
            for finding in examined:
                findings.append(finding)
                yield finding

        def records() -> Iterator[dict[str, Any]]:
            yield from (finding.record() for finding in found())
            yield job.suggest_dialect(findings, client).record()

        if dw.out.terminal and dw.out.format in (None, "table"):
            for words in LEGEND:
                dw.out.line(words)
            tell(found(), dw.out.width, dw.out.line, everything=everything)
        else:
            dw.out.table(records(), columns=_COLUMNS)
    suggestion = job.suggest_dialect(findings, client)
    _end(dw, profile, findings, suggestion, save=save)


def _has_place_for_it(dw: DwContext, profile: config.Profile) -> None:
    """Check that --save has a profile of the configuration file, tested at its own URL. Raises UsageError."""
    if profile.name in config.BUILT_IN and profile.place is not None:
        raise UsageError(f"profile {profile.name} is built in and cannot be changed", "leave out --save")
    if profile.place is not None:
        raise UsageError("a folder is not a profile and cannot be changed", "leave out --save")
    if not profile.name:
        raise UsageError("--save requires a profile", "dw profile add NAME URL")
    if profile.url != dw.file.table(profile.name)["url"].strip().rstrip("/"):
        raise UsageError(
            f"--url is not the address of the profile {profile.name}",
            f"dw profile edit {profile.name} --url {profile.url}",
        )


def _accept_what_stays(dw: DwContext, client: "Client") -> None:
    """Ask (on a terminal) or warn before --write on a server without deletion. Raises DwError if the user declines."""
    words = f"{client.base} does not support deletion: instances stored by --write will remain"
    if not dw.out.terminal or sys.stdin is None or not sys.stdin.isatty():
        dw.out.warn(words)
        return
    dw.out.info(words)
    if not dw.out.confirm("store the synthetic studies anyway?"):
        raise DwError("nothing was stored", "run it without --write to store nothing")


def _end(
    dw: DwContext, profile: config.Profile, findings: "list[Finding]", suggestion: "Suggestion", *, save: bool
) -> None:
    """Print the summary and the next command."""
    differing = sum(finding.result == "differs" for finding in findings)
    failed = [finding.failure for finding in findings if finding.failure is not None]
    unknown = f", {len(failed)} could not be checked" if failed else ""
    dw.out.info(f"{differing} of {len(findings)} checks differ from the standard{unknown}")
    for finding in findings:
        if finding.group == "store" and finding.check == "delete" and finding.differs:
            dw.out.warn(f"instances stored by --write remain: {finding.found}")
    dw.out.info(f"dialect: {suggestion.summary} ({suggestion.reasons})")
    if save:
        dw.file.put(profile.name, {"url": profile.url, "dialect": suggestion.value}, replace=True)
        dw.out.info(f"saved to profile {profile.name}")
    elif profile.name and profile.place is None and not suggestion.matches(profile.dialect):
        dw.out.info(f"hint: dw doctor {profile.name} --save")
    dw.finish(combine(failed, succeeded=True))
