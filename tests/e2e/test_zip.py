"""`--zip`: one file with everything, or none."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from servers import images, wire
from servers.dw import Dw
from servers.fake import Answer, Fake, Request
from servers.orthanc import Orthanc
from servers.quirks import Quirky


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def test_the_real_ct_as_one_zip(orthanc: Orthanc, run_dw: Dw, cranium: list[Path], tmp_path: Path) -> None:
    wire.stow(orthanc.url, cranium, headers=orthanc.headers)
    run = run_dw("retrieve", "study", images.CRANIUM_STUDY, "--zip", tmp_path / "ct.zip", env=orthanc.environment)
    assert run.code == 0, run.err
    found = members(tmp_path / "ct.zip")
    assert sorted(found.values()) == sorted(path.read_bytes() for path in cranium)
    prefix = f"{images.CRANIUM_STUDY}/{images.CRANIUM_SERIES}/"
    assert all(name.startswith(prefix) for name in found)
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["ct.zip"]


class Zipping(Quirky):
    """Gives a study as a zip, whole or spoilt by `spoil`."""

    def __init__(self, spoil: Callable[[bytes], bytes]) -> None:
        super().__init__(2)
        self.spoil = spoil

    def whole(self, request: Request, study: str) -> Answer:
        if not str(request.header("Accept")).startswith("application/zip"):
            return super().whole(request, study)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for m in (1, 2):
                archive.writestr(f"DICOM/{m}", self.file(study, f"{study}.1.{m}"))
            archive.writestr("DICOMDIR", b"x")
        return Answer(200, {"Content-Type": "application/zip"}, self.spoil(packed.getvalue()), framing="close")


def without_one(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(packed, "w") as new:
        new.writestr("DICOM/1", old.read("DICOM/1"))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (lambda data: data, 0, ""),
        (lambda data: data[:-30], 1, "is incomplete"),
        (lambda data: data[:500] + b"?" + data[501:], 1, "damaged"),
        (without_one, 1, "contains 1 of 2"),
    ],
    ids=["whole", "cut", "flipped", "short"],
)
def test_the_servers_own_zip_is_checked_before_it_gets_its_name(
    spoil: Callable[[bytes], bytes], code: int, words: str, fake_server: Callable[..., Fake], run_dw: Dw, tmp_path: Path
) -> None:
    run_dw("profile", "add", "z", fake_server(Zipping(spoil)).url, "--dialect", "dcm4chee")
    run = run_dw("retrieve", "study", "1.1", "--zip", tmp_path / "s.zip")
    assert run.code == code, run.err
    assert words in run.err
    assert (tmp_path / "s.zip").exists() is (code == 0)


def test_what_does_not_come_leaves_no_zip(fake_server: Callable[..., Fake], run_dw: Dw, tmp_path: Path) -> None:
    class Short(Quirky):
        def whole(self, request: Request, study: str) -> Answer:
            return self.parts([self.file(study, f"{study}.1.1")])

        def instance(self, request: Request, study: str, instance: str) -> Answer:
            return Answer(404)

    server = fake_server(Short())
    run = run_dw("retrieve", "1.1", "--url", server.url, "--zip", tmp_path / "s.zip", "-f", "jsonl")
    assert run.code == 1, run.err
    assert [json.loads(line)["outcome"] for line in run.lines] == ["failed"]  # what came is nowhere
    assert "the zip was not written" in run.err
    assert "the same command" not in run.err
    assert not (tmp_path / "s.zip").exists()
    assert not list(tmp_path.glob(".dw-*"))


def test_a_study_that_is_not_there_is_not_tried_again(
    fake_server: Callable[..., Fake], run_dw: Dw, tmp_path: Path
) -> None:
    server = fake_server(Quirky())
    run = run_dw("retrieve", "1.99", "--url", server.url, "--zip", tmp_path / "s.zip")
    assert run.code == 5, run.err
    assert "the zip was not written" in run.err
    assert "same command" not in run.err


@pytest.mark.parametrize("name", ["-", "nowhere/s.zip", "."])
def test_a_zip_that_can_have_no_such_name_is_refused_first(
    name: str, fake_server: Callable[..., Fake], run_dw: Dw, tmp_path: Path
) -> None:
    server = fake_server(Quirky())
    run = run_dw("retrieve", "1.1", "--url", server.url, "--zip", name, cwd=tmp_path)
    assert run.code == 2, run.err
    assert name.partition("/")[0] in run.err
    assert server.requests == []
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_strangers_that_come_again_and_again_are_in_it_once(
    fake_server: Callable[..., Fake], run_dw: Dw, tmp_path: Path
) -> None:
    class Stranger(Quirky):
        def whole(self, request: Request, study: str) -> Answer:
            return self.parts([self.file(study, f"{study}.1.1"), self.file("3", "3.1.1")])

        def instance(self, request: Request, study: str, instance: str) -> Answer:
            return self.parts([self.file(study, instance), self.file("3", "3.1.1")])

    server = fake_server(Stranger())
    run = run_dw("retrieve", "1.1", "--url", server.url, "--zip", tmp_path / "s.zip", "-f", "jsonl")
    assert "UserWarning" not in run.err
    assert run.code == 0, run.err
    told = [(row["outcome"], row["instance"]) for row in map(json.loads, run.lines)]
    assert told.count(("unexpected", "3.1.1")) == 1
    assert len(members(tmp_path / "s.zip")) == 3
