"""Upload bodies: re-iterable and of known length, so that they survive a 401 or a retry and need no chunking.

Several servers refuse chunked uploads or lose them silently, and httpx replays a generator only by failing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dwcli.dicomweb import media, multipart
from dwcli.errors import DwError, UsageError

CHUNK = 256 * 1024


class ChangedError(DwError):
    """A part is not as long as was announced: its file shrank, grew or vanished. `index` is the part's number."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


@dataclass(frozen=True, slots=True)
class Part:
    """One part: exactly `length` bytes, opened anew for each sending."""

    length: int
    open: Callable[[], Iterable[bytes]]


class Multipart:
    """A multipart/related body of DICOM parts (PS3.18 8.6.1.2): of exact length, with nothing held in memory."""

    def __init__(self, parts: Sequence[Part], *, on_bytes: Callable[[int], None] | None = None) -> None:
        self.boundary = multipart.new_boundary()
        self._parts = parts
        self._on_bytes = on_bytes
        headers = {"Content-Type": media.DICOM}
        self._heads = [multipart.part_head(self.boundary, headers, first=not i) for i in range(len(parts))]
        self._closing = multipart.closing(self.boundary)
        self.length = sum(map(len, self._heads)) + sum(part.length for part in parts) + len(self._closing)

    def __iter__(self) -> Iterator[bytes]:
        for index, (head, part) in enumerate(zip(self._heads, self._parts, strict=True)):
            yield head
            left = part.length
            chunks = iter(part.open())
            try:
                for chunk in chunks:
                    left -= len(chunk)
                    if left < 0:
                        raise ChangedError(index, "it grew during sending")
                    yield chunk
                    if self._on_bytes:
                        self._on_bytes(len(chunk))
            except OSError as error:
                raise ChangedError(index, f"it cannot be read: {error.strerror or error}") from error
            finally:
                if hasattr(chunks, "close"):
                    chunks.close()
            if left:
                raise ChangedError(index, "it shrank during sending")
        yield self._closing


class Bytes:
    """A body that is in memory already (`dw request --data`)."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def __iter__(self) -> Iterator[bytes]:
        yield self._data


def read(opened: Callable[[], AbstractContextManager[BinaryIO]]) -> Iterator[bytes]:
    """A file in chunks; raises OSError."""
    with opened() as file:
        while chunk := file.read(CHUNK):
            yield chunk


class FileBody:
    """A file as a body. Raises UsageError where it cannot be read."""

    def __init__(self, path: Path) -> None:
        try:
            self.length = path.stat().st_size
            with path.open("rb"):
                pass
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}") from error
        self._path = path

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from read(lambda: self._path.open("rb"))
        except OSError as error:
            raise DwError(f"cannot read {self._path}: {error.strerror}") from error
