"""The folder that retrieved files go into: each appears under its final name whole, or not at all."""

import errno
import itertools
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from dwcli.dicomweb import part10
from dwcli.errors import DwError, UsageError
from dwcli.files import lines
from dwcli.files.index import Entry, Index
from dwcli.files.layout import DEFAULT, OWN_PREFIX, Layout, unescape

Outcome = Literal["written", "replaced", "same", "conflict"]

_CHARSET, _STUDY, _SERIES, _INSTANCE = "00080005", "0020000D", "0020000E", "00080018"
_HELD = 256 << 10  # bytes of small chunks that are collected before they are written
_MOST_CHUNKS = 1024  # what one writev takes on every system that has it
_GATHERS = hasattr(os, "writev")
_HEAD_FIRST, _HEAD_LIMIT = 2 << 10, 8 << 20  # bytes
_NO_LINKS = {
    errno.EPERM,
    errno.EACCES,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EMLINK,
    errno.EINVAL,
}
_O_BINARY = getattr(os, "O_BINARY", 0)
_HINT = f'give the layout more fields, as in --layout "{DEFAULT}"'


class FolderError(DwError):
    """The output folder can't be written: full, not permitted, gone. What would follow fails as well."""


class CollisionError(DwError):
    """Two different instances would get the same name; the one that is there stays."""


@dataclass(frozen=True, slots=True)
class Kept:
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


@dataclass(frozen=True, slots=True)
class Present:
    """An instance that is complete in the folder."""

    path: Path
    study: str
    series: str
    instance: str


