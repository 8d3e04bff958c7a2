"""`dw doctor`: what a server can and cannot do."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from dwcli import config
from dwcli.context import DwContext, ask
from dwcli.errors import UsageError
from dwcli.options import takes

_COLUMNS = ("check", "result", "found", "consequence")
_ALL = ("check", "result", "standard", "found", "consequence", "setting")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


@takes()
def doctor(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[PROFILE]", help="The profile; the chosen one by default.")
    ] = None,
    save: Annotated[bool, typer.Option("--save", help="Write what was found into the profile.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Store a made instance too, and delete it where the server can.")
    ] = False,
) -> None:
    """Look a server over: what it can and cannot do.

    Harmless requests, what the standard says to each, what came, and what dw does about it.
    The report has no patient data and no secrets in it; -f json is fit for a support ticket.

    Examples:

    \b
      dw doctor pacs
      dw doctor pacs --save
      dw doctor pacs --write -f json > pacs.json
    """
    from dwcli.jobs import doctor as job

    dw: DwContext = ctx.obj
    profile = (
        dw.profile if name is None else config.select(dw.environment, profile=name, timeout=dw.given.timeout, ask=ask)
    )
    if save and not profile.name:
        raise UsageError("--save writes into a profile, and there is none", "dw profile add NAME URL")
    client = dw.connect(profile, tries=2)
    findings: list[job.Finding] = []

    def records() -> Iterator[dict[str, Any]]:
        for finding in job.examine(client, write=write):
            findings.append(finding)
            yield finding.record()

    dw.out.table(records(), columns=_COLUMNS if dw.out.terminal else _ALL)
    preset, differences = job.suggest(findings, client)
    words = [preset, *(f"{key}={value}" for key, value in differences.items())]
    count = sum(finding.differs for finding in findings)
    dw.out.info(f"{count} of {len(findings)} differ from the standard; dialect: {', '.join(words)}")
    if save:
        dw.file.put(
            profile.name,
            {"url": profile.url, "dialect": {"name": preset, **differences} if differences else preset},
            replace=True,
        )
        dw.out.info(f"profile {profile.name} has it now")
    elif profile.name and preset != profile.dialect.name:
        dw.out.info(f"try: dw doctor {profile.name} --save")
