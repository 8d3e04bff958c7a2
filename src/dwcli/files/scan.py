"""Folders and files -> the DICOM instances in them, told from the rest by content."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, Protocol

from dwcli.dicomweb import part10
from dwcli.errors import UsageError
from dwcli.files.layout import OWN_PREFIX

_FIRST_LOOK = 8192
_LONGEST_HEAD = 8 << 20
_ARCHIVES = {
    b"PK\x03\x04": "zip archive",
    b"PK\x05\x06": "zip archive",
    b"\x1f\x8b": "gzip archive",
    b"7z\xbc\xaf\x27\x1c": "7z archive",
    b"Rar!\x1a\x07": "rar archive",
}


class Instance(Protocol):
    """A whole instance that can be stored, wherever it is: `open` alone knows. `size` is in bytes."""

    @property
    def key(self) -> str:
        """What tells it from the others of a run."""

    @property
    def size(self) -> int: ...
    @property
    def study(self) -> str: ...
    @property
    def series(self) -> str: ...
    @property
    def instance(self) -> str: ...
    @property
    def transfer_syntax(self) -> str: ...

    def open(self) -> AbstractContextManager[BinaryIO]:
        """Its bytes from the start. Raises OSError."""


@dataclass(frozen=True, slots=True)
class DicomFile:
    """A DICOM file (PS3.10) as it was when it was seen: `size` in bytes, `mtime_ns`, and its UIDs as found.

    `instance` is never empty; the others may be, in files that break the rules.
    """

    path: Path
    size: int
    mtime_ns: int
    study: str
    series: str
    instance: str
    sop_class: str
    transfer_syntax: str

    @property
    def key(self) -> str:
        """Its path."""
        return str(self.path)

    def open(self) -> AbstractContextManager[BinaryIO]:
        """Its bytes from the start. Raises OSError."""
        return open(self.path, "rb")  # noqa: PTH123  pathlib costs more than the read of a small file


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that isn't a DICOM instance and is never sent."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something that may well be a DICOM instance but can't be read, or can't be sent as it is: a failure."""

    path: Path
    reason: str


def scan(
    paths: Iterable[Path], *, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> Iterator[DicomFile | Skipped | Unreadable]:
    """Look at files, and at all files below folders, in the order of their names, while walking.

    `include` and `exclude` are shell patterns, compared with a file's name and with its path below the folder
    given (`*` matches `/` too); an excluded folder is not entered, and what the patterns leave out is not
    reported. Links are followed; a file reached twice is reported once. `dw`'s own drafts and indexes are
    never reported. Raises UsageError at once, before the first result, where one of `paths` doesn't exist.
    """
    tops = list(paths)
    absent = [str(path) for path in tops if not os.path.lexists(path)]
    if absent:
        more = f" (nor do {len(absent) - 1} others)" if len(absent) > 1 else ""
        raise UsageError(f"{absent[0]} does not exist{more}", hint="nothing was sent; check the path")
    return _walk(tops, include, [pattern.rstrip("/") for pattern in exclude])


def _walk(
    tops: Sequence[Path], include: Sequence[str], exclude: Sequence[str]
) -> Iterator[DicomFile | Skipped | Unreadable]:
    seen: set[int] = set()
    ahead = [(top, "") for top in reversed(tops)]
    while ahead:
        path, below = ahead.pop()
        relative = below or path.name
        try:
            # A folder that was named is entered, whatever the patterns say.
            if (below or not path.is_dir()) and _matches(path.name, relative, exclude):
                continue
            status = path.stat()
            is_folder = stat.S_ISDIR(status.st_mode)
            if not is_folder and include and not _matches(path.name, relative, include):
                continue
            # Device and inode in one int: a set of these for a million files is a third of a set of tuples.
            identity = status.st_dev << 64 | status.st_ino
            if identity in seen:
                continue
            seen.add(identity)
            if is_folder:
                ahead += _entries(path, below)
            elif stat.S_ISREG(status.st_mode):
                yield _look(path)
            else:
                yield Skipped(path, "not a regular file")
        except FileNotFoundError:
            yield Unreadable(path, "broken link" if path.is_symlink() else "vanished during the scan")
        except OSError as error:
            yield Unreadable(path, f"cannot be read: {error.strerror or error}")


def _entries(path: Path, below: str) -> Iterator[tuple[Path, str]]:
    """Yield what is in a folder, last name first, each with its path below the folder that was named."""
    with os.scandir(path) as entries:
        names = sorted((entry.name for entry in entries), reverse=True)
    for name in names:
        if not name.startswith(OWN_PREFIX):
            yield path / name, f"{below}/{name}" if below else name


def _matches(name: str, relative: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) or fnmatchcase(relative, pattern) for pattern in patterns)


def _look(path: Path) -> DicomFile | Skipped | Unreadable:
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(fd)
        data = os.read(fd, _FIRST_LOOK)
        if not data:
            return Skipped(path, "empty file")
        for start, reason in _ARCHIVES.items():
            if data.startswith(start) and data[128:132] != b"DICM":
                return Skipped(path, reason)
        final = False
        while (head := part10.read_head(data, final=final)) is None:
            if len(data) >= _LONGEST_HEAD:
                return Unreadable(path, "no SOP Instance UID in its first 8 MiB")
            more = os.read(fd, len(data))
            data += more
            final = not more
    except part10.NotDicom as error:
        return _odd(path, data, error)
    finally:
        os.close(fd)
    if head.sop_class == part10.DICOMDIR:
        return Skipped(path, "DICOMDIR")
    return DicomFile(
        path,
        status.st_size,
        status.st_mtime_ns,
        head.study,
        head.series,
        head.instance,
        head.sop_class,
        head.transfer_syntax,
    )


def _odd(path: Path, data: bytes, error: part10.NotDicom) -> Skipped | Unreadable:
    """What a file is that has no readable Part 10 head, though programs may still open it."""
    marked = data[128:132] == b"DICM"
    # Data sets without file meta information begin with group 0008, in either byte order.
    if not marked and data[:2] not in (b"\x08\x00", b"\x00\x08"):
        return Skipped(path, "not DICOM")
    if _pydicom_finds_an_instance(path):
        return Unreadable(path, "a DICOM data set without file meta information, which can't be sent as it is")
    return Unreadable(path, error.message) if marked else Skipped(path, "not DICOM")


def _pydicom_finds_an_instance(path: Path) -> bool:
    import warnings

    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = pydicom.dcmread(
                path, force=True, stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID"]
            )
            return bool(found.get("SOPInstanceUID")) and bool(found.get("SOPClassUID"))
        except Exception:  # anything at all can come of bytes that aren't DICOM
            return False