class Sink:
    """Writes instances below `root` under the names that `layout` gives them. Threads may share one.

    With `overwrite`, files of earlier runs are replaced, but never one that this run wrote. With `fsync`,
    every file reaches the disk before its name does. Nothing is touched until `prepare` or `open`. Raises
    UsageError where `root` is a file.

    Drafts lie in a hidden folder of the root, hence on the same file system. Beside it is a lock that the
    system drops when the process ends, however it ends: so a later run knows which drafts nobody writes any
    more.
    """

    def __init__(
        self, root: Path, layout: Layout | None = None, *, overwrite: bool = False, fsync: bool = False
    ) -> None:
        self.root = root
        self.layout = layout or Layout()
        self.overwrite = overwrite
        self.fsync = fsync
        self._wanted = frozenset(self.layout.keywords.values()) - {_STUDY, _SERIES, _INSTANCE}
        if self._wanted:
            self._wanted |= {_CHARSET}
        self._index = None if self.layout.template == DEFAULT else Index(root)
        self._guard = threading.RLock()
        self._numbers = itertools.count(1)
        self._base = "" if root == Path() else os.path.join(root, "")  # noqa: PTH118
        self._drafts: Path | None = None
        self._closed = False
        self._lock: tuple[int, Path] | None = None
        self._ours: set[int] = set()
        try:
            in_the_way = root.exists() and not root.is_dir()
        except OSError as error:
            raise self._failed(error) from error
        if in_the_way:
            raise UsageError(f"{root} is a file, not a folder", hint="-o DIR")

    def prepare(self) -> Path:
        """Make the folder, clear what dead runs left, see that it can be written; returns where drafts lie.

        `open` does it where it is still to do; asked for early, it names a bad folder before anything is
        fetched. Raises UsageError where a file is in the way, FolderError where the folder can't be made or
        written.
        """
        with self._guard:
            if self._drafts:
                return self._drafts
            if self._closed:  # a thread that woke up too late must not begin a new folder of drafts
                raise FolderError(f"nothing more is written in {self.root}")
            try:
                self.root.mkdir(parents=True, exist_ok=True)
                _clear_dead(self.root)
                self._lock = _new_lock(self.root)
                drafts = self._lock[1].with_suffix(".tmp")
                drafts.mkdir()
            except (FileExistsError, NotADirectoryError):
                raise UsageError(f"{self.root} is a file or below one, not a folder", hint="-o DIR") from None
            except OSError as error:
                raise self._failed(error) from error
            self._drafts = drafts
            return drafts

    def open(self) -> "Draft":
        """A draft to write one instance's bytes to; use it in a `with`, which discards what was not kept."""
        return Draft(self, f"{self._drafts or self.prepare()}{os.sep}{next(self._numbers)}")

    def find(self, study: str, series: str, instance: str) -> Path | None:
        """Where an instance lies complete, None if it doesn't.

        A file under its final name is complete if its head still says that it is this instance, and if it has the size
        in the index where there is one. What somebody changed behind the head is seen by comparing bytes alone.
        """
        if self._index:
            entry = self._index.find(instance)
            if not entry or (entry.study, entry.series) != (study, series):
                return None
            path = entry.path
        else:
            path = self.root / self.layout.relative(_uids(study, series, instance))
        return path if path.is_file() and _names(_read_head(path), instance) else None

    def instances(self, study: str, series: str | None = None) -> Iterator[Present]:
        """What is complete in the folder of a study, or of one of its series, in no order."""
        if self._index:
            for entry in self._index.entries():
                wanted = entry.study == study and series in (None, entry.series)
                if wanted and _names(_read_head(entry.path), entry.instance):
                    yield Present(entry.path, entry.study, entry.series, entry.instance)
            return
        study_name, series_name, _ = self.layout.relative(_uids(study, series or "", "")).split("/")
        if series is not None:
            yield from _list_series(self.root / study_name / series_name, study, series)
            return
        for folder in _entries(self.root / study_name):
            if folder.is_dir():
                yield from _list_series(Path(folder.path), study, unescape(folder.name))

    def close(self) -> None:
        """Remove the drafts that were not kept, and give up the lock."""
        with self._guard:
            self._closed = True
            if self._index:
                self._index.close()
            if self._drafts:
                shutil.rmtree(self._drafts, ignore_errors=True)
                self._drafts = None
            if self._lock:
                fd, path = self._lock
                self._lock = None
                with suppress(OSError):
                    path.unlink()
                os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _place(self, draft: str, size: int, uids: tuple[str, str, str], values: Mapping[str, str]) -> Kept:
        """Give a finished draft its name, unless that is taken. Raises OSError, CollisionError."""
        relative = self.layout.relative(values)
        final = self._base + (relative if os.sep == "/" else relative.replace("/", os.sep))
        if self.overwrite:
            # Only an overwriting run has to know what it wrote itself; the others read it off the folder.
            key = hash(final)
            with self._guard:
                outcome = self._publish(draft, size, uids[2], final, mine=key in self._ours)
                self._ours.add(key)
        else:
            outcome = self._publish(draft, size, uids[2], final, mine=False)
        if self._index and outcome != "conflict":
            self._index.add(Entry(Path(final), *uids, size))
        return Kept(final, *uids, size, outcome)

    def _publish(self, draft: str, size: int, instance: str, final: str, *, mine: bool) -> Outcome:
        try:
            try:
                _name(draft, final)
            except (FileNotFoundError, NotADirectoryError):  # the first of its folder
                _make_folder(Path(final).parent)
                _name(draft, final)
        except FileExistsError:
            return self._settle(Path(draft), size, instance, Path(final), mine=mine)
        return "written"

    def _settle(self, draft: Path, size: int, instance: str, final: Path, *, mine: bool) -> Outcome:
        """What to do about a file that has the name already; replaces it where that is asked for."""
        if final.is_dir():
            raise CollisionError(f"{instance} would be {final}, which is a folder", hint=_HINT)
        try:
            there = _head(final)
        except OSError:
            there = None
        except part10.NotDicom:
            # Cut or spoilt since it was put there whole: nothing of it is worth keeping.
            draft.replace(final)
            return "replaced"
        if there and there.instance != instance:
            raise CollisionError(
                f"two instances would be {final}: {there.instance}, which is there, and {instance}",
                hint=_HINT,
            )
        if self.overwrite and not mine:
            draft.replace(final)
            return "replaced"
        return "same" if _equal(draft, final, size) else "conflict"

    def _failed(self, error: OSError) -> FolderError:
        hint = "-o DIR for another folder"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "make room there, then run the same command again: it fetches only what is missing"
        return FolderError(f"cannot write in {self.root}: {error.strerror or error}", hint=hint)


