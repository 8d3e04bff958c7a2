"""The global options of every command, and what follows from them."""

from collections.abc import Iterable
from typing import Annotated, NamedTuple

import typer

from dwcli import config
from dwcli.errors import UsageError
from dwcli.output import Out

_EVERY = "Every command"


class GlobalOptions(NamedTuple):
    """Options before and after the command's name; the later one wins. No `envvar=`: config reads the environment."""

    profile: Annotated[
        str | None,
        typer.Option("--profile", "-p", metavar="NAME", help="The server profile to use.", rich_help_panel=_EVERY),
    ] = None
    url: Annotated[
        str | None,
        typer.Option(
            "--url", metavar="URL", help="A DICOMweb base URL to use without a profile.", rich_help_panel=_EVERY
        ),
    ] = None
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="F",
            help="table, tsv, csv, json, jsonl, flat, xml, uids or refs; default: table on a terminal, else tsv.",
            rich_help_panel=_EVERY,
        ),
    ] = None
    headers: Annotated[
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
            help="Give up after S seconds without data (default: 300 for the first byte, then 60).",
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
            help="Print more: -v retries, -vv every request.",
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
            help="Print data and failures only; -qq: no security warnings either.",
            rich_help_panel=_EVERY,
        ),
    ] = 0

    def then(self, later: "GlobalOptions") -> "GlobalOptions":
        """Merge both: the later one wins; headers and verbosity add up."""
        return GlobalOptions(
            profile=later.profile if later.profile is not None else self.profile,
            url=later.url if later.url is not None else self.url,
            format=later.format if later.format is not None else self.format,
            headers=[*(self.headers or ()), *(later.headers or ())],
            timeout=later.timeout if later.timeout is not None else self.timeout,
            verbose=self.verbose + later.verbose,
            quiet=self.quiet + later.quiet,
        )


def make_out(given: GlobalOptions, environment: config.Environment) -> Out:
    """Return the output for these options and this environment."""
    return Out(
        format=given.format,
        verbosity=-min(given.quiet, 2) or given.verbose,
        color=False if environment.no_color or environment.dumb else None,
        width=environment.columns,
    )


_FRAMING = frozenset({"content-length", "transfer-encoding"})


def parse_headers(given: Iterable[str] | None) -> dict[str, str]:
    """Parse `Name: value` pairs. Raises UsageError on anything that is not one header."""
    headers: dict[str, str] = {}
    for text in given or ():
        name, colon, value = text.partition(":")
        if (
            not colon
            or not name.strip()
            or not (name + value).isprintable()
            or not text.isascii()
            or " " in name.strip()
        ):
            raise UsageError(f"not a header: {text!r}", "write -H 'Name: value', in ASCII, on one line")
        if name.strip().lower() in _FRAMING:
            raise UsageError(f"header {name.strip()} cannot be set: dw computes it", f"leave out -H {name.strip()}")
        headers = {known: old for known, old in headers.items() if known.lower() != name.strip().lower()}
        headers[name.strip()] = value.strip()
    return headers
