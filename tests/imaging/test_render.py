"""Pictures of small made instances, their pixels computed here by hand or by pydicom, never by the code under test."""

import math
import struct
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import Decoder
from pydicom.pixels.processing import apply_color_lut, apply_voi_lut, convert_color_space
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    MPEG4HP41,
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    SegmentationStorage,
    XRayAngiographicImageStorage,
)

from dwcli.errors import DwError, UsageError
from dwcli.imaging.render import Options, frame_count, render

Array = NDArray[Any]


def header(rows: int, columns: int, photometric: str = "MONOCHROME2", **values: Any) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = "2.25.1"
    ds.Rows, ds.Columns = rows, columns
    ds.SamplesPerPixel = 1 if photometric.startswith(("MONO", "PAL")) else 3
    if ds.SamplesPerPixel == 3:
        ds.PlanarConfiguration = 0
    ds.PhotometricInterpretation = photometric
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 0
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    if "BitsAllocated" in values and "BitsStored" not in values:
        ds.BitsStored = ds.BitsAllocated
    if "HighBit" not in values:
        ds.HighBit = ds.BitsStored - 1
    return ds


def part10(ds: Dataset) -> bytes:
    out = BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def image(samples: Array, photometric: str = "MONOCHROME2", **values: Any) -> bytes:
    """`samples` (rows, columns) or (rows, columns, 3) as an instance of Explicit VR Little Endian."""
    values.setdefault("BitsAllocated", samples.dtype.itemsize * 8)
    values.setdefault("PixelRepresentation", 1 if samples.dtype.kind == "i" else 0)
    ds = header(samples.shape[0], samples.shape[1], photometric, **values)
    ds.PixelData = samples.tobytes() + b"\0" * (samples.nbytes % 2)
    ds["PixelData"].VR = "OB" if samples.dtype.itemsize == 1 else "OW"
    return part10(ds)


def pixels(source: bytes | Path, **options: Any) -> Array:
    """The picture's samples: (rows, columns) when grey, (rows, columns, 3) when coloured."""
    return np.asarray(Image.open(BytesIO(render(source, Options(**options)))))


def sample(name: str) -> Path:
    found = get_testdata_file(name, download=False)
    assert isinstance(found, str)
    return Path(found)


