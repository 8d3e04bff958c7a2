"""One file that appears complete or not at all: images, bulk data, frames, bodies."""

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from dwcli.errors import DwError, UsageError
from dwcli.files import jsonl, leftovers
from dwcli.files.layout import OWN_PREFIX
from dwcli.files.leftovers import uninterrupted

_SUFFIX = ".part"
_O_BINARY = getattr(os, "O_BINARY", 0)
_cleared: set[Path] = set()


class WholeFile:
    """A file being written beside its final name; leaving the `with` without an error renames it into place.

    Raises UsageError where the folder does not exist or `path` is one, DwError where it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._temporary = ""
        if path.is_dir():
            raise UsageError(f"{path} is a folder", "-o FILE")
        if not path.parent.is_dir():
            raise UsageError(f"folder does not exist: {path.parent}", f"mkdir -p {path.parent}")

    def __enter__(self) -> Self:
        try:
            with uninterrupted():
                _clear_dead(self.path.parent)
                leftovers.note(self, self._discard)
                while True:
                    temporary = str(self.path.parent / f"{OWN_PREFIX}{os.urandom(6).hex()}{_SUFFIX}")
                    handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | _O_BINARY, 0o666)
                    self._temporary, self._file = temporary, os.fdopen(handle, "wb", buffering=1 << 20)
                    jsonl.hold(handle, wait=True)
                    # Before it was locked, another run may have taken it for a dead one's and removed it.
                    if os.path.exists(temporary):  # noqa: PTH110
                        break
                    self._file.close()
        except OSError as error:
            self._discard()
            raise self._failed(error) from error
        return self

    def write(self, data: bytes) -> None:
        """Append bytes."""
        try:
            self._file.write(data)
        except OSError as error:
            raise self._failed(error) from error
        self.size += len(data)

    @property
    def handle(self) -> BinaryIO:
        """The file itself, for a writer that seeks; `size` does not count what it writes."""
        return self._file

    def flushed(self) -> Path:
        """Where everything written so far can be read, before it has its name."""
        try:
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error
        return Path(self._temporary)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with uninterrupted():
            try:
                self._file.close()
                if error is None:
                    os.replace(self._temporary, self.path)  # noqa: PTH105
                    self._temporary = ""
            except OSError as failure:
                if error is None:
                    raise self._failed(failure) from failure
            finally:
                self._discard()

    def _discard(self) -> None:
        temporary, self._temporary = self._temporary, ""
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108
        leftovers.forget(self)

    def _failed(self, error: OSError) -> DwError:
        return DwError(f"cannot write {self.path}: {error.strerror or error}")


def _clear_dead(folder: Path) -> None:
    """Remove what killed runs left in a folder, once a run; one that still lives holds the lock of its file."""
    if folder in _cleared:
        return
    _cleared.add(folder)
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(OWN_PREFIX) and entry.name.endswith(_SUFFIX):
                with suppress(OSError):
                    _clear_if_dead(entry.path)


def _clear_if_dead(path: str) -> None:
    fd = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        if jsonl.hold(fd):
            os.unlink(path)  # noqa: PTH108
    finally:
        os.close(fd)
