"""What people type for PostDICOM, and what is refused before anything is sent."""

from datetime import date, datetime

import pytest

from dwcli.errors import UsageError
from dwcli.vendors.postdicom import inputs

TODAY = date(2026, 11, 21)


@pytest.mark.parametrize(
    ("typed", "day"),
    [
        ("2026-12-31", date(2026, 12, 31)),
        ("20261231", date(2026, 12, 31)),
        ("2026-11-21", TODAY),
        ("today", TODAY),
        ("Tomorrow", date(2026, 11, 22)),
        ("30d", date(2026, 12, 21)),
        ("2w", date(2026, 12, 5)),
        ("1y", date(2027, 11, 21)),
    ],
)
def test_an_expiry_in_the_ways_people_write_it(typed: str, day: date) -> None:
    assert inputs.expiry(typed, TODAY) == day


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("2026-11-20", "2026-11-20 is in the past"),
        ("yesterday", "not an expiry date"),
        ("31.12.2026", "not an expiry date"),
        ("2026-02-30", "not an expiry date"),
        ("2026-W05-1", "not an expiry date"),
        ("9999y", "not an expiry date"),
        ("", "not an expiry date"),
    ],
)
def test_a_wrong_expiry_is_refused(typed: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        inputs.expiry(typed, TODAY)


def test_dates_of_birth() -> None:
    assert inputs.birth_date("1970-01-31", TODAY) == inputs.birth_date("19700131", TODAY) == date(1970, 1, 31)
    with pytest.raises(UsageError, match="not a date of birth"):
        inputs.birth_date("31.1.1970", TODAY)
    with pytest.raises(UsageError, match="in the future"):
        inputs.birth_date("2026-11-22", TODAY)


@pytest.mark.parametrize("typed", ["2026-12-01 09:30", "2026-12-01T09:30"])
def test_a_schedule(typed: str) -> None:
    assert inputs.scheduled(typed) == datetime(2026, 12, 1, 9, 30)


@pytest.mark.parametrize("typed", ["2026-12-01", "2026-12-01 25:00", "soon"])
def test_a_wrong_schedule_is_refused(typed: str) -> None:
    with pytest.raises(UsageError, match="not a date and time"):
        inputs.scheduled(typed)


@pytest.mark.parametrize(
    ("typed", "ends"),
    [
        ("2026-01..2026-03", (date(2026, 1, 1), date(2026, 3, 31))),
        ("2026-01..", (date(2026, 1, 1), None)),
        ("..1950", (None, date(1950, 12, 31))),
        ("1970-01-31", (date(1970, 1, 31), date(1970, 1, 31))),
        ("7d", (date(2026, 11, 15), TODAY)),
        (None, (None, None)),
    ],
)
def test_a_range_of_dates(typed: str | None, ends: tuple[date | None, date | None]) -> None:
    assert inputs.date_range(typed, TODAY) == ends


def test_modalities_are_known_codes() -> None:
    assert inputs.modalities(["ct, MR", "CT"]) == ("CT", "MR")


@pytest.mark.parametrize(
    ("typed", "hint"), [("MRI", "MR"), ("pet", "PT"), ("RTPLN", "RTPLAN"), ("photo", "such as CT")]
)
def test_an_unknown_modality_is_refused_with_the_near_ones(typed: str, hint: str) -> None:
    with pytest.raises(UsageError, match="unknown modality") as raised:
        inputs.modality(typed)
    assert hint in raised.value.hint


def test_sex_and_tags() -> None:
    assert [inputs.sex(typed) for typed in ("f", "O", None)] == ["F", "O", None]
    with pytest.raises(UsageError, match="not a DICOM patient sex"):
        inputs.sex("male")
    assert inputs.tags(["PatientName", "0018,0050"]) == ("00100010", "00180050")


@pytest.mark.parametrize(
    ("typed", "is_one"),
    [
        ("123e4567-e89b-12d3-a456-426614174000", True),
        ("{123E4567-E89B-12D3-A456-426614174000}", True),
        ("123e4567e89b12d3a456426614174000", True),
        ("1.2.840.1", False),
        ("123e4567-e89b-12d3-a456-42661417400", False),
    ],
)
def test_uuids_are_told_by_their_looks(typed: str, is_one: bool) -> None:
    assert inputs.looks_like_uuid(typed) is is_one
