"""The doctor's look at `limit` and `offset`, proper and improper (PS3.18 8.3.4.4)."""

from collections.abc import Iterator

from dwcli.client import auto
from dwcli.dicomweb import refs
from dwcli.dicomweb.query import Query
from dwcli.dicomweb.refs import Level
from dwcli.doctor.finding import Finding, judged
from dwcli.doctor.session import STANDARD, Examination

_SECTION = "8.3.4.4"


def limit(patient: Examination) -> Iterator[Finding]:
    """One row was asked for."""
    if len(patient.studies) < 2:
        return
    one = patient.get("studies?limit=1&offset=0").uids(refs.STUDY_UID)
    yield judged(
        "limit", _SECTION, "at most that many rows", f"{len(one)} of 1", len(one) <= 1, "dw cuts the rows itself"
    )
    two = patient.get("studies?limit=1&offset=1").uids(refs.STUDY_UID)
    ignored = bool(two) and two == one
    yield judged(
        "offset",
        _SECTION,
        "skips that many rows",
        "ignored" if ignored else "skips",
        not ignored,
        "dw stops at the first page without a new row",
    )
    if not ignored:
        yield from _counted(patient)


def _counted(patient: Examination) -> Iterator[Finding]:
    """Rows 2 and 3, or the second page of two?"""
    pages = auto.offset_counts(patient.ask, Query(Level.STUDY), STANDARD._replace(paging_required=True)) == "pages"
    yield judged(
        "what offset counts",
        _SECTION,
        "rows",
        "pages" if pages else "rows",
        not pages,
        "dw counts pages too",
        setting={"offset_counts": "pages"},
        fine={"offset_counts": "rows"},
    )


def limit_of_none(patient: Examination) -> Iterator[Finding]:
    """No rows at all were asked for."""
    if len(patient.studies) < 2:
        return
    answer = patient.get("studies?limit=0")
    rows = len(answer.rows())
    some = {0: "no row", 1: "1 row, as with limit=1"}.get(rows, "rows as without a limit")
    yield judged(
        "limit=0",
        _SECTION,
        "no rows, or 400",
        some if answer.ok else answer.words,
        not rows and (answer.ok or answer.status == 400),
        "dw never sends it",
    )


def impossible_limits(patient: Examination) -> Iterator[Finding]:
    """What is no number of rows, and what is one beyond 32 bits."""
    for value in ("-1", "abc"):
        answer = patient.get(f"studies?limit={value}")
        yield judged(f"limit={value}", _SECTION, "400", answer.words, answer.status == 400, "dw never sends it")
    large = patient.get("studies?limit=99999999999")
    yield judged(
        "limit=99999999999",
        _SECTION,
        "at most that many rows",
        large.words,
        large.ok,
        "dw takes no --limit above 1000000000",
    )


CHECKS = (limit, limit_of_none, impossible_limits)
