"""Rows held against the question: what a server ignored is found, and no honest server is accused."""

from typing import Any

import pytest

from dwcli.dicomweb.match import IgnoredKeyError, Questions, fits
from dwcli.dicomweb.query import Term, parse_term


def row(**elements: Any) -> dict[str, Any]:
    return {tag[1:]: {"vr": vr, "Value": list(found)} for tag, (vr, *found) in elements.items()}


@pytest.mark.parametrize(
    ("typed", "element", "fit"),
    [
        ("PatientID=X", ("LO", "X"), True),
        ("PatientID=X", ("LO", " x "), True),
        ("PatientID=X", ("LO", "XY"), False),
        ("PatientID=X*", ("LO", "XY"), True),
        ("PatientID=?Y", ("LO", "XY"), True),
        ("PatientID=*", ("LO", "anything"), True),
        ("PatientID=X", ("LO", ""), None),
        ("PatientName=doe^j*", ("PN", {"Alphabetic": "DOE^JANE"}), True),
        ("PatientName=Jane", ("PN", "Doe^Jane"), True),
        ("PatientName=Müller", ("PN", {"Alphabetic": "MULLER^A"}), True),
        ("PatientName=山田*", ("PN", {"Alphabetic": "Yamada", "Ideographic": "山田^太郎"}), True),
        ("PatientName=Roe", ("PN", {"Alphabetic": "Doe^Jane"}), False),
        ("ModalitiesInStudy=CT", ("CS", "MR", "CT"), True),
        ("ModalitiesInStudy=CT", ("CS", "MR"), False),
        ("StudyDate=20240301-20240331", ("DA", "20240315"), True),
        ("StudyDate=20240301-20240331", ("DA", "2024.04.01"), False),
        ("StudyDate=20240301-", ("DA", "20230101"), False),
        ("StudyDate=-20240301", ("DA", "20240301"), True),
        ("StudyTime=0800-0900", ("TM", "085959.123"), True),
        ("StudyTime=0800-0900", ("TM", "0915"), False),
        ("StudyInstanceUID=1.2,1.3", ("UI", "1.3"), True),
        ("StudyInstanceUID=1.2", ("UI", "1.3"), False),
        ("SeriesNumber=3", ("IS", "03"), True),
        ("SeriesNumber=3", ("IS", 4), False),
    ],
)
def test_a_row_fits_or_not(typed: str, element: tuple[Any, ...], fit: bool | None) -> None:
    term = parse_term(typed)
    assert fits(term, row(**{f"t{term.path}": element})) is fit


def test_items_of_a_sequence_are_looked_into() -> None:
    items = [{"0040000A": {}}, {"00400007": {"vr": "LO", "Value": ["Head"]}}]
    found = {"00400275": {"vr": "SQ", "Value": items}}
    assert fits(Term("00400275.00400007", "Head"), found) is True
    assert fits(Term("00400275.00400007", "Knee"), found) is False
    assert fits(Term("00400275.00400007", "Knee"), {}) is None


def test_an_ignored_key_is_told_once_and_filtered_from_then_on() -> None:
    questions = Questions([parse_term("PatientID=X")], [])
    rows = [row(t00100020=("LO", uid)) for uid in ("X", "Y", "", "X", "Z")]
    assert [questions.answered_by(found) for found in rows] == [True, False, False, True, False]
    assert list(questions.complaints()) == ["this server ignores PatientID=X; filtering its rows locally"]
    assert list(questions.complaints()) == []


def test_a_row_that_does_not_show_what_was_asked_is_given_only_where_the_server_looks_at_the_key() -> None:
    asked: list[str] = []

    def ignores(term: Term) -> bool:
        asked.append(term.name)
        return term.name == "StationName"

    terms = [parse_term("PatientName=*"), parse_term("PatientID=X")]
    assert Questions(terms, ignores=ignores).answered_by(row(t00100020=("LO", "")))
    with pytest.raises(IgnoredKeyError, match="StationName"):
        Questions([parse_term("StationName=A")], ignores=ignores).answered_by({"00081010": {"vr": "SH"}})
    questions = Questions([parse_term("StationName=A")], ignores=ignores)
    found = [row(t00081010=("SH", station)) for station in ("A", "", "A", "B")]
    assert [questions.answered_by(one) for one in found] == [True, False, True, False]
    assert asked == ["PatientID", "StationName", "StationName"]


def test_fuzzy_names_are_not_judged_unless_the_server_ignores_them() -> None:
    term = parse_term("PatientName=Meier")
    assert Questions([term], fuzzy=True).answered_by(row(t00100010=("PN", "Maier^A")))
    with pytest.raises(IgnoredKeyError):
        Questions([term], fuzzy=True, ignores=lambda _: True).answered_by(row(t00100010=("PN", "Maier^A")))
