"""Where a search stands in a server's list, whatever its `offset` counts (PS3.18 8.3.4.4)."""

from dwcli.dicomweb.dialects import Dialect

AUTO_PAGE = 100
"""Rows per page if the server's preferred number is unknown."""


class Place:
    """`start`: rows to pass over; `received`: where the next page begins, counted in rows."""

    def __init__(self, start: int, dialect: Dialect) -> None:
        self.start = start
        self.dialect = dialect
        self.received = self.start - self.start % self._page if self._pages else self.start

    @property
    def _pages(self) -> bool:
        return self.dialect.offset_counts == "pages"

    @property
    def _page(self) -> int:
        return self.dialect.page_size or AUTO_PAGE

    def learn(self, dialect: Dialect) -> None:
        """Go on with what was learnt of the server meanwhile."""
        if dialect.offset_counts == self.dialect.offset_counts:
            self.dialect = dialect

    def size(self, left: int | None) -> int | None:
        """Rows to ask for: what is left, at most the dialect's page; None asks for as many as the server gives.

        Where pages are counted, or may be, they must not change their size.
        """
        if self._pages or self.dialect.paging_required:
            return self._page
        most = self.dialect.page_size or None
        return min((n for n in (left, most) if n is not None), default=None)

    def offset(self, size: int | None) -> int:
        """The `offset` of the next page."""
        return self.received // size if self._pages and size else self.received

    def is_before(self, row: int) -> bool:
        """Whether the page's row, counted from 1, lies before the start."""
        return self.received + row <= self.start

    def advance(self, rows: int, size: int | None) -> None:
        """A page of so many rows came."""
        self.received += size if self._pages and size and rows else rows

    @property
    def may_count_pages(self) -> bool:
        """Whether `offset` may count pages, after the first page and before the next; one row makes no page."""
        return not self._pages and not self.start and self.received > 1

    def by_pages(self, dialect: Dialect) -> "Place":
        """The same place on a server that turned out to count pages."""
        place = Place(0, dialect)
        place.received = self.received
        return place


def may_be_a_cap(rows: int) -> bool:
    """Whether a server may have given so many rows because it gives no more at once: a round number of them."""
    return rows >= 10 and (rows % 10 == 0 or rows & (rows - 1) == 0)
