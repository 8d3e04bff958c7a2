"""The answers that servers are known to give, byte for byte: the same rows, files and outcomes with each dialect."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from servers import images
from servers.dw import Dw
from servers.fake import Answer, Fake, Request
from servers.inside import Inside
from servers.scripted import item

JSON = {"Content-Type": "application/dicom+json"}
XML = {"Content-Type": "application/dicom+xml"}
NOTHING: dict[str, str] = {}
ONE = ("2.25.1", "2.25.2", "2.25.3")
FILE = images.instance(*ONE)

Both = pytest.mark.parametrize("auto", [pytest.param(False, id="preset"), pytest.param(True, id="auto")])


@pytest.fixture
def run_dw(tmp_path: Path) -> Dw:
    return Inside(tmp_path / "home")


@pytest.fixture
def at(fake_server: Callable[..., Fake], run_dw: Dw) -> Callable[..., Fake]:
    """`at(preset, auto, handler)`: a profile of that preset or of `auto`, the default one, for a scripted server."""

    def make(preset: str, auto: bool, handler: Callable[[Request], Answer]) -> Fake:
        server = fake_server(handler, path="/rs")
        run_dw("profile", "add", "p", server.url, "--dialect", "auto" if auto else preset)
        return server

    return make


# Rows

UID = b'"0020000D":{"vr":"UI","Value":["1.2"]}'
EMPTY: dict[str, Any] = {"StudyInstanceUID": "1.2"}


def row(element: bytes) -> bytes:
    return b"[{" + UID + b"," + element + b"}]"


def native(inside: str, name: str = "NativeDicomModel") -> bytes:
    uid = '<DicomAttribute tag="0020000D" vr="UI"><Value number="1"> 1.2\n</Value></DicomAttribute>'
    return f'<?xml version="1.0"?><{name}>{uid}{inside}</{name.partition(" ")[0]}>'.encode()


def parts(*documents: bytes, kind: str = "application/dicom+xml") -> bytes:
    head = f"\r\n--b\r\nContent-Type: {kind}\r\n\r\n".encode()
    return b"".join(head + document for document in documents) + b"\r\n--b--\r\n"


MANY = {"Content-Type": 'multipart/related; boundary=b; type="application/dicom+xml"'}
NAME_XML = '<DicomAttribute tag="00100010" vr="PN"><PersonName number="1"><Alphabetic><FamilyName>Zeta</FamilyName>'
NAME_XML += "<GivenName>Zachary</GivenName></Alphabetic></PersonName></DicomAttribute>"
NAMESPACE = 'NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM"'


@dataclass(frozen=True)
class Rows:
    """An answer to a search, and what `dw search -f flat` makes of its one row, beside the study's UID."""

    preset: str
    headers: dict[str, str]
    body: bytes
    fields: dict[str, Any]


