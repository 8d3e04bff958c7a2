"""The doctor's findings for somebody at a terminal: what differs, in words that wrap, and how much does not."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from textwrap import wrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dwcli.doctor import Finding

_WIDE = 140  # columns from which on everything stands side by side
_MARKS = {"differs": "!", "failed": "?", "note": "-", "ok": " "}
LEGEND = (
    "What came, what the standard says, and what follows.",
    "! differs from the standard   ? not found out   - good to know",
    "",
)


def tell(findings: Iterable["Finding"], width: int, line: Callable[[str], None], *, everything: bool) -> None:
    """A paragraph for each group as soon as it is complete; what is as the standard says is only counted.

    `everything`: shown too.
    """
    for group, members in groupby(findings, key=lambda finding: finding.group):
        held = list(members)
        shown = [one for one in held if everything or one.result != "ok"]
        hidden = len(held) - len(shown)
        count = f"{hidden} more" if shown else f"all {hidden}"
        line(f"{group} ({count} as the standard says)" if hidden else group)
        for text in laid([_cells(one) for one in shown], width):
            line(text)
        line("")


def _cells(finding: "Finding") -> tuple[str, str, str, str]:
    """Mark and name, what came, what the standard says, what follows."""
    section = finding.section
    where = f"PS3.18 {section}" if section[:1].isdigit() or section[1:2] == "." else section
    standard = f"{where}: {finding.standard}" if where else finding.standard
    return f"{_MARKS[finding.result]} {finding.check}", finding.found, standard, finding.consequence


def laid(rows: list[tuple[str, str, str, str]], width: int) -> Iterator[str]:
    """Rows as lines of at most `width` columns: side by side, or under one another beside the name."""
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
    """The lines of a cell, those after the first a little further in."""
    return [
        text for part in cell.splitlines() for text in wrap(part, width, subsequent_indent="  ", break_on_hyphens=False)
    ] or [""]
