"""STOW-RS of application/dicom (PS3.18 10.5): on the disk first, then in the index, then in the response."""

import itertools
import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dwcli.archive import header, index
from dwcli.archive.folder import Folder
from dwcli.archive.index import Seen
from dwcli.archive.reply import CHUNK, Refusal, Reply, retrieve_url, whole
from dwcli.dicomweb import media, multipart, refs, tags
from dwcli.dicomweb.multipart import PartData, PartEnd, PartStart, Truncated
from dwcli.errors import DwError, ProtocolError
from dwcli.files.draft import CollisionError, Draft, Kept
from dwcli.files.sink import Sink

_PATIENCE = 3.0  # seconds; a disk under load takes one to bring a few files and a row to it
_CLOSING = "the archive is closing"
_CANNOT_UNDERSTAND, _OTHER_STUDY, _DUPLICATE, _RESOURCES = 0xC000, 0xA901, 0x0111, 0xA700
_THERE = 0xB00E  # a warning: the standard has no code for an instance that is there already, and this is Azure's
Json = dict[str, Any]


class Input(Protocol):
    """A request's body (wsgi.input)."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the end."""


@dataclass(slots=True)
class _Failure:
    """An instance that was not stored."""

    code: int
    reason: str
    sop_class: str = ""
    instance: str = ""


@dataclass(slots=True)
class _Stored:
    """An instance that is stored; `again`: its very bytes were there before."""

    head: header.Header
    again: bool


@dataclass(slots=True)
class _Received:
    """One part on the disk under a temporary name."""

    draft: Draft
    head: header.Header


@dataclass(slots=True)
class _Request:
    received: list[_Received] = field(default_factory=list)
    failures: list[_Failure] = field(default_factory=list)


