"""QIDO-RS: search terms as people write them -> the query of a request (PS3.18 8.3.4, 10.6)."""

import re
from collections.abc import Iterable
from datetime import date, timedelta
from typing import NamedTuple
from urllib.parse import quote

from dwcli.dicomweb import dictionary
from dwcli.dicomweb.dialects import Dialect
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.dicomweb.refs import Level, segment
from dwcli.errors import UsageError

_LONGEST = 64  # characters of a UID (PS3.5 table 6.2-1); those of all rows are kept


class Term(NamedTuple):
    """One matching key. `path`: tags of 8 hex digits joined by dots (a sequence path); `value`: in DICOM's own form."""

    path: str
    value: str

    @property
    def name(self) -> str:
        """The key as it is sent: by keyword where there is one, since some servers ignore tags (tiny-pacs)."""
        return ".".join(dictionary.keyword(tag) or tag for tag in self.path.split("."))

    @property
    def vr(self) -> str:
        """The value representation of the last tag."""
        return dictionary.vr(self.path.rpartition(".")[2])

    @property
    def level(self) -> str:
        """The level this key belongs to: study (patient too), series or instance; empty where it is no usual key."""
        return dictionary.level(self.path.partition(".")[0])

    @property
    def is_pattern(self) -> bool:
        """Whether the value has wildcards in it (dates, times, UIDs and numbers have none)."""
        return self.vr in _PATTERNED and any(c in self.value for c in "*?")

    @property
    def uids(self) -> tuple[str, ...]:
        """The UIDs of a list of UIDs (PS3.18 8.3.4.1), each once; none for other keys."""
        return tuple(dict.fromkeys(re.split(r"[,\\]", self.value.strip()))) if self.vr == "UI" else ()


_PATTERNED = frozenset(["AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"])


class Query(NamedTuple):
    """One search. The UIDs `study` and `series` make the resource hierarchical; `limit` None asks for everything."""

    level: Level
    study: str = ""
    series: str = ""
    terms: tuple[Term, ...] = ()
    include: tuple[str, ...] = ()
    fuzzy: bool = False
    limit: int | None = None
    offset: int = 0

    @property
    def resource(self) -> str:
        """The path below the base URL (PS3.18 table 10.6.1-2)."""
        parts = []
        if self.study:
            parts += ["studies", segment(self.study)]
            if self.series:
                parts += ["series", segment(self.series)]
        return "/".join([*parts, self.level.resource])

    @property
    def end(self) -> int | None:
        """Where its rows end, None where they do not."""
        return None if self.limit is None else self.offset + self.limit

    @property
    def own_resource(self) -> str:
        """The path of a server that searches below a study or series by its own UID alone (no part of PS3.18)."""
        levels = list(Level)
        return "/".join(level.resource for level in levels[: levels.index(self.level) + 1])

    @property
    def by_key(self) -> "Query":
        """The same search with the UIDs above as keys, none as a segment of the path."""
        above = ((Level.STUDY, self.study), (Level.SERIES, self.series))
        terms = tuple(Term(level.uid_tag, uid) for level, uid in above if uid)
        return self._replace(study="", series="", terms=(*terms, *self.terms))

    def page(self, offset: int, limit: int | None) -> "Query":
        """The same search, from another row on."""
        return self._replace(offset=offset, limit=limit)


def uid_of(query: Query, row: Row) -> str:
    """What tells a row from the others: its UID, or all of it where it has none; of what is long, a hash."""
    uid = text(row, query.level.uid_tag) or repr(row)
    return uid if len(uid) <= _LONGEST else f"#{hash(uid):x}"


def plain(query: Query) -> Query:
    """The first row of the same resource, whatever it is."""
    return query._replace(terms=(), include=(), fuzzy=False, limit=1, offset=0)


def is_relational(query: Query) -> bool:
    """Whether a search reaches below more than one study or series."""
    match query.level:
        case Level.STUDY:
            return False
        case Level.SERIES:
            return not query.study
        case Level.INSTANCE:
            return not query.series


# What stays literal in each way of writing. `*` is allowed in a query by RFC 3986 and is so common that servers which
# never decode depend on it; `^` is not allowed there and Undertow and Tomcat refuse it.
_STANDARD = "*"
_RAW = "*^/,-!$'()@:;=?[]|~+"


