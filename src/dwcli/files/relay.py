"""Instances on their way from one server to another: in memory, the large ones in files without a name.

A file without a name goes with the process, however that ends: nothing of a copy stays on this disk.
"""

import errno
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from dwcli.dicomweb import content, part10
from dwcli.files.draft import Draft, FolderError, Kept
from dwcli.files.existing import Present

_IN_MEMORY = 1 << 20
"""Bytes of one instance beyond which it goes to a temporary file."""


@dataclass(frozen=True, slots=True)
class Held:
    """A whole instance that waits to be sent. It has no path: its bytes are reached by `open` alone."""

    key: str
    size: int
    study: str
    series: str
    instance: str
    transfer_syntax: str
    file: BinaryIO = field(compare=False, repr=False)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Its bytes from the start; for one reader at a time."""
        self.file.seek(0)
        yield self.file


class Relay:
    """A Destination that keeps nothing: each instance is held until it is released. Threads may share one.

    A further instance is begun only while those held and those begun take less than `room` bytes, so at most that and
    the rest of one instance for each thread take space; beginning another waits for a release.
    """

    overwrite = True

    def __init__(self, room: int) -> None:
        self._room = room
        self._bytes = 0
        self._count = 0
        self._held: dict[str, Held] = {}
        self._changed = threading.Condition()
        self._ended = False
        self._ends = content.Ends()

    def prepare(self) -> Path:
        """There is no folder to make."""
        return Path()

    def where(self, study: str, series: str, instance: str) -> Path | None:  # noqa: ARG002
        """Nothing has a path."""
        return None

    def instances(self, study: str, series: str | None = None) -> Iterator[Present]:  # noqa: ARG002
        """Nothing is present."""
        return iter(())

    def open(self) -> Draft:
        """A draft for one instance, as soon as there is room. Raises FolderError after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._bytes < self._room)
            if self._ended:
                raise FolderError("the copy has ended")
        return Draft(_Nameless(self), frozenset(), self._ends)

    def fill(self, size: int) -> None:
        """So many bytes more have come of an instance, or less than nothing where it was dropped."""
        with self._changed:
            self._bytes += size
            if size < 0:
                self._changed.notify_all()

    def hold(self, file: BinaryIO, size: int, head: part10.Head, named: tuple[str, str, str]) -> Kept:
        """Take in a whole instance; what it is called by in `held` and `release` is the `path`."""
        with self._changed:
            self._count += 1
            key = str(self._count)
            self._held[key] = Held(key, size, *named, head.transfer_syntax, file)
        return Kept(key, *named, size, "written")

    def held(self, key: str) -> Held:
        """An instance that is here."""
        return self._held[key]

    def release(self, key: str) -> None:
        """Let go of an instance; does nothing the second time."""
        with self._changed:
            held = self._held.pop(key, None)
        if held is not None:
            self.fill(-held.size)
            held.file.close()

    def close(self) -> None:
        """Begin nothing any more, and let go of all that is held."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        for key in list(self._held):
            self.release(key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Nameless:
    """The Writer of an instance without a name: in memory, then in a temporary file."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._file = cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115
        self._size = 0
        self._held = False

    def write(self, chunks: list[bytes | memoryview], size: int) -> None:
        self._size += size
        self._relay.fill(size)
        for chunk in chunks:
            self._file.write(chunk)

    def read_at(self, at: int, size: int) -> bytes:
        self._file.seek(at)
        found = self._file.read(size)
        self._file.seek(0, os.SEEK_END)
        return found

    def close(self) -> str:
        self._file.flush()
        return ""

    def place(self, size: int, head: part10.Head, named: tuple[str, str, str]) -> Kept:
        self._held = True
        return self._relay.hold(self._file, size, head, named)

    def discard(self) -> None:
        if self._held:
            return
        self._relay.fill(-self._size)
        with suppress(OSError):
            self._file.close()

    def failed(self, error: OSError) -> FolderError:
        """The error for an instance that does not fit into the temporary folder."""
        hint = "use another folder for temporary files: TMPDIR=DIR dw copy …"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = f"free space there, or {hint}"
        with suppress(OSError):
            return FolderError(f"cannot write in {tempfile.gettempdir()}: {error.strerror or error}", hint=hint)
        return FolderError(f"no folder for temporary files: {error.strerror or error}", hint=hint)
