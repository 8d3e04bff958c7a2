"""QIDO-RS (PS3.18 8.3.4, 10.6): a query string -> SQL over the index -> rows of DICOM JSON."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from dwcli.archive.header import NAMES, REQUEST, SERIES, SERIES_TEXT, STUDY, STUDY_TEXT, folded, time_of
from dwcli.archive.index import Damaged
from dwcli.archive.reply import Refusal, retrieve_url
from dwcli.dicomweb import dictionary, refs, tags
from dwcli.dicomweb.refs import Level
from dwcli.errors import UsageError

Json = dict[str, Any]
Answer = Callable[[str, frozenset[str]], Json]
"""Reads further attributes from the file at a path: their tags (none: all) -> DICOM JSON."""

_UIDS = {
    refs.STUDY_UID: "st.uid",
    refs.SERIES_UID: "s.uid",
    refs.INSTANCE_UID: "i.uid",
    tags.SOPClassUID: "i.sop_class",
}
_NUMBERS = {
    tags.SeriesNumber: "s.number",
    tags.InstanceNumber: "i.number",
    tags.Rows: "i.rows",
    tags.Columns: "i.columns",
    tags.BitsAllocated: "i.bits",
    tags.NumberOfFrames: "i.frames",
}
_MOMENTS = {tags.StudyDate: "st.date", tags.StudyTime: "st.time", tags.PatientBirthDate: "st.birth"} | {
    tags.SeriesDate: "s.date",
    tags.SeriesTime: "s.time",
    tags.PerformedProcedureStepStartDate: "s.step_date",
    tags.PerformedProcedureStepStartTime: "s.step_time",
}
_PAIRS = (
    (tags.StudyDate, tags.StudyTime),
    (tags.SeriesDate, tags.SeriesTime),
    (tags.PerformedProcedureStepStartDate, tags.PerformedProcedureStepStartTime),
)
_COMPUTED = frozenset(
    {
        tags.InstanceAvailability,
        tags.ModalitiesInStudy,
        tags.RetrieveURL,
        tags.NumberOfStudyRelatedSeries,
        tags.NumberOfStudyRelatedInstances,
        tags.NumberOfSeriesRelatedInstances,
        tags.AvailableTransferSyntaxUID,
        tags.SpecificCharacterSet,
        tags.SOPClassUID,
    }
    | {tags.SOPInstanceUID, tags.InstanceNumber, tags.NumberOfFrames, tags.Rows, tags.Columns, tags.BitsAllocated}
)
# Further attributes of a study or series that are read from one of its files on request; the others belong to
# instances and are never returned above them (PS3.18 10.6.3.3).
_OF_STUDY = frozenset(
    {
        tags.ProcedureCodeSequence,
        tags.PhysiciansOfRecord,
        tags.NameOfPhysiciansReadingStudy,
        tags.AdmittingDiagnosesDescription,
        tags.ReferencedStudySequence,
        tags.ReferencedPatientSequence,
    }
)
_OF_SERIES = frozenset(
    {
        tags.Manufacturer,
        tags.InstitutionName,
        tags.StationName,
        tags.InstitutionalDepartmentName,
        tags.PerformingPhysicianName,
        tags.OperatorsName,
        tags.ManufacturerModelName,
        tags.BodyPartExamined,
        tags.ProtocolName,
    }
    | {
        tags.PatientPosition,
        tags.DeviceSerialNumber,
        tags.SoftwareVersions,
        tags.FrameOfReferenceUID,
        tags.Laterality,
        tags.PositionReferenceIndicator,
        tags.SeriesDescriptionCodeSequence,
        tags.PresentationIntentType,
        tags.PerformedProcedureStepID,
    }
)
_LONGEST_VALUE = 1024  # characters; DICOM's own limit for texts of this kind is 64, for names 3 times 64
_TABLES = "instance i JOIN series s ON s.id = i.series JOIN study st ON st.id = s.study"


@dataclass(slots=True)
class Search:
    """One search, read from a request: conditions as SQL with their values."""

    level: Level
    conditions: list[str] = field(default_factory=list)
    values: list[object] = field(default_factory=list)
    include: set[str] = field(default_factory=set)
    everything: bool = False
    limit: int | None = None
    offset: int = 0
    warnings: list[str] = field(default_factory=list)

    def where(self, condition: str, *values: object) -> None:
        """Add a condition."""
        self.conditions.append(condition)
        self.values += values


def read(level: Level, study: str, series: str, query: str) -> Search:
    """The search that a query string asks for below `study` and `series` (empty: relational). Raises Refusal 400."""
    asked = Search(level)
    if study:
        asked.where("st.uid = ?", study)
    if series:
        asked.where("s.uid = ?", series)
    terms: dict[str, str] = {}
    for name, value in pairs(query):
        match name.lower():
            case "includefield":
                _include(asked, value)
            case "limit":
                asked.limit = _count(name, value)
            case "offset":
                asked.offset = _count(name, value)
            case "fuzzymatching" | "emptyvaluematching" | "multiplevaluematching":
                _switch(asked, name, value)
            case "accept" | "charset":
                pass
            case _:
                _term(asked, terms, name, value)
    asked.warnings = list(dict.fromkeys(asked.warnings))
    _match(asked, terms)
    return asked


def pairs(query: str) -> list[tuple[str, str]]:
    """Names and values of a query string, decoded as UTF-8. Raises Refusal 400."""
    found = []
    for piece in query.split("&"):
        name, _, value = piece.partition("=")
        try:
            decoded = unquote(name, errors="strict"), unquote(value, errors="strict")
        except UnicodeDecodeError:
            raise Refusal(400, f"not UTF-8: {piece}") from None
        if decoded[0]:
            found.append(decoded)
    return found


def _count(name: str, value: str) -> int:
    if not re.fullmatch(r"\d{1,18}", value):
        raise Refusal(400, f"{name}={value} is not a number of rows")
    return int(value)


def _switch(asked: Search, name: str, value: str) -> None:
    if value not in ("true", "false"):
        raise Refusal(400, f"{name} is true or false, not {value!r}")
    if value == "true":
        asked.warnings.append(
            f"The {name} parameter is not supported. Only literal matching has been performed."
            if name == "fuzzymatching"
            else f"The {name} parameter is not supported."
        )


def _include(asked: Search, value: str) -> None:
    for name in value.split(","):
        if name.strip() == "all":
            asked.everything = True
        elif name.strip():
            asked.include.add(_path(name.strip()).partition(".")[0])


def _path(name: str) -> str:
    """A keyword or tag, or a dotted path of them, as tags joined by dots. Raises Refusal 400."""
    tags = []
    for part in name.split("."):
        if not re.fullmatch(r"[0-9A-Fa-f]{8}|[A-Z][A-Za-z0-9]{0,63}", part):
            raise Refusal(400, f"{name[:64]} is neither a keyword nor a tag of eight digits")
        try:
            tags.append(dictionary.parse_tag(part))
        except UsageError:
            raise Refusal(400, f"unknown attribute {name}") from None
    return ".".join(tags)


def _term(asked: Search, terms: dict[str, str], name: str, value: str) -> None:
    path = _path(name)
    if path in terms:
        raise Refusal(400, f"{name} is given twice")
    owner = "series" if path.startswith(f"{REQUEST}.") else dictionary.level(path)
    supported = {*_UIDS, *_NUMBERS, *_MOMENTS, *STUDY_TEXT, *SERIES_TEXT, tags.Modality, tags.ModalitiesInStudy}
    order = ["study", "series", "instance"]
    if path not in supported or not owner or order.index(owner) > order.index(asked.level):
        raise Refusal(400, f"this archive cannot match {asked.level.resource} by {name}")
    terms[path] = value


def _match(asked: Search, terms: dict[str, str]) -> None:
    _match_intervals(asked, terms)
    for path, value in terms.items():
        value = value.strip(" \0")
        if value.strip("*"):
            _match_one(asked, path, value)


def _match_intervals(asked: Search, terms: dict[str, str]) -> None:
    """A date range and a time range together are one interval (PS3.18 8.3.4.3); both are taken out of the terms."""
    for date, time in _PAIRS:
        days, times = terms.get(date, ""), terms.get(time, "")
        if days.strip("*") and "-" in times:
            del terms[date], terms[time]
            (first, last), (low, high) = _days(days), _times(times)
            both = f"({_MOMENTS[date]} || ' ' || {_MOMENTS[time]})"
            asked.where(f"{_MOMENTS[date]} <> '' AND {_MOMENTS[time]} <> ''")
            if first:
                asked.where(f"{both} >= ?", f"{first} {low or '000000.000000'}")
            if last:
                asked.where(f"{both} <= ?", f"{last} {high or '999999.999999'}")


def _match_one(asked: Search, path: str, value: str) -> None:
    """Match one attribute; `value` is not empty."""
    if path in _UIDS:
        uids = list(dict.fromkeys(uid.strip() for uid in re.split(r"[,\\]", value) if uid.strip()))
        asked.where(f"{_UIDS[path]} IN ({', '.join('?' * len(uids))})", *uids)
    elif len(value) > _LONGEST_VALUE:
        raise Refusal(400, f"the value of {path} is too long: at most {_LONGEST_VALUE} characters")
    elif path in _NUMBERS:
        if not re.fullmatch(r"[+-]?\d{1,12}", value):
            raise Refusal(400, f"{path}={value} is not a number")
        asked.where(f"{_NUMBERS[path]} = ?", int(value))
    elif path in _MOMENTS:
        low, high = (_days if dictionary.vr(path) == "DA" else _times)(value)
        column = _MOMENTS[path]
        asked.where(f"{column} <> ''")
        if low:
            asked.where(f"{column} >= ?", low)
        if high:
            asked.where(f"{column} <= ?", high)
    elif path == tags.Modality:
        asked.where(*_like("s.modality", value))
    elif path == tags.ModalitiesInStudy:
        condition, pattern = _like("modality", value)
        asked.where(f"st.id IN (SELECT study FROM series WHERE {condition})", pattern)
    else:
        table, owner = ("study_key", "st.id") if path in STUDY_TEXT else ("series_key", "s.id")
        condition, pattern = _like("value", folded(value) if path in NAMES else value)
        asked.where(f"{owner} IN (SELECT owner FROM {table} WHERE tag = ? AND {condition})", path, pattern)


def _like(column: str, pattern: str) -> tuple[str, str]:
    """Wildcard or single value matching (PS3.4 C.2.2.2.4)."""
    if "*" in pattern or "?" in pattern:
        return f"{column} GLOB ?", re.sub(r"\*+", "*", pattern).replace("[", "[[]")
    return f"{column} = ?", pattern


def _ends(value: str) -> tuple[str, str]:
    low, dash, high = value.partition("-")
    return (low, high) if dash else (value, value)


def _days(value: str) -> tuple[str, str]:
    """The first and the last day of a DA value or range, "" where it is open. Raises Refusal 400."""
    ends = _ends(value)
    for end in ends:
        if end and not re.fullmatch(r"\d{8}", end):
            raise Refusal(400, f"{value} is not a date or date range: YYYYMMDD-YYYYMMDD")
    return ends


def _times(value: str) -> tuple[str, str]:
    """The first and the last moment of a TM value or range: 10 lasts until 10:59:59.999999. Raises Refusal 400."""
    ends = _ends(value)
    for end in ends:
        if end and not time_of(end):
            raise Refusal(400, f"{value} is not a time or time range: HHMMSS-HHMMSS")
    low, high = ends
    return (time_of(low) if low else ""), (_last_moment(high) if high else "")


def _last_moment(value: str) -> str:
    digits = value.replace(":", "")
    whole, dot, fraction = digits.partition(".")
    whole += "5959"[len(whole) - 2 :] if len(whole) < 6 else ""
    return f"{whole}.{fraction.ljust(6, '9') if dot else '999999'}"


def count(db: sqlite3.Connection, asked: Search) -> int:
    """How many rows match, whatever limit and offset say."""
    return int(db.execute(f"SELECT COUNT(*) FROM {_from(asked)}", asked.values).fetchone()[0])


def rows(db: sqlite3.Connection, asked: Search, base: str, more: Answer) -> Iterator[Json]:
    """The rows that match, from `offset` on, at most `limit`; `more` reads attributes that the index does not have."""
    columns, order = {
        Level.STUDY: ("st.id, st.uid, '', '', st.row, ''", "st.id"),
        Level.SERIES: ("s.id, st.uid, s.uid, '', st.row, s.row", "st.id, s.number, s.id"),
        Level.INSTANCE: (
            "i.id, st.uid, s.uid, i.uid, st.row, s.row, i.number, i.sop_class, i.rows, i.columns, i.bits, i.frames, "
            "i.syntax, i.path",
            "i.series, i.number, i.id",
        ),
    }[asked.level]
    statement = f"SELECT {columns} FROM {_from(asked)} ORDER BY {order} LIMIT ? OFFSET ?"
    limit = -1 if asked.limit is None else asked.limit
    relational = _is_relational(asked)
    for found in db.execute(statement, [*asked.values, limit, asked.offset]):
        yield _row(db, asked, found, base, more, relational)


def _from(asked: Search) -> str:
    match asked.level:
        case Level.STUDY:
            tables = "study st"
        case Level.SERIES:
            tables = "series s JOIN study st ON st.id = s.study"
        case Level.INSTANCE:
            tables = _TABLES
    return f"{tables} WHERE {' AND '.join(asked.conditions)}" if asked.conditions else tables


def _is_relational(asked: Search) -> tuple[bool, bool]:
    """Whether study and series attributes belong into the rows: not where the path names that study or series."""
    return "st.uid = ?" not in asked.conditions, "s.uid = ?" not in asked.conditions


def _row(
    db: sqlite3.Connection,
    asked: Search,
    found: tuple[Any, ...],
    base: str,
    more: Answer,
    relational: tuple[bool, bool],
) -> Json:
    number, study, series, instance, study_row, series_row = found[:6]
    row: Json = {tags.SpecificCharacterSet: {"vr": "CS", "Value": ["ISO_IR 192"]}}
    wanted = asked.include
    try:
        of_study, of_series = json.loads(study_row), json.loads(series_row or "{}")
    except (ValueError, TypeError) as error:
        raise Damaged(f"a row of the index is damaged: {error}") from error
    full_study = asked.level is Level.STUDY or relational[0] or asked.everything
    row |= {tag: value for tag, value in of_study.items() if full_study or tag in wanted or tag == refs.STUDY_UID}
    if asked.level is not Level.STUDY:
        full = asked.level is Level.SERIES or relational[1] or asked.everything
        for tag, value in of_series.items():
            if full or tag in wanted or tag == refs.SERIES_UID:
                row[tag] = value
    ref = refs.make(study, series, instance)
    row |= retrieve_url(base, ref)
    row[tags.InstanceAvailability] = {"vr": "CS", "Value": ["ONLINE"]}
    match asked.level:
        case Level.STUDY:
            row |= _study_counts(db, number)
        case Level.SERIES:
            held = db.execute("SELECT COUNT(*) FROM instance WHERE series = ?", (number,)).fetchone()[0]
            row[tags.NumberOfSeriesRelatedInstances] = {"vr": "IS", "Value": [held]}
            if (
                relational[0]
                or wanted
                & {tags.ModalitiesInStudy, tags.NumberOfStudyRelatedSeries, tags.NumberOfStudyRelatedInstances}
                or asked.everything
            ):
                owner = db.execute("SELECT study FROM series WHERE id = ?", (number,)).fetchone()[0]
                row |= _study_counts(db, owner)
        case Level.INSTANCE:
            row |= _instance(found, asked)
            if wanted & {
                tags.ModalitiesInStudy,
                tags.NumberOfStudyRelatedSeries,
                tags.NumberOfStudyRelatedInstances,
                tags.NumberOfSeriesRelatedInstances,
            }:
                owner = db.execute("SELECT series FROM instance WHERE id = ?", (number,)).fetchone()[0]
                held = db.execute("SELECT COUNT(*) FROM instance WHERE series = ?", (owner,)).fetchone()[0]
                above = db.execute("SELECT study FROM series WHERE id = ?", (owner,)).fetchone()[0]
                row |= {**_study_counts(db, above), tags.NumberOfSeriesRelatedInstances: {"vr": "IS", "Value": [held]}}
    missing = frozenset(
        tag for tag in wanted - row.keys() - _COMPUTED - {*STUDY, *SERIES} if _belongs(tag, asked.level)
    )
    if missing or (asked.everything and asked.level is Level.INSTANCE):
        extra = more(_path_of(db, asked.level, number), missing)
        row |= {tag: value for tag, value in extra.items() if tag not in row}
    return dict(sorted(row.items()))


def _belongs(tag: str, level: Level) -> bool:
    if level is Level.INSTANCE or tag.startswith(("0010", "0032")) or tag in _OF_STUDY:
        return True
    return level is Level.SERIES and tag in _OF_SERIES


def _study_counts(db: sqlite3.Connection, study: int) -> Json:
    modalities = [name for (name,) in db.execute("SELECT DISTINCT modality FROM series WHERE study = ?", (study,))]
    series = db.execute("SELECT COUNT(*) FROM series WHERE study = ?", (study,)).fetchone()[0]
    held = "SELECT COUNT(*) FROM instance WHERE series IN (SELECT id FROM series WHERE study = ?)"
    known = sorted(name for name in modalities if name)
    return {
        tags.ModalitiesInStudy: {"vr": "CS", "Value": known} if known else {"vr": "CS"},
        tags.NumberOfStudyRelatedSeries: {"vr": "IS", "Value": [series]},
        tags.NumberOfStudyRelatedInstances: {"vr": "IS", "Value": [db.execute(held, (study,)).fetchone()[0]]},
    }


def _instance(found: tuple[Any, ...], asked: Search) -> Json:
    _, _, _, instance, _, _, number, sop_class, height, width, bits, frames, syntax, _ = found
    row: Json = {
        tags.SOPClassUID: {"vr": "UI", "Value": [sop_class]},
        tags.SOPInstanceUID: {"vr": "UI", "Value": [instance]},
        tags.InstanceNumber: {"vr": "IS", "Value": [number]} if number is not None else {"vr": "IS"},
    }
    for tag, vr, value in (
        (tags.NumberOfFrames, "IS", frames),
        (tags.Rows, "US", height),
        (tags.Columns, "US", width),
        (tags.BitsAllocated, "US", bits),
    ):
        if value is not None:
            row[tag] = {"vr": vr, "Value": [value]}
    if tags.AvailableTransferSyntaxUID in asked.include or asked.everything:
        row[tags.AvailableTransferSyntaxUID] = {"vr": "UI", "Value": [syntax]}
    return row


def _path_of(db: sqlite3.Connection, level: Level, number: int) -> str:
    """A file that speaks for a study, series or instance."""
    statement = {
        Level.STUDY: "SELECT source FROM study WHERE id = ?",
        Level.SERIES: "SELECT source FROM series WHERE id = ?",
        Level.INSTANCE: "SELECT path FROM instance WHERE id = ?",
    }[level]
    return str(db.execute(statement, (number,)).fetchone()[0])
