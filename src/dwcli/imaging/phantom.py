"""A made CT of a made head, for the demo archive and the tests: no patient was ever in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING
from uuid import NAMESPACE_OID, uuid5

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FIELD = 230.4  # mm, both ways: 256 pixels of 0.9 mm
_HEIGHT = 160.0  # mm: 40 slices of 4 mm
_INTERCEPT = -1024


@dataclass(frozen=True, slots=True)
class _Ellipsoid:
    """Centre and half axes in mm (x to the left, y to the back, z up, as DICOM's), turn about z in degrees,
    HU.
    """

    center: tuple[float, float, float]
    axes: tuple[float, float, float]
    hu: int
    turn: float = 0.0


# painted in this order, each over what is there
_HEAD = (
    _Ellipsoid((0, 0, -8), (78, 98, 86), 40),  # scalp
    _Ellipsoid((0, -95, -34), (10, 16, 16), 40),  # nose
    _Ellipsoid((0, 0, -8), (73, 93, 81), 1000),  # skull
    _Ellipsoid((0, 0, -8), (67, 87, 75), 5),  # the fluid round the brain
    _Ellipsoid((0, 0, -6), (65, 85, 71), 38),  # cortex
    _Ellipsoid((-30, -2, 0), (26, 68, 54), 30),  # white matter, one half and the other
    _Ellipsoid((30, -2, 0), (26, 68, 54), 30),
    _Ellipsoid((0, -44, 18), (1.2, 36, 40), 5),  # the cleft between them
    _Ellipsoid((0, 50, 16), (1.2, 30, 36), 48),  # falx
    _Ellipsoid((-17, 2, 0), (11, 20, 16), 36, 18),  # deep grey matter
    _Ellipsoid((17, 2, 0), (11, 20, 16), 36, -18),
    _Ellipsoid((-12, -8, 12), (5.5, 27, 14), 5, -14),  # lateral ventricles
    _Ellipsoid((12, -8, 12), (5.5, 27, 14), 5, 14),
    _Ellipsoid((0, 5, -5), (2.4, 12, 9), 5),  # third ventricle
    _Ellipsoid((0, 25, 0), (2.6, 2.6, 4), 250),  # pineal gland, calcified
    _Ellipsoid((38, 24, 22), (11, 9, 11), 65, 20),  # a small bleeding on the left
    _Ellipsoid((0, 38, -45), (38, 30, 19), 36),  # cerebellum
    _Ellipsoid((0, 24, -44), (7, 4, 7), 5),  # fourth ventricle
    _Ellipsoid((0, 4, -52), (13, 14, 20), 33),  # brain stem
    _Ellipsoid((-42, 12, -54), (20, 8, 9), 900, 30),  # petrous bones
    _Ellipsoid((42, 12, -54), (20, 8, 9), 900, -30),
    _Ellipsoid((0, -74, -26), (15, 7, 12), -1000),  # sinuses
    _Ellipsoid((0, -50, -52), (8, 24, 16), -1000),
    _Ellipsoid((-30, -54, -42), (18, 25, 16), -80),  # eye sockets: fat
    _Ellipsoid((30, -54, -42), (18, 25, 16), -80),
    _Ellipsoid((-30, -63, -42), (12, 13, 12), 12),  # eyes
    _Ellipsoid((30, -63, -42), (12, 13, 12), 12),
    _Ellipsoid((-30, -73, -42), (5, 2.5, 5), 90),  # their lenses
    _Ellipsoid((30, -73, -42), (5, 2.5, 5), 90),
    _Ellipsoid((-27, -40, -42), (2.2, 12, 2.5), 35, 14),  # optic nerves
    _Ellipsoid((27, -40, -42), (2.2, 12, 2.5), 35, -14),
)


def make_phantom(slices: int = 40, size: int = 256) -> Iterator[bytes]:
    """A CT series of `slices` axial images of `size` by `size` pixels, from the base up: Part 10 files, one
    at a time.

    Explicit VR Little Endian, signed 16 bit, Rescale Intercept -1024, window 40/400; the same bytes and UIDs
    (under 2.25.) for the same arguments. The head fills the field whatever the arguments: 40 and 256 give
    pixels of 0.9 mm and slices of 4 mm, other numbers coarser or finer ones. `ValueError` for a number below
    1.
    """
    if slices < 1 or size < 1:
        raise ValueError("a phantom needs at least one slice and one pixel")
    for index in range(slices):
        yield _instance(index, slices, size)


def _uid(*parts: object) -> str:
    return f"2.25.{uuid5(NAMESPACE_OID, 'dwcli phantom ' + ' '.join(map(str, parts))).int}"


def _slice(z: float, size: int) -> "NDArray[np.int16]":
    """Hounsfield units (size, size) of the axial plane at `z` mm; edges soften over one pixel."""
    import numpy as np

    spacing = _FIELD / size
    at = (np.arange(size) - (size - 1) / 2) * spacing
    x, y = np.meshgrid(at, at)
    values = np.full((size, size), -1000.0)
    for part in _HEAD:
        (cx, cy, cz), (ax, ay, az) = part.center, part.axes
        height = ((z - cz) / az) ** 2
        if height >= 1:
            continue
        cos, sin = np.cos(np.radians(part.turn)), np.sin(np.radians(part.turn))
        u, v = (x - cx) * cos + (y - cy) * sin, (y - cy) * cos - (x - cx) * sin
        radius = np.sqrt((u / ax) ** 2 + (v / ay) ** 2 + height)
        inside = np.clip(0.5 + (1 - radius) * min(ax, ay) / spacing, 0.0, 1.0)
        values += (part.hu - values) * inside
    hounsfield: NDArray[np.int16] = np.rint(values).astype(np.int16)
    return hounsfield


def _instance(index: int, slices: int, size: int) -> bytes:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

    spacing, thickness = _FIELD / size, _HEIGHT / slices
    z = (index + 0.5) * thickness - _HEIGHT / 2
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(_uid("implementation"))
    ds = Dataset()
    ds.file_meta = meta
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = _uid(slices, size, "instance", index)
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = "20240301"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = "120000"
    ds.AccessionNumber = "PHANTOM1"
    ds.Modality = "CT"
    ds.Manufacturer = "dw"
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = "Head phantom"
    ds.SeriesDescription = "Axial, made by arithmetic"
    ds.PatientName = "Bellona^Demo"
    ds.PatientID = "BELLONA-1"
    ds.PatientBirthDate = "19700101"
    ds.PatientSex = "O"
    ds.BodyPartExamined = "HEAD"
    ds.KVP = "120"
    ds.SliceThickness = _decimal(thickness)
    ds.PatientPosition = "HFS"
    ds.StudyInstanceUID = _uid(slices, size, "study")
    ds.SeriesInstanceUID = _uid(slices, size, "series")
    ds.FrameOfReferenceUID = _uid(slices, size, "frame of reference")
    ds.PositionReferenceIndicator = ""
    ds.StudyID = "1"
    ds.SeriesNumber = 1
    ds.AcquisitionNumber = 1
    ds.InstanceNumber = index + 1
    corner = _decimal(-(size - 1) / 2 * spacing)
    ds.ImagePositionPatient = [corner, corner, _decimal(z)]
    ds.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    ds.SliceLocation = _decimal(z)
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows = ds.Columns = size
    ds.PixelSpacing = [_decimal(spacing), _decimal(spacing)]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.WindowCenter, ds.WindowWidth = "40", "400"
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = str(_INTERCEPT), "1", "HU"
    ds.PixelData = (_slice(z, size) - _INTERCEPT).astype("<i2").tobytes()
    out = BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _decimal(value: float) -> str:
    return f"{value:.6g}"
