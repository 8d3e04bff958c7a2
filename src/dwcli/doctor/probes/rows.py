"""The doctor's look at what rows are made of (PS3.18 10.6.3.3 and annex F)."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from dwcli.dicomweb import dictionary, refs
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.doctor.finding import Finding, judged
from dwcli.doctor.session import Examination

_CHARSET, _NAME, _RETRIEVE_URL = "00080005", "00100010", "00081190"
_ELSEWHERE = "dw-doctor.invalid"
_UTF8 = ("", "ISO_IR 192")


def charset(patient: Examination) -> Iterator[Finding]:
    """What a row says of its letters."""
    if patient.study_row:
        lost = "dw reads UTF-8 whatever it says; letters outside of that set may be lost on the way"
        yield character_set("character set of rows", patient.study_row, lost)


def character_set(check: str, row: Row, consequence: str = "dw reads UTF-8 whatever it says") -> Finding:
    """JSON is UTF-8; does 00080005 say so?"""
    said = text(row, _CHARSET)
    shown = said if re.fullmatch(r"[A-Z0-9_ \\]{0,80}", said) else "something else"
    return judged(
        check,
        "F.2.1, 8.8",
        "UTF-8, and 00080005 says so",
        shown or "not said",
        said in _UTF8,
        consequence,
    )


def names(patient: Examination) -> Iterator[Finding]:
    """How a person's name is written."""
    row = patient.study_row
    found = [value for tag in row if dictionary.vr(tag) == "PN" for value in raw(row, tag)]
    if not found:
        return
    as_text = any(isinstance(value, str) for value in found)
    yield judged(
        "names", "F.2.2", "objects of groups", "plain strings" if as_text else "objects", not as_text, "dw reads both"
    )
    yield from groups("groups of names", found)


def raw(row: Row, tag: str) -> list[object]:
    """The values of an attribute as they came, the empty ones too."""
    element = row.get(tag)
    found = element.get("Value") if isinstance(element, dict) else None
    return found if isinstance(found, list) else []


def groups(check: str, found: list[object]) -> Iterator[Finding]:
    """Groups that are there and empty, or still have a character set's escapes in them."""
    written = [str(group) for name in found if isinstance(name, dict) for group in name.values() if group is not None]
    whole = [str(name) for name in found if isinstance(name, str)]
    empty, escaped = "" in written, any("\x1b" in word for word in [*written, *whole])
    together = any("=" in word for word in [*written, *whole])
    found_words = [
        *(["empty ones are written"] if empty else []),
        *(["escapes of a character set are left in"] if escaped else []),
        *(["several stand in one"] if together else []),
    ]
    yield judged(
        check,
        "F.2.2",
        "Alphabetic, Ideographic, Phonetic; empty ones left out",
        ", ".join(found_words) or "as it says",
        not found_words,
        "dw shows the escapes as \\x1b: such a name cannot be read" if escaped else "dw reads them all the same",
    )


def names_of_both(patient: Examination) -> Iterator[Finding]:
    """Is the name in a row the one that stands in the metadata? Latin 1 in between loses letters."""
    if not patient.sample or not patient.study_row:
        return
    rows = patient.metadata(patient.sample).rows()
    if not rows:
        return
    same = text(rows[0], _NAME) == text(patient.study_row, _NAME)
    yield judged(
        "names in rows and metadata",
        "8.8",
        "the same",
        "the same" if same else "others",
        same,
        "a search may show names without some of their letters: dw metadata has them",
    )
    yield character_set("character set of metadata", rows[0])


def retrieve_url(patient: Examination) -> Iterator[Finding]:
    """The address that a row gives."""
    if not patient.study_row:
        return
    url = text(patient.study_row, _RETRIEVE_URL)
    away = bool(url) and urlsplit(url).netloc not in ("", urlsplit(patient.client.base).netloc)
    yield judged(
        "RetrieveURL",
        "10.6.3.3.1",
        "an address that can be reached",
        "another host than the profile's" if away else "on this address" if url else "absent",
        bool(url) and not away,
        "dw builds its own addresses",
    )


def forwarded(patient: Examination) -> Iterator[Finding]:
    """Does what a proxy says of the client's address reach RetrieveURL? With a port the host is quoted (RFC 7239 4)."""
    if not text(patient.study_row, _RETRIEVE_URL):
        return
    bare = _bent(patient, f"host={_ELSEWHERE};proto=https")
    yield Finding("Forwarded", "RFC 7239", "left open", "RetrieveURL follows it" if bare else "ignored")
    if bare:
        url = _bent(patient, f'host="{_ELSEWHERE}:8443";proto=https')
        good = bool(url) and '"' not in url and "%22" not in url
        yield judged(
            "Forwarded with a quoted host",
            "RFC 7239 4",
            "quotes are no part of the host",
            "as it says" if good else "the quotes stay in RetrieveURL" if url else "ignored",
            good,
            "dw builds its own addresses; other clients need a proxy that writes the host without quotes",
        )
    other = _bent(patient, "", _ELSEWHERE)
    yield Finding("X-Forwarded-Host", "", "not in the standard", "RetrieveURL follows it" if other else "ignored")


def _bent(patient: Examination, forwarded: str, host: str = "") -> str:
    """The RetrieveURL of a row asked for with `Forwarded` or X-Forwarded-Host, empty where that did not get into it."""
    path = f"studies?StudyInstanceUID={text(patient.study_row, refs.STUDY_UID)}"
    answer = patient.get(path, Forwarded=forwarded) if forwarded else patient.get(path, X_Forwarded_Host=host)
    rows = answer.rows()
    url = text(rows[0], _RETRIEVE_URL) if rows else ""
    return url if _ELSEWHERE in url else ""


def compression(patient: Examination) -> Iterator[Finding]:
    """Are rows and images compressed on the way, where the client says that it can read that?"""
    came = patient.get("studies?limit=2", Accept_Encoding="gzip")
    words = [f"{came.headers.get('content-encoding', 'no')[:20]} for rows"]
    if patient.sample:
        whole = patient.get(refs.path(patient.sample), "*/*", Accept_Encoding="gzip")
        words.append(f"{whole.headers.get('content-encoding', 'no')[:20]} for images")
    yield Finding("compression", "RFC 9110 12.5.3", "optional", ", ".join(words).replace("no for", "none for"))


CHECKS = (charset, names, names_of_both, retrieve_url, forwarded, compression)
