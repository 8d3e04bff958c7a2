"""`dw search`: QIDO-RS."""

from collections.abc import Callable, Iterator
from itertools import islice
from operator import itemgetter
from typing import Annotated, NamedTuple

import typer

from dwcli.commands import references, search_options
from dwcli.commands.search_options import MatchOptions
from dwcli.context.run import DwContext
from dwcli.dicomweb import dictionary, refs, tags
from dwcli.dicomweb.dicomjson import Row, text, values
from dwcli.dicomweb.query import Query, field, parse_path
from dwcli.dicomweb.refs import Level, parse_level
from dwcli.errors import UsageError, did_you_mean
from dwcli.options import takes

# The columns of a table, one list per level; includefield requests those that a server need not return by default.
COLUMNS = {
    Level.STUDY: "StudyDate PatientName PatientID ModalitiesInStudy StudyDescription NumberOfStudyRelatedInstances "
    "StudyInstanceUID",
    Level.SERIES: "SeriesNumber Modality SeriesDescription NumberOfSeriesRelatedInstances SeriesInstanceUID",
    Level.INSTANCE: "InstanceNumber SOPClassUID NumberOfFrames Rows Columns SOPInstanceUID",
}
_INCLUDED = {
    Level.STUDY: ("StudyDescription", "NumberOfStudyRelatedInstances"),
    Level.SERIES: ("NumberOfSeriesRelatedInstances",),
    Level.INSTANCE: (),
}
_ON_A_TERMINAL = 100


class SearchOptions(NamedTuple):
    """Which attributes to request and show."""

    include: Annotated[
        list[str] | None,
        typer.Option("--include", metavar="FIELD|all", help="Request more attributes; repeatable, or a,b,c."),
    ] = None
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="A,B,C", help="Columns of table, tsv and csv.")
    ] = None
    sort: Annotated[
        str | None, typer.Option("--sort", metavar="[-]FIELD", help="Sort the rows locally; - for descending.")
    ] = None
    all_rows: Annotated[bool, typer.Option("--all", help="Show all rows, also on a terminal.")] = False
    only_count: Annotated[bool, typer.Option("--count", help="Print only the number of matches.")] = False


