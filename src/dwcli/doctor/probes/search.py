"""Probes of searches (QIDO-RS, PS3.18 10.6): matching, and which resources are supported."""

import re
from collections.abc import Iterator
from urllib.parse import quote

from dwcli.client import auto
from dwcli.dicomweb import refs, tags
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.dicomweb.query import Query, Term
from dwcli.dicomweb.refs import Level
from dwcli.doctor.finding import Finding, assess
from dwcli.doctor.session import NOBODY, STANDARD, Session

_NAME, _MODALITY, _DESCRIPTION = tags.PatientName, tags.Modality, tags.StudyDescription
_WILDCARDS, _PARTIAL = "* and ? match", "matches nothing without *"
_SAMPLE_ROWS = 25
_TRUNCATED = 60_000  # bytes of rows above which not all were read: the one sought may be among the rest


def no_match(session: Session) -> Iterator[Finding]:
    """Search for a study that does not exist."""
    response = session.get(f"studies?StudyInstanceUID={NOBODY}")
    rows = len(response.rows())
    found = f"{rows} rows" if rows else response.summary + (" []" if response.body.strip() == b"[]" else "")
    yield assess(
        "no match",
        "10.6.3.1",
        "204, or 200 without rows",
        found,
        response.ok and not rows,
        "dw filters the rows itself and says so" if rows else "dw search fails when nothing matches",
    )


def series_of_unknown_study(session: Session) -> Iterator[Finding]:
    """Search for the series of an unknown study."""
    response = session.get(f"studies/{NOBODY}/series")
    rows = response.rows()
    yield assess(
        "series of an unknown study",
        "10.6.3.1",
        "404, or no rows",
        f"{len(rows)} rows" if rows else response.summary + (" []" if response.body.strip() == b"[]" else ""),
        not rows and (response.ok or response.status in (404, 410)),
        "dw may list series of other studies" if rows else "dw cannot distinguish absent from refused",
    )


def escaping(session: Session) -> Iterator[Finding]:
    """Check that a query is percent-decoded, by an encoded digit of a UID, which is equivalent (RFC 3986 2.3)."""
    if not session.studies:
        return
    uid = session.studies[0]
    encoded = f"%{ord(uid[0]):02X}{quote(uid[1:], safe='')}"
    response = session.get(f"studies?StudyInstanceUID={encoded}")
    session.decodes = uid in response.uids(refs.STUDY_UID)
    yield assess(
        "percent-encoding",
        "8.3.1",
        "decoded",
        "decoded" if session.decodes else f"not decoded ({response.summary})",
        session.decodes,
        "dw sends values unencoded; for a space, %, & or # it sends wildcards and filters the rows itself",
        setting={"escaping": "raw"},
        setting_if_ok={"escaping": "standard"},
    )


def non_ascii(session: Session) -> Iterator[Finding]:
    """Send bytes that are not UTF-8. Non-ASCII characters are percent-encoded UTF-8 in HTTP."""
    if not session.decodes:
        yield Finding(
            "non-ASCII characters",
            "8.3.1",
            "percent-encoded UTF-8",
            "cannot be sent: never decoded, and HTTP allows no raw ones",
            "dw sends * for such characters and filters the rows itself",
            True,
        )
        return
    response = session.get("studies?PatientName=%FF%FE")
    rows = bool(response.rows())
    yield assess(
        "invalid UTF-8 in a value",
        "8.3.1",
        "400, or no rows",
        "returns rows" if rows else response.summary,
        not rows and (response.ok or response.status == 400),
        "dw never sends it",
    )


def raw_caret(session: Session) -> Iterator[Finding]:
    """Send a raw `^`, which RFC 3986 does not allow and some web servers refuse."""
    response = session.get("studies?PatientName=DW^NOBODY")
    yield Finding(
        "raw ^ in a query", "RFC 3986", "left open", "accepted" if response.ok else f"refused ({response.status})"
    )


def wildcards(session: Session) -> Iterator[Finding]:
    """Search for a name by its beginning with `*`, and by a part without `*`."""
    if not session.studies:
        return
    uid, word = _named(session.rows) or _named(session.get(f"studies?limit={_SAMPLE_ROWS}").rows()) or ("", "")
    if not uid:
        untried = "not tried: no patient name found that begins with three ASCII letters or digits"
        for check, standard in (("wildcards", _WILDCARDS), ("partial name", _PARTIAL)):
            yield Finding(check, "8.3.4.1.1", standard, untried, "dw assumes that this server conforms")
        return
    rows = auto.beginning(session.ask, Query(Level.STUDY), _NAME, word[:2], STANDARD)
    found = any(text(row, refs.STUDY_UID) == uid for row in rows) or len(session.last.body) > _TRUNCATED
    yield assess(
        "wildcards",
        "8.3.4.1.1",
        _WILDCARDS,
        "supported" if found else f"not supported ({session.last.summary})",
        found,
        "dw requests all rows and filters them itself",
        setting={"wildcards": False},
        setting_if_ok={"wildcards": True},
    )
    part = session.get(f"studies?PatientName={word[1:]}")
    yield assess(
        "partial name",
        "8.3.4.1.1",
        _PARTIAL,
        "matches" if (inside := uid in part.uids(refs.STUDY_UID)) else "matches nothing",
        not inside,
        "a search by name may find more than requested; dw shows it",
    )


def _named(rows: list[Row]) -> tuple[str, str] | None:
    """Return a study UID and the beginning of its PatientName, in ASCII letters and digits, never encoded."""
    for row in rows:
        if (uid := text(row, refs.STUDY_UID)) and (word := re.match("[A-Za-z0-9]{3,}", text(row, _NAME))):
            return uid, word[0]
    return None


