"""QIDO-RS: the rows that match a query, from a server that may list or walk in its own way only (PS3.18 10.6).

A search uses a snapshot of what is known; if that is refused or finds nothing, the next probe of `auto` is
run, and its result makes another snapshot to search by. Below it lie `pages`, then `exchange`.
"""

from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice

from dwcli.client.auto import COUNT, NOT_UNDERSTOOD, Auto, Inquiry, left_out
from dwcli.client.exchange import Exchange, Tally
from dwcli.client.keys import described, divide, fitting
from dwcli.client.learned import Known
from dwcli.client.pages import Pages
from dwcli.dicomweb import refs
from dwcli.dicomweb.dialects import Dialect
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.dicomweb.match import IgnoredKeyError
from dwcli.dicomweb.query import Query, Term, cannot_ask, is_relational, uid_of
from dwcli.dicomweb.refs import InstanceRef, Level, Ref, SeriesRef, StudyRef
from dwcli.errors import AbsentError, RefusedError, UsageError

_MOST_SERIES = 100_000


class NotRelationalError(Exception):
    """The server cannot search below several studies or series at once (PS3.18 table 10.6.1-2, optional there)."""


class Search:
    """Searches at every level, also where the server has no resource for it, and finds the UIDs above an object."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._learned = exchange.learned
        self._auto = Auto(exchange)

    def search(self, query: Query) -> Iterator[Row]:
        """The rows that match, in the server's order, each UID once (PS3.18 10.6).

        If the server cannot search below a study, or a key belongs to a level above, the levels are walked.
        """
        known = self._learned.now
        dialect = known.dialect
        for value in cannot_ask(query, dialect):
            self._learned.warn(f"this server does not percent-decode queries; {value!r} cannot match")
        if query.series and not query.study and not dialect.own_uids:
            return self._placed(query)
        if _must_walk(query, dialect) and (_has_path(query) or not dialect.relational):
            return islice(self._walk(query, known), query.offset, query.end)
        return self._rows(query, known)

    def _placed(self, query: Query) -> Iterator[Row]:
        """The same for a series of which the study is not known yet."""
        yield from self.search(query._replace(study=self.resolve(SeriesRef("", query.series)).study))

    def _rows(self, query: Query, known: Known, *, walks: bool = True) -> Generator[Row, None, None]:
        """The rows of one resource, which is asked across studies where its path could not name the UIDs above.

        `walks`: where the server turns out to search none so, the levels are walked; else NotRelationalError is raised.
        """
        asked = query.by_key if known.dialect.relational and not _has_path(query) else query
        listed = next((term for term in asked.terms if len(term.uids) > 1), None)
        if listed is None or ("lists",) in known.facts:
            return self._answers(asked, known, query if walks else None)
        return self._listed(asked, known, listed)

    def _answers(self, query: Query, known: Known, walked: Query | None) -> Generator[Row, None, None]:
        """The rows of one resource: searches, and if that is refused or finds nothing runs the next probe.

        No row is given twice, as a row ends the probing. It ends anyhow: each probe runs once until what is known
        has changed, and that changes in one direction only. `known`: the snapshot by which this way was chosen;
        `walked`: what is searched where it turns out to be none.
        """
        inquiry = Inquiry(self._auto, self._learned, query, known)
        while not inquiry.ended:
            known = inquiry.snapshot()
            if inquiry.cannot:
                if walked is None:
                    raise NotRelationalError
                yield from self.search(walked)
                return
            source = self._source(query, known)
            given = False
            failure: AbsentError | RefusedError | None = None
            try:
                for row in source.rows():
                    if not given:
                        inquiry.found()
                        given = True
                    yield row
            except IgnoredKeyError as error:
                inquiry.note(("unshown", f"{query.level} {error.term.name}"))
                continue
            except (AbsentError, RefusedError) as error:
                failure = self._meant(query, error)
            if given and failure:
                raise failure
            if failure and source.came and known.learns and walked not in (None, query):
                # By its keys it finds what cannot be told apart: its path is left, whatever that makes of a slash.
                yield from self._answers(walked, known, None)
                return
            if not given:
                inquiry.go_on(source.query, failure, came=source.came)

    def _source(self, query: Query, known: Known) -> "Pages | _Matched | _Described":
        """Choose the source of a query's rows on this server."""
        if known.dialect.instances_from == "metadata" and _is_one_series(query):
            self._exchange.offers("metadata")
            return _Described(self._exchange, query)
        sent, terms, remarks = divide(query, known)
        for remark in remarks:
            self._learned.warn(remark)
        pages = Pages(self._exchange, sent, known, self._auto)
        return _Matched(query, terms, pages) if terms else pages

    def _meant(self, query: Query, error: AbsentError | RefusedError) -> AbsentError | RefusedError:
        """Reword the error: if the request named no object that could be absent, the service is missing."""
        if query.level is not Level.STUDY or not isinstance(error, AbsentError):
            return error
        hint = "check that the URL is the DICOMweb root, without /studies: dw profile test"
        meant = RefusedError(f"cannot search at {self._exchange.base}: {error.message}", hint, status=404)
        meant.__cause__ = error
        return meant

    def _listed(self, query: Query, known: Known, term: Term) -> Generator[Row, None, None]:
        """From the first row on: what a list of UIDs finds, and what it leaves out asked for UID by UID.

        Some servers do not support lists: they refuse one, find nothing, or find only one of its UIDs.
        """
        seen: set[str] = set()
        named: set[str] = set()
        whole = query._replace(offset=0, limit=query.end)
        alone: list[Query] | None = None
        rows = self._answers(whole, known, whole)
        while True:
            try:
                for row in rows:
                    named.update(text(row, term.path).split("\\"))
                    if (uid := uid_of(query, row)) in seen:
                        continue
                    seen.add(uid)
                    if alone is not None:
                        self._learned.warn("this server does not support UID lists; querying UIDs one at a time")
                    if len(seen) > query.offset:
                        yield row
                    if len(seen) == query.end:
                        return
            except RefusedError as error:
                if seen or alone is not None or error.status not in NOT_UNDERSTOOD:
                    raise
            if alone is None:
                uids = left_out(term, named)
                if len(term.uids) - len(uids) > 1:
                    self._learned.learn(self._learned.now, ("lists",))
                    return
                alone = [
                    whole._replace(terms=tuple(one._replace(value=uid) if one == term else one for one in query.terms))
                    for uid in uids
                ]
            if not alone:
                return
            rows = self._rows(alone.pop(0), known)

    def _walk(self, query: Query, known: Known) -> Iterator[Row]:
        """Search level by level: the keys of a level are matched there, all others at the bottom."""
        steps = _steps(query, known.dialect)
        path: list[tuple[Row, Query, Iterator[Row]]] = []
        above, asked = refs.uid_row(refs.STUDY_UID, query.study), steps[0]
        path.append((above, asked, self._rows(asked, known)))
        while path:
            above, asked, rows = path[-1]
            row = next(rows, None)
            if row is None:
                path.pop()
            elif len(path) == len(steps):
                # As a relational search would give them (PS3.18 10.6.3.3): a row alone has to name its parents.
                yield {**above, **row}
            else:
                found = refs.from_row({**above, **row}, asked.level)
                below = steps[len(path)]._replace(study=found.study)
                above = refs.uid_row(refs.STUDY_UID, found.study)
                if isinstance(found, SeriesRef):
                    below = below._replace(series=found.series)
                    above |= refs.uid_row(refs.SERIES_UID, found.series)
                path.append((above, below, self._rows(below, known)))

    def series_of(self, study: str) -> Iterator[Row]:
        """The series of a study: their UIDs, and NumberOfSeriesRelatedInstances where the server gives it.

        Raises ProtocolError where the list does not end.
        """
        dialect = self._learned.now.dialect
        include = ("NumberOfSeriesRelatedInstances",) if dialect.include_fields and dialect.counts else ()
        tally = Tally(_MOST_SERIES)
        for row in self.search(Query(Level.SERIES, study=study, include=include)):
            # The caller keeps them all in memory.
            uid, count = text(row, refs.SERIES_UID), text(row, COUNT)
            tally.add(uid)
            yield refs.uid_row(refs.SERIES_UID, uid) | ({COUNT: {"vr": "IS", "Value": [count[:16]]}} if count else {})

    def resolve(self, ref: Ref) -> Ref:
        """A reference with every UID above its own found by a search. Raises AbsentError where there is none."""
        if ref.known:
            return ref
        if self._learned.now.dialect.own_uids:
            return self._resolve_by_own_uid(ref)
        match ref:
            case InstanceRef(_, _, uid):
                query = Query(Level.INSTANCE, terms=(Term(refs.INSTANCE_UID, uid),))
            case SeriesRef(_, uid):
                query = Query(Level.SERIES, terms=(Term(refs.SERIES_UID, uid),))
            case StudyRef(uid):
                return ref
        known = self._learned.now
        try:
            if not known.dialect.relational:
                raise NotRelationalError
            # A server that ignores the key gives all it has: the search ends with the row that is looked for.
            with closing(self._rows(query, known, walks=False)) as rows:
                found = next((row for row in rows if text(row, ref.level.uid_tag) == uid), None)
        except NotRelationalError:
            raise UsageError(
                f"this server cannot find {'an' if ref.level is Level.INSTANCE else 'a'} {ref.level} by its own UID",
                "write STUDY/SERIES/INSTANCE" if ref.level is Level.INSTANCE else "write STUDY/SERIES",
            ) from None
        if found is None:
            raise AbsentError(f"no {ref.level} {uid} found", f"dw search {ref.level.resource}")
        return refs.from_row(found, ref.level)

    def _resolve_by_own_uid(self, ref: Ref) -> Ref:
        """The same on a server with `own_uids`: the UIDs above stand in the rows of the instances."""
        match ref:
            case SeriesRef(_, uid):
                # Asked below the series, a row need not repeat its UID.
                query, fits = Query(Level.INSTANCE, series=uid), {"", uid}
            case InstanceRef(_, _, uid):
                query, fits = Query(Level.INSTANCE, terms=(Term(refs.INSTANCE_UID, uid),)), {uid}
            case StudyRef():
                return ref
        with closing(self._rows(query, self._learned.now, walks=False)) as rows:
            found = next((row for row in rows if text(row, ref.level.uid_tag) in fits), None)
        if found is None:
            raise AbsentError(f"no {ref.level} {uid} found", "dw search studies")
        placed = refs.from_row({**found, **refs.uid_row(ref.level.uid_tag, uid)}, ref.level)
        if not placed.known:
            raise UsageError(f"this server does not return the study of {ref.level} {uid}", "write STUDY/SERIES/…")
        return placed

    def locate(self, ref: Ref) -> Ref:
        """Like `resolve`, but unchanged if the UIDs above are unavailable and `retrieve` needs none."""
        try:
            return self.resolve(ref)
        except (AbsentError, RefusedError, UsageError):
            if not self._learned.now.dialect.own_uids:
                raise
            return ref


