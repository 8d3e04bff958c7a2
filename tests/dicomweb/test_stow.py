import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwcli.dicomweb import stow
from dwcli.dicomweb.stow import Failed, Stored, Unknown, Warned

DATA = Path(__file__).parent.parent / "data"
JSON = "application/dicom+json"


def item(uid: str = "", **tags: Any) -> dict[str, Any]:
    """One item; keyword arguments are tags with a leading t: t00081197=272."""
    row = {"00081155": {"vr": "UI", "Value": [uid]}} if uid else {}
    return row | {tag[1:]: value if isinstance(value, dict) else {"Value": [value]} for tag, value in tags.items()}


def reply(
    stored: list[Any] | None = None, failed: list[Any] | None = None, other: list[Any] | None = None
) -> dict[str, Any]:
    sequences = {"00081199": stored, "00081198": failed, "0008119A": other}
    return {"00081190": {"vr": "UR", "Value": ["http://x/studies/1"]}} | {
        tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items is not None
    }


def read(body: Any, *sent: str, status: int = 200) -> stow.Reply:
    return stow.read(status, JSON, json.dumps(body).encode(), sent)


def test_a_200_that_hides_a_failure_is_seen_through() -> None:
    body = reply(stored=[item("1", t00081190="http://x/1")], failed=[item("2", t00081197=0xC000)])
    assert read(body, "1", "2").outcomes == {
        "1": Stored("1", "http://x/1"),
        "2": Failed("2", 0xC000, "cannot understand the data set (C000)"),
    }


def test_a_409_that_lists_a_success_is_believed() -> None:
    body = reply(stored=[item("1")], failed=[item("2", t00081197=0xA700)])
    outcomes = read(body, "1", "2", status=409).outcomes
    assert outcomes["1"] == Stored("1", "")
    assert outcomes["2"] == Failed("2", 0xA700, "out of resources (A700)")


def test_what_the_reply_leaves_out_is_unknown() -> None:
    got = read(reply(stored=[item("1")]), "1", "2")
    assert got.outcomes["2"] == Unknown("2", "the store response does not list it")


@pytest.mark.parametrize("body", [{}, [], [{}], reply(), reply([], []), {"00081198": {"vr": "SQ"}}])
def test_empty_sequences_store_nothing(body: Any) -> None:
    assert read(body, "1").outcomes == {"1": Unknown("1", "the store response lists no instance")}


@pytest.mark.parametrize("shape", [lambda a, b: [a, b], lambda a, b: [a | {"00081198": b["00081198"]}]])
def test_a_reply_in_a_list_is_read_like_a_single_one(shape: Any) -> None:
    body = shape(reply(stored=[item("1")]), reply(failed=[item("2", t00081197=0x0122)]))
    outcomes = read(body, "1", "2").outcomes
    assert outcomes == {"1": Stored("1", ""), "2": Failed("2", 0x122, "SOP class not supported (0122)")}


def test_an_xml_reply_is_read_whatever_its_content_type_says() -> None:
    body = (DATA / "stow_dcm4chee.xml").read_bytes()
    url = "http://localhost:8080/dcm4chee-arc/aets/DCM4CHEE/rs/studies/2.25.1/series/2.25.2/instances/2.25.3"
    for content_type in ("application/dicom+xml", "", JSON):
        assert stow.read(200, content_type, body, ["2.25.3"]).outcomes == {"2.25.3": Stored("2.25.3", url)}


@pytest.mark.parametrize("order", [1, -1])
def test_an_instance_both_stored_and_failed_is_failed(order: int) -> None:
    rows = [reply(stored=[item("1")]), reply(failed=[item("1", t00081197=0x0110)])][::order]
    assert isinstance(read(rows, "1").outcomes["1"], Failed)


def test_a_warning_is_stored_with_its_reason() -> None:
    got = read(
        reply(stored=[item("1", t00081196=0xB006), item("2", t00081196="45056"), item("3", t00081196=0)]),
        "1",
        "2",
        "3",
    )
    assert got.outcomes["1"] == Warned("1", 0xB006, "stored with elements discarded (B006)")
    assert got.outcomes["2"] == Warned("2", 0xB000, "stored with elements coerced (B000)")
    assert got.outcomes["3"] == Stored("3", "")


def test_azure_names_the_attributes_that_do_not_conform() -> None:
    comments = {
        "vr": "SQ",
        "Value": [item(t00000902="DICOM100: (0008,0020) is no DA"), item(t00000902="more")],
    }
    got = read(
        reply(stored=[item("1", t00081196=1, t00741048=comments), item("2", t00741048=comments)]),
        "1",
        "2",
        status=202,
    )
    words = "DICOM100: (0008,0020) is no DA; more"
    assert got.outcomes["1"] == Warned("1", 1, f"stored with attributes that do not conform (0001): {words}")
    assert got.outcomes["2"] == Warned("2", 0, words)


