"""XML out and in, and bulk data brought along, with real servers and with one that has nothing but XML."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dwcli.dicomweb import nativexml
from servers import images, wire
from servers.dw import Dw
from servers.fake import Answer, Fake, Request
from servers.orthanc import Orthanc
from servers.tiny_pacs import TinyPacs

DATA = Path(__file__).parent.parent / "data"


def test_search_and_metadata_print_a_document_a_line(orthanc: Orthanc, run_dw: Dw) -> None:
    files = [images.instance(), images.instance(sop="2.25.4", number=2)]
    wire.stow(orthanc.url, files, headers=orthanc.headers)
    for words, count in ((["search", "PatientID=SYN1"], 1), (["search", "instances"], 2), (["metadata", "2.25.1"], 2)):
        as_xml = run_dw(*words, "-f", "xml", env=orthanc.environment)
        as_json = run_dw(*words, "-f", "jsonl", env=orthanc.environment)
        assert (as_xml.code, len(as_xml.lines)) == (0, count), as_xml.err
        read = [nativexml.parse(line.encode()) for line in as_xml.lines]
        wanted = [json.loads(line) for line in as_json.lines]
        uids = [row["0020000D"] for row in read]
        assert uids == [row["0020000D"] for row in wanted]
        assert [row.keys() for row in read] == [row.keys() for row in wanted]


def test_a_server_without_xml_is_asked_for_json_and_xml_is_written_here(tiny_pacs: TinyPacs, run_dw: Dw) -> None:
    wire.stow(tiny_pacs.url, [images.instance()], headers=tiny_pacs.headers)
    run = run_dw("search", "-f", "xml", env=tiny_pacs.environment)
    assert run.code == 0, run.err
    assert nativexml.parse(run.raw)["0020000D"]["Value"] == ["2.25.1"]


@pytest.mark.parametrize("many", [False, True])
def test_a_server_that_knows_only_xml_is_read(many: bool, fake_server: Callable[..., Fake], run_dw: Dw) -> None:
    document = (DATA / "qido_dcm4chee.xml").read_bytes()

    def handler(request: Request) -> Answer:
        if "json" in str(request.header("Accept")):
            return Answer(406)
        if many:
            body = b"--b\r\nContent-Type: application/dicom+xml\r\n\r\n" + document + b"\r\n--b--"
            return Answer(200, {"Content-Type": 'multipart/related; type="application/dicom+xml"; boundary=b'}, body)
        return Answer(200, {"Content-Type": "application/dicom+xml"}, document)

    server = fake_server(handler)
    run = run_dw("search", "--url", server.url, "-f", "json")
    assert run.code == 0, run.err
    assert json.loads(run.out) == [nativexml.parse(document)]
    accepts = [request.header("Accept") for request in server.requests]
    wanted = ["application/dicom+json", "application/json", 'multipart/related; type="application/dicom+xml"']
    assert accepts[:3] == wanted
    assert set(accepts[3:]) <= {wanted[2]}  # learnt: nothing else is tried again


def test_a_table_of_profiles_has_no_xml(run_dw: Dw) -> None:
    assert run_dw("profile", "list", "-f", "xml").code == 2


def test_metadata_brings_its_bulk_data(orthanc: Orthanc, run_dw: Dw, tmp_path: Path) -> None:
    file = images.instance()
    wire.stow(orthanc.url, [file], headers=orthanc.headers)
    run = run_dw("metadata", "2.25.1", "-f", "json", "--bulkdata", tmp_path / "bulk", env=orthanc.environment)
    assert run.code == 0, run.err
    (row,) = json.loads(run.out)
    path = Path(row["7FE00010"]["BulkDataURI"])
    assert path == tmp_path / "bulk" / "2.25.3" / "7FE00010.bin"
    assert file.endswith(path.read_bytes())
    assert len(path.read_bytes()) == 512


def test_bulk_data_by_any_address_in_any_depth(fake_server: Callable[..., Fake], run_dw: Dw, tmp_path: Path) -> None:
    instance = "/rs/studies/1/series/2/instances/..%2F..%2Fx"
    row = {
        "00080018": {"vr": "UI", "Value": ["../../x"]},
        "00091010": {"vr": "OB", "BulkDataURI": " \n../x/bulk/1\n"},
        "00420011": {"vr": "OB", "BulkDataURI": f"http://127.0.0.1:1{instance}/bulk/2"},
        "00480105": {"vr": "SQ", "Value": [{}, {"00282000": {"vr": "OB", "BulkDataURI": "bulk/icc"}}]},
        "7FE00010": {"vr": "OB", "BulkDataURI": f"{instance}/frames"},
        "00091011": {"vr": "OB", "BulkDataURI": "bulk/gone"},
    }

    def handler(request: Request) -> Answer:
        if request.target.endswith("/metadata"):
            return Answer(200, {"Content-Type": "application/dicom+json"}, json.dumps([row]).encode())
        if request.target.endswith("/frames"):
            body = b"--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--"
            return Answer(200, {"Content-Type": "multipart/related; boundary=b"}, body)
        if request.target.endswith("gone"):
            return Answer(404)
        return Answer(200, {"Content-Type": "application/octet-stream"}, request.target.encode())

    server = fake_server(handler, path="/rs")
    words = ("metadata", "1/2/..%2F..%2Fx", "--url", server.url, "-f", "json", "--bulkdata", tmp_path / "out")
    run = run_dw(*words)
    (got,) = json.loads(run.out)
    assert run.code == 3, run.err
    assert "00091011" in run.err
    assert got["00091011"] == row["00091011"]
    inner = got["00480105"]["Value"][1]["00282000"]["BulkDataURI"]
    for written, name, content in (
        (got["00420011"]["BulkDataURI"], "00420011.bin", f"{instance}/bulk/2"),
        (inner, "00480105.2.00282000.bin", f"{instance}/bulk/icc"),
        (got["7FE00010"]["BulkDataURI"][0], "7FE00010.1.bin", "one"),
        (got["7FE00010"]["BulkDataURI"][1], "7FE00010.2.bin", "two"),
    ):
        path = Path(written)
        assert (path.name, path.read_text()) == (name, content)
        assert path.parent.parent == tmp_path / "out"
