"""The cells of a frame stay what they are: converted and as frames, against dcmtk and against how they were made."""

import subprocess
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import (
    UID,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)
from test_render import header, image, part10

from dwcli.errors import DwError
from dwcli.imaging import native
from dwcli.imaging.render import Options, render
from servers import images, program, require

Array = NDArray[Any]
_TOOLS = {
    "1.2.840.10008.1.2.5": "dcmdrle",
    **{f"1.2.840.10008.1.2.4.{number}": "dcmdjpeg" for number in (50, 51, 57, 70)},
    **{f"1.2.840.10008.1.2.4.{number}": "dcmdjpls" for number in (80, 81)},
}
# Where the two differ, and why; the number is the largest difference of two cells.
_DIFFERENT: dict[str, tuple[str, int | None]] = {
    "JPGExtended.dcm": ("lossy, 12 bits: dcmtk's inverse DCT rounds in another way", 1),
    "JPEG-lossy.dcm": ("a marker in its scan that libjpeg refuses, and pillow and GDCM take 8 bits only", None),
}


def dcmtk(name: str, *arguments: str | Path) -> None:
    tool = require(f"dcmtk ({name})", program(name), "apt-get install dcmtk")
    subprocess.run([tool, *arguments], check=True, capture_output=True)


def converted(path: Path) -> Dataset:
    with native.explicit_little(path) as file:
        return dcmread(BytesIO(file.read()))


def frames(path: Path) -> bytes:
    found = native.describe(path)
    assert found
    return b"".join(native.native_frame(path, found, number) for number in range(1, found.frames + 1))


def shown(source: Path | bytes) -> Array:
    return np.asarray(Image.open(BytesIO(render(source, Options()))))


def compressed() -> Iterator[Path]:
    # pydicom-data, where it is installed, has larger ones
    more = find_spec("data_store")
    folders = more.submodule_search_locations or [] if more else []
    for path in [*images.pydicom_files(), *sorted(path for folder in folders for path in Path(folder).rglob("*.dcm"))]:
        try:
            found = dcmread(path, stop_before_pixels=True)
        except Exception:  # those that are made to be unreadable
            continue
        if str(found.file_meta.get("TransferSyntaxUID")) in _TOOLS and "Rows" in found:
            yield path