def target(query: Query, dialect: Dialect, *, raw: bool = False, own: bool = False) -> str:
    """The path and query below the base URL, encoded as the server needs it; `raw` overrides the dialect.

    `own`: on the paths where the UID of the object above is a key, not a segment (Dialect.own_uids).
    """
    raw = raw or dialect.escaping == "raw"
    above: tuple[Term, ...] = ()
    if query.series and (own or not query.study):
        above = (Term(Level.SERIES.uid_tag, query.series),)
    elif query.study and own:
        above = (Term(Level.STUDY.uid_tag, query.study),)
    terms = (*above, *query.terms)
    pairs = [(_key(term, dialect), _value(term, raw=raw)) for term in terms]
    pairs += [("includefield", field) for field in query.include]
    if query.fuzzy:
        pairs.append(("fuzzymatching", "true"))
    if query.limit is not None:
        pairs.append(("limit", str(query.limit)))
    if query.offset or (dialect.paging_required and query.level is Level.STUDY):
        pairs.append(("offset", str(query.offset)))
    joined = "&".join(f"{name}={value}" for name, value in pairs)
    resource = query.own_resource if own else query.resource
    return f"{resource}?{joined}" if joined else resource


def _key(term: Term, dialect: Dialect) -> str:
    return term.path if dialect.keys == "tag" or term.name in dialect.keys_by_tag else term.name


def _value(term: Term, *, raw: bool) -> str:
    if raw:
        return quote(term.value, safe=_RAW)
    # The comma separates UIDs and is data everywhere else (PS3.18 8.3.4.1).
    return quote(term.value, safe=_STANDARD + ("," if term.vr == "UI" else ""))


def worth_raw(query: Query) -> bool:
    """Whether to retry unescaped on a server not yet known to decode queries.

    Only where that makes a difference, and where a server that does decode cannot read it as something else: a raw
    `+` is a space to many, `;` ends a parameter, `,` makes a list.
    """
    asked = [term.value for term in query.terms]
    misread = any(c in value for value in asked for c in "+;,=") or any(map(_unspeakable, asked))
    return not misread and any("%" in quote(value, safe=_STANDARD) for value in asked)


def loosened(term: Term) -> Term | None:
    """A key for a server that never decodes: a wildcard for all that cannot go raw (spaces, `%`, `&`, `#`, letters
    beyond ASCII), so that more comes than was asked for. None where all can go, or where the key knows no wildcards.
    """
    if term.vr not in _PATTERNED or not _unspeakable(term.value):
        return None
    # Such a server may see a non-ASCII letter as any number of characters.
    loose = "".join(c if not _unspeakable(c) else "?" if c.isascii() else "*" for c in term.value)
    return Term(term.path, re.sub(r"\*{2,}", "*", loose))


def worth_loosening(query: Query) -> bool:
    """Whether to retry with wildcards on a server not yet known to decode: only where few extra rows would result."""
    loose = [term for term in query.terms if loosened(term)]
    return bool(loose) and all(term.value.isascii() and term.value.strip("*? ") for term in loose)


def cannot_ask(query: Query, dialect: Dialect) -> list[str]:
    """The values that a server which never decodes will not find, and for which it knows no wildcards."""
    if dialect.escaping != "raw":
        return []
    return [term.value for term in query.terms if _unspeakable(term.value) and not loosened(term)]


def _unspeakable(text: str) -> bool:
    return "%" in quote(text, safe=_RAW)


def parse_term(typed: str) -> Term:
    """`KEY=VALUE`: a keyword, a tag (`00100020`, `0010,0020`) or a path (`00400275.0040000A`). Raises UsageError."""
    key, equals, value = typed.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"not a filter: {typed}", "write KEY=VALUE, for example PatientID=123 or 00100020=123")
    return Term(parse_path(key), parse_value(value))


def parse_value(typed: str) -> str:
    """A value as it was typed. Raises UsageError where it is no text, so that it cannot be written as UTF-8."""
    try:
        typed.encode()
    except UnicodeEncodeError:
        raise UsageError(f"a search value that is not UTF-8: {typed!r}", "set the terminal to UTF-8") from None
    return typed


def field(path: str) -> str:
    """An attribute as it is named in a request: by keyword where there is one, else by tag."""
    return Term(path, "").name


