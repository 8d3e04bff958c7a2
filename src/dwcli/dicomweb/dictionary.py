"""The data dictionary (PS3.6): keyword <-> tag <-> VR, for the standard's attributes; read on first use.

A tag here is always eight upper-case hexadecimal digits, as in DICOM JSON: "00100020".
"""

import re
from functools import cache, lru_cache
from pathlib import Path

from dwcli.errors import UsageError

_TAG = re.compile(r"\(?([0-9A-Fa-f]{4})[, ]? ?([0-9A-Fa-f]{4})\)?")

# What QIDO-RS lets one ask for at each level (PS3.18 tables 10.6.1-5 and 10.6.3-3 to -5), most used first.
_LEVELS: dict[str, tuple[str, ...]] = {
    "study": (
        "00100010",  # PatientName
        "00100020",  # PatientID
        "00080020",  # StudyDate
        "00081030",  # StudyDescription
        "00080061",  # ModalitiesInStudy
        "0020000D",  # StudyInstanceUID
        "00080050",  # AccessionNumber
        "00080030",  # StudyTime
        "00100030",  # PatientBirthDate
        "00100040",  # PatientSex
        "00080090",  # ReferringPhysicianName
        "00200010",  # StudyID
        "00201206",  # NumberOfStudyRelatedSeries
        "00201208",  # NumberOfStudyRelatedInstances
    ),
    "series": (
        "00080060",  # Modality
        "0020000E",  # SeriesInstanceUID
        "0008103E",  # SeriesDescription
        "00200011",  # SeriesNumber
        "00180015",  # BodyPartExamined
        "00080021",  # SeriesDate
        "00080031",  # SeriesTime
        "00400244",  # PerformedProcedureStepStartDate
        "00400245",  # PerformedProcedureStepStartTime
        "00400275",  # RequestAttributesSequence
        "00201209",  # NumberOfSeriesRelatedInstances
    ),
    "instance": (
        "00080018",  # SOPInstanceUID
        "00080016",  # SOPClassUID
        "00200013",  # InstanceNumber
        "00280010",  # Rows
        "00280011",  # Columns
        "00280100",  # BitsAllocated
        "00280008",  # NumberOfFrames
    ),
}
_LEVEL_OF = {tag: level for level, tags in _LEVELS.items() for tag in tags}


def parse_tag(name: str) -> str:
    """The tag that a user wrote as keyword or tag: `PatientID`, `00100020`, `0010,0020` or `(0010,0020)`.

    A keyword may be in any case, a tag may be private or unknown to the standard.

    Raises:
        UsageError: no attribute has that keyword; the hint names the near ones.
    """
    word = name.strip()
    if found := _TAG.fullmatch(word):
        return (found[1] + found[2]).upper()
    if tag := _tag_of(word) or _folded().get(word.casefold()):
        return tag
    similar = near(word)
    hint = f"did you mean {' or '.join(similar)}?" if similar else "use a keyword of the standard or a tag: 0010,0020"
    raise UsageError(f"unknown attribute {name!r}", hint=hint)


def keyword(tag: str) -> str:
    """The keyword of a tag (`PatientID`), "" where the standard has none; groups that repeat share theirs."""
    return _entry(tag)[2]


def vr(tag: str) -> str:
    """The two-letter VR of a tag, the first where the standard leaves a choice; "UN" where it is unknown."""
    return _entry(tag)[1]


def name(tag: str) -> str:
    """The name of a tag in words (`Patient ID`), or "" where the standard has none."""
    return _entry(tag)[3]


def level(tag: str) -> str:
    """The level at which QIDO-RS matches an attribute: "study", "series", "instance", or ""."""
    return _LEVEL_OF.get(tag, "")


def near(word: str) -> list[str]:
    """Up to five keywords that the user may have meant by `word`, the likeliest first."""
    from difflib import get_close_matches

    asked = "".join(character for character in word.casefold() if character.isalnum())
    if not asked:
        return []
    keywords = {folded: _entry(tag)[2] for folded, tag in _folded().items()}
    common = [_entry(tag)[2].casefold() for tag in _LEVEL_OF]
    matches = [
        *get_close_matches(asked, common, n=2, cutoff=0.8),
        *get_close_matches(asked, keywords, n=3, cutoff=0.8),
        *(folded for folded in common if asked in folded),
        *(folded for folded in common if _abbreviates(asked, folded)),
        *sorted((folded for folded in keywords if asked in folded), key=len),
    ]
    return [keywords[folded] for folded in dict.fromkeys(matches)][:5]


def _abbreviates(short: str, long: str) -> bool:
    rest = iter(long)
    return all(letter in rest for letter in short)


_Entry = list[str]  # tag, VR, keyword, name
_UNKNOWN: _Entry = ["", "UN", "", ""]


@cache
def _table() -> str:
    """A line an attribute, each behind a line break; searched as it is, for few of its 5,000 lines are ever wanted."""
    # Not importlib.resources, which takes longer to import than this takes to read.
    return "\n" + Path(__file__).with_name("dictionary.tsv").read_text(encoding="utf-8")


def _line(tag: str) -> str:
    table = _table()
    start = table.find(f"\n{tag}\t") + 1
    return table[start : table.index("\n", start)] if start else ""


def _tag_of(keyword: str) -> str:
    table = _table()
    at = -1
    while (at := table.find(f"\t{keyword}\t", at + 1)) >= 0:
        if table[at - 12] == "\n":  # not a VR, nor a name
            # The first of the groups that repeat stands for all: OverlayRows is 60000010.
            return table[at - 11 : at - 3].replace("x", "0")
    return ""


@cache
def _folded() -> dict[str, str]:
    lines = (line.split("\t", 3) for line in _table().splitlines()[1:])
    return {keyword.casefold(): tag.replace("x", "0") for tag, _vr, keyword, _name in lines}


@cache
def _masks() -> frozenset[tuple[int, ...]]:
    """Where the x stand in the tags of repeating groups, as digit positions."""
    tags = re.findall(r"\n([0-9A-F]*x[0-9A-Fx]*)\t", _table())
    return frozenset(tuple(at for at in range(8) if tag[at] == "x") for tag in tags)


@lru_cache(maxsize=4096)
def _entry(tag: str) -> _Entry:
    if line := _line(tag) or _line(tag.upper()):
        return line.split("\t")
    digits = tag.upper()
    if len(digits) != 8 or digits[3] in "13579BDF":
        return _UNKNOWN
    for mask in _masks():
        pattern = "".join("x" if at in mask else digit for at, digit in enumerate(digits))
        if line := _line(pattern):
            return line.split("\t")
    return _UNKNOWN
