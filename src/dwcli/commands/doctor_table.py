"""The doctor's findings on a terminal: wrapped text for what differs, a count for what conforms."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from textwrap import wrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dwcli.doctor import Finding

_WIDE = 140  # from this many columns on, cells stand side by side
_MARKS = {"differs": "!", "failed": "?", "note": "-", "ok": " "}
LEGEND = (
    "Response, what the standard requires, and consequence.",
    "! differs from the standard   ? could not be checked   - note",
    "",
)


def tell(findings: Iterable["Finding"], width: int, line: Callable[[str], None], *, everything: bool) -> None:
    """Print a paragraph for each group as soon as it is complete; conforming checks are only counted.

    `everything`: print them too.
    """
    for group, members in groupby(findings, key=lambda finding: finding.group):
        held = list(members)
        shown = [one for one in held if everything or one.result != "ok"]
        hidden = len(held) - len(shown)
        count = f"{hidden} more" if shown else f"all {hidden}"
        line(f"{group} ({count} conform to the standard)" if hidden else group)
        for text in laid([_cells(one) for one in shown], width):
            line(text)
        line("")


def _cells(finding: "Finding") -> tuple[str, str, str, str]:
    """Return the cells: mark and name, response, standard, consequence."""
    section = finding.section
    where = f"PS3.18 {section}" if section[:1].isdigit() or section[1:2] == "." else section
    standard = f"{where}: {finding.standard}" if where else finding.standard
    return f"{_MARKS[finding.result]} {finding.check}", finding.found, standard, finding.consequence


def laid(rows: list[tuple[str, str, str, str]], width: int) -> Iterator[str]:
    """Yield the rows as lines of at most `width` columns: side by side, or stacked beside the name."""
    if not rows:
        return
    name = 40 if width >= _WIDE else 24 if width >= 60 else 14
    if width >= _WIDE:
        rest = width - name - 6
        widths = [name, rest * 3 // 10, rest * 3 // 10, rest - 2 * (rest * 3 // 10)]
    else:
        widths = [name, max(width - name - 2, 12)]
    for row in rows:
        cells = list(row) if width >= _WIDE else [row[0], "\n".join(cell for cell in row[1:] if cell)]
        columns = [_wrapped(cell, room) for cell, room in zip(cells, widths, strict=True)]
        for number in range(max(map(len, columns))):
            parts = [column[number] if number < len(column) else "" for column in columns]
            yield "  ".join(part.ljust(room) for part, room in zip(parts, widths, strict=True)).rstrip()


def _wrapped(cell: str, width: int) -> list[str]:
    """Return the lines of a cell; all but the first are indented."""
    return [
        text for part in cell.splitlines() for text in wrap(part, width, subsequent_indent="  ", break_on_hyphens=False)
    ] or [""]
