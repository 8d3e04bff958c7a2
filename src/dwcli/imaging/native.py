"""Pixel data as bytes: one frame as stored or uncompressed, and a whole instance in Explicit VR Little Endian."""

import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

from dwcli.dicomweb.part10 import DEFLATED
from dwcli.errors import DwError, UsageError
from dwcli.imaging import frame, reading

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

EXPLICIT = "1.2.840.10008.1.2.1"
_LARGEST = 1 << 30  # bytes of a file that is converted: pydicom holds it in memory
_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class PixelData:
    """The pixel data element of a file: `offset` and `length` of its value in bytes, -1 where it is not plain bytes of
    the file (encapsulated or deflated); `frames` in it.
    """

    tag: str
    vr: str
    syntax: str
    offset: int
    length: int
    frames: int
    frame_bits: int
    pixel_bits: int
    photometric: str
    little: bool

    @property
    def encapsulated(self) -> bool:
        """Whether the frames are compressed."""
        return self.syntax not in frame.UNCOMPRESSED


def describe(path: Path) -> PixelData | None:
    """The pixel data of a file, None where it has none. Raises DwError."""
    with frame.opened(path) as stream:
        try:
            header = frame.read_header(stream)
        except DwError as error:
            if "no pixels" in error.message or "contains none" in error.message:
                return None
            raise
        return _described(stream, header)


def _described(stream: BinaryIO, header: "Dataset") -> PixelData:
    syntax = str(header.file_meta.TransferSyntaxUID)
    samples, rows, columns = (int(header.get(name) or 0) for name in ("SamplesPerPixel", "Rows", "Columns"))
    bits = samples * rows * columns * int(header.get("BitsAllocated") or 0)
    photometric = str(header.get("PhotometricInterpretation") or "")
    if photometric == "YBR_FULL_422" and syntax in frame.UNCOMPRESSED:
        bits = bits // 3 * 2  # two pixels share their chrominance (PS3.3 C.7.6.3.1.2)
    common = (
        syntax,
        frame.count(header),
        bits,
        int(header.get("BitsAllocated") or 0),
        photometric,
        bool(header.original_encoding[1]),
    )
    if syntax in DEFLATED:
        tag = next(tag for tag in frame.PIXELS if tag in header)
        return _made(tag, str(header[tag].VR), -1, -1, *common)
    tag, vr, offset, length = frame.element(stream, header)
    if syntax not in frame.UNCOMPRESSED:
        return _made(tag, vr, -1, -1, *common)
    return _made(tag, vr, offset, length, *common)


def _made(
    tag: int,
    vr: str,
    offset: int,
    length: int,
    syntax: str,
    frames: int,
    bits: int,
    pixel_bits: int,
    photometric: str,
    little: bool,
) -> PixelData:
    return PixelData(f"{tag:08X}", vr, syntax, offset, length, frames, bits, pixel_bits, photometric, little)


def stored_frame(path: Path, pixels: PixelData, number: int) -> bytes:
    """Frame `number` (from 1) of compressed pixel data, as it is stored. Raises UsageError, DwError."""
    _check(pixels, number)
    with frame.opened(path) as stream:
        header = frame.read_header(stream)
        return frame.codestream(stream, header, number)


def native_frame(path: Path, pixels: PixelData, number: int) -> bytes:
    """Frame `number` (from 1) uncompressed and little endian, as the header describes it (PS3.5 A.2).

    Raises UsageError for a frame that is not there, DwError for one that cannot be had so: pixel data that cannot be
    decoded here, or only into other colours than the header says.
    """
    _check(pixels, number)
    if not pixels.encapsulated and pixels.frame_bits % 8 == 0 and pixels.offset >= 0:
        size = pixels.frame_bits // 8
        if not size or (number * size) > pixels.length:
            raise DwError(f"the pixel data is too short for frame {number}")
        with path.open("rb") as file:
            file.seek(pixels.offset + (number - 1) * size)
            data = file.read(size)
        if len(data) < size:
            raise DwError(f"the file ends inside frame {number}")
        return data if pixels.little else _swapped(data, pixels)
    return _decoded(path, pixels, number)


def _check(pixels: PixelData, number: int) -> None:
    if not 1 <= number <= pixels.frames:
        raise UsageError(f"frame {number} does not exist: the instance has {pixels.frames}")


