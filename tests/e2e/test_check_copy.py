"""`dw check` finds what is missing, cut and extra; `dw copy` brings a real CT over three servers unchanged."""

import hashlib
import json
from pathlib import Path

import pytest

from dwcli.dicomweb.part10 import data_set_offset
from servers.dw import Dw, Run
from servers.images import CRANIUM_SERIES, CRANIUM_STUDY, instance
from servers.orthanc import Orthanc
from servers.tiny_pacs import TinyPacs

SERIES_FOLDER = Path(CRANIUM_STUDY, CRANIUM_SERIES)


def profile(dw: Dw, name: str, server: Orthanc | TinyPacs) -> None:
    """A profile of its own for one of several servers, its secret in a variable of its own."""
    variables = server.environment
    source = ["--user", variables["DW_USER"], "--password-env"] if "DW_USER" in variables else ["--token-env"]
    secret = variables.get("DW_PASSWORD") or variables["DW_TOKEN"]
    dw.environment[f"SECRET_{name}"] = secret
    added = dw("profile", "add", name, server.url, "--dialect", server.dialect, *source, f"SECRET_{name}")
    assert added.code == 0, added.err


def outcomes(run: Run) -> dict[str, int]:
    """How many lines of a pipe have each outcome."""
    found = [line.split("\t")[0] for line in run.lines[1:]]
    return {outcome: found.count(outcome) for outcome in set(found)}


def digests(files: list[Path]) -> list[str]:
    return sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)


@pytest.fixture
def fetched(orthanc: Orthanc, run_dw: Dw, cranium: list[Path], tmp_path: Path) -> Path:
    """A folder with the CT as Orthanc gives it."""
    run_dw.environment |= orthanc.environment
    assert run_dw("store", cranium[0].parent, "-q").code == 0
    assert run_dw("retrieve", "study", CRANIUM_STUDY, "-o", tmp_path / "out", "-q").code == 0
    return tmp_path / "out"


def test_check_of_a_complete_folder_is_exit_0(fetched: Path, run_dw: Dw) -> None:
    run = run_dw("check", CRANIUM_STUDY, fetched)
    assert (run.code, outcomes(run)) == (0, {"present": 108})
    deep = run_dw("check", "study", CRANIUM_STUDY, fetched, "--deep")
    assert (deep.code, outcomes(deep)) == (0, {"present": 108})
    assert "108 instances identical byte for byte" in deep.err


def test_check_names_what_is_missing_cut_and_extra(fetched: Path, run_dw: Dw) -> None:
    files = sorted((fetched / SERIES_FOLDER).iterdir())
    removed, cut = files[10], files[20]
    removed.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    stranger = fetched / SERIES_FOLDER / "stranger.dcm"
    stranger.write_bytes(instance(CRANIUM_STUDY, CRANIUM_SERIES, "2.25.999"))

    report = fetched.parent / "check.jsonl"
    run = run_dw("check", CRANIUM_STUDY, fetched, "--deep", "--report", report)
    assert run.code == 3
    assert outcomes(run) == {"present": 106, "missing": 1, "conflict": 1, "extra": 1}
    *items, last = map(json.loads, report.read_text().splitlines())
    by_outcome = {item["outcome"]: item for item in items if item["outcome"] != "present"}
    assert by_outcome["missing"]["instance"] == removed.stem
    assert by_outcome["conflict"]["path"] == str(cut)
    assert by_outcome["extra"]["path"] == str(stranger)
    assert last["summary"]["missing"] == 1 and last["exit"] == 3


def test_check_of_what_the_server_does_not_have_is_absent(fetched: Path, run_dw: Dw) -> None:
    run = run_dw("check", "2.25.404", fetched)
    assert run.code == 5
    assert "lists no series" in run.out


def test_check_wants_a_folder(orthanc: Orthanc, run_dw: Dw, tmp_path: Path) -> None:
    run_dw.environment |= orthanc.environment
    run = run_dw("check", CRANIUM_STUDY, tmp_path / "none")
    assert run.code == 2
    assert "folder not found" in run.err


def data_sets(files: list[Path]) -> list[str]:
    """Digests of everything behind group 2."""
    read = [file.read_bytes() for file in files]
    return sorted(hashlib.sha256(data[data_set_offset(data) :]).hexdigest() for data in read)


def test_copy_over_three_servers_ends_with_the_same_images(
    orthanc: Orthanc, tiny_pacs: TinyPacs, run_dw: Dw, cranium: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "second"
    folder.mkdir()
    with Orthanc(folder) as second:
        for name, server in (("first", orthanc), ("middle", tiny_pacs), ("last", second)):
            profile(run_dw, name, server)
        assert run_dw("-p", "first", "store", cranium[0].parent, "-q").code == 0
        for start, end in (("first", "middle"), ("middle", "last")):
            run = run_dw("-p", start, "copy", "study", CRANIUM_STUDY, "--to", end)
            assert run.code == 0, run.err
            assert outcomes(run) == {"stored": 108}
        assert second.count() == 108
        again = run_dw("-p", "middle", "copy", "study", CRANIUM_STUDY, "--to", "last", "--verify")
        assert again.code == 0, again.err
        assert run_dw("-p", "last", "retrieve", "study", CRANIUM_STUDY, "-o", tmp_path / "by-way", "-q").code == 0
        # tiny-pacs writes its own implementation into group 2 of what it keeps, so only the data sets can be equal.
        assert data_sets(list((tmp_path / "by-way").rglob("*.dcm"))) == data_sets(cranium)

        second.wipe()
        assert run_dw("-p", "first", "copy", "study", CRANIUM_STUDY, "--to", "last", "-q").code == 0
        assert run_dw("-p", "last", "retrieve", "study", CRANIUM_STUDY, "-o", tmp_path / "direct", "-q").code == 0
        assert digests(list((tmp_path / "direct").rglob("*.dcm"))) == digests(cranium)


def test_copy_onto_itself_is_refused(orthanc: Orthanc, run_dw: Dw) -> None:
    profile(run_dw, "one", orthanc)
    run = run_dw("-p", "one", "copy", "1.2.3", "--to", "one")
    assert run.code == 2
    assert "the same server" in run.err


def test_copy_of_what_is_not_there_is_absent(orthanc: Orthanc, tiny_pacs: TinyPacs, run_dw: Dw) -> None:
    profile(run_dw, "one", orthanc)
    profile(run_dw, "other", tiny_pacs)
    run = run_dw("-p", "one", "copy", "1.2.3", "--to", "other")
    assert run.code == 5, run.err
