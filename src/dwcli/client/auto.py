"""Probes for `auto`: one small request for each way in which a server may deviate from PS3.18.

The functions take the sender as an argument, so that doctor uses the same probes; `Auto` sends them through an
exchange and derives changes from a search that was refused or found nothing. It changes nothing itself.
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

from dwcli.client.exchange import Exchange
from dwcli.client.learned import Known, Learned
from dwcli.dicomweb import tags
from dwcli.dicomweb.dialects import Dialect
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.dicomweb.match import impossible
from dwcli.dicomweb.paging import AUTO_PAGE
from dwcli.dicomweb.query import Query, Term, is_relational, plain, uid_of, worth_loosening, worth_raw
from dwcli.dicomweb.refs import Level, SeriesRef
from dwcli.errors import AbsentError, RefusedError

NOT_UNDERSTOOD = frozenset({400, 422, 500, 501})
NOBODY = "2.25.17071979"
"""A UID that no object has."""
COUNT = tags.NumberOfSeriesRelatedInstances
PAGED: dict[str, Any] = {"paging_required": True, "page_size": AUTO_PAGE}
"""The dialect fields of a server that lists studies only with both `limit` and `offset`."""
_SAMPLES = 20

Ask = Callable[[Query, Dialect], list[Row] | None]
"""Sends a query in a dialect; returns its first rows, or None if the server refuses it."""


def takes(ask: Ask, query: Query, dialect: Dialect) -> bool:
    """Whether the server accepts a search at all."""
    return ask(query, dialect) is not None


def lists(ask: Ask, query: Query, dialect: Dialect) -> bool | None:
    """Whether the resource of a query lists anything at all; None if refused."""
    rows = ask(plain(query), dialect)
    return None if rows is None else bool(rows)


def heeds(ask: Ask, query: Query, term: Term, dialect: Dialect) -> bool:
    """Whether the server evaluates a key: search for a value that no object has. A refusal counts as evaluated."""
    limit = 1 if dialect.paging else None
    return not ask(plain(query)._replace(terms=(impossible(term),), limit=limit), dialect)


def beginning(ask: Ask, query: Query, path: str, start: str, dialect: Dialect) -> list[Row]:
    """What a value that is there finds by its `start` and `*`: no row where that is no wildcard (PS3.18 8.3.4.1.1)."""
    return ask(query._replace(terms=(Term(path, f"{start}*"),)), dialect) or []


def offset_counts(ask: Ask, query: Query, dialect: Dialect) -> Literal["rows", "pages", "nothing", ""]:
    """What `offset` counts: pages of two rows a row apart overlap where it is rows; empty where there are too few."""
    first, second = ([uid_of(query, row) for row in ask(query.page(offset, 2), dialect) or []][:2] for offset in (0, 1))
    if len(first) < 2:
        return ""
    if second[:1] == first[1:]:
        return "rows"
    return "pages" if second and second[0] not in first else "nothing"


def left_out(term: Term, found: Iterable[str]) -> list[str]:
    """The UIDs of a list that a search by the list did not find; a server without lists finds one at most."""
    named = set(found)
    return [uid for uid in term.uids if uid not in named]


def counted(rows: list[Row]) -> bool:
    """Whether each series says how many instances it has."""
    return all(text(row, COUNT).isdecimal() for row in rows)


class Turn(NamedTuple):
    """A search that was refused or found nothing: the query wanted, the query sent, and the snapshot used."""

    wanted: Query
    sent: Query
    known: Known
    failure: AbsentError | RefusedError | None


class Lesson(NamedTuple):
    """The dialect changes that a search suggests before it is sent again.

    `tried`: they hold only if the search, sent so, finds something; `refused` are the changes if it is refused.
    """

    changes: dict[str, Any]
    tried: bool = False
    refused: dict[str, Any] = {}  # noqa: RUF012


class Auto:
    """Probes one server. Each probe runs once per server and key, because its result becomes a fact."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._learned = exchange.learned
        self.questions: tuple[Callable[[Turn], Lesson | None], ...] = (
            self._refused,
            self._raw,
            self._wildcards,
            self._loosened,
            self._relational,
            self._in_metadata,
        )

    def ask(self, query: Query, dialect: Dialect) -> list[Row] | None:
        """The first rows, as many as the query's limit (1 where it has none); None where it is refused."""
        found: list[Row] = []
        try:
            for row in self._exchange.search(query, dialect):
                found.append(row)
                if len(found) == (query.limit or 1):
                    break
        except (RefusedError, AbsentError):
            return found or None
        return found

    # What reading page after page depends on.

    def heeds(self, query: Query, term: Term, known: Known) -> bool:
        """Whether the server evaluates a key; probed once."""
        name = f"{query.level} {term.name}"
        facts = self._learned.now.facts  # of rows in their thousands, each would ask again by an old snapshot
        if ("heeds", name) in facts or ("ignores", name) in facts:
            return ("heeds", name) in facts
        answer = heeds(self.ask, query, term, known.dialect)
        self._learned.learn(known, ("heeds" if answer else "ignores", name))
        return answer

    def skips(self, query: Query, known: Known) -> bool:
        """Whether a search may begin at its `offset`.

        Asked in every dialect where there are keys, as a server may heed `offset` beside some of them only.
        """
        if known.dialect.offset_counts == "pages":
            return True
        if ("offset", "ignored") in known.facts:
            return False
        if not query.terms and not self.unsure_of_offset(known):
            return True
        return offset_counts(self.ask, query, known.dialect) in ("rows", "")

    def unsure_of_offset(self, known: Known) -> bool:
        """Whether it is still unknown what `offset` counts."""
        return known.learns and known.facts.isdisjoint([("offset", "rows"), ("offset", "ignored")])

    def saw_offset(self, known: Known, query: Query, seen: set[str], first: str, *, overlaps: bool) -> Dialect:
        """After the page that was to overlap the one before: the dialect by which to go on. `first`: its first row.

        Where it does not, and page 1 is all new, `offset` counts pages; where it came from the beginning again, it is
        ignored. A list that ends with its first page tells nothing.
        """
        if overlaps:
            self._learned.learn(known, ("offset", "rows"))
            return known.dialect
        rows = self.ask(query.page(1, len(seen)), known.dialect)
        if rows and uid_of(query, rows[0]) not in seen:
            changes: dict[str, Any] = {"offset_counts": "pages", "page_size": len(seen)}
            self._learned.learn(known, **changes)
            return known.dialect._replace(**changes)
        if first in seen:
            self._learned.learn(known, ("offset", "ignored"))
        return known.dialect

    # What a search that failed, or found nothing, teaches.

    def _refused(self, turn: Turn) -> Lesson | None:
        """After a refusal, find the part of the search that this server does not accept.

        Each part is probed alone, as error messages name the cause inconsistently or not at all. A key is probed with
        a valid value that no object has: a refused key stays refused, a bad value is for the user to correct.
        """
        error = turn.failure
        if not turn.known.learns or not isinstance(error, RefusedError) or error.status not in NOT_UNDERSTOOD:
            return None
        bare, dialect = plain(turn.sent), turn.known.dialect
        changes: dict[str, Any] = {}
        if not takes(self.ask, bare, dialect):
            changes, dialect = dict(PAGED), dialect._replace(**PAGED)
            if bare.level is not Level.STUDY or not takes(self.ask, bare._replace(limit=AUTO_PAGE), dialect):
                return None

        def taken(query: Query) -> bool:
            return takes(self.ask, query, dialect)

        keys = [term.name for term in turn.sent.terms if not taken(bare._replace(terms=(impossible(term),)))]
        fields = [field for field in turn.sent.include if not taken(bare._replace(include=(field,)))]
        limit = turn.sent.limit or 0
        if limit > AUTO_PAGE and not dialect.page_size and not taken(bare.page(0, limit)):
            changes["page_size"] = AUTO_PAGE
        if keys:
            changes["refused_keys"] = tuple(keys)
        if fields:
            changes["refused_fields"] = tuple(fields)
        return Lesson(changes) if changes else None

    def _raw(self, turn: Turn) -> Lesson | None:
        """Find whether the server decodes queries: not if the raw query finds rows; it does if raw is refused."""
        if turn.failure or turn.known.dialect.escaping != "auto" or not worth_raw(turn.sent):
            return None
        return Lesson({"escaping": "raw"}, tried=True, refused={"escaping": "standard"})

    def _wildcards(self, turn: Turn) -> Lesson | None:
        """Find whether the server supports `*` and `?`: search for an existing value by its first letter and `*`."""
        known = turn.known
        if turn.failure or not known.learns or not known.dialect.wildcards or ("wildcards",) in known.facts:
            return None
        some = plain(turn.sent)._replace(limit=_SAMPLES)
        for term in turn.sent.terms:
            sampled = ("sampled", f"{turn.sent.level} {term.name}")
            if not term.is_pattern or not term.value.strip("*") or "." in term.path or sampled in known.facts:
                continue
            named = self.ask(some._replace(include=(term.name,)), known.dialect)
            rows = named or self.ask(some, known.dialect) or []
            letters = (text(row, term.path)[:1] for row in rows)
            letter = next((one for one in letters if one.isascii() and one.isalnum()), "")
            if not letter:
                self._learned.learn(known, sampled)
            elif beginning(self.ask, some._replace(limit=1), term.path, letter, known.dialect):
                self._learned.learn(known, ("wildcards",))
                return None
            else:
                return Lesson({"wildcards": False})
        return None

    def _loosened(self, turn: Turn) -> Lesson | None:
        """If wildcards find what cannot be sent raw, the server never decodes."""
        if turn.failure or turn.known.dialect.escaping != "auto" or not worth_loosening(turn.wanted):
            return None
        return Lesson({"escaping": "raw"}, tried=True)

    def _relational(self, turn: Turn) -> Lesson | None:
        """Find whether it searches across studies or series. Servers that do not respond 404, 400 or an empty list.

        It does not where that resource lists nothing whatever is asked, and the level above does.
        """
        query, known = turn.sent, turn.known
        across = ("relational", f"{query.level} of {'a study' if query.study else 'all'}")
        if not known.learns or not known.dialect.relational or not is_relational(query) or across in known.facts:
            return None
        if lists(self.ask, query, known.dialect):
            self._learned.learn(known, across)
            return None
        above = query._replace(level=Level.SERIES if query.study else Level.STUDY)
        changes: dict[str, Any] = {"relational": False}
        there = lists(self.ask, above, known.dialect)
        if there is None and above.level is Level.STUDY:
            changes |= PAGED
            there = bool(self.ask(plain(above)._replace(limit=AUTO_PAGE), known.dialect._replace(**PAGED)))
        return Lesson(changes) if there else None

    def _in_metadata(self, turn: Turn) -> Lesson | None:
        """Is a series that lists no instance empty, or are its instances listed nowhere but in its metadata?"""
        query, dialect = turn.wanted, turn.known.dialect
        one = query.level is Level.INSTANCE and query.study and query.series
        if turn.failure or not turn.known.learns or not one or "metadata" in dialect.missing:
            return None
        if dialect.instances_from == "metadata" or ((query.terms or query.offset) and lists(self.ask, query, dialect)):
            return None
        try:
            described = next(self._exchange.metadata(SeriesRef(query.study, query.series)), None)
        except (RefusedError, AbsentError):
            return None
        return None if described is None else Lesson({"instances_from": "metadata"})