def lut(data: Sequence[int], first: int, bits: int) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(data), first, bits]
    item["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    item.LUTData = list(data)
    item["LUTData"].VR = "US"
    return item


RAMP = np.array([[-1100, -160, -159, 39], [40, 239, 240, 3000]], dtype=np.int16)


def test_linear_window_follows_the_formula_at_its_edges() -> None:
    # PS3.3 C.11.2.1.2.1 for centre 40, width 400: black up to -160, white above 239
    expected = []
    for x in RAMP.ravel().tolist():
        if x <= 40 - 0.5 - 399 / 2:
            expected.append(0)
        elif x > 40 - 0.5 + 399 / 2:
            expected.append(255)
        else:
            expected.append(round(((x - 39.5) / 399 + 0.5) * 255))
    shown = pixels(image(RAMP), window=(40, 400, "linear"))
    assert shown.ravel().tolist() == expected
    assert expected[1] == 0
    assert expected[5] == 255


def test_linear_exact_and_sigmoid_windows_follow_their_formulas() -> None:
    values = RAMP.ravel().tolist()
    exact = [round(min(1.0, max(0.0, (x - 40) / 400 + 0.5)) * 255) for x in values]
    assert pixels(image(RAMP), window=(40, 400, "linear-exact")).ravel().tolist() == exact
    curve = [round(255 / (1 + math.exp(-4 * (x - 40) / 400))) for x in values]
    assert pixels(image(RAMP), window=(40, 400, "sigmoid")).ravel().tolist() == curve


def test_linear_window_of_width_one_is_a_threshold() -> None:
    shown = pixels(image(np.array([[9, 10, 11]], dtype=np.uint16)), window=(10.5, 1, "linear"))
    assert shown.tolist() == [[0, 0, 255]]


def test_sigmoid_window_far_from_its_centre_does_not_overflow() -> None:
    shown = pixels(image(np.array([[0, 65535]], dtype=np.uint16)), window=(30000, 1, "sigmoid"))
    assert shown.tolist() == [[0, 255]]


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_window_of_the_header_agrees_with_pydicom(function: str) -> None:
    rng = np.random.default_rng(1)
    samples = rng.integers(0, 4096, (16, 16), dtype=np.uint16)
    source = image(samples, WindowCenter=[1800, 1], WindowWidth=[900, 2], VOILUTFunction=function, BitsStored=12)
    theirs = apply_voi_lut(samples, dcmread(BytesIO(source)))
    shown = pixels(source).astype(float)
    assert np.abs(shown - theirs / 4095 * 255).max() <= 1


def test_window_counts_in_units_after_the_rescale() -> None:
    stored = np.array([[924, 1024, 1124]], dtype=np.uint16)
    source = image(stored, RescaleSlope="2", RescaleIntercept="-2048")
    # -200, 0, 200 HU: a tenth below, at, a tenth above the middle of 1000
    shown = pixels(source, window=(0, 1000, "linear-exact"))
    assert shown.tolist() == [[round(0.3 * 255), round(0.5 * 255), round(0.7 * 255)]]


def test_option_wins_over_the_voi_lut_which_wins_over_the_window() -> None:
    samples = np.array([[0, 1, 2, 3]], dtype=np.uint16)
    table = lut([0, 1023, 4095, 2048], 0, 12)
    source = image(samples, VOILUTSequence=[table], WindowCenter=1, WindowWidth=2)
    assert pixels(source).tolist() == [[0, 64, 255, 128]]
    assert pixels(source, window=(1.5, 3, "linear-exact")).tolist() == [[0, 85, 170, 255]]


def test_voi_lut_holds_its_end_entries_beyond_its_range_and_takes_a_negative_first_value() -> None:
    samples = np.array([[-50, -2, -1, 0, 9]], dtype=np.int16)
    source = image(samples, VOILUTSequence=[lut([10, 100, 255], -2, 8)])
    assert pixels(source).tolist() == [[10, 10, 100, 255, 255]]
    theirs = apply_voi_lut(samples, dcmread(BytesIO(source)))
    assert theirs.tolist() == [[10, 10, 100, 255, 255]]


def test_modality_lut_comes_before_the_window() -> None:
    source = image(np.array([[5, 6, 7]], dtype=np.uint16), ModalityLUTSequence=[lut([1000, 0, 500], 5, 16)])
    assert pixels(source, window=(500, 1000, "linear-exact")).tolist() == [[255, 0, 128]]


def test_modality_lut_of_logarithmic_angiography_is_not_for_display() -> None:
    values: dict[str, Any] = {"ModalityLUTSequence": [lut([255, 0], 0, 8)], "SOPClassUID": XRayAngiographicImageStorage}
    samples = np.array([[0, 1]], dtype=np.uint16)
    window = (0.5, 1.0, "linear-exact")
    assert pixels(image(samples, PixelIntensityRelationship="LOG", **values), window=window).tolist() == [[0, 255]]
    assert pixels(image(samples, PixelIntensityRelationship="LIN", **values), window=window).tolist() == [[255, 0]]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_table_of_words_is_read_in_the_byte_order_of_the_file(syntax: UID) -> None:
    big = syntax == ExplicitVRBigEndian
    ds = header(1, 3)
    ds.file_meta.TransferSyntaxUID = syntax
    table = lut([0, 0, 0], 0, 16)
    table["LUTData"].VR = "OW"
    table.LUTData = struct.pack(">3H" if big else "<3H", 0x0100, 0x7FFF, 0xFFFF)
    ds.VOILUTSequence = [table]
    ds.PixelData = struct.pack(">3H" if big else "<3H", 0, 1, 2)
    ds["PixelData"].VR = "OW"
    assert pixels(part10(ds)).tolist() == [[1, 127, 255]]


def test_frame_without_a_window_spans_its_values_without_the_padding() -> None:
    samples = np.array([[-2000, 0, 50, 100]], dtype=np.int16)
    source = image(samples, PixelPaddingValue=-2000, RescaleSlope="1", RescaleIntercept="-1024")
    assert pixels(source).tolist() == [[0, 0, 128, 255]]
    ranged = image(samples, PixelPaddingValue=-2000, PixelPaddingRangeLimit=0)
    assert pixels(ranged).tolist() == [[0, 0, 0, 255]]


def test_padding_written_unsigned_in_a_signed_image_is_still_padding() -> None:
    ds = dcmread(BytesIO(image(np.array([[-2000, 0, 100]], dtype=np.int16))))
    ds.add_new("PixelPaddingValue", "US", 63536)
    assert pixels(part10(ds)).tolist() == [[0, 0, 255]]


def test_plain_eight_bit_image_is_shown_as_it_is_stored() -> None:
    samples = np.array([[10, 20], [30, 40]], dtype=np.uint8)
    assert np.array_equal(pixels(image(samples)), samples)


def test_monochrome1_and_inverse_shape_are_inverted_once() -> None:
    samples = np.array([[0, 100, 255]], dtype=np.uint8)
    inverted = [[255, 155, 0]]
    assert pixels(image(samples, "MONOCHROME1")).tolist() == inverted
    assert pixels(image(samples, PresentationLUTShape="INVERSE")).tolist() == inverted
    assert pixels(image(samples, "MONOCHROME1", PresentationLUTShape="INVERSE")).tolist() == inverted


def test_bits_beside_the_stored_ones_are_masked_and_signs_extended() -> None:
    # 12 stored bits with an overlay bit above them
    low = np.array([[0x8000 | 0, 0x1000 | 2048, 4095]], dtype=np.uint16)
    assert pixels(image(low, BitsStored=12)).tolist() == [[0, 128, 255]]
    # the same values in the high bits
    high = np.array([[0x000F, 2048 << 4, 4095 << 4]], dtype=np.uint16)
    assert pixels(image(high, BitsStored=12, HighBit=15)).tolist() == [[0, 128, 255]]
    signed = np.array([[0x0800, 0x0000, 0x07FF]], dtype=np.uint16)
    source = image(signed, BitsStored=12, PixelRepresentation=1)
    assert pixels(source, window=(0, 4096, "linear-exact")).tolist() == [[0, 128, 255]]


def test_thirty_two_bit_dose_is_windowed_in_gray() -> None:
    source = image(np.array([[0, 500_000, 1_000_000]], dtype=np.uint32), DoseGridScaling="0.000001")
    assert pixels(source).tolist() == [[0, 128, 255]]
    assert pixels(source, window=(0.25, 0.5, "linear-exact")).tolist() == [[0, 255, 255]]


def test_float_pixels_leave_infinities_and_nan_out_of_the_range() -> None:
    ds = header(1, 5, BitsAllocated=32)
    del ds.PixelRepresentation, ds.BitsStored, ds.HighBit
    ds.FloatPixelData = struct.pack("<5f", -1.0, 0.0, 1.0, math.nan, math.inf)
    assert pixels(part10(ds)).tolist() == [[0, 128, 255, 0, 255]]


def test_one_bit_frames_that_share_a_byte_are_told_apart_and_shown_white() -> None:
    masks = np.array([[[1, 0, 1]], [[1, 1, 1]], [[0, 0, 0]]], dtype=np.uint8)
    ds = header(1, 3, BitsAllocated=1, NumberOfFrames=3, SOPClassUID=SegmentationStorage)
    ds.PixelData = np.packbits(masks.ravel(), bitorder="little").tobytes()
    ds["PixelData"].VR = "OB"
    source = part10(ds)
    assert frame_count(source) == 3
    shown = [pixels(source, frame=n).tolist() for n in (1, 2, 3)]
    assert shown == [[[255, 0, 255]], [[255, 255, 255]], [[0, 0, 0]]]


def test_one_bit_words_of_a_big_endian_file_are_swapped() -> None:
    ds = header(1, 16, BitsAllocated=1)
    ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    ds.PixelData = struct.pack(">H", 0b1000_0000_0000_0011)
    ds["PixelData"].VR = "OW"
    assert pixels(part10(ds)).tolist() == [[255, 255, *[0] * 13, 255]]


def test_ybr_422_that_is_not_subsampled_is_refused() -> None:
    with pytest.raises(DwError, match="too many for YBR_FULL_422"):
        render(image(np.zeros((4, 4, 3), dtype=np.uint8), "YBR_FULL_422"), Options())


def test_fractional_segmentation_is_scaled_by_its_largest_possible_value() -> None:
    samples = np.array([[0, 50, 100]], dtype=np.uint8)
    source = image(samples, SegmentationType="FRACTIONAL", MaximumFractionalValue=200)
    assert pixels(source).tolist() == [[0, 64, 128]]


def test_enhanced_frame_takes_its_own_window_rescale_and_spacing() -> None:
    def group(center: float, slope: str, spacing: Sequence[float]) -> Dataset:
        voi, transformation, measures, item = Dataset(), Dataset(), Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth, voi.VOILUTFunction = center, 100, "LINEAR_EXACT"
        transformation.RescaleSlope, transformation.RescaleIntercept = slope, "0"
        measures.PixelSpacing = list(spacing)
        item.FrameVOILUTSequence = [voi]
        item.PixelValueTransformationSequence = [transformation]
        item.PixelMeasuresSequence = [measures]
        return item

    ds = header(1, 2, NumberOfFrames=2)
    ds.PerFrameFunctionalGroupsSequence = [group(50, "1", (1, 1)), group(150, "2", (2, 1))]
    ds.PixelData = np.array([0, 50, 50, 75], dtype="<u2").tobytes()
    source = part10(ds)
    assert pixels(source, frame=1).tolist() == [[0, 128]]
    assert pixels(source, frame=2).tolist() == [[0, 128], [0, 128]]


@pytest.mark.parametrize("planar", [0, 1])
def test_rgb_keeps_its_colours_in_both_planar_configurations(planar: int) -> None:
    colours = np.array([[[255, 0, 1], [2, 200, 3]], [[4, 5, 90], [7, 8, 9]]], dtype=np.uint8)
    stored = colours if planar == 0 else np.moveaxis(colours, -1, 0).copy()
    ds = header(2, 2, "RGB", BitsAllocated=8, PlanarConfiguration=planar)
    ds.PixelData = stored.tobytes()
    ds["PixelData"].VR = "OB"
    assert np.array_equal(pixels(part10(ds)), colours)


def test_deep_rgb_keeps_the_eight_highest_stored_bits() -> None:
    colours = np.array([[[0xFFFF, 0x8000, 0x00FF]]], dtype=np.uint16)
    assert pixels(image(colours, "RGB")).tolist() == [[[255, 128, 0]]]
    twelve = np.array([[[0x0FFF, 0x0800, 0x000F]]], dtype=np.uint16)
    assert pixels(image(twelve, "RGB", BitsStored=12)).tolist() == [[[255, 128, 0]]]


def test_ybr_full_agrees_with_the_standard_and_with_pydicom() -> None:
    ybr = np.array([[[76, 85, 255], [150, 44, 21], [29, 255, 107], [128, 128, 128]]], dtype=np.uint8)
    shown = pixels(image(ybr, "YBR_FULL")).astype(int)
    # PS3.3 C.7.6.3.1.2: primaries and a grey
    assert np.abs(shown - [[[254, 0, 0], [0, 255, 1], [0, 0, 254], [128, 128, 128]]]).max() <= 2
    assert np.abs(shown - convert_color_space(ybr.copy(), "YBR_FULL", "RGB").astype(int)).max() <= 1


def palette(entries: Sequence[Sequence[int]], first: int, bits: int, **values: Any) -> Callable[[Array], bytes]:
    def build(samples: Array) -> bytes:
        tables: dict[str, Any] = {}
        for name, table in zip(("Red", "Green", "Blue"), zip(*entries, strict=True), strict=True):
            tables[f"{name}PaletteColorLookupTableDescriptor"] = [len(entries), first, bits]
            tables[f"{name}PaletteColorLookupTableData"] = struct.pack(f"<{len(table)}H", *table)
        return image(samples, "PALETTE COLOR", **tables, **values)

    return build


def test_palette_maps_values_from_its_first_and_holds_its_ends() -> None:
    build = palette([(0xFF00, 0, 0), (0, 0x8000, 0), (0, 0, 0xFFFF)], 10, 16)
    shown = pixels(build(np.array([[0, 10, 11, 12, 99]], dtype=np.uint8)))
    assert shown.tolist() == [[[255, 0, 0], [255, 0, 0], [0, 128, 0], [0, 0, 255], [0, 0, 255]]]


def test_palette_of_eight_bit_colours_is_not_darkened_by_its_descriptor() -> None:
    build = palette([(255, 0, 0), (0, 200, 100)], 0, 16)
    assert pixels(build(np.array([[0, 1]], dtype=np.uint8))).tolist() == [[[255, 0, 0], [0, 200, 100]]]


def test_palette_of_a_real_ultrasound_agrees_with_pydicom() -> None:
    path = sample("examples_palette.dcm")
    ds = dcmread(path)
    theirs = apply_color_lut(ds.pixel_array, ds)
    assert np.array_equal(pixels(path), theirs >> 8 if theirs.dtype == np.uint16 else theirs)


def segmented(words: Sequence[int], entries: int, octets: bool) -> bytes:
    bits, form = (8, "B") if octets else (16, "H")
    tables: dict[str, Any] = {}
    for name in ("Red", "Green", "Blue"):
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [entries, 0, bits]
        data = struct.pack(f"<{len(words)}{form}", *words)
        tables[f"Segmented{name}PaletteColorLookupTableData"] = data + b"\0" * (len(data) % 2)
    samples = np.arange(entries, dtype=np.uint8).reshape(1, -1)
    return image(samples, "PALETTE COLOR", **tables)


def test_segmented_palette_expands_discrete_linear_and_indirect_segments() -> None:
    # discrete 0, 10; linear to 40 in three steps; then the linear segment (at byte 4) once more
    shown = pixels(segmented([0, 2, 0, 10, 1, 3, 40, 2, 1, 4, 0, 0, 0], 8, octets=True))
    assert shown[0, :, 0].tolist() == [0, 10, 20, 30, 40, 40, 40, 40]
    # 16-bit words: the linear segment starts at byte 8
    words = [0, 2, 0, 0x1000, 1, 3, 0x4000, 2, 1, 8, 0]
    assert pixels(segmented(words, 8, octets=False))[0, :, 2].tolist() == [0, 16, 32, 48, 64, 64, 64, 64]


@pytest.mark.parametrize("words", [[0, 9, 1, 2], [1, 2, 3], [7, 1, 1], [0, 1, 5], [0, 1, 5, 2, 1, 2, 0, 0, 0]])
def test_segmented_palette_that_makes_no_sense_is_refused(words: list[int]) -> None:
    with pytest.raises(DwError, match="segmented palette"):
        render(segmented(words, 4, octets=True), Options())


def jpeg(colours: Array, *, marker: bytes) -> bytes:
    """A JPEG of YCbCr at full resolution with `marker` in place of the JFIF one."""
    out = BytesIO()
    Image.fromarray(colours).save(out, "JPEG", quality=95, subsampling=0)
    data = out.getvalue()
    return data[:2] + marker + data[4 + int.from_bytes(data[4:6], "big") :]


ADOBE_YCC = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x01"
JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_FULL", "RGB"])
@pytest.mark.parametrize("marker", [ADOBE_YCC, JFIF, JFIF + ADOBE_YCC, b""])
def test_jpeg_markers_decide_its_colours_and_the_header_where_there_are_none(marker: bytes, photometric: str) -> None:
    colours = np.zeros((16, 16, 3), dtype=np.uint8)
    colours[:8], colours[8:] = (200, 30, 40), (20, 60, 220)
    ds = header(16, 16, photometric, BitsAllocated=8)
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds.PixelData = encapsulate([jpeg(255 - colours, marker=marker), jpeg(colours, marker=marker)])
    ds["PixelData"].VR = "OB"
    ds.NumberOfFrames = 2
    expected = colours
    if photometric == "RGB" and not marker:
        # three components and nothing that says YCbCr: the header's word is all there is
        expected = convert_color_space(colours, "RGB", "YBR_FULL")
    assert np.abs(pixels(part10(ds), frame=2).astype(int) - expected.astype(int)).max() <= 3


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("SC_rgb_rle.dcm", "SC_ybr_full_422_uncompressed.dcm"),
        ("SC_rgb_rle.dcm", "SC_rgb_rle_16bit.dcm"),
        ("SC_rgb_rle.dcm", "SC_rgb_rle_32bit.dcm"),
        ("SC_rgb_rle.dcm", "SC_rgb_gdcm_KY.dcm"),
        ("SC_rgb_rle.dcm", "SC_rgb_dcmtk_+eb+cr.dcm"),
        ("SC_rgb_rle.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm"),
        ("MR_small.dcm", "MR_small_RLE.dcm"),
        ("MR_small.dcm", "MR_small_jp2klossless.dcm"),
        ("MR_small.dcm", "MR_small_bigendian.dcm"),
        ("MR_small.dcm", "MR_small_implicit.dcm"),
        ("rtdose.dcm", "rtdose_rle.dcm"),
    ],
)
def test_one_image_in_two_encodings_gives_one_picture(first: str, second: str) -> None:
    difference = pixels(sample(first)).astype(int) - pixels(sample(second)).astype(int)
    # lossy ones differ at the edges of their blocks
    assert np.percentile(np.abs(difference), 90) <= 5


