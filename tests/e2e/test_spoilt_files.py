"""Files that somebody cut or emptied after they were retrieved."""

from pathlib import Path

import pytest

from servers.images import instance
from servers.inside import Inside

LAYOUTS = pytest.mark.parametrize("options", [[], ["--layout", "{SOPInstanceUID}.dcm"]])


def retrieved(folder: Path, *options: str) -> tuple[Inside, list[str | Path], Path]:
    """Three instances, 2.25.3 to 2.25.5, in `folder/out`: what runs `dw`, the line that fetched them, and 2.25.4."""
    dw = Inside(folder / "home")
    (folder / "server").mkdir()
    for number in (3, 4, 5):
        (folder / "server" / f"{number}.dcm").write_bytes(instance(sop=f"2.25.{number}"))
    line: list[str | Path] = [
        *("--url", folder / "server", "retrieve", "study", "2.25.1", "-o", folder / "out"),
        *options,
    ]
    assert dw(*line).code == 0
    return dw, line, next((folder / "out").rglob("2.25.4.dcm"))


@LAYOUTS
def test_the_same_line_fetches_an_emptied_file_again(tmp_path: Path, options: list[str]) -> None:
    dw, line, spoilt = retrieved(tmp_path, *options)
    spoilt.write_bytes(b"")
    again = dw(*line)
    assert again.code == 0, again.err
    assert "1 retrieved" in again.err
    assert "2 already there" in again.err
    assert spoilt.read_bytes() == instance(sop="2.25.4")


@LAYOUTS
def test_a_file_that_lost_its_end_is_named_and_under_verify_fetched_again(tmp_path: Path, options: list[str]) -> None:
    dw, line, cut = retrieved(tmp_path, *options)
    cut.write_bytes(instance(sop="2.25.4")[:-100])
    checked = dw("--url", tmp_path / "server", "check", "2.25.1", tmp_path / "out")
    assert checked.code == 3 and "truncated" in checked.out, checked.out
    again = dw(*line, "--verify")
    assert again.code == 0, again.err
    assert "1 retrieved" in again.err and "2 already there" in again.err
    assert cut.read_bytes() == instance(sop="2.25.4")
    assert dw("--url", tmp_path / "server", "check", "2.25.1", tmp_path / "out").code == 0


def test_two_files_that_were_swapped_are_told_of_and_put_right(tmp_path: Path) -> None:
    dw, line, other = retrieved(tmp_path)
    one = other.with_name("2.25.3.dcm")
    one.write_bytes(instance(sop="2.25.4"))
    other.write_bytes(instance(sop="2.25.3"))
    run = dw(*line)
    assert run.code in (1, 3)
    assert "contains a different instance" in run.out and "--overwrite" in run.out + run.err
    assert dw(*line, "--overwrite").code == 0
    assert one.read_bytes() == instance(sop="2.25.3") and other.read_bytes() == instance(sop="2.25.4")


def test_nothing_goes_on_where_nothing_was_begun(tmp_path: Path) -> None:
    dw = Inside(tmp_path / "home")
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "a.dcm").write_bytes(instance())
    run = dw("--url", tmp_path / "server", "retrieve", "study", "2.25.1/", "-o", tmp_path / "out")
    assert run.code == 2
    assert "stopped" not in run.err and "the same command" not in run.err
