"""How the results of a transfer are shown: progress, the rows of a pipe, the report file, the summary."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dwcli.context import DwContext
from dwcli.errors import ExitCode, UsageError
from dwcli.jobs.item import Item, Tally
from dwcli.output import size

COLUMNS = ("outcome", "study", "series", "instance", "path", "size", "reason")
_SHOWN = ("outcome", "instance", "path", "reason")


def show(dw: DwContext, items: Iterable[Item], tally: Tally, report: Path | None) -> float:
    """Print the items, write the report, count; returns the seconds it took.

    On a terminal only what needs a look is shown, in a pipe every item; the report has every item and a summary line.
    """
    started = time.monotonic()
    with _report(report) as write:

        def counted() -> Iterator[dict[str, Any]]:
            for item in items:
                tally.add(item)
                record = item.record()
                write(record)
                if not dw.out.terminal or dw.out.format or _needs_a_look(item):
                    yield record

        try:
            dw.out.table(counted(), columns=_SHOWN if dw.out.terminal else COLUMNS, empty="")
        finally:
            seconds = time.monotonic() - started
            write(
                {
                    "summary": dict(tally.outcomes),
                    "bytes": tally.bytes,
                    "seconds": round(seconds, 3),
                    "exit": int(tally.code),
                }
            )
    return seconds


def _needs_a_look(item: Item) -> bool:
    return item.code is not ExitCode.OK or item.outcome in ("warned", "stranger", "unverified")


def speed(tally: Tally, seconds: float) -> str:
    """`14.3 MB in 0.4 s (35.8 MB/s)`."""
    return f"{size(tally.bytes)} in {seconds:.1f} s ({size(tally.bytes / max(seconds, 1e-3))}/s)"


def counts(tally: Tally, **texts: str) -> list[str]:
    """`3 failed` and the like, for the outcomes that came up, in the order given."""
    return [f"{tally.outcomes[outcome]} {text}" for outcome, text in texts.items() if tally.outcomes[outcome]]


def ticked(items: Iterable[Item], tick: Callable[[], None]) -> Iterator[Item]:
    """The items, each instance counted by the progress as it passes."""
    for item in items:
        if item.instance:
            tick()
        yield item


@contextmanager
def _report(path: Path | None) -> Iterator[Any]:
    """A function that writes one JSON line, at once, so that a killed run leaves its lines."""
    if path is None:
        yield lambda _record: None
        return
    try:
        with path.open("w", encoding="utf-8", errors="backslashreplace") as file:

            def write(record: dict[str, Any]) -> None:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
                file.flush()

            yield write
    except OSError as error:
        raise UsageError(f"cannot write the report {path}: {error.strerror or error}") from error