def test_real_mr_agrees_with_pydicom() -> None:
    ds = dcmread(sample("MR_small.dcm"))
    theirs = apply_voi_lut(ds.pixel_array, ds)
    scaled = (theirs + 32768) / 65535 * 255
    assert np.abs(pixels(sample("MR_small.dcm")) - scaled).max() <= 1


def test_frame_of_a_multi_frame_file_is_that_frame() -> None:
    path = sample("examples_ybr_color.dcm")
    assert frame_count(path) == 30
    theirs = pixel_array(path, index=29).astype(int)
    assert np.abs(pixels(path, frame=30).astype(int) - theirs).max() <= 3


def test_deflated_instance_and_one_without_meta_header_are_rendered() -> None:
    samples = np.array([[0, 128, 255]], dtype=np.uint8)
    ds = dcmread(BytesIO(image(samples)))
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    assert np.array_equal(pixels(part10(ds)), samples)
    bare = BytesIO()
    plain = dcmread(BytesIO(image(samples)))
    del plain.file_meta
    plain.preamble = None
    plain.save_as(bare, implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert np.array_equal(pixels(bare.getvalue()), samples)


@pytest.mark.parametrize(
    ("values", "size"),
    [
        ({"PixelSpacing": [2, 1]}, (4, 6)),
        ({"PixelSpacing": [0.5, 1.0]}, (8, 3)),
        ({"PixelAspectRatio": [3, 2]}, (4, 4)),
        ({"ImagerPixelSpacing": [2, 1]}, (4, 6)),
        ({"PixelSpacing": [0, 0], "PixelAspectRatio": [1, 1]}, (4, 3)),
        ({}, (4, 3)),
    ],
)
def test_pixels_that_are_not_square_are_made_square(values: dict[str, Any], size: tuple[int, int]) -> None:
    source = image(np.zeros((3, 4), dtype=np.uint8), **values)
    assert Image.open(BytesIO(render(source, Options()))).size == size


@pytest.mark.parametrize(
    ("viewport", "size"), [((40, 40), (40, 20)), ((5, 100), (5, 2)), ((10, 5), (10, 5)), ((1, 1), (1, 1))]
)
def test_viewport_is_filled_one_way_and_the_aspect_kept(viewport: tuple[int, int], size: tuple[int, int]) -> None:
    source = image(np.zeros((5, 10), dtype=np.uint8))
    assert Image.open(BytesIO(render(source, Options(viewport=viewport)))).size == size


def test_shrinking_averages_instead_of_dropping_lines() -> None:
    stripes = np.zeros((64, 64), dtype=np.uint8)
    stripes[::2] = 200
    shown = pixels(image(stripes), viewport=(8, 8))
    assert np.abs(shown.astype(int) - 100).max() <= 5


def test_jpeg_quality_and_media_type_are_what_was_asked() -> None:
    rng = np.random.default_rng(2)
    source = image(rng.integers(0, 255, (64, 64), dtype=np.uint8))
    coarse, fine = (render(source, Options(media_type="image/jpeg", quality=q)) for q in (10, 95))
    assert Image.open(BytesIO(coarse)).format == "JPEG"
    assert Image.open(BytesIO(coarse)).mode == "L"
    assert len(coarse) < len(fine) / 2
    assert Image.open(BytesIO(render(source, Options()))).format == "PNG"


def test_frame_that_is_not_there_is_refused_with_the_count() -> None:
    path = sample("rtdose.dcm")
    for number in (0, 16, -1):
        with pytest.raises(UsageError, match="15 frames"):
            render(path, Options(frame=number))
    with pytest.raises(UsageError, match=r"1 frame$"):
        render(sample("CT_small.dcm"), Options(frame=2))


@pytest.mark.parametrize(
    "options",
    [
        {"window": (40, 0, "linear")},
        {"window": (40, 0.5, "linear")},
        {"window": (40, -1, "sigmoid")},
        {"window": (math.nan, 10, "linear")},
        {"window": (40, 400, "cubic")},
        {"viewport": (0, 10)},
        {"viewport": (70_000, 70_000)},
        {"quality": 0},
        {"quality": 101},
        {"media_type": "image/gif"},
    ],
)
def test_option_that_cannot_be_met_is_a_usage_error(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        render(sample("CT_small.dcm"), Options(**options))


def test_window_on_a_colour_image_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="RGB"):
        render(sample("SC_rgb_rle.dcm"), Options(window=(40, 400, "linear")))


def test_instance_without_pixels_says_what_it_is_and_what_to_do() -> None:
    pdf = header(1, 1, SOPClassUID=EncapsulatedPDFStorage)
    pdf.EncapsulatedDocument = b"%PDF"
    pdf.MIMETypeOfEncapsulatedDocument = "application/pdf"
    with pytest.raises(DwError, match="application/pdf") as caught:
        render(part10(pdf), Options())
    assert "retrieve bulkdata" in caught.value.hint
    for name, kind in (("test-SR.dcm", "report"), ("waveform_ecg.dcm", "waveform"), ("rtplan.dcm", "RT Plan")):
        with pytest.raises(DwError, match=kind) as caught:
            frame_count(sample(name))
        assert caught.value.hint


def test_transfer_syntax_that_cannot_be_decoded_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Decoder, "is_available", False)
    ds = header(1, 1, BitsAllocated=8)
    ds.file_meta.TransferSyntaxUID = JPEGLSLossless
    ds.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
    ds["PixelData"].VR = "OB"
    with pytest.raises(DwError, match=r"JPEG-LS.*1\.2\.840\.10008\.1\.2\.4\.80") as caught:
        render(part10(ds), Options())
    assert "pylibjpeg" in caught.value.hint


