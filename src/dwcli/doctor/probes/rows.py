"""Probes of the content of search results (PS3.18 10.6.3.3 and annex F)."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from dwcli.dicomweb import dictionary, refs, tags
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.doctor.finding import Finding, assess
from dwcli.doctor.session import Session

_CHARSET, _NAME, _RETRIEVE_URL = tags.SpecificCharacterSet, tags.PatientName, tags.RetrieveURL
_ELSEWHERE = "dw-doctor.invalid"
_UTF8 = ("", "ISO_IR 192")


def charset(session: Session) -> Iterator[Finding]:
    """Check the character set that a row states."""
    if session.study_row:
        lost = "dw always reads UTF-8; characters outside that set may be lost on the server"
        yield character_set("character set of rows", session.study_row, lost)


def character_set(check: str, row: Row, consequence: str = "dw always reads UTF-8") -> Finding:
    """Check that 00080005 states UTF-8, which JSON always is."""
    stated = text(row, _CHARSET)
    shown = stated if re.fullmatch(r"[A-Z0-9_ \\]{0,80}", stated) else "another value"
    return assess(
        check,
        "F.2.1, 8.8",
        "UTF-8, stated in 00080005",
        shown or "not stated",
        stated in _UTF8,
        consequence,
    )


def names(session: Session) -> Iterator[Finding]:
    """Check how person names are written."""
    row = session.study_row
    found = [value for tag in row if dictionary.vr(tag) == "PN" for value in raw(row, tag)]
    if not found:
        return
    as_text = any(isinstance(value, str) for value in found)
    yield assess(
        "person names",
        "F.2.2",
        "objects of component groups",
        "plain strings" if as_text else "objects",
        not as_text,
        "dw reads both",
    )
    yield from groups("component groups of names", found)


def raw(row: Row, tag: str) -> list[object]:
    """Return the values of an attribute as received, including empty ones."""
    element = row.get(tag)
    found = element.get("Value") if isinstance(element, dict) else None
    return found if isinstance(found, list) else []


def groups(check: str, found: list[object]) -> Iterator[Finding]:
    """Check component groups for empty ones, character set escapes, and several in one string."""
    components = [
        str(group) for name in found if isinstance(name, dict) for group in name.values() if group is not None
    ]
    whole = [str(name) for name in found if isinstance(name, str)]
    empty, escaped = "" in components, any("\x1b" in word for word in [*components, *whole])
    together = any("=" in word for word in [*components, *whole])
    deviations = [
        *(["empty groups are written"] if empty else []),
        *(["character set escapes remain"] if escaped else []),
        *(["several in one string"] if together else []),
    ]
    yield assess(
        check,
        "F.2.2",
        "Alphabetic, Ideographic, Phonetic; empty ones omitted",
        ", ".join(deviations) or "as required",
        not deviations,
        "dw shows the escapes as \\x1b; the name is unreadable" if escaped else "dw reads them anyway",
    )


def names_in_metadata(session: Session) -> Iterator[Finding]:
    """Compare the name in a row with the one in the metadata: a conversion to Latin-1 loses characters."""
    if not session.sample or not session.study_row:
        return
    rows = session.metadata(session.sample).rows()
    if not rows:
        return
    same = text(rows[0], _NAME) == text(session.study_row, _NAME)
    yield assess(
        "names in rows and metadata",
        "8.8",
        "the same",
        "the same" if same else "different",
        same,
        "a search may show names with characters missing; use dw metadata",
    )
    yield character_set("character set of metadata", rows[0])


def retrieve_url(session: Session) -> Iterator[Finding]:
    """Check the host of RetrieveURL."""
    if not session.study_row:
        return
    url = text(session.study_row, _RETRIEVE_URL)
    away = bool(url) and urlsplit(url).netloc not in ("", urlsplit(session.client.base).netloc)
    yield assess(
        "RetrieveURL",
        "10.6.3.3.1",
        "a reachable URL",
        "a different host than the profile's" if away else "on this server" if url else "absent",
        bool(url) and not away,
        "dw builds its own URLs",
    )


def forwarded(session: Session) -> Iterator[Finding]:
    """Check whether a proxy's headers reach RetrieveURL. A host with a port is quoted (RFC 7239 4)."""
    if not text(session.study_row, _RETRIEVE_URL):
        return
    bare = _forwarded_url(session, f"host={_ELSEWHERE};proto=https")
    yield Finding("Forwarded", "RFC 7239", "left open", "RetrieveURL follows it" if bare else "ignored")
    if bare:
        url = _forwarded_url(session, f'host="{_ELSEWHERE}:8443";proto=https')
        good = bool(url) and '"' not in url and "%22" not in url
        yield assess(
            "Forwarded with a quoted host",
            "RFC 7239 4",
            "quotes are not part of the host",
            "as required" if good else "the quotes remain in RetrieveURL" if url else "ignored",
            good,
            "dw builds its own URLs; other clients need a proxy that sends the host unquoted",
        )
    other = _forwarded_url(session, "", _ELSEWHERE)
    yield Finding("X-Forwarded-Host", "", "not in the standard", "RetrieveURL follows it" if other else "ignored")


def _forwarded_url(session: Session, forwarded: str, host: str = "") -> str:
    """Return the RetrieveURL of a row requested with Forwarded or X-Forwarded-Host; empty where it does not follow."""
    path = f"studies?StudyInstanceUID={text(session.study_row, refs.STUDY_UID)}"
    response = session.get(path, Forwarded=forwarded) if forwarded else session.get(path, X_Forwarded_Host=host)
    rows = response.rows()
    url = text(rows[0], _RETRIEVE_URL) if rows else ""
    return url if _ELSEWHERE in url else ""


def compression(session: Session) -> Iterator[Finding]:
    """Check whether rows and images are compressed where the client accepts gzip."""
    listed = session.get("studies?limit=2", Accept_Encoding="gzip")
    words = [f"{listed.headers.get('content-encoding', 'no')[:20]} for rows"]
    if session.sample:
        whole = session.get(refs.path(session.sample), "*/*", Accept_Encoding="gzip")
        words.append(f"{whole.headers.get('content-encoding', 'no')[:20]} for images")
    yield Finding("compression", "RFC 9110 12.5.3", "optional", ", ".join(words).replace("no for", "none for"))


PROBES = (charset, names, names_in_metadata, retrieve_url, forwarded, compression)