ROWS = {
    "a name as a string": Rows("orthanc-0.4", JSON, row(b'"00100010":{"Value":["Jupiter"],"vr":"PN"}'),
        {"PatientName": "Jupiter"}),
    "three groups in one": Rows("orthanc-0.4", JSON, row(b'"00100010":{"vr":"PN","Value":[{"Alphabetic":"A=I=P"}]}'),
        {"PatientName": "A=I=P"}),
    "an empty string for nothing": Rows("orthanc-0.4", JSON, row(b'"00100030":{"Value":[""],"vr":"DA"}'),
        {"PatientBirthDate": None}),
    "counts as strings": Rows("orthanc-0.4", JSON, row(b'"00201206":{"Value":["5"],"vr":"IS"}'),
        {"NumberOfStudyRelatedSeries": 5}),
    "an empty phonetic group": Rows("orthanc", JSON,
        row('"00100010":{"vr":"PN","Value":[{"Alphabetic":"Yamada","Ideographic":"山田","Phonetic":""}]}'.encode()),
        {"PatientName": "Yamada=山田"}),
    "only a vr": Rows("orthanc", JSON, row(b'"00100010":{"vr":"PN"}'), {"PatientName": None}),
    "a character set that lies": Rows("orthanc", JSON,
        row('"00080005":{"vr":"CS","Value":["GB18030"]},"00100020":{"vr":"LO","Value":["Bücher"]}'.encode()),
        {"SpecificCharacterSet": "GB18030", "PatientID": "Bücher"}),
    "one document a part": Rows("dcm4chee", MANY, parts(native(NAME_XML)), {"PatientName": "Zeta^Zachary"}),
    "one document alone": Rows("dcm4chee", XML, native(NAME_XML), {"PatientName": "Zeta^Zachary"}),
    "a namespace": Rows("dcm4chee", MANY, parts(native(NAME_XML, NAMESPACE)), {"PatientName": "Zeta^Zachary"}),
    "gaps in a list": Rows("dcm4chee", JSON, row(b'"00080061":{"vr":"CS","Value":["CT",null,"MR"]}'),
        {"ModalitiesInStudy": ["CT", None, "MR"]}),
    "a byte order mark": Rows("dcm4chee", JSON, b"\xef\xbb\xbf" + row(b'"00100020":{"vr":"LO","Value":["X"]}'),
        {"PatientID": "X"}),
    "a trailing comma and no type": Rows("shanoir", NOTHING,
        row(b'"00100020":{"vr":"LO","Value":["X"]}')[:-1] + b",]", {"PatientID": "X"}),
    "lower-case tags": Rows("shanoir", NOTHING, row(b'"0008103e":{"vr":"LO","Value":["X"]}'),
        {"SeriesDescription": "X"}),
    "no vr": Rows("google", JSON, row(b'"00201208":{"Value":["7"]}'), {"NumberOfStudyRelatedInstances": 7}),
    "not a number, as words": Rows("azure", JSON, row(b'"00189087":{"vr":"FD","Value":["NaN","-Infinity"]}'),
        {"DiffusionBValue": ["NaN", "-Infinity"]}),
    "not a number, bare": Rows("azure", JSON, row(b'"00189087":{"vr":"FD","Value":[NaN,-Infinity]}'),
        {"DiffusionBValue": ["NaN", "-Infinity"]}),
    "a number as text": Rows("azure", JSON, row(b'"00100020":{"vr":"LO","Value":[7]}'), {"PatientID": "7"}),
    "a scalar value": Rows("aws", JSON, row(b'"00100020":{"vr":"LO","Value":"X"}'), {"PatientID": "X"}),
    "no value but a list": Rows("aws", JSON, row(b'"00100020":{"vr":"LO","Value":[]}'), {"PatientID": None}),
    "a label for what is not known": Rows("xnat", {**JSON, "X-Total-Count": "1"},
        row(b'"00080020":{"vr":"DA","Value":["UNKNOWN"]}'), {"StudyDate": "UNKNOWN"}),
    "plain JSON": Rows("kheops", {"Content-Type": "application/json;charset=UTF-8"},
        row(b'"00100020":{"vr":"LO","Value":["X"]}'), {"PatientID": "X"}),
    "letters as escapes": Rows("tiny-pacs", JSON, row(b'"00100020":{"vr":"LO","Value":["B\\u00fccher"]}'),
        {"PatientID": "Bücher"}),
    "an order's UID with blanks": Rows("standard", JSON, row(b'"00081190":{"vr":"UR","Value":[" http://h/x\\n"]}'),
        {"RetrieveURL": "http://h/x"}),
}  # fmt: skip


@Both
@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_read(name: str, auto: bool, at: Callable[..., Fake], run_dw: Dw) -> None:
    case = ROWS[name]

    def handler(request: Request) -> Answer:
        later = "offset" in request.target and "offset=0" not in request.target
        return Answer(204) if later else Answer(200, case.headers, case.body)

    at(case.preset, auto, handler)
    run = run_dw("search", "-f", "flat")
    assert run.code == 0, run.err
    (found,) = map(json.loads, run.lines)
    assert found == {"StudyInstanceUID": "1.2", **case.fields}


@Both
@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE x [<!ENTITY a "b">]>' + native("&a;").partition(b"?>")[2],
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd">' + native("").partition(b"?>")[2],
    ],
)
def test_a_document_with_a_definition_of_its_own_is_refused(
    body: bytes, auto: bool, at: Callable[..., Fake], run_dw: Dw
) -> None:
    at("dcm4chee", auto, lambda _: Answer(200, XML, body))
    run = run_dw("search", "-f", "flat")
    assert (run.code, run.out) == (1, "")


# Files


