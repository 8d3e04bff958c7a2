"""One instance on its way into a folder: its bytes as they come, and what they say of themselves."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from dwcli.dicomweb import content, part10
from dwcli.files.existing import HEAD_LIMIT
from dwcli.files.layout import uids

if TYPE_CHECKING:
    from dwcli.files.sink import Kept, Sink

_CHARSET, _SERIES = "00080005", "0020000E"
_HELD = 256 << 10  # bytes of small chunks that are collected before they are written
_MOST_CHUNKS = 1024  # what one writev takes on every system that has it
_GATHERS = hasattr(os, "writev")
_HEAD_FIRST = 2 << 10  # bytes in which nearly every file names itself
_O_BINARY = getattr(os, "O_BINARY", 0)


class Draft:
    """One instance on its way into a Sink: `size` is the bytes so far, `head` what they are once known.

    Its memory doesn't grow with the instance.
    """

    def __init__(self, sink: "Sink", path: str) -> None:
        self.size = 0
        self.head: part10.Head | None = None
        self._sink = sink
        self._path = path
        self._open = True
        self._sealed = False
        self._fd = -1
        self._made = False
        self._chunks: list[bytes | memoryview] = []
        self._held = 0
        self._prefix = bytearray()
        self._look_at = 1
        self._odd: part10.NotDicom | None = None

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes, which must not change until `keep`.

        Raises FolderError; bytes that aren't DICOM are not written, and raise in `keep`.
        """
        self.size += len(data)
        if not self.head and not self._odd:
            self._look(data)
        if self._odd:
            return
        self._chunks.append(data)
        self._held += len(data)
        if self._held >= _HELD or len(self._chunks) >= _MOST_CHUNKS:
            try:
                self._flush()
            except OSError as error:
                self.discard()
                raise self._sink.failed(error) from error

    def end(self, *, proven: bool) -> content.End:
        """Whether the bytes end where a DICOM file ends (PS3.10 7). Raises FolderError.

        `proven`: the transport proved that all of them came, so that a truncated file is looked for, quickly.
        """
        try:
            if proven:
                return self._sink.ends.look(self._read_at, self.size)
            return content.end_of(self._read_at, self.size, content.Kind.DICOM)
        except OSError as error:
            self.discard()
            raise self._sink.failed(error) from error

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
                raise part10.NotDicom("the file names no SOP Instance UID")
            values = uids(study, series, instance)
            if head.elements:
                values = _texts(self._sink.layout.keywords, head.elements) | values
            self._finish()
            return self._sink.place(self._path, self.size, (study, series, instance), values)
        except OSError as error:
            raise self._sink.failed(error) from error
        finally:
            self.discard()

    def seal(self) -> Path:
        """End the writing, so that many drafts can wait for `keep` without an open file; where the bytes lie.

        Raises NotDicom, FolderError.
        """
        self.finish()
        try:
            self._finish()
        except OSError as error:
            self.discard()
            raise self._sink.failed(error) from error
        return Path(self._path)

    def discard(self) -> None:
        """Remove what was written; does nothing after `keep`, or the second time."""
        if not self._open:
            return
        self._open = False
        self._chunks.clear()
        self._prefix.clear()
        if self._fd >= 0:
            with suppress(OSError):
                self._close()
        if self._made:
            with suppress(OSError):
                os.unlink(self._path)  # noqa: PTH108

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
            if self.head or self._odd:
                return
        self._prefix += chunk
        if len(self._prefix) < self._look_at:
            return
        data = bytes(self._prefix)
        self._read(data, final=False)
        if not self.head and not self._odd and len(data) >= HEAD_LIMIT:
            self._read_less(data)
        if self.head or self._odd:
            self._prefix.clear()
        # To look again only after doubling keeps the cost linear, however small the chunks.
        self._look_at = 2 * len(data)

    def _read(self, data: bytes, *, final: bool) -> None:
        try:
            self.head = part10.read_head(data, final=final, wanted=self._sink.wanted)
        except part10.NotDicom as error:
            self._refuse(error)

    def _read_less(self, data: bytes) -> None:
        # Megabytes of private data before a tag that the layout asks for: a name without it is better than no
        # file.
        wanted = frozenset(tag for tag in self._sink.wanted if tag <= _SERIES)
        try:
            self.head = part10.read_head(data, wanted=wanted)
        except part10.NotDicom as error:
            self._refuse(error)
        if not self.head:
            self._refuse(part10.NotDicom("no SOP Instance UID in the first 8 MiB"))

    def _read_at(self, at: int, size: int) -> bytes:
        """Some of what was written. Raises OSError."""
        if self._fd < 0:
            if len(self._chunks) != 1:
                self._chunks = [b"".join(self._chunks)]
            return bytes(self._chunks[0][at : at + size])
        if self._chunks:
            self._flush()
        return os.pread(self._fd, size, at)

    def _refuse(self, error: part10.NotDicom) -> None:
        self._odd = error
        self._chunks.clear()

    def finish(self) -> part10.Head:
        """What was written, now that it is all there; `keep` does it too. Raises NotDicom."""
        if not self.head and not self._odd:
            self._read(bytes(self._prefix), final=True)
        if self._odd or not self.head:
            raise self._odd or part10.NotDicom("the file names no SOP Instance UID")
        return self.head

    def _finish(self) -> None:
        if self._sealed:
            return
        self._flush()
        # By default a power cut may still lose a file that was reported; a killed process can't, for the
        # name comes after the last write. To sync each file costs many times the rest of the work.
        if self._sink.fsync:
            os.fsync(self._fd)
        self._close()
        self._sealed = True

    def _flush(self) -> None:
        if self._fd < 0:
            self._made = True
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _O_BINARY, 0o666)
        chunks, held = self._chunks, self._held
        self._chunks, self._held = [], 0
        # One call and no copy where the system can, which takes all but on a full disk.
        written = os.writev(self._fd, chunks) if _GATHERS and chunks else 0
        if written < held:
            view = memoryview(b"".join(chunks))[written:]
            while view:
                view = view[os.write(self._fd, view) :]

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)  # a network file system may say only here that the disk is full


def _texts(keywords: Mapping[str, str], elements: Mapping[str, bytes]) -> dict[str, str]:
    charset = elements.get(_CHARSET, b"")
    return {
        keyword: part10.decode_text(elements[tag], charset).strip(" \0")
        for keyword, tag in keywords.items()
        if tag in elements
    }