class Draft:
    """One instance on its way into a Sink: `size` is the bytes so far, `head` what they are once known.

    Its memory doesn't grow with the instance.
    """

    def __init__(self, sink: Sink, path: str) -> None:
        self.size = 0
        self.head: part10.Head | None = None
        self._sink = sink
        self._path = path
        self._open = True
        self._sealed = False
        self._fd = -1
        self._chunks: list[bytes | memoryview] = []
        self._held = 0
        self._prefix = bytearray()
        self._look_at = 1
        self._odd: part10.NotDicom | None = None

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes, which must not change until `keep`.

        Raises FolderError; bytes that aren't DICOM are not written, and raise in `keep`."""
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
                raise self._sink._failed(error) from error

    def keep(self, name_hint: tuple[str, str, str] = ("", "", "")) -> Kept:
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
            values = _uids(study, series, instance)
            if head.elements:
                values = _texts(self._sink.layout.keywords, head.elements) | values
            self._finish()
            return self._sink._place(self._path, self.size, (study, series, instance), values)
        except OSError as error:
            raise self._sink._failed(error) from error
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
            raise self._sink._failed(error) from error
        return Path(self._path)

    def discard(self) -> None:
        """Remove what was written; does nothing after `keep`, or the second time."""
        if not self._open:
            return
        self._open = False
        self._chunks.clear()
        self._prefix.clear()
        with suppress(OSError):
            if self._fd >= 0:
                self._close()
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
        if not self.head and not self._odd and len(data) >= _HEAD_LIMIT:
            self._read_less(data)
        if self.head or self._odd:
            self._prefix.clear()
        # To look again only after doubling keeps the cost linear, however small the chunks.
        self._look_at = 2 * len(data)

    def _read(self, data: bytes, *, final: bool) -> None:
        try:
            self.head = part10.read_head(data, final=final, wanted=self._sink._wanted)
        except part10.NotDicom as error:
            self._refuse(error)

    def _read_less(self, data: bytes) -> None:
        # Megabytes of private data before a tag that the layout asks for: a name without it is better than no
        # file.
        wanted = frozenset(tag for tag in self._sink._wanted if tag <= _SERIES)
        try:
            self.head = part10.read_head(data, wanted=wanted)
        except part10.NotDicom as error:
            self._refuse(error)
        if not self.head:
            self._refuse(part10.NotDicom("no SOP Instance UID in the first 8 MiB"))

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
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _O_BINARY, 0o666)
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


def _uids(study: str, series: str, instance: str) -> dict[str, str]:
    return {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": instance}


def _texts(keywords: Mapping[str, str], elements: Mapping[str, bytes]) -> dict[str, str]:
    charset = elements.get(_CHARSET, b"")
    return {
        keyword: part10.decode_text(elements[tag], charset).strip(" \0")
        for keyword, tag in keywords.items()
        if tag in elements
    }


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:
        return  # what can't be seen is fetched again, and then found to be the same or not


def _list_series(folder: Path, study: str, series: str | None) -> Iterator[Present]:
    for entry in _entries(folder):
        if not entry.name.endswith(".dcm") or not entry.is_file():
            continue
        path = Path(entry.path)
        instance = unescape(entry.name.removesuffix(".dcm"))
        head = _read_head(path)
        if series is None or instance is None:  # a name was cut, so only the file itself tells
            if head:
                yield Present(path, study, head.series, head.instance)
        elif _names(head, instance):
            yield Present(path, study, series, instance)


def _names(head: part10.Head | None, instance: str) -> bool:
    return head is not None and head.instance in (instance, "")


def _read_head(path: Path) -> part10.Head | None:
    """The head of a file that is there; None where it has none or can't be read."""
    try:
        return _head(path)
    except (OSError, part10.NotDicom):
        return None


def _head(path: Path) -> part10.Head:
    """The head of a file. Raises OSError, NotDicom."""
    with path.open("rb") as file:
        data = file.read(8192)
        while (head := part10.read_head(data)) is None and len(data) < _HEAD_LIMIT:
            more = file.read(len(data))
            if not more:
                head = part10.read_head(data, final=True)
                break
            data += more
    if not head:
        raise part10.NotDicom("no SOP Instance UID in the first 8 MiB")
    return head


def _equal(one: Path, other: Path, size: int) -> bool:
    try:
        if other.stat().st_size != size:
            return False
        with one.open("rb") as left, other.open("rb") as right:
            while chunk := left.read(1 << 20):
                if chunk != right.read(1 << 20):
                    return False
    except OSError:
        return False
    return True


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise CollisionError(f"{path} can't be a folder: it or one above it is a file", hint=_HINT) from None


def _name(draft: str, final: str) -> None:
    """Give a draft its final name if that is free, else raise FileExistsError: another run may have taken it.

    The draft's own name goes with `Draft.discard`.
    """
    try:
        os.link(draft, final)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # No links here (FAT, some network shares): the moment between look and rename is left to chance.
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), final) from None
        os.rename(draft, final)  # noqa: PTH104


def _new_lock(root: Path) -> tuple[int, Path]:
    while True:
        path = root / f"{OWN_PREFIX}{os.urandom(4).hex()}.lock"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        lines.hold(fd, wait=True)
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
        if lines.hold(fd):  # and keep it meanwhile, so that nobody starts to use what goes
            shutil.rmtree(lock.with_suffix(".tmp"), ignore_errors=True)
            with suppress(OSError):
                lock.unlink()
    finally:
        os.close(fd)