@pytest.mark.parametrize("path", list(compressed()), ids=lambda path: path.name)
def test_pydicoms_files_are_decompressed_to_the_cells_that_dcmtk_gives(path: Path, tmp_path: Path) -> None:
    reason, tolerance = _DIFFERENT.get(path.name, ("", 0))
    if tolerance is None:
        with pytest.raises(DwError, match="cannot decode"):
            converted(path)
        return
    before = dcmread(path)
    dcmtk(_TOOLS[str(before.file_meta.TransferSyntaxUID)], path, tmp_path / "theirs.dcm")
    theirs, ours = dcmread(tmp_path / "theirs.dcm"), converted(path)
    for keyword in ("PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        assert ours[keyword].value == theirs[keyword].value, keyword
    assert ours.get("PlanarConfiguration") == theirs.get("PlanarConfiguration")
    width = f"u{ours.BitsAllocated // 8}"
    a, b = (np.frombuffer(one.PixelData, width).astype(np.int64) for one in (ours, theirs))
    assert int(np.abs(a - b).max()) == tolerance, reason
    if before.PhotometricInterpretation == ours.PhotometricInterpretation:
        single = frames(path)
        assert ours.PixelData.startswith(single) and len(ours.PixelData) - len(single) < 2
    else:
        with pytest.raises(DwError, match="unlike the metadata"):
            frames(path)


def _cells(name: str) -> tuple[Array, dict[str, Any]]:
    rng = np.random.default_rng(7)
    signed = "signed" in name
    values = rng.integers(-2048 if signed else 0, 2048 if signed else 4096, (9, 15))
    stored: dict[str, Any] = {"BitsStored": 12, "HighBit": 15 if "left" in name else 11}
    if "left" in name:
        values = values << 4 | (rng.integers(0, 16, values.shape) if "overlay" in name else 0)
    elif "overlay" in name:
        values = values | rng.integers(0, 16, values.shape) << 12
    return values.astype("i2" if signed else "u2"), stored


def _expected(cells: Array, stored: dict[str, int]) -> Array:
    """The picture by hand: the stored bits alone, from the smallest to the largest."""
    low = stored["HighBit"] + 1 - stored["BitsStored"]
    values = (cells.astype(np.int64) >> low) & 0xFFF
    if cells.dtype.kind == "i":
        values = np.where(values > 0x7FF, values - 0x1000, values)
    picture: Array = np.rint((values - values.min()) / (values.max() - values.min()) * 255).astype(np.uint8)
    return picture


_ENCODERS: dict[str, tuple[str, ...]] = {
    "RLE": ("dcmcrle",),
    "JPEG lossless": ("dcmcjpeg", "+el"),
    "JPEG lossless SV1": ("dcmcjpeg", "+e1"),
    "JPEG-LS": ("dcmcjpls",),
}
_KINDS = ("plain", "signed", "overlay", "left", "left signed", "left overlay", "left signed overlay")


@pytest.mark.parametrize("encoder", _ENCODERS)
@pytest.mark.parametrize("kind", _KINDS)
def test_all_bits_of_a_cell_are_kept_and_only_the_stored_ones_shown(kind: str, encoder: str, tmp_path: Path) -> None:
    cells, stored = _cells(kind)
    plain, path = tmp_path / "plain.dcm", tmp_path / "made.dcm"
    plain.write_bytes(image(cells, **stored))
    dcmtk(*_ENCODERS[encoder], plain, path)
    made = converted(path)
    assert made.PixelData == cells.tobytes()
    assert (made.BitsStored, made.HighBit) == (12, stored["HighBit"])
    assert made.PixelRepresentation == (1 if "signed" in kind else 0)
    assert frames(path) == cells.tobytes()
    assert np.array_equal(shown(path), _expected(cells, stored))
    assert np.array_equal(shown(plain), _expected(cells, stored))


@pytest.mark.parametrize("kind", ["plain", "overlay", "left", "left overlay"])
def test_all_bits_of_a_jpeg_2000_cell_are_kept(kind: str, tmp_path: Path) -> None:
    cells, stored = _cells(kind)
    out = BytesIO()
    Image.fromarray(cells).save(out, "JPEG2000", no_jp2=True, irreversible=False)
    path = _encapsulated(tmp_path, out.getvalue(), header(9, 15, **stored), JPEG2000Lossless)
    assert converted(path).PixelData == cells.tobytes() == frames(path)
    assert np.array_equal(shown(path), _expected(cells, stored))


def test_signed_cells_of_fewer_bits_in_jpeg_ls_are_not_extended_but_shown_right(tmp_path: Path) -> None:
    # The codec knows 12 bits and no sign: what it gives has zeros above them.
    jpeg_ls = pytest.importorskip("jpeg_ls")
    cells, stored = _cells("signed")
    twelve = cells.view("u2") & 0xFFF
    encoded = bytes(jpeg_ls.encode_array(twelve))
    assert encoded[encoded.index(b"\xff\xf7") + 4] == 12
    made = header(9, 15, PixelRepresentation=1, **stored)
    path = _encapsulated(tmp_path, encoded, made, JPEGLSLossless)
    assert converted(path).PixelData == twelve.tobytes() == frames(path)
    assert np.array_equal(shown(path), _expected(cells, stored))


def _encapsulated(folder: Path, codestream: bytes, made: Dataset, syntax: UID) -> Path:
    made.file_meta.TransferSyntaxUID = syntax
    made.PixelData = encapsulate([codestream])
    made["PixelData"].VR = "OB"
    path = folder / "encapsulated.dcm"
    path.write_bytes(part10(made))
    return path


def _smooth() -> Array:
    y, x = np.mgrid[0:40, 0:64]
    return np.stack([x * 4, y * 6, 255 - x * 3], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"])
@pytest.mark.parametrize("transformed", [True, False])
def test_a_jpeg_2000_codestream_says_itself_whether_it_is_transformed(
    photometric: str, transformed: bool, tmp_path: Path
) -> None:
    rgb = _smooth()
    full = not transformed and photometric.startswith("YBR_FULL")
    samples = convert_color_space(rgb, "RGB", "YBR_FULL") if full else rgb
    out = BytesIO()
    Image.fromarray(samples).save(out, "JPEG2000", no_jp2=True, irreversible=False, mct=int(transformed))
    path = _encapsulated(tmp_path, out.getvalue(), header(40, 64, photometric, BitsAllocated=8), JPEG2000Lossless)
    assert np.abs(shown(path).astype(int) - rgb).max() <= (2 if full else 0)
    made = converted(path)
    assert made.PhotometricInterpretation == ("YBR_FULL" if full else "RGB")
    assert made.PixelData == samples.tobytes()
    assert np.array_equal(shown(part10(made)), shown(path))


def _jpeg(samples: Array, mode: str, **options: Any) -> bytes:
    out = BytesIO()
    Image.fromarray(samples, mode).save(out, "JPEG", quality=100, subsampling=0, **options)
    return out.getvalue()


def _without(data: bytes, marker: bytes) -> bytes:
    at = data.index(marker)
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]


def _with_identifiers(data: bytes, identifiers: bytes) -> bytes:
    found = bytearray(data)
    at, scan = data.index(b"\xff\xc0") + 10, data.index(b"\xff\xda") + 5
    found[at : at + 9 : 3] = found[scan : scan + 6 : 2] = identifiers
    return bytes(found)


_ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"


def _marked(data: bytes, transform: int) -> bytes:
    return data[:2] + _ADOBE + bytes([transform]) + data[2:]


# What is done to a JPEG whose components are RGB or YCbCr, what the header says of it, and what it is.
_JPEGS: list[tuple[str, str, Callable[[bytes], bytes]]] = [
    ("YBR", "YBR_FULL_422", lambda data: data),
    ("YBR", "RGB", lambda data: data),  # JFIF
    ("YBR", "YBR_FULL", lambda data: _without(data, b"\xff\xe0")),
    ("YBR", "RGB", lambda data: _marked(_without(data, b"\xff\xe0"), 1)),
    ("RGB", "RGB", lambda data: _without(data, b"\xff\xe0")),
    ("RGB", "YBR_FULL_422", lambda data: _marked(_without(data, b"\xff\xe0"), 0)),
    ("RGB", "YBR_FULL_422", lambda data: _with_identifiers(_without(data, b"\xff\xe0"), b"RGB")),
    ("RGB", "YBR_FULL_422", lambda data: _with_identifiers(_without(data, b"\xff\xe0"), b"rgb")),
    ("RGB", "RGB", lambda data: _with_identifiers(_without(data, b"\xff\xe0"), b"rgb")),
]


@pytest.mark.parametrize(("components", "photometric", "change"), _JPEGS)
def test_a_jpeg_says_itself_what_its_components_are(
    components: str, photometric: str, change: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    rgb = _smooth()
    # pillow stores what it is told is YCbCr as it is
    data = _jpeg(rgb, "RGB" if components == "YBR" else "YCbCr")
    path = _encapsulated(tmp_path, change(data), header(40, 64, photometric, BitsAllocated=8), JPEGBaseline8Bit)
    assert np.abs(shown(path).astype(int) - rgb).max() <= 6
    made = converted(path)
    assert made.PhotometricInterpretation == "RGB"
    assert np.array_equal(np.frombuffer(made.PixelData, np.uint8).reshape(40, 64, 3), shown(path))


@pytest.mark.parametrize("encoder", ["RLE", "JPEG-LS", "JPEG lossless SV1"])
@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_lossless_colour_keeps_its_cells_and_its_colour_space(
    photometric: str, planar: int, encoder: str, tmp_path: Path
) -> None:
    rgb = _smooth()
    samples = rgb if photometric == "RGB" else convert_color_space(rgb, "RGB", "YBR_FULL")
    plain, path = tmp_path / "plain.dcm", tmp_path / "made.dcm"
    plain.write_bytes(image(samples, photometric))
    dcmtk(*_ENCODERS[encoder], *(["+cn"] if encoder.startswith("JPEG l") else []), plain, path)
    changed = dcmread(path)
    changed.PlanarConfiguration = planar
    changed.save_as(path)
    made = converted(path)
    assert (made.PhotometricInterpretation, made.PlanarConfiguration) == (photometric, planar)
    wanted = samples.transpose(2, 0, 1) if planar else samples
    assert made.PixelData == wanted.tobytes() == frames(path)
    assert np.abs(shown(path).astype(int) - rgb).max() <= (2 if photometric == "YBR_FULL" else 0)
    assert np.array_equal(shown(part10(made)), shown(path))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "PALETTE COLOR"])