@dataclass(frozen=True)
class Images:
    """An answer to a retrieve of one instance, as whose file the test's own has to come."""

    preset: str
    headers: dict[str, str]
    body: bytes
    framing: str = "length"


def related(boundary: str, file: bytes = FILE, head: bytes = b"Content-Type: application/dicom\r\n") -> bytes:
    mark = b"--" + boundary.encode()
    return mark + b"\r\n" + head + b"\r\n" + file + b"\r\n" + mark + b"--"


IMAGES = {
    "no length and no chunks": Images("orthanc",
        {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}, related("b"), "close"),
    "a part that names its length": Images("orthanc",
        {"Content-Type": "multipart/related; type=application/dicom; boundary=b"},
        related("b", head=b"Content-Type: application/dicom\r\nContent-Length: 5\r\nMIME-Version: 1.0\r\n")),
    "start and start-info": Images("dcm4chee",
        {"Content-Type": 'multipart/related;start="<1@resteasy>";transfer-syntax=1.2.840.10008.1.2.1;'
         'type="application/dicom"; boundary=9d05'},
        related("9d05", head=b"Content-ID: <1@resteasy>\r\ncontent-type: application/dicom\r\n"), "chunked"),
    "a type with its syntax inside": Images("dcm4chee",
        {"Content-Type": 'Multipart/Related; TYPE="application/dicom; transfer-syntax=*"; Boundary="b c"'},
        related("b c"), "chunked"),
    "nothing says what it is": Images("shanoir", NOTHING, related("MIMEBoundary_1")),
    "no part heads": Images("google",
        {"Content-Type": 'multipart/related; boundary=b; type="application/dicom"'}, related("b", head=b"")),
    "one body": Images("aws", {"Content-Type": "application/dicom"}, FILE),
    "one body of some type": Images("xnat", {"Content-Type": "application/octet-stream"}, FILE),
    "one body with its syntax": Images("tiny-pacs",
        {"Content-Type": "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"}, FILE),
    "a quoted boundary": Images("tiny-pacs",
        {"Content-Type": 'multipart/related; type="application/dicom"; boundary="b"'}, related("b"), "chunked"),
    "a line break first, no type": Images("kheops",
        {"Content-Type": "multipart/related; boundary='b"}, b"\r\n" + related("'b")),
    "multipart/mixed": Images("postdicom", {"Content-Type": "multipart/mixed; boundary=b"}, related("b")),
}  # fmt: skip


@Both
@pytest.mark.parametrize("name", IMAGES)
def test_a_file_is_kept(name: str, auto: bool, at: Callable[..., Fake], run_dw: Dw, tmp_path: Path) -> None:
    case = IMAGES[name]
    at(case.preset, auto, lambda _: Answer(200, case.headers, case.body, case.framing))  # type: ignore[arg-type]
    run = run_dw("retrieve", "instance", "/".join(ONE), "-o", tmp_path / "out")
    assert run.code == 0, run.err
    (file,) = (tmp_path / "out").rglob("*.dcm")
    assert file.read_bytes() == FILE


# Stores


def sequences(**named: list[dict[str, object]]) -> bytes:
    return json.dumps({tag[1:]: {"vr": "SQ", "Value": items} for tag, items in named.items()}).encode()


def failure(code: int, **more: object) -> dict[str, object]:
    return {**item(ONE[2], failure=code), **{tag[1:]: value for tag, value in more.items()}}


STORED = sequences(t00081199=[item(ONE[2])])
STORED_XML = (
    '<NativeDicomModel><DicomAttribute tag="00081199" vr="SQ"><Item number="1"><DicomAttribute tag="00081155" vr="UI">'
    f'<Value number="1">\n{ONE[2]}\n</Value></DicomAttribute></Item></DicomAttribute></NativeDicomModel>'
).encode()
GOOGLE = failure(0x0110, t00090010={"vr": "LO", "Value": ["GOOGLE"]}, t00090097={"vr": "UT", "Value": ["it exists"]})


@dataclass(frozen=True)
class Store:
    """A reply to a store of one instance; the outcome, a word of its reason, and the exit code.

    `held`: what the server gives back when it is asked: nothing, the same bytes, or others.
    """

    preset: str
    answer: Answer
    outcome: str
    word: str = ""
    code: int = 0
    held: bytes = b""


