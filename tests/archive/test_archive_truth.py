"""The archive is honest about what it cannot read, and lets nobody else read what it holds."""

import stat
from pathlib import Path

import pytest

from servers.dw import Dw
from servers.images import instance

STUDY, SERIES = "2.25.8001", "2.25.8002"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    for number in range(2):
        (made / f"{number}.dcm").write_bytes(instance(STUDY, SERIES, f"2.25.80030{number}", side=100))
    return made


def test_a_file_that_ends_inside_its_pixels_is_not_stored(run_dw: Dw, folder: Path) -> None:
    cut = folder / "1.dcm"
    cut.write_bytes(cut.read_bytes()[:-10])
    run = run_dw("-p", "local", "store", folder)
    assert run.code == 3
    assert [line.split("\t")[0] for line in run.lines[1:]].count("stored") == 1
    assert run_dw("-p", "local", "search", "instances", "--count").out == "1\n"


def test_a_cut_file_in_a_folder_is_named_each_time(run_dw: Dw, folder: Path) -> None:
    cut = folder / "1.dcm"
    cut.write_bytes(cut.read_bytes()[:-10])
    for _ in range(2):
        run = run_dw("--url", folder, "search", "instances", "--count")
        assert run.out == "1\n"
        assert "1.dcm is not in the archive: the file is truncated" in run.err


def test_nobody_else_can_read_the_archive_and_the_indexes(run_dw: Dw, folder: Path) -> None:
    assert run_dw("-p", "local", "store", folder, "-q").code == 0
    assert run_dw("--url", folder, "search", "-q").code == 0
    outermost = [path for path in run_dw.home.rglob("*") if path.is_dir() and path.name in ("archive", "folders")]
    assert len(outermost) == 2
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o700 for path in outermost)


def test_serve_takes_no_profile(run_dw: Dw) -> None:
    run = run_dw("-p", "demo", "serve", "--port", "0")
    assert run.code == 2
    assert "serve takes a folder" in run.err


def test_profile_test_knows_that_a_folder_is_no_host(run_dw: Dw, folder: Path) -> None:
    assert run_dw("--url", folder, "profile", "test").code == 0
    assert run_dw("profile", "test", "local").code == 0
