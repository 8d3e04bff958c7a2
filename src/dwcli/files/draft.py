"""One instance on its way to where it is kept: its bytes as they come, and what they say of themselves.

A Draft looks at the head, counts and judges; a Writer, which a Sink or a Relay gives it, has the bytes.
"""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self

from dwcli.dicomweb import content, part10, tags
from dwcli.errors import DwError
from dwcli.files.existing import HEAD_LIMIT, Present

Outcome = Literal["written", "replaced", "same", "conflict"]

_SERIES = tags.SeriesInstanceUID
_HELD = 256 << 10  # bytes of small chunks that are collected before they are written
_MOST_CHUNKS = 1024  # what one writev takes on every system that has it
_HEAD_FIRST = 2 << 10  # bytes in which nearly every file names itself


class FolderError(DwError):
    """The output folder can't be written: full, not permitted, gone. What would follow fails as well."""


class CollisionError(DwError):
    """Two different instances would get the same name; the one that is there stays."""


class Kept(NamedTuple):
    """What became of one instance: `path` holds it whole, `size` is in bytes. A text, for pathlib costs as
    much time as the rest of the work.

    `written`: new. `replaced`: took the place of an older file. `same`: these bytes were there already.
    `conflict`: other bytes of this SOP Instance UID were there, from this run or an earlier one, and they
    stay.
    """

    path: str
    study: str
    series: str
    instance: str
    size: int
    outcome: Outcome


class Writer(Protocol):
    """Where the bytes of one instance go. All but `discard` raise OSError."""

    def write(self, chunks: list[bytes | memoryview], size: int) -> None:
        """Append chunks, `size` bytes together, which do not change any more."""

    def read_at(self, at: int, size: int) -> bytes:
        """Some of what was written."""

    def close(self) -> str:
        """End the writing; the path of what was written, empty where it has none."""

    def place(self, size: int, head: part10.Head, named: tuple[str, str, str]) -> Kept:
        """Keep what was written, after `close`: `size` bytes of `named`, the study, series and SOP Instance UID.

        Raises CollisionError too.
        """

    def discard(self) -> None:
        """Remove what was written, and what `place` has no use for any more."""

    def failed(self, error: OSError) -> FolderError:
        """Return the error to raise for an OSError."""


class Destination(Protocol):
    """Where what is retrieved goes. `overwrite`: nothing there counts as present."""

    @property
    def overwrite(self) -> bool: ...

    def prepare(self) -> Path:
        """See that it can be written, before anything is fetched. Raises UsageError, FolderError."""

    def open(self) -> "Draft":
        """A draft for one instance. Raises FolderError."""

    def where(self, study: str, series: str, instance: str) -> Path | None:
        """The path of an instance that is present."""

    def instances(self, study: str, series: str | None = None) -> Iterator[Present]:
        """What is present of a study, or of one of its series."""


