"""One frame of a DICOM instance: its header and its stored samples, decoded and checked."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from dwcli.errors import DwError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
_ONE_SAMPLE = GREY | {"PALETTE COLOR"}
_THREE_SAMPLES = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
_JPEG = "1.2.840.10008.1.2.4.50"
_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
_JPEG_2000 = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 92, 93, 201, 202, 203))
_RLE = "1.2.840.10008.1.2.5"
_FAMILIES_OF_VIDEO = ("MPEG", "HEVC")
_ALL_FAILED = "Unable to decode as exceptions were raised by all available plugins:"
_INSTALL = 'pip install "pylibjpeg[all]" (or python-gdcm) into the environment of dw'
_READ_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


@contextmanager
def opened(source: Path | bytes) -> Iterator[BinaryIO]:
    """The instance as a seekable stream, to be worked on inside the `with`.

    `DwError` when the file cannot be opened, and for a header value that turns out not to be one: values are
    parsed when they are first asked for.
    """
    try:
        stream = BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    except OSError as error:
        raise DwError(f"cannot read {source!s}: {error.strerror}") from error
    with stream, warnings.catch_warnings():
        # pydicom warns about odd values in other people's files; none of that is for the user's stderr
        warnings.simplefilter("ignore")
        try:
            yield stream
        except ValueError as error:
            raise _unreadable("a value in the header is not valid", error) from error


def read_header(stream: BinaryIO) -> "Dataset":
    """Everything before the pixel data; leaves `stream` at the pixel data element.

    The header's `file_meta` always names a transfer syntax afterwards. `DwError` when the bytes are not DICOM
    or hold no pixel data (documents, reports, waveforms, plans): it says what they are and what else can be
    done.
    """
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        try:
            header: Dataset = dcmread(stream, stop_before_pixels=True)
        except InvalidDicomError:
            stream.seek(0)
            header = dcmread(stream, stop_before_pixels=True, force=True)
            if "SOPClassUID" not in header:
                raise DwError("not a DICOM file: nothing to render") from None
        if "TransferSyntaxUID" not in header.file_meta:
            header.file_meta.TransferSyntaxUID = _guessed_syntax(header)
    except _READ_ERRORS as error:
        raise _unreadable("the header cannot be read", error) from error
    if _is_deflated(header):
        header = _inflated(stream)
    if not _has_pixels(stream, header):
        raise _without_pixels(header)
    return header


def count(header: "Dataset") -> int:
    """Frames, 1 where nothing is said (PS3.3 C.7.6.6); `DwError` when it is not a number."""
    try:
        return max(1, int(header.get("NumberOfFrames") or 1))
    except (TypeError, ValueError) as error:
        raise _unreadable("Number of Frames is not a number", error) from error


def decode(stream: BinaryIO, header: "Dataset", number: int) -> "NDArray[np.generic]":
    """The stored samples of frame `number` (1-based): (rows, columns), or (rows, columns, 3) as RGB.

    `stream` stands where `read_header` left it; only the one frame is decoded. Unused bits are masked out,
    signs extended, planes interleaved, every colour space turned into RGB (PS3.3 C.7.6.3.1.2, PS3.5 8.2).
    `UsageError` for a frame that is not there; `DwError` for pixel data that cannot be decoded here, naming
    the transfer syntax and what to install, and for a photometric interpretation that is not known.
    """
    total = count(header)
    if not 1 <= number <= total:
        frames = "1 frame" if total == 1 else f"{total} frames"
        raise UsageError(f"frame {number} is not there: the instance has {frames}", hint="--frame counts from 1")
    photometric = _photometric(header)
    syntax: UID = header.file_meta.TransferSyntaxUID
    _refuse_undecodable(syntax)
    try:
        plain = not syntax.is_encapsulated and not _is_deflated(header)
        if plain:
            _check_length(stream, header, photometric)
        if syntax in (_JPEG, _JPEG_EXTENDED) and photometric in _THREE_SAMPLES:
            samples = _decode_colour_jpeg(stream, header, number - 1, photometric)
        elif plain and header.BitsAllocated == 1 and photometric in _ONE_SAMPLE:
            samples = _decode_bits(stream, header, number - 1)
        else:
            samples = _decode_any(stream, header, number - 1)
    except _READ_ERRORS as error:
        raise _undecodable(header, number, error) from error
    expected = (int(header.Rows), int(header.Columns)) + ((3,) if photometric in _THREE_SAMPLES else ())
    if samples.shape != expected:
        raise DwError(f"frame {number} decodes to {samples.shape}, but the header says {expected}")
    return samples


def attribute(header: "Dataset", number: int, keyword: str, macro: str) -> Any:
    """An attribute's value for frame `number`, None where it is absent or empty.

    Looked for in the `macro` sequence of the frame's own functional group, then of the shared one, then at
    the top level, as enhanced and classic objects have it (PS3.3 C.7.6.16).
    """
    item = macro_item(header, number, keyword, macro)
    return None if item is None else item.get(keyword)


def macro_item(header: "Dataset", number: int, keyword: str, macro: str) -> "Dataset | None":
    """The data set that says `keyword` for frame `number`: see `attribute`."""
    groups: list[Any] = []
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    if number <= len(per_frame):
        groups.append(per_frame[number - 1])
    groups.extend((header.get("SharedFunctionalGroupsSequence") or [])[:1])
    for group in groups:
        for item in (group.get(macro) or [])[:1]:
            if _filled(item, keyword):
                found: Dataset = item
                return found
    return header if _filled(header, keyword) else None


def numbers(value: Any) -> list[float]:
    """The numbers of a value that may be absent, single or multiple; `DwError` when one is not a number."""
    if value is None or value == "":
        return []
    try:
        if isinstance(value, (str, int, float)):
            return [float(value)]
        return [float(one) for one in value]
    except (TypeError, ValueError) as error:
        raise _unreadable("a number in the header is not one", error) from error


def _filled(dataset: "Dataset", keyword: str) -> bool:
    value = dataset.get(keyword)
    if value is None or value == "":
        return False
    return not hasattr(value, "__len__") or len(value) > 0


def _guessed_syntax(header: "Dataset") -> "UID":
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    match header.original_encoding:
        case (False, False):
            return ExplicitVRBigEndian
        case (False, True):
            return ExplicitVRLittleEndian
        case _:
            return ImplicitVRLittleEndian


def _is_deflated(header: "Dataset") -> bool:
    return bool(header.file_meta.TransferSyntaxUID.is_deflated)


def _inflated(stream: BinaryIO) -> "Dataset":
    # a deflated data set has no position in the file to decode a frame from: it is read whole
    from pydicom import dcmread

    stream.seek(0)
    return dcmread(stream)


def _has_pixels(stream: BinaryIO, header: "Dataset") -> bool:
    if _is_deflated(header):
        return any(name in header for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))
    at = stream.tell()
    tag = stream.read(4)
    stream.seek(at)
    little = header.file_meta.TransferSyntaxUID.is_little_endian
    group = int.from_bytes(tag[:2], "little" if little else "big")
    return len(tag) == 4 and group == 0x7FE0


def _photometric(header: "Dataset") -> str:
    photometric = str(header.get("PhotometricInterpretation") or "")
    samples = header.get("SamplesPerPixel")
    wanted = 1 if photometric in _ONE_SAMPLE else 3 if photometric in _THREE_SAMPLES else None
    if wanted is None:
        name = photometric or "none"
        raise DwError(
            f"cannot render pixels of photometric interpretation {name}",
            hint="known: " + ", ".join(sorted(_ONE_SAMPLE | _THREE_SAMPLES)),
        )
    if samples != wanted:
        raise DwError(f"the header contradicts itself: {photometric} with {samples} samples per pixel")
    if photometric in GREY and str(header.get("PixelPresentation") or "") in (
        "COLOR",
        "MIXED",
        "COLOR_RANGE",
    ):
        raise DwError("cannot render grey and colour mixed in one frame (supplemental palette, PS3.3 C.8.16.2)")
    if photometric in ("YBR_ICT", "YBR_RCT") and header.file_meta.TransferSyntaxUID not in _JPEG_2000:
        syntax = header.file_meta.TransferSyntaxUID.name
        raise DwError(f"the header contradicts itself: {photometric} with transfer syntax {syntax}")
    return photometric


def _decode_any(stream: BinaryIO, header: "Dataset", index: int) -> "NDArray[np.generic]":
    from pydicom.pixels.utils import pixel_array

    syntax: UID = header.file_meta.TransferSyntaxUID
    # pydicom's own mask takes HighBit = BitsStored - 1 for granted
    ours = not syntax.is_encapsulated or syntax == _RLE
    source: Any = header if _is_deflated(header) else stream
    options: dict[str, Any] = {"correct_unused_bits": not ours}
    if source is stream:
        options["transfer_syntax_uid"] = syntax
    samples: NDArray[np.generic] = pixel_array(source, index=index, **options)
    samples = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    if not ours or samples.dtype.kind not in "iu" or header.BitsAllocated == 1:
        return samples
    allocated, stored = int(header.BitsAllocated), int(header.BitsStored)
    high = int(header.get("HighBit", stored - 1))
    if not 0 < stored <= high + 1 <= allocated:
        raise ValueError(f"Bits Allocated {allocated}, Bits Stored {stored}, High Bit {high} cannot be")
    if allocated == stored:
        return samples
    bits: NDArray[np.integer[Any]] = samples.view(samples.dtype)
    return (bits << (allocated - 1 - high)) >> (allocated - stored)


def _check_length(stream: BinaryIO, header: "Dataset", photometric: str) -> None:
    """`ValueError` when native pixel data is not as long as its header says: it would be cut up wrongly."""
    pixels = count(header) * int(header.Rows) * int(header.Columns)
    # two pixels of YBR_FULL_422 share their chrominance (PS3.3 C.7.6.3.1.2)
    halves = 4 if photometric == "YBR_FULL_422" else 2 * int(header.SamplesPerPixel)
    expected = (pixels * halves // 2 * int(header.BitsAllocated) + 7) // 8
    _, length, _ = _value(stream, header)
    if length < expected:
        raise ValueError(f"{length} bytes where the header asks for {expected}")
    if photometric == "YBR_FULL_422" and length >= expected // 2 * 3:
        raise ValueError(f"{length} bytes are too many for YBR_FULL_422, which takes {expected}")


def _value(stream: BinaryIO, header: "Dataset") -> tuple[int, int, str]:
    """Offset, length and VR ("" where implicit) of the pixel data element that `stream` stands at."""
    syntax: UID = header.file_meta.TransferSyntaxUID
    order: Literal["little", "big"] = "little" if syntax.is_little_endian else "big"
    at = stream.tell()
    head = stream.read(12)
    stream.seek(at)
    if syntax.is_implicit_VR:
        return at + 8, int.from_bytes(head[4:8], order), ""
    return at + 12, int.from_bytes(head[8:12], order), head[4:6].decode("ascii", "replace")


def _decode_bits(stream: BinaryIO, header: "Dataset", index: int) -> "NDArray[np.generic]":
    # pydicom 3.0 loses the end of a frame that neither starts nor ends on a byte (PS3.5 8.1.1, 8.2)
    import numpy as np

    rows, columns = int(header.Rows), int(header.Columns)
    offset, _, vr = _value(stream, header)
    first = index * rows * columns
    start, end = first // 16 * 2, (first + rows * columns + 15) // 16 * 2
    stream.seek(offset + start)
    packed = np.frombuffer(stream.read(end - start), np.uint8)
    if vr == "OW" and not header.file_meta.TransferSyntaxUID.is_little_endian:
        packed = packed[: len(packed) & ~1].reshape(-1, 2)[:, ::-1].reshape(-1)
    bits = np.unpackbits(packed, bitorder="little")[first - start * 8 :]
    if len(bits) < rows * columns:
        raise ValueError(f"{len(bits)} bits where the header asks for {rows * columns}")
    return bits[: rows * columns].reshape(rows, columns)


def _decode_colour_jpeg(stream: BinaryIO, header: "Dataset", index: int, photometric: str) -> "NDArray[np.generic]":
    # pydicom 3.0 converts a second time what libjpeg already turned into RGB because of an Adobe marker:
    # wrong colours without a word. The codestream's own markers decide, the header only where there are none.
    import numpy as np
    from PIL import Image
    from pydicom.encaps import get_frame

    offset, _, _ = _value(stream, header)
    stream.seek(offset)
    offsets = header.get("ExtendedOffsetTable"), header.get("ExtendedOffsetTableLengths")
    codestream = get_frame(
        stream,
        index,
        number_of_frames=count(header),
        extended_offsets=offsets if all(offsets) else None,
    )
    with Image.open(BytesIO(codestream), formats=("JPEG",)) as image:
        identifiers = [layer[0] for layer in getattr(image, "layer", [])]
        marked = "adobe" in image.info or "jfif" in image.info or identifiers in ([82, 71, 66], [114, 103, 98])
        if photometric == "RGB" and not marked:
            image.draft("YCbCr", image.size)
            return np.asarray(image)
        if image.mode != "RGB":
            raise ValueError(f"the JPEG has {len(identifiers)} components ({image.mode})")
        return np.asarray(image)


def _refuse_undecodable(syntax: "UID") -> None:
    from pydicom.pixels.decoders.base import get_decoder

    if any(family in syntax.name for family in _FAMILIES_OF_VIDEO):
        raise DwError(
            f"cannot render video ({syntax.name}, {syntax})",
            hint="dw retrieve instance REF -o DIR fetches the file; a video player reads the stream inside",
        )
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise DwError(f"cannot decode transfer syntax {syntax.name} ({syntax})") from None
    if not decoder.is_available:
        raise DwError(f"cannot decode {syntax.name} ({syntax}) without another package", hint=_INSTALL)


def _undecodable(header: "Dataset", number: int, error: Exception) -> DwError:
    syntax: UID = header.file_meta.TransferSyntaxUID
    reason = " ".join(str(error).removeprefix(_ALL_FAILED).split())
    if isinstance(error, RuntimeError) and syntax.is_encapsulated:
        return DwError(f"cannot decode frame {number}, {syntax.name} ({syntax}): {reason}", hint=_INSTALL)
    return DwError(f"the pixel data of frame {number} is damaged or incomplete ({syntax.name}): {reason}")


def _unreadable(what: str, error: Exception) -> DwError:
    return DwError(f"{what}: {' '.join(str(error).split()) or type(error).__name__}")


def _without_pixels(header: "Dataset") -> DwError:
    if "EncapsulatedDocument" in header:
        kind = str(header.get("MIMETypeOfEncapsulatedDocument") or "document")
        return DwError(
            f"the instance is an encapsulated document ({kind}): it has no pixels to render",
            hint="dw retrieve bulkdata REF EncapsulatedDocument -o FILE writes the document",
        )
    if "DirectoryRecordSequence" in header:
        return DwError("a DICOMDIR lists images and holds none", hint="render one of the files it names")
    fetch = "dw retrieve instance REF -o DIR fetches the file"
    if "WaveformSequence" in header:
        return DwError("the instance is a waveform: it has no pixels to render", hint=fetch)
    if "ContentSequence" in header:
        return DwError(
            "the instance is a structured report: it has no pixels to render",
            hint="dw metadata instance REF shows its content",
        )
    name = header.get("SOPClassUID")
    kind = getattr(name, "name", "") or str(header.get("Modality") or "") or "of unknown kind"
    return DwError(
        f"the instance ({kind}) has no pixels to render",
        hint=f"dw metadata instance REF shows what is in it; {fetch}",
    )