def test_video_is_refused_in_words() -> None:
    ds = header(1, 1, "YBR_FULL_422", BitsAllocated=8)
    ds.file_meta.TransferSyntaxUID = MPEG4HP41
    ds.PixelData = encapsulate([b"\0\0"])
    ds["PixelData"].VR = "OB"
    with pytest.raises(DwError, match="video"):
        render(part10(ds), Options())


@pytest.mark.parametrize(
    ("photometric", "values", "reason"),
    [
        ("HSV", {}, "HSV"),
        ("YBR_PARTIAL_420", {}, "YBR_PARTIAL_420"),
        ("YBR_RCT", {}, "contradicts"),
        ("RGB", {"SamplesPerPixel": 1}, "contradicts"),
        ("MONOCHROME2", {"PixelPresentation": "MIXED"}, "mixed"),
        ("MONOCHROME2", {"RescaleSlope": "0"}, "Slope 0"),
        ("PALETTE COLOR", {}, "without a red lookup table"),
        ("MONOCHROME2", {"WindowCenter": 1, "WindowWidth": 9, "VOILUTFunction": "CUBIC"}, "CUBIC"),
        ("MONOCHROME2", {"VOILUTSequence": [lut([1, 2], 0, 8)], "short": True}, "contains only"),
    ],
)
def test_picture_that_would_be_wrong_is_refused(photometric: str, values: dict[str, Any], reason: str) -> None:
    values = dict(values)
    if values.pop("short", False):
        values["VOILUTSequence"][0].LUTDescriptor = [99, 0, 8]
    samples = np.zeros((2, 2), np.uint16) if photometric[:3] in ("MON", "PAL") else np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(DwError, match=reason):
        render(image(samples, photometric, **values), Options())


