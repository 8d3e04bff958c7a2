"""The rows of one searchable resource, each once, however the server pages (PS3.18 8.3.4)."""

from collections.abc import Iterator
from typing import Protocol

from dwcli.client.exchange import Exchange, Page, Tally
from dwcli.client.learned import Known
from dwcli.dicomweb.dialects import Dialect
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.dicomweb.match import Questions
from dwcli.dicomweb.paging import Place, may_be_a_cap
from dwcli.dicomweb.query import Query, Term, uid_of
from dwcli.dicomweb.refs import Level


class Doubts(Protocol):
    """What no page shows by itself; the implementation probes the server. `known` is the search's snapshot."""

    def heeds(self, query: Query, term: Term, known: Known) -> bool:
        """Whether the server evaluates a key."""

    def skips(self, query: Query, known: Known) -> bool:
        """Whether a search may begin at its `offset`."""

    def unsure_of_offset(self, known: Known) -> bool:
        """Whether the second page must show what `offset` counts."""

    def saw_offset(self, known: Known, query: Query, seen: set[str], first: str, *, overlaps: bool) -> Dialect:
        """The dialect by which to go on after the second page, whose first row is `first`; empty where it has none.

        `overlaps`: it is the last row of the page before.
        """


class Pages:
    """One search of one resource.

    Pages by rows received, since a server's own cap may be below any limit; ends on an empty page, on one without a
    new row (a server that ignores `offset`), at X-Total-Count or at `query.limit`. A term that the server ignores,
    which its rows betray, is matched here.
    """

    def __init__(self, exchange: Exchange, query: Query, known: Known, doubts: Doubts) -> None:
        self.query = query
        self.seen: set[str] = set()
        self._exchange = exchange
        self._known = known
        self._dialect = known.dialect
        self._doubts = doubts
        self._unsure = doubts.unsure_of_offset(known)
        self._questions = Questions(query.terms, fuzzy=query.fuzzy, ignores=self._ignores)
        self._last = ""
        self._skip = 0
        self._place = Place(0, known.dialect)
        self._tally = Tally() if query.study and query.level is not Level.STUDY else None

    @property
    def came(self) -> bool:
        """Whether any row came, also one that was passed over."""
        return bool(self.seen)

    def rows(self) -> Iterator[Row]:
        """The rows, each once. Raises IgnoredKeyError, before any row, where they show nothing of an ignored key."""
        query, seen = self.query, self.seen
        self._begin()
        given = 0
        more = True
        while more:
            before = len(seen)
            page, size, rows = self._next(given)
            for row in rows:
                page.rows += 1
                uid = uid_of(query, row)
                if uid in seen:
                    continue
                seen.add(uid)
                if self._tally is not None:
                    self._tally.add(text(row, query.level.uid_tag) if uid.startswith("#") else uid)
                self._last = uid
                if not self._fits(row) or self._passes_over(page.rows):
                    continue
                if given == query.limit:
                    return
                given += 1
                yield row
            more = self._goes_on(page, size, new=len(seen) > before) and given != query.limit

    def _begin(self) -> None:
        """Go to the first row, by `offset` or by passing over those before it."""
        offset = self.query.offset
        if not offset:
            return
        self._questions.look_ahead()
        if self._dialect.paging and self._doubts.skips(self.query, self._known):
            self._place = Place(offset, self._dialect)
        else:
            self._skip = offset

    def _next(self, given: int) -> tuple[Page, int | None, Iterator[Row]]:
        """The next page, with the rows that are asked for at once, and its rows as they come."""
        query, page = self.query, Page()
        if self._unsure and self._place.may_count_pages:
            size = self._size(given)
            if (rows := self._overlapping(size, page)) is not None:
                return page, size, rows
            page = Page()
        size = self._size(given)
        asked = query.page(self._place.offset(size), size)
        return page, size, self._exchange.search(asked, self._dialect, page)

    def _size(self, given: int) -> int | None:
        if not self._dialect.paging:
            return None
        limit = self.query.limit
        return self._place.size(None if limit is None or self._skip or self._questions.ignored else limit - given)

    def _overlapping(self, size: int | None, page: Page) -> Iterator[Row] | None:
        """The page after the first, asked for from the first one's last row on; None where that does not come first.

        A server whose `offset` counts rows gives that row again; one that counts pages gives others, or none.
        """
        self._unsure = False
        asked = self.query.page(self._place.received - 1, size and size + 1)
        rows = self._exchange.search(asked, self._dialect, page)
        row = next(rows, None)
        first = "" if row is None else uid_of(self.query, row)
        overlaps = first == self._last
        self._dialect = self._doubts.saw_offset(self._known, self.query, self.seen, first, overlaps=overlaps)
        if overlaps:
            return rows
        self._place = self._place.by_pages(self._dialect)
        return None

    def _goes_on(self, page: Page, size: int | None, *, new: bool) -> bool:
        """Whether to ask for another page after this one."""
        place = self._place
        if not self.seen and place.start and self._known.learns:
            # Beyond the end, or counted in pages: from the beginning both come out right.
            self._place, self._skip = Place(0, self._dialect), self.query.offset
            return True
        place.advance(page.rows, size)
        if not self._dialect.paging or (page.total is not None and place.received >= page.total):
            return False
        if not new and page.rows and may_be_a_cap(len(self.seen)):
            self._exchange.learned.warn(
                f"this server ignores offset; it may have more than the {len(self.seen)} rows received"
            )
        return new

    def _passes_over(self, row: int) -> bool:
        """Whether a row, the page's `row`th, comes before the first that is asked for."""
        if self._place.is_before(row):
            return True
        if self._skip:
            self._skip -= 1
            return True
        return False

    def _fits(self, row: Row) -> bool:
        """Whether the row matches; warns about attributes that the server ignores."""
        fits = self._questions.answered_by(row)
        for complaint in self._questions.complaints():
            self._exchange.learned.warn(complaint)
        return fits

    def _ignores(self, term: Term) -> bool:
        return not self._doubts.heeds(self.query, term, self._known)
