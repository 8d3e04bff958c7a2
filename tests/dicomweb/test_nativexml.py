import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from dwcli.dicomweb import nativexml
from dwcli.dicomweb.dicomjson import RowReader
from dwcli.errors import ProtocolError

DATA = Path(__file__).parent.parent / "data"


def element(tag: str, vr: str, content: str) -> dict[str, Any]:
    attribute = f'<DicomAttribute tag="{tag}" vr="{vr}">{content}</DicomAttribute>'
    return nativexml.parse(f"<NativeDicomModel>{attribute}</NativeDicomModel>".encode())


def test_xml_and_json_of_one_study_are_the_same_row() -> None:
    (row,) = RowReader().feed((DATA / "qido_dcm4chee.json").read_bytes())
    row["00201206"]["Value"] = [1]  # XML has no numbers of its own: they are read as such
    assert nativexml.parse((DATA / "qido_dcm4chee.xml").read_bytes()) == row


def test_a_namespace_changes_nothing() -> None:
    plain = (DATA / "qido_dcm4chee.xml").read_bytes()
    spaced = plain.replace(
        b"<NativeDicomModel", b'<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM"'
    )
    assert nativexml.parse(spaced) == nativexml.parse(plain)


@pytest.mark.parametrize(
    ("vr", "content", "expected"),
    [
        ("CS", '<Value number="1">A</Value><Value number="3">C</Value>', ["A", None, "C"]),
        ("CS", '<Value number="2">B</Value><Value number="1">A</Value>', ["A", "B"]),
        ("CS", "<Value>A</Value><Value>B</Value>", ["A", "B"]),
        ("CS", '<Value number="1"/><Value number="2">B</Value>', [None, "B"]),
        ("US", '<Value number="1">512</Value>', [512]),
        ("DS", '<Value number="1"> 0.50 </Value><Value number="2">x</Value>', [0.5, "x"]),
        ("FD", '<Value number="1">NaN</Value>', ["NaN"]),
        ("UI", '<Value number="1">\n1.2.3\n</Value>', ["1.2.3"]),
        ("LT", '<Value number="1">  two\n lines </Value>', ["  two\n lines "]),
        (
            "SQ",
            '<Item number="1"/><Item number="2"><DicomAttribute tag="0020000e" vr="UI"/></Item>',
            [{}, {"0020000E": {"vr": "UI"}}],
        ),
    ],
)
def test_values_come_in_their_places_and_types(vr: str, content: str, expected: list[Any]) -> None:
    assert element("00091001", vr, content) == {"00091001": {"vr": vr, "Value": expected}}


@pytest.mark.parametrize("content", ["", "<Value/>", '<Value number="1"></Value>', '<PersonName number="1"/>'])
def test_an_empty_attribute_has_only_its_vr(content: str) -> None:
    assert element("00100010", "PN", content) == {"00100010": {"vr": "PN"}}


def test_all_parts_of_a_name_are_joined_in_order() -> None:
    name = "<NameSuffix>S</NameSuffix><FamilyName>F</FamilyName><MiddleName>M</MiddleName>"
    groups = f"<Alphabetic>{name}</Alphabetic><Ideographic><GivenName>太郎</GivenName></Ideographic>"
    groups += "<Phonetic><FamilyName/></Phonetic>"
    row = element("00100010", "PN", f"<PersonName number='1'>{groups}</PersonName>")
    assert row["00100010"]["Value"] == [{"Alphabetic": "F^^M^^S", "Ideographic": "^太郎"}]


def test_binary_and_bulk_data_keep_their_json_form() -> None:
    assert element("00420011", "OB", "<InlineBinary>QU\n I=</InlineBinary>") == {
        "00420011": {"vr": "OB", "InlineBinary": "QUI="}
    }
    assert element("7FE00010", "OW", '<BulkData uri=" bulk/1 "/>') == {
        "7FE00010": {"vr": "OW", "BulkDataURI": "bulk/1"}
    }
    assert element("7FE00010", "OW", '<BulkData uuid="ab-cd"/>') == {
        "7FE00010": {"vr": "OW", "BulkDataURI": "urn:uuid:ab-cd"}
    }


