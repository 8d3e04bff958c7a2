"""How the results of a transfer are shown: progress, the rows of a pipe, the report file, the summary."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dwcli.context import DwContext
from dwcli.errors import DwError, ExitCode, UsageError
from dwcli.jobs.item import DONE, Item, Tally
from dwcli.output import size

COLUMNS = ("outcome", "study", "series", "instance", "path", "size", "reason")


def show(dw: DwContext, items: Iterator[Item], tally: Tally, report: Path | None, *, go_on: str = "") -> float:
    """Print the items, write the report, count; returns the seconds it took.

    A person is told of what needs a look, at once and in full; a pipe gets every item, the report a summary line too.
    Where nobody reads the pipe any more the work goes on in silence.
    `go_on` is what to do after an interruption, in words.
    """
    started = time.monotonic()
    ended: ExitCode | None = None
    person = dw.out.terminal and not dw.out.format
    told: list[Item] = []
    with _report(report) as write:

        def counted() -> Iterator[dict[str, Any]]:
            for item in items:
                tally.add(item)
                record = item.record()
                write(record)
                if not person:
                    if item.code is not ExitCode.OK and not told:
                        # Its mail is often all that a cron job shows: one reason stands for the rest.
                        told.append(item)
                        dw.out.warn(_told(item))
                    yield record
                elif _needs_a_look(item):
                    dw.out.line(told(item))

        try:
            try:
                dw.out.table(counted(), columns=COLUMNS, empty="")
            except BrokenPipeError:
                # The reader has seen enough (`| head`), but the transfer is not done.
                dw.out.close_quietly()
                dw.out.table(counted(), columns=COLUMNS, empty="")
        except KeyboardInterrupt:
            ended = ExitCode.INTERRUPTED
            raise
        except DwError as error:
            ended = error.exit_code
            raise
        except BaseException:
            ended = ExitCode.FAILED
            raise
        finally:
            # Now, not when the last name of it goes: its threads write to a folder that is about to be closed.
            close = getattr(items, "close", None)
            if close:
                close()
            seconds = time.monotonic() - started
            if ended is not None:
                done = sum(tally.outcomes[outcome] for outcome in DONE)
                word = "interrupted" if ended is ExitCode.INTERRUPTED else "stopped"
                dw.out.info(f"{word}; {done} done in {seconds:.1f} s" + (f"; {go_on}" if go_on else ""))
            write(
                {
                    "summary": dict(tally.outcomes),
                    "bytes": tally.bytes,
                    "seconds": round(seconds, 3),
                    "exit": int(tally.code if ended is None else ended),
                }
            )
    return seconds


def _needs_a_look(item: Item) -> bool:
    return item.code is not ExitCode.OK or item.outcome in ("warned", "stranger", "unverified")


def told(item: Item) -> str:
    """`failed STUDY/SERIES: why`; the reference is one that can be typed again."""
    what = item.path or "/".join(uid for uid in (item.study, item.series, item.instance) if uid)
    return f"{item.outcome} {what}" + (f": {item.reason}" if item.reason else "")


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
        # Unbuffered: a line is there at once, and a full disk is met here, not when the file is closed.
        file = path.open("wb", buffering=0)
    except OSError as error:
        raise UsageError(f"cannot write the report {path}: {error.strerror or error}") from error

    def write(record: dict[str, Any]) -> None:
        line = json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        try:
            while line:
                line = line[file.write(line) or 0 :]
        except OSError as error:
            raise DwError(f"cannot write the report {path}: {error.strerror or error}") from error

    with file:
        yield write
