"""Frames and bulkdata: the parts of a response, in files that get no name before the response is known to be whole.

A part is whole where a delimiter or its own length proves it, else where its content does: by its own end, or by the
size that the metadata promise. What ends early is asked for once more.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from dwcli.client import Client, Event
from dwcli.dicomweb import content, media, tags
from dwcli.dicomweb.content import End, Kind
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.dicomweb.multipart import PartData, PartEnd, PartStart, Truncated
from dwcli.dicomweb.refs import FrameRef, InstanceRef
from dwcli.errors import AbsentError, AuthError, DwError, ProtocolError, RefusedError, TemporaryError, TruncatedError
from dwcli.files.spool import Spool

PIXEL_DATA = tags.PixelData
_FRAME = r"/frames/(\d+)/?$"
_HEAD = content.HEAD
_ENDINGS = {
    Kind.JPEG: "jpg",
    Kind.JPEG_LS: "jls",
    Kind.JPEG_2000: "jp2",
    Kind.JPEG_XL: "jxl",
    Kind.PNG: "png",
    Kind.GIF: "gif",
    Kind.WEBP: "webp",
    Kind.MP4: "mp4",
    Kind.MPEG: "mpg",
    Kind.PDF: "pdf",
}
_CODED = frozenset({Kind.JPEG, Kind.JPEG_LS, Kind.JPEG_2000, Kind.JPEG_XL, Kind.MP4, Kind.MPEG})
_KINDS: Mapping[str, frozenset[Kind]] = {
    "image/jpeg": frozenset({Kind.JPEG}),
    "image/jls": frozenset({Kind.JPEG_LS}),
    "image/jp2": frozenset({Kind.JPEG_2000}),
    "image/jpx": frozenset({Kind.JPEG_2000}),
    "image/jphc": frozenset({Kind.JPEG_2000}),
    "image/jxl": frozenset({Kind.JPEG_XL}),
    "video/mpeg": frozenset({Kind.MPEG, Kind.OTHER}),
    "video/mp4": frozenset({Kind.MP4, Kind.MPEG, Kind.OTHER}),
}
"""What a frame of a compressed media type may be, by its first bytes."""


Size = Callable[[], int | None]
"""Says how many bytes are expected, None where nothing tells."""


def unknown() -> int | None:
    """No size is known."""
    return None


class Part(NamedTuple):
    """One part in a file of `size` bytes that has no name yet. `media_type` and `location` are what its head says."""

    path: Path
    size: int
    kind: Kind
    end: End
    media_type: str
    location: str

    @property
    def ending(self) -> str:
        """The ending of its file's name, without a dot; empty where its bytes are of no kind."""
        if self.kind in _ENDINGS:
            return _ENDINGS[self.kind]
        return "rle" if self.media_type.endswith("dicom-rle") else ""


class _Received(NamedTuple):
    parts: list[Part]
    error: TruncatedError | None


class Incomplete(NamedTuple):
    """A part that did not come, or not whole: its number, and why."""

    number: int
    error: DwError


class Receiver:
    """Receives the parts of responses into `spool`. `on_bytes(n)` is called for bytes as they come."""

    def __init__(self, client: Client, spool: Spool, *, on_bytes: Callable[[int], None]) -> None:
        self._client = client
        self._spool = spool
        self._on_bytes = on_bytes

    def frames(self, ref: FrameRef, transfer_syntax: str = "") -> Iterator[tuple[int, Part] | Incomplete]:
        """Each frame asked for with its number, and each one that did not come whole (PS3.18 10.4.1.1.5).

        Raises AuthError, TemporaryError, and what the server says to all of them at once.
        """
        expected = _Expected(self._client, ref.instance)
        found = _numbered(self._received(self._client.frames(ref, transfer_syntax), expected.frame), ref.frames)
        for number in ref.frames:
            try:
                part = found.get(number)
                if part is None or part.end is End.TRUNCATED:
                    part = self._frame(ref.instance, number, transfer_syntax, expected)
                _must_be_pixels(part, number, transfer_syntax, expected)
                yield number, part
            except (AuthError, TemporaryError):
                raise
            except DwError as error:
                yield Incomplete(number, error)

    def _frame(self, instance: InstanceRef, number: int, transfer_syntax: str, expected: "_Expected") -> Part:
        """One frame by itself."""
        alone = FrameRef(instance, (number,))
        received = self._received(self._client.frames(alone, transfer_syntax), expected.frame)
        part = _numbered(received, alone.frames).get(number)
        if part is None:
            raise received.error or TruncatedError("the response does not contain it")
        if part.end is End.TRUNCATED:
            raise TruncatedError("the response is truncated")
        return part

    def bulkdata(self, url: str, expected: Size = unknown) -> list[Part]:
        """The parts of one value (PS3.18 10.4.1.1.4); several where it is split into fragments.

        `expected()`: its size in bytes, as the metadata promise it. Raises TruncatedError where it does not come whole,
        asked for twice.
        """
        for last in (False, True):
            parts, error = self._received(self._client.bulkdata(url), expected)
            if error and len(parts) == 1 and parts[0].end is End.WHOLE and parts[0].size == expected():
                error = None  # it has the size that the metadata promise, though its closing boundary is missing
            if error is None and any(part.end is End.TRUNCATED for part in parts):
                error = TruncatedError("the response is truncated")
            if error is None and parts:
                return parts
            if last:
                raise error or TruncatedError("the response is empty")
        raise AssertionError

    def _received(self, events: Iterable[Event], expected: Size) -> _Received:
        """The parts of one response, and what ended it early."""
        parts: list[Part] = []
        incoming = iter(events)
        try:
            for event in incoming:
                match event:
                    case PartStart(headers):
                        parts.append(self._part(incoming, headers, expected))
                    case Truncated(reason):
                        raise TruncatedError(f"the response {reason}")
                    case _:
                        pass
        except TruncatedError as error:
            return _Received(parts, error)
        return _Received(parts, None)

    def _part(self, incoming: Iterator[Event], headers: Mapping[str, str], expected: Size) -> Part:
        path = Path(self._spool.name())
        head = b""
        size = 0
        with path.open("w+b") as file:
            for event in incoming:
                match event:
                    case PartData(data):
                        if len(head) < _HEAD:
                            head += bytes(data[: _HEAD - len(head)])
                        file.write(data)
                        size += len(data)
                        self._on_bytes(len(data))
                    case PartEnd(proven, unclosed):
                        kind = content.kind_of(head)
                        end = End.WHOLE
                        if not proven:
                            file.flush()
                            end = _end(file.fileno(), size, kind, expected)
                            if unclosed and end is End.UNPROVEN:
                                end = End.TRUNCATED
                        declared = media.parse(headers.get("content-type", "")).type
                        return Part(path, size, kind, end, declared, headers.get("content-location", ""))
                    case _:
                        reason = getattr(event, "reason", "ended inside a part")
                        raise TruncatedError(f"the response {reason}")
        raise TruncatedError("the response ended inside a part")


