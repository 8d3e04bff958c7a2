"""One frame of a DICOM instance: its header and its stored samples, decoded and checked."""

import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple

from dwcli.dicomweb.part10 import BIG_ENDIAN, DEFLATED
from dwcli.errors import DwError, UsageError
from dwcli.imaging.codestream import Codestream, jpeg, jpeg_2000
from dwcli.imaging.reading import read, syntax_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

PIXELS = {0x7FE00008: "OF", 0x7FE00009: "OD", 0x7FE00010: "OW"}
UNCOMPRESSED = DEFLATED | {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG_ENDIAN}
_UNDEFINED = 0xFFFFFFFF
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
    zlib.error,
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
        except _READ_ERRORS as error:
            raise _unreadable("a value in the header is not valid", error) from error


def read_header(stream: BinaryIO) -> "Dataset":
    """Everything before the pixel data; leaves `stream` at the pixel data element.

    The header's `file_meta` always names a transfer syntax afterwards. `DwError` when the bytes are not DICOM
    or hold no pixel data (documents, reports, waveforms, plans): it says what they are and what else can be
    done.
    """
    from pydicom.uid import UID

    try:
        header: Dataset = read(stream)
        if _is_deflated(header):
            # it has no position in the file to decode a frame from: it is read whole
            stream.seek(0)
            header = read(stream, pixels=True)
        header.file_meta.TransferSyntaxUID = UID(syntax_of(header))
    except _READ_ERRORS as error:
        raise _unreadable("the header cannot be read", error) from error
    if getattr(header, "preamble", None) is None and "SOPClassUID" not in header:
        raise DwError("not a DICOM file: nothing to render")
    if not _has_pixels(stream, header):
        raise _without_pixels(header)
    return header


def count(header: "Dataset") -> int:
    """Frames, 1 where nothing is said (PS3.3 C.7.6.6); `DwError` when it is not a number."""
    try:
        return max(1, int(header.get("NumberOfFrames") or 1))
    except (TypeError, ValueError) as error:
        raise _unreadable("Number of Frames is not a number", error) from error


class Cells(NamedTuple):
    """The cells of one frame, (rows, columns) or (rows, columns, samples), each all of Bits Allocated as it is stored
    or as its codec gave it; `photometric`: the photometric interpretation that they are in (shared chrominance comes
    once for each pixel).
    """

    samples: "NDArray[np.generic]"
    photometric: str


def cells(stream: BinaryIO, header: "Dataset", number: int) -> Cells:
    """The cells of frame `number` (1-based), bit for bit: nothing is shifted, masked or extended (PS3.5 8.1.1).

    `stream` stands where `read_header` left it; only the one frame is decoded. Samples are unsigned integers, or
    floating point. Lossy JPEG of three components comes as RGB, as its own markers say.
    `UsageError` for a frame that is not there; `DwError` for pixel data that cannot be decoded here, naming
    the transfer syntax and what to install.
    """
    total = count(header)
    if not 1 <= number <= total:
        frames = "1 frame" if total == 1 else f"{total} frames"
        raise UsageError(f"frame {number} does not exist: the instance has {frames}", hint="--frame counts from 1")
    _refuse_undecodable(header.file_meta.TransferSyntaxUID)
    try:
        if is_compressed(header):
            found = _decompressed(stream, header, number - 1)
        else:
            photometric = str(header.get("PhotometricInterpretation") or "")
            whole = "YBR_FULL" if photometric == "YBR_FULL_422" else photometric
            found = Cells(_plain(stream, header, number - 1), whole)
    except _READ_ERRORS as error:
        raise _undecodable(header, number, error) from error
    samples = int(header.get("SamplesPerPixel") or 1)
    expected = (int(header.Rows), int(header.Columns)) + ((samples,) if samples > 1 else ())
    if found.samples.shape != expected:
        raise DwError(f"frame {number} decodes to {found.samples.shape}, but the header says {expected}")
    return found


