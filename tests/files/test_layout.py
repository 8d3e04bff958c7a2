"""Names of files: whatever a stranger sends, it stays one harmless name inside the folder."""

from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dwcli.errors import UsageError
from dwcli.files.layout import Layout, unescape

FLAT = Layout("{SOPInstanceUID}")


def name(uid: str) -> str:
    return str(FLAT.relative({"SOPInstanceUID": uid}))


def test_default_layout_is_study_series_instance() -> None:
    values = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.3", "SOPInstanceUID": "1.4"}
    assert Layout().relative(values) == "1.2/1.3/1.4.dcm"


def test_layout_tells_the_tags_that_it_needs() -> None:
    layout = Layout("{PatientID}/{StudyDate}/{SOPInstanceUID}.dcm")
    assert layout.keywords == {"PatientID": "00100020", "StudyDate": "00080020", "SOPInstanceUID": "00080018"}


def test_layout_takes_a_tag_or_another_case_for_a_keyword() -> None:
    layout = Layout("{00100020}_{sopinstanceuid}")
    assert layout.relative({"PatientID": "p", "SOPInstanceUID": "1"}) == "p_1"


@pytest.mark.parametrize(
    "template",
    [
        "",
        "{PatientID}.dcm",
        "/{SOPInstanceUID}",
        "../{SOPInstanceUID}",
        "a/../{SOPInstanceUID}",
        "./{SOPInstanceUID}",
        "a//{SOPInstanceUID}",
        "{SOPInstanceUID}/",
        "C:/{SOPInstanceUID}",
        "a\\{SOPInstanceUID}",
        "a\0{SOPInstanceUID}",
        ".dw-index.jsonl/{SOPInstanceUID}",
        "-r/{SOPInstanceUID}",
        "~/{SOPInstanceUID}",
        "{SOPInstanceUID",
        "{SOPInstanceUID}}",
        "{}{SOPInstanceUID}",
        "{SOPInstanceUID}/{PixelData}",
        "{SOPInstanceUID}/{Rows}",
        "{SOPInstanceUID}/{OtherPatientIDsSequence}",
        "{SOPInstanceUID}/{TransferSyntaxUID}",
        "{SOPInstanceUID}/{00090010}",
    ],
)
def test_layout_refuses_what_could_overwrite_or_leave_the_folder(template: str) -> None:
    with pytest.raises(UsageError):
        Layout(template)


def test_layout_without_an_instance_uid_is_refused_with_an_example() -> None:
    with pytest.raises(UsageError) as caught:
        Layout("{PatientID}/{StudyDate}.dcm")
    assert "{SOPInstanceUID}" in caught.value.message
    assert "{SOPInstanceUID}.dcm" in caught.value.hint


def test_unknown_keyword_suggests_the_near_one() -> None:
    with pytest.raises(UsageError) as caught:
        Layout("{PatientId2}/{SOPInstanceUID}")
    assert "PatientID" in caught.value.hint


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("../../etc/x", "%2E.%2F..%2Fetc%2Fx"),
        ("", "_empty_"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("a\0b", "a%00b"),
        ("100%", "100%25"),
        ("CON", "%43ON"),
        ("nul.dcm", "%6Eul.dcm"),
        ("console", "console"),
        ("a. ", "a.%20"),
        ("-rf", "%2Drf"),
        ("~root", "%7Eroot"),
        ("C:x", "C%3Ax"),
        ("Doe^John", "Doe^John"),
        ("a\\b", "a%5Cb"),
        ("Müller", "Müller"),
        ("Mu\u0308ller", "Müller"),
        ("山田^太郎", "山田^太郎"),
        ("ليلى", "ليلى"),
        ("a\u202eb", "a%E2%80%AEb"),
        ("😀", "%F0%9F%98%80"),
        ("\udcff", "%ED%B3%BF"),
    ],
)
def test_value_becomes_one_safe_name(value: str, expected: str) -> None:
    assert name(value) == expected


def test_reserved_name_counts_with_the_ending_of_the_template() -> None:
    assert Layout("{SOPInstanceUID}.dcm").relative({"SOPInstanceUID": "aux"}) == "%61ux.dcm"


def test_long_value_is_cut_within_200_bytes_and_keeps_its_ending() -> None:
    layout = Layout("{SOPInstanceUID}.dcm")
    one = str(layout.relative({"SOPInstanceUID": "1." * 150 + "1"}))
    other = str(layout.relative({"SOPInstanceUID": "1." * 150 + "2"}))
    assert one != other
    assert len(one) == len(other) == 200
    assert one.endswith(".dcm")


def test_cut_never_splits_a_letter() -> None:
    for length in range(60, 80):
        assert len(name("x" * (length % 3) + "山" * length).encode()) <= 200


@given(st.text())
@example("a" * 300)
@example("\ud800")
def test_any_value_stays_one_segment_in_the_folder(value: str) -> None:
    made = name(value)
    path = PurePosixPath(made)
    assert len(path.parts) == 1
    assert not path.is_absolute()
    assert made not in (".", "..")
    assert made[0] not in ".-~ "
    assert made[-1] not in ". "
    assert len(made.encode()) <= 200
    assert made.isprintable()


@given(st.text(st.characters(max_codepoint=127)))
@example("_empty_")
def test_escaped_name_gives_its_value_back(value: str) -> None:
    """So different ASCII values, as UIDs are, never share a name."""
    assert unescape(name(value)) in (value, None)
