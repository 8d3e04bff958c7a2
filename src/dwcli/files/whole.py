"""One file that appears whole or not at all: pictures, bulk data, frames, bodies."""

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from dwcli.errors import DwError, UsageError


class WholeFile:
    """A file being written beside its final name; leaving the `with` without an error renames it into place.

    Raises UsageError where the folder does not exist or `path` is one, DwError where it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        if path.is_dir():
            raise UsageError(f"{path} is a folder", "-o FILE")
        if not path.parent.is_dir():
            raise UsageError(f"there is no folder {path.parent}", f"mkdir -p {path.parent}")

    def __enter__(self) -> Self:
        try:
            handle, self._temporary = tempfile.mkstemp(dir=self.path.parent, prefix=".dw-", suffix=".part")
        except OSError as error:
            raise self._failed(error) from error
        self._file = os.fdopen(handle, "wb", buffering=1 << 20)
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
        try:
            self._file.close()
            if error is None:
                mask = os.umask(0)
                os.umask(mask)
                os.chmod(self._temporary, 0o666 & ~mask)  # noqa: PTH101  mkstemp's 0600 is not what a download gets
                os.replace(self._temporary, self.path)  # noqa: PTH105
                return
        except OSError as failure:
            if error is None:
                raise self._failed(failure) from failure
        finally:
            if os.path.exists(self._temporary):  # noqa: PTH110
                os.unlink(self._temporary)  # noqa: PTH108

    def _failed(self, error: OSError) -> DwError:
        return DwError(f"cannot write {self.path}: {error.strerror or error}")
