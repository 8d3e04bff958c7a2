"""The progress of a transfer: its counts, and the bar that shows them on a terminal."""

import sys
import time
from collections import deque
from collections.abc import Iterable
from threading import Lock
from typing import TYPE_CHECKING, TextIO

from dwcli.output.text import size, visible

if TYPE_CHECKING:
    from rich.progress import Progress as Bars


class Progress:
    """Counts of one running transfer; any thread may add. A separate thread draws them, if at all.

    `done_bytes` and `done_items` are the totals so far.
    """

    def __init__(self, label: str, total_bytes: int | None, total_items: int | None) -> None:
        self.label = label
        self.total_bytes = total_bytes
        self.total_items = total_items
        self.done_bytes = 0
        self.done_items = 0
        self._lock = Lock()
        self._samples: deque[tuple[float, int, int]] = deque([(time.monotonic(), 0, 0)])

    def add(self, count: int) -> None:
        """Add `count` transferred bytes; cheap enough for every chunk."""
        with self._lock:
            self.done_bytes += count

    def item(self) -> None:
        """Count one finished item."""
        with self._lock:
            self.done_items += 1

    def total(self, bytes: int | None = None, items: int | None = None) -> None:
        """Set the known totals; None leaves one unchanged."""
        with self._lock:
            self.total_bytes = self.total_bytes if bytes is None else bytes
            self.total_items = self.total_items if items is None else items

    def expect(self, items: int = 0, bytes: int = 0) -> None:
        """Add expected items and bytes; any thread may call this."""
        with self._lock:
            self.total_items = (self.total_items or 0) + items
            if bytes:
                self.total_bytes = (self.total_bytes or 0) + bytes

    def fraction(self) -> tuple[int, int | None]:
        """Return (done, total) in bytes if their total is known, else in items; total None: unknown."""
        if self.total_bytes:
            return min(self.done_bytes, self.total_bytes), self.total_bytes
        return self.done_items, self.total_items or None

    def status(self, now: float) -> str:
        """Return counts, recent rate and time left as text; `now` in seconds of `time.monotonic`."""
        bytes_now, items_now = self.done_bytes, self.done_items
        while len(self._samples) > 1 and now - self._samples[0][0] > 5:
            self._samples.popleft()
        then, bytes_then, items_then = self._samples[0]
        self._samples.append((now, bytes_now, items_now))
        seconds = max(now - then, 1e-6)
        rate = (bytes_now - bytes_then) / seconds
        words = []
        if items_now or self.total_items:
            words.append(f"{items_now}/{self.total_items}" if self.total_items else str(items_now))
        if bytes_now or self.total_bytes:
            words.append(size(bytes_now) + (f" of {size(self.total_bytes)}" if self.total_bytes else ""))
            words.append(f"{size(rate)}/s")
        done, total = self.fraction()
        speed = rate if self.total_bytes else (items_now - items_then) / seconds
        if total is not None and speed > 0 and done < total:
            left = round((total - done) / speed)
            if left < 360_000:
                words.append(f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}")
        return "  ".join(words)


def bars_of(progress: Progress, stderr: TextIO, *, color: bool) -> "Bars":
    """Return a progress bar for a terminal, which reads the counts about eight times a second."""
    from rich.console import Console, RenderableType
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichProgress

    class Drawn(RichProgress):
        def get_renderables(self) -> Iterable[RenderableType]:
            done, total = progress.fraction()
            for task in self.tasks:
                self.update(task.id, completed=done, total=total, status=progress.status(time.monotonic()))
            yield from super().get_renderables()

    bars = Drawn(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[status]}", markup=False),
        console=Console(file=stderr, force_terminal=True, no_color=not color, highlight=False),
        refresh_per_second=8,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=stderr is sys.stderr,
    )
    bars.add_task(visible(progress.label), total=None, status="")
    return bars
