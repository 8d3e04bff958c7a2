"""Synthetic instances as DICOM files (PS3.10 7.1), and store request bodies around them, well-formed and odd."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import uuid4

from dwcli.dicomweb import refs, tags

BOUNDARY = "dw-doctor-6b1f"
EXPLICIT = "1.2.840.10008.1.2.1"
PATIENT_ID_PREFIX = "DW-DOCTOR"
"""The prefix of PatientID. Each study has its own, as some servers keep the first name of a patient forever."""
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_FILLER = b" " * 4094 + b"\r\n"
_PART = "Content-Type: application/dicom\r\n"


def new_uid() -> str:
    """Return a UID that was never used before (PS3.5 B.2)."""
    return f"2.25.{uuid4().int}"


@dataclass(frozen=True, slots=True)
class SyntheticInstance:
    """An image of 4 × 4 grey pixels. `name`: the patient's, as bytes in `charset` (PS3.3 C.12.1.1.2)."""

    study: str
    series: str = field(default_factory=new_uid)
    instance: str = field(default_factory=new_uid)
    name: bytes = b"DW^DOCTOR"
    charset: str = "ISO_IR 192"
    grey: int = 0

    def file(self) -> bytes:
        """Return the whole file."""
        meta = b"".join(
            [
                _element(tags.FileMetaInformationVersion, "OB", b"\0\1"),
                _element(tags.MediaStorageSOPClassUID, "UI", _SECONDARY_CAPTURE),
                _element(tags.MediaStorageSOPInstanceUID, "UI", self.instance),
                _element(tags.TransferSyntaxUID, "UI", EXPLICIT),
                _element(tags.ImplementationClassUID, "UI", "2.25.172911390829"),
            ]
        )
        elements: dict[str, tuple[str, str | int | bytes]] = {
            tags.SpecificCharacterSet: ("CS", self.charset),
            tags.SOPClassUID: ("UI", _SECONDARY_CAPTURE),
            tags.SOPInstanceUID: ("UI", self.instance),
            tags.StudyDate: ("DA", "20260101"),
            tags.Modality: ("CS", "OT"),
            tags.ConversionType: ("CS", "SYN"),
            tags.PatientName: ("PN", self.name),
            tags.PatientID: ("LO", f"{PATIENT_ID_PREFIX}-{self.study[-8:]}"),
            refs.STUDY_UID: ("UI", self.study),
            refs.SERIES_UID: ("UI", self.series),
            tags.InstanceNumber: ("IS", "1"),
            tags.SamplesPerPixel: ("US", 1),
            tags.PhotometricInterpretation: ("CS", "MONOCHROME2"),
            tags.Rows: ("US", 4),
            tags.Columns: ("US", 4),
            tags.BitsAllocated: ("US", 8),
            tags.BitsStored: ("US", 8),
            tags.HighBit: ("US", 7),
            tags.PixelRepresentation: ("US", 0),
            tags.PixelData: ("OB", bytes((self.grey + value) % 256 for value in range(0, 256, 16))),
        }
        data = b"".join(_element(tag, vr, value) for tag, (vr, value) in sorted(elements.items()))
        return (
            bytes(128)
            + b"DICM"
            + _element(tags.FileMetaInformationGroupLength, "UL", struct.pack("<I", len(meta)))
            + meta
            + data
        )


def _element(tag: str, vr: str, value: str | int | bytes) -> bytes:
    data = struct.pack("<H", value) if isinstance(value, int) else value.encode() if isinstance(value, str) else value
    if len(data) % 2:
        data += b"\0" if vr in ("UI", "OB") else b" "
    head = struct.pack("<HH", int(tag[:4], 16), int(tag[4:], 16)) + vr.encode()
    return head + (struct.pack("<HI", 0, len(data)) if vr == "OB" else struct.pack("<H", len(data))) + data


def multipart_body(*files: bytes, head: str = _PART, closed: bool = True) -> bytes:
    """Return the body of a store request; `head`: the header lines of each part, `closed`: with the last boundary."""
    body = b"".join(f"--{BOUNDARY}\r\n{head}\r\n".encode() + file + b"\r\n" for file in files)
    return body + f"--{BOUNDARY}--\r\n".encode() if closed else body.removesuffix(b"\r\n")


class Padded:
    """A body of exactly `length` bytes: padded before the first boundary, where RFC 2046 5.1.1 ignores it."""

    def __init__(self, body: bytes, length: int) -> None:
        self._body = body
        self.length = max(length, len(body))

    def __iter__(self) -> Iterator[bytes]:
        left = self.length - len(self._body)
        while left > 0:
            # The last line ends before the boundary.
            yield _FILLER[-left:] if left < len(_FILLER) else _FILLER
            left -= len(_FILLER)
        yield self._body