def decode(stream: BinaryIO, header: "Dataset", number: int) -> "NDArray[np.generic]":
    """The samples of frame `number` (1-based) for display: (rows, columns), or (rows, columns, 3) as RGB.

    As `cells`, but unused bits are masked out, signs extended, every colour space turned into RGB (PS3.3
    C.7.6.3.1.2, PS3.5 8.2). `DwError` also for a photometric interpretation that is not known.
    """
    _photometric(header)
    found = cells(stream, header, number)
    try:
        samples = _values(found.samples, header)
        if found.photometric == "YBR_FULL":
            samples = _to_rgb(samples, int(header.BitsStored))
    except _READ_ERRORS as error:
        raise _undecodable(header, number, error) from error
    return samples


def codestream(stream: BinaryIO, header: "Dataset", number: int) -> bytes:
    """Frame `number` (1-based) of compressed pixel data as it is stored. `DwError` where it cannot be found."""
    from pydicom.encaps import get_frame

    stream.seek(element(stream, header)[2])
    try:
        return get_frame(stream, number - 1, number_of_frames=count(header), extended_offsets=_offsets(header))
    except _READ_ERRORS as error:
        raise DwError(f"frame {number} cannot be found in the file: {error}") from error


def _offsets(header: "Dataset") -> tuple[bytes, bytes] | None:
    offsets = header.get("ExtendedOffsetTable"), header.get("ExtendedOffsetTableLengths")
    return offsets if all(offsets) else None


def is_compressed(header: "Dataset") -> bool:
    """Whether each frame is compressed for itself."""
    return syntax_of(header) not in UNCOMPRESSED


def element(stream: BinaryIO, header: "Dataset") -> tuple[int, str, int, int]:
    """Tag, VR, offset and length of the pixel data element that `stream` stands at; it stands there afterwards.

    Raises DwError for another element, and where the length does not go with the transfer syntax.
    """
    order: Literal["little", "big"] = "little" if header.original_encoding[1] else "big"
    at = stream.tell()
    head = stream.read(12)
    stream.seek(at)
    tag = int.from_bytes(head[:2], order) << 16 | int.from_bytes(head[2:4], order)
    if tag not in PIXELS:
        raise DwError(f"an element {tag:08X} is where the pixel data should be")
    if header.original_encoding[0]:
        vr, offset, length = PIXELS[tag], at + 8, int.from_bytes(head[4:8], order)
    else:
        vr, offset, length = head[4:6].decode("ascii", "replace"), at + 12, int.from_bytes(head[8:12], order)
    undefined = length == _UNDEFINED
    if undefined != is_compressed(header):
        syntax: UID = header.file_meta.TransferSyntaxUID
        wrong = "undefined length, which only compressed pixel data has" if undefined else "no fragments"
        raise DwError(
            f"Pixel Data ({tag >> 16:04X},{tag & 0xFFFF:04X}) has {wrong}: the transfer syntax is {syntax.name}"
        )
    return tag, vr, offset, length


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
        raise _unreadable("a numeric value in the header is not a number", error) from error


def _filled(dataset: "Dataset", keyword: str) -> bool:
    value = dataset.get(keyword)
    if value is None or value == "":
        return False
    return not hasattr(value, "__len__") or len(value) > 0


def _is_deflated(header: "Dataset") -> bool:
    return syntax_of(header) in DEFLATED


def _has_pixels(stream: BinaryIO, header: "Dataset") -> bool:
    if _is_deflated(header):
        return any(tag in header for tag in PIXELS)
    at = stream.tell()
    tag = stream.read(4)
    stream.seek(at)
    group = int.from_bytes(tag[:2], "little" if header.original_encoding[1] else "big")
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


