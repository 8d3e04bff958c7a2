"""Search terms as people write them, and the query that is sent."""

from datetime import date

import pytest

from dwcli.dicomweb import match, query
from dwcli.dicomweb.dialects import PRESETS
from dwcli.dicomweb.query import Query, Term
from dwcli.dicomweb.refs import Level
from dwcli.errors import UsageError

TODAY = date(2026, 11, 21)
STANDARD, RAW, AUTO = PRESETS["standard"], PRESETS["orthanc"], PRESETS["auto"]


def name(value: str) -> Term:
    return Term("00100010", value)


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("2024", "20240101-20241231"),
        ("2024-02", "20240201-20240229"),
        ("202402", "20240201-20240229"),
        ("2024-03-01", "20240301"),
        ("20240301", "20240301"),
        (" 20240301 ", "20240301"),
        ("today", "20261121"),
        ("yesterday", "20261120"),
        ("1d", "20261121"),
        ("7d", "20261115-20261121"),
        ("2w", "20261108-20261121"),
        ("2024-03..", "20240301-"),
        ("..2024-03", "-20240331"),
        ("2024-03..2024-05-02", "20240301-20240502"),
        ("2024..today", "20240101-20261121"),
        ("2024-03-01..2024-03-01", "20240301"),
        ("20240301-20240331", "20240301-20240331"),
        ("20240301-", "20240301-"),
        ("-20240301", "-20240301"),
        ("0987-06-05", "09870605"),
    ],
)
def test_dates_in_every_form(typed: str, sent: str) -> None:
    assert query.parse_date(typed, TODAY) == sent


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "..",
        "-",
        "2024-13",
        "20240230",
        "2024-2025",
        "20240301-2024",
        "0d",
        "99999y",
        "soon",
        "2024-03-01T10",
        "1.2.3",
    ],
)
def test_what_is_no_date_is_refused_with_examples(typed: str) -> None:
    with pytest.raises(UsageError, match="not a date") as caught:
        query.parse_date(typed, TODAY)
    assert "2024-03-01" in caught.value.hint


def test_a_date_range_that_runs_back_is_refused() -> None:
    with pytest.raises(UsageError, match="ends before it begins"):
        query.parse_date("2024-05..2024-03", TODAY)


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("14:30", "143000-143059"),
        ("14", "140000-145959"),
        ("14:30:05", "143005"),
        ("143005.25", "143005.25"),
        ("08:00..12:30", "080000-123000"),
        ("0800-1230", "080000-123000"),
        ("08..", "080000-"),
        ("..12", "-120000"),
    ],
)
def test_times_in_every_form(typed: str, sent: str) -> None:
    assert query.parse_time(typed) == sent


@pytest.mark.parametrize("typed", ["", "-", "24:00", "12:60", "9:00", "noon", "08-09-10", "12:00..08:00"])
def test_what_is_no_time_is_refused(typed: str) -> None:
    with pytest.raises(UsageError, match="time"):
        query.parse_time(typed)


@pytest.mark.parametrize(
    ("typed", "path", "value", "sent"),
    [
        ("PatientID=123", "00100020", "123", "PatientID"),
        ("patientid=123", "00100020", "123", "PatientID"),
        ("00100020=123", "00100020", "123", "PatientID"),
        ("0010,0020=1=2", "00100020", "1=2", "PatientID"),
        ("00091010=x", "00091010", "x", "00091010"),
        ("00090010=GOOGLE", "00090010", "GOOGLE", "00090010"),
        (
            "RequestAttributesSequence.00400009=7",
            "00400275.00400009",
            "7",
            "RequestAttributesSequence.ScheduledProcedureStepID",
        ),
        ("0009,10aa.00100020=", "000910AA.00100020", "", "000910AA.PatientID"),
    ],
)
def test_terms_by_keyword_tag_sequence_path_and_private_tag(typed: str, path: str, value: str, sent: str) -> None:
    term = query.parse_term(typed)
    assert (term.path, term.value, term.name) == (path, value, sent)


@pytest.mark.parametrize("typed", ["PatientID", "=x", " =x"])
def test_what_is_no_term_is_refused(typed: str) -> None:
    with pytest.raises(UsageError, match="not a filter"):
        query.parse_term(typed)


def test_a_mistyped_keyword_suggests_the_near_one() -> None:
    with pytest.raises(UsageError) as caught:
        query.parse_term("PatientNane=x")
    assert "PatientName" in caught.value.hint


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        (Query(Level.STUDY), "studies"),
        (Query(Level.SERIES), "series"),
        (Query(Level.INSTANCE), "instances"),
        (Query(Level.SERIES, study="1.2"), "studies/1.2/series"),
        (Query(Level.INSTANCE, study="1.2"), "studies/1.2/instances"),
        (Query(Level.INSTANCE, study="../x", series="a/b"), "studies/..%2Fx/series/a%2Fb/instances"),
    ],
)
def test_resources_are_hierarchical_and_relational(asked: Query, path: str) -> None:
    assert query.target(asked, STANDARD) == path


