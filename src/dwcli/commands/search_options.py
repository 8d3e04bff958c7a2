"""The search options, which `dw search` and `dw retrieve` share, and KEY=VALUE terms -> queries."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple, TypeVar
from urllib.parse import unquote

import typer

from dwcli.context.run import DwContext
from dwcli.dicomweb import dictionary, refs
from dwcli.dicomweb.dicomjson import Row
from dwcli.dicomweb.query import Query, Term, alternatives, parse_date, parse_term, parse_time, parse_value
from dwcli.dicomweb.refs import Level
from dwcli.errors import TemporaryError, TruncatedError, UsageError
from dwcli.options import Rows

Value = TypeVar("Value")

_PANEL = "Filters"


def _as_typed(text: str) -> list[str]:
    return [text]


def _listed(text: str) -> list[str]:
    return [value for each in text.split(",") if (value := each.strip())]


def _date(text: str) -> list[str]:
    return [parse_date(text, date.today())]


def _time(text: str) -> list[str]:
    return [parse_time(text)]


class Key(NamedTuple):
    """A search option that matches one attribute."""

    option: str
    keyword: str
    metavar: str
    help: str
    parse: Callable[[str], list[str]] = _as_typed
    repeatable: bool = False
    below: str = ""  # the keyword for series and instances, if different

    @property
    def name(self) -> str:
        """The option's parameter name."""
        return self.option.removeprefix("--").replace("-", "_")

    @property
    def annotation(self) -> Any:
        """The parameter's annotation for typer."""
        option = typer.Option(self.option, metavar=self.metavar, help=self.help, rich_help_panel=_PANEL)
        return Annotated[list[str] | None, option] if self.repeatable else Annotated[str | None, option]

    def path(self, level: Level) -> str:
        """Return the attribute to match at that level."""
        return dictionary.parse_tag(self.below if self.below and level is not Level.STUDY else self.keyword)

    def values(self, typed: Iterable[str]) -> list[str]:
        """Return the values to match, each once. Raises UsageError."""
        found = [parse_value(value) for text in typed for value in self.parse(text)]
        if not found:
            raise UsageError(f"{self.option} needs a value", f"{self.option} {self.metavar}")
        return list(dict.fromkeys(found))


# In the order of the help page. A new query option is a new row: its signature, query term, help, man page and
# completions follow from it.
KEYS = (
    Key("--patient", "PatientName", "NAME", "PatientName; * and ? are wildcards."),
    Key("--patient-id", "PatientID", "ID", "PatientID; repeatable.", repeatable=True),
    Key(
        "--modality",
        "ModalitiesInStudy",
        "CT,MR",
        "Any of these modalities; repeatable.",
        _listed,
        repeatable=True,
        below="Modality",
    ),
    Key("--date", "StudyDate", "WHEN", "StudyDate: 2024-03, 20240301-20240331, 2024-03.., 7d, today.", _date),
    Key("--time", "StudyTime", "WHEN", "StudyTime: 08:00..12:00.", _time),
    Key("--accession", "AccessionNumber", "NO", "AccessionNumber; repeatable.", repeatable=True),
    Key(
        "--description",
        "StudyDescription",
        "TEXT",
        "StudyDescription, or SeriesDescription.",
        below="SeriesDescription",
    ),
    Key("--birth-date", "PatientBirthDate", "WHEN", "PatientBirthDate, in the format of --date.", _date),
)


class MatchOptions(NamedTuple):
    """What to search for (QIDO-RS matching, PS3.18 8.3.4.1); `keys`: values as typed, by the name of the Key."""

    keys: Annotated[Mapping[str, str | list[str]], Rows({key.name: key.annotation for key in KEYS})] = MappingProxyType(
        {}
    )
    study: Annotated[
        list[str] | None,
        typer.Option("--study", metavar="UID", help="Search only this study; repeatable.", rich_help_panel=_PANEL),
    ] = None
    series: Annotated[
        list[str] | None,
        typer.Option("--series", metavar="UID", help="Search only this series; repeatable.", rich_help_panel=_PANEL),
    ] = None
    fuzzy: Annotated[
        bool,
        typer.Option("--fuzzy", help="Fuzzy matching of names, if the server supports it.", rich_help_panel=_PANEL),
    ] = False
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, max=10**9, help="At most N results.", rich_help_panel=_PANEL),
    ] = None
    offset: Annotated[
        int, typer.Option("--offset", metavar="N", min=0, help="Skip the first N results.", rich_help_panel=_PANEL)
    ] = 0

    @property
    def given(self) -> bool:
        """Whether any option says what to search for."""
        return bool(self.keys or self.study or self.series)