def _decompressed(stream: BinaryIO, header: "Dataset", index: int) -> Cells:
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder

    syntax: UID = header.file_meta.TransferSyntaxUID
    samples, allocated = int(header.get("SamplesPerPixel") or 1), int(header.BitsAllocated)
    source: Any = stream
    data, where = b"", {"number_of_frames": count(header), "extended_offsets": _offsets(header)}
    if syntax == _RLE:
        # It says nothing of itself, and can be large: it is left where it is.
        stream.seek(element(stream, header)[2])
        found = Codestream(allocated, False, samples, "")
    else:
        data = codestream(stream, header, index + 1)
        source, index, where = encapsulate([data], has_bot=False), 0, {"number_of_frames": 1}
        found = jpeg_2000(data) if syntax in _JPEG_2000 else jpeg(data)
    if found.components != samples:
        raise ValueError(f"the codestream has {found.components} components, the header says {samples}")
    width = allocated if syntax == _RLE else next(width for width in (8, 16, 32, 64) if found.bits <= width)
    if width > max(8, allocated):
        raise ValueError(f"samples of {found.bits} bits do not fit Bits Allocated {allocated}")
    photometric = _true_colours(header, found)
    if syntax in (_JPEG, _JPEG_EXTENDED) and samples == 3 and width == 8:
        made, photometric = _colour_jpeg(data, found, photometric), "RGB"
    else:
        # pydicom and its plugins shift, mask and extend by what they are told of the samples: it is the codestream's.
        options: dict[str, Any] = where | {
            "rows": int(header.Rows),
            "columns": int(header.Columns),
            "samples_per_pixel": samples,
            "planar_configuration": 0,
            "photometric_interpretation": "RGB" if samples > 1 else "MONOCHROME2",
            "bits_allocated": width,
            "bits_stored": found.bits,
            "pixel_representation": int(found.signed),
            "pixel_keyword": "PixelData",
            "correct_unused_bits": False,
            "apply_j2k_sign_correction": False,
            "apply_jls_sign_correction": False,
        }
        made, _ = get_decoder(syntax).as_array(source, index=index, raw=True, **options)
    if width < allocated:
        made = made.astype(f"{made.dtype.kind}{allocated // 8}")
    return Cells(made.view(f"u{made.dtype.itemsize}"), photometric)


def _true_colours(header: "Dataset", found: Codestream) -> str:
    """The photometric interpretation of what a frame decodes to: the codestream's word beats the header's."""
    stated = str(header.get("PhotometricInterpretation") or "")
    if found.components != 3:
        return stated
    if found.colour == "RGB" or stated in ("YBR_ICT", "YBR_RCT"):
        # Both are transformations of the codestream: those have none that do not say so.
        return "RGB"
    return "YBR_FULL" if found.colour == "YBR" or stated == "YBR_FULL_422" else stated


def _colour_jpeg(data: bytes, found: Codestream, photometric: str) -> "NDArray[np.generic]":
    import numpy as np
    from PIL import Image

    with Image.open(BytesIO(data), formats=("JPEG",)) as image:
        if image.mode != "RGB":
            raise ValueError(f"the JPEG is {image.mode}")
        identifiers = bytes(layer[0] for layer in getattr(image, "layer", []))
        if photometric == "RGB" and (not found.colour or identifiers == b"rgb"):
            # libjpeg takes these for YCbCr: asked for that, it transforms nothing.
            image.draft("YCbCr", image.size)
        return np.asarray(image)


