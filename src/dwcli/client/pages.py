"""The rows of one searchable resource, each once, whatever the server's ways with pages and keys (PS3.18 8.3.4)."""

from collections.abc import Generator, Iterator
from dataclasses import replace
from itertools import islice

from dwcli.client.rows import Page, Rows
from dwcli.dicomweb import request
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.dicomweb.match import Questions, impossible
from dwcli.dicomweb.paging import AUTO_PAGE, Place
from dwcli.dicomweb.query import Query, Term, worth_raw
from dwcli.dicomweb.refs import Level
from dwcli.errors import AbsentError, RefusedError


class Pages(Rows):
    """Asks page after page; what the server does not match is matched here."""

    def _pages(self, query: Query) -> Generator[Row, None, None]:
        """The rows of one resource; terms that the server does not understand are matched here."""
        sent, here = self._divided(query)
        if not here:
            yield from self._received(query)
            return
        questions = Questions((), here)
        rows = self._received(replace(sent, limit=None, offset=0))
        yield from islice((row for row in rows if questions.answered_by(row)), query.offset, end(query))

    def _divided(self, query: Query) -> tuple[Query, tuple[Term, ...]]:
        """The query that this server understands, and the terms that are matched here instead."""
        dialect = self.dialect
        patterns = () if dialect.wildcards else tuple(term for term in query.terms if term.is_pattern)
        strange = tuple(term for term in query.terms if dialect.known_keys and term.name not in dialect.known_keys)
        if patterns:
            self.warn("this server knows no wildcards: all its rows are fetched and matched here")
        for term in strange:
            self.warn(f"this server cannot search by {term.name}: all its rows are fetched and matched here")
        here = tuple(dict.fromkeys([*patterns, *strange]))
        if not here:
            return query, here
        include = tuple(term.name for term in strange if "." not in term.path)
        sent = tuple(term for term in query.terms if term not in here)
        return replace(query, terms=sent, include=tuple(dict.fromkeys([*query.include, *include]))), here

    def _received(self, query: Query) -> Iterator[Row]:
        """The rows that the server gives, each once, page by page.

        Pages by rows received, since a server's own cap may be below any limit; ends on an empty page, on one without a
        new row (a server that ignores `offset`), at X-Total-Count or at `query.limit`. A term that the server ignores,
        which its rows betray, is matched here.
        """
        questions = Questions(query.terms, fuzzy=query.fuzzy)
        if not self.dialect.paging:
            everything = (row for row in self._page(query.page(0, None), Page()) if self._fits(questions, row))
            yield from islice(everything, query.offset, end(query))
            return
        skip, start = 0, query.offset
        seen: set[str] = set()
        given = 0
        place = Place(start, self.dialect)
        while True:
            left = None if query.limit is None or skip else query.limit - given
            place.learn(self.dialect)
            size = place.size(left)
            page = Page()
            new = 0
            for row in self._page(query.page(place.offset(size), size), page):
                page.rows += 1
                uid = text(row, query.level.uid_tag) or repr(row)
                if uid in seen:
                    continue
                seen.add(uid)
                new += 1
                if not self._fits(questions, row) or place.is_before(page.rows):
                    continue
                if skip:
                    skip -= 1
                    continue
                if given == query.limit:
                    return
                given += 1
                yield row
            if not new and self._counts_pages(query, place, seen):
                place = place.by_pages(self.dialect)
                continue
            if not seen and place.start and self.dialect.name == "auto":
                # Beyond the end, or counted in pages: from the beginning both come out right.
                place, skip = Place(0, self.dialect), query.offset
                continue
            place.advance(page.rows, size)
            if not new or given == query.limit or (page.total is not None and place.received >= page.total):
                for term in questions.unseen() if seen else ():
                    self._check_ignored(query, term)
                return

    def _fits(self, questions: Questions, row: Row) -> bool:
        """Whether the row answers the questions; what the server ignores is told of."""
        fits = questions.answered_by(row)
        for complaint in questions.complaints():
            self.warn(complaint)
        return fits

    def _check_ignored(self, query: Query, term: Term) -> None:
        """Warn where the server ignores a key that its rows do not show: asked once, with a value that nothing has."""
        name = f"{query.level} {term.name}"
        if name in self._heeded:
            return
        self._heeded.add(name)
        try:
            asked = replace(query, terms=(impossible(term),), include=(), limit=1, offset=0)
            ignored = any(True for _ in self._rows(request.search(self.base, asked, self.dialect)))
        except (RefusedError, AbsentError):
            return
        if ignored:
            self.warn(f"this server ignores {term.name}, and its rows do not show it: they are not filtered by it")

    def _counts_pages(self, query: Query, place: Place, seen: set[str]) -> bool:
        """After a full page and then none, under `auto`: does `offset` count pages? Then page 1 is all new."""
        if self.dialect.name != "auto" or not place.may_count_pages(len(seen)):
            return False
        try:
            rows = self._rows(request.search(self.base, query.page(1, len(seen)), self.dialect))
            uids = [text(row, query.level.uid_tag) for row in rows]
        except (RefusedError, AbsentError):
            return False
        if not uids or not seen.isdisjoint(uids):
            return False
        self.dialect = replace(self.dialect, offset_counts="pages", page_size=len(seen))
        return True

    def _page(self, query: Query, page: Page) -> Iterator[Row]:
        """The rows of one request; asks again in another way where the dialect is `auto` and nothing was found."""
        found = False

        def ask(own: bool) -> Iterator[Row]:
            return self._rows(request.search(self.base, query, self.dialect, own=own), page)

        try:
            for row in self._either(f"search {query.level}", ask, own=self._has_own(query.level)):
                found = True
                yield row
        except RefusedError as error:
            if not self._wants_pages(query, error):
                raise
            self.dialect = replace(self.dialect, paging_required=True, page_size=AUTO_PAGE)
            yield from self._rows(request.search(self.base, query.page(0, AUTO_PAGE), self.dialect), page)
            return
        except AbsentError as error:
            if query.level is not Level.STUDY:
                raise
            # Nobody asked for anything that could be absent: there is no such service at this address.
            hint = "is it the DICOMweb root, up to /studies without it? dw profile test"
            raise RefusedError(f"no search at {self.base}: {error.message}", hint, status=404) from error
        if found or self.dialect.escaping != "auto" or query.offset or not worth_raw(query):
            return
        try:
            for row in self._rows(request.search(self.base, query, self.dialect, raw=True), page):
                if not found:
                    found = True
                    self.dialect = replace(self.dialect, escaping="raw")
                yield row
        except (RefusedError, AbsentError):
            # A server that refuses a raw query has decoded the first one: it was right, and found nothing.
            self.dialect = replace(self.dialect, escaping="standard")

    def _wants_pages(self, query: Query, error: RefusedError) -> bool:
        """Whether the refusal of a plain search may only mean that `limit` and `offset` are wanted."""
        plain = query.level is Level.STUDY and query.limit is None and not query.offset
        return self.dialect.name == "auto" and plain and error.status in (400, 500) and not self.dialect.paging_required


def end(query: Query) -> int | None:
    """Where the rows of a query end, None where they do not."""
    return None if query.limit is None else query.offset + query.limit
