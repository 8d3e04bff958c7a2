"""The archive as a WSGI application: paths to services (PS3.18 tables 10.1-1 and 10.6.1-1)."""

import re
import sqlite3
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from dwcli.archive import searching
from dwcli.archive.accept import wants_json
from dwcli.archive.folder import Folder, Progress
from dwcli.archive.index import Index, alone, is_damage
from dwcli.archive.reply import CHUNK, Refusal, Reply, array, text
from dwcli.dicomweb import refs
from dwcli.dicomweb.refs import InstanceRef, Level, Ref
from dwcli.errors import DwError, UsageError
from dwcli.files.layout import OWN_PREFIX

if TYPE_CHECKING:
    from dwcli.archive.storing import Store

Start = Callable[[str, list[tuple[str, str]]], object]

INDEX = f"{OWN_PREFIX}archive.sqlite"
"""The index's name in the folder of an archive, and before its mark by which an archive was known."""

MARK = f"{OWN_PREFIX}archive"
"""The empty file by which an archive is known, with or without its index."""

_LONGEST_HEADER = 8 * 1024
_LONGEST_QUERY = 64 * 1024
_HOST = re.compile(r"[A-Za-z0-9._~-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")
_LEVELS = (("studies", Level.STUDY), ("series", Level.SERIES), ("instances", Level.INSTANCE))


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the services see it. `base`: the service's own address, without a slash at its end."""

    method: str
    segments: tuple[str, ...]
    query: str
    accept: str
    base: str
    environ: dict[str, Any]


