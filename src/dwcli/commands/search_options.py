"""Search options and KEY=VALUE terms -> queries; what `dw search` and `dw retrieve` share."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from urllib.parse import unquote

from dwcli.commands import reading
from dwcli.context import DwContext
from dwcli.dicomweb import dictionary, refs
from dwcli.dicomweb.dicomjson import Row
from dwcli.dicomweb.query import Query, Term, alternatives, parse_date, parse_term, parse_time, parse_value
from dwcli.dicomweb.refs import Level
from dwcli.errors import UsageError
from dwcli.options import MatchOptions

# The columns of a table, one list a level; what of them a server need not give by itself is asked for by includefield.
COLUMNS = {
    Level.STUDY: "StudyDate PatientName PatientID ModalitiesInStudy StudyDescription NumberOfStudyRelatedInstances "
    "StudyInstanceUID",
    Level.SERIES: "SeriesNumber Modality SeriesDescription NumberOfSeriesRelatedInstances SeriesInstanceUID",
    Level.INSTANCE: "InstanceNumber SOPClassUID NumberOfFrames Rows Columns SOPInstanceUID",
}
INCLUDED = {
    Level.STUDY: ("StudyDescription", "NumberOfStudyRelatedInstances"),
    Level.SERIES: ("NumberOfSeriesRelatedInstances",),
    Level.INSTANCE: (),
}

_HOW = ("limit", "offset", "fuzzy")
_MODALITY = "00080060"
_MODALITIES_IN_STUDY = "00080061"


def build(
    level: Level, match: MatchOptions, terms: Iterable[str] = (), *, include: tuple[str, ...] = ()
) -> list[Query]:
    """The queries to ask and merge: one, or one for each combination of the values given. Raises UsageError."""
    for option in MatchOptions._fields:
        value = getattr(match, option)
        if "" in (value if isinstance(value, list) else [value]):
            # An unset variable of a script must not widen the search to everything.
            raise UsageError(f"--{option.replace('_', '-')} is empty", "give a value, or leave the option out")
    if level is Level.STUDY and match.series:
        raise UsageError("--series is for searches of series or instances", "dw search instances --series UID")
    within = _within(match)
    found = [parse_term(term) for term in terms]
    today = date.today()
    named = (
        ("PatientName", match.patient),
        ("PatientID", _single(match.patient_id)),
        ("StudyDate", match.date and parse_date(match.date, today)),
        ("StudyTime", match.time and parse_time(match.time)),
        ("AccessionNumber", _single(match.accession)),
        (_description(level), match.description),
        ("PatientBirthDate", match.birth_date and parse_date(match.birth_date, today)),
    )
    found += [Term(dictionary.parse_tag(keyword), parse_value(value)) for keyword, value in named if value is not None]
    # A query for each value: the standard has lists for UIDs alone (PS3.18 8.3.4.1).
    several = {
        dictionary.parse_tag("PatientID"): _several(match.patient_id),
        dictionary.parse_tag("AccessionNumber"): _several(match.accession),
        _MODALITIES_IN_STUDY if level is Level.STUDY else _MODALITY: _modalities(match),
    }
    several = {path: values for path, values in several.items() if values}
    if level is Level.STUDY and within:
        found.append(Term(level.uid_tag, ",".join(study for study, _ in within)))
        within = []
    by_study: dict[str, list[str]] = {}
    for study, series in within:
        by_study.setdefault(study, []).append(series)
    queries = []
    for study, uids in by_study.items() or [("", [""])]:
        if level is Level.SERIES and any(uids):
            term = Term(level.uid_tag, ",".join(uids))
            queries.append(Query(level, study, terms=(*found, term)))
        else:
            queries += [Query(level, study, series, tuple(found)) for series in uids]
    paths = [*(term.path for term in queries[0].terms), *several]
    for path in paths:
        if paths.count(path) > 1:
            raise UsageError(f"{dictionary.keyword(path) or path} is given twice", "one value for each key")
    queries = [
        query._replace(include=include, fuzzy=match.fuzzy, limit=match.limit, offset=match.offset) for query in queries
    ]
    for path, values in several.items():
        queries = alternatives(queries, path, values)
    if len(queries) > 1 and match.offset:
        raise UsageError("--offset cannot be counted over several searches", "one value for each option, or --limit")
    return queries


def _within(match: MatchOptions) -> list[tuple[str, str]]:
    """The studies and series that `--study` and `--series` name, as UIDs, as `-f uids` prints them, or as URLs."""
    studies = [_uid(typed, Level.STUDY) for typed in _distinct(match.study)]
    series = [_uid(typed, Level.SERIES) for typed in _distinct(match.series)]
    found = []
    for study, uid in series:
        # A URL of a series names its study.
        known = [study] if study else [above for above, _ in studies] or [""]
        if study and studies and (study, "") not in studies:
            raise UsageError(f"--series {uid} is in study {study}, which --study does not name", "leave out --study")
        found += [(above, uid) for above in known]
    return list(dict.fromkeys(found or studies))


def _uid(typed: str, level: Level) -> tuple[str, str]:
    if not refs.origin(typed.strip()):
        # As a reference has it, and as -f uids prints it.
        return (unquote(typed), "") if level is Level.STUDY else ("", unquote(typed))
    ref = refs.parse(typed, level)
    return ref.study, getattr(ref, "series", "")


def _modalities(match: MatchOptions) -> list[str]:
    found = [value.strip() for typed in match.modality or () for value in typed.split(",")]
    if match.modality and not any(found):
        raise UsageError("--modality needs a value", "--modality CT,MR")
    return [value for value in dict.fromkeys(found) if value]


def _single(values: list[str] | None) -> str | None:
    return values[0] if values and len(set(values)) == 1 else None


def _several(values: list[str] | None) -> list[str]:
    return _distinct(values) if _single(values) is None else []


def _distinct(values: list[str] | None) -> list[str]:
    return [parse_value(value) for value in dict.fromkeys(values or ())]


def rows(dw: DwContext, queries: Sequence[Query]) -> Iterator[tuple[Query, Row]]:
    """The rows that any of the queries finds, each once, with its query. Raises TemporaryError as reading.whole."""
    from dwcli.jobs.find import found

    return reading.whole(found(dw.client, queries))


def _description(level: Level) -> str:
    return "StudyDescription" if level is Level.STUDY else "SeriesDescription"


def given(match: MatchOptions) -> bool:
    """Whether any option says what to search for."""
    return any(getattr(match, option) for option in MatchOptions._fields if option not in _HOW) or any(
        getattr(match, option) == "" for option in MatchOptions._fields
    )
