"""What `auto` finds out of a server that refuses a search, or finds nothing where something may be.

Each finding is a change of `dialect`, made only where an answer proved it, and kept for the rest of the run.
"""

from collections.abc import Generator

from dwcli.client.rows import Rows
from dwcli.dicomweb import request
from dwcli.dicomweb.dialects import Dialect
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.dicomweb.match import impossible
from dwcli.dicomweb.paging import AUTO_PAGE
from dwcli.dicomweb.query import Query, Term
from dwcli.dicomweb.refs import Level
from dwcli.errors import AbsentError, RefusedError

NOT_UNDERSTOOD = frozenset({400, 422, 500, 501})
_SAMPLES = 20
_LONGEST = 64  # characters of a UID (PS3.5 table 6.2-1); those of all rows are kept


class Learning(Rows):
    """Small questions, of a few rows at most, asked under `auto` after a failure, and before an `offset` is trusted."""

    @property
    def _learns(self) -> bool:
        return self.dialect.name == "auto"

    def _learn_from(self, sent: Query, error: RefusedError) -> bool:
        """After a refusal: which part of the search does this server not take? Whether that could be found out.

        Each part is asked alone, as messages name what they mind in their own words or not at all. A key is asked with
        a sound value that nothing has: a key is refused for ever, a bad value is the user's to mend.
        """
        if not self._learns or error.status not in NOT_UNDERSTOOD:
            return False
        before = self.dialect
        bare = plain(sent)
        if not self._takes(bare):
            paged = before._replace(paging_required=True, page_size=AUTO_PAGE)
            if sent.level is not Level.STUDY or not self._takes(bare._replace(limit=AUTO_PAGE), paged):
                return False
            self.dialect = paged
        keys = [term.name for term in sent.terms if not self._takes(bare._replace(terms=(impossible(term),)))]
        fields = [field for field in sent.include if not self._takes(bare._replace(include=(field,)))]
        self.dialect = self.dialect._replace(
            refused_keys=_joined(self.dialect.refused_keys, keys),
            refused_fields=_joined(self.dialect.refused_fields, fields),
        )
        if (sent.limit or 0) > AUTO_PAGE and not self.dialect.page_size and not self._takes(bare.page(0, sent.limit)):
            self.dialect = self.dialect._replace(page_size=AUTO_PAGE)
        return self.dialect != before

    def _learn_wildcards(self, sent: Query) -> bool:
        """After a search with `*` or `?` that found nothing: does this server know them at all?

        A value that it has is asked for by its first letter and `*`; where that finds nothing, they are no wildcards.
        """
        if not self._learns or self._knows_wildcards or not self.dialect.wildcards:
            return False
        some = plain(sent)._replace(limit=_SAMPLES)
        for term in sent.terms:
            name = f"{sent.level} {term.name}"
            if not term.is_pattern or not term.value.strip("*") or "." in term.path or name in self._sampled:
                continue
            self._sampled.add(name)
            rows = self._first(some._replace(include=(term.name,))) or self._first(some)
            letters = (text(row, term.path)[:1] for row in rows)
            letter = next((one for one in letters if one.isascii() and one.isalnum()), "")
            if not letter:
                continue
            self._knows_wildcards = bool(self._first(some._replace(terms=(Term(term.path, f"{letter}*"),), limit=1)))
            if not self._knows_wildcards:
                self.dialect = self.dialect._replace(wildcards=False)
            return not self._knows_wildcards
        return False

    def _counts_pages(self, query: Query, seen: set[str]) -> bool:
        """After one page, where paging is not as usual: does `offset` count pages? Then page 1 is all new."""
        rows = self._ask(query.page(1, len(seen)))
        try:
            first = next(rows, None)
        except (RefusedError, AbsentError):
            return False
        finally:
            rows.close()
        if first is None or uid_of(query, first) in seen:
            return False
        self.dialect = self.dialect._replace(offset_counts="pages", page_size=len(seen))
        return True

    def _counts_rows(self, query: Query) -> bool:
        """Whether a search may begin at its `offset`: where that counts rows, pages of two rows a row apart overlap.

        Asked in every dialect where there are keys, as a server may heed `offset` beside some of them only.
        """
        known = self.dialect.offset_counts == "pages" or not (query.terms or (self._learns and not self._knows_offset))
        if known or not query.offset:
            return True
        first = [uid_of(query, row) for row in self._first(query.page(0, 2))]
        return len(first) < 2 or [uid_of(query, row) for row in self._first(query.page(1, 2))][:1] == first[1:]

    def _takes(self, query: Query, dialect: Dialect | None = None) -> bool:
        try:
            next(self._ask(query, dialect), None)
        except (RefusedError, AbsentError):
            return False
        return True

    def _first(self, query: Query) -> list[Row]:
        """The first rows, as many as the query's limit; none where it is refused."""
        found: list[Row] = []
        try:
            for row in self._ask(query):
                found.append(row)
                if len(found) == query.limit:
                    break
        except (RefusedError, AbsentError):
            pass
        return found

    def _ask(self, query: Query, dialect: Dialect | None = None) -> Generator[Row, None, None]:
        return self._rows(request.search(self.base, query, dialect or self.dialect))


def uid_of(query: Query, row: Row) -> str:
    """What tells a row from the others: its UID, or all of it where it has none; of what is long, a hash."""
    uid = text(row, query.level.uid_tag) or repr(row)
    return uid if len(uid) <= _LONGEST else f"#{hash(uid):x}"


def plain(query: Query) -> Query:
    """The first row of the same resource, whatever it is."""
    return query._replace(terms=(), include=(), fuzzy=False, limit=1, offset=0)


def _joined(known: tuple[str, ...], more: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*known, *more]))
