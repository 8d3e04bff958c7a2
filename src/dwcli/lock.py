"""A lock for a file that several processes change: a lock file beside it, released however its process ends."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dwcli.errors import TemporaryError

_PAUSE = 0.02


@contextmanager
def locked(path: Path, *, seconds: float, busy: str) -> Iterator[None]:
    """Hold the lock file `path` exclusively; creates it with mode 0600 if it is missing.

    Raises TemporaryError with the message `busy` if another process does not release it within `seconds`. Continues
    without a lock if the folder is not writable, or the file system or platform does not support locks.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Follow no link, and do not block on a pipe, which might never open.
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o600)
    except OSError:
        yield
        return
    try:
        _hold(handle, seconds, busy)
        yield
    finally:
        os.close(handle)


def _hold(handle: int, seconds: float, busy: str) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    deadline = time.monotonic() + seconds
    while True:
        try:
            # Not a blocking call: it would ignore Ctrl-C, and some file systems never return from it.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TemporaryError(busy, "run the same command again") from None
            time.sleep(_PAUSE)
        except OSError:
            return
        else:
            return
