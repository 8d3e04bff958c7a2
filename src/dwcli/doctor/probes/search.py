"""The doctor's look at searches (QIDO-RS, PS3.18 10.6): what matches, and which resources there are."""

import re
from collections.abc import Iterator
from urllib.parse import quote

from dwcli.client import auto
from dwcli.dicomweb import refs
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.dicomweb.query import Query, Term
from dwcli.dicomweb.refs import Level
from dwcli.doctor.finding import Finding, judged
from dwcli.doctor.session import NOBODY, STANDARD, Examination

_NAME, _MODALITY, _DESCRIPTION = "00100010", "00080060", "00081030"
_WILDCARDS, _PART = "* and ? match", "matches nothing without *"
_MANY = 25
_A_LOT = 60_000  # bytes of rows, of which not all were read: the one looked for may be among the rest


def no_match(patient: Examination) -> Iterator[Finding]:
    """A search that matches nothing."""
    answer = patient.get(f"studies?StudyInstanceUID={NOBODY}")
    rows = len(answer.rows())
    found = f"{rows} rows" if rows else answer.words + (" []" if answer.body.strip() == b"[]" else "")
    yield judged(
        "no match",
        "10.6.3.1",
        "204, or 200 without rows",
        found,
        answer.ok and not rows,
        "dw filters the rows itself, and says so" if rows else "dw search fails where nothing matches",
    )


def series_of_nobody(patient: Examination) -> Iterator[Finding]:
    """The series of a study that is not there."""
    answer = patient.get(f"studies/{NOBODY}/series")
    rows = answer.rows()
    yield judged(
        "series of an unknown study",
        "10.6.3.1",
        "404, or no rows",
        f"{len(rows)} rows" if rows else answer.words + (" []" if answer.body.strip() == b"[]" else ""),
        not rows and (answer.ok or answer.status in (404, 410)),
        "dw may list series of other studies" if rows else "dw cannot tell absent from refused",
    )


def escaping(patient: Examination) -> Iterator[Finding]:
    """Is a query percent-decoded? One letter of a UID is encoded, which changes nothing (RFC 3986 2.3)."""
    if not patient.studies:
        return
    uid = patient.studies[0]
    encoded = f"%{ord(uid[0]):02X}{quote(uid[1:], safe='')}"
    answer = patient.get(f"studies?StudyInstanceUID={encoded}")
    patient.decodes = uid in answer.uids(refs.STUDY_UID)
    yield judged(
        "percent-encoding",
        "8.3.1",
        "decoded",
        "decoded" if patient.decodes else f"not decoded ({answer.words})",
        patient.decodes,
        "dw writes keys raw; for a space, %, & or # it sends wildcards, and matches the rows itself",
        setting={"escaping": "raw"},
        fine={"escaping": "standard"},
    )


def letters(patient: Examination) -> Iterator[Finding]:
    """Letters beyond ASCII in a value: HTTP has them percent-encoded only, as UTF-8."""
    if not patient.decodes:
        yield Finding(
            "letters beyond ASCII",
            "8.3.1",
            "percent-encoded UTF-8",
            "cannot be asked for: never decoded, and HTTP knows no raw ones",
            "dw sends * for such letters, and matches the rows itself",
            True,
        )
        return
    answer = patient.get("studies?PatientName=%FF%FE")
    rows = bool(answer.rows())
    yield judged(
        "a value that is no UTF-8",
        "8.3.1",
        "400, or no rows",
        "rows come" if rows else answer.words,
        not rows and (answer.ok or answer.status == 400),
        "dw never sends one",
    )


def circumflex(patient: Examination) -> Iterator[Finding]:
    """A raw `^`, which RFC 3986 does not allow: web servers refuse it, or look the other way."""
    answer = patient.get("studies?PatientName=DW^NOBODY")
    yield Finding("raw ^ in a query", "RFC 3986", "left open", "taken" if answer.ok else f"refused ({answer.status})")


def wildcards(patient: Examination) -> Iterator[Finding]:
    """A name by its beginning and `*`, and by a part without one."""
    if not patient.studies:
        return
    uid, word = _named(patient.rows) or _named(patient.get(f"studies?limit={_MANY}").rows()) or ("", "")
    if not uid:
        found_words = "not tried: no study at hand has a name that begins with three letters or digits of ASCII"
        for check, standard in (("wildcards", _WILDCARDS), ("part of a name", _PART)):
            yield Finding(check, "8.3.4.1.1", standard, found_words, "dw takes this server to do as the standard says")
        return
    rows = auto.beginning(patient.ask, Query(Level.STUDY), _NAME, word[:2], STANDARD)
    found = any(text(row, refs.STUDY_UID) == uid for row in rows) or len(patient.last.body) > _A_LOT
    yield judged(
        "wildcards",
        "8.3.4.1.1",
        _WILDCARDS,
        "they do" if found else f"they do not ({patient.last.words})",
        found,
        "dw fetches all rows and matches here",
        setting={"wildcards": False},
        fine={"wildcards": True},
    )
    part = patient.get(f"studies?PatientName={word[1:]}")
    yield judged(
        "part of a name",
        "8.3.4.1.1",
        _PART,
        "matches" if (inside := uid in part.uids(refs.STUDY_UID)) else "matches nothing",
        not inside,
        "a search by name may find more than was asked for; dw shows it",
    )