def test_google_says_in_words_why_it_failed() -> None:
    got = read(reply(failed=[item("1", t00081197=272, t00090097="already exists")]), "1", status=409)
    assert got.outcomes["1"] == Failed("1", 0x0110, "processing failure (0110): already exists")
    assert 0x0110 in stow.MAYBE_PRESENT


def test_azure_says_that_an_instance_is_there() -> None:
    failed = read(reply(failed=[item("1", t00081197=45070)]), "1", status=409).outcomes["1"]
    assert failed == Failed("1", 45070, "the instance already exists (B00E)")
    assert 45070 in stow.MAYBE_PRESENT


@pytest.mark.parametrize("code", [None, "", "many", -5, [], {"Alphabetic": "x"}])
def test_a_failure_without_a_readable_code_is_still_a_failure(code: Any) -> None:
    got = read(reply(failed=[item("1", t00081197=code)]), "1")
    assert got.outcomes["1"] == Failed("1", 0, "no reason given")


def test_failures_that_name_no_instance_are_strays() -> None:
    got = read(reply(stored=[item("1")], other=[item(t00081197=0xC122)]), "1", "2")
    assert got.strays == (Failed("", 0xC122, "transfer syntax not supported (C122)"),)
    assert isinstance(got.outcomes["2"], Unknown)


def test_a_failure_without_a_name_is_that_of_the_only_instance_sent() -> None:
    got = read(reply(other=[item(t00081197=0xC000)]), "1", status=409)
    assert got.outcomes["1"] == Failed("1", 0xC000, "cannot understand the data set (C000)")
    assert got.strays == ()


def test_instances_that_were_not_sent_are_strays() -> None:
    got = read(reply(stored=[item("9")]), "1")
    assert got.strays == (Stored("9", ""),)
    assert isinstance(got.outcomes["1"], Unknown)


def test_a_uid_with_padding_is_the_same_uid() -> None:
    assert isinstance(read(reply(stored=[item("1.2\0")]), "1.2").outcomes["1.2"], Stored)


@pytest.mark.parametrize("status", [400, 403, 409, 413, 415, 500, 503])
def test_a_refusal_without_a_body_leaves_everything_unknown(status: int) -> None:
    got = stow.read(status, "", b"", ["1", "2"])
    words = f"HTTP {status}, and the store response lists no instance"
    assert got.outcomes == {"1": Unknown("1", words), "2": Unknown("2", words)}
    assert got.notes == ()


@pytest.mark.parametrize(
    ("content_type", "body", "note"),
    [
        (
            "text/html; charset=utf-8",
            b"<html>\n<h1>Too \x1bbig</h1></html>",
            "the server responded (text/html): <html> <h1>Too \\u001bbig",
        ),
        ("", b'{"HttpStatus":400,"Message":"Bad file format"}', "Bad file format"),
        ("text/plain", b"success", "the server responded (text/plain): success"),
        (JSON, b'{"00081199":{"vr":"SQ","Value":[', "the store response was truncated"),
        (JSON, b"\xff\xfe\x00", "the server responded"),
    ],
)
def test_an_unreadable_reply_acknowledges_nothing_and_is_quoted(content_type: str, body: bytes, note: str) -> None:
    got = stow.read(200, content_type, body, ["1"])
    assert got.outcomes == {"1": Unknown("1", "the store response lists no instance")}
    assert note in got.notes[0]


def test_a_cut_list_keeps_what_was_whole() -> None:
    body = json.dumps([reply(stored=[item("1")]), reply(stored=[item("2")])]).encode()[:-5]
    got = stow.read(200, JSON, body, ["1", "2"])
    assert got.outcomes["1"] == Stored("1", "")
    assert isinstance(got.outcomes["2"], Unknown)
    assert got.notes == ("the store response was truncated",)


@given(body=st.binary(max_size=60), status=st.integers(100, 599))
@settings(max_examples=100)
def test_no_body_makes_the_reader_fail_or_forget_an_instance(body: bytes, status: int) -> None:
    assert list(stow.read(status, "", body, ["1", "2", "1"]).outcomes) == ["1", "2"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "no reason given"),
        (0xA7FF, "out of resources (A7FF)"),
        (0xA900, "the data set does not match its SOP class (A900)"),
        (43265, "the data set belongs to another study (A901)"),
        (0xA922, "bulk data missing (A922)"),
        (0xB007, "stored, but the data set does not match its SOP class (B007)"),
        (0xB123, "stored with a warning (B123)"),
        (0xCFFF, "cannot understand the data set (CFFF)"),
        (49442, "transfer syntax not supported (C122)"),
        (0x0111, "duplicate SOP instance (0111)"),
        (0x0213, "resource limitation (0213)"),
        (0x7777, "unknown reason (7777)"),
    ],
)
def test_codes_are_told_in_words(code: int, words: str) -> None:
    assert stow.reason(code) == words
