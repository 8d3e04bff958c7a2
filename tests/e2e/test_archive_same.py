"""One suite for Orthanc, the profile `local` and `dw serve`: the same commands, the same assertions."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from servers import images
from servers.dw import Dw
from servers.inside import Inside
from servers.orthanc import Orthanc
from servers.serving import Serving

STUDY = "1.2.840.7"
KINDS = ("orthanc", "local", "serve")


class Place:
    """One server or archive as `dw` is pointed at it; `strict`: it says 404 and 406 where the standard does."""

    def __init__(self, dw: Dw, environment: dict[str, str], *, strict: bool) -> None:
        self._dw = dw
        self._environment = environment
        self.strict = strict

    def __call__(self, *arguments: str | Path, code: int = 0) -> list[str]:
        """The lines that `dw ARGUMENTS` prints; fails where it ends with another code."""
        run = self._dw(*arguments, env=self._environment)
        assert run.code == code, (run.code, run.out, run.err)
        return run.lines


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("same"), "-q") as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Dw:
    return Inside(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two series: three images, and one of two frames."""
    folder = tmp_path_factory.mktemp("files")
    for number in (1, 2, 3):
        data = images.instance(STUDY, f"{STUDY}.1", f"{STUDY}.1.{number}", number=number, side=32)
        (folder / f"{number}.dcm").write_bytes(data)
    (folder / "clip.dcm").write_bytes(images.instance(STUDY, f"{STUDY}.2", f"{STUDY}.2.1", frames=2))
    return folder


@pytest.fixture(scope="module", params=KINDS)
def place(request: pytest.FixtureRequest, home: Dw, files: Path) -> Place:
    """Each of the three, with the study stored."""
    match request.param:
        case "orthanc":
            server: Orthanc = request.getfixturevalue("orthanc_server")
            server.wipe()
            place = Place(home, server.environment, strict=False)
        case "local":
            place = Place(home, {"DW_PROFILE": "local"}, strict=True)
        case _:
            place = Place(home, request.getfixturevalue("serving").environment, strict=True)
    lines = place("store", files)
    assert sorted(line.partition("\t")[0] for line in lines[1:]) == ["stored"] * 4
    return place


@pytest.mark.parametrize(
    ("terms", "found"),
    [
        (["--patient", "Synth*"], 1),
        (["--patient", "Nobody*"], 0),
        (["--patient-id", "SYN1", "--modality", "OT", "--date", "2024-03", "--accession", "ACC1"], 1),
        (["--date", "2023"], 0),
    ],
)
def test_a_search_finds_the_study(place: Place, terms: list[str], found: int) -> None:
    assert place("search", *terms, "-f", "uids") == [STUDY] * found


def test_the_levels_and_their_counts(place: Place) -> None:
    (study,) = (json.loads(line) for line in place("search", "-f", "jsonl"))
    assert study["00201208"]["Value"] in ([4], ["4"]) and study["00080061"]["Value"] == ["OT"]
    assert place("search", "series", "--study", STUDY, "-f", "uids") == [f"{STUDY}.1", f"{STUDY}.2"]
    found = place("search", "instances", "--study", STUDY, "--series", f"{STUDY}.1", "-f", "uids")
    assert sorted(found) == [f"{STUDY}.1.{number}" for number in (1, 2, 3)]
    assert place("search", "instances", "--count") == ["4"]
    assert len(place("search", "instances", "--limit", "3", "-f", "uids")) == 3


def test_a_study_comes_back_byte_for_byte(place: Place, files: Path, tmp_path: Path) -> None:
    place("retrieve", "study", STUDY, "-o", tmp_path)
    got = sorted(path.read_bytes() for path in tmp_path.rglob("*.dcm"))
    assert got == sorted(path.read_bytes() for path in files.iterdir())


def test_a_series_and_an_instance_come_alone(place: Place, files: Path, tmp_path: Path) -> None:
    place("retrieve", "series", f"{STUDY}/{STUDY}.2", "-o", tmp_path / "series")
    place("retrieve", "instance", f"{STUDY}.1.2", "-o", tmp_path / "instance")
    for folder, name in (("series", "clip.dcm"), ("instance", "2.dcm")):
        (path,) = (tmp_path / folder).rglob("*.dcm")
        assert path.read_bytes() == (files / name).read_bytes()


