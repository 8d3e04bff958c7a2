"""The files below a root and the index of them: read in, brought up to date, and found again."""

import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dwcli.archive import header, index
from dwcli.archive.index import Index, Seen, alone, is_damage
from dwcli.archive.reply import Refusal
from dwcli.dicomweb.refs import InstanceRef, Ref, SeriesRef, StudyRef
from dwcli.files.layout import OWN_PREFIX
from dwcli.files.scan import DicomFile, Unreadable, scan

_BATCH = 500
Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Told of files read so far, and of how many there are to read."""


@dataclass(frozen=True, slots=True)
class Held:
    """One instance in the archive: where its file is and what it holds."""

    study: str
    series: str
    instance: str
    sop_class: str
    syntax: str
    path: Path

    @property
    def ref(self) -> InstanceRef:
        """Its reference."""
        return InstanceRef(self.study, self.series, self.instance)


class Folder:
    """Files below `root` and their index. Files behind links that lead out of `root` are not part of it."""

    def __init__(self, root: Path, database: Index, say: Callable[[str], None] = lambda _text: None) -> None:
        self.root = root.resolve()
        self.index = database
        self._say = say
        self.unreadable: dict[str, str] = {}
        """Files and folders that may well hold instances and cannot be read, with the reason."""
        self._guard = threading.Lock()

    def refresh(self, progress: Progress = lambda _done, _total: None) -> None:
        """Bring the index up to date with the files: new, changed and vanished ones. Raises OSError."""
        with self._guard:
            known = {
                path: (size, mtime)
                for path, size, mtime in self.index.connection().execute("SELECT path, size, mtime FROM file")
            }
            self.unreadable.clear()
            found = dict(_walk(self.root, self.unreadable))
            gone = [path for path, state in known.items() if found.get(path) != state]
            if gone:
                with self.index.writing() as db:
                    again = index.remove(db, gone)
                    for path in again:
                        known.pop(path, None)
                for path in gone:
                    del known[path]
            new = sorted(path for path in found if path not in known)
            for start in range(0, len(new), _BATCH):
                looked = [self.look(path, *found[path]) for path in new[start : start + _BATCH]]
                seen = [one for one in looked if one.path not in self.unreadable]  # those are looked at again
                with self.index.writing() as db:
                    index.add(db, seen)
                progress(min(start + _BATCH, len(new)), len(new))
            if self.index.is_new:
                self.index.built()

    def answer(self, work: Callable[[], Result]) -> Result:
        """What `work` returns; where the index proves damaged it is built again from the files, and `work` repeated.

        Raises what `work` raises, and DwError.
        """
        try:
            return work()
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
        with alone(self.index.path):
            try:
                return work()  # another thread or process may have built it meanwhile
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
            self.rebuild()
            return work()

    def rebuild(self, progress: Progress = lambda _done, _total: None) -> None:
        """Build the index again from the files. Called with `alone` held. Raises DwError, OSError."""
        self.index.renew()
        self.refresh(progress)
        self._say("the index was damaged; it was rebuilt from the files")

    def reindex(self) -> None:
        """Look at all files and at the whole index; build that again where it is damaged. Raises DwError, OSError."""
        self.answer(self.index.check)
        self.answer(self.refresh)

    def write(self, change: Callable[[sqlite3.Connection], None]) -> None:
        """Make a change in one transaction. It may be made twice. Raises sqlite3.Error, DwError."""

        def changed() -> None:
            with self.index.writing() as db:
                change(db)

        self.answer(changed)

    def look(self, path: str, size: int, mtime: int) -> Seen:
        """What there is to know of one file."""
        whole = self.root / path
        try:
            match next(iter(scan([whole])), None):
                case DicomFile():
                    return Seen(path, size, mtime, header.read(whole))
                case Unreadable(_, reason):
                    self.unreadable[path] = reason
        except header.Unfit as error:
            self.unreadable[path] = error.message
        except OSError as error:
            self.unreadable[path] = error.strerror or str(error)
        return Seen(path, size, mtime, None)

    def recover(self) -> None:
        """Index the files that a killed process had stored but not yet recorded."""
        db = self.index.connection()
        waiting = db.execute("SELECT folder, run, pid FROM pending").fetchall()
        waiting = [row for row in waiting if not row[1].startswith(self.index.run)]
        if not waiting:
            return
        for folder in {row[0] for row in waiting}:
            self.take(_below(self.root, self.root / folder))
        with self.index.writing() as db:
            for folder, run, pid in waiting:
                if not _runs(pid):
                    db.execute("DELETE FROM pending WHERE folder = ? AND run = ?", (folder, run))

    def take(self, paths: Iterable[tuple[str, tuple[int, int]]]) -> None:
        """Put those files into the index that are not in it yet."""
        db = self.index.connection()
        new = [
            (path, state)
            for path, state in paths
            if not db.execute("SELECT 1 FROM file WHERE path = ?", (path,)).fetchone()
        ]
        if new:
            seen = [self.look(path, *state) for path, state in new]
            with self.index.writing() as db:
                index.add(db, seen)

    def held(self, ref: Ref) -> list[Held]:
        """The instances below a reference, by series and number. Raises Refusal 404 where there are none."""
        match ref:
            case StudyRef(study):
                where, values = "st.uid = ?", [study]
            case SeriesRef(study, series):
                where, values = "st.uid = ? AND s.uid = ?", [study, series]
            case InstanceRef(study, series, instance):
                where, values = "st.uid = ? AND s.uid = ? AND i.uid = ?", [study, series, instance]
        found = self.index.connection().execute(
            "SELECT st.uid, s.uid, i.uid, i.sop_class, i.syntax, i.path FROM study st "
            "JOIN series s ON s.study = st.id JOIN instance i ON i.series = s.id "
            f"WHERE {where} ORDER BY s.number, s.id, i.number, i.id",
            values,
        )
        held = [
            Held(study, series, instance, sop_class, syntax, self.file(path))
            for study, series, instance, sop_class, syntax, path in found
        ]
        if not held:
            raise Refusal(404, f"{ref.level} not found")
        return held

    def file(self, path: str) -> Path:
        """The file at a path of the index. Raises Refusal 404 where it now leads out of the archive."""
        whole = self.root / path
        if not whole.resolve().is_relative_to(self.root):
            raise Refusal(404, "this file is not in the archive")
        return whole


def _walk(root: Path, unreadable: dict[str, str]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Every regular file below `root` with its size and time of change; `dw`'s own are left out."""
    waiting = [(str(root), "")]
    while waiting:
        folder, below = waiting.pop()
        try:
            entries = os.scandir(folder)
        except OSError as error:
            unreadable[below or "."] = error.strerror or str(error)
            continue
        with entries:
            for entry in entries:
                if entry.name.startswith(OWN_PREFIX):
                    continue
                name = f"{below}{entry.name}"
                try:
                    name.encode()
                    # Links are left out: those to files beside them would be read twice, the others lead away.
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((entry.path, f"{name}/"))
                        continue
                    status = entry.stat(follow_symlinks=False)
                except (OSError, UnicodeEncodeError):
                    continue
                if stat.S_ISREG(status.st_mode):
                    yield name, (status.st_size, status.st_mtime_ns)


def _below(root: Path, folder: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    prefix = folder.relative_to(root).as_posix()
    for path, state in _walk(folder, {}):
        yield f"{prefix}/{path}", state


def _runs(pid: int) -> bool:
    """Whether another process of that number is alive."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
