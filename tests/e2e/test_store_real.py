"""Storing into real servers: large studies, broken connections, second runs."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from servers import images
from servers.dw import Dw
from servers.faults import Cut, CutRequest, Faults, Pass, Rule, Seen
from servers.inside import Inside
from servers.memory import peak
from servers.orthanc import Orthanc
from servers.tiny_pacs import TinyPacs

MOST = 80_000_000  # bytes a transfer of any size may take


@pytest.fixture
def dw(tmp_path: Path) -> Inside:
    return Inside(tmp_path / "home")


@pytest.fixture
def large(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder with a study of so many bytes in so many instances, gone after the test."""
    folder = tmp_path / "study"
    size, count = request.param
    images.big_study(folder, size, count=count, series=4)
    yield folder
    shutil.rmtree(folder)
    shutil.rmtree(tmp_path / "out", ignore_errors=True)


@pytest.mark.parametrize(
    "large",
    [pytest.param((400_000_000, 100), id="400 MB"), pytest.param((10**9, 1), id="1 GB", marks=pytest.mark.interop)],
    indirect=True,
)
def test_a_large_study_goes_both_ways_in_little_memory(large: Path, orthanc: Orthanc, run_dw: Dw) -> None:
    run_dw.environment |= orthanc.environment
    files = sorted(large.iterdir())
    up = peak(run_dw, "store", large)
    assert orthanc.count() == len(files)
    down = peak(run_dw, "retrieve", "--patient-id", "SYN1", "-o", large.parent / "out")
    assert max(up, down) < MOST, (up, down)
    came = sorted(path.stat().st_size for path in (large.parent / "out").rglob("*.dcm"))
    assert came == sorted(path.stat().st_size for path in files)
    orthanc.wipe()


def _files(folder: Path, count: int) -> list[Path]:
    return images.big_study(folder, count * 100_000, count=count)


def _once(rule: Rule) -> Callable[[Seen], Rule]:
    """The rule for the first POST; nothing else is touched."""
    left = [rule]
    return lambda seen: left.pop() if left and seen.method == "POST" else Pass()


@pytest.mark.parametrize("rule", [CutRequest(300_000), CutRequest(300_000, reset=True), Cut(0, of="whole")], ids=str)
def test_a_connection_that_breaks_once_loses_nothing(
    rule: Rule, orthanc: Orthanc, faults: Callable[..., Faults], dw: Inside, tmp_path: Path
) -> None:
    proxy = faults(orthanc.url, _once(rule))
    files = _files(tmp_path / "files", 8)
    run = dw("store", tmp_path / "files", env={**orthanc.environment, "DW_URL": proxy.url})
    assert run.code == 0, run.out
    assert orthanc.count() == len(files)
    assert len([seen for seen in proxy.seen if seen.method == "POST"]) >= 2


def test_a_reply_cut_in_the_middle_is_settled_by_asking(
    orthanc: Orthanc, faults: Callable[..., Faults], dw: Inside, tmp_path: Path
) -> None:
    proxy = faults(orthanc.url, _once(Cut(200)))
    _files(tmp_path / "files", 8)
    run = dw("store", tmp_path / "files", env={**orthanc.environment, "DW_URL": proxy.url})
    assert run.code == 0, (run.out, run.err)
    outcomes = {line.split("\t")[0] for line in run.lines[1:]}
    assert outcomes <= {"stored", "present"}
    assert orthanc.count() == 8


def test_a_wrong_password_stops_the_run(orthanc: Orthanc, dw: Inside, tmp_path: Path) -> None:
    _files(tmp_path / "files", 8)
    run = dw("store", tmp_path / "files", env={**orthanc.environment, "DW_PASSWORD": "wrong"})
    assert run.code == 4
    assert "refuses the login (401)" in run.out
    assert orthanc.count() == 0


def test_a_journal_makes_the_second_run_send_only_the_rest(orthanc: Orthanc, dw: Inside, tmp_path: Path) -> None:
    dw.environment |= orthanc.environment
    line: list[str | Path] = ["store", tmp_path / "files", "--journal", tmp_path / "night.jsonl"]
    _files(tmp_path / "files", 4)
    assert dw(*line).code == 0
    (tmp_path / "files/new.dcm").write_bytes(images.instance())
    run = dw(*line)
    assert run.code == 0, run.err
    assert "1 stored" in run.err and "4 already there" in run.err
    assert orthanc.count() == 5


def test_one_broken_file_stops_nothing(orthanc: Orthanc, dw: Inside, tmp_path: Path) -> None:
    files = _files(tmp_path / "files", 4)
    files[1].write_bytes(files[1].read_bytes()[:300])
    (tmp_path / "files/gone.dcm").symlink_to(tmp_path / "nowhere")
    run = dw("store", tmp_path / "files", env=orthanc.environment)
    assert run.code == 3
    failed = {line.split("\t")[4]: line.split("\t")[6] for line in run.lines if line.startswith("failed\t")}
    assert failed.keys() == {str(files[1]), str(tmp_path / "files/gone.dcm")}
    assert failed[str(tmp_path / "files/gone.dcm")] == "broken link"
    assert orthanc.count() == 3


def test_a_server_that_refuses_a_known_instance_is_asked_for_it(
    tiny_pacs: TinyPacs, dw: Inside, tmp_path: Path
) -> None:
    """tiny-pacs answers 409 for the whole request: what is equal is already there, what differs is a conflict."""
    dw.environment |= {**tiny_pacs.environment}
    run = dw("profile", "add", "it", tiny_pacs.url, "--dialect", "tiny-pacs", "--token-env", "DW_TOKEN")
    assert run.code == 0, run.err
    del dw.environment["DW_URL"]
    files = _files(tmp_path / "files", 3)
    assert dw("store", files[0], files[1]).code == 0
    changed = bytearray(files[1].read_bytes())
    changed[-1] ^= 1
    files[1].write_bytes(changed)
    run = dw("store", tmp_path / "files")
    assert run.code == 3, run.out
    outcomes = {line.split("\t")[4]: line.split("\t")[0] for line in run.lines[1:]}
    assert outcomes == {str(files[0]): "present", str(files[1]): "conflict", str(files[2]): "stored"}
    assert tiny_pacs.count() == 3


def test_what_orthanc_stores_under_another_name_is_told_with_that_name(
    orthanc: Orthanc, dw: Inside, tmp_path: Path
) -> None:
    file = tmp_path / "odd.dcm"
    file.write_bytes(images.instance("a b", "a b.1", "a b.1.1"))
    run = dw("store", file, "-f", "jsonl", env=orthanc.environment)
    assert run.code == 1, run.err
    assert "the store response lists ab.1.1 instead, and the server does not have it" in run.out
    assert "lists no instance" not in run.out
    assert "not sent" not in run.err