def test_cut_pixel_data_and_files_that_are_not_dicom_are_errors() -> None:
    whole = image(np.zeros((8, 8), dtype=np.uint16))
    with pytest.raises(DwError, match="incomplete"):
        render(whole[:-20], Options())
    for junk in (b"", b"hello", b"\0" * 500, whole[:200]):
        with pytest.raises(DwError):
            render(junk, Options())
    with pytest.raises(DwError, match="cannot read"):
        render(Path("/nonexistent/slice.dcm"), Options())


def test_window_that_is_no_number_is_an_error_and_not_a_traceback() -> None:
    source = image(np.zeros((1, 1), dtype=np.uint16), WindowCenter="40", WindowWidth="1234")
    with pytest.raises(DwError):
        render(source.replace(b"1234", b"wide"), Options())


def test_only_the_frame_asked_for_is_decoded() -> None:
    frames = [np.full((4, 4), value, dtype=np.uint8) for value in (10, 20)]
    ds = dcmread(BytesIO(image(frames[0])))
    ds.NumberOfFrames = 2
    ds.compress(RLELossless, np.stack(frames), generate_instance_uid=False)
    second = list(generate_frames(ds.PixelData, number_of_frames=2))[1]
    ds.PixelData = encapsulate([b"\xff" * 80, second])
    source = part10(ds)
    assert pixels(source, frame=2).tolist() == frames[1].tolist()
    with pytest.raises(DwError, match="frame 1"):
        render(source, Options(frame=1))
