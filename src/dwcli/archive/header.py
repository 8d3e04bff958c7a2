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
from dwcli.dicomweb import content
from dwcli.errors import ProtocolError
from dwcli.imaging import reading

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Json = dict[str, Any]

STUDY = (
    "00080020", "00080030", "00080050", "00080090", "00080201", "00081030",
    "00100010", "00100020", "00100030", "00100040", "0020000D", "00200010",
)  # fmt: skip
SERIES = (
    "00080021", "00080031", "00080060", "0008103E", "00180015", "0020000E", "00200011",
    "00400244", "00400245", "00400275",
)  # fmt: skip
_INSTANCE = ("00080016", "00080018", "00200013", "00280008", "00280010", "00280011", "00280100")
REQUEST = "00400275"  # RequestAttributesSequence: of its items only these two are kept (PS3.18 table 10.6.1-5)
REQUESTED = ("00400009", "00401001")

# Matched as text. Dates, times, UIDs and numbers have columns of their own.
STUDY_TEXT = ("00080050", "00080090", "00081030", "00100010", "00100020", "00100040", "00200010")
SERIES_TEXT = ("0008103E", "00180015", "00400275.00400009", "00400275.00401001")
NAMES = frozenset({"00080090", "00100010"})


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
    tags = [int(tag, 16) for tag in (*STUDY, *SERIES, *_INSTANCE, "00080005")]
    with warnings.catch_warnings():
        # pydicom warns about odd values in other people's files
        warnings.simplefilter("ignore")
        try:
            with path.open("rb") as stream:
                found = reading.read(stream, tags=tags)
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
    study, series, instance = (_first(rows, tag) for tag in ("0020000D", "0020000E", "00080018"))
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
        sop_class=_first(rows, "00080016") or str(getattr(meta, "MediaStorageSOPClassUID", "")),
        syntax=syntax if syntax == reading.syntax_of(found) else "",
        study_row=_dump({tag: rows[tag] for tag in STUDY if tag in rows}),
        series_row=_dump({tag: rows[tag] for tag in SERIES if tag in rows}),
        study_keys=_keys(rows, STUDY_TEXT),
        series_keys=_keys(rows, SERIES_TEXT),
        dates={
            tag: (time_of if tag in TIMES else date_of)(_first(rows, tag))
            for tag in ("00080020", "00080030", "00100030", "00080021", "00080031", "00400244", "00400245")
        },
        modality=_first(rows, "00080060"),
        series_number=_number(rows, "00200011"),
        number=_number(rows, "00200013"),
        rows=_number(rows, "00280010"),
        columns=_number(rows, "00280011"),
        bits=_number(rows, "00280100"),
        frames=_number(rows, "00280008"),
    )


TIMES = frozenset({"00080030", "00080031", "00400245"})


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
