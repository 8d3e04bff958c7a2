"""Every file that pydicom brings, through `dw store` into Orthanc and back.

Of its 203 files (pydicom 3.0) 128 are stored. 31 have the SOP Instance UID of another one and other bytes; who sends
them all to Orthanc counts them as stored (about 158 of 185), since it acknowledges a second instance of a UID and
keeps the first. 15 the server can't take in: palettes without a study, lossy JPEG-LS and others that its parser minds.
8 can't be sent, for they have no file meta information or no UID. 21 are no instances: DICOMDIR, text, an archive, and
one twin.
"""

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from servers import images
from servers.inside import Inside
from servers.orthanc import Orthanc


def test_what_becomes_of_each_of_pydicoms_files(orthanc: Orthanc, tmp_path: Path) -> None:
    dw = Inside(tmp_path / "home")
    dw.environment |= orthanc.environment
    report = tmp_path / "report.jsonl"
    files = images.pydicom_files()
    run = dw("store", *files, "--report", report)
    assert run.code == 3, run.err
    *items, summary = [json.loads(line) for line in report.read_text().splitlines()]

    # Each file exactly once.
    assert Counter(item["path"] for item in items) == Counter(map(str, files))
    outcomes = Counter(item["outcome"] for item in items)
    assert summary["summary"] == outcomes
    if len(files) == 203:
        assert outcomes == {"stored": 128, "conflict": 31, "failed": 23, "skipped": 21}
    assert outcomes["stored"] > 100
    assert orthanc.count() == outcomes["stored"]

    reasons = defaultdict(set)
    for item in items:
        reasons[item["outcome"]].add(Path(item["path"]).name)
        assert item["outcome"] == "stored" or item["reason"]
    said = {Path(item["path"]).name: item["reason"] for item in items}
    assert {"DICOMDIR", "README.txt", "zipMR.gz", "rtplan.dump", "SC_rgb_jpeg_app14_dcmd.dcm"} <= reasons["skipped"]
    assert said["DICOMDIR"] == "DICOMDIR"
    assert said["zipMR.gz"] == "gzip archive"
    assert said["SC_rgb_jpeg_app14_dcmd.dcm"].startswith("the same as ")
    assert {"MR_small_RLE.dcm", "MR_truncated.dcm", "chrFrenMulti.dcm"} <= reasons["conflict"]
    assert "MR_small.dcm has the same SOP Instance UID but different content" in said["MR_small_RLE.dcm"]
    assert said["hotiron.dcm"] == "cannot understand the data set (C000)"
    assert "without file meta information" in said["rtstruct.dcm"]

    _come_back(dw, items, tmp_path / "out")


def _come_back(dw: Inside, items: list[dict[str, str]], out: Path) -> None:
    """Retrieve everything; each file that was stored is there, byte for byte, and no other."""
    found = dw("search", "-f", "uids")
    fetched = dw("retrieve", "study", "-", "-o", out, stdin=found.raw)
    assert fetched.code == 0, fetched.out
    stored = {item["instance"]: Path(item["path"]) for item in items if item["outcome"] == "stored"}
    came = {path.stem: path for path in out.rglob("*.dcm")}
    assert came.keys() == stored.keys()
    for uid, path in stored.items():
        assert came[uid].read_bytes() == path.read_bytes(), path


@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_RLE.dcm"])
def test_the_first_of_two_files_with_one_uid_wins(name: str, orthanc: Orthanc, tmp_path: Path) -> None:
    """Offered alone, the one that was a conflict is stored; then the other one shows up only under --verify."""
    dw = Inside(tmp_path / "home")
    dw.environment |= orthanc.environment
    here = {path.name: path for path in images.pydicom_files() if path.name.startswith("MR_small")}
    other = "MR_small.dcm" if name != "MR_small.dcm" else "MR_small_RLE.dcm"
    assert dw("store", here[name]).code == 0
    # Orthanc says stored, and keeps what it has.
    assert dw("store", here[other]).code == 0
    run = dw("store", here[other], "--verify")
    assert run.code == 1, run.err
    assert "the server reports it stored but returns different content" in run.out
    assert dw("retrieve", "--patient-id", "4MR1", "-o", tmp_path / "out").code == 0
    (path,) = (tmp_path / "out").rglob("*.dcm")
    assert path.read_bytes() == here[name].read_bytes()
