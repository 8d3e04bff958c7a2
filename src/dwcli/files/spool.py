"""The hidden folder in which a run keeps what is not whole yet, and the lock that tells whether the run still lives.

The system drops the lock when the process ends, however it ends, so a later run knows which drafts are abandoned.
"""

import itertools
import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from dwcli.files import jsonl, leftovers
from dwcli.files.layout import OWN_PREFIX
from dwcli.files.leftovers import uninterrupted

_TRIES = 5


class Spool:
    """A new one below `root`, hence on the same file system; what dead runs left there is cleared. Raises OSError.

    Folders that had to be made for it, `root` among them, go with it where nothing else came into them.
    """

    _fd = -1

    def __init__(self, root: Path) -> None:
        self._numbers = itertools.count(1)
        with uninterrupted():
            self._made, self._fd, self._lock = _held(root)
            leftovers.note(self, self.close)
            self.folder = self._lock.with_suffix(".tmp")
            self._prefix = f"{self.folder}{os.sep}"
            try:
                self.folder.mkdir()
            except OSError:
                self.close()
                raise

    def name(self) -> str:
        """Return an unused path in it."""
        return f"{self._prefix}{next(self._numbers)}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove it with what is in it, and give up the lock; does nothing the second time."""
        if self._fd < 0:
            return
        with uninterrupted():
            for _ in range(_TRIES):
                shutil.rmtree(self.folder, ignore_errors=True)
                if not self.folder.exists():  # else a thread that was told to stop has just put another file there
                    break
            with suppress(OSError):
                self._lock.unlink()
            os.close(self._fd)
            self._fd = -1
            leftovers.forget(self)
            with suppress(OSError):
                for folder in self._made:
                    folder.rmdir()


def _held(root: Path) -> tuple[list[Path], int, Path]:
    """Make a folder and lock it: the folders that had to be made, innermost first, and the lock."""
    tries = iter(range(_TRIES))
    while True:
        made = [folder for folder in (root, *root.parents) if not folder.exists()]
        try:
            root.mkdir(parents=True, exist_ok=True)
            _clear_dead(root)
            return made, *_new_lock(root)
        except (FileNotFoundError, FileExistsError):
            # Another run that had made the folder took it away again just now, perhaps between two looks at what is
            # in the way; a file that is stays there.
            if next(tries, None) is None:
                raise


def _new_lock(root: Path) -> tuple[int, Path]:
    while True:
        path = root / f"{OWN_PREFIX}{os.urandom(4).hex()}.lock"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        jsonl.hold(fd, wait=True)
        # Before it was locked, another run may have taken it for a dead one's and removed it.
        if path.exists():
            return fd, path
        os.close(fd)


def _clear_dead(root: Path) -> None:
    """Remove the drafts of runs that ended without doing so. Raises OSError if it can't be listed."""
    with os.scandir(root) as entries:
        own = [Path(entry.path) for entry in entries if entry.name.startswith(OWN_PREFIX)]
    for path in own:
        if path.suffix == ".lock":
            _clear_if_dead(path)
        # The lock is made before the drafts and removed after them.
        elif path.suffix == ".tmp" and not path.with_suffix(".lock").exists():
            shutil.rmtree(path, ignore_errors=True)


def _clear_if_dead(lock: Path) -> None:
    try:
        fd = os.open(lock, os.O_RDWR)
    except OSError:
        return
    try:
        if jsonl.hold(fd):  # and keep it meanwhile, so that no other run starts to use what is removed
            shutil.rmtree(lock.with_suffix(".tmp"), ignore_errors=True)
            with suppress(OSError):
                lock.unlink()
    finally:
        os.close(fd)
