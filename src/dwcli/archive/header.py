"""What the index keeps of one file: identity, the rows that searches return, and the values to match."""

import json
import os
import re
import unicodedata
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from dwcli.archive import jsonmodel
from dwcli.dicomweb import content, tags
from dwcli.errors import ProtocolError
from dwcli.imaging import reading

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Json = dict[str, Any]

STUDY = (
    tags.StudyDate,
    tags.StudyTime,
    tags.AccessionNumber,
    tags.ReferringPhysicianName,
    tags.TimezoneOffsetFromUTC,
    tags.StudyDescription,
    tags.PatientName,
    tags.PatientID,
    tags.PatientBirthDate,
    tags.PatientSex,
    tags.StudyInstanceUID,
    tags.StudyID,
)
SERIES = (
    tags.SeriesDate,
    tags.SeriesTime,
    tags.Modality,
    tags.SeriesDescription,
    tags.BodyPartExamined,
    tags.SeriesInstanceUID,
    tags.SeriesNumber,
    tags.PerformedProcedureStepStartDate,
    tags.PerformedProcedureStepStartTime,
    tags.RequestAttributesSequence,
)
_INSTANCE = (
    tags.SOPClassUID,
    tags.SOPInstanceUID,
    tags.InstanceNumber,
    tags.NumberOfFrames,
    tags.Rows,
    tags.Columns,
    tags.BitsAllocated,
)
# Of its items only these two are kept (PS3.18 table 10.6.1-5).
REQUEST = tags.RequestAttributesSequence
REQUESTED = (tags.ScheduledProcedureStepID, tags.RequestedProcedureID)

# Matched as text. Dates, times, UIDs and numbers have columns of their own.
STUDY_TEXT = (
    tags.AccessionNumber,
    tags.ReferringPhysicianName,
    tags.StudyDescription,
    tags.PatientName,
    tags.PatientID,
    tags.PatientSex,
    tags.StudyID,
)
SERIES_TEXT = (tags.SeriesDescription, tags.BodyPartExamined, "00400275.00400009", "00400275.00401001")
NAMES = frozenset({tags.ReferringPhysicianName, tags.PatientName})


class Unfit(ProtocolError):
    """A file that cannot be put in the index."""


@dataclass(frozen=True, slots=True)
class Header:
    """One file as the index has it. `study_row` and `series_row`: DICOM JSON; keys: (tag, text to match).

    `syntax` is empty where group 2 names none, or another than that of the bytes.
    """

    study: str
    series: str
    instance: str
    sop_class: str
    syntax: str
    study_row: str
    series_row: str
    study_keys: frozenset[tuple[str, str]]
    series_keys: frozenset[tuple[str, str]]
    dates: dict[str, str]
    modality: str
    series_number: int | None
    number: int | None
    rows: int | None
    columns: int | None
    bits: int | None
    frames: int | None


def read(path: Path) -> Header:
    """Read a file's header, with its texts in Unicode. Raises Unfit, OSError."""
    wanted = [int(tag, 16) for tag in (*STUDY, *SERIES, *_INSTANCE, tags.SpecificCharacterSet)]
    with warnings.catch_warnings():
        # pydicom warns about odd values in other people's files
        warnings.simplefilter("ignore")
        try:
            with path.open("rb") as stream:
                found = reading.read(stream, tags=wanted)
                _expect_end(stream)
            return _header(found)
        except (OSError, Unfit):
            raise
        except Exception as error:  # whatever pydicom meets in bytes that break the rules
            raise Unfit(f"cannot be read: {' '.join(str(error).split()) or type(error).__name__}") from error


def _expect_end(stream: BinaryIO) -> None:
    """Raises Unfit where the file says by its own structure that it goes on (PS3.5 7.1, A.4)."""

    def piece(at: int, size: int) -> bytes:
        stream.seek(at)
        return stream.read(size)

    if content.end_of(piece, os.fstat(stream.fileno()).st_size, content.Kind.DICOM) is content.End.TRUNCATED:
        raise Unfit("the file is truncated")


