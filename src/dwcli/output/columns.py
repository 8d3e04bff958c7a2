"""The columns of a table: their titles, and their widths on a terminal."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple
from unicodedata import bidirectional

from dwcli.dicomweb import dicomjson, dictionary
from dwcli.dicomweb.dicomjson import Row
from dwcli.output.text import visible

_DATE = r"(\d{4})(\d\d)(\d\d)"
_TIME = r"(\d\d)(\d\d)(\d\d)(\.\d+)?"

# Left-to-right mark: without it a terminal that reorders text puts the next column before an Arabic name
LRM = "\u200e"

_TITLES = {
    "00080020": "Date",
    "00080021": "Date",
    "00080030": "Time",
    "00080031": "Time",
    "00080050": "Accession",
    "00080060": "Mod.",
    "00080061": "Mod.",
    "00080090": "Referrer",
    "00081030": "Description",
    "0008103E": "Description",
    "00100010": "Patient",
    "00100020": "ID",
    "00100030": "Born",
    "00100040": "Sex",
    "00200010": "Study ID",
    "00200011": "No.",
    "00200013": "No.",
    "00201206": "Series",
    "00201208": "Inst.",
    "00201209": "Inst.",
    "00280008": "Frames",
    "0020000D": "Study UID",
    "0020000E": "Series UID",
    "00080018": "Instance UID",
    "00080016": "SOP Class UID",
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
