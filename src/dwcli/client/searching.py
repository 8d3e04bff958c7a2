"""QIDO-RS: the rows that match a query, from a server that may list or walk in its own way only (PS3.18 10.6)."""

from collections.abc import Iterator
from itertools import islice

from dwcli.client.pages import NotRelationalError, end, is_relational
from dwcli.client.resolving import Resolving
from dwcli.client.rows import Tally
from dwcli.dicomweb import match, refs, request
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.dicomweb.query import Query, cannot_ask
from dwcli.dicomweb.refs import Level, SeriesRef
from dwcli.errors import AbsentError, RefusedError

_COUNT = "00201209"  # NumberOfSeriesRelatedInstances
_MOST_SERIES = 100_000


class Searching(Resolving):
    """Searches at every level, also where the server has no resource for it."""

    def search(self, query: Query) -> Iterator[Row]:
        """The rows that match, in the server's order, each UID once (PS3.18 10.6).

        Where the server cannot search below a study, or a key belongs to a level above, the levels are walked.
        """
        for value in cannot_ask(query, self.dialect):
            self.warn(f"this server never decodes a query, so {value!r} will find nothing there")
        if query.series and not query.study and not self.dialect.own_uids:
            series = self.resolve(SeriesRef("", query.series))
            assert isinstance(series, SeriesRef)
            query = query._replace(study=series.study)
        if self.dialect.relational and not (refs.is_segment(query.study) and refs.is_segment(query.series)):
            try:
                yield from self._across(query.by_key)
                return
            except NotRelationalError:
                pass
        rows = self._walk(query) if self._must_walk(query) else self._from_metadata(query)
        if rows is not None:
            yield from islice(rows, query.offset, end(query))
            return
        found = False
        try:
            for row in self._across(query):
                found = True
                yield row
        except NotRelationalError:
            yield from islice(self._walk(query), query.offset, end(query))
            return
        if not found and self._learns and self.dialect.instances_from == "search":
            yield from islice(self._perhaps_from_metadata(query), query.offset, end(query))

    def series_of(self, study: str) -> Iterator[Row]:
        """The series of a study: their UIDs, and NumberOfSeriesRelatedInstances where the server gives it.

        Raises ProtocolError where the list does not end.
        """
        include = ("NumberOfSeriesRelatedInstances",) if self.dialect.include_fields and self.dialect.counts else ()
        tally = Tally(_MOST_SERIES)
        for row in self.search(Query(Level.SERIES, study=study, include=include)):
            # Whoever asks keeps them all.
            uid, count = text(row, refs.SERIES_UID), text(row, _COUNT)
            tally.add(uid)
            yield refs.uid_row(refs.SERIES_UID, uid) | ({_COUNT: {"vr": "IS", "Value": [count[:16]]}} if count else {})

    def _must_walk(self, query: Query) -> bool:
        above = query.level is Level.INSTANCE and any(term.level == Level.SERIES for term in query.terms)
        return is_relational(query) and (above or not self.dialect.relational)

    def _walk(self, query: Query) -> Iterator[Row]:
        """Search level by level: the keys of a level are matched there, all others at the bottom."""
        parent = Level.STUDY if query.level is Level.SERIES else Level.SERIES
        above = {Level.STUDY, parent}
        upper = tuple(term for term in query.terms if term.level in above)
        lower = tuple(term for term in query.terms if term.level not in above)
        for row in self.search(Query(parent, study=query.study, terms=upper, fuzzy=query.fuzzy)):
            found = refs.from_row({**refs.uid_row(refs.STUDY_UID, query.study), **row}, parent)
            nested = query._replace(terms=lower, limit=None, offset=0, study=found.study)
            parents = refs.uid_row(refs.STUDY_UID, found.study)
            if isinstance(found, SeriesRef):
                nested = nested._replace(series=found.series)
                parents |= refs.uid_row(refs.SERIES_UID, found.series)
            # As a relational search would give them (PS3.18 10.6.3.3): a row alone has to name its parents.
            for below in self.search(nested):
                yield {**parents, **below}

    def _from_metadata(self, query: Query) -> Iterator[Row] | None:
        """The instances of a series out of its metadata, for a server that lists them nowhere else."""
        if query.level is not Level.INSTANCE or not (query.study and query.series):
            return None
        if self.dialect.instances_from == "search":
            return None
        self._offers("metadata")
        return (row for row in self._described(query) if all(match.fits(term, row) for term in query.terms))

    def _described(self, query: Query) -> Iterator[Row]:
        return self._rows(request.metadata(self.base, SeriesRef(query.study, query.series), self.dialect))

    def _perhaps_from_metadata(self, query: Query) -> Iterator[Row]:
        """A series that lists no instance is empty, or its server lists instances nowhere but in metadata."""
        asked = query.level is Level.INSTANCE and query.study and query.series
        if not asked or "metadata" in self.dialect.missing or ((query.terms or query.offset) and self._lists(query)):
            return
        try:
            for row in self._described(query):
                self.dialect = self.dialect._replace(instances_from="metadata")
                if all(match.fits(term, row) for term in query.terms):
                    yield row
        except (RefusedError, AbsentError):
            return
