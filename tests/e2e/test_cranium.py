"""A real CT of 108 slices through the main job: store, search, retrieve, render. Each byte and the picture compared."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from servers.dw import Dw
from servers.fake import Answer, Fake, Request
from servers.images import CRANIUM_SERIES, CRANIUM_STUDY
from servers.inside import Inside
from servers.orthanc import Orthanc

SLICE_60 = f"{CRANIUM_STUDY}/{CRANIUM_SERIES}/2.25.108001060"


@pytest.fixture
def dw(tmp_path: Path) -> Inside:
    return Inside(tmp_path / "home")


def _digests(files: list[Path]) -> list[str]:
    return sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)


def test_the_ct_goes_in_is_found_and_comes_back(
    orthanc: Orthanc, run_dw: Dw, cranium: list[Path], tmp_path: Path
) -> None:
    run_dw.environment |= orthanc.environment
    stored = run_dw("store", cranium[0].parent)
    assert stored.code == 0, stored.err
    assert "108 stored" in stored.err
    assert orthanc.count() == 108

    found = run_dw("search", "--patient", "Cran*")
    assert (found.code, found.err) == (0, "")
    assert found.lines[1:] == [f"20240315\tCranium^Test\tCRANIUM1\tCT\tHead\t108\t{CRANIUM_STUDY}"]

    fetched = run_dw("retrieve", "study", "-", "-o", tmp_path, stdin=f"{CRANIUM_STUDY}\n")
    assert fetched.code == 0, fetched.err
    files = list(tmp_path.rglob("*.dcm"))
    assert {path.parent for path in files} == {tmp_path / CRANIUM_STUDY / CRANIUM_SERIES}
    assert _digests(files) == _digests(cranium)

    again = run_dw("retrieve", "study", CRANIUM_STUDY, "-o", tmp_path)
    assert again.code == 0
    assert "0 retrieved" in again.err and "108 already there" in again.err


@pytest.mark.parametrize("by", ["server", "here"])
def test_slice_60_is_a_head(by: str, orthanc: Orthanc, dw: Inside, cranium: list[Path], tmp_path: Path) -> None:
    from PIL import Image

    assert dw("store", cranium[59], env=orthanc.environment).code == 0
    picture = tmp_path / "slice.png"
    local = ["--local"] if by == "here" else []
    window = ["--window", "40,400", "--viewport", "512,512"]
    run = dw("render", SLICE_60, "-o", picture, *window, *local, env=orthanc.environment)
    assert run.code == 0, run.err
    assert f"rendered {'by the server' if by == 'server' else 'locally'}" in run.err
    with Image.open(picture) as image:
        assert (image.format, image.size) == ("PNG", (512, 512))
        grey = image.convert("L")

    def mean(left: int, upper: int, right: int, lower: int) -> float:
        counts = grey.crop((left, upper, right, lower)).histogram()
        return sum(value * count for value, count in enumerate(counts)) / sum(counts)

    # Air in the corners and in the frontal sinus is black, brain a grey near the middle of the window, bone white:
    # upside down, inverted, without its window or with torn rows the picture would miss one of them.
    assert mean(0, 0, 40, 40) < 5 and mean(472, 0, 512, 40) < 5
    assert mean(225, 100, 245, 112) < 40 and mean(225, 400, 245, 412) > 90
    assert 90 < mean(200, 230, 312, 330) < 170
    histogram = grey.histogram()
    assert sum(histogram[250:]) / sum(histogram) > 0.03
    assert 0.3 < sum(histogram[:10]) / sum(histogram) < 0.7


def _undertow(request: Request) -> Answer:
    """A server that decodes its queries, and refuses the raw `^` that RFC 3986 does not allow in them."""
    query = urlsplit(request.target).query
    if "^" in query:
        return Answer(400, {"Content-Type": "text/html"}, b"<html><title>Bad Request</title></html>")
    asked = parse_qs(query).get("PatientName", [""])[0]
    rows = []
    if asked in ("Cran*", "Cranium^T*"):
        rows = [
            {
                "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Cranium^Test"}]},
                "0020000D": {"vr": "UI", "Value": [CRANIUM_STUDY]},
            }
        ]
    return Answer(200 if rows else 204, {"Content-Type": "application/dicom+json"}, json.dumps(rows).encode())


@pytest.mark.parametrize("name", ["Cran*", "Cranium^T*"])
@pytest.mark.parametrize("dialect", ["auto", "dcm4chee", "standard"])
def test_a_name_is_found_where_a_raw_caret_is_refused(
    dialect: str, name: str, fake_server: Callable[..., Fake], dw: Inside
) -> None:
    server = fake_server(_undertow, path="/rs")
    dw("profile", "add", "it", server.url, "--dialect", dialect)
    run = dw("search", "--patient", name, "--columns", "PatientName,StudyInstanceUID")
    assert (run.code, run.err) == (0, "")
    assert run.lines[1:] == [f"Cranium^Test\t{CRANIUM_STUDY}"]
    none = dw("search", "--patient", "Nobody^*", "--count")
    assert (none.code, none.out, none.err) == (0, "0\n", "")


@pytest.mark.parametrize("dialect", ["auto", "orthanc"])
def test_a_name_is_found_where_queries_are_never_decoded(
    dialect: str, orthanc: Orthanc, dw: Inside, cranium: list[Path]
) -> None:
    assert dw("store", cranium[0], env=orthanc.environment).code == 0
    dw("profile", "add", "it", orthanc.url, "--dialect", dialect, "--user", "alice", "--password-env", "SECRET")
    run = dw("search", "--patient", "Cranium^T*", "-f", "uids", env={"SECRET": orthanc.password or ""})
    assert (run.code, run.out, run.err) == (0, f"{CRANIUM_STUDY}\n", "")