def test_inverse_and_palette_cells_are_kept(photometric: str, tmp_path: Path) -> None:
    cells = np.arange(64, dtype=np.uint8).reshape(8, 8)
    ds = dcmread(BytesIO(image(cells, photometric)))
    if photometric == "PALETTE COLOR":
        for name in ("Red", "Green", "Blue"):
            setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [64, 0, 8])
            ds[f"{name}PaletteColorLookupTableDescriptor"].VR = "US"
            setattr(ds, f"{name}PaletteColorLookupTableData", bytes(range(0, 256, 4)))
    before = shown(part10(ds))
    ds.compress(RLELossless, generate_instance_uid=False)
    path = tmp_path / "made.dcm"
    path.write_bytes(part10(ds))
    made = converted(path)
    assert made.PhotometricInterpretation == photometric
    assert made.PixelData == cells.tobytes() == frames(path)
    assert np.array_equal(shown(path), before)


def test_native_pixel_data_of_undefined_length_is_refused(tmp_path: Path) -> None:
    data = image(np.arange(64, dtype=np.uint16).reshape(8, 8))
    at = data.rindex(b"\xe0\x7f\x10\x00OW")
    value = data[at + 12 :]
    item = b"\xfe\xff\0\xe0" + len(value).to_bytes(4, "little") + value
    broken = data[: at + 8] + b"\xff\xff\xff\xff" + item + b"\xfe\xff\xdd\xe0\0\0\0\0"
    path = tmp_path / "undefined.dcm"
    path.write_bytes(broken)
    with pytest.raises(DwError, match=r"^undefined\.dcm: "):
        shown(path)
    for refused in (lambda: shown(path), lambda: converted(path), lambda: frames(path)):
        with pytest.raises(DwError, match=r"\(7FE0,0010\) has undefined length"):
            refused()


def test_compressed_pixel_data_without_fragments_is_refused(tmp_path: Path) -> None:
    data = image(np.arange(64, dtype=np.uint16).reshape(8, 8))
    path = tmp_path / "native.dcm"
    path.write_bytes(data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"))
    for refused in (lambda: shown(path), lambda: converted(path), lambda: frames(path)):
        with pytest.raises(DwError, match=r"\(7FE0,0010\) has no fragments"):
            refused()


def test_fewer_bits_in_the_codestream_than_allocated_are_widened(tmp_path: Path) -> None:
    grey = _smooth()[..., 0]
    out = BytesIO()
    Image.fromarray(grey).save(out, "JPEG", quality=100)
    made = header(40, 64, BitsAllocated=16, BitsStored=8)
    path = _encapsulated(tmp_path, out.getvalue(), made, JPEGBaseline8Bit)
    decoded = np.asarray(Image.open(out)).astype("<u2")
    assert converted(path).PixelData == decoded.tobytes() == frames(path)