STORES = {
    "stored, with an empty list of failures": Store("orthanc",
        Answer(200, JSON, sequences(t00081199=[item(ONE[2])], t00081198=[])), "stored"),
    "empty lists, nothing stored": Store("orthanc", Answer(200, JSON, sequences(t00081199=[], t00081198=[])),
        "failed", "does not have it", 1),
    "400 with the reason inside and no type": Store("orthanc",
        Answer(400, NOTHING, sequences(t00081198=[failure(0xC000)])), "failed", "C000", 1),
    "400 without an account": Store("orthanc",
        Answer(400, NOTHING, b'{"HttpStatus":400,"Message":"Bad request","OrthancStatus":8}'), "failed",
        "Bad request", 1),
    "another study": Store("orthanc", Answer(409, JSON, sequences(t00081198=[failure(0x0110)])), "failed", "0110", 1),
    "stored, in XML": Store("dcm4chee", Answer(200, XML, STORED_XML), "stored"),
    "bulk data missing": Store("dcm4chee", Answer(409, JSON, sequences(t00081198=[failure(0xA922)])), "failed",
        "bulk data missing", 1),
    "there already and equal": Store("google", Answer(409, JSON, sequences(t00081198=[GOOGLE])), "present",
        "already on the server and identical", 0, FILE),
    "there already and other": Store("google", Answer(409, JSON, sequences(t00081198=[GOOGLE])), "conflict",
        "different content", 1, images.instance(*ONE, number=9)),
    "stored, in XML though JSON was asked": Store("google", Answer(200, {"Content-Type": "application/dicom+xml"},
        STORED_XML), "stored"),
    "45070, equal": Store("azure", Answer(409, JSON, sequences(t00081198=[failure(45070)])), "present",
        "already on the server and identical", 0,
        FILE),
    "43265": Store("azure", Answer(409, JSON, sequences(t00081198=[failure(43265)])), "failed", "another study", 1),
    "45071": Store("azure", Answer(409, JSON, sequences(t00081198=[failure(45071)])), "failed", "B00F", 1),
    "202 with a warning alone": Store("azure", Answer(202, JSON, sequences(t00081199=[item(ONE[2], warning=1)])),
        "warned", "do not conform"),
    "204 and nothing there": Store("azure", Answer(204), "failed", "does not have it", 1),
    "a list of one": Store("xnat", Answer(200, JSON, b"[" + STORED + b"]"), "stored"),
    "a list, one a study": Store("xnat", Answer(200, JSON, b"[{}," + STORED + b"]"), "stored"),
    "200 and nothing, and it is there": Store("shanoir", Answer(200), "stored", "returns it", 0, FILE),
    "duplicate": Store("tiny-pacs", Answer(409, JSON, sequences(t00081198=[failure(0x0110)])), "present",
        "already on the server and identical", 0,
        FILE),
    "413 in words": Store("tiny-pacs", Answer(413, {"Content-Type": "text/plain"}, b"exceeds the byte budget"),
        "failed", "byte budget", 1),
    "a reason in a header": Store("postdicom", Answer(400, {"X-Error-Reason": "no quota left"}), "failed",
        "no quota left", 1),
    "not allowed yet": Store("kheops", Answer(403, {"Content-Type": "application/json"}, b'{"message":"no right"}'),
        "failed", "no right", 4),
    "no such media type": Store("xnat", Answer(415, {"Content-Type": "text/plain"}, b"type is missing"), "failed",
        "type is missing", 1),
}  # fmt: skip


@Both
@pytest.mark.parametrize("name", STORES)
def test_a_reply_to_a_store_is_understood(
    name: str, auto: bool, at: Callable[..., Fake], run_dw: Dw, tmp_path: Path
) -> None:
    case = STORES[name]

    def handler(request: Request) -> Answer:
        if request.method == "POST":
            return case.answer
        if not case.held or "metadata" in request.target:
            return Answer(404)
        return Answer(200, {"Content-Type": "application/dicom"}, case.held)

    at(case.preset, auto, handler)
    (tmp_path / "one.dcm").write_bytes(FILE)
    run = run_dw("store", tmp_path / "one.dcm", "-f", "json")
    (found,) = json.loads(run.out)
    assert (run.code, found["outcome"]) == (case.code, case.outcome), run.err + run.out
    assert case.word in found["reason"]