class Inquiry:
    """One search, sent by one snapshot after another: if it finds nothing, the next probe runs.

    It ends because each probe runs once per state of knowledge, which changes in one direction only.
    `since` is the snapshot by which it was chosen to ask so.
    """

    def __init__(self, auto: Auto, learned: Learned, query: Query, since: Known) -> None:
        self.ended = False
        self._auto = auto
        self._learned = learned
        self._query = query
        self._questions = iter(auto.questions)
        self._since = self._known = since
        self._turn: Turn | None = None
        self._trial: Lesson | None = None

    @property
    def cannot(self) -> bool:
        """Whether this server turned out to have no resource for the search."""
        chosen, known = self._since.dialect.relational, self._known.dialect.relational
        return chosen and not known and is_relational(self._query)

    def snapshot(self) -> Known:
        """The snapshot to search with."""
        self._known = known = self._learned.now
        self.ended = True
        return known.tried(**self._trial.changes) if self._trial else known

    def found(self) -> None:
        """A row is given: what was tried is proven."""
        if self._trial:
            self._learned.learn(self._known, **self._trial.changes)

    def note(self, fact: tuple[str, ...]) -> None:
        """Search again with one more fact."""
        self._learned.learn(self._known, fact)
        self.ended = False

    def go_on(self, sent: Query, failure: AbsentError | RefusedError | None, *, came: bool) -> None:
        """No row was given: learn from it, by the next question, so that it is asked again; else it has ended.

        `came`: rows came, and none fits, so that nothing is in doubt. Raises the failure that the search ends with.
        """
        trial, self._trial = self._trial, None
        if trial is None or self._turn is None:
            self._turn = Turn(self._query, sent, self._known, failure)
        elif failure:
            self._learned.learn(self._known, **trial.refused)
        turn = self._turn
        lesson: Lesson | None = None
        if trial or not came:
            if not self._learned.now.outdates(turn.known):
                lesson = next((found for question in self._questions if (found := question(turn))), None)
            if lesson is None and self._learned.now.outdates(turn.known):
                # Another thread has learnt something since: what was sent may have been wrong.
                lesson = Lesson({})
        if lesson is None:
            if turn.failure:
                raise turn.failure
            return
        self.ended = False
        if lesson.tried:
            self._trial = lesson
            return
        self._learned.learn(turn.known, **lesson.changes)
        if self._learned.now.outdates(turn.known):
            self._questions = iter(self._auto.questions)
