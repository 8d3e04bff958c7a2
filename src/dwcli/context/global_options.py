"""What was given on the command line for every command: the global options, and what follows from them."""

from typing import NamedTuple

from dwcli import config
from dwcli.errors import UsageError
from dwcli.output import Out


class Globals(NamedTuple):
    """The global options, as given before the command's name, after it, or both."""

    profile: str | None = None
    url: str | None = None
    format: str | None = None
    headers: tuple[str, ...] = ()
    timeout: float | None = None
    verbose: int = 0
    quiet: int = 0

    def then(self, later: "Globals") -> "Globals":
        """Both merged: the later one wins, headers and verbosity add up."""
        return Globals(
            profile=later.profile if later.profile is not None else self.profile,
            url=later.url if later.url is not None else self.url,
            format=later.format if later.format is not None else self.format,
            headers=self.headers + later.headers,
            timeout=later.timeout if later.timeout is not None else self.timeout,
            verbose=self.verbose + later.verbose,
            quiet=self.quiet + later.quiet,
        )


def make_out(given: Globals, environment: config.Environment) -> Out:
    """The output that these options and this environment ask for."""
    return Out(
        format=given.format,
        verbosity=-min(given.quiet, 2) or given.verbose,
        color=False if environment.no_color or environment.dumb else None,
        width=environment.columns,
    )


_FRAMING = frozenset({"content-length", "transfer-encoding"})


def parse_headers(given: tuple[str, ...]) -> dict[str, str]:
    """`Name: value` pairs. Raises UsageError on anything that is not one header."""
    headers: dict[str, str] = {}
    for text in given:
        name, colon, value = text.partition(":")
        if (
            not colon
            or not name.strip()
            or not (name + value).isprintable()
            or not text.isascii()
            or " " in name.strip()
        ):
            raise UsageError(f"not a header: {text!r}", "write -H 'Name: value', in ASCII and on one line")
        if name.strip().lower() in _FRAMING:
            raise UsageError(f"the header {name.strip()} is not yours to set", "it follows from what is sent")
        headers = {known: old for known, old in headers.items() if known.lower() != name.strip().lower()}
        headers[name.strip()] = value.strip()
    return headers
