"""The folder that retrieved files go into: each appears under its final name whole, or not at all."""

import errno
import os
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from dwcli.dicomweb import content, part10, tags
from dwcli.errors import UsageError
from dwcli.files.draft import CollisionError, Draft, FolderError, Kept, Outcome
from dwcli.files.existing import Present, entries, head_of, is_of, is_truncated, list_series, read_head
from dwcli.files.index import Entry, Index
from dwcli.files.layout import DEFAULT, Layout, uids, unescape
from dwcli.files.spool import Spool

_CHARSET, _STUDY, _SERIES, _INSTANCE = (
    tags.SpecificCharacterSet,
    tags.StudyInstanceUID,
    tags.SeriesInstanceUID,
    tags.SOPInstanceUID,
)
_GATHERS = hasattr(os, "writev")
_O_BINARY = getattr(os, "O_BINARY", 0)
_NO_LINKS = {
    errno.EPERM,
    errno.EACCES,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EMLINK,
    errno.EINVAL,
}
_NOTHING_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_HINT = f'add fields to the layout, as in --layout "{DEFAULT}"'


class Sink:
    """Writes instances below `root` under the names that `layout` gives them. Threads may share one.

    With `overwrite`, files of earlier runs are replaced, but never one that this run wrote. With `fsync`,
    every file reaches the disk before its name does. Nothing is touched until `prepare` or `open`. Raises
    UsageError where `root` is a file.

    Drafts lie in a hidden folder of the root until they are whole.
    """

    def __init__(
        self, root: Path, layout: Layout | None = None, *, overwrite: bool = False, fsync: bool = False
    ) -> None:
        self.root = root
        self.layout = layout or Layout()
        self.overwrite = overwrite
        self.fsync = fsync
        self._ends = content.Ends()
        self._wanted = frozenset(self.layout.keywords.values()) - {_STUDY, _SERIES, _INSTANCE}
        if self._wanted:
            self._wanted |= {_CHARSET}
        self._index = None if self.layout.template == DEFAULT else Index(root)
        self._guard = threading.RLock()
        self._base = "" if root == Path() else os.path.join(root, "")  # noqa: PTH118
        self._spool: Spool | None = None
        self._closed = False
        self._ours: set[int] = set()
        try:
            # One look: between two another run may take its folder away.
            in_the_way = not stat.S_ISDIR(root.stat().st_mode)
        except OSError as error:
            if error.errno not in _NOTHING_THERE:
                raise self.failed(error) from error
            in_the_way = False
        if in_the_way:
            raise UsageError(f"{root} is a file, not a folder", hint="-o DIR")

    def prepare(self) -> Path:
        """Make the folder, clear what dead runs left, see that it can be written; returns where drafts lie.

        `open` does it where it is still to do; asked for early, it names a bad folder before anything is
        fetched. Raises UsageError where a file is in the way, FolderError where the folder can't be made or
        written.
        """
        return self._ready().folder

    def open(self) -> Draft:
        """A draft to write one instance's bytes to; use it in a `with`, which discards what was not kept."""
        return Draft(_File(self, (self._spool or self._ready()).name()), self._wanted, self._ends)

    def where(self, study: str, series: str, instance: str) -> Path | None:
        """The name of an instance that `instances` gave, without another look at the file."""
        if self._index is None:
            return self.root / self.layout.relative(uids(study, series, instance))
        entry = self._index.find(instance)
        return entry.path if entry and (entry.study, entry.series) == (study, series) else None

    def instances(self, study: str, series: str | None = None) -> Iterator[Present]:
        """What is complete in the folder of a study, or of one of its series, in no order."""
        if self._index:
            for entry in self._index.entries():
                if entry.study == study and series in (None, entry.series):
                    head = read_head(entry.path)
                    if head and is_of(head, entry.instance):
                        yield Present(entry.path, entry.study, entry.series, entry.instance, head.transfer_syntax)
            return
        study_name, series_name, _ = self.layout.relative(uids(study, series or "", "")).split("/")
        if series is not None:
            yield from list_series(self.root / study_name / series_name, study, series)
            return
        for folder in entries(self.root / study_name):
            if folder.is_dir():
                yield from list_series(Path(folder.path), study, unescape(folder.name))

    def close(self) -> None:
        """Remove the drafts that were not kept, and give up the lock."""
        with self._guard:
            self._closed = True
            if self._index:
                self._index.close()
            if self._spool:
                self._spool.close()
                self._spool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ready(self) -> Spool:
        with self._guard:
            if self._spool:
                return self._spool
            if self._closed:  # a thread that woke up too late must not begin a new folder of drafts
                raise FolderError(f"stopped writing in {self.root}")
            try:
                self._spool = Spool(self.root)
            except (FileExistsError, NotADirectoryError):
                raise UsageError(f"{self.root} is a file or below one, not a folder", hint="-o DIR") from None
            except OSError as error:
                raise self.failed(error) from error
            return self._spool

    def place(self, draft: str, size: int, head: part10.Head, named: tuple[str, str, str]) -> Kept:
        """Give a finished draft its name, unless that is taken. Raises OSError, CollisionError."""
        values = uids(*named)
        if head.elements:
            values = _texts(self.layout.keywords, head.elements) | values
        relative = self.layout.relative(values)
        final = self._base + (relative if os.sep == "/" else relative.replace("/", os.sep))
        if self.overwrite:
            # Only an overwriting run has to know what it wrote itself; the others read it off the folder.
            key = hash(final)
            with self._guard:
                outcome = self._publish(draft, size, named[2], final, mine=key in self._ours)
                self._ours.add(key)
        else:
            outcome = self._publish(draft, size, named[2], final, mine=False)
        if self._index and outcome != "conflict":
            self._index.add(Entry(Path(final), *named, size))
        return Kept(final, *named, size, outcome)

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
            raise CollisionError(f"cannot write {instance} to {final}: it is a folder", hint=_HINT)
        try:
            there = head_of(final)
        except OSError as error:
            if self.overwrite and not mine:
                return _take_over(draft, final)
            raise CollisionError(
                f"{final} exists but cannot be read: {error.strerror or error}",
                hint="make it readable, or use --overwrite",
            ) from error
        except part10.NotDicom:
            # Damaged since it was stored complete: nothing of it is worth keeping.
            return _take_over(draft, final)
        own = self.layout.template == DEFAULT  # no other instance has this name by right
        if there.instance != instance and not (own and self.overwrite and not mine):
            raise self._taken(final, there.instance, instance, own=own)
        if self.overwrite and not mine:
            return _take_over(draft, final)
        if _equal(draft, final, size):
            return "same"
        return _take_over(draft, final) if is_truncated(final) else "conflict"

    def _taken(self, final: Path, there: str, instance: str, *, own: bool) -> CollisionError:
        if own:
            words = f"{final} contains a different instance ({there}); use --overwrite to replace it"
            return CollisionError(words, hint="--overwrite")
        return CollisionError(f"two instances map to {final}: {there}, already stored, and {instance}", hint=_HINT)

    def failed(self, error: OSError) -> FolderError:
        """The error for a folder that cannot be written."""
        hint = "-o DIR for another folder"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "free space there, then run the same command again; it fetches only what is missing"
        where = str(error.filename2 or error.filename or "")
        spool = self._spool and str(self._spool.folder)
        if not where or (spool and where.startswith(spool)):
            where = str(self.root)
        return FolderError(f"cannot write in {where}: {error.strerror or error}", hint=hint)


