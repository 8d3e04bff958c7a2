"""Images for the tests: a real CT, pydicom's own test files, and synthetic studies of any size.

Nothing here is a patient: the CT's voxels come from a public example, all its headers are made up.
"""

import hashlib
import math
import plistlib
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path

from servers import require

ROOT = Path(__file__).resolve().parents[2]

_CRANIUM = (
    ROOT / ".cache/invesalius-examples/usr/share/doc/invesalius-examples/examples/Cranium.inv3",
    Path("/usr/share/doc/invesalius-examples/examples/Cranium.inv3"),
)

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
MULTI_FRAME_WORD = "1.2.840.10008.5.1.4.1.1.7.3"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"

CRANIUM_STUDY = "2.25.108000001"
CRANIUM_SERIES = "2.25.108000002"


def uid(*words: object) -> str:
    """A UID that is the same for the same words, under the 2.25 root (PS3.5 B.2)."""
    digest = hashlib.sha256("\0".join(map(str, words)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def element(tag: str, vr: str, value: str | int | bytes) -> bytes:
    """One data element, Explicit VR Little Endian (PS3.5 7.1.2); `tag` is eight hexadecimal digits."""
    match value:
        case bytes():
            data = value
        case int():
            data = struct.pack("<H" if vr == "US" else "<h" if vr == "SS" else "<I", value)
        case str():
            data = value.encode("utf-8")
    if len(data) % 2:
        data += b"\0" if vr in ("UI", "OB", "UN") else b" "
    head = struct.pack("<HH", int(tag[:4], 16), int(tag[4:], 16)) + vr.encode()
    if vr in ("OB", "OW", "OF", "SQ", "UC", "UN", "UR", "UT"):
        return head + struct.pack("<HI", 0, len(data)) + data
    return head + struct.pack("<H", len(data)) + data


def part10(elements: dict[str, tuple[str, str | int | bytes]], pixels: int | None = None) -> bytes:
    """A DICOM file (PS3.10 7) of these elements: tag -> VR and value. Needs 00080016 and 00080018.

    With `pixels` it ends with the head of PixelData, for so many bytes that the caller writes behind it.
    """
    sop_class, instance = (str(elements[tag][1]) for tag in ("00080016", "00080018"))
    meta = b"".join(
        (
            element("00020001", "OB", b"\0\1"),
            element("00020002", "UI", sop_class),
            element("00020003", "UI", instance),
            element("00020010", "UI", EXPLICIT_LITTLE),
            element("00020012", "UI", "2.25.108000000"),
        )
    )
    data = b"".join(element(tag, vr, value) for tag, (vr, value) in sorted(elements.items()))
    if pixels is not None:
        data += struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, pixels)
    return b"\0" * 128 + b"DICM" + element("00020000", "UL", len(meta)) + meta + data


def instance(
    study: str = "2.25.1",
    series: str = "2.25.2",
    sop: str = "2.25.3",
    *,
    number: int = 1,
    side: int = 16,
    frames: int = 1,
    **changed: tuple[str, str | int | bytes],
) -> bytes:
    """A small valid image as a whole file: `side`² × `frames` pixels of 16 bits, others for each `number`.

    `changed` elements come as `t00100010=("PN", "Doe^Jane")`.
    """
    head = _head(study, series, sop, number, side, frames, {k[1:]: v for k, v in changed.items()})
    return head + b"".join(_pixels(number, side * side * frames * 2))


def _head(
    study: str,
    series: str,
    sop: str,
    number: int,
    side: int,
    frames: int,
    changed: dict[str, tuple[str, str | int | bytes]] | None = None,
) -> bytes:
    elements: dict[str, tuple[str, str | int | bytes]] = {
        "00080005": ("CS", "ISO_IR 192"),
        "00080016": ("UI", SECONDARY_CAPTURE if frames == 1 else MULTI_FRAME_WORD),
        "00080018": ("UI", sop),
        "00080020": ("DA", "20240315"),
        "00080030": ("TM", "101500"),
        "00080050": ("SH", "ACC1"),
        "00080060": ("CS", "OT"),
        "00080064": ("CS", "SYN"),
        "00080090": ("PN", ""),
        "00081030": ("LO", "Synthetic"),
        "00100010": ("PN", "Synthetic^Test"),
        "00100020": ("LO", "SYN1"),
        "00100030": ("DA", "19700101"),
        "00100040": ("CS", "O"),
        "0020000D": ("UI", study),
        "0020000E": ("UI", series),
        "00200010": ("SH", "1"),
        "00200011": ("IS", "1"),
        "00200013": ("IS", str(number)),
        "00280002": ("US", 1),
        "00280004": ("CS", "MONOCHROME2"),
        "00280010": ("US", side),
        "00280011": ("US", side),
        "00280100": ("US", 16),
        "00280101": ("US", 16),
        "00280102": ("US", 15),
        "00280103": ("US", 0),
    }
    if frames > 1:
        elements["00280008"] = ("IS", str(frames))
        elements["00280009"] = ("AT", struct.pack("<HH", 0x0018, 0x1063))
        elements["00181063"] = ("DS", "40")
    return part10(elements | (changed or {}), pixels=side * side * frames * 2)


def _pixels(number: int, size: int) -> Iterator[bytes]:
    """`size` bytes in pieces of at most 1 MiB: cheap noise that compression can't shrink."""
    block = hashlib.shake_128(str(number).encode()).digest(min(size, 1 << 20))
    turn = 0
    while size > 0:
        piece = struct.pack("<Q", turn) + block[8:] if turn else block
        yield piece[:size]
        size -= len(piece)
        turn += 1


def big_study(folder: Path, size: int, *, count: int = 1, series: int = 1, study: str | None = None) -> list[Path]:
    """Write a study of about `size` bytes: `count` instances in so many `series`; returns the files.

    Instances over 1 MiB are multi-frame, each below 4 GiB. The same arguments give the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    study = study or uid("big", size, count, series)
    share = max(512, size // count)
    side = 512 if share > 1 << 20 else max(2, math.isqrt(share // 2))
    frames = max(1, share // (side * side * 2))
    files = []
    for number in range(1, count + 1):
        path = folder / f"{number:05}.dcm"
        head = _head(study, uid(study, number % series), uid(study, "instance", number), number, side, frames)
        with path.open("wb") as out:
            out.write(head)
            out.writelines(_pixels(number, side * side * frames * 2))
        files.append(path)
    return files


def cranium(folder: Path) -> list[Path]:
    """Write the CT of a head, 108 slices of 256 × 256 (0.957² × 1.5 mm, 14 MB); the files in order.

    The voxels are those of Debian's package invesalius-examples (GPL-2); all attributes but the geometry are
    invented. Slice 1 is the lowest. The same files come out each time.
    """
    import numpy as np

    found = next((path for path in _CRANIUM if path.exists()), None)
    source = require("Debian's package invesalius-examples", found, "run `sh scripts/test`, which fetches it")
    with tarfile.open(source) as archive:
        plist = matrix = None
        for member in archive:
            content = archive.extractfile(member)
            if content is not None and member.name.endswith("main.plist"):
                plist = plistlib.loads(content.read())
            if content is not None and member.name.endswith("matrix.dat"):
                matrix = content.read()
    assert plist is not None and matrix is not None
    slices, rows, columns = plist["matrix"]["shape"]
    column_gap, row_gap, slice_gap = (round(gap, 6) for gap in plist["spacing"])
    volume = np.frombuffer(matrix, dtype="<i2").reshape(slices, rows, columns)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for index in range(slices):
        z = f"{index * slice_gap:g}"
        elements: dict[str, tuple[str, str | int | bytes]] = {
            "00080005": ("CS", "ISO_IR 100"),
            "00080008": ("CS", "ORIGINAL\\PRIMARY\\AXIAL"),
            "00080016": ("UI", CT_IMAGE),
            "00080018": ("UI", f"2.25.108001{index + 1:03}"),
            "00080020": ("DA", "20240315"),
            "00080021": ("DA", "20240315"),
            "00080030": ("TM", "093000"),
            "00080050": ("SH", "A108"),
            "00080060": ("CS", "CT"),
            "00080070": ("LO", "dw tests"),
            "00080090": ("PN", "Referring^Doctor"),
            "00081030": ("LO", "Head"),
            "0008103E": ("LO", "Axial 1.5 mm"),
            "00100010": ("PN", "Cranium^Test"),
            "00100020": ("LO", "CRANIUM1"),
            "00100030": ("DA", "19700101"),
            "00100040": ("CS", "O"),
            "00180050": ("DS", f"{slice_gap:g}"),
            "00180060": ("DS", "120"),
            "0020000D": ("UI", CRANIUM_STUDY),
            "0020000E": ("UI", CRANIUM_SERIES),
            "00200010": ("SH", "1"),
            "00200011": ("IS", "1"),
            "00200012": ("IS", "1"),
            "00200013": ("IS", str(index + 1)),
            "00200032": ("DS", f"0\\0\\{z}"),
            "00200037": ("DS", "1\\0\\0\\0\\1\\0"),
            "00200052": ("UI", "2.25.108000003"),
            "00201040": ("LO", ""),
            "00201041": ("DS", z),
            "00280002": ("US", 1),
            "00280004": ("CS", "MONOCHROME2"),
            "00280010": ("US", rows),
            "00280011": ("US", columns),
            "00280030": ("DS", f"{row_gap:g}\\{column_gap:g}"),
            "00280100": ("US", 16),
            "00280101": ("US", 12),
            "00280102": ("US", 11),
            "00280103": ("US", 0),
            "00281050": ("DS", "40"),
            "00281051": ("DS", "400"),
            "00281052": ("DS", "-1024"),
            "00281053": ("DS", "1"),
        }
        stored = np.clip(volume[index, ::-1] + 1024, 0, 4095).astype("<u2").tobytes()
        path = folder / f"slice{index + 1:03}.dcm"
        path.write_bytes(part10(elements, pixels=len(stored)) + stored)
        files.append(path)
    return files


def pydicom_files() -> list[Path]:
    """Every file in the data folders of the installed pydicom: DICOM of all kinds, broken ones, others."""
    import pydicom.data

    base = Path(pydicom.data.__file__).parent
    folders = (base / name for name in ("charset_files", "palettes", "test_files"))
    found = (path for folder in folders for path in folder.rglob("*"))
    return sorted(path for path in found if path.is_file() and "__pycache__" not in path.parts)
