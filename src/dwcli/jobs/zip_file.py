"""A study or series as one zip file: the server's own where it makes them, else made here of what streams in.

Of the promises of a retrieve one becomes stronger: the zip appears when everything that was announced is in it, or not
at all. So an instance is reported as received only once the zip has its name.
"""

import errno
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from dwcli.client import Client
from dwcli.dicomweb import refs, request, tags
from dwcli.dicomweb.dicomjson import text
from dwcli.dicomweb.refs import InstanceRef, Ref
from dwcli.errors import DwError, ExitCode, RefusedError, TruncatedError
from dwcli.files.atomic import WholeFile
from dwcli.files.draft import FolderError
from dwcli.files.sink import Sink
from dwcli.files.spool import Spool
from dwcli.jobs.result import DONE, Item, Tally
from dwcli.jobs.retrieve import Options, Retrieval

ACCEPT = "application/zip; transfer-syntax=*"
_COUNT = tags.NumberOfSeriesRelatedInstances
_BACKLOG = 8  # instances that may lie on the disk beside the zip


def retrieve(
    client: Client,
    asked: Iterable[Ref],
    target: Path,
    options: Options,
    *,
    on_bytes: Callable[[int], None],
    on_expect: Callable[[int], None],
    on_item: Callable[[], None],
) -> Iterator[Item]:
    """Everything below the references into the zip `target`; one item for each instance. Nothing is left on failure.

    `on_item()` is called for each instance. Raises UsageError where `target` cannot be a file, before anything
    is asked for.
    """
    WholeFile(target)
    found = [client.resolve(ref) for ref in asked]
    if client.dialect.zip and len(found) == 1 and not isinstance(found[0], InstanceRef):
        try:
            try:
                yield _from_server(client, found[0], target, on_bytes)
            except TruncatedError:
                yield _from_server(client, found[0], target, on_bytes)
            return
        except RefusedError as error:
            if error.status not in (400, 406, 415):
                raise
    held: list[Item] = []
    try:
        yield from _made_here(client, found, target, options, held, on_bytes, on_expect, on_item)
    except (OSError, FolderError) as error:
        raise _unwritable(target, error) from error
    yield from held


def _from_server(client: Client, ref: Ref, target: Path, on_bytes: Callable[[int], None]) -> Item:
    """The server's own zip, each member of which is read against its checksum before it gets its name."""
    expected = _announced(client, ref)
    with client.request(request.resource(client.base, ref, ACCEPT)) as response, WholeFile(target) as file:
        if response.status >= 400:
            raise response.refusal(response.read(1 << 16))
        for chunk in response.chunks():
            if not file.size and not chunk.startswith(b"PK"):
                raise RefusedError("the server sent no zip", status=406)
            file.write(chunk)
            on_bytes(len(chunk))
        count = _members(file)
        if expected is not None and count < expected:
            raise TruncatedError(f"the server's zip contains {count} of {expected} instances")
    return Item(
        "received",
        ref.study,
        ref.series,
        path=str(target),
        size=file.size,
        reason=f"{count} instance{'s' * (count != 1)} in one zip",
    )


def _members(file: WholeFile) -> int:
    """How many DICOM files are in the zip being written. Raises TruncatedError where it is not whole."""
    try:
        with zipfile.ZipFile(file.flushed()) as archive:
            if bad := archive.testzip():
                raise TruncatedError(f"the server's zip is damaged at {bad}")
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except zipfile.BadZipFile as error:
        raise TruncatedError(f"the server's zip is incomplete: {error}") from error
    return sum(not name.upper().endswith("DICOMDIR") for name in names)


def _announced(client: Client, ref: Ref) -> int | None:
    """How many instances the series lists promise; None where they do not say."""
    rows = [row for row in client.series_of(ref.study) if ref.series in ("", text(row, refs.SERIES_UID))]
    counts = [text(row, _COUNT) for row in rows]
    return sum(map(int, counts)) if counts and all(count.isdecimal() for count in counts) else None


def _made_here(
    client: Client,
    asked: list[Ref],
    target: Path,
    options: Options,
    held: list[Item],
    on_bytes: Callable[[int], None],
    on_expect: Callable[[int], None],
    on_item: Callable[[], None],
) -> Iterator[Item]:
    """A zip of what streams in; what is in it goes to `held`, what else there is to say is yielded.

    Images are compressed already, or not worth it: they are stored as they are.
    """
    tally = Tally()
    with (
        WholeFile(target) as file,
        Spool(target.parent) as spool,
        Sink(spool.folder) as sink,
    ):
        job = Retrieval(client, sink, options, on_bytes=on_bytes, on_expect=on_expect, backlog=_BACKLOG)
        with zipfile.ZipFile(file.handle, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for item in job.run(asked):
                if item.instance:
                    on_item()
                packed = _packed(archive, item, spool.folder) if item.path and item.outcome in DONE else item
                if packed is None:
                    continue
                tally.add(packed)
                if packed.path and packed.outcome in DONE:
                    held.append(packed)
                else:
                    yield packed
        if tally.codes:
            raise _incomplete(tally)


def _packed(archive: zipfile.ZipFile, item: Item, spool: Path) -> Item | None:
    """Move one file into the zip; None where an unexpected instance came again, whose file the folder has forgotten."""
    path = Path(item.path)
    name = path.relative_to(spool).as_posix()
    moved = item._replace(path=name)
    if name in archive.NameToInfo:
        there = archive.getinfo(name)
        again = not path.exists() or (there.file_size, there.CRC) == (path.stat().st_size, _checksum(path))
        path.unlink(missing_ok=True)
        words = "the zip has different content for this SOP Instance UID, which was kept"
        return None if again else moved.ended("conflict", words, ExitCode.FAILED)
    archive.write(path, name)
    path.unlink()
    return moved


def _checksum(path: Path) -> int:
    found = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            found = zlib.crc32(chunk, found)
    return found


def _incomplete(tally: Tally) -> DwError:
    """The error for a run that wrote no zip, however much arrived."""
    match tally.code:
        case ExitCode.TEMPORARY as code:
            hint = "run the same command again; it starts over"
        case ExitCode.ABSENT as code:
            hint = "dw search studies"
        case ExitCode.PARTIAL | ExitCode.FAILED:
            code, hint = ExitCode.FAILED, "use -o DIR instead of --zip to keep what arrives"
        case code:
            hint = ""
    return DwError("the zip was not written: not everything arrived", hint, code)


def _unwritable(target: Path, error: OSError | FolderError) -> DwError:
    """A disk that fails, under the name of the zip: the folder beside it is gone by now."""
    cause = error if isinstance(error, OSError) else error.__cause__
    hint = "use another path: --zip FILE"
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "free space there; the same command starts over"
    reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error)
    return DwError(f"cannot write {target}: {reason}", hint)
