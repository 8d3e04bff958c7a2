"""`dw retrieve frames` and `dw retrieve bulkdata`: parts of one instance to files."""

from collections.abc import Iterator
from pathlib import Path

from dwcli.client import Event, Opened
from dwcli.commands import references
from dwcli.context import DwContext
from dwcli.dicomweb import dictionary, media, refs
from dwcli.dicomweb.multipart import PartData, PartEnd, PartStart
from dwcli.dicomweb.refs import FrameRef
from dwcli.dicomweb.request import rebase
from dwcli.errors import TruncatedError, UsageError
from dwcli.files.whole import WholeFile
from dwcli.output import size

_ENDINGS = {
    "image/jpeg": "jpg",
    "image/dicom+jpeg": "jpg",
    "image/jls": "jls",
    "image/jp2": "jp2",
    "image/jpx": "jpx",
    "image/jphc": "jphc",
    "image/dicom-rle": "rle",
    "image/png": "png",
    "image/gif": "gif",
    "video/mp4": "mp4",
    "video/mpeg": "mpg",
    "application/pdf": "pdf",
}


def frames(dw: DwContext, words: list[str], output: Path | None, transfer_syntax: str) -> None:
    """`REF LIST`: each frame into a file of its own. Raises UsageError, TruncatedError."""
    if len(words) != 2:
        raise UsageError(
            "frames takes a reference and a list", "dw retrieve frames STUDY/SERIES/INSTANCE 1,3-5 -o frames/"
        )
    ref = FrameRef(references.one_instance(dw, words[0]), refs.parse_frames(words[1]))
    folder = output or Path()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {folder}: {error.strerror}", "-o DIR") from error
    numbers = iter(ref.frames)
    stem = refs.word(ref.instance.instance)
    written = 0
    with dw.out.progress("retrieving", total_items=len(ref.frames)) as progress:
        for part in _parts(dw.client.frames(ref, transfer_syntax)):
            number = next(numbers, None)
            if number is None:
                raise UsageError("the server sent more frames than were asked for; the last ones are not kept")
            path = folder / f"{stem}.frame{number:04d}.{_ending(part.kind, 'raw')}"
            with WholeFile(path) as file:
                for chunk in part.chunks():
                    file.write(chunk)
                    progress.add(len(chunk))
            progress.item()
            written += 1
            dw.out.line(str(path))
    if written < len(ref.frames):
        raise TruncatedError(f"{written} of {len(ref.frames)} frames came", "the same command fetches them again")
    dw.out.info(f"{written} frame{'s' * (written > 1)} in {folder}")


def bulkdata(dw: DwContext, words: list[str], output: Path | None) -> None:
    """`REF TAG` or `URI`: one value into a file, or to stdout. Raises UsageError, TruncatedError, AbsentError."""
    if not 1 <= len(words) <= 2:
        raise UsageError(
            "bulkdata takes a reference and a tag",
            "dw retrieve bulkdata STUDY/SERIES/INSTANCE 7FE00010 -o pixels.bin",
        )
    if output is None and dw.out.terminal:
        raise UsageError("bulk data is binary and would spoil the terminal", "-o FILE, or a pipe")
    base = dw.profile.url
    if refs.origin(words[-1]):
        url = rebase(words[-1], base, f"{base}/")
    elif len(words) == 2:
        url = dw.client.bulkdata_url(references.one_instance(dw, words[0]), dictionary.parse_tag(words[1]))
    else:
        raise UsageError("which value?", "a tag such as 7FE00010 after the reference, or a BulkDataURI alone")
    count = 0
    with dw.out.progress("retrieving") as progress:
        for part in _parts(dw.client.bulkdata(url)):
            count += 1
            if count > 1:
                raise UsageError("the answer has more than one part", f"dw request GET {url} -o FILE keeps it whole")
            if output is None:
                for chunk in part.chunks():
                    dw.out.write(chunk)
                continue
            with WholeFile(output) as file:
                for chunk in part.chunks():
                    file.write(chunk)
                    progress.add(len(chunk))
    if not count:
        raise TruncatedError("the answer is empty")
    if output:
        dw.out.info(f"{output}: {size(file.size)}")


class _Part:
    """One part of an answer; `chunks` must be read to its end, and raises where the part is not whole."""

    def __init__(self, kind: str, events: Iterator[Event]) -> None:
        self.kind = kind
        self._events = events

    def chunks(self) -> Iterator[bytes]:
        for event in self._events:
            match event:
                case PartData(data):
                    yield bytes(data)
                case PartEnd():
                    return
                case _:
                    raise TruncatedError(f"the answer is not complete: {getattr(event, 'reason', '')}")
        raise TruncatedError("the answer ended inside a part")


def _parts(events: Iterator[Event]) -> Iterator[_Part]:
    kind = ""
    for event in events:
        match event:
            case Opened():
                pass
            case PartStart(headers):
                kind = media.parse(headers.get("content-type", "")).type
                yield _Part(kind, events)
            case _:
                raise TruncatedError(f"the answer is not complete: {getattr(event, 'reason', '')}")


def _ending(kind: str, otherwise: str) -> str:
    return _ENDINGS.get(kind, otherwise)