class _Matched:
    """The rows of one resource, with some attributes matched locally."""

    def __init__(self, wanted: Query, terms: tuple[Term, ...], pages: Pages) -> None:
        self.query = pages.query
        self._wanted = wanted
        self._terms = terms
        self._pages = pages

    @property
    def came(self) -> bool:
        return self._pages.came

    def rows(self) -> Iterator[Row]:
        return fitting(self._wanted, self._terms, self._pages.rows())


class _Described:
    """The rows of a series' metadata, for a server that lists its instances nowhere else."""

    came = True

    def __init__(self, exchange: Exchange, query: Query) -> None:
        self.query = query
        self._exchange = exchange

    def rows(self) -> Iterator[Row]:
        return described(self.query, self._exchange.metadata(SeriesRef(self.query.study, self.query.series)))


def _has_path(query: Query) -> bool:
    """Whether a path can name the UIDs above: many servers take a `/` in one for the end of a segment."""
    return refs.is_segment(query.study) and refs.is_segment(query.series)


def _is_one_series(query: Query) -> bool:
    return query.level is Level.INSTANCE and bool(query.study and query.series)


def _must_walk(query: Query, dialect: Dialect) -> bool:
    above = query.level is Level.INSTANCE and any(term.level == Level.SERIES for term in query.terms)
    return is_relational(query) and (above or not dialect.relational)


def _steps(query: Query, dialect: Dialect) -> tuple[Query, ...]:
    """A query as one for each level to walk, from the top on; each has the keys that it can match."""
    parent = Level.STUDY if query.level is Level.SERIES else Level.SERIES
    above = {Level.STUDY, parent}
    upper = tuple(term for term in query.terms if term.level in above)
    lower = tuple(term for term in query.terms if term.level not in above)
    top = Query(parent, study=query.study, terms=upper, fuzzy=query.fuzzy)
    bottom = query._replace(terms=lower, limit=None, offset=0)
    return (*_steps(top, dialect), bottom) if _must_walk(top, dialect) else (top, bottom)
