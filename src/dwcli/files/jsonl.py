"""Append-only files of JSON lines that stand a kill at any byte, and the lock that two runs meet at."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

_LONGEST = 1 << 20  # bytes of a line; a path in escapes takes 25 kB


def hold(fd: int, *, wait: bool = False) -> bool | None:
    """Lock an open file for this process until it is closed or the process ends, however it ends.

    True: held. False: another process holds it (only without `wait`). None: this file system or platform
    can't say.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def release(fd: int) -> None:
    """Give up a lock taken with `hold`, keeping the file open."""
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(fd, fcntl.LOCK_UN)
        except OSError:
            pass


def read(path: Path) -> Iterator[dict[str, object]]:
    """The objects in a file of JSON lines; torn, foreign and overlong lines are passed over. Raises OSError."""
    with path.open("rb") as file:
        inside = False  # of a line whose beginning was too long already
        while line := file.readline(_LONGEST):
            overlong = inside or (len(line) == _LONGEST and line[-1:] != b"\n")
            inside = overlong and line[-1:] != b"\n"
            if overlong:
                continue
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value


class Appender:
    """Adds lines at the end of a file, each with one write, never inside another line. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        self._torn = True

    @property
    def fd(self) -> int:
        """The open file, for `hold`."""
        return self._fd

    def append(self, value: Mapping[str, object]) -> None:
        """Write one line; not synced, for the promise is against a killed process, whose writes are kept."""
        line = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        if self._torn and self._ends_inside_a_line():
            line = b"\n" + line
        self._torn = True
        view = memoryview(line)
        while view:
            view = view[os.write(self._fd, view) :]
        self._torn = False

    def close(self) -> None:
        """Close the file, which gives up its lock."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _ends_inside_a_line(self) -> bool:
        size = os.fstat(self._fd).st_size
        if not size:
            return False
        os.lseek(self._fd, size - 1, os.SEEK_SET)
        return os.read(self._fd, 1) != b"\n"
