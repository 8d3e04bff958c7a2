"""The columns of a table: their titles, and their widths on a terminal."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple
from unicodedata import bidirectional

from dwcli.dicomweb import dicomjson, dictionary, tags
from dwcli.dicomweb.dicomjson import Row
from dwcli.output.text import visible

_DATE = r"(\d{4})(\d\d)(\d\d)"
_TIME = r"(\d\d)(\d\d)(\d\d)(\.\d+)?"

# Left-to-right mark: without it a terminal that reorders text puts the next column before an Arabic name
LRM = "\u200e"

_TITLES = {
    tags.StudyDate: "Date",
    tags.SeriesDate: "Date",
    tags.StudyTime: "Time",
    tags.SeriesTime: "Time",
    tags.AccessionNumber: "Accession",
    tags.Modality: "Mod.",
    tags.ModalitiesInStudy: "Mod.",
    tags.ReferringPhysicianName: "Referrer",
    tags.StudyDescription: "Description",
    tags.SeriesDescription: "Description",
    tags.PatientName: "Patient",
    tags.PatientID: "ID",
    tags.PatientBirthDate: "Born",
    tags.PatientSex: "Sex",
    tags.StudyID: "Study ID",
    tags.SeriesNumber: "No.",
    tags.InstanceNumber: "No.",
    tags.NumberOfStudyRelatedSeries: "Series",
    tags.NumberOfStudyRelatedInstances: "Inst.",
    tags.NumberOfSeriesRelatedInstances: "Inst.",
    tags.NumberOfFrames: "Frames",
    tags.StudyInstanceUID: "Study UID",
    tags.SeriesInstanceUID: "Series UID",
    tags.SOPInstanceUID: "Instance UID",
    tags.SOPClassUID: "SOP Class UID",
}


class Column(NamedTuple):
    title: str
    kind: Literal["text", "uid", "number", "date"] = "text"
    keep: bool = False


def column_of(tag: str, *, keep: bool) -> Column:
    title = _TITLES.get(tag.upper()) or dictionary.keyword(tag) or tag
    match dictionary.vr(tag):
        case "UI":
            return Column(title, "uid", keep)
        case "DA" | "TM":
            return Column(title, "date", keep)
        case "IS" | "US" | "UL" | "UV" | "SS" | "SL" | "SV":
            return Column(title, "number", keep)
    return Column(title, "text", keep)


def cell_of(row: Row, tag: str) -> str:
    text = dicomjson.text(row, tag)
    match dictionary.vr(tag):
        case "DA" if found := re.fullmatch(_DATE, text):
            return "-".join(found.groups())
        case "TM" if found := re.fullmatch(_TIME, text):
            return ":".join(found.groups()[:3])
    return visible(text)


def fit(columns: Sequence[Column], widths: Sequence[int], room: int | None) -> dict[int, int]:
    """Return index -> width of the columns shown within `room` screen columns (None: unlimited), two apart.

    The widest shrink first, down to a useful minimum (dates and numbers do not shrink); then columns are dropped from
    the right, except the first and those to keep.
    """
    fitted = {i: max(widths[i], width_of(column.title)) for i, column in enumerate(columns)}
    if room is None:
        return fitted
    least = {"uid": 13, "text": 8}
    floors = {i: min(least.get(columns[i].kind, max(widths[i], 1)), width) for i, width in fitted.items()}
    droppable = [i for i in fitted if i and not columns[i].keep]
    while sum(floors[i] + 2 for i in fitted) - 2 > room and droppable:
        del fitted[droppable.pop()]
    while sum(fitted.values()) + 2 * (len(fitted) - 1) > room:
        loose = [i for i in fitted if fitted[i] > floors[i]] or [i for i in fitted if fitted[i] > 1]
        if not loose:
            break
        fitted[max(loose, key=lambda i: fitted[i])] -= 1
    return fitted


def width_of(text: str) -> int:
    """Return the screen columns of `text`: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, width: int, ellipsis: str, *, middle: bool = False) -> str:
    """Truncate `text` to `width` screen columns; `middle` keeps the tail, where UIDs of one root differ."""
    if width_of(text) <= width:
        return text
    if middle and text.isascii() and width >= 5:
        head = (width - 1) // 3
        return text[:head] + ellipsis + text[head + 1 - width :]
    end = used = 0
    for character in text:
        used += width_of(character)
        if used > width - 1:
            break
        end += 1
    return text[:end] + ellipsis


def reordered(text: str) -> bool:
    return not text.isascii() and any(bidirectional(character) in ("R", "AL") for character in text)


def numeric(records: Sequence[Mapping[str, object]], key: str) -> bool:
    found = [record[key] for record in records if record.get(key) is not None]
    return bool(found) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in found)
