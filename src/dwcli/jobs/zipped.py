"""A study or series as one zip file: the server's own where it makes them, else made here of what streams in.

Of the promises of a retrieve one becomes stronger: the zip appears when everything that was announced is in it, or not
at all.
"""

import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from dwcli.client import Client
from dwcli.dicomweb import refs, request
from dwcli.dicomweb.dicomjson import text
from dwcli.dicomweb.refs import InstanceRef, Ref, SeriesRef, StudyRef
from dwcli.errors import DwError, RefusedError, TruncatedError
from dwcli.files.sink import Sink
from dwcli.files.whole import WholeFile
from dwcli.jobs.item import Item, Tally
from dwcli.jobs.retrieve import Options, Retrieval

ACCEPT = "application/zip; transfer-syntax=*"
_COUNT = "00201209"
_BACKLOG = 8  # instances that may lie on the disk beside the zip


def retrieve(
    client: Client,
    asked: Iterable[Ref],
    target: Path,
    options: Options,
    *,
    on_bytes: Callable[[int], None],
    on_expect: Callable[[int], None],
) -> Iterator[Item]:
    """Everything below the references into the zip `target`; one item for each instance. Nothing is left on failure."""
    found = [client.resolve(ref) for ref in asked]
    if client.dialect.zip and len(found) == 1 and not isinstance(found[0], InstanceRef):
        try:
            yield _from_server(client, found[0], target, on_bytes)
            return
        except RefusedError as error:
            if error.status not in (400, 406, 415):
                raise
    yield from _made_here(client, found, target, options, on_bytes, on_expect)


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
            raise TruncatedError(f"the server's zip holds {count} of {expected} instances")
    series = ref.series if isinstance(ref, SeriesRef) else ""
    return Item("received", ref.study, series, path=str(target), size=file.size, reason=f"{count} instances in one zip")


def _members(file: WholeFile) -> int:
    """How many DICOM files are in the zip being written. Raises TruncatedError where it is not whole."""
    try:
        with zipfile.ZipFile(file.flushed()) as archive:
            if bad := archive.testzip():
                raise TruncatedError(f"the server's zip is damaged at {bad}")
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except zipfile.BadZipFile as error:
        raise TruncatedError(f"the server's zip is not whole: {error}") from error
    return sum(not name.upper().endswith("DICOMDIR") for name in names)


def _announced(client: Client, ref: Ref) -> int | None:
    """How many instances the series lists promise; None where they do not say."""
    rows = [
        row
        for row in client.series_of(ref.study)
        if isinstance(ref, StudyRef) or text(row, refs.SERIES_UID) == getattr(ref, "series", "")
    ]
    counts = [text(row, _COUNT) for row in rows]
    return sum(map(int, counts)) if counts and all(count.isdecimal() for count in counts) else None


def _made_here(
    client: Client,
    asked: list[Ref],
    target: Path,
    options: Options,
    on_bytes: Callable[[int], None],
    on_expect: Callable[[int], None],
) -> Iterator[Item]:
    """A zip of what streams in. Images are compressed already, or not worth it: they are stored as they are."""
    tally = Tally()
    with (
        tempfile.TemporaryDirectory(prefix=".dw-zip-", dir=target.parent) as spool,
        WholeFile(target) as file,
        Sink(Path(spool)) as sink,
    ):
        job = Retrieval(client, sink, options, on_bytes=on_bytes, on_expect=on_expect, backlog=_BACKLOG)
        with zipfile.ZipFile(file.handle, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for item in job.run(asked):
                tally.add(item)
                if item.outcome not in ("received", "replaced", "present", "stranger"):
                    yield item
                    continue
                path = Path(item.path)
                name = path.relative_to(spool).as_posix()
                archive.write(path, name)
                path.unlink()
                yield Item(
                    item.outcome, item.study, item.series, item.instance, name, item.size, item.reason, item.code
                )
        if tally.codes:
            raise DwError("the zip was not written: not everything came", "the same command tries again", tally.code)
