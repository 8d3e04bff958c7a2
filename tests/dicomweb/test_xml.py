"""XML written and read back, and XML answers read as rows."""

from pathlib import Path
from typing import Any

import pytest

from dwcli.dicomweb import nativexml
from dwcli.dicomweb.xmlrows import XmlRowReader
from dwcli.errors import ProtocolError, TruncatedError

DATA = Path(__file__).parent.parent / "data"
ONE = (DATA / "qido_dcm4chee.xml").read_bytes()
# The head is resteasy's, as dcm4chee sends it: a start parameter before the type, the boundary last and bare.
MANY = 'multipart/related;start="<a@resteasy-multipart>";type="application/dicom+xml"; boundary=b-1'


def parts(*documents: bytes) -> bytes:
    head = b"Content-ID: <a@resteasy-multipart>\r\nContent-Type: application/dicom+xml\r\n\r\n"
    return b"".join(b"--b-1\r\n" + head + document + b"\r\n" for document in documents) + b"--b-1--"


@pytest.mark.parametrize(
    "row",
    [
        {"00100020": {"vr": "LO", "Value": ["a<b>&\"c'"]}},
        {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "F^G^M^P^S", "Ideographic": "山田^太郎"}]}},
        {"00100010": {"vr": "PN", "Value": [None, {"Phonetic": "やまだ"}]}},
        {"00081030": {"vr": "LO"}},
        {"00080008": {"vr": "CS", "Value": ["A", None, "C"]}},
        {"00280010": {"vr": "US", "Value": [512]}, "00280030": {"vr": "DS", "Value": [0.5, 1]}},
        {"00104000": {"vr": "LT", "Value": ["two\r\n\tlines "]}},
        {"7FE00010": {"vr": "OW", "BulkDataURI": "bulk?a=1&b=2"}, "00420011": {"vr": "OB", "InlineBinary": "QUI="}},
        {"00081140": {"vr": "SQ", "Value": [{}, {"00081155": {"vr": "UI", "Value": ["1.2"]}}]}},
        {"00090010": {"vr": "LO", "Value": ["ACME"]}, "00091002": {"vr": "LO", "Value": ["x"]}},
        {"00092002": {"vr": "UN", "InlineBinary": "QUI="}},
        {},
    ],
)
def test_what_is_written_is_read_back(row: dict[str, Any]) -> None:
    written = nativexml.write(row)
    assert "\n" not in written
    assert nativexml.parse(written.encode()) == row


def test_a_private_attribute_is_written_with_its_creator_and_without_its_block() -> None:
    row = {"00090010": {"vr": "LO", "Value": ["ACME"]}, "00091002": {"vr": "LO", "Value": ["x"]}}
    assert '<DicomAttribute tag="00090002" vr="LO" privateCreator="ACME">' in nativexml.write(row)


def test_what_xml_cannot_hold_is_replaced_and_the_rest_stays() -> None:
    written = nativexml.write({"00100010": {"vr": "PN", "Value": ["Doe\x1b[31m^J\ud800=\x00"]}})
    assert nativexml.parse(written.encode())["00100010"]["Value"] == [{"Alphabetic": "Doe\ufffd[31m^J\ufffd"}]


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_parts_are_rows_however_they_come(size: int) -> None:
    body = parts(ONE, ONE)
    reader = XmlRowReader(MANY, body[:20])
    rows = [row for at in range(0, len(body), size) for row in reader.feed(body[at : at + size])]
    rows += reader.finish()
    assert rows == [nativexml.parse(ONE)] * 2


def test_a_single_document_is_one_row_and_nothing_is_none() -> None:
    reader = XmlRowReader("application/dicom+xml", ONE)
    assert reader.feed(ONE) == []
    assert reader.finish() == [nativexml.parse(ONE)]
    assert XmlRowReader(MANY, b"--b-1--").feed(b"--b-1--\r\n") == []


def test_a_cut_answer_is_truncated_and_another_one_refused() -> None:
    reader = XmlRowReader(MANY, parts(ONE)[:20])
    reader.feed(parts(ONE)[:-40])
    with pytest.raises(TruncatedError):
        reader.finish()
    reader = XmlRowReader("", b"<html>")
    reader.feed(b"<html></html>")
    with pytest.raises(ProtocolError):
        reader.finish()
