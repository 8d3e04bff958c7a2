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
from typing import BinaryIO, cast

from dwcli.dicomweb import part10
from dwcli.files.draft import Draft
from dwcli.files.sink import FolderError, Kept, Sink

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


class Transit(Sink):
    """A Sink that keeps nothing: each instance is held until it is released. Threads may share one.

    A further instance is begun only while those held and those begun take less than `room` bytes, so at most that and
    the rest of one instance for each thread take space; whoever begins one waits for a release.
    """

    def __init__(self, room: int) -> None:
        super().__init__(Path(), overwrite=True)  # which says that nothing there counts as present
        self._room = room
        self._bytes = 0
        self._count = 0
        self._held: dict[str, Held] = {}
        self._changed = threading.Condition()
        self._ended = False

    def prepare(self) -> Path:
        """There is no folder to make."""
        return self.root

    def open(self) -> Draft:
        """A draft for one instance, as soon as there is room. Raises FolderError after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._bytes < self._room)
            if self._ended:
                raise FolderError("the copy has ended")
        return _Parcel(self)

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
        super().close()

    def failed(self, error: OSError) -> FolderError:
        """What the user is told where a large instance finds no place."""
        hint = "another folder for temporary files: TMPDIR=DIR dw copy …"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = f"make room there, or {hint}"
        with suppress(OSError):
            return FolderError(f"cannot write in {tempfile.gettempdir()}: {error.strerror or error}", hint=hint)
        return FolderError(f"there is no folder for temporary files: {error.strerror or error}", hint=hint)


class _Parcel(Draft):
    """A draft without a name."""

    def __init__(self, transit: Transit) -> None:
        super().__init__(transit, "")
        self._transit = transit
        self._file = cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes, which must not change until `keep`. Raises FolderError."""
        self._transit.fill(len(data))
        super().write(data)

    def keep(self, name_hint: tuple[str, str, str] = ("", "", "")) -> Kept:
        """Hold it. Raises NotDicom, FolderError."""
        try:
            head = self.finish()
            study, series, instance = head.study or name_hint[0], head.series or name_hint[1], head.instance
            self._flush()
            self._file.flush()
        except OSError as error:
            raise self._transit.failed(error) from error
        else:
            self._open = False
            return self._transit.hold(self._file, self.size, head, (study, series, instance or name_hint[2]))
        finally:
            self.discard()

    def discard(self) -> None:
        """Drop what was written; does nothing after `keep`, or the second time."""
        if not self._open:
            return
        self._open = False
        self._transit.fill(-self.size)
        self._chunks.clear()
        self._prefix.clear()
        with suppress(OSError):
            self._file.close()

    def _read_at(self, at: int, size: int) -> bytes:
        self._flush()
        self._file.seek(at)
        found = self._file.read(size)
        self._file.seek(0, os.SEEK_END)
        return found

    def _flush(self) -> None:
        chunks = self._chunks
        self._chunks, self._held = [], 0
        for chunk in chunks:
            self._file.write(chunk)
