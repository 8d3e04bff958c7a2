"""Options that several commands share, and the decorator that gives them to a command.

A group of options is a NamedTuple whose fields are Annotated as typer wants them; `takes` adds the fields to the
command's signature and hands the command one value of the class. So each option is declared once.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints

import typer

from dwcli.context import DwContext, Globals

_EVERY = "Every command"
_MATCH = "What to search for"


class GlobalOptions(NamedTuple):
    """What works before and after a command's name; the later wins. No `envvar=`: config reads the environment."""

    profile: Annotated[
        str | None,
        typer.Option("--profile", "-p", metavar="NAME", help="The server to talk to.", rich_help_panel=_EVERY),
    ] = None
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="A DICOMweb base URL, without a profile.", rich_help_panel=_EVERY),
    ] = None
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="F",
            help="table, tsv, csv, json, jsonl, flat, xml, uids or refs; by default a table on a terminal, else tsv.",
            rich_help_panel=_EVERY,
        ),
    ] = None
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            "-H",
            metavar="'NAME: VALUE'",
            help="An extra request header; repeatable.",
            rich_help_panel=_EVERY,
        ),
    ] = None
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="S",
            min=0.1,
            help="Seconds of silence after which to give up (300 to the first byte, then 60).",
            rich_help_panel=_EVERY,
        ),
    ] = None
    verbose: Annotated[
        int,
        typer.Option(
            "-v",
            "--verbose",
            count=True,
            show_default=False,
            metavar="",
            help="More talk: -v retries, -vv requests.",
            rich_help_panel=_EVERY,
        ),
    ] = 0
    quiet: Annotated[
        int,
        typer.Option(
            "--quiet",
            "-q",
            count=True,
            show_default=False,
            metavar="",
            help="Print data and failures only; -qq: not even warnings.",
            rich_help_panel=_EVERY,
        ),
    ] = 0


class MatchOptions(NamedTuple):
    """What to search for (QIDO-RS matching, PS3.18 8.3.4.1)."""

    patient: Annotated[
        str | None,
        typer.Option("--patient", metavar="NAME", help="PatientName; * and ? are wildcards.", rich_help_panel=_MATCH),
    ] = None
    patient_id: Annotated[
        list[str] | None,
        typer.Option("--patient-id", metavar="ID", help="PatientID; repeatable.", rich_help_panel=_MATCH),
    ] = None
    modality: Annotated[
        list[str] | None,
        typer.Option(
            "--modality",
            metavar="CT,MR",
            help="One or more modalities, any of them; repeatable.",
            rich_help_panel=_MATCH,
        ),
    ] = None
    date: Annotated[
        str | None,
        typer.Option(
            "--date",
            metavar="WHEN",
            help="StudyDate: 2024-03, 20240301-20240331, 2024-03.., 7d, today.",
            rich_help_panel=_MATCH,
        ),
    ] = None
    time: Annotated[
        str | None, typer.Option("--time", metavar="WHEN", help="StudyTime: 08:00..12:00.", rich_help_panel=_MATCH)
    ] = None
    accession: Annotated[
        list[str] | None,
        typer.Option("--accession", metavar="NO", help="AccessionNumber; repeatable.", rich_help_panel=_MATCH),
    ] = None
    description: Annotated[
        str | None,
        typer.Option(
            "--description", metavar="TEXT", help="StudyDescription, or SeriesDescription.", rich_help_panel=_MATCH
        ),
    ] = None
    birth_date: Annotated[
        str | None,
        typer.Option(
            "--birth-date", metavar="WHEN", help="PatientBirthDate, written as --date.", rich_help_panel=_MATCH
        ),
    ] = None
    study: Annotated[
        list[str] | None,
        typer.Option("--study", metavar="UID", help="Only within this study; repeatable.", rich_help_panel=_MATCH),
    ] = None
    series: Annotated[
        list[str] | None,
        typer.Option("--series", metavar="UID", help="Only within this series; repeatable.", rich_help_panel=_MATCH),
    ] = None
    fuzzy: Annotated[
        bool, typer.Option("--fuzzy", help="Fuzzy matching of names, where the server can.", rich_help_panel=_MATCH)
    ] = False
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, max=10**9, help="At most N.", rich_help_panel=_MATCH)
    ] = None
    offset: Annotated[
        int, typer.Option("--offset", metavar="N", min=0, help="Skip the first N.", rich_help_panel=_MATCH)
    ] = 0


def named_path(typed: str | Path) -> Path:
    """A file or folder as it was typed; an empty name, which an unset variable leaves, is not this folder."""
    if not str(typed).strip():
        raise typer.BadParameter("the name is empty (a variable that is not set?)")
    return Path(typed)


ALIASES: dict[type, str] = {MatchOptions: "match"}


def takes(*groups: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the global options and those of `groups`; it receives one keyword argument for each group."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(function, include_extras=True)
        own = [
            parameter.replace(annotation=hints[name])
            for name, parameter in inspect.signature(function).parameters.items()
            if name not in {ALIASES[group] for group in groups}
        ]
        added = [parameter for group in (*groups, GlobalOptions) for parameter in _parameters(group)]

        @wraps(function)
        def wrapper(ctx: typer.Context, **given: Any) -> None:
            values = {ALIASES[group]: _build(group, given) for group in groups}
            dw = DwContext(ctx.obj.then(as_globals(_build(GlobalOptions, given))))
            ctx.obj = dw
            with dw:
                function(ctx, **given, **values)

        parameters = [*own, *added]
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return wrapper

    return decorate


def takes_globals(function: Callable[..., None]) -> Callable[..., None]:
    """Give the app's own callback the global options, as one argument `given`."""
    hints = get_type_hints(function, include_extras=True)
    own = [
        parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "given"
    ]

    @wraps(function)
    def wrapper(ctx: typer.Context, **given: Any) -> None:
        function(ctx, given=_build(GlobalOptions, given), **given)

    parameters = [*own, *_parameters(GlobalOptions)]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper


def _parameters(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=group._field_defaults[name], annotation=hints[name]
        )
        for name in group._fields
    ]


def _build(group: Any, given: dict[str, Any]) -> Any:
    return group(**{name: given.pop(name) for name in group._fields})


def as_globals(options: GlobalOptions) -> Globals:
    """The options as the context merges them."""
    return Globals(
        profile=options.profile,
        url=options.url,
        format=options.format,
        headers=tuple(options.header or ()),
        timeout=options.timeout,
        verbose=options.verbose,
        quiet=options.quiet,
    )