class _File:
    """The Writer of a file in the spool."""

    __slots__ = ("_fd", "_made", "_path", "_sink")

    def __init__(self, sink: Sink, path: str) -> None:
        self._sink = sink
        self._path = path
        self._fd = -1
        self._made = False

    def write(self, chunks: list[bytes | memoryview], size: int) -> None:
        if not self._made:
            self._made = True
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _O_BINARY, 0o666)
        # One call and no copy where the system can, which takes all but on a full disk.
        written = os.writev(self._fd, chunks) if _GATHERS else 0
        if written < size:
            view = memoryview(b"".join(chunks))[written:]
            while view:
                view = view[os.write(self._fd, view) :]

    def read_at(self, at: int, size: int) -> bytes:
        return os.pread(self._fd, size, at)

    def close(self) -> str:
        # By default a power cut may still lose a file that was reported; a killed process can't, for the
        # name comes after the last write. To sync each file costs many times the rest of the work.
        if self._sink.fsync:
            os.fsync(self._fd)
        self._shut()
        return self._path

    def place(self, size: int, head: part10.Head, named: tuple[str, str, str]) -> Kept:
        return self._sink.place(self._path, size, head, named)

    def discard(self) -> None:
        if self._fd >= 0:
            with suppress(OSError):
                self._shut()
        if self._made:
            with suppress(OSError):
                os.unlink(self._path)  # noqa: PTH108

    def failed(self, error: OSError) -> FolderError:
        return self._sink.failed(error)

    def _shut(self) -> None:
        fd, self._fd = self._fd, -1
        os.close(fd)  # a network file system may say only here that the disk is full


def _texts(keywords: Mapping[str, str], elements: Mapping[str, bytes]) -> dict[str, str]:
    charset = elements.get(_CHARSET, b"")
    return {
        keyword: part10.decode_text(elements[tag], charset).strip(" \0")
        for keyword, tag in keywords.items()
        if tag in elements
    }


def _take_over(draft: Path, final: Path) -> Outcome:
    draft.replace(final)
    return "replaced"


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
