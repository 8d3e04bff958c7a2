"""The published exchanges that users start from, step by step: the same requests go out, the same answers are read."""

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest

from dwcli.dicomweb import nativexml
from servers import images
from servers.dw import Dw
from servers.fake import Answer, Fake, Request
from servers.quirks import Shanoir

DATA = Path(__file__).parent.parent / "data"
ROOT = "1.3.6.1.4.1.25403.345050719074.3824"
JUPITER = [f"{ROOT}.20170125094453.2", f"{ROOT}.20170125094540.8"]
XML = 'multipart/related; type="application/dicom+xml"'
ZETA = "2.16.840.1.113995.3.110.3.0.10118"
INSTANCE = (ZETA, f"{ZETA}.1", f"{ZETA}.1.1")
REF = "/".join(INSTANCE)
PATH = "studies/{}/series/{}/instances/{}".format(*INSTANCE)


def targets(server: Fake, method: str = "GET") -> list[str]:
    return [unquote(request.target) for request in server.requests if request.method == method]


# OHIF before an Orthanc of 2017


@pytest.fixture
def jupiter(fake_server: Callable[..., Fake], run_dw: Dw) -> Fake:
    def handler(request: Request) -> Answer:
        if request.header("Accept") != "application/json":
            return Answer(200, {"Content-Type": f"{XML}; boundary=x"}, b"--x--")
        body = (DATA / "qido_orthanc_0.4.json").read_bytes()
        if "Bellona" in request.target:
            body = body.replace(b"Jupiter", b"Bellona")
        elif "ModalitiesInStudy" in request.target:
            body = b"[]"
        return Answer(200, {"Content-Type": "application/json"}, body)

    server = fake_server(handler, path="/dicom-web")
    run_dw("profile", "add", "old", server.url, "--dialect", "orthanc-0.4")
    return server


def test_the_list_of_studies_and_its_fields(jupiter: Fake, run_dw: Dw) -> None:
    run = run_dw("search", "--include", "00081030,00080060", "-f", "flat")
    assert run.code == 0, run.err
    assert targets(jupiter)[0] == "/dicom-web/studies?includefield=StudyDescription&includefield=Modality"
    row = json.loads(run.lines[0])
    assert (row["PatientName"], row["NumberOfStudyRelatedInstances"]) == ("Jupiter", 350)
    assert (row["ReferringPhysicianName"], row["PatientBirthDate"]) == (None, None)


def test_the_filtered_list(jupiter: Fake, run_dw: Dw) -> None:
    run = run_dw("search", "--patient", "Bellona*", "--modality", "CT", "-f", "uids")
    assert run.lines == JUPITER
    assert "PatientName=Bellona*&ModalitiesInStudy=CT" in targets(jupiter)[0]


def test_the_metadata_behind_a_retrieve_url_on_another_host(jupiter: Fake, run_dw: Dw) -> None:
    run = run_dw("metadata", f"http://127.0.0.1/dicom-web/studies/{JUPITER[1]}", "-f", "json")
    assert run.code == 0, run.err
    assert targets(jupiter) == [f"/dicom-web/studies/{JUPITER[1]}/metadata"]
    assert " instead of " in run.err


def test_auto_reads_the_same_without_being_told(jupiter: Fake, run_dw: Dw) -> None:
    run = run_dw("search", "--url", jupiter.url, "-f", "uids")
    assert (run.code, run.lines) == (0, JUPITER)


# The samples of dcm4chee-arc 5


@pytest.fixture
def archive(fake_server: Callable[..., Fake], run_dw: Dw) -> Fake:
    parts = 'multipart/related;start="<1@resteasy-multipart>";transfer-syntax=1.2.840.10008.1.2.4.50;'
    file = images.instance(*INSTANCE)

    def handler(request: Request) -> Answer:
        accept = str(request.header("Accept"))
        path = request.target.partition("?")[0]
        head = b"--9d056d4f\r\nContent-ID: <1@resteasy-multipart>\r\n"
        if request.method == "POST":
            return Answer(200, {"Content-Type": "application/dicom+xml"}, (DATA / "stow_dcm4chee.xml").read_bytes())
        if path.endswith("/wado"):
            if "contentType=application/dicom" in request.target:
                kind = "application/dicom;transfer-syntax=1.2.840.10008.1.2.4.50"
                return Answer(200, {"Content-Type": kind}, file, framing="chunked")
            return Answer(200, {"Content-Type": "image/jpeg"}, b"\xff\xd8\xffjpeg", framing="chunked")
        if path.endswith("/rendered"):
            return Answer(200, {"Content-Type": "image/jpeg"}, b"\xff\xd8\xffjpeg", framing="chunked")
        if path.endswith(PATH):
            body = head + b"Content-Type: application/dicom\r\n\r\n" + file + b"\r\n--9d056d4f--"
            return Answer(200, {"Content-Type": f'{parts}type="application/dicom"; boundary=9d056d4f'}, body)
        if accept == XML:
            body = head + b"Content-Type: application/dicom+xml\r\n\r\n" + (DATA / "qido_dcm4chee.xml").read_bytes()
            kind = f'{parts}type="application/dicom+xml"; boundary=9d056d4f'
            return Answer(200, {"Content-Type": kind}, body + b"\r\n--9d056d4f--", framing="chunked")
        body = (DATA / "qido_dcm4chee.json").read_bytes()
        return Answer(200, {"Content-Type": "application/dicom+json"}, body, framing="chunked")

    server = fake_server(handler, path="/dcm4chee-arc/aets/DCM4CHEE/rs")
    run_dw("profile", "add", "arc", server.url, "--dialect", "dcm4chee")
    return server


