"""A folder that is full, not writable, or no folder: named, with nothing half under a final name."""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from servers import wire
from servers.disk import small
from servers.dw import Dw
from servers.fake import Fake
from servers.orthanc import Orthanc
from servers.scripted import Instance, Scripted, study

STUDY = "2.25.7"


def digests(folder: Path) -> dict[str, str]:
    """File name -> sha256, of everything in a folder."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def expected(instances: list[Instance]) -> dict[str, str]:
    return {f"{one.uid}.dcm": hashlib.sha256(one.data).hexdigest() for one in instances}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB, which only root may mount."""
    with small(tmp_path / "disk", "256k") as place:
        yield place


def test_a_full_disk_ends_a_retrieve(orthanc: Orthanc, run_dw: Dw, tmp_path: Path, small_disk: Path) -> None:
    sent = study(4, 8, side=128)  # 32 files of 34 kB
    assert wire.stow(orthanc.url, [one.data for one in sent], headers=orthanc.headers).status == 200
    out = small_disk / "out"
    report = tmp_path / "run.jsonl"
    line = ("retrieve", "study", STUDY, "-o", out, "--report", report)
    run = run_dw(*line, env=orthanc.environment)
    assert run.code == 1, run.err
    came = digests(out)
    assert 0 < len(came) < len(sent)
    assert came.items() <= expected(sent).items()
    assert f"{out}: No space left on device" in run.err
    assert "the same command" in run.err
    *lines, summary = [json.loads(text) for text in report.read_text().splitlines()]
    assert sum(line["outcome"] == "received" for line in lines) == len(came)
    assert summary["exit"] == 1
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], timeout=10, check=True)
    run = run_dw(*line, env=orthanc.environment)
    assert (run.code, digests(out)) == (0, expected(sent))
    assert run.out.count("\npresent") == len(came)


def test_a_disk_full_from_the_start(orthanc: Orthanc, run_dw: Dw, small_disk: Path) -> None:
    sent = study(1, 2, side=128)
    assert wire.stow(orthanc.url, [one.data for one in sent], headers=orthanc.headers).status == 200
    with (small_disk / "full").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    run = run_dw("retrieve", "study", STUDY, "-o", small_disk / "out", env=orthanc.environment)
    assert run.code == 1
    assert "No space left on device" in run.err
    assert digests(small_disk / "out") == {}


def test_a_report_on_a_full_disk_is_named(
    run_dw: Dw, fake_server: Callable[..., Fake], tmp_path: Path, small_disk: Path
) -> None:
    (small_disk / "full").write_bytes(bytes(250_000))
    report = small_disk / "run.jsonl"
    sent = study(1, 100, side=2)
    line = ("retrieve", "study", STUDY, "-o", tmp_path / "out", "--report", report)
    run = run_dw(*line, env={"DW_URL": fake_server(Scripted(sent)).url})
    assert run.code == 1, run.err
    assert f"cannot write the report {report}" in run.err


def test_a_folder_that_cannot_be_made_or_written(run_dw: Dw, fake_server: Callable[..., Fake], tmp_path: Path) -> None:
    # Not even root makes a folder there.
    run = run_dw("retrieve", "study", STUDY, "-o", "/proc/dw-out", env={"DW_URL": fake_server(Scripted(study())).url})
    assert run.code == 1
    assert "/proc/dw-out" in run.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_leave_to_write(run_dw: Dw, fake_server: Callable[..., Fake], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0o500)
    run = run_dw("retrieve", "study", STUDY, "-o", out, env={"DW_URL": fake_server(Scripted(study())).url})
    assert run.code == 1
    assert "Permission denied" in run.err


@pytest.mark.parametrize("below", ["", "sub/folder"])
def test_a_folder_that_is_a_file(run_dw: Dw, fake_server: Callable[..., Fake], tmp_path: Path, below: str) -> None:
    (tmp_path / "out").write_bytes(b"mine")
    server = fake_server(Scripted(study()))
    run = run_dw("retrieve", "study", STUDY, "-o", tmp_path / "out" / below, env={"DW_URL": server.url})
    assert run.code == 2, run.err
    assert (tmp_path / "out").read_bytes() == b"mine"
    assert server.requests == []


def test_the_drafts_of_a_dead_run_go_and_those_of_a_live_one_stay(
    run_dw: Dw, fake_server: Callable[..., Fake], tmp_path: Path
) -> None:
    from dwcli.files.sink import Sink

    out = tmp_path / "out"
    sent = study(1, 2)
    dead = out / ".dw-0000dead.tmp"
    dead.mkdir(parents=True)
    (dead / "1").write_bytes(b"half")
    (out / ".dw-0000dead.lock").write_bytes(b"")
    with Sink(out) as live:
        draft = live.open()
        draft.write(sent[0].data)
        run = run_dw("retrieve", "study", STUDY, "-o", out, env={"DW_URL": fake_server(Scripted(sent)).url})
        assert run.code == 0
        assert not dead.exists()
        assert draft.keep().outcome == "same"
    assert digests(out) == expected(sent)


def test_a_disk_too_full_for_a_zip(orthanc: Orthanc, run_dw: Dw, tmp_path: Path, small_disk: Path) -> None:
    sent = study(4, 8, side=128)  # 32 files of 34 kB
    assert wire.stow(orthanc.url, [one.data for one in sent], headers=orthanc.headers).status == 200
    report = tmp_path / "run.jsonl"
    line = ("retrieve", "study", STUDY, "--zip", small_disk / "s.zip", "--report", report)
    run = run_dw(*line, env=orthanc.environment)
    assert run.code == 1, run.err
    assert f"cannot write {small_disk / 's.zip'}: No space left on device" in run.err
    assert "only what is missing" not in run.err
    assert list(small_disk.iterdir()) == []
    assert [json.loads(text)["exit"] for text in report.read_text().splitlines()] == [1]
