"""Batches keep both limits, the order, and every file."""

from collections.abc import Iterator
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dwcli.files.scan import DicomFile
from dwcli.jobs.store import batches


def file(size: int, number: int = 0) -> DicomFile:
    return DicomFile(Path(f"f{number}"), size, 0, "1", "2", f"3.{number}", "4", "5")


def sizes(files: list[int], max_bytes: int, max_count: int | None = None) -> list[list[int]]:
    made = batches((file(size) for size in files), max_bytes=max_bytes, max_count=max_count)
    return [[each.size for each in batch] for batch in made]


def test_batch_is_filled_up_to_the_very_limit() -> None:
    assert sizes([40, 60, 1], 100) == [[40, 60], [1]]


def test_bytes_around_each_file_count() -> None:
    made = batches((file(40), file(40), file(1)), max_bytes=100, max_count=None, around=10)
    assert [[each.size for each in batch] for batch in made] == [[40, 40], [1]]


def test_file_over_the_limit_goes_alone() -> None:
    assert sizes([10, 500, 10], 100) == [[10], [500], [10]]


def test_batch_is_limited_by_count() -> None:
    assert sizes([1, 1, 1, 1, 1], 100, 2) == [[1, 1], [1, 1], [1]]


def test_nothing_makes_no_batch() -> None:
    assert sizes([], 100) == []


def test_batches_take_files_only_as_needed() -> None:
    def endless() -> Iterator[DicomFile]:
        while True:
            yield file(60)

    assert len(next(batches(endless(), max_bytes=100, max_count=None))) == 1


@given(st.lists(st.integers(0, 200)), st.integers(1, 300), st.none() | st.integers(1, 5))
def test_batches_hold_every_file_once_in_order(files: list[int], max_bytes: int, max_count: int | None) -> None:
    made = sizes(files, max_bytes, max_count)
    assert [size for batch in made for size in batch] == files
    for batch in made:
        assert batch
        assert len(batch) == 1 or sum(batch) <= max_bytes
        assert max_count is None or len(batch) <= max_count
