"""The lock of a file that several processes change: a file beside it, let go of however its process ends."""

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
    """Alone among all processes that lock `path`, which is made in its folder where it is missing (0600).

    Raises TemporaryError, with `busy`, where another one does not let go within so many seconds. Where the folder
    cannot be written, or the file system or platform knows no locks, it goes on without.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Neither through a link nor into a pipe, which might never open.
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
            # Not one blocking call: a thread inside it would hear no Ctrl-C, and a file system may never answer it.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TemporaryError(busy, "give the same command again") from None
            time.sleep(_PAUSE)
        except OSError:
            return
        else:
            return