class Archive:
    """A folder served over DICOMweb below `prefix`. Safe to use from several threads. Call `close` at the end.

    What a service needs is imported when it is first asked for: a search should cost no more than a search.
    """

    def __init__(self, folder: Folder, *, writable: bool, prefix: str = "") -> None:
        self.folder = folder
        self.prefix = prefix
        self.writable = writable
        self._made: Store | None = None
        self._guard = threading.Lock()

    @property
    def store(self) -> "Store":
        """What stores into the folder."""
        from dwcli.archive.storing import Store

        with self._guard:
            if self._made is None:
                self._made = Store(self.folder)
            return self._made

    def close(self) -> None:
        """Let go of the index, and clear what was not kept."""
        if self._made:
            self._made.close()
        self.folder.index.close()

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        """WSGI (PEP 3333). A body that cannot be sent to its end raises, so that the connection breaks."""
        reply = self._reply(environ)
        headers = [("Content-Type", reply.content_type)] if reply.content_type else []
        if reply.length is not None:
            headers.append(("Content-Length", str(reply.length)))
        start(reply.line, [*headers, *reply.headers.items()])
        return () if environ["REQUEST_METHOD"] == "HEAD" else reply.body

    def _reply(self, environ: dict[str, Any]) -> Reply:
        try:
            asked = self._read(environ)
            if asked.method == "POST":  # its body comes only once: what it does to the index is repeated instead
                return self._answer(asked)
            return self.folder.answer(lambda: self._answer(asked))
        except Refusal as refusal:
            _drain(environ)
            return text(refusal.status, refusal.reason, refusal.headers)
        except sqlite3.OperationalError as error:
            _drain(environ)
            return text(503, f"the index is busy: {error}", {"Retry-After": "1"})
        except (DwError, OSError, sqlite3.DatabaseError) as error:
            return text(500, str(error))
        except Exception:
            traceback.print_exc(file=environ.get("wsgi.errors", sys.stderr))
            return text(500, "internal error in the archive; see its log")

    def _read(self, environ: dict[str, Any]) -> Asked:
        # PATH_INFO is decoded, so that a slash within a UID would be lost.
        query = environ.get("QUERY_STRING", "")
        if len(query) > _LONGEST_QUERY:
            raise Refusal(414, f"the query is longer than {_LONGEST_QUERY} bytes")
        target = environ.get("REQUEST_URI") or environ.get("PATH_INFO", "")
        path = target.partition("?")[0]
        path = re.sub(r"^https?://[^/]*", "", path)
        host = environ.get("HTTP_HOST", "")
        if not _HOST.fullmatch(host):
            raise Refusal(400, "the Host header is missing or invalid")
        base = f"{environ.get('wsgi.url_scheme', 'http')}://{host}{self.prefix}"
        if self.prefix and not f"{path}/".startswith(f"{self.prefix}/"):
            raise Refusal(404, f"DICOMweb is at {base}")
        try:
            segments = tuple(unquote(part, errors="strict") for part in path[len(self.prefix) :].split("/") if part)
        except UnicodeDecodeError:
            raise Refusal(400, "the path is not UTF-8") from None
        accept = environ.get("HTTP_ACCEPT", "")
        for name, value in searching.pairs(query) if "accept=" in query.lower() else ():
            if name.lower() == "accept":
                accept = value
        for name, value in (("Accept", accept), ("Content-Type", environ.get("CONTENT_TYPE", ""))):
            if len(value) > _LONGEST_HEADER:
                raise Refusal(400, f"{name} is too long: at most {_LONGEST_HEADER} bytes")
        return Asked(environ["REQUEST_METHOD"], segments, query, accept, base, environ)

    def _answer(self, asked: Asked) -> Reply:
        if not asked.segments:
            if "requestType" in asked.query:
                raise Refusal(501, "this archive has no WADO-URI service; use WADO-RS")
            raise Refusal(404, f"studies are at {asked.base}/studies")
        ref, rest = _split(asked.segments)
        stores = rest == ("studies",) or (ref is not None and ref.level is Level.STUDY and not rest)
        allowed = ("GET", "HEAD", "POST") if stores else ("GET", "HEAD")
        if asked.method not in allowed:
            raise Refusal(405, f"{asked.method} is not supported here", Allow=", ".join(allowed))
        if asked.method == "POST":
            return self._receive(asked, ref.study if ref else "")
        match ref, rest:
            case None, ("studies" | "series" | "instances" as resource,):
                return self._search(asked, dict(_LEVELS)[resource], "", "")
            case refs.StudyRef(study), ("series" | "instances" as resource,):
                return self._search(asked, dict(_LEVELS)[resource], study, "")
            case refs.SeriesRef(study, series), ("instances",):
                return self._search(asked, Level.INSTANCE, study, series)
        if ref is None:
            raise Refusal(404, "resource not found")
        return self._retrieve(asked, ref, rest)

    def _retrieve(self, asked: Asked, ref: Ref, rest: tuple[str, ...]) -> Reply:
        from dwcli.archive import pixels, retrieving

        match ref, rest:
            case _, ():
                return retrieving.instances(self.folder, ref, asked.accept)
            case _, ("metadata",):
                return retrieving.metadata(self.folder, ref, asked.accept, asked.base)
            case _, ("rendered",):
                return pixels.rendered(self.folder, ref, (), asked.accept, asked.query)
            case InstanceRef(), ("frames", numbers):
                return pixels.frames(self.folder, ref, pixels.frame_numbers(numbers), asked.accept)
            case InstanceRef(), ("frames", numbers, "rendered"):
                found = pixels.frame_numbers(numbers)
                return pixels.rendered(self.folder, ref, found, asked.accept, asked.query)
            case InstanceRef(), ("bulk", *path) if path:
                return pixels.bulk(self.folder, ref, "/".join(path), asked.accept)
            case _, ("thumbnail" | "bulkdata" | "pixeldata",) | ("frames", _, "thumbnail"):
                raise Refusal(501, f"this archive has no {rest[-1]}")
        raise Refusal(404, "resource not found")

    def _search(self, asked: Asked, level: Level, study: str, series: str) -> Reply:
        answer = wants_json(asked.accept)
        wanted = searching.read(level, study, series, asked.query)
        db = self.folder.index.connection()
        headers = {}
        warnings = list(wanted.warnings)
        if wanted.limit is not None or wanted.offset:
            total = searching.count(db, wanted)
            headers["X-Total-Count"] = str(total)
            left = total - wanted.offset - (wanted.limit if wanted.limit is not None else total)
            if left > 0:
                warnings.append(f"There are {left} additional results that can be requested")
        if warnings:
            headers["Warning"] = ", ".join(f'299 {asked.base} "{words}"' for words in warnings)
        rows = searching.rows(db, wanted, asked.base, self._attributes)
        first = next(rows, None)
        if first is None:
            return Reply(204, headers=headers)
        return Reply(200, answer, array(first, self._mending(rows)), None, headers)

    def _mending(self, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The same rows. A response that has begun cannot begin again: it breaks, and the next one is whole."""
        try:
            yield from rows
        except sqlite3.Error as error:
            if is_damage(error):
                self.folder.reindex()
            raise

    def _attributes(self, path: str, tags: frozenset[str]) -> dict[str, Any]:
        from dwcli.archive import retrieving

        return retrieving.attributes(self.folder, path, tags)

    def _receive(self, asked: Asked, study: str) -> Reply:
        if not self.writable:
            raise Refusal(403, "this archive is read-only")
        answer = wants_json(asked.accept)
        environ = asked.environ
        length = environ.get("CONTENT_LENGTH") or None
        if length is None and not _is_chunked(environ):
            raise Refusal(411, "the request does not state its length")
        if length is not None and not re.fullmatch(r"\d{1,18}", length):
            raise Refusal(400, f"not a length: {length}")
        body = environ["wsgi.input"]
        kind = environ.get("CONTENT_TYPE", "")
        return self.store.store(body, int(length) if length else None, kind, study, asked.base, answer)


def _split(segments: tuple[str, ...]) -> tuple[Ref | None, tuple[str, ...]]:
    """The reference that a path begins with, and what follows it."""
    uids: list[str] = []
    for (name, _), at in zip(_LEVELS, range(0, 6, 2), strict=True):
        if len(segments) < at + 2 or segments[at] != name:
            break
        uids.append(segments[at + 1])
    return (refs.make(*uids) if uids else None), segments[2 * len(uids) :]


def _is_chunked(environ: dict[str, Any]) -> bool:
    return "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower() or bool(environ.get("wsgi.input_terminated"))


def _drain(environ: dict[str, Any]) -> None:
    """Read what is left of a refused upload: a client that is still sending would not see the response."""
    body, length = environ.get("wsgi.input"), environ.get("CONTENT_LENGTH")
    if body is None or not (length or _is_chunked(environ)):
        return
    try:
        while body.read(CHUNK):
            pass
    except (OSError, ValueError):
        pass


def open_archive(
    root: Path,
    *,
    read_only: bool = False,
    prefix: str = "",
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> Archive:
    """The archive in `root`, made where there is none; `say` hears of a damaged index. Raises DwError."""
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)  # patient data must not be readable by other users
    except OSError as error:
        raise UsageError(f"cannot use {root} as an archive: {error.strerror}") from error

    def ready(folder: Folder) -> None:
        if folder.index.is_new:
            folder.refresh(progress or _unseen)
        folder.recover()

    folder = _opened(root, root / INDEX, ready, progress, say)
    with suppress(OSError):
        (root / MARK).touch()
    return Archive(folder, writable=not read_only, prefix=prefix)


def open_folder(
    root: Path,
    index: Path,
    *,
    prefix: str = "",
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> Archive:
    """Any folder of DICOM files, read only, brought up to date with its files; its index is at `index`, elsewhere."""
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder")
    folder = _opened(root, index, lambda folder: folder.refresh(progress or _unseen), progress, say)
    return Archive(folder, writable=False, prefix=prefix)


def _opened(
    root: Path, path: Path, ready: Callable[[Folder], None], progress: Progress | None, say: Callable[[str], None]
) -> Folder:
    """A folder whose index is made `ready`; one that proves damaged is built again from the files. Raises DwError."""
    with alone(path):
        index = Index(path)
        folder = Folder(root, index, say)
        try:
            if index.was_damaged:
                folder.rebuild(progress or _unseen)
            try:
                ready(folder)
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                folder.rebuild(progress or _unseen)
                ready(folder)
        except sqlite3.Error as error:
            raise DwError(
                f"cannot use the index {path}: {error}", f"rm {path}* and try again; dw rebuilds it"
            ) from error
    return folder


def is_archive(root: Path) -> bool:
    """Whether a folder is an archive of `dw`, with its index or without."""
    return (root / MARK).is_file() or (root / INDEX).exists() or (root / f"{INDEX}.guard").exists()


def _unseen(_done: int, _total: int) -> None:
    pass