def test_a_missing_vr_comes_from_the_dictionary() -> None:
    assert element("00280010", "", "<Value>5</Value>") == {"00280010": {"vr": "US", "Value": [5]}}


def test_a_private_attribute_gets_the_block_of_its_creator() -> None:
    attributes = "".join(
        f'<DicomAttribute tag="{tag}" vr="LO" privateCreator="{creator}"><Value>{tag}</Value></DicomAttribute>'
        for tag, creator in [
            ("00090002", "ACME"),
            ("00090002", "OTHER"),
            ("00091103", "OTHER"),
            ("00090004", "ACME"),
        ]
    )
    row = nativexml.parse(f"<NativeDicomModel>{attributes}</NativeDicomModel>".encode())
    assert {tag: value["Value"][0] for tag, value in row.items()} == {
        "00090010": "ACME",
        "00091002": "00090002",
        "00090011": "OTHER",
        "00091102": "00090002",
        "00091103": "00091103",
        "00091004": "00090004",
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Log in</body></html>",
        b"<NativeDicomModel>",
        b"<NativeDicomModel/>junk",
        b'{"00100020":{}}',
        b'<!DOCTYPE x [<!ENTITY a "b">]><NativeDicomModel>&a;</NativeDicomModel>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><NativeDicomModel/>',
        b'<NativeDicomModel><DicomAttribute tag="../etc" vr="LO"/></NativeDicomModel>',
        b'<NativeDicomModel><DicomAttribute tag="00100020" vr="LO"><Value number="2000000000">x</Value>'
        b"</DicomAttribute></NativeDicomModel>",
        b'<?xml version="1.0" encoding="no-such"?><NativeDicomModel/>',
        b"<NativeDicomModel>"
        + b'<DicomAttribute tag="00081140" vr="SQ"><Item>' * 3000
        + b"</Item></DicomAttribute>" * 3000
        + b"</NativeDicomModel>",
    ],
)
def test_anything_else_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        nativexml.parse(body)


def test_a_dtd_is_refused_in_words() -> None:
    with pytest.raises(ProtocolError, match="it has a DTD") as caught:
        nativexml.parse(b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><NativeDicomModel/>')
    assert "DTDForbidden" not in caught.value.message


def in_model(inner: str) -> bytes:
    return f"<NativeDicomModel>{inner}</NativeDicomModel>".encode()


def test_many_small_attributes_with_large_gaps_are_refused() -> None:
    one = '<DicomAttribute tag="0009{:04X}" vr="{}"><{} number="{}">x</{}></DicomAttribute>'
    for vr, kind in (("LO", "Value"), ("SQ", "Item"), ("PN", "PersonName")):
        for number in (1_000_000, 5_000, 10**30, 0, -1):
            with pytest.raises(ProtocolError):
                nativexml.parse(in_model("".join(one.format(n, vr, kind, number, kind) for n in range(400))))


def test_gaps_as_real_values_have_them_are_read() -> None:
    (element,) = nativexml.parse(
        in_model('<DicomAttribute tag="00280030" vr="DS"><Value number="900">1</Value></DicomAttribute>')
    ).values()
    assert element["Value"] == [None] * 899 + [1]


@pytest.mark.parametrize(
    "inner",
    [
        "<a/>" * 2_500_000,
        "<a>" * 400_000 + "</a>" * 400_000 + "<a b='1'/>" * 700_000,
        "<a " + " ".join(f"a{n}=''" for n in range(2_100_000)) + "/>",
    ],
    ids=["elements", "deep", "attributes"],
)
def test_a_document_of_millions_of_elements_is_refused_before_it_is_read(inner: str) -> None:
    data = in_model(inner)
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="millions of elements"):
            nativexml.parse(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 << 20


def test_deep_nesting_is_a_protocol_error() -> None:
    item = '<DicomAttribute tag="00081140" vr="SQ"><Item number="1">'
    with pytest.raises(ProtocolError):
        nativexml.parse(in_model(item * 20_000 + "</Item></DicomAttribute>" * 20_000))
    assert nativexml.parse(in_model("<a>" * 200_000 + "</a>" * 200_000)) == {}
