"""Probes of `limit` and `offset`, with valid and invalid values (PS3.18 8.3.4.4)."""

from collections.abc import Iterator

from dwcli.client import auto
from dwcli.dicomweb import refs
from dwcli.dicomweb.query import Query
from dwcli.dicomweb.refs import Level
from dwcli.doctor.finding import Finding, assess
from dwcli.doctor.session import STANDARD, Session

_SECTION = "8.3.4.4"


def limit(session: Session) -> Iterator[Finding]:
    """Request one row, then the next one."""
    if len(session.studies) < 2:
        return
    one = session.get("studies?limit=1&offset=0").uids(refs.STUDY_UID)
    yield assess(
        "limit", _SECTION, "at most that many rows", f"{len(one)} of 1", len(one) <= 1, "dw truncates the rows itself"
    )
    two = session.get("studies?limit=1&offset=1").uids(refs.STUDY_UID)
    ignored = bool(two) and two == one
    yield assess(
        "offset",
        _SECTION,
        "skips that many rows",
        "ignored" if ignored else "skips",
        not ignored,
        "dw stops at the first page without a new row",
    )
    if not ignored:
        yield from _offset_unit(session)


def _offset_unit(session: Session) -> Iterator[Finding]:
    """Find out whether `offset` counts rows or pages."""
    pages = auto.offset_counts(session.ask, Query(Level.STUDY), STANDARD._replace(paging_required=True)) == "pages"
    yield assess(
        "what offset counts",
        _SECTION,
        "rows",
        "pages" if pages else "rows",
        not pages,
        "dw sends page numbers here",
        setting={"offset_counts": "pages"},
        setting_if_ok={"offset_counts": "rows"},
    )


def limit_zero(session: Session) -> Iterator[Finding]:
    """Request no rows at all."""
    if len(session.studies) < 2:
        return
    response = session.get("studies?limit=0")
    rows = len(response.rows())
    found = {0: "no row", 1: "1 row, as with limit=1"}.get(rows, "all rows, as without a limit")
    yield assess(
        "limit=0",
        _SECTION,
        "no rows, or 400",
        found if response.ok else response.summary,
        not rows and (response.ok or response.status == 400),
        "dw never sends it",
    )


def invalid_limits(session: Session) -> Iterator[Finding]:
    """Send limits that are not a number of rows, and one beyond 32 bits."""
    for value in ("-1", "abc"):
        response = session.get(f"studies?limit={value}")
        yield assess(f"limit={value}", _SECTION, "400", response.summary, response.status == 400, "dw never sends it")
    large = session.get("studies?limit=99999999999")
    yield assess(
        "limit=99999999999",
        _SECTION,
        "at most that many rows",
        large.summary,
        large.ok,
        "dw accepts no --limit above 1000000000",
    )


PROBES = (limit, limit_zero, invalid_limits)
