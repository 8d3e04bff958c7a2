"""QIDO-RS: what matches, what comes back, and what is refused rather than answered wrongly."""

from typing import Any
from urllib.parse import quote

import pytest

from servers import images
from servers.archive import Asker


def _study(number: int, **changed: Any) -> bytes:
    return images.instance(f"1.2.{number}", f"1.2.{number}.1", f"1.2.{number}.1.1", **changed)


@pytest.fixture
def three(archive: Asker) -> Asker:
    """Three studies: 1.2.1 of 1 March 08:00, 1.2.2 of 2 March 07:30, 1.2.3 of 2 March 18:00."""
    names = ("Bellona^Demo", "Müller^Jürgen^^Dr", "Yamada^Tarou=山田^太郎=やまだ^たろう")
    moments = (("20240301", "080000"), ("20240302", "0730"), ("20240302", "180000.5"))
    files = [
        _study(
            number,
            t00100010=("PN", name),
            t00100020=("LO", f"ID[{number}]"),
            t00080020=("DA", date),
            t00080030=("TM", time),
            t00080060=("CS", ("CT", "MR", "MR")[number - 1]),
        )
        for number, (name, (date, time)) in enumerate(zip(names, moments, strict=True), 1)
    ]
    assert archive.stow(*files).status_code == 200
    return archive


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "123"),
        ("PatientName=Bellona*", "1"),
        ("PatientName=bellona%5Edemo", "1"),
        ("PatientName=*%5EDemo", "1"),
        ("PatientName=BELLONA%5EDEMO%5E%5E", "1"),
        ("00100010=M%C3%BCller*", "2"),
        ("PatientName=M?ller*", "2"),
        ("PatientName=%E5%B1%B1%E7%94%B0*", "3"),
        ("PatientName=Demo", ""),
        ("PatientName=", "123"),
        ("PatientName=*", "123"),
        ("PatientID=id%5B1%5D", ""),
        ("PatientID=ID%5B1%5D", "1"),
        ("PatientID=ID%5B*", "123"),
        ("PatientID=ID%5B[23]*", ""),
        ("StudyDate=20240302", "23"),
        ("StudyDate=20240302-", "23"),
        ("StudyDate=-20240301", "1"),
        ("StudyDate=20240301-20240302", "123"),
        ("StudyTime=0700-0800", "12"),
        ("StudyTime=18", "3"),
        # One interval from 1 March 09:00 to 2 March 17:00, not two ranges.
        ("StudyDate=20240301-20240302&StudyTime=0900-1700", "2"),
        ("StudyDate=20240301-20240302&StudyTime=0800-1800", "123"),
        ("StudyDate=20240302-20240302&StudyTime=-0800", "2"),
        ("StudyInstanceUID=1.2.1,1.2.3", "13"),
        ("StudyInstanceUID=1.2.1%5C1.2.2", "12"),
        ("ModalitiesInStudy=MR", "23"),
        ("ModalitiesInStudy=?T", "1"),
        ("ModalitiesInStudy=MR&PatientName=y*", "3"),
        ("limit=2", "12"),
        ("limit=2&offset=2", "3"),
        ("offset=5", ""),
        ("limit=0", ""),
    ],
)
def test_studies_that_match(three: Asker, query: str, found: str) -> None:
    assert three.uids(f"studies?{query}") == [f"1.2.{number}" for number in found]


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("studies?Modality=CT", "cannot match"),
        ("studies?SliceThickness=1", "cannot match"),
        ("studies?NumberOfStudyRelatedInstances=1", "cannot match"),
        ("studies?patientname=x", "neither a keyword"),
        ("studies?PatientNaem=x", "unknown attribute"),
        ("studies?PatientID=1&00100020=2", "twice"),
        ("studies?StudyDate=yesterday", "is not a date"),
        ("studies?limit=-1", "is not a number of rows"),
        ("studies?limit=x", "is not a number of rows"),
        ("studies?PatientName=%FF", "UTF-8"),
        ("instances?Rows=big", "is not a number"),
        ("studies?fuzzymatching=perhaps", "true or false"),
        ("studies?includefield=Nonsense", "unknown attribute"),
    ],
)
def test_a_query_that_cannot_be_answered_rightly_is_refused(three: Asker, target: str, why: str) -> None:
    reply = three(target)
    assert reply.status_code == 400
    assert why in reply.text


def test_nothing_found_is_204_without_a_body(archive: Asker) -> None:
    reply = archive("studies")
    assert (reply.status_code, reply.content) == (204, b"")