def parse_path(typed: str) -> str:
    """A keyword, a tag or a dotted path of them as tags joined by dots. Raises UsageError with near names."""
    return ".".join(dictionary.parse_tag(part.strip()) for part in typed.split("."))


def parse_date(typed: str, today: date) -> str:
    """A date or range as people write it -> a QIDO value: `20240301` or `20240301-20240331` (PS3.4 C.2.2.2.5).

    Takes `2024`, `2024-03`, `2024-03-01`, `20240301`, `today`, `yesterday`, `7d` (today and the six days before), and
    ranges `A..B`, `A..`, `..B` of these, or the standard's own `A-B`.
    """
    text = typed.strip()
    if re.fullmatch(r"\d{8}-(\d{8})?|-\d{8}", text):
        first, _, last = text.partition("-")
        ends = [_day(end, typed, today)[0] if end else None for end in (first, last)]
    elif ".." in text:
        first, _, last = text.partition("..")
        ends = [
            _day(first, typed, today)[0] if first else None,
            _day(last, typed, today)[1] if last else None,
        ]
    else:
        ends = list(_day(text, typed, today))
    low, high = ends
    if low is None and high is None:
        raise _bad_date(typed)
    if low and high and low > high:
        raise UsageError(f"the date range {typed} ends before it begins")
    if low == high and low:
        return _digits(low)
    return f"{_digits(low)}-{_digits(high)}"


def _digits(day: date | None) -> str:
    return day.isoformat().replace("-", "") if day else ""


def _day(text: str, typed: str, today: date) -> tuple[date, date]:
    """The first and the last day that a single date expression means."""
    if text in ("today", "yesterday"):
        day = today - timedelta(days=text == "yesterday")
        return day, day
    if match := re.fullmatch(r"(\d{1,5})([dwmy])", text):
        days = int(match[1]) * {"d": 1, "w": 7, "m": 30, "y": 365}[match[2]]
        if not 1 <= days <= today.toordinal():
            raise _bad_date(typed)
        return today - timedelta(days=days - 1), today
    if match := re.fullmatch(r"(\d{4})(?:-?(\d\d)(?:-?(\d\d))?)?", text):
        year, month, day_of = (int(part) if part else 0 for part in match.groups())
        try:
            first = date(year, month or 1, day_of or 1)
        except ValueError:
            raise _bad_date(typed) from None
        if day_of:
            return first, first
        last_month = month or 12
        from calendar import monthrange

        return first, date(year, last_month, monthrange(year, last_month)[1])
    raise _bad_date(typed)


def _bad_date(typed: str) -> UsageError:
    return UsageError(
        f"not a date: {typed}",
        "write 2024-03-01, 2024-03, 20240301-20240331, 2024-03.., 7d, today or yesterday",
    )


def parse_time(typed: str) -> str:
    """A time or range as people write it -> a QIDO value: `08:00..12:30` or `0800-1230` is `080000-123000`.

    `14:30` alone is that minute, `143000-143059`, and `14` that hour, as a single value matches only what is equal.
    """
    text = typed.strip().replace(":", "")
    separator = ".." if ".." in text else "-"
    ends = text.split(separator)
    if len(ends) > 2 or not any(ends) or not all(_is_time(end) for end in ends if end):
        raise UsageError(f"not a time: {typed}", "write 14:30, 08:00..12:00 or 080000-120000")
    if len(ends) == 1:
        first = ends[0].ljust(6, "0")
        last = ends[0] + "5959"[len(ends[0]) - 2 :] if len(ends[0]) < 6 else first
        return first if first == last else f"{first}-{last}"
    low, high = (end.ljust(6, "0") if end else "" for end in ends)
    if low and high and low > high:
        raise UsageError(f"the time range {typed} ends before it begins", "search evening and morning separately")
    return f"{low}-{high}"


def _is_time(text: str) -> bool:
    match = re.fullmatch(r"(\d\d)(\d\d)?(\d\d(\.\d{1,6})?)?", text)
    return bool(match) and all(
        int(part) < most for part, most in zip(re.findall(r"\d\d", text)[:3], (24, 60, 61), strict=False)
    )


def alternatives(queries: Iterable[Query], path: str, values: list[str]) -> list[Query]:
    """Each query once for each value: the standard has lists only for UIDs, so `CT,MR` is asked for twice."""
    return [query._replace(terms=(*query.terms, Term(path, value))) for query in queries for value in values or [""]]