def _end(descriptor: int, size: int, kind: Kind, expected: Size) -> End:
    """Whether the content proves that it is whole."""
    end = content.end_of(lambda at, count: os.pread(descriptor, count, at), size, kind)
    if end is not End.UNPROVEN:
        return End.WHOLE if end is End.PLAUSIBLE else end
    due = expected()
    # An odd value is padded to an even length in a file (PS3.5 7.1.1), and some servers leave the padding out.
    return End.UNPROVEN if due is None else End.WHOLE if size in (due, due + due % 2) else End.TRUNCATED


def _numbered(received: _Received, asked: tuple[int, ...]) -> dict[int, Part]:
    """The parts by frame number: by their Content-Location (PS3.18 8.6.1.2.2), else in the order asked for.

    Without locations the order tells only where as many came as were asked for.
    """
    parts = received.parts
    located = [re.search(_FRAME, part.location.partition("?")[0]) for part in parts]
    numbers = [int(found[1]) for found in located if found]
    if parts and len(numbers) == len(parts) == len(set(numbers)) and set(numbers) <= set(asked):
        return dict(zip(numbers, parts, strict=True))
    if len(parts) > len(asked):
        raise ProtocolError(f"the server sent {len(parts)} frames instead of {len(asked)}")
    return dict(zip(asked, parts, strict=True)) if len(parts) == len(asked) and not numbers else {}


def _must_be_pixels(part: Part, number: int, transfer_syntax: str, expected: "_Expected") -> None:
    """Raise ProtocolError where the part's first bytes say that it is no frame of this transfer syntax."""
    compressed = media.compressed_type(transfer_syntax) if transfer_syntax else media.OCTETS
    if compressed in _KINDS:
        fits = part.kind in _KINDS[compressed]
    else:
        # Raw pixels may begin with anything, the signature of a file among it.
        fits = part.kind is Kind.OTHER or (part.kind in _CODED and not transfer_syntax) or part.size == expected.frame()
    if not fits:
        raise ProtocolError(
            f"the server sent {part.kind.value} instead of frame {number}",
            "dw retrieve instance REF -o DIR retrieves the whole instance",
        )


class _Expected:
    """What the metadata of an instance say of the size of its pixels; asked for once, and only where it matters."""

    def __init__(self, client: Client, instance: InstanceRef) -> None:
        self._client = client
        self._instance = instance
        self._row: Row | None = None

    def frame(self) -> int | None:
        """Bytes of one uncompressed frame; None where nothing tells."""
        return frame_size(self._metadata())

    def value(self) -> int | None:
        """Bytes of the whole uncompressed Pixel Data."""
        return pixel_data_size(self._metadata())

    def _metadata(self) -> Row:
        if self._row is None:
            try:
                self._row = next(iter(self._client.metadata(self._instance)), {})
            except (AbsentError, RefusedError, ProtocolError, TruncatedError):
                self._row = {}
        return self._row


def expected_value(client: Client, instance: InstanceRef, tag: str) -> Size:
    """The size of an attribute's value as the metadata promise it, asked for where it is needed."""
    return _Expected(client, instance).value if tag == PIXEL_DATA else unknown


def frame_size(row: Row) -> int | None:
    """Bytes of one uncompressed frame by Rows, Columns, Samples per Pixel and Bits Allocated (PS3.3 C.7.6.3).

    None where these do not tell, or where frames do not end at a byte.
    """
    try:
        rows, columns, bits = (int(text(row, tag)) for tag in (tags.Rows, tags.Columns, tags.BitsAllocated))
        samples = int(text(row, tags.SamplesPerPixel) or 1)
    except ValueError:
        return None
    if text(row, tags.PhotometricInterpretation) == "YBR_FULL_422":
        samples = 2  # two pixels share their chrominance
    total = rows * columns * samples * bits
    return total // 8 if total > 0 and total % 8 == 0 else None


def pixel_data_size(row: Row) -> int | None:
    """Bytes of the uncompressed Pixel Data of all frames; None where nothing tells."""
    one = frame_size(row)
    try:
        frames = int(text(row, tags.NumberOfFrames) or 1)
    except ValueError:
        return None
    return one * frames if one and frames > 0 else None