def test_a_study_row_has_the_attributes_of_the_standard(three: Asker) -> None:
    three.stow(images.instance("1.2.3", "1.2.3.2", "1.2.3.2.1", t00080060=("CS", "SR")))
    (row,) = three.rows("studies?StudyInstanceUID=1.2.3")
    assert row["00100010"]["Value"] == [
        {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
    ]
    assert row["00080061"] == {"vr": "CS", "Value": ["MR", "SR"]}
    assert row["00201206"]["Value"] == [2] and row["00201208"]["Value"] == [2]
    assert row["00081190"]["Value"] == ["http://archive/studies/1.2.3"]
    assert row["00080090"] == {"vr": "PN"}
    assert {"00080020", "00080030", "00080050", "00100020", "00100030", "00100040", "00200010"} <= row.keys()
    assert "00080060" not in row


def test_limit_says_how_many_are_left(three: Asker) -> None:
    reply = three("studies?limit=2")
    assert "There are 1 additional results that can be requested" in reply.headers["Warning"]
    assert "Warning" not in three("studies?limit=2&offset=1").headers
    assert "Warning" not in three("studies").headers


def test_fuzzy_matching_is_said_to_be_literal(three: Asker) -> None:
    reply = three("studies?PatientName=Bellonna*&fuzzymatching=true")
    assert reply.status_code == 204
    assert reply.headers["Warning"].startswith("299 ") and "fuzzymatching" in reply.headers["Warning"]


def test_the_levels_nested_and_relational(three: Asker) -> None:
    three.stow(
        images.instance("1.2.1", "1.2.1.2", "1.2.1.2.1", number=7), images.instance("1.2.1", "1.2.1.2", "1.2.1.2.2")
    )
    series, instance = "0020000E", "00080018"
    assert three.uids("studies/1.2.1/series", series) == ["1.2.1.1", "1.2.1.2"]
    assert three.uids("series?Modality=MR", series) == ["1.2.2.1", "1.2.3.1"]
    assert three.uids("series?PatientName=bell*&Modality=OT", series) == ["1.2.1.2"]
    assert three.uids("studies/1.2.1/instances", instance) == ["1.2.1.1.1", "1.2.1.2.2", "1.2.1.2.1"]
    assert three.uids("studies/1.2.1/series/1.2.1.2/instances?InstanceNumber=07", instance) == ["1.2.1.2.1"]
    assert three.uids("instances?Modality=MR&StudyDate=20240302", instance) == ["1.2.2.1.1", "1.2.3.1.1"]
    assert three.uids(f"instances?SOPClassUID={images.SECONDARY_CAPTURE}&Rows=16&limit=1", instance) == ["1.2.1.1.1"]
    assert three("studies/1.2.9/series").status_code == 204


def test_a_relational_row_has_its_parents_attributes(three: Asker) -> None:
    (row,) = three.rows("instances?SOPInstanceUID=1.2.1.1.1")
    assert row["00100020"]["Value"] == ["ID[1]"] and row["00080060"]["Value"] == ["CT"]
    assert row["00280010"] == {"vr": "US", "Value": [16]} and row["0020000D"]["Value"] == ["1.2.1"]
    (row,) = three.rows("studies/1.2.1/series/1.2.1.1/instances")
    assert "00100020" not in row and "00080060" not in row


def test_includefield_brings_what_belongs_to_the_level(archive: Asker) -> None:
    archive.stow(_study(1, t00101010=("AS", "054Y"), t00080070=("LO", "Maker"), t00280004=("CS", "MONOCHROME1")))
    (row,) = archive.rows("studies?includefield=PatientAge,Manufacturer&includefield=00280004")
    assert row["00101010"]["Value"] == ["054Y"] and "00080070" not in row and "00280004" not in row
    (row,) = archive.rows("studies/1.2.1/series?includefield=Manufacturer,PhotometricInterpretation,PatientID")
    assert row["00080070"]["Value"] == ["Maker"] and row["00100020"]["Value"] == ["SYN1"] and "00280004" not in row
    (row,) = archive.rows("instances?includefield=all")
    assert row["00280004"]["Value"] == ["MONOCHROME1"] and row["00083002"]["Value"] == [images.EXPLICIT_LITTLE]
    assert "7FE00010" not in row


def test_request_attributes_are_matched_and_returned(archive: Asker) -> None:
    item = images.element("00400009", "SH", "STEP1 ") + images.element("00401001", "SH", "PROC1 ")
    value = b"\xfe\xff\x00\xe0" + len(item).to_bytes(4, "little") + item
    archive.stow(_study(1, t00400275=("SQ", value)), _study(2))
    found = archive.rows("series?RequestAttributesSequence.ScheduledProcedureStepID=STEP*")
    assert [row["0020000D"]["Value"] for row in found] == [["1.2.1"]]
    assert found[0]["00400275"]["Value"] == [
        {"00400009": {"vr": "SH", "Value": ["STEP1"]}, "00401001": {"vr": "SH", "Value": ["PROC1"]}}
    ]
    assert archive.uids("series?00400275.00401001=PROC1") == ["1.2.1"]


def test_a_uid_may_be_any_text(archive: Asker) -> None:
    odd = "4300/../a'?"
    assert archive.stow(images.instance(odd, "4300.1", "x y")).status_code == 200
    path = quote(odd, safe="")
    assert archive.uids(f"studies/{path}/instances", "00080018") == ["x y"]
    assert archive.uids(f"studies?StudyInstanceUID={path}") == [odd]
    (row,) = archive.rows("studies")
    url = str(row["00081190"]["Value"][0])  # type: ignore[index]
    assert archive(url.removeprefix("http://archive/")).status_code == 200
    assert all(path.is_relative_to(archive.root) for path in archive.root.rglob("*"))


@pytest.mark.parametrize("accept", ["", "*/*", "application/dicom+json", "application/json;q=0.5, text/html"])
def test_json_is_given_to_whoever_takes_it(three: Asker, accept: str) -> None:
    kind = "application/json" if "application/json" in accept else "application/dicom+json"
    assert three("studies", accept).headers["Content-Type"] == kind


def test_xml_is_not_to_be_had(three: Asker) -> None:
    assert three("studies", 'multipart/related; type="application/dicom+xml"').status_code == 406
    assert three("studies?accept=text/xml").status_code == 406


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("DELETE", "studies/1.2.1", 405),
        ("PUT", "studies", 405),
        ("POST", "series", 405),
        ("GET", "patients", 404),
        ("GET", "", 404),
        ("GET", "?requestType=WADO&objectUID=1.2", 501),
        ("GET", "studies/1.2.1/thumbnail", 501),
        ("GET", "studies/1.2.1/nonsense", 404),
        ("GET", "studies/1.2.9", 404),
        ("GET", "studies/1.2.9/metadata", 404),
    ],
)
def test_other_requests_get_their_status(three: Asker, method: str, target: str, status: int) -> None:
    assert three(target, method=method).status_code == status