@pytest.mark.parametrize("form", ["xml", "json"])
def test_a_search_by_name_and_date(form: str, archive: Fake, run_dw: Dw) -> None:
    run = run_dw("search", "00100010=Zeta^*", "00080020=20220928", "-f", form)
    assert run.code == 0, run.err
    sent = archive.requests[0]  # a second one asks whether there are more rows
    assert "/studies?PatientName=Zeta%5E*&StudyDate=20220928" in sent.target
    assert sent.header("Accept") == (XML if form == "xml" else "application/dicom+json")
    row = nativexml.parse(run.raw) if form == "xml" else json.loads(run.out)[0]
    assert row["00100010"]["Value"] == [{"Alphabetic": "Zeta^Zachary"}]


def test_wado_uri_as_jpeg_and_as_dicom(archive: Fake, run_dw: Dw, tmp_path: Path) -> None:
    uids = dict(zip(("studyUID", "seriesUID", "objectUID"), INSTANCE, strict=True))
    params = [word for key, value in uids.items() for word in ("--param", f"{key}={value}")]
    wado = archive.url.removesuffix("/rs") + "/wado"
    jpeg = run_dw("request", "GET", wado, "--param", "requestType=WADO", *params, "-o", tmp_path / "image.jpg")
    assert (jpeg.code, (tmp_path / "image.jpg").read_bytes()) == (0, b"\xff\xd8\xffjpeg"), jpeg.err
    run = run_dw("retrieve", "instance", REF, "--wado-uri", "-o", tmp_path)
    assert run.code == 0, run.err
    assert next(tmp_path.rglob("*.dcm")).read_bytes() == images.instance(*INSTANCE)
    wanted = "&".join(f"{key}={value}" for key, value in uids.items())
    path = "/dcm4chee-arc/aets/DCM4CHEE/wado?requestType=WADO&" + wanted
    assert targets(archive) == [path, f"{path}&contentType=application/dicom&transferSyntax=*"]


def test_wado_rs_rendered_and_metadata(archive: Fake, run_dw: Dw, tmp_path: Path) -> None:
    assert run_dw("retrieve", "instance", REF, "-o", tmp_path).code == 0
    assert archive.requests[0].header("Accept") == 'multipart/related; type="application/dicom"; transfer-syntax=*'
    assert next(tmp_path.rglob("*.dcm")).read_bytes() == images.instance(*INSTANCE)
    assert run_dw("render", REF, "-o", tmp_path / "image.jpg").code == 0
    assert (tmp_path / "image.jpg").read_bytes() == b"\xff\xd8\xffjpeg"
    assert run_dw("metadata", REF, "-f", "json").code == 0
    assert [target.rpartition("/rs/")[2] for target in targets(archive)] == [
        PATH,
        f"{PATH}/rendered",
        f"{PATH}/metadata",
    ]


def test_a_store_answered_in_xml(archive: Fake, run_dw: Dw, tmp_path: Path) -> None:
    (tmp_path / "one.dcm").write_bytes(images.instance())
    run = run_dw("store", tmp_path / "one.dcm", "-f", "json")
    assert run.code == 0, run.err
    assert json.loads(run.out)[0]["outcome"] == "stored"
    assert targets(archive, "POST") == ["/dcm4chee-arc/aets/DCM4CHEE/rs/studies"]