def _plain(stream: BinaryIO, header: "Dataset", index: int) -> "NDArray[np.generic]":
    """A frame of native pixel data (PS3.5 8.1.1, 8.2.1)."""
    import numpy as np

    if _is_deflated(header):
        tag = next(tag for tag in PIXELS if tag in header)
        vr, offset, length, stream = str(header[tag].VR), 0, len(header[tag].value), BytesIO(header[tag].value)
    else:
        tag, vr, offset, length = element(stream, header)
    rows, columns, samples = int(header.Rows), int(header.Columns), int(header.get("SamplesPerPixel") or 1)
    bits, halved = int(header.BitsAllocated), header.get("PhotometricInterpretation") == "YBR_FULL_422"
    _check_length(header, length, halved=halved)
    swapped = vr == "OW" and not header.original_encoding[1]
    if bits == 1 and samples == 1:
        return _bits(stream, offset, rows, columns, index, swapped=swapped)
    if bits % 8:
        raise NotImplementedError(f"Bits Allocated {bits} is not a multiple of 8")
    # two pixels of YBR_FULL_422 share their chrominance (PS3.3 C.7.6.3.1.2)
    size = rows * columns * (2 if halved else samples) * bits // 8
    at = index * size
    if bits == 8 and swapped:
        data = _read(stream, offset + at // 2 * 2, size + at % 2 + (size + at) % 2)
        data = np.frombuffer(data, np.uint8).reshape(-1, 2)[:, ::-1].tobytes()[at % 2 :][:size]
    else:
        data = _read(stream, offset + at, size)
    kind = "u" if tag == 0x7FE00010 else "f"
    found = np.frombuffer(data, f"{'<' if header.original_encoding[1] else '>'}{kind}{bits // 8}")
    found = found.astype(found.dtype.newbyteorder("="), copy=False)
    if halved:
        pairs = found.reshape(-1, 4)
        return np.stack([pairs[:, :2], pairs[:, [2, 2]], pairs[:, [3, 3]]], axis=-1).reshape(rows, columns, 3)
    if samples == 1:
        return found.reshape(rows, columns)
    if int(header.get("PlanarConfiguration") or 0) == 1:
        return found.reshape(samples, rows, columns).transpose(1, 2, 0)
    return found.reshape(rows, columns, samples)


def _read(stream: BinaryIO, offset: int, size: int) -> bytes:
    stream.seek(offset)
    data = stream.read(size)
    if len(data) < size:
        raise ValueError(f"{len(data)} bytes, but the header requires {size}")
    return data


def _bits(
    stream: BinaryIO, offset: int, rows: int, columns: int, index: int, *, swapped: bool
) -> "NDArray[np.generic]":
    # pydicom 3.0 loses the end of a frame that neither starts nor ends on a byte (PS3.5 8.1.1, 8.2)
    import numpy as np

    first = index * rows * columns
    start, end = first // 16 * 2, (first + rows * columns + 15) // 16 * 2
    stream.seek(offset + start)
    packed = np.frombuffer(stream.read(end - start), np.uint8)
    if swapped:
        packed = packed[: len(packed) & ~1].reshape(-1, 2)[:, ::-1].reshape(-1)
    bits = np.unpackbits(packed, bitorder="little")[first - start * 8 :]
    if len(bits) < rows * columns:
        raise ValueError(f"{len(bits)} bits, but the header requires {rows * columns}")
    return bits[: rows * columns].reshape(rows, columns)


def _check_length(header: "Dataset", length: int, *, halved: bool) -> None:
    """`ValueError` when native pixel data is not as long as its header says: it would be cut up wrongly."""
    pixels = count(header) * int(header.Rows) * int(header.Columns)
    halves = 4 if halved else 2 * int(header.get("SamplesPerPixel") or 1)
    expected = (pixels * halves // 2 * int(header.BitsAllocated) + 7) // 8
    if length < expected:
        raise ValueError(f"{length} bytes, but the header requires {expected}")
    if halved and length >= expected // 2 * 3:
        raise ValueError(f"{length} bytes are too many for YBR_FULL_422, which takes {expected}")


def _values(samples: "NDArray[np.generic]", header: "Dataset") -> "NDArray[np.generic]":
    """The numbers in cells, by Bits Stored, High Bit and Pixel Representation (PS3.5 8.1.1)."""
    allocated = int(header.BitsAllocated)
    if samples.dtype.kind == "f" or allocated == 1:
        return samples
    kind = "i" if header.get("PixelRepresentation") == 1 else "u"
    bits: NDArray[np.integer[Any]] = samples.view(f"{kind}{samples.dtype.itemsize}")
    stored = int(header.get("BitsStored") or allocated)
    if allocated == stored:
        return bits
    high = int(header.get("HighBit", stored - 1))
    if not 0 < stored <= high + 1 <= allocated:
        raise ValueError(f"Bits Allocated {allocated}, Bits Stored {stored}, High Bit {high} do not fit together")
    return (bits << (allocated - 1 - high)) >> (allocated - stored)


def _to_rgb(samples: "NDArray[np.generic]", stored: int) -> "NDArray[np.generic]":
    """YBR_FULL as RGB (PS3.3 C.7.6.3.1.2)."""
    import numpy as np

    to_rgb = np.array(
        [[1, 1, 1], [0, -0.114 * 1.772 / 0.587, 1.772], [1.402, -0.299 * 1.402 / 0.587, 0]], dtype=np.float32
    )
    half = 1 << (stored - 1)
    found = (samples.astype(np.float32) - np.array([0, half, half], np.float32)) @ to_rgb
    rgb: NDArray[np.generic] = np.clip(np.floor(found + 0.5), 0, 2 * half - 1).astype(samples.dtype)
    return rgb


def _refuse_undecodable(syntax: "UID") -> None:
    """Raises DwError."""
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
        return DwError("a DICOMDIR lists images but contains none", hint="render one of the files it names")
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
