"""The rows of one searchable resource, each once, whatever the server's ways with pages and keys (PS3.18 8.3.4)."""

from collections.abc import Generator, Iterator
from itertools import islice

from dwcli.client.learning import NOT_UNDERSTOOD, Learning, plain, uid_of
from dwcli.client.rows import Page, Tally
from dwcli.dicomweb import request
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.dicomweb.match import IgnoredKeyError, Questions, impossible
from dwcli.dicomweb.paging import Place, may_be_a_cap
from dwcli.dicomweb.query import Query, Term, loosened, worth_loosening, worth_raw
from dwcli.dicomweb.refs import Level
from dwcli.errors import AbsentError, RefusedError


class Pages(Learning):
    """Asks page after page; what the server does not match is matched here."""

    def _pages(self, query: Query) -> Generator[Row, None, None]:
        """The rows of one resource, each once."""
        listed = next((term for term in query.terms if len(term.uids) > 1), None)
        if listed is None or self._knows_lists:
            yield from self._understood(query)
        else:
            yield from islice(self._listed(query, listed), query.offset, end(query))

    def _listed(self, query: Query, term: Term) -> Iterator[Row]:
        """From the first row on: what a list of UIDs finds, and what it leaves out asked for UID by UID.

        Some servers know no lists: they refuse one, find nothing, or only one of its UIDs.
        """
        query = query._replace(offset=0, limit=end(query))
        seen: set[str] = set()
        named: set[str] = set()
        try:
            for row in self._understood(query):
                seen.add(uid_of(query, row))
                named.update(text(row, term.path).split("\\"))
                yield row
        except RefusedError as error:
            if seen or error.status not in NOT_UNDERSTOOD:
                raise
        left_out = [uid for uid in term.uids if uid not in named]
        if len(term.uids) - len(left_out) > 1:
            self._knows_lists = True
            return
        for uid in left_out:
            alone = tuple(one._replace(value=uid) if one == term else one for one in query.terms)
            for row in self._pages(query._replace(terms=alone)):
                if uid_of(query, row) not in seen:
                    seen.add(uid_of(query, row))
                    self.warn("this server finds less by a list of UIDs than by each: they are asked for one by one")
                    yield row

    def _understood(self, query: Query) -> Generator[Row, None, None]:
        """The rows of one resource; under `auto` asked again as soon as something was learnt of the server."""
        sent, here = self._divided(query)
        found = False
        try:
            for row in self._matched(query, sent, here):
                found = True
                yield row
        except IgnoredKeyError as error:
            self._ignored.add(f"{query.level} {error.term.name}")
            yield from self._understood(query)
            return
        except RefusedError as error:
            if found or not self._learn_from(sent, error):
                raise
            yield from self._understood(query)
            return
        if not found and self._learn_wildcards(sent):
            yield from self._understood(query)
        elif not found and self.dialect.escaping == "auto" and worth_loosening(query):
            yield from self._loosely(query)

    def _loosely(self, query: Query) -> Generator[Row, None, None]:
        """The rows that a server gives where it is taken for one that never decodes; where there are any, it is."""
        dialect, self.dialect = self.dialect, self.dialect._replace(escaping="raw")
        found = False
        try:
            for row in self._understood(query):
                found = True
                yield row
        except (RefusedError, AbsentError):
            if found:
                raise
        finally:
            if not found:
                self.dialect = dialect

    def _matched(self, query: Query, sent: Query, here: tuple[Term, ...]) -> Iterator[Row]:
        """The rows of what is sent; the terms that the server does not understand are matched here."""
        if not here:
            yield from self._received(sent)
            return
        questions = Questions((), here)
        unseen = {term for term in here if term.value.strip("*")}
        came = False

        def fitting() -> Iterator[Row]:
            nonlocal came, unseen
            for row in self._received(sent._replace(limit=None, offset=0)):
                came = True
                unseen = {term for term in unseen if term.path.partition(".")[0] not in row}
                if questions.answered_by(row):
                    yield row

        yield from islice(fitting(), query.offset, end(query))
        if came and unseen:
            names = ", ".join(term.name for term in unseen)
            raise RefusedError(
                f"this server cannot search by {names}, and its rows do not show it",
                "leave it out; dw metadata shows what it is",
                status=501,
            )

    def _divided(self, query: Query) -> tuple[Query, tuple[Term, ...]]:
        """The query that this server understands, and the terms that are matched here instead."""
        dialect = self.dialect
        patterns = () if dialect.wildcards else tuple(term for term in query.terms if term.is_pattern)
        strange = tuple(term for term in query.terms if not dialect.knows(term.name))
        ignored = tuple(term for term in query.terms if f"{query.level} {term.name}" in self._ignored)
        if patterns:
            self.warn("this server knows no wildcards: all its rows are fetched and matched here")
        here = tuple(dict.fromkeys([*patterns, *strange, *ignored]))
        for term in strange:
            self.warn(f"this server cannot search by {term.name}: all its rows are fetched and matched here")
        for term in ignored:
            self.warn(f"this server ignores {term.name}: all its rows are fetched and matched here")
        loose: dict[Term, Term] = {}
        if dialect.escaping == "raw" and dialect.wildcards:
            loose = {term: other for term in query.terms if term not in here if (other := loosened(term))}
        for term, other in loose.items():
            self.warn(f"this server takes no {term.name}={term.value}: {other.value} is asked for and matched here")
        for field in query.include:
            if field in dialect.refused_fields:
                self.warn(f"this server refuses includefield={field}: its rows come without")
        shown = (*strange, *ignored, *loose) if dialect.include_fields else strange
        wanted = [*query.include, *(term.name for term in shown if "." not in term.path)]
        include = tuple(field for field in dict.fromkeys(wanted) if field not in dialect.refused_fields)
        terms = tuple(loose.get(term, term) for term in query.terms if term not in here)
        return query._replace(terms=terms, include=include), (*here, *loose)

    def _received(self, query: Query) -> Iterator[Row]:
        """The rows that the server gives, each once, page by page.

        Pages by rows received, since a server's own cap may be below any limit; ends on an empty page, on one without a
        new row (a server that ignores `offset`), at X-Total-Count or at `query.limit`. A term that the server ignores,
        which its rows betray, is matched here. Raises IgnoredKeyError, before any row, where they show nothing of it.
        """
        questions = Questions(query.terms, fuzzy=query.fuzzy, ignores=lambda term: not self._heeds_key(query, term))
        if query.offset:
            questions.look_ahead()
        if not self.dialect.paging:
            everything = (row for row in self._page(query.page(0, None), Page()) if self._fits(questions, row))
            yield from islice(everything, query.offset, end(query))
            return
        skip = 0 if self._counts_rows(query) else query.offset
        place = Place(0 if skip else query.offset, self.dialect)
        seen: set[str] = set()
        below = Tally() if query.study and query.level is not Level.STUDY else None
        last = ""
        given = 0
        while True:
            left = None if query.limit is None or skip or questions.ignored else query.limit - given
            place.learn(self.dialect)
            size = place.size(left)
            page = Page()
            new = 0
            if self._learns and not self._knows_offset and place.may_count_pages:
                rows = self._after(query, place, size, page, last)
                self._knows_offset = True
                if rows is None:
                    if self._counts_pages(query, seen):
                        place = place.by_pages(self.dialect)
                    continue
            else:
                rows = self._page(query.page(place.offset(size), size), page)
            for row in rows:
                page.rows += 1
                uid = uid_of(query, row)
                if uid in seen:
                    continue
                seen.add(uid)
                if below is not None:
                    below.add(text(row, query.level.uid_tag) if uid.startswith("#") else uid)
                last = uid
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
            if not seen and place.start and self._learns:
                # Beyond the end, or counted in pages: from the beginning both come out right.
                place, skip = Place(0, self.dialect), query.offset
                continue
            place.advance(page.rows, size)
            if given == query.limit or (page.total is not None and place.received >= page.total):
                return
            if not new:
                if page.rows and may_be_a_cap(len(seen)):
                    self.warn(
                        f"this server ignores offset: whether it has more than the {len(seen)} rows that came "
                        "nobody can tell"
                    )
                return

    def _after(self, query: Query, place: Place, size: int | None, page: Page, last: str) -> Iterator[Row] | None:
        """The page after the first, asked for from the first one's last row on; None where that does not come first.

        A server whose `offset` counts rows gives that row again; one that counts pages gives others, or none.
        """
        rows = self._page(query.page(place.received - 1, size and size + 1), page)
        first = next(rows, None)
        if first is not None and uid_of(query, first) == last:
            return rows
        rows.close()
        return None

    def _fits(self, questions: Questions, row: Row) -> bool:
        """Whether the row answers the questions; what the server ignores is told of."""
        fits = questions.answered_by(row)
        for complaint in questions.complaints():
            self.warn(complaint)
        return fits

    def _heeds_key(self, query: Query, term: Term) -> bool:
        """Whether the server looks at a key: asked once, with a value that nothing has. A refusal is a look."""
        name = f"{query.level} {term.name}"
        if name not in self._heeds:
            limit = 1 if self.dialect.paging else None
            asked = query._replace(terms=(impossible(term),), include=(), fuzzy=False, limit=limit, offset=0)
            rows = self._page(asked, Page())
            try:
                self._heeds[name] = next(rows, None) is None
            except (RefusedError, AbsentError):
                self._heeds[name] = True
            finally:
                rows.close()
        return self._heeds[name]

    def _page(self, query: Query, page: Page) -> Generator[Row, None, None]:
        """The rows of one request; asks again in another way where the dialect is `auto` and nothing was found."""
        found = False

        def ask(own: bool) -> Iterator[Row]:
            return self._rows(request.search(self.base, query, self.dialect, own=own), page)

        try:
            for row in self._either(f"search {query.level}", ask, own=self._has_own(query.level)):
                found = True
                yield row
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
                    self.dialect = self.dialect._replace(escaping="raw")
                yield row
        except (RefusedError, AbsentError):
            # A server that refuses a raw query has decoded the first one: it was right, and found nothing.
            self.dialect = self.dialect._replace(escaping="standard")

    def _across(self, query: Query) -> Generator[Row, None, None]:
        """The same, of a search that may be relational. Raises NotRelationalError where the server has none of these.

        A server without them answers 404 or 400, or an empty list, whatever there is.
        """
        found = False
        failure: AbsentError | RefusedError | None = None
        try:
            for row in self._pages(query):
                found = True
                yield row
        except (AbsentError, RefusedError) as error:
            if found or not self._learns:
                raise
            failure = error
        if found or not self._learns or not is_relational(query) or self._knows_relational:
            pass
        elif failure is None and self._lists(query):
            self._knows_relational = True
        elif self._lists(query._replace(level=Level.SERIES if query.study else Level.STUDY)):
            self.dialect = self.dialect._replace(relational=False)
            raise NotRelationalError
        if failure:
            raise failure

    def _lists(self, query: Query) -> bool:
        """Whether the same resource lists anything at all."""
        try:
            return any(True for _ in self._pages(plain(query)))
        except (AbsentError, RefusedError):
            return False


class NotRelationalError(Exception):
    """The server cannot search below several studies or series at once (PS3.18 table 10.6.1-2, optional there)."""


def is_relational(query: Query) -> bool:
    """Whether a search reaches below more than one study or series."""
    match query.level:
        case Level.STUDY:
            return False
        case Level.SERIES:
            return not query.study
        case Level.INSTANCE:
            return not query.series


def end(query: Query) -> int | None:
    """Where the rows of a query end, None where they do not."""
    return None if query.limit is None else query.offset + query.limit
