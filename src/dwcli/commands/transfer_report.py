"""Shows the results of a transfer: progress, rows for a pipe, the report file, the summary."""

import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import typer

from dwcli.context.run import DwContext
from dwcli.errors import DwError, ExitCode, UsageError
from dwcli.jobs.result import DONE, Item, Tally
from dwcli.output import size

if TYPE_CHECKING:
    from dwcli.jobs.retrieve import Planned

_FEW = 10
COLUMNS = ("outcome", "study", "series", "instance", "path", "size", "reason")


class Report:
    """The file of `--report`: one JSON line per item, at once, so that a killed run keeps its lines; then a summary.

    Empties the file when the run begins, and writes the summary with the exit code however the run ends. Without a path
    it writes nothing. Raises UsageError if it cannot create the file, DwError if it cannot write it.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._tally = Tally()
        self._began = time.monotonic()
        self._file: io.FileIO | None = None
        if path is not None:
            try:
                # It may be the folder of `-o`, which does not exist yet.
                path.parent.mkdir(parents=True, exist_ok=True)
                # Unbuffered: each line is written at once, and a full disk fails here, not on closing the file.
                self._file = io.FileIO(path, "w")
            except OSError as error:
                raise UsageError(
                    f"cannot write the report {path}: {error.strerror or error}",
                    "use another file: --report FILE.jsonl",
                ) from error

    def count(self, tally: Tally) -> None:
        """Summarize this tally; its seconds start now."""
        self._tally = tally
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Elapsed time in seconds."""
        return time.monotonic() - self._began

    def write(self, record: dict[str, Any]) -> None:
        """Add one line."""
        if self._file is None:
            return
        line = json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        try:
            while line:
                line = line[self._file.write(line) or 0 :]
        except OSError as error:
            raise DwError(f"cannot write the report {self._path}: {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.write(
                {
                    "summary": dict(self._tally.outcomes),
                    "whole": self._tally.whole,
                    "bytes": self._tally.bytes,
                    "seconds": round(self.seconds, 3),
                    "exit": _code(error),
                }
            )
        finally:
            if self._file is not None:
                self._file.close()


def _code(error: BaseException | None) -> int:
    match error:
        case None:
            return int(ExitCode.OK)
        case KeyboardInterrupt():
            return int(ExitCode.INTERRUPTED)
        case DwError() | typer.Exit():
            return int(error.exit_code)
        case _:
            return int(ExitCode.FAILED)


def begin(dw: DwContext, path: Path | None) -> Report:
    """Start the report of a run before anything can fail: an old report must not pass for that of a failed run."""
    return dw.enter(Report(path))


def show(
    dw: DwContext, items: Iterator[Item], tally: Tally, report: Report, *, go_on: str = "", few: bool = False
) -> float:
    """Print the items, write the report, count; returns the seconds it took.

    A terminal shows what needs attention, at once and in full; a pipe gets every item. With -q, stderr names each
    failed item and nothing else. If the reader closes the pipe, the work continues silently.
    `go_on`: what to do after an interruption. `few`: of many similar items, a terminal shows the first and a count.
    """
    report.count(tally)
    person = dw.out.terminal and not dw.out.format
    warned = False
    alike: Counter[str] = Counter()

    def counted() -> Iterator[dict[str, Any]]:
        nonlocal warned
        for item in items:
            tally.add(item)
            record = item.record()
            report.write(record)
            if dw.out.quiet and item.code is not ExitCode.OK:
                dw.out.failed(told(item))
            if not person:
                if item.code is not ExitCode.OK and not warned:
                    # A cron job's mail is often all that the user sees: one reason stands for the rest.
                    warned = True
                    dw.out.warn(told(item))
                yield record
            elif _needs_a_look(item) and not dw.out.quiet:
                alike[item.outcome] += 1
                if not few or alike[item.outcome] <= _FEW:
                    dw.out.line(told(item))

    word = "stopped"
    some = ""
    try:
        try:
            dw.out.table(counted(), columns=COLUMNS, empty="")
        except BrokenPipeError:
            # The reader closed the pipe (`| head`), but the transfer continues.
            dw.out.close_quietly()
            dw.out.table(counted(), columns=COLUMNS, empty="")
        word = ""
    except KeyboardInterrupt:
        word = "interrupted"
        raise
    except DwError:
        if not tally.outcomes:
            word = ""  # nothing started: the error says everything, and the same command would fail again
        raise
    except OSError:
        some = "at least "  # the items that could not be shown are not counted
        raise
    finally:
        # Close now, not on garbage collection: its threads write to a folder that is about to be closed.
        close = getattr(items, "close", None)
        if close:
            close()
        seconds = report.seconds
        for outcome, number in alike.items() if few else ():
            if number > _FEW:
                dw.out.line(f"{number - _FEW} more {outcome}; use a pipe or --report FILE to list them all")
        if word:
            done = sum(tally.outcomes[outcome] for outcome in DONE)
            dw.out.info(f"{word}; {some}{done} done in {seconds:.1f} s" + (f"; {go_on}" if go_on else ""))
    return seconds


def show_plans(dw: DwContext, plans: "Iterable[Planned]") -> Counter[str]:
    """Print the series of a `--dry-run`, with the numbers of instances listed and present.

    Returns the sums: `series` whose size the server reports, their `instances`, those `present`, those `to come`, and
    the `unknown` references.
    """
    sums: Counter[str] = Counter()

    def records() -> Iterator[dict[str, object]]:
        for plan in plans:
            sums["present"] += len(plan.present)
            if plan.announced is None:
                sums["unknown"] += 1
            else:
                sums["series"] += 1
                sums["instances"] += plan.announced
                sums["to come"] += max(0, plan.announced - len(plan.present))
            yield {
                "study": plan.study,
                "series": plan.series,
                "instances": plan.announced,
                "present": len(plan.present),
            }

    dw.out.table(records(), columns=("study", "series", "instances", "present"))
    return sums


def _needs_a_look(item: Item) -> bool:
    return item.code is not ExitCode.OK or item.outcome in ("warned", "unexpected", "unverified")


def told(item: Item) -> str:
    """Return `failed STUDY/SERIES: why`; the reference can be typed again."""
    what = item.path or "/".join(uid for uid in (item.study, item.series, item.instance) if uid)
    return f"{item.outcome} {what}" + (f": {item.reason}" if item.reason else "")


def speed(tally: Tally, seconds: float) -> str:
    """Return `14.3 MB in 0.4 s, 35.8 MB/s`; without a rate if there are no bytes."""
    took = f"{size(tally.bytes)} in {seconds:.1f} s"
    return f"{took}, {size(tally.bytes / max(seconds, 1e-3))}/s" if tally.bytes else took


def counts(tally: Tally, **texts: str) -> list[str]:
    """Return texts such as `3 failed` for the outcomes that occurred, in the order given."""
    numbers = {**tally.outcomes, "failed": tally.outcomes["failed"] - tally.whole}
    found = [f"{numbers[outcome]} {text}" for outcome, text in texts.items() if numbers.get(outcome)]
    return [*found, f"{tally.whole} failed entirely (studies or series)"] if tally.whole else found


def ticked(items: Iterable[Item], tick: Callable[[], None]) -> Iterator[Item]:
    """Yield the items, and count each instance in the progress."""
    for item in items:
        if item.instance:
            tick()
        yield item