def attributes(session: Session) -> Iterator[Finding]:
    """Search by tags instead of keywords, and by a list of UIDs."""
    if len(session.studies) < 2:
        return
    one, other = session.studies[:2]
    unexpected = set(session.get(f"studies?0020000D={one}").uids(refs.STUDY_UID)) - {one}
    yield assess(
        "attributes by tag",
        "8.3.4.1",
        "equivalent to keywords",
        "ignored: returns everything" if unexpected else "supported",
        not unexpected,
        "dw sends keywords and filters the rows",
    )
    both = Term(refs.STUDY_UID, f"{one},{other}")
    rows = session.ask(Query(Level.STUDY, terms=(both,)), STANDARD) or []
    missing = auto.left_out(both, (text(row, refs.STUDY_UID) for row in rows))
    yield assess(
        "list of UIDs",
        "8.3.4.1.1",
        "A,B finds both",
        f"{2 - len(missing)} of 2 found ({session.last.summary})" if missing else "both found",
        not missing,
        "dw search StudyInstanceUID=A,B finds less than there is; query UIDs one at a time",
    )


def unknown_keyword(session: Session) -> Iterator[Finding]:
    """Search by a keyword that does not exist."""
    yield from _unknown_attribute(session, "unknown keyword", "DwDoctorNoSuchKey")


def unknown_tag(session: Session) -> Iterator[Finding]:
    """Search by a tag that does not exist."""
    yield from _unknown_attribute(session, "unknown tag", "00110011")


def _unknown_attribute(session: Session, check: str, name: str) -> Iterator[Finding]:
    if not session.studies:
        return
    response = session.get(f"studies?{name}=1")
    silent = response.ok and bool(response.rows()) and "warning" not in response.headers
    yield assess(
        check,
        "8.3.4.1",
        "ignored with a Warning, or 400",
        "ignored silently: returns everything" if silent else response.summary,
        not silent,
        "dw says so and filters the rows itself where they contain the attribute",
    )


def included_attributes(session: Session) -> Iterator[Finding]:
    """Request an attribute by `includefield`, and two with an encoded comma."""
    if not session.study_row:
        return
    if text(session.study_row, _DESCRIPTION) or _DESCRIPTION in session.study_row:
        yield Finding(
            "includefield", "8.3.4.3", "returns the attribute", "not tried: StudyDescription is returned anyway"
        )
        return
    study = f"studies?StudyInstanceUID={text(session.study_row, refs.STUDY_UID)}"
    given = _has(session, f"{study}&includefield=StudyDescription")
    described = not given and session.sample is not None and bool(session.metadata(session.sample).rows())
    yield assess(
        "includefield",
        "8.3.4.3",
        "returns the attribute",
        "returned" if given else "ignored",
        given,
        f"dw search cannot show what this server omits; use dw {'metadata' if described else 'retrieve'}",
    )
    if given:
        listed = _has(session, f"{study}&includefield=StudyDescription%2CNumberOfStudyRelatedSeries")
        yield assess(
            "encoded comma in includefield",
            "8.3.1",
            "a comma",
            "decoded" if listed else "ignored silently: no attribute returned",
            listed,
            "dw writes includefield once for each attribute",
        )


def _has(session: Session, path: str) -> bool:
    return any(_DESCRIPTION in row for row in session.get(path).rows())


def modality(session: Session) -> Iterator[Finding]:
    """Search studies by Modality, which is an attribute of series."""
    value = text(session.series_rows[0], _MODALITY) if session.series_rows else ""
    if not re.fullmatch("[A-Z]{2,16}", value):
        return
    rows = session.get(f"studies?Modality={value}").rows()
    yield Finding(
        "Modality in a study search",
        "10.6.1.2",
        "not an attribute of studies",
        "finds studies" if rows else "finds none",
        "" if rows else "dw --modality sends ModalitiesInStudy; search studies Modality=… finds nothing",
    )


def levels(session: Session) -> Iterator[Finding]:
    """Search series and instances across studies."""
    queries = {"series": Query(Level.SERIES), "instances": Query(Level.INSTANCE)}
    if session.sample:
        queries["studies/…/instances"] = Query(Level.INSTANCE, study=session.sample.study)
    lists = {path: auto.lists(session.ask, query, STANDARD) for path, query in queries.items()}
    without = [path for path, some in lists.items() if some is None or (session.sample and not some)]
    yield assess(
        "searches across studies",
        "10.6.1.1",
        "all of them; optional for proxies",
        f"not for {', '.join(without)}" if without else "all of them",
        not without,
        "dw searches one study at a time",
        setting={"relational": False},
        setting_if_ok={"relational": True} if session.sample else {},
    )


def counts(session: Session) -> Iterator[Finding]:
    """Check that a search for series states how many instances each has."""
    if not session.series_rows:
        return
    has = auto.counted(session.series_rows)
    yield assess(
        "instance counts of series",
        "10.6.3.3.2",
        "NumberOfSeriesRelatedInstances",
        "given" if has else "not given",
        has,
        "dw lists the instances to find out what is missing",
        setting={"counts": False},
        setting_if_ok={"counts": True},
    )


PROBES = (
    no_match,
    series_of_unknown_study,
    escaping,
    non_ascii,
    raw_caret,
    wildcards,
    attributes,
    unknown_keyword,
    unknown_tag,
    included_attributes,
    modality,
    levels,
    counts,
)
