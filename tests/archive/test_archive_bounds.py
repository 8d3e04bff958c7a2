"""What a client can send without a body costs the archive time in proportion to its length, up to a bound."""

import time

import pytest

from dwcli.archive.accept import ranges
from dwcli.dicomweb import media
from servers import images
from servers.archive import Asker

HOSTILE = {
    "open-quotes": 'a/b;c="' * 9000,
    "quotes": '"' * 60_000,
    "escaped-quotes": r'a/b;c="\"' * 7000,
    "backslashes": '"' + "\\" * 60_000,
    "commas": "," * 60_000,
    "semicolons": ";" * 60_000,
    "blanks": "a/b;" + " " * 60_000 + "x",
    "a-name-without-value": "a/b;" + "x" * 60_000,
    "blanks-before-equals": "a/b;x" + " " * 60_000,
    "values": "a/b;x=1" * 8000,
}
hostile = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())


@hostile
def test_headers_are_read_in_linear_time(text: str) -> None:
    began = time.process_time()
    media.parse(text)
    ranges(text)
    assert time.process_time() - began < 1.0  # what was quadratic took 14 s and more


@hostile
def test_overlong_headers_are_refused(archive: Asker, text: str) -> None:
    assert archive("studies", accept=text).status_code == 400
    assert archive(f"studies?accept={text[:20000].replace('%', '').replace('&', '')}").status_code == 400
    sent = archive("studies", method="POST", body=b"x", Content_Type=text)
    assert sent.status_code == 400


@pytest.mark.parametrize(
    "query, status",
    [
        ("PatientName=" + "*a" * 500 + "b", 200),
        ("PatientName=" + "a" * 2000, 400),
        ("PatientName=" + "*" * 60_000 + "b", 400),
        ("PatientName=" + "%CC%81" * 10_000, 400),
        ("includefield=" + "Z" * 60_000, 400),
        ("includefield=" + "PatientNam," * 5000, 400),
        ("A" * 60_000 + "=1", 400),
        ("." * 60_000 + "=1", 400),
        ("StudyInstanceUID=" + ",".join(map(str, range(12_000))), 204),
        ("StudyInstanceUID=" + "," * 60_000, 204),
        ("fuzzymatching=true&" * 3000, 200),
        ("limit=" + "9" * 60_000, 400),
        ("StudyDate=" + "-" * 60_000, 400),
        ("StudyTime=" + "1" * 60_000, 400),
        ("&" * 60_000, 200),
        ("x" * 70_000, 414),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_query_costs_little(archive: Asker, query: str, status: int) -> None:
    archive.stow(images.instance("1.2.1", t00100010=("PN", "a" * 64)))
    began = time.process_time()
    reply = archive(f"studies?{query}")
    assert time.process_time() - began < 1.0
    assert reply.status_code in (status, 204 if status == 200 else status), reply.text[:200]
    assert sum(len(name) + len(value) for name, value in reply.headers.items()) < 4096


def test_a_quotation_that_does_not_end_spoils_no_parameter_before_it() -> None:
    found = media.parse('multipart/related; boundary="a;b"; type="application/dicom; x=1; y="q"')
    assert found.boundary == "a;b"
    assert [one.type for one in ranges('a/b; x="1,2", c/d; q=0.5, e/f;y="open, g/h')] == ["a/b", "e/f", "c/d"]
