"""The folder that retrieved files go into: each appears under its final name whole, or not at all."""

import errno
import os
import stat
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

from dwcli.dicomweb import content, part10
from dwcli.errors import DwError, UsageError
from dwcli.files.cut import is_cut
from dwcli.files.draft import Draft
from dwcli.files.existing import Present, entries, head_of, is_of, list_series, read_head
from dwcli.files.index import Entry, Index
from dwcli.files.layout import DEFAULT, Layout, uids, unescape
from dwcli.files.spool import Spool

Outcome = Literal["written", "replaced", "same", "conflict"]

_CHARSET, _STUDY, _SERIES, _INSTANCE = "00080005", "0020000D", "0020000E", "00080018"
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
_HINT = f'give the layout more fields, as in --layout "{DEFAULT}"'


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
        self.ends = content.Ends()
        self.wanted = frozenset(self.layout.keywords.values()) - {_STUDY, _SERIES, _INSTANCE}
        if self.wanted:
            self.wanted |= {_CHARSET}
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
        return Draft(self, (self._spool or self._ready()).name())

    def find(self, study: str, series: str, instance: str) -> Path | None:
        """Where an instance lies complete, None if it doesn't.

        A file under its final name is complete if its head still says that it is this instance, and if it has the size
        in the index where there is one. What somebody changed behind the head is seen by comparing bytes alone.
        """
        path = self.where(study, series, instance)
        return path if path and path.is_file() and is_of(read_head(path), instance) else None

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
                raise FolderError(f"nothing more is written in {self.root}")
            try:
                self._spool = Spool(self.root)
            except (FileExistsError, NotADirectoryError):
                raise UsageError(f"{self.root} is a file or below one, not a folder", hint="-o DIR") from None
            except OSError as error:
                raise self.failed(error) from error
            return self._spool

    def place(self, draft: str, size: int, named: tuple[str, str, str], values: Mapping[str, str]) -> Kept:
        """Give a finished draft its name, unless that is taken. Raises OSError, CollisionError."""
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
            raise CollisionError(f"{instance} would be {final}, which is a folder", hint=_HINT)
        try:
            there = head_of(final)
        except OSError as error:
            if self.overwrite and not mine:
                return _take_over(draft, final)
            raise CollisionError(
                f"{final} is there and cannot be read: {error.strerror or error}",
                hint="make it readable, or --overwrite",
            ) from error
        except part10.NotDicom:
            # Spoilt since it was put there whole: nothing of it is worth keeping.
            return _take_over(draft, final)
        own = self.layout.template == DEFAULT  # no other instance has this name by right
        if there.instance != instance and not (own and self.overwrite and not mine):
            raise self._taken(final, there.instance, instance, own=own)
        if self.overwrite and not mine:
            return _take_over(draft, final)
        if _equal(draft, final, size):
            return "same"
        return _take_over(draft, final) if is_cut(final) else "conflict"

    def _taken(self, final: Path, there: str, instance: str, *, own: bool) -> CollisionError:
        if own:
            words = (
                f"{final} holds another instance: {there}, which is there by a wrong name; --overwrite puts it right"
            )
            return CollisionError(words, hint="--overwrite")
        return CollisionError(f"two instances would be {final}: {there}, which is there, and {instance}", hint=_HINT)

    def failed(self, error: OSError) -> FolderError:
        """What the user is told where the folder can't be written."""
        hint = "-o DIR for another folder"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "make room there, then run the same command again: it fetches only what is missing"
        where = str(error.filename2 or error.filename or "")
        spool = self._spool and str(self._spool.folder)
        if not where or (spool and where.startswith(spool)):
            where = str(self.root)
        return FolderError(f"cannot write in {where}: {error.strerror or error}", hint=hint)


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
