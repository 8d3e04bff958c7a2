"""Both streams of one run: data to stdout, messages and progress to stderr."""

import io
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, TextIO

from dwcli.errors import DwError
from dwcli.output.progress import Progress, bars_of
from dwcli.output.text import visible

if TYPE_CHECKING:
    from rich.progress import Progress as Bars


class Streams:
    """stdout and stderr, each on a terminal or in a pipe.

    `verbosity`: -2 only errors, -1 (-q) also security warnings, 0, 1 (-v), 2 (-vv). `color` False: never use colour;
    otherwise on terminals only.
    `width`: columns of the terminal, None to query it.
    A BrokenPipeError of stdout propagates; then call `close_quietly`.
    """

    def __init__(
        self,
        *,
        verbosity: int = 0,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        stdin: TextIO | None = None,
        color: bool | None = None,
        width: int | None = None,
    ) -> None:
        self.verbosity = verbosity
        # A process can start with any of the three closed; Python then sets it to None
        self._stdout = stdout or sys.stdout or _nowhere()
        self._stderr = stderr or sys.stderr or _nowhere()
        self._stdin = stdin or sys.stdin
        self.terminal = _isatty(self._stdout)
        self.stderr_terminal = _isatty(self._stderr)
        self._color = self.terminal and color is not False
        self._stderr_color = self.stderr_terminal and color is not False
        self._width = width
        if isinstance(self._stdout, io.TextIOWrapper):
            # Data is UTF-8 whatever the locale, with the line ends that each format defines
            encoding = None if self.terminal else "utf-8"
            self._stdout.reconfigure(encoding=encoding, errors="backslashreplace", newline="\n")
        if isinstance(self._stderr, io.TextIOWrapper):
            self._stderr.reconfigure(errors="backslashreplace")
        self._unicode = (self._stdout.encoding or "utf-8").lower().startswith("utf")
        self._flushed = -math.inf
        self._talking = Lock()
        self._bars: Bars | None = None

    @property
    def width(self) -> int:
        """Columns of the terminal on stdout, 80 if unknown."""
        if self._width:
            return self._width
        try:
            return os.get_terminal_size(self._stdout.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    # Data

    def line(self, text: str) -> None:
        """Print one line of data."""
        self._put(visible(text) + "\n")

    def write(self, data: bytes) -> None:
        """Write binary data, unchanged."""
        self._stdout.flush()
        self._stdout.buffer.write(data)

    def flush(self) -> None:
        """Flush stdout; an OSError means that data was lost."""
        self._stdout.flush()

    def close_quietly(self) -> None:
        """Discard buffered output after a BrokenPipeError, so that the interpreter exits silently."""
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stdout.fileno())
            os.close(null)

    # Messages

    def info(self, text: str) -> None:
        """Print one line of information, unless quiet."""
        if self.verbosity >= 0:
            self._talk(visible(text))

    def detail(self, text: str) -> None:
        """Print one line for -v."""
        if self.verbosity >= 1:
            self._talk(self._paint(visible(text), "2"))

    def debug(self, text: str) -> None:
        """Print one line for -vv."""
        if self.verbosity >= 2:
            self._talk(self._paint(visible(text), "2"))

    def warn(self, text: str) -> None:
        """Print a warning, unless quiet."""
        if self.verbosity >= 0:
            self._talk(f"{self._paint('warning:', '33')} {visible(text)}")

    def caution(self, text: str) -> None:
        """Print a security warning: also with -q, but not with -qq."""
        if self.verbosity >= -1:
            self._talk(f"{self._paint('warning:', '33')} {visible(text)}")

    @property
    def quiet(self) -> bool:
        """Whether to print only data and failures."""
        return self.verbosity < 0

    def failed(self, text: str) -> None:
        """Print one line about a failed item; also when quiet."""
        self._talk(visible(text))

    def error(self, error: DwError) -> None:
        """Print an error, and its hint below; also when quiet."""
        lines = [f"{self._paint('error:', '1;31')} {visible(error.message)}"]
        if error.hint:
            lines.append(f"{self._paint('hint:', '36')} {visible(error.hint)}")
        self._talk("\n".join(lines))

    def confirm(self, question: str) -> bool:
        """Ask on stderr; returns True only for y or yes typed on a terminal."""
        if self._stdin is None or not _isatty(self._stdin):
            return False
        with suppress(OSError):
            self._stderr.write(f"{visible(question)} [y/N] ")
            self._stderr.flush()
        return self._stdin.readline().strip().lower() in ("y", "yes")

    @contextmanager
    def progress(
        self, label: str, *, total_bytes: int | None = None, total_items: int | None = None
    ) -> Iterator[Progress]:
        """Show a bar with bytes, rate and time left while the block runs.

        Only on a terminal, not when quiet; within another progress it only counts. Totals may be set later.
        """
        progress = Progress(label, total_bytes, total_items)
        if not self.stderr_terminal or self.verbosity < 0 or self._bars is not None:
            yield progress
            return
        bars = bars_of(progress, self._stderr, color=self._stderr_color)
        with bars:
            self._bars = bars
            try:
                yield progress
            finally:
                self._bars = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hide the bar while the block runs, so that a prompt is readable."""
        bars = self._bars
        if bars is None:
            yield
            return
        bars.stop()
        try:
            yield
        finally:
            bars.start()

    # Streams

    def _begin(self) -> None:
        self._flushed = -math.inf

    def _put(self, text: str) -> None:
        """Write `text` to stdout; flushes the first write at once, later ones at most once a second."""
        if not text:
            return
        if self.terminal and self._bars is not None:
            # The bar is on the same terminal: only its own console can write above it
            self._bars.console.out(text, end="", highlight=False)
            return
        self._stdout.write(text)
        now = time.monotonic()
        if self.terminal or now - self._flushed >= 1:
            self._stdout.flush()
            self._flushed = now

    def _talk(self, text: str) -> None:
        # Keeps the order if both streams share a file. A failure recurs at the next flush
        with suppress(OSError, ValueError):
            self._stdout.flush()
        with self._talking, suppress(OSError, ValueError):
            if self._bars is not None:
                self._bars.console.out(text, highlight=False)
            else:
                self._stderr.write(text + "\n")
                self._stderr.flush()

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._stderr_color else text


def _isatty(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:
        return False


def _nowhere() -> TextIO:
    return io.TextIOWrapper(io.BufferedWriter(io.FileIO(os.devnull, "w")))