@pytest.mark.parametrize(
    ("value", "standard", "raw"),
    [
        ("Buc^*", "Buc%5E*", "Buc^*"),
        ("B?c", "B%3Fc", "B?c"),
        ("a,b", "a%2Cb", "a,b"),
        ("a b", "a%20b", "a%20b"),
        ("a+b", "a%2Bb", "a+b"),
        ("a&b#c%d=e", "a%26b%23c%25d%3De", "a%26b%23c%25d=e"),
        ("Ünal", "%C3%9Cnal", "%C3%9Cnal"),
        ("a[1]/b", "a%5B1%5D%2Fb", "a[1]/b"),
    ],
)
def test_values_are_escaped_as_the_dialect_says(value: str, standard: str, raw: str) -> None:
    asked = Query(Level.STUDY, terms=(name(value),))
    assert query.target(asked, STANDARD) == f"studies?PatientName={standard}"
    assert query.target(asked, AUTO) == f"studies?PatientName={standard}"
    assert query.target(asked, RAW) == f"studies?PatientName={raw}"
    assert query.target(asked, AUTO, raw=True) == f"studies?PatientName={raw}"


def test_a_comma_separates_uids_and_is_data_elsewhere() -> None:
    asked = Query(Level.STUDY, terms=(Term("0020000D", "1.2,1.3"), Term("00100020", "a,b")))
    assert query.target(asked, STANDARD) == "studies?StudyInstanceUID=1.2,1.3&PatientID=a%2Cb"


def test_control_parameters_follow_the_keys() -> None:
    asked = Query(Level.STUDY, terms=(name("A"),), include=("StudyDescription", "all"), fuzzy=True, limit=10, offset=20)
    assert query.target(asked, STANDARD) == (
        "studies?PatientName=A&includefield=StudyDescription&includefield=all&fuzzymatching=true&limit=10&offset=20"
    )


@pytest.mark.parametrize(
    ("value", "again"),
    [
        ("Buc^*", True),
        ("B?c", True),
        ("a/b", True),
        ("Buc*", False),
        # A server that decodes would read another value, or more keys, out of these.
        ("a+b^", False),
        ("a;b^", False),
        ("a,b^", False),
        ("a=b^", False),
        # A server that does not decode finds nothing anyway.
        ("a b^", False),
        ("é^", False),
    ],
)
def test_only_what_no_server_can_misread_is_asked_again_unescaped(value: str, again: bool) -> None:
    assert query.worth_raw(Query(Level.STUDY, terms=(name(value),))) is again


def test_cannot_ask_names_what_a_server_that_never_decodes_will_not_find() -> None:
    asked = Query(Level.STUDY, terms=(name("A^*"), Term("00100020", "a b"), Term("0020000D", "é")))
    assert query.cannot_ask(asked, RAW) == ["é"]
    assert query.cannot_ask(asked, STANDARD) == []


def test_a_value_that_is_no_text_is_refused() -> None:
    with pytest.raises(UsageError, match="UTF-8"):
        query.parse_term("PatientName=\udcff")


def _row(tag: str, vr: str, *values: object) -> dict[str, object]:
    return {tag: {"vr": vr, "Value": list(values)}}


@pytest.mark.parametrize(
    ("term", "row", "fits"),
    [
        (name("cran*"), _row("00100010", "PN", {"Alphabetic": "Cranium^Test"}), True),
        (name("*hong"), _row("00100010", "PN", {"Alphabetic": "X", "Phonetic": "Ki^Hong"}), True),
        (name("Cran"), _row("00100010", "PN", {"Alphabetic": "Cranium"}), False),
        (Term("00100020", "a*"), _row("00100020", "LO", "Abc"), False),
        (Term("00100020", "a.?"), _row("00100020", "LO", "a.c"), True),
        (Term("00100020", "a.?"), _row("00100020", "LO", "abc"), False),
        (Term("00080061", "C?"), _row("00080061", "CS", "MR", "CT"), True),
        (Term("00100020", "*"), {}, True),
        (Term("00100020", "a*"), {}, False),
        (
            Term("00400275.00400009", "7*"),
            {"00400275": {"vr": "SQ", "Value": [_row("00400009", "SH", "1"), _row("00400009", "SH", "77")]}},
            True,
        ),
        (
            Term("00400275.00400009", "7*"),
            {"00400275": {"vr": "SQ", "Value": [_row("00400009", "SH", "1")]}},
            False,
        ),
    ],
)
def test_wildcards_are_matched_here_where_the_server_knows_none(term: Term, row: dict[str, object], fits: bool) -> None:
    assert bool(match.fits(term, row, exact=True)) is fits


def test_only_texts_have_wildcards() -> None:
    assert name("a*").is_pattern
    assert not name("a").is_pattern
    assert not Term("00080020", "2024*").is_pattern
    assert not Term("0020000D", "1.2*").is_pattern


def test_alternatives_ask_once_for_each_value() -> None:
    asked = query.alternatives([Query(Level.SERIES, terms=(name("A"),))], "00080060", ["CT", "MR"])
    assert [query.target(q, STANDARD) for q in asked] == [
        "series?PatientName=A&Modality=CT",
        "series?PatientName=A&Modality=MR",
    ]


@pytest.mark.parametrize(
    ("value", "loose", "worth"),
    [
        ("Testing File-set", "Testing?File-set", True),
        ("A^B*", None, False),
        ("50% & more", "50????more", True),
        ("Müller^J*", "M*ller^J*", False),
        ("山田", "*", False),
        ("* ?", "*??", False),
    ],
)
def test_a_value_that_cannot_go_raw_is_asked_for_with_wildcards(value: str, loose: str | None, worth: bool) -> None:
    term = Term("00081030", value)
    assert query.loosened(term) == (Term("00081030", loose) if loose else None)
    assert query.worth_loosening(Query(Level.STUDY, terms=(term,))) is worth


def test_a_key_without_wildcards_is_not_loosened() -> None:
    assert query.loosened(Term("0020000D", "1 2")) is None