def test_metadata_names_its_values(place: Place) -> None:
    (row,) = (
        json.loads(line) for line in place("metadata", "instance", f"{STUDY}/{STUDY}.1/{STUDY}.1.1", "-f", "jsonl")
    )
    assert row["00100010"]["Value"] == [{"Alphabetic": "Synthetic^Test"}]
    assert row["00280010"] == {"vr": "US", "Value": [32]}
    assert "BulkDataURI" in row["7FE00010"]


def test_frames_and_bulk_data_are_the_bytes_of_the_file(place: Place, files: Path, tmp_path: Path) -> None:
    size = 16 * 16 * 2
    pixels = (files / "clip.dcm").read_bytes()[-2 * size :]
    clip = f"{STUDY}/{STUDY}.2/{STUDY}.2.1"
    place("retrieve", "frames", clip, "2", "-o", tmp_path / "frames")
    (frame,) = (tmp_path / "frames").rglob("*.raw")
    assert frame.read_bytes() == pixels[size:]
    place("retrieve", "bulkdata", clip, "PixelData", "-o", tmp_path / "bulk.raw")
    assert (tmp_path / "bulk.raw").read_bytes() == pixels


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_picture_is_rendered(place: Place, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"picture.{kind}"
    place("render", "instance", f"{STUDY}/{STUDY}.1/{STUDY}.1.1", "-o", path, "--window", "32768,65536")
    with Image.open(path) as picture:
        assert (picture.format, picture.size) == (kind.upper(), (32, 32))


def test_what_is_absent_is_exit_5(place: Place, tmp_path: Path) -> None:
    place("retrieve", "study", "1.2.840.99", "-o", tmp_path, code=5)
    place("metadata", "study", "1.2.840.99", code=5)


def test_stored_again_it_is_still_one(place: Place, files: Path) -> None:
    place("store", files / "1.dcm")
    assert place("search", "instances", "--count") == ["4"]


def test_other_bytes_of_a_known_uid_do_not_replace_it(place: Place, files: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.dcm"
    other.write_bytes(images.instance(STUDY, f"{STUDY}.1", f"{STUDY}.1.1", number=77, side=32))
    # Orthanc calls it stored and keeps the first; the archive says that it is in conflict.
    place("store", other, "--verify", code=1)
    place("retrieve", "instance", f"{STUDY}/{STUDY}.1/{STUDY}.1.1", "-o", tmp_path / "got")
    (path,) = (tmp_path / "got").rglob("*.dcm")
    assert path.read_bytes() == (files / "1.dcm").read_bytes()


def test_instances_of_another_study_are_refused(place: Place, files: Path) -> None:
    lines = place("store", files / "2.dcm", "--study", "1.2.840.98", code=1)
    assert lines[1].startswith("failed")


def test_statuses_are_those_of_the_standard(place: Place) -> None:
    if not place.strict:
        pytest.skip("Orthanc deviates here")
    lines = place("request", "GET", "studies?PatientID=nobody")
    assert lines == []
    place("request", "GET", "studies?Nonsense=1", code=1)
    place("request", "GET", f"studies/{STUDY}", "-H", "Accept: application/zip", code=1)


def test_a_copy_goes_both_ways(home: Dw, files: Path, orthanc: Orthanc, serving: Serving, tmp_path: Path) -> None:
    orthanc_profile = Place(home, {}, strict=False)
    home.config.write_text(
        f'[profiles.pacs]\nurl = "{orthanc.url}"\ndialect = "orthanc"\n'
        f'[profiles.pacs.auth]\nkind = "basic"\nusername = "alice"\npassword_env = "PACS"\n'
        f'[profiles.served]\nurl = "{serving.url}"\n'
    )
    try:
        run = Place(home, {"PACS": "secret"}, strict=False)
        orthanc_profile("-p", "served", "search", "--count")
        run("-p", "pacs", "store", files)
        new = Inside(tmp_path / "fresh")
        new.config.write_text(home.config.read_text())
        fresh = Place(new, {"PACS": "secret"}, strict=False)
        fresh("-p", "pacs", "copy", "study", STUDY, "--to", "local")
        assert fresh("-p", "local", "search", "--patient", "Synth*", "-f", "uids") == [STUDY]
        orthanc.wipe()
        fresh("-p", "local", "copy", "study", STUDY, "--to", "pacs")
        assert orthanc.count() == 4
    finally:
        home.config.unlink()
