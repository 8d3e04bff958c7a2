"""The index: SQLite beside the files, which can be thrown away and built again from them."""

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dwcli.archive.header import Header
from dwcli.dicomweb import tags
from dwcli.errors import DwError
from dwcli.files import jsonl

_VERSION = 1
_SCHEMA = """
CREATE TABLE study (
    id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, source TEXT NOT NULL,
    date TEXT NOT NULL, time TEXT NOT NULL, birth TEXT NOT NULL, row TEXT NOT NULL);
CREATE INDEX study_date ON study (date, time);
CREATE TABLE series (
    id INTEGER PRIMARY KEY, study INTEGER NOT NULL REFERENCES study, uid TEXT NOT NULL, source TEXT NOT NULL,
    number INTEGER, modality TEXT NOT NULL, date TEXT NOT NULL, time TEXT NOT NULL,
    step_date TEXT NOT NULL, step_time TEXT NOT NULL, row TEXT NOT NULL, UNIQUE (study, uid));
CREATE INDEX series_uid ON series (uid);
CREATE INDEX series_modality ON series (modality);
CREATE TABLE instance (
    id INTEGER PRIMARY KEY, series INTEGER NOT NULL REFERENCES series, uid TEXT NOT NULL,
    number INTEGER, sop_class TEXT NOT NULL, rows INTEGER, columns INTEGER, bits INTEGER, frames INTEGER,
    syntax TEXT NOT NULL, path TEXT NOT NULL, UNIQUE (series, uid));
CREATE INDEX instance_uid ON instance (uid);
CREATE INDEX instance_path ON instance (path);
CREATE INDEX instance_number ON instance (series, number, id);
CREATE TABLE file (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
    instance INTEGER REFERENCES instance) WITHOUT ROWID;
CREATE INDEX file_instance ON file (instance);
CREATE TABLE study_key (
    tag TEXT NOT NULL, value TEXT NOT NULL, owner INTEGER NOT NULL REFERENCES study,
    PRIMARY KEY (tag, value, owner)) WITHOUT ROWID;
CREATE INDEX study_key_owner ON study_key (owner);
CREATE TABLE series_key (
    tag TEXT NOT NULL, value TEXT NOT NULL, owner INTEGER NOT NULL REFERENCES series,
    PRIMARY KEY (tag, value, owner)) WITHOUT ROWID;
CREATE INDEX series_key_owner ON series_key (owner);
CREATE TABLE pending (folder TEXT NOT NULL, run TEXT NOT NULL, pid INTEGER NOT NULL, PRIMARY KEY (folder, run));
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as it was seen: path below the root, bytes, time of change in ns; `header` None: no instance in it."""

    path: str
    size: int
    mtime: int
    header: Header | None