def _named(rows: list[Row]) -> tuple[str, str] | None:
    """The UID of a study and the beginning of its patient's name, of letters that mean themselves everywhere."""
    for row in rows:
        if (uid := text(row, refs.STUDY_UID)) and (word := re.match("[A-Za-z0-9]{3,}", text(row, _NAME))):
            return uid, word[0]
    return None


def keys(patient: Examination) -> Iterator[Finding]:
    """Keys written as tags, and lists of UIDs."""
    if len(patient.studies) < 2:
        return
    one, other = patient.studies[:2]
    strange = set(patient.get(f"studies?0020000D={one}").uids(refs.STUDY_UID)) - {one}
    yield judged(
        "keys by tag",
        "8.3.4.1",
        "as good as keywords",
        "ignored: everything comes" if strange else "understood",
        not strange,
        "dw sends keywords, and filters what comes",
    )
    both = Term(refs.STUDY_UID, f"{one},{other}")
    rows = patient.ask(Query(Level.STUDY, terms=(both,)), STANDARD) or []
    missing = auto.left_out(both, (text(row, refs.STUDY_UID) for row in rows))
    yield judged(
        "list of UIDs",
        "8.3.4.1.1",
        "A,B finds both",
        f"{2 - len(missing)} of 2 found ({patient.last.words})" if missing else "both found",
        not missing,
        "dw search StudyInstanceUID=A,B finds less than is there: ask for one at a time",
    )


def unknown_key(patient: Examination) -> Iterator[Finding]:
    """A key that no server knows, by name."""
    yield from _ignored(patient, "unknown key", "DwDoctorNoSuchKey")


def unknown_tag(patient: Examination) -> Iterator[Finding]:
    """The same by tag."""
    yield from _ignored(patient, "unknown tag", "00110011")


def _ignored(patient: Examination, check: str, key: str) -> Iterator[Finding]:
    if not patient.studies:
        return
    answer = patient.get(f"studies?{key}=1")
    silent = answer.ok and bool(answer.rows()) and "warning" not in answer.headers
    yield judged(
        check,
        "8.3.4.1",
        "ignored with a Warning, or 400",
        "ignored silently: everything comes" if silent else answer.words,
        not silent,
        "dw says so, and filters the rows itself where they show the attribute",
    )


def including(patient: Examination) -> Iterator[Finding]:
    """`includefield`, and a list in it with the comma encoded."""
    if not patient.study_row:
        return
    if text(patient.study_row, _DESCRIPTION) or _DESCRIPTION in patient.study_row:
        yield Finding("includefield", "8.3.4.3", "brings an attribute", "not tried: StudyDescription comes unasked")
        return
    study = f"studies?StudyInstanceUID={text(patient.study_row, refs.STUDY_UID)}"
    given = _has(patient, f"{study}&includefield=StudyDescription")
    described = not given and patient.sample is not None and bool(patient.metadata(patient.sample).rows())
    yield judged(
        "includefield",
        "8.3.4.3",
        "brings an attribute",
        "does" if given else "ignored",
        given,
        f"dw search cannot show what this server leaves out; dw {'metadata' if described else 'retrieve'} brings it",
    )
    if given:
        listed = _has(patient, f"{study}&includefield=StudyDescription%2CNumberOfStudyRelatedSeries")
        yield judged(
            "encoded comma in includefield",
            "8.3.1",
            "a comma",
            "understood" if listed else "ignored silently: nothing more comes",
            listed,
            "dw writes includefield once for each attribute",
        )


def _has(patient: Examination, path: str) -> bool:
    return any(_DESCRIPTION in row for row in patient.get(path).rows())


def modality(patient: Examination) -> Iterator[Finding]:
    """Modality, which is an attribute of series, as a key for studies."""
    said = text(patient.series_rows[0], _MODALITY) if patient.series_rows else ""
    if not re.fullmatch("[A-Z]{2,16}", said):
        return
    rows = patient.get(f"studies?Modality={said}").rows()
    yield Finding(
        "Modality as a key for studies",
        "10.6.1.2",
        "no attribute of studies",
        "studies come" if rows else "finds none",
        "" if rows else "dw --modality asks for ModalitiesInStudy; search studies Modality=… finds nothing",
    )


def levels(patient: Examination) -> Iterator[Finding]:
    """Searches across studies."""
    asked = {"series": Query(Level.SERIES), "instances": Query(Level.INSTANCE)}
    if patient.sample:
        asked["studies/…/instances"] = Query(Level.INSTANCE, study=patient.sample.study)
    lists = {path: auto.lists(patient.ask, query, STANDARD) for path, query in asked.items()}
    without = [path for path, some in lists.items() if some is None or (patient.sample and not some)]
    yield judged(
        "searches across studies",
        "10.6.1.1",
        "all of them; optional for proxies",
        f"not for {', '.join(without)}" if without else "all of them",
        not without,
        "dw walks from study to study",
        setting={"relational": False},
        fine={"relational": True} if patient.sample else {},
    )


def counts(patient: Examination) -> Iterator[Finding]:
    """Does a search say how much there is?"""
    if not patient.series_rows:
        return
    has = auto.counted(patient.series_rows)
    yield judged(
        "counts of series",
        "10.6.3.3.2",
        "NumberOfSeriesRelatedInstances",
        "given" if has else "not given",
        has,
        "dw lists the instances to know what is missing",
        setting={"counts": False},
        fine={"counts": True},
    )


CHECKS = (
    no_match,
    series_of_nobody,
    escaping,
    letters,
    circumflex,
    wildcards,
    keys,
    unknown_key,
    unknown_tag,
    including,
    modality,
    levels,
    counts,
)
