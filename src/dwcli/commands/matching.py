"""Search options and KEY=VALUE terms -> queries; what `dw search` and `dw retrieve` share."""

from collections.abc import Iterable
from datetime import date
from urllib.parse import unquote

from dwcli.dicomweb import dictionary
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

_MODALITY = "00080060"
_MODALITIES_IN_STUDY = "00080061"


def build(
    level: Level, match: MatchOptions, terms: Iterable[str] = (), *, include: tuple[str, ...] = ()
) -> list[Query]:
    """The queries to ask and merge: one, or one for each modality. Raises UsageError."""
    for option in (
        "patient",
        "patient_id",
        "date",
        "time",
        "accession",
        "description",
        "birth_date",
        "study",
        "series",
    ):
        if getattr(match, option) == "":
            # An unset variable of a script must not widen the search to everything.
            raise UsageError(f"--{option.replace('_', '-')} is empty", "give a value, or leave the option out")
    # As a reference has it, and as -f uids prints it.
    study, series = unquote(match.study or ""), unquote(match.series or "")
    if level is Level.STUDY and series:
        raise UsageError("--series is for searches of series or instances", "dw search instances --series UID")
    found = [parse_term(term) for term in terms]
    today = date.today()
    named = (
        ("PatientName", match.patient),
        ("PatientID", match.patient_id),
        ("StudyDate", match.date and parse_date(match.date, today)),
        ("StudyTime", match.time and parse_time(match.time)),
        ("AccessionNumber", match.accession),
        (_description(level), match.description),
        ("PatientBirthDate", match.birth_date and parse_date(match.birth_date, today)),
    )
    found += [Term(dictionary.parse_tag(keyword), parse_value(value)) for keyword, value in named if value is not None]
    if level is Level.STUDY and study:
        found.append(Term(level.uid_tag, study))
        study = ""
    if level is Level.SERIES and series:
        found.append(Term(level.uid_tag, series))
        series = ""
    paths = [term.path for term in found]
    for path in paths:
        if paths.count(path) > 1:
            raise UsageError(f"{dictionary.keyword(path) or path} is given twice", "one value for each key")
    query = Query(level, study, series, tuple(found), include, match.fuzzy, limit=match.limit, offset=match.offset)
    if match.modality is None:
        return [query]
    path = _MODALITIES_IN_STUDY if level is Level.STUDY else _MODALITY
    values = [value.strip() for value in match.modality.split(",") if value.strip()]
    if path in paths or not values:
        raise UsageError("--modality needs a value, and no second one beside it", "--modality CT,MR")
    if len(values) > 1 and match.offset:
        raise UsageError("--offset cannot be counted over several modalities", "search for one modality at a time")
    return alternatives([query], path, list(dict.fromkeys(values)))


def _description(level: Level) -> str:
    return "StudyDescription" if level is Level.STUDY else "SeriesDescription"


def given(match: MatchOptions) -> bool:
    """Whether any option says what to search for."""
    neutral = match._replace(limit=None, offset=0, fuzzy=False)
    return neutral != MatchOptions()