class Draft:
    """One instance being received: `size` is the bytes so far, `head` what they are once known.

    `wanted`: tags whose values the head needs besides the UIDs; `ends`: the ends of the files before it. Its memory
    doesn't grow with the instance.
    """

    def __init__(self, writer: Writer, wanted: frozenset[str], ends: content.Ends) -> None:
        self.size = 0
        self.head: part10.Head | None = None
        self._writer = writer
        self._wanted = wanted
        self._ends = ends
        self._open = True
        self._sealed: str | None = None
        self._chunks: list[bytes | memoryview] = []
        self._held = 0
        self._flushed = False
        self._prefix = bytearray()
        self._look_at = 1
        self._rejected: part10.NotDicom | None = None

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes, which must not change until `keep`.

        Raises FolderError; bytes that aren't DICOM are not written, and raise in `keep`.
        """
        self.size += len(data)
        if not self.head and not self._rejected:
            self._look(data)
        if self._rejected:
            return
        self._chunks.append(data)
        self._held += len(data)
        if self._held >= _HELD or len(self._chunks) >= _MOST_CHUNKS:
            try:
                self._flush()
            except OSError as error:
                self.discard()
                raise self._writer.failed(error) from error

    def end(self, *, proven: bool) -> content.End:
        """Whether the bytes end where a DICOM file ends (PS3.10 7). Raises FolderError.

        `proven`: the transport proved that all of them came, so that a truncated file is looked for, quickly.
        """
        try:
            if proven:
                return self._ends.look(self._read_at, self.size)
            return content.end_of(self._read_at, self.size, content.Kind.DICOM)
        except OSError as error:
            self.discard()
            raise self._writer.failed(error) from error

    def keep(self, name_hint: tuple[str, str, str] = ("", "", "")) -> "Kept":
        """Give the file its name. `name_hint`: study, series and instance UID for those the bytes don't tell.

        Raises NotDicom, FolderError, or CollisionError where another instance has that name; then nothing is
        kept.
        """
        try:
            head = self.finish()
            study, series = head.study or name_hint[0], head.series or name_hint[1]
            instance = head.instance or name_hint[2]
            if not instance:
                raise part10.NotDicom("the file has no SOP Instance UID")
            self._close()
            return self._writer.place(self.size, head, (study, series, instance))
        except OSError as error:
            raise self._writer.failed(error) from error
        finally:
            self.discard()

    def seal(self) -> Path:
        """End the writing, so that many drafts can wait for `keep` without an open file; where the bytes lie.

        Raises NotDicom, FolderError.
        """
        self.finish()
        try:
            return Path(self._close())
        except OSError as error:
            self.discard()
            raise self._writer.failed(error) from error

    def discard(self) -> None:
        """Remove what was written; does nothing after `keep`, or the second time."""
        if not self._open:
            return
        self._open = False
        self._chunks.clear()
        self._prefix.clear()
        self._writer.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def _look(self, chunk: bytes | memoryview) -> None:
        """Try to read the head, from the beginning of the first chunk alone where that is enough."""
        if not self._prefix and len(chunk) > _HEAD_FIRST:
            self._read(bytes(chunk[:_HEAD_FIRST]), final=False)
            if self.head or self._rejected:
                return
        self._prefix += chunk
        if len(self._prefix) < self._look_at:
            return
        data = bytes(self._prefix)
        self._read(data, final=False)
        if not self.head and not self._rejected and len(data) >= HEAD_LIMIT:
            self._read_less(data)
        if self.head or self._rejected:
            self._prefix.clear()
        # To look again only after doubling keeps the cost linear, however small the chunks.
        self._look_at = 2 * len(data)

    def _read(self, data: bytes, *, final: bool) -> None:
        try:
            self.head = part10.read_head(data, final=final, wanted=self._wanted)
        except part10.NotDicom as error:
            self._refuse(error)

    def _read_less(self, data: bytes) -> None:
        # Megabytes of private data before a tag that the layout asks for: a name without it is better than no
        # file.
        wanted = frozenset(tag for tag in self._wanted if tag <= _SERIES)
        try:
            self.head = part10.read_head(data, wanted=wanted)
        except part10.NotDicom as error:
            self._refuse(error)
        if not self.head:
            self._refuse(part10.NotDicom("no SOP Instance UID in the first 8 MiB"))

    def _read_at(self, at: int, size: int) -> bytes:
        """Some of what was written. Raises OSError."""
        if not self._flushed:
            if len(self._chunks) != 1:
                self._chunks = [b"".join(self._chunks)]
            return bytes(self._chunks[0][at : at + size])
        self._flush()
        return self._writer.read_at(at, size)

    def _refuse(self, error: part10.NotDicom) -> None:
        self._rejected = error
        self._chunks.clear()

    def finish(self) -> part10.Head:
        """What was written, now that it is all there; `keep` does it too. Raises NotDicom."""
        if not self.head and not self._rejected:
            self._read(bytes(self._prefix), final=True)
        if self._rejected or not self.head:
            raise self._rejected or part10.NotDicom("the file has no SOP Instance UID")
        return self.head

    def _close(self) -> str:
        if self._sealed is None:
            self._flush()
            self._sealed = self._writer.close()
        return self._sealed

    def _flush(self) -> None:
        if self._chunks:
            self._flushed = True
            chunks, held = self._chunks, self._held
            self._chunks, self._held = [], 0
            self._writer.write(chunks, held)