def build(
    level: Level, match: MatchOptions, terms: Iterable[str] = (), *, include: tuple[str, ...] = ()
) -> list[Query]:
    """The queries to ask and merge: one, or one for each combination of the values given. Raises UsageError."""
    typed = {key: _all(match.keys[key.name]) for key in KEYS if key.name in match.keys}
    _refuse_empty(match, typed)
    if level is Level.STUDY and match.series:
        raise UsageError("--series requires a search for series or instances", "dw search instances --series UID")
    within = _within(match)
    wanted = {key.path(level): key.values(texts) for key, texts in typed.items()}
    found = [parse_term(term) for term in terms]
    found += [Term(path, values[0]) for path, values in wanted.items() if len(values) == 1]
    # A query for each value: the standard has lists for UIDs alone (PS3.18 8.3.4.1).
    several = {path: values for path, values in wanted.items() if len(values) > 1}
    asked = Query(level, terms=tuple(found), include=include, fuzzy=match.fuzzy, limit=match.limit, offset=match.offset)
    queries = _places(asked, within)
    _refuse_twice([*(term.path for term in queries[0].terms), *several])
    for path, values in several.items():
        queries = alternatives(queries, path, values)
    if len(queries) > 1 and match.offset:
        raise UsageError("--offset does not work with several searches", "give one value per option, or use --limit")
    return queries


def _refuse_empty(match: MatchOptions, typed: Mapping[Key, Iterable[str]]) -> None:
    """Raise UsageError for an empty value: an unset variable of a script must not widen the search to everything."""
    for option, texts in (
        *((key.option, texts) for key, texts in typed.items()),
        ("--study", match.study or ()),
        ("--series", match.series or ()),
    ):
        if "" in texts:
            raise UsageError(f"{option} is empty", "give a value or leave the option out")


def _refuse_twice(paths: Sequence[str]) -> None:
    """Raise UsageError for an attribute that several options or terms name."""
    for path in paths:
        if paths.count(path) > 1:
            raise UsageError(f"{dictionary.keyword(path) or path} is given twice", "give each filter once")


def _places(asked: Query, within: Iterable[tuple[str, str]]) -> list[Query]:
    """The query in each of the places that `_within` found, or everywhere where there is none.

    UIDs of the searched level itself are one key, a list; those above it are segments of the path.
    """
    by_study: dict[str, list[str]] = {}
    for study, series in within:
        by_study.setdefault(study, []).append(series)
    if not by_study:
        return [asked]
    match asked.level:
        case Level.STUDY:
            return [_one_of(asked, by_study)]
        case Level.SERIES:
            below = [(asked._replace(study=study), uids) for study, uids in by_study.items()]
            return [_one_of(query, uids) if any(uids) else query for query, uids in below]
        case Level.INSTANCE:
            return [asked._replace(study=study, series=uid) for study, uids in by_study.items() for uid in uids]


def _one_of(query: Query, uids: Iterable[str]) -> Query:
    return query._replace(terms=(*query.terms, Term(query.level.uid_tag, ",".join(uids))))


def _within(match: MatchOptions) -> list[tuple[str, str]]:
    """Return the studies and series of `--study` and `--series`: UIDs (as `-f uids` prints them) or URLs."""
    studies = [_uid(typed, Level.STUDY) for typed in _distinct(match.study)]
    series = [_uid(typed, Level.SERIES) for typed in _distinct(match.series)]
    found = []
    for study, uid in series:
        # A URL of a series names its study.
        known = [study] if study else [above for above, _ in studies] or [""]
        if study and studies and (study, "") not in studies:
            raise UsageError(f"--series {uid} is in study {study}, not in that of --study", "leave out --study")
        found += [(above, uid) for above in known]
    return list(dict.fromkeys(found or studies))


def _uid(typed: str, level: Level) -> tuple[str, str]:
    if not refs.origin(typed.strip()):
        # Percent-encoded, as in a reference and in the output of -f uids.
        return (unquote(typed), "") if level is Level.STUDY else ("", unquote(typed))
    ref = refs.parse(typed, level)
    return ref.study, ref.series


def _all(typed: str | list[str]) -> list[str]:
    return [typed] if isinstance(typed, str) else typed


def _distinct(values: list[str] | None) -> list[str]:
    return [parse_value(value) for value in dict.fromkeys(values or ())]


def rows(dw: DwContext, queries: Sequence[Query]) -> Iterator[tuple[Query, Row]]:
    """Yield the rows that any of the queries finds, each once, with its query. Raises TemporaryError, see `whole`."""
    from dwcli.jobs.find import found

    return whole(found(dw.client, queries))


@contextmanager
def listing() -> Iterator[None]:
    """Turn a truncated response in the block into a TemporaryError.

    Listing is harmless, so the user may run the same command again, which ends with exit 0 or the same 75. `dw` does
    not retry by itself: printed rows cannot be recalled, and a server need not return the rest in the same order.
    """
    try:
        yield
    except TruncatedError as error:
        raise TemporaryError(error.message, "the results are incomplete: run the same command again") from error


def whole(rows: Iterable[Value]) -> Iterator[Value]:
    """Yield the rows of a listing. Raises TemporaryError if the response is truncated."""
    with listing():
        yield from rows