class Store:
    """Stores into one folder through a Sink; safe to use from several threads."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._sink = Sink(folder.root, fsync=True)
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._users = 0
        self._closed = False

    def close(self) -> None:
        """Remove what was not kept, once no thread stores any more; each ends with the file it is at.

        Where one is stuck, its drafts stay until the process ends: the next one clears them.
        """
        with self._changed:
            self._closed = True
            if self._changed.wait_for(lambda: not self._users, _PATIENCE):
                self._sink.close()

    @contextmanager
    def _using(self) -> Iterator[None]:
        with self._changed:
            if self._closed:
                raise Refusal(503, _CLOSING)
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    def store(self, body: Input, length: int | None, content_type: str, study: str, base: str, answer: str) -> Reply:
        """Store one request's parts and say what became of each. `length`: bytes announced, None where chunked.

        Nothing is stored where the body ends early. Raises Refusal.
        """
        declared = media.parse(content_type)
        kind = media.parse(declared.params.get("type", media.DICOM)).type
        if declared.type != "multipart/related" or kind != media.DICOM:
            raise Refusal(415, f'this archive stores multipart/related; type="{media.DICOM}" only')
        if not declared.boundary:
            raise Refusal(400, "the Content-Type has no boundary")
        request = _Request()
        with self._using():
            stored = self._stored(request, declared.boundary, _chunks(body, length), study)
        return _reply(stored, request.failures, base, answer)

    def _stored(self, request: _Request, boundary: str, chunks: Iterator[bytes], study: str) -> list[_Stored]:
        try:
            self._receive(request, multipart.Reader(boundary), chunks, study)
            if not request.received and not request.failures:
                raise Refusal(400, "the request contains no part")
            return self._keep(request)
        finally:
            for received in request.received:
                received.draft.discard()

    def _receive(self, request: _Request, reader: multipart.Reader, chunks: Iterator[bytes], study: str) -> None:
        draft: Draft | None = None
        refused = False
        try:
            for chunk in chunks:
                if self._closed:
                    raise Refusal(503, _CLOSING)
                for event in reader.feed(chunk):
                    match event:
                        case PartStart(headers):
                            sent_as = media.parse(headers.get("content-type", media.DICOM)).type
                            refused = sent_as != media.DICOM
                            if refused:
                                request.failures.append(_Failure(_CANNOT_UNDERSTAND, f"a part is {sent_as}"))
                            else:
                                draft = self._sink.open()
                        case PartData(data) if draft:
                            draft.write(data)
                        case PartEnd() if draft:
                            self._finish(request, draft, study)
                            draft = None
                        case _:
                            pass
            for event in reader.finish(early=True):
                match event:
                    case Truncated(reason):
                        raise Refusal(400, f"the upload {reason}: nothing was stored")
                    case PartData(data) if draft:
                        draft.write(data)
                    case PartEnd() if draft:
                        self._finish(request, draft, study)
                        draft = None
                    case _:
                        pass
        except ProtocolError as error:
            raise Refusal(400, f"the upload cannot be read: {error.message}") from error
        except DwError as error:
            raise Refusal(507, error.message) from error
        finally:
            if draft:
                draft.discard()

    def _finish(self, request: _Request, draft: Draft, study: str) -> None:
        """A part is whole: on the disk, and fit to be kept or not."""
        try:
            head = header.read(draft.seal())
        except (ProtocolError, OSError) as error:
            known = draft.head
            draft.discard()
            names = (known.sop_class, known.instance) if known else ("", "")
            reason = error.message if isinstance(error, ProtocolError) else str(error)
            request.failures.append(_Failure(_CANNOT_UNDERSTAND, reason, *names))
            return
        if study and head.study != study:
            draft.discard()
            reason = f"it belongs to study {head.study}"
            request.failures.append(_Failure(_OTHER_STUDY, reason, head.sop_class, head.instance))
            return
        request.received.append(_Received(draft, head))

    def _keep(self, request: _Request) -> list[_Stored]:
        """Name the received files, then index them; what the response lists has both."""
        if not request.received:
            return []
        folders = {self._place(received.head).parent.as_posix() for received in request.received}
        # One note a request: another one may still be writing into the same folder.
        run = f"{self._folder.index.run}.{next(self._numbers)}"
        # A kill between a file's name and its row leaves this note: the next process looks there.
        notes = [(folder, run, os.getpid()) for folder in folders]

        def announce(db: sqlite3.Connection) -> None:
            db.executemany("INSERT OR REPLACE INTO pending VALUES (?, ?, ?)", notes)

        self._folder.write(announce)
        stored, seen = [], []
        for received in request.received:
            head = received.head
            names = head.sop_class, head.instance
            if self._closed:
                request.failures.append(_Failure(_RESOURCES, _CLOSING, *names))
                continue
            try:
                kept = received.draft.keep((head.study, head.series, head.instance))
            except CollisionError as error:
                request.failures.append(_Failure(_CANNOT_UNDERSTAND, error.message, *names))
            except DwError as error:
                request.failures.append(_Failure(_RESOURCES, error.message, *names))
            else:
                if kept.outcome == "conflict":
                    reason = "different content is stored under this UID"
                    request.failures.append(_Failure(_DUPLICATE, reason, *names))
                    continue
                stored.append(_Stored(head, kept.outcome == "same"))
                seen.append(self._seen(kept, head))
        for folder in folders:
            _sync(self._folder.root, folder)

        def note(db: sqlite3.Connection) -> None:
            index.add(db, seen)
            db.executemany("DELETE FROM pending WHERE folder = ? AND run = ?", [(folder, run) for folder in folders])

        self._folder.write(note)
        return stored

    def _place(self, head: header.Header) -> Path:
        values = {"StudyInstanceUID": head.study, "SeriesInstanceUID": head.series, "SOPInstanceUID": head.instance}
        return Path(self._sink.layout.relative(values))

    def _seen(self, kept: Kept, head: header.Header) -> Seen:
        path = Path(kept.path)
        status = path.stat()
        return Seen(path.relative_to(self._sink.root).as_posix(), status.st_size, status.st_mtime_ns, head)


def _chunks(body: Input, length: int | None) -> Iterator[bytes]:
    """The body as it comes. Raises Refusal 400 where it ends before its announced length."""
    left = length
    while left is None or left > 0:
        chunk = body.read(CHUNK if left is None else min(CHUNK, left))
        if not chunk:
            break
        if left is not None:
            left -= len(chunk)
        yield chunk
    if left:
        raise Refusal(400, f"the upload ended {left} bytes early: nothing was stored")


def _sync(root: Path, folder: str) -> None:
    """Bring the names in a folder, and those of the folder itself, to the disk."""
    if os.name != "posix":
        return
    path = root / folder
    for one in (path, path.parent, root):
        try:
            fd = os.open(one, os.O_RDONLY)
        except OSError:
            continue
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _reply(stored: list[_Stored], failures: list[_Failure], base: str, answer: str) -> Reply:
    """The store response (PS3.18 10.5.3, annex I)."""
    found: Json = {}
    studies = {one.head.study for one in stored}
    if len(studies) == 1:
        found |= retrieve_url(base, refs.StudyRef(*studies))
    named = [_failed(one) for one in failures if one.instance]
    unnamed = [_failed(one) for one in failures if not one.instance]
    if named:
        found[tags.FailedSOPSequence] = {"vr": "SQ", "Value": named}
    if stored:
        found[tags.ReferencedSOPSequence] = {"vr": "SQ", "Value": [_stored(one, base) for one in stored]}
    if unnamed:
        found[tags.OtherFailuresSequence] = {"vr": "SQ", "Value": unnamed}
    remarked = failures or any(one.again for one in stored)
    status = 200 if not remarked else 202 if stored else 409
    return whole(status, answer, json.dumps(found, ensure_ascii=False).encode())


def _stored(one: _Stored, base: str) -> Json:
    head = one.head
    made: Json = {
        tags.ReferencedSOPClassUID: {"vr": "UI", "Value": [head.sop_class]},
        tags.ReferencedSOPInstanceUID: {"vr": "UI", "Value": [head.instance]},
        **retrieve_url(base, refs.InstanceRef(head.study, head.series, head.instance)),
    }
    if one.again:
        made[tags.WarningReason] = {"vr": "US", "Value": [_THERE]}
    return made


def _failed(failure: _Failure) -> Json:
    made: Json = {
        tags.ErrorComment: {"vr": "LO", "Value": [failure.reason[:64]]},
        tags.FailureReason: {"vr": "US", "Value": [failure.code]},
    }
    if failure.instance:
        made[tags.ReferencedSOPClassUID] = (
            {"vr": "UI", "Value": [failure.sop_class]} if failure.sop_class else {"vr": "UI"}
        )
        made[tags.ReferencedSOPInstanceUID] = {"vr": "UI", "Value": [failure.instance]}
    return made