def test_bulk_data_where_the_server_says_it_is(fake_server: Callable[..., Fake], run_dw: Dw, tmp_path: Path) -> None:
    place = f"http://localhost:8080/dcm4chee-arc/aets/DCM4CHEE/rs/{PATH}"
    inner = {"00282000": {"vr": "OB", "BulkDataURI": f"{place}/bulkdata/00480105/0/00282000"}}
    row = {
        "00480105": {"vr": "SQ", "Value": [inner]},
        "7FE00010": {"vr": "OB", "BulkDataURI": f"{place}/pixeldata"},
    }

    def handler(request: Request) -> Answer:
        if request.target.endswith("/metadata"):
            return Answer(200, {"Content-Type": "application/dicom+json"}, json.dumps([row]).encode())
        if "octet-stream" not in str(request.header("Accept")):
            return Answer(406)
        body = b"--x\r\nContent-Type: application/octet-stream\r\n\r\n" + request.target.encode() + b"\r\n--x--"
        return Answer(200, {"Content-Type": 'multipart/related; type="application/octet-stream"; boundary=x'}, body)

    server = fake_server(handler, path="/dcm4chee-arc/aets/DCM4CHEE/rs")
    run_dw("profile", "add", "arc", server.url, "--dialect", "dcm4chee")
    run = run_dw("retrieve", "bulkdata", REF, "7FE00010", "-o", tmp_path / "pixels")
    assert run.code == 0, run.err
    run = run_dw("retrieve", "bulkdata", REF, inner["00282000"]["BulkDataURI"], "-o", tmp_path / "icc")
    assert run.code == 0, run.err
    ends = [target.rpartition("/instances/")[2].partition("/")[2] for target in targets(server)]
    assert ends == ["metadata", "pixeldata", "bulkdata/00480105/0/00282000"]


def test_a_document_with_its_metadata_in_xml(archive: Fake, run_dw: Dw, tmp_path: Path) -> None:
    parts = [
        b"Content-Type: application/dicom+xml\r\n\r\n" + (DATA / "qido_dcm4chee.xml").read_bytes(),
        b"Content-Type: application/pdf\r\nContent-Location: bulk2.25.2\r\n\r\n%PDF-1.4",
    ]
    body = b"".join(b"--myboundary\r\n" + part + b"\r\n" for part in parts) + b"--myboundary--"
    (tmp_path / "doc.multipart").write_bytes(body)
    kind = 'multipart/related; type="application/dicom+xml"; boundary=myboundary'
    headers = ["-H", f"Content-Type: {kind}", "-H", "Accept: application/dicom+xml"]
    run = run_dw("request", "POST", "studies", "-d", f"@{tmp_path / 'doc.multipart'}", *headers)
    assert run.code == 0, run.err
    (sent,) = archive.requests
    assert (sent.header("Content-Type"), sent.header("Accept"), sent.body) == (kind, "application/dicom+xml", body)
    assert run.raw == (DATA / "stow_dcm4chee.xml").read_bytes()


# Shanoir's ids are no UIDs


def test_a_study_called_4300_is_found_listed_and_retrieved(
    fake_server: Callable[..., Fake], run_dw: Dw, tmp_path: Path
) -> None:
    shanoir = Shanoir(0)
    shanoir.studies = [{"0020000D": {"vr": "UI", "Value": ["4300"]}, "00100020": {"vr": "LO", "Value": ["X"]}}]
    run_dw("profile", "add", "s", fake_server(shanoir, path="/dicomweb").url, "--dialect", "shanoir")
    assert run_dw("search", "-f", "uids").lines == ["4300"]
    assert run_dw("search", "--patient-id", "X", "-f", "uids").lines == ["4300"]
    assert run_dw("metadata", "4300/4300.1", "-f", "json").code == 0
    run = run_dw("retrieve", "study", "4300", "-o", tmp_path)
    assert run.code == 0, run.err
    assert len(list(tmp_path.rglob("*.dcm"))) == 2
    run = run_dw("render", "4300/4300.1/4300.1.1", "-o", tmp_path / "one.png")
    assert (run.code, "rendered locally" in run.err) == (0, True)
    run = run_dw("search", "-f", "xml")
    assert nativexml.parse(run.raw)["0020000D"]["Value"] == ["4300"]
    assert run_dw("search", "series", "--study", "4300", "-f", "uids").lines == ["4300.1"]
    assert run_dw("search", "instances", "--study", "4300", "-f", "uids").lines == ["4300.1.1", "4300.1.2"]
    run = run_dw("delete", "4300", "--yes")
    assert (run.code, "Shanoir's own interface" in run.err) == (1, True)


# Names that want to be paths


@pytest.mark.parametrize("uid", ["../../x", "4300", "a/b", "%2e%2e"])
def test_a_study_of_any_name_is_searched_shown_and_retrieved_safely(
    uid: str, fake_server: Callable[..., Fake], run_dw: Dw, tmp_path: Path
) -> None:
    shelf = Shanoir(0)
    shelf.studies = [{"0020000D": {"vr": "UI", "Value": [uid]}}]
    run_dw("profile", "add", "s", fake_server(shelf).url, "--dialect", "shanoir")
    (word,) = run_dw("search", "-f", "uids").lines
    assert run_dw("metadata", f"{word}/{word}.1", "-f", "json").code == 0
    run = run_dw("retrieve", "study", word, "-o", tmp_path / "deep" / "out")
    assert run.code == 0, run.err
    files = list(tmp_path.rglob("*.dcm"))
    assert len(files) == 2
    assert all(path.is_relative_to(tmp_path / "deep" / "out") for path in files)