class Damaged(sqlite3.DatabaseError):
    """The index is gone, not whole, or not what this program writes."""


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the index has to be built again, not that it is busy or the disk is full."""
    code = getattr(error, "sqlite_errorcode", 0)
    return isinstance(error, Damaged) or code & 0xFF in _DAMAGE or code == sqlite3.SQLITE_IOERR_SHORT_READ


_DAMAGE = frozenset(
    {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_SCHEMA}
    | {sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_FORMAT}
)
_abandoned: list[sqlite3.Connection] = []


class _Connection(sqlite3.Connection):
    """Closes itself once nothing refers to it any more, hence never under a thread that uses it."""

    path: Path
    file: tuple[int, int] | None = None

    def __del__(self) -> None:
        with suppress(Exception):
            if self.file == _identity(self.path):
                self.close()
            else:
                # SQLite would remove the -wal file by its name, which is now that of another database.
                _abandoned.append(self)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


class Index:
    """One database; every thread has a connection of its own.

    It is made, and made again, only by a thread that holds `alone`. Raises DwError where it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = os.urandom(8).hex()
        self.was_damaged = False
        """Whether what was found at `path` had to be thrown away."""
        self._local = threading.local()
        self._closed = False
        self._builder = 0  # the thread that fills a new one; the others wait for it to be whole
        try:
            self._prepare()
        except sqlite3.Error as error:
            if not is_damage(error):
                raise self._failed(error) from error
            self.was_damaged = True
            self.renew()
        except OSError as error:
            raise self._failed(error) from error

    @property
    def is_new(self) -> bool:
        """Whether the index was made just now, so that the files have to be read into it."""
        return bool(self._builder)

    def built(self) -> None:
        """Note that the files have been read in whole; until then the next process starts over."""
        with self.writing() as db:
            db.execute(f"PRAGMA user_version = {_VERSION}")
        self._builder = 0

    def connection(self) -> sqlite3.Connection:
        """This thread's connection. Raises sqlite3.Error, Damaged where there is no whole index."""
        found: _Connection | None = getattr(self._local, "connection", None)
        if found is not None and found.file == _identity(self.path):
            return found
        if self._closed:
            raise DwError("the archive is closed")
        found = self._connect()
        if self._builder != threading.get_ident() and _version(found) != _VERSION:
            raise Damaged("the index is incomplete")
        found.execute("PRAGMA journal_mode = WAL")
        found.execute("PRAGMA synchronous = FULL")
        self._local.connection = found
        return found

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it reaches the disk, or nothing."""
        db = self.connection()
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
        except BaseException:
            if db.in_transaction:  # some errors have ended it already
                db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    def close(self) -> None:
        """Let go of every thread's connection: each closes when the thread that uses it is done with it."""
        self._closed = True
        self._local = threading.local()

    def check(self) -> None:
        """Read all of it. Raises Damaged where it contradicts itself."""
        if self.connection().execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
            raise Damaged("the index is damaged")

    def renew(self) -> None:
        """Throw the index away and begin an empty one, to be filled by this thread. Raises DwError."""
        try:
            self._make()
        except (OSError, sqlite3.Error) as error:
            raise self._failed(error) from error

    def _files(self) -> list[Path]:
        return [self.path.with_name(self.path.name + suffix) for suffix in ("", "-wal", "-shm")]

    def _connect(self) -> "_Connection":
        """A connection to the file that is there: made elsewhere, it would be an empty one without its lock."""
        try:
            before = _identity(self.path)
            found = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=rw",
                uri=True,
                timeout=30.0,
                isolation_level=None,
                check_same_thread=False,
                factory=_Connection,
            )
            found.path, found.file = self.path, before
            _version(found)
        except sqlite3.OperationalError as error:
            odd = any(name.exists() and not name.is_file() for name in self._files()) or not self.path.exists()
            if odd or before != _identity(self.path):  # or was odd, and another thread has put it right just now
                raise Damaged(str(error)) from error
            raise
        if before != _identity(self.path):
            raise Damaged("the index was just replaced")
        return found

    def _prepare(self) -> None:
        """Make the tables where they are not this version's, or were never filled."""
        if not self.path.exists() or _version(self._connect()) != _VERSION:
            self._make()

    def _make(self) -> None:
        self._local = threading.local()
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in self._files():
            if name.is_dir() and not name.is_symlink():
                # Not ours, whatever its name says.
                name.rename(name.with_name(f"{name.name}.{os.urandom(4).hex()}.moved"))
            else:
                name.unlink(missing_ok=True)
        self.path.touch(mode=0o600)  # it holds the names of patients
        self._builder = threading.get_ident()
        with self.writing() as db:
            for statement in _SCHEMA.split(";"):
                db.execute(statement)

    def _failed(self, error: Exception) -> DwError:
        return DwError(f"cannot open the index {self.path}: {error}", "check that the folder is writable")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Only one thread of one process at a time makes an index or brings it up to date; the others wait.

    Raises DwError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(path.with_name(f"{path.name}.guard"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise DwError(f"cannot open the index {path}: {error.strerror}", "check that the folder is writable") from error
    try:
        jsonl.hold(fd, wait=True)
        yield
    finally:
        os.close(fd)


def add(db: sqlite3.Connection, files: Iterable[Seen]) -> None:
    """Put files into the index, inside a transaction. Of two files that hold one instance the first counts."""
    for file in files:
        owner = _add_instance(db, file.header, file.path) if file.header else None
        db.execute(
            "INSERT INTO file VALUES (?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET "
            "size = excluded.size, mtime = excluded.mtime, instance = excluded.instance",
            (file.path, file.size, file.mtime, owner),
        )


def _add_instance(db: sqlite3.Connection, head: Header, path: str) -> int:
    dates = head.dates
    found = db.execute("SELECT id, source FROM study WHERE uid = ?", (head.study,)).fetchone()
    values: tuple[object, ...] = (
        path,
        dates[tags.StudyDate],
        dates[tags.StudyTime],
        dates[tags.PatientBirthDate],
        head.study_row,
    )
    if found is None or not found[1]:
        study = _put(db, "study", ("source", "date", "time", "birth", "row"), values, found, uid=head.study)
        _put_keys(db, "study", study, head.study_keys)
    else:
        study = int(found[0])
    found = db.execute("SELECT id, source FROM series WHERE study = ? AND uid = ?", (study, head.series)).fetchone()
    if found is None or not found[1]:
        names = ("source", "number", "modality", "date", "time", "step_date", "step_time", "row")
        of_series = (
            dates[tag]
            for tag in (
                tags.SeriesDate,
                tags.SeriesTime,
                tags.PerformedProcedureStepStartDate,
                tags.PerformedProcedureStepStartTime,
            )
        )
        values = (path, head.series_number, head.modality, *of_series, head.series_row)
        series = _put(db, "series", names, values, found, uid=head.series, study=study)
        _put_keys(db, "series", series, head.series_keys)
    else:
        series = int(found[0])
    found = db.execute("SELECT id FROM instance WHERE series = ? AND uid = ?", (series, head.instance)).fetchone()
    if found is not None:
        return int(found[0])
    names = ("number", "sop_class", "rows", "columns", "bits", "frames", "syntax", "path")
    values = (head.number, head.sop_class, head.rows, head.columns, head.bits, head.frames, head.syntax, path)
    return _put(db, "instance", names, values, None, uid=head.instance, series=series)


def _put(
    db: sqlite3.Connection,
    table: str,
    names: tuple[str, ...],
    values: tuple[object, ...],
    known: tuple[int, str] | None,
    **identity: object,
) -> int:
    """Insert a row, or give a `known` one (its id first) new values; returns its id."""
    if known is not None:
        changes = ", ".join(f"{name} = ?" for name in names)
        db.execute(f"UPDATE {table} SET {changes} WHERE id = ?", (*values, known[0]))
        return int(known[0])
    columns = (*identity, *names)
    marks = ", ".join("?" * len(columns))
    made = db.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", (*identity.values(), *values)
    ).lastrowid
    assert made is not None
    return made


def _put_keys(db: sqlite3.Connection, table: str, owner: int, keys: Iterable[tuple[str, str]]) -> None:
    db.execute(f"DELETE FROM {table}_key WHERE owner = ?", (owner,))
    db.executemany(f"INSERT INTO {table}_key VALUES (?, ?, ?)", [(*key, owner) for key in keys])


def remove(db: sqlite3.Connection, paths: Iterable[str]) -> set[str]:
    """Take files out, inside a transaction; returns the paths to read again (`add` them) as they now speak for what
    is left: other files of the same instance, or one for a study or series whose row came from a file that is gone.
    """
    again: set[str] = set()
    gone = set(paths)
    for path in gone:
        db.execute("DELETE FROM file WHERE path = ?", (path,))
        found = db.execute(
            "SELECT i.id, i.series, s.study FROM instance i JOIN series s ON s.id = i.series WHERE i.path = ?", (path,)
        ).fetchone()
        if found is None:
            continue
        instance, series, study = found
        again |= {twin for (twin,) in db.execute("SELECT path FROM file WHERE instance = ?", (instance,))}
        db.execute("DELETE FROM file WHERE instance = ?", (instance,))
        db.execute("DELETE FROM instance WHERE id = ?", (instance,))
        again |= _bereave(db, "series", "SELECT path FROM instance WHERE series = ? LIMIT 1", series, path)
        left = "SELECT i.path FROM instance i JOIN series s ON s.id = i.series WHERE s.study = ? LIMIT 1"
        again |= _bereave(db, "study", left, study, path)
    return again - gone


def _bereave(db: sqlite3.Connection, table: str, left: str, owner: int, path: str) -> set[str]:
    """A file of a series or study is gone: drop an empty one; one whose row came from it waits for another's."""
    found = db.execute(left, (owner,)).fetchone()
    if found is None:
        db.execute(f"DELETE FROM {table}_key WHERE owner = ?", (owner,))
        db.execute(f"DELETE FROM {table} WHERE id = ?", (owner,))
        return set()
    if db.execute(f"UPDATE {table} SET source = '' WHERE id = ? AND source IN (?, '')", (owner, path)).rowcount:
        return {found[0]}
    return set()
