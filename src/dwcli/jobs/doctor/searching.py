"""The doctor's look at searches (QIDO-RS, PS3.18 10.6)."""

from collections.abc import Iterator
from urllib.parse import quote, urlsplit

from dwcli.dicomweb import dictionary, media, refs
from dwcli.dicomweb.dicomjson import text, values
from dwcli.jobs.doctor.examination import Examination, Finding

_NOBODY = "2.25.17071979"
_CHARSET, _NAME, _RETRIEVE_URL = "00080005", "00100010", "00081190"
_COUNT = "00201209"


def nothing_found(patient: Examination) -> Iterator[Finding]:
    """A search that matches nothing."""
    answer = patient.get(f"studies?StudyInstanceUID={_NOBODY}")
    rows = len(answer.rows())
    if rows:
        yield Finding("no match", "204, or no rows", f"{rows} rows", "dw filters the rows itself, and says so", True)
    else:
        yield Finding("no match", "204, or no rows", answer.words + (" []" if answer.body else ""))
    series = patient.get(f"studies/{_NOBODY}/series")
    yield Finding(
        "series of an unknown study",
        "404, 204 or no rows",
        series.words,
        "an empty list proves nothing: dw asks for the study itself" if series.ok else "",
    )


def escaping(patient: Examination) -> Iterator[Finding]:
    """Is a query percent-decoded? One letter of a UID is encoded, which changes nothing (RFC 3986 2.3)."""
    if not patient.studies:
        return
    uid = patient.studies[0]
    encoded = f"%{ord(uid[0]):02X}{quote(uid[1:], safe='')}"
    answer = patient.get(f"studies?StudyInstanceUID={encoded}")
    decoded = uid in answer.uids(refs.STUDY_UID)
    yield Finding(
        "percent-encoding",
        "decoded",
        "decoded" if decoded else f"not decoded ({answer.words})",
        "" if decoded else "dw writes keys raw; values with spaces or other scripts cannot be asked for",
        not decoded,
        setting={} if decoded else {"escaping": "raw"},
    )


def wildcards(patient: Examination) -> Iterator[Finding]:
    """A name by its beginning and `*`."""
    name = text(patient.study_row, _NAME).split("=")[0]
    if len(name) < 3 or not name.isascii() or not name[:2].isalnum():
        return
    answer = patient.get(f"studies?PatientName={name[:2]}*")
    found = text(patient.study_row, refs.STUDY_UID) in answer.uids(refs.STUDY_UID) or len(answer.body) > 60_000
    yield Finding(
        "wildcards",
        "* and ? match",
        "they do" if found else f"they do not ({answer.words})",
        "" if found else "dw fetches all rows and matches here",
        not found,
        setting={} if found else {"wildcards": False},
    )


def keys(patient: Examination) -> Iterator[Finding]:
    """Keys written as tags, and keys that no server knows."""
    if len(patient.studies) > 1:
        uid = patient.studies[0]
        answer = patient.get(f"studies?0020000D={uid}")
        strange = set(answer.uids(refs.STUDY_UID)) - {uid}
        yield Finding(
            "keys by tag",
            "as good as keywords",
            "ignored: everything comes" if strange else "understood",
            "dw sends keywords, and filters what comes" if strange else "",
            bool(strange),
        )
    if not patient.studies:
        return
    answer = patient.get("studies?DwDoctorNoSuchKey=1")
    silent = answer.ok and bool(answer.rows()) and "warning" not in answer.headers
    yield Finding(
        "unknown key",
        "ignored with a Warning, or 400",
        "ignored silently" if silent else answer.words,
        "dw holds the rows against the question" if silent else "",
        silent,
    )


def paging(patient: Examination) -> Iterator[Finding]:
    """limit and offset, proper and improper."""
    if len(patient.studies) < 2:
        return
    one = patient.get("studies?limit=1&offset=0").uids(refs.STUDY_UID)
    yield Finding(
        "limit",
        "at most that many rows",
        f"{len(one)} of 1",
        "" if len(one) <= 1 else "dw cuts the rows itself",
        len(one) > 1,
    )
    two = patient.get("studies?limit=1&offset=1").uids(refs.STUDY_UID)
    ignored = bool(two) and two == one
    yield Finding(
        "offset",
        "skips that many rows",
        "ignored" if ignored else "skips",
        "dw stops at the first page without a new row" if ignored else "",
        ignored,
    )
    if not ignored:
        yield from _offset_of_pages(patient)
    none = patient.get("studies?limit=0")
    count = len(none.rows())
    yield Finding(
        "limit=0",
        "no rows, or 400",
        f"{count} rows" if none.ok else none.words,
        "dw never sends it" if count else "",
        count > 0,
    )
    for value in ("-1", "abc"):
        answer = patient.get(f"studies?limit={value}")
        yield Finding(
            f"limit={value}",
            "400",
            answer.words,
            "" if answer.status == 400 else "dw never sends it",
            answer.status != 400,
        )