def _header(found: "Dataset") -> Header:
    rows = {
        tag: jsonmodel.element(found, int(tag, 16)) for tag in (*STUDY, *SERIES, *_INSTANCE) if int(tag, 16) in found
    }
    study, series, instance = (
        _first(rows, tag) for tag in (tags.StudyInstanceUID, tags.SeriesInstanceUID, tags.SOPInstanceUID)
    )
    for uid, name in ((study, "Study"), (series, "Series"), (instance, "SOP")):
        if not uid:
            raise Unfit(f"it has no {name} Instance UID")
        if not uid.isascii():
            raise Unfit(f"its {name} Instance UID is not ASCII")
    if REQUEST in rows:
        items = [{tag: item[tag] for tag in REQUESTED if tag in item} for item in rows[REQUEST].get("Value", [])]
        rows[REQUEST] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
    meta = getattr(found, "file_meta", None)
    syntax = str(getattr(meta, "TransferSyntaxUID", ""))
    return Header(
        study=study,
        series=series,
        instance=instance,
        sop_class=_first(rows, tags.SOPClassUID) or str(getattr(meta, "MediaStorageSOPClassUID", "")),
        syntax=syntax if syntax == reading.syntax_of(found) else "",
        study_row=_dump({tag: rows[tag] for tag in STUDY if tag in rows}),
        series_row=_dump({tag: rows[tag] for tag in SERIES if tag in rows}),
        study_keys=_keys(rows, STUDY_TEXT),
        series_keys=_keys(rows, SERIES_TEXT),
        dates={
            tag: (time_of if tag in TIMES else date_of)(_first(rows, tag))
            for tag in (
                tags.StudyDate,
                tags.StudyTime,
                tags.PatientBirthDate,
                tags.SeriesDate,
                tags.SeriesTime,
                tags.PerformedProcedureStepStartDate,
                tags.PerformedProcedureStepStartTime,
            )
        },
        modality=_first(rows, tags.Modality),
        series_number=_number(rows, tags.SeriesNumber),
        number=_number(rows, tags.InstanceNumber),
        rows=_number(rows, tags.Rows),
        columns=_number(rows, tags.Columns),
        bits=_number(rows, tags.BitsAllocated),
        frames=_number(rows, tags.NumberOfFrames),
    )


TIMES = frozenset({tags.StudyTime, tags.SeriesTime, tags.PerformedProcedureStepStartTime})


def _dump(row: Json) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))


def _first(rows: Json, tag: str) -> str:
    for value in rows.get(tag, {}).get("Value", []):
        if value is not None:
            return str(value).strip(" \0")
    return ""


def _number(rows: Json, tag: str) -> int | None:
    for value in rows.get(tag, {}).get("Value", []):
        if isinstance(value, int) and abs(value) < 1 << 63:
            return value
    return None


def _keys(rows: Json, tags: tuple[str, ...]) -> frozenset[tuple[str, str]]:
    keys = set()
    for path in tags:
        tag, _, inner = path.partition(".")
        elements = [rows.get(tag, {})]
        if inner:
            elements = [item.get(inner, {}) for item in elements[0].get("Value", [])]
        for element in elements:
            for value in element.get("Value", []):
                if isinstance(value, dict):
                    keys |= {(path, folded(group)) for group in value.values()}
                elif value is not None:
                    keys.add((path, str(value).strip()))
    return frozenset(key for key in keys if key[1])


def folded(name: str) -> str:
    """A person's name as it is matched: in any case, without empty components at its end."""
    return unicodedata.normalize("NFC", name).strip().rstrip("^").strip().casefold()


def date_of(value: str) -> str:
    """A DA value as YYYYMMDD, with the dots of ACR-NEMA removed; empty where it is none."""
    digits = value.replace(".", "").strip()
    return digits if re.fullmatch(r"\d{8}", digits) else ""


def time_of(value: str) -> str:
    """A TM value as HHMMSS.FFFFFF, so that texts compare as times; empty where it is none."""
    digits = value.replace(":", "").strip()
    match = re.fullmatch(r"(\d\d)(\d\d)?(\d\d)?(?:\.(\d{1,6}))?", digits)
    if not match:
        return ""
    hours, minutes, seconds, fraction = match.groups()
    return f"{hours}{minutes or '00'}{seconds or '00'}.{(fraction or '').ljust(6, '0')}"
