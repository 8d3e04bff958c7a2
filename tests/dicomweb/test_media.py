"""Media types: what came, and what to ask for next."""

import pytest

from dwcli.dicomweb import media
from dwcli.dicomweb.dialects import Dialect
from dwcli.dicomweb.media import Body
from dwcli.dicomweb.refs import Level
from dwcli.errors import UsageError

DICM = b"\0" * 128 + b"DICM"


@pytest.mark.parametrize(
    ("header", "kind", "params"),
    [
        ("", "", {}),
        ("Application/DICOM+json", "application/dicom+json", {}),
        (
            'multipart/related; type="application/dicom"; boundary=abc',
            "multipart/related",
            {"type": "application/dicom", "boundary": "abc"},
        ),
        (
            "multipart/related;BOUNDARY = a b c ;Type=application/dicom",
            "multipart/related",
            {"boundary": "a b c", "type": "application/dicom"},
        ),
        ('multipart/related; boundary="a;b\\"c"', "multipart/related", {"boundary": 'a;b"c'}),
        ("multipart/related; boundary=a; boundary=b", "multipart/related", {"boundary": "a"}),
    ],
)
def test_parse_takes_parameters_in_any_order_case_and_quoting(header: str, kind: str, params: dict[str, str]) -> None:
    parsed = media.parse(header)
    assert (parsed.type, dict(parsed.params)) == (kind, params)


def test_boundary_is_none_where_there_is_none() -> None:
    assert media.parse("multipart/related").boundary is None
    assert media.parse('multipart/related; boundary=""').boundary is None


@pytest.mark.parametrize(
    ("header", "head", "kind"),
    [
        ("application/dicom+json", b"", Body.EMPTY),
        ("application/dicom+json", b'[{"00', Body.JSON),
        ("text/plain", b"\xef\xbb\xbf {}", Body.JSON),
        ("application/json", b"<!DOCTYPE html><title>Login", Body.HTML),
        ("text/xml", b"<?xml version='1.0'?><html xmlns='x'>", Body.HTML),
        ("application/json", b"<?xml version='1.0'?><NativeDicomModel/>", Body.XML),
        ("multipart/related; boundary=x", b"\r\n--x\r\n", Body.MULTIPART),
        ("", b"--x\r\nContent-Type: application/dicom", Body.MULTIPART),
        ("", b"\r\n--x\r\n", Body.MULTIPART),
        ("text/plain", DICM, Body.DICOM),
        ("application/dicom", b"\2\0\0\0UL", Body.DICOM),
        ("image/png", b"\xff\xd8\xff\xe0", Body.PICTURE),
        ("video/mp4", b"\0\0\0\x18ftyp", Body.PICTURE),
        ("text/plain", b"not found", Body.OTHER),
    ],
)
def test_a_body_is_what_its_first_bytes_say(header: str, head: bytes, kind: Body) -> None:
    assert media.classify(header, head) is kind


@pytest.mark.parametrize("head", [b"<<<<", b"{{", b"\r\n[", b"\xff\xd8\xff\xe0", b"--ab"])
def test_octets_may_begin_with_any_byte(head: bytes) -> None:
    assert media.classify(media.OCTETS, head) is Body.OTHER


def test_a_login_page_is_one_under_any_label() -> None:
    assert media.classify(media.OCTETS, b"<!doctype html><html>") is Body.HTML


def test_a_ladder_is_one_media_range_a_rung_without_repeats() -> None:
    for level in Level:
        for syntax in ("*", "1.2.840.10008.1.2.1"):
            for dialect in (Dialect(), Dialect(single_part=True), Dialect(transfer_syntax_any=False)):
                ladder = media.retrieve_ladder(level, syntax, dialect)
                assert len(set(ladder)) == len(ladder)
                assert not any("," in rung or "q=" in rung for rung in ladder)


def test_an_instance_is_asked_for_in_four_ways_and_a_study_in_two() -> None:
    assert media.retrieve_ladder(Level.INSTANCE, "*", Dialect()) == [
        'multipart/related; type="application/dicom"; transfer-syntax=*',
        "application/dicom; transfer-syntax=*",
        'multipart/related; type="application/dicom"',
        "*/*",
    ]
    assert media.retrieve_ladder(Level.STUDY, "*", Dialect()) == [
        'multipart/related; type="application/dicom"; transfer-syntax=*',
        'multipart/related; type="application/dicom"',
    ]


def test_a_chosen_transfer_syntax_is_never_exchanged_for_another() -> None:
    for rung in media.retrieve_ladder(Level.INSTANCE, "1.2.840.10008.1.2.4.90", Dialect()):
        assert "transfer-syntax=1.2.840.10008.1.2.4.90" in rung


def test_a_dialect_decides_what_is_asked_first() -> None:
    assert media.retrieve_ladder(Level.INSTANCE, "*", Dialect(single_part=True))[0].startswith("application/dicom;")
    assert "*" not in media.retrieve_ladder(Level.STUDY, "*", Dialect(transfer_syntax_any=False))[0]


@pytest.mark.parametrize(
    ("syntax", "kind"),
    [
        ("1.2.840.10008.1.2.4.50", "image/jpeg"),
        ("1.2.840.10008.1.2.4.80", "image/jls"),
        ("1.2.840.10008.1.2.4.90", "image/jp2"),
        ("1.2.840.10008.1.2.4.201", "image/jphc"),
        ("1.2.840.10008.1.2.4.110", "image/jxl"),
        ("1.2.840.10008.1.2.4.102", "video/mp4"),
        ("1.2.840.10008.1.2.4.100", "video/mpeg"),
        ("1.2.840.10008.1.2.5", "image/dicom-rle"),
        ("1.2.840.10008.1.2.1", media.OCTETS),
    ],
)
def test_compressed_frames_are_asked_for_by_their_media_type(syntax: str, kind: str) -> None:
    rungs = media.frames_ladder(syntax)
    assert rungs[0] == f'multipart/related; type="application/octet-stream"; transfer-syntax={syntax}'
    assert rungs[:2][-1] == f'multipart/related; type="{kind}"; transfer-syntax={syntax}'


def test_an_older_name_of_a_media_type_is_asked_for_last() -> None:
    assert 'type="image/dicom+jpeg"' in media.frames_ladder("1.2.840.10008.1.2.4.70")[-1]
    assert 'type="image/x-jls"' in media.frames_ladder("1.2.840.10008.1.2.4.80")[-1]


@pytest.mark.parametrize(
    ("typed", "syntax"),
    [
        ("*", "*"),
        ("as-stored", "*"),
        ("explicit", "1.2.840.10008.1.2.1"),
        ("JPEG2000-Lossless", "1.2.840.10008.1.2.4.90"),
        ("1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.70"),
    ],
)
def test_transfer_syntaxes_by_name_and_uid(typed: str, syntax: str) -> None:
    assert media.parse_transfer_syntax(typed) == syntax


def test_a_mistyped_transfer_syntax_suggests_the_near_one() -> None:
    with pytest.raises(UsageError) as caught:
        media.parse_transfer_syntax("jpeg2000-losless")
    assert "jpeg2000-lossless" in caught.value.hint