def _offset_of_pages(patient: Examination) -> Iterator[Finding]:
    """Rows 2 and 3, or the second page of two?"""
    first = patient.get("studies?limit=2&offset=0").uids(refs.STUDY_UID)
    second = patient.get("studies?limit=2&offset=1").uids(refs.STUDY_UID)
    pages = len(first) == 2 and bool(second) and second[0] not in first
    yield Finding(
        "what offset counts",
        "rows",
        "pages" if pages else "rows",
        "dw counts pages too" if pages else "",
        pages,
        setting={"offset_counts": "pages"} if pages else {},
    )


def types(patient: Examination) -> Iterator[Finding]:
    """Media types of answers, and of refusals."""
    answer = patient.get("studies?limit=1", "application/x-unknown")
    yield Finding(
        "unknown Accept",
        "406",
        answer.words,
        "" if answer.status == 406 else "dw looks at what came, not at what it asked for",
        answer.status != 406,
    )
    xml = patient.get("studies?limit=1", media.DICOM_XML)
    bare = patient.get("studies?limit=1", "application/dicom+xml")
    is_xml = [one.ok and one.kind in (media.Body.XML, media.Body.MULTIPART) for one in (xml, bare)]
    found = {
        (True, True): "by either name",
        (True, False): "as the standard has it",
        (False, True): "only as bare application/dicom+xml",
    }.get((is_xml[0], is_xml[1]), f"none ({xml.words})")
    yield Finding(
        "XML", f"for {media.DICOM_XML}", found, "" if is_xml[0] else "dw writes XML itself (-f xml)", not is_xml[0]
    )
    for method in ("HEAD", "OPTIONS"):
        refused = patient.get("studies", method=method)
        yield Finding(
            f"{method} /studies",
            "200 or 204, or 405",
            refused.words,
            "" if refused.ok else "dw does not need it",
            not refused.ok and refused.status != 405,
        )
    error = patient.get(f"studies/{_NOBODY}/metadata")
    bad = bool(error.body) and not error.content_type
    yield Finding(
        "unknown study",
        "404",
        error.words,
        "dw reads the body whatever its type" if bad else "",
        error.status != 404 or bad,
        clue=error.body.decode("utf-8", "replace"),
    )


def relational(patient: Examination) -> Iterator[Finding]:
    """Searches across studies (PS3.18 table 10.6.1-2), and counts."""
    answers = {path: patient.get(f"{path}?limit=1") for path in ("series", "instances")}
    if patient.sample:
        answers["studies/…/instances"] = patient.get(f"studies/{refs.segment(patient.sample.study)}/instances?limit=1")
    without = [path for path, answer in answers.items() if not answer.ok or (patient.sample and not answer.rows())]
    yield Finding(
        "searches across studies",
        "optional",
        f"not for {', '.join(without)}" if without else "all of them",
        "dw walks from study to study" if without else "",
        bool(without),
        setting={"relational": False} if without else {},
    )
    if patient.series_rows:
        study = refs.segment(text(patient.study_row, refs.STUDY_UID) or patient.studies[0])
        rows = patient.get(f"studies/{study}/series?includefield=NumberOfSeriesRelatedInstances").rows()
        has = bool(rows) and all(text(row, _COUNT).isdecimal() for row in rows)
        yield Finding(
            "counts of series",
            "NumberOfSeriesRelatedInstances",
            "given" if has else "not given",
            "" if has else "dw lists the instances to know what is missing",
            not has,
            setting={} if has else {"counts": False},
        )


def rows(patient: Examination) -> Iterator[Finding]:
    """What rows look like."""
    row = patient.study_row
    if not row:
        return
    said = text(row, _CHARSET)
    odd = said not in ("", "ISO_IR 192")
    yield Finding(
        "character set",
        "UTF-8, and 00080005 says so",
        said or "not said",
        "dw reads UTF-8 whatever it says" if odd else "",
        odd,
    )
    names = [value for tag in row if dictionary.vr(tag) == "PN" for value in values(row, tag)]
    as_text = any(isinstance(value, str) for value in names)
    yield Finding(
        "names",
        "objects of groups",
        "plain strings" if as_text else "objects",
        "dw reads both" if as_text else "",
        as_text,
    )
    url = text(row, _RETRIEVE_URL)
    here = urlsplit(patient.client.base).netloc
    away = bool(url) and urlsplit(url).netloc not in ("", here)
    found = "another host than the profile's" if away else "on this address" if url else "absent"
    yield Finding(
        "RetrieveURL",
        "an address that can be reached",
        found,
        "dw builds its own addresses" if away or not url else "",
        away or not url,
    )


CHECKS = (nothing_found, escaping, wildcards, keys, paging, types, relational, rows)