@takes(SearchOptions, MatchOptions)
def search(
    ctx: typer.Context,
    how: SearchOptions,
    match: MatchOptions,
    terms: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[studies|series|instances] [KEY=VALUE]...",
            help="The level (default: studies), then filters by keyword, tag or sequence path.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Search for studies, series or instances (QIDO-RS).

    -f xml prints one document per line for each row, and nothing if there are no rows.

    Examples:

    \b
      dw search --patient "Bellona*" --modality CT,MR --date 7d
      dw search series --study UID -f jsonl | jq .
      dw search instances --study UID --series UID 00080008=ORIGINAL
      dw search --modality CT -f uids | dw retrieve study - -o out
      dw search instances --modality CT --date today -f refs | dw retrieve - -o out
    """
    dw: DwContext = ctx.obj
    level, keys = _level(terms or [])
    columns = _columns(how.columns or COLUMNS[level].replace(" ", ","))
    key = _sort_key(how.sort) if how.sort else None
    references.tell(dw, (*(match.study or ()), *(match.series or ())))
    queries = search_options.build(level, match, keys, include=_included(dw, level, how))
    if dw.out.format == "xml":
        dw.client.prefer_xml()
    if level is Level.STUDY and any(term.path == tags.Modality for query in queries for term in query.terms):
        dw.out.warn("Modality is a series attribute; use --modality or ModalitiesInStudy=CT")
    with search_options.listing():
        if how.only_count:
            dw.out.line(str(sum(1 for _ in islice(_found(dw, queries), match.limit))))
            return
        limit = _limit(dw, how, match)
        if key is None:
            # One extra row tells whether there are more.
            rest = _found(dw, [query._replace(limit=limit + 1 if limit else None) for query in queries])
        else:
            # --offset and --limit count in the order shown.
            everything = _found(dw, [query._replace(limit=None, offset=0) for query in queries])
            rest = islice(sorted(everything, key=key[0], reverse=key[1]), match.offset, None)
        left = [False]

        def shown_rows() -> Iterator[Row]:
            yield from islice(rest, limit)
            left[0] = limit is not None and next(rest, None) is not None

        def more() -> str | None:
            if not left[0] or not dw.out.terminal:
                return None
            further = f" or --offset {match.offset + (limit or 0)}" if len(queries) == 1 else ""
            return f"only the first {limit} are shown; hint: --all, --limit N{further}"

        dw.out.rows(shown_rows(), columns=columns, uid_tag=level.uid_tag, more=more)


def _limit(dw: DwContext, how: SearchOptions, match: MatchOptions) -> int | None:
    """Return how many rows to show: a table on a terminal is limited unless --all is given."""
    if match.limit is None and dw.out.terminal and not how.all_rows and dw.out.format in (None, "table"):
        return _ON_A_TERMINAL
    return match.limit


def _level(words: list[str]) -> tuple[Level, list[str]]:
    """Return the leading level (default: studies) and the KEY=VALUE terms. Raises UsageError."""
    if not words or "=" in words[0]:
        return Level.STUDY, words
    level = parse_level(words[0])
    if level is None:
        near = did_you_mean(words[0], [each.resource for each in Level])
        raise UsageError(f"neither a level nor KEY=VALUE: {words[0]}", near)
    return level, words[1:]


def _columns(names: str) -> list[str]:
    """Return the attributes of the columns. Raises UsageError."""
    found = [parse_path(name) for name in names.split(",")]
    for tag in found:
        if "." in tag:
            raise UsageError(f"{field(tag)} cannot be a column", "use a top-level attribute, or -f jsonl")
    return found


def _included(dw: DwContext, level: Level, how: SearchOptions) -> tuple[str, ...]:
    """Return the includefields: attributes requested, shown or sorted by, as keywords (these have one spelling)."""
    named = [name.strip() for typed in how.include or () for name in typed.split(",") if name.strip()]
    if "all" in named:
        return ("all",)  # it stands alone (PS3.18 8.3.4.3)
    if not named and not how.columns and dw.profile.dialect.include_fields:
        named = [*_INCLUDED[level]]
    named += how.columns.split(",") if how.columns else []
    sort = how.sort.removeprefix("-") if how.sort else ""
    if sort and parse_path(sort) not in map(parse_path, COLUMNS[level].split()):
        named.append(sort)
    return tuple(dict.fromkeys(field(parse_path(name)) for name in named))


def _found(dw: DwContext, queries: list[Query]) -> Iterator[Row]:
    """Return the rows of all queries, each once; for `refs` with the UIDs searched within, which a row may lack."""
    from dwcli.jobs import find

    found = find.found(dw.client, queries)
    if dw.out.format != "refs":
        return map(itemgetter(1), found)
    return (
        {**refs.uid_row(refs.STUDY_UID, query.study), **refs.uid_row(refs.SERIES_UID, query.series), **row}
        for query, row in found
    )


def _sort_key(typed: str) -> tuple[Callable[[Row], tuple[bool, float | str]], bool]:
    """Return a sort key and whether it descends; numbers sort as numbers, empty values last."""
    tag = parse_path(typed.removeprefix("-"))
    if "." in tag:
        raise UsageError(f"cannot sort by {typed}", "sort by a top-level attribute")
    numeric = dictionary.vr(tag) in ("IS", "DS", "US", "UL", "SS", "SL", "FD", "FL")
    descending = typed.startswith("-")

    def key(row: Row) -> tuple[bool, float | str]:
        first = next(iter(values(row, tag)), None)
        if numeric:
            try:
                return descending, float(str(first))
            except ValueError:
                return not descending, 0.0
        found = text(row, tag)
        return (not found) is not descending, found

    return key, descending