def _swapped(data: bytes, pixels: PixelData) -> bytes:
    # In OB pixels each byte stands for itself (PS3.5 8.1.2).
    width = 1 if pixels.vr == "OB" else max(2, pixels.pixel_bits // 8)
    return _reordered(data, width)


def _reordered(data: bytes, width: int) -> bytes:
    import numpy as np

    if len(data) % width:
        raise DwError("a value is not a whole number of words")
    return np.frombuffer(data, f">u{width}").astype(f"<u{width}").tobytes() if width > 1 else data


def _decoded(path: Path, pixels: PixelData, number: int) -> bytes:
    with frame.opened(path) as stream:
        header = frame.read_header(stream)
        found = frame.cells(stream, header, number)
    if pixels.photometric != found.photometric:
        raise DwError(
            f"frames of {pixels.photometric} are available as stored or rendered only; "
            f"decoded, they would be {found.photometric}, unlike the metadata"
        )
    return _as_bytes(found, header)


def _as_bytes(found: frame.Cells, header: "Dataset") -> bytes:
    """Cells in little endian, in the planes that the header says."""
    import numpy as np

    samples, bits = found.samples, int(header.BitsAllocated)
    if bits == 1:
        return np.packbits(samples.astype(np.uint8).reshape(-1), bitorder="little").tobytes()
    if samples.dtype.itemsize * 8 != bits:
        raise DwError(f"a frame decodes to {samples.dtype.itemsize * 8} bits, but the header says {bits}")
    if samples.ndim == 3 and int(header.get("PlanarConfiguration") or 0) == 1:
        samples = samples.transpose(2, 0, 1)
    return samples.astype(samples.dtype.newbyteorder("<"), copy=False).tobytes()


def explicit_little(path: Path) -> IO[bytes]:
    """The instance in Explicit VR Little Endian, as an unnamed temporary file at its start. Raises DwError.

    The cells stay what they are or what their codec gives, and the header says in which colours (PS3.5 8.2).
    """
    if path.stat().st_size > _LARGEST:
        raise DwError("the instance is too large to convert", "request it as stored: transfer-syntax=*")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _converted(path)
        except (DwError, MemoryError):
            raise
        except Exception as error:  # pydicom raises whatever it meets in bytes that break the rules
            raise DwError(f"the instance cannot be converted: {' '.join(str(error).split())}") from error


def _converted(path: Path) -> IO[bytes]:
    from pydicom import Dataset, dcmwrite
    from pydicom.uid import ExplicitVRLittleEndian

    with path.open("rb") as stream:
        found = reading.read(stream, pixels=True)
    little = bool(found.original_encoding[1])
    if "PixelData" in found and frame.is_compressed(found):
        _decompress(path, found)
    else:
        if "PixelData" in found and found["PixelData"].is_undefined_length:
            describe(path)  # says why that is refused
        if not little:
            _swap_words(found)
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    # The caller closes it.
    out: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        # A data set that was read remembers its byte order and refuses another; one put together anew does not.
        new = found if little else Dataset()
        if not little:
            new.update(found)
            new.file_meta, new.preamble = found.file_meta, bytes(128)
        dcmwrite(out, new, implicit_vr=False, little_endian=True, enforce_file_format=True)
    except BaseException:
        out.close()
        raise
    out.seek(0)
    return out


def _decompress(path: Path, found: "Dataset") -> None:
    data = bytearray()
    photometric = set()
    with frame.opened(path) as stream:
        header = frame.read_header(stream)
        start, bits = stream.tell(), int(header.BitsAllocated)
        total = frame.count(header)
        if bits == 1 and total > 1 and int(header.Rows) * int(header.Columns) % 8:
            raise DwError("its single-bit frames end inside a byte")
        for number in range(1, total + 1):
            stream.seek(start)
            cells = frame.cells(stream, header, number)
            photometric.add(cells.photometric)
            data += _as_bytes(cells, header)
    if len(photometric) > 1:
        raise DwError(f"its frames are in different colours: {', '.join(sorted(photometric))}")
    if int(found.get("SamplesPerPixel") or 0) == 3:
        found.PhotometricInterpretation = photometric.pop()
        found.PlanarConfiguration = int(found.get("PlanarConfiguration") or 0)
    if len(data) % 2:
        data += b"\0"
    for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if name in found:
            del found[name]
    found.PixelData = bytes(data)
    found["PixelData"].VR = "OW" if bits > 8 else "OB"
    found["PixelData"].is_undefined_length = False


def _swap_words(found: "Dataset") -> None:
    """Values that pydicom keeps as bytes go from big to little endian by hand."""
    for element in found.iterall():
        width = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}.get(element.VR, 0)
        if element.VR == "OW" and element.keyword == "PixelData":
            width = max(2, int(found.BitsAllocated) // 8)
        if width and isinstance(element.value, bytes):
            element.value = _reordered(element.value, width)


def slices(path: Path, offset: int, length: int) -> Iterator[bytes]:
    """`length` bytes of a file from `offset` on, in pieces. Raises DwError where it is shorter."""
    with path.open("rb") as file:
        file.seek(offset)
        while length > 0:
            data = file.read(min(_CHUNK, length))
            if not data:
                raise DwError(f"{path.name} has become shorter")
            length -= len(data)
            yield data
