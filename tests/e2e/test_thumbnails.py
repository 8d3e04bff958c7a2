"""Thumbnails: the server's own, or a small picture rendered by it, or here."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from servers import images, wire
from servers.dw import Dw
from servers.fake import Answer, Fake, Request
from servers.orthanc import Orthanc
from servers.tiny_pacs import TinyPacs

FILES = [images.instance(sop=f"2.25.3{n}", number=n, side=256) for n in (1, 2, 3)]


def size(path: Path) -> tuple[int, int]:
    return Image.open(BytesIO(path.read_bytes())).size


@pytest.mark.parametrize("ref", ["2.25.1", "2.25.1/2.25.2", "2.25.1/2.25.2/2.25.31"])
def test_a_server_without_thumbnails_renders_a_small_picture(
    ref: str, orthanc: Orthanc, run_dw: Dw, tmp_path: Path
) -> None:
    wire.stow(orthanc.url, FILES, headers=orthanc.headers)
    run = run_dw("render", ref, "--thumbnail", "-o", tmp_path / "t.jpg", env=orthanc.environment)
    assert (run.code, size(tmp_path / "t.jpg")) == (0, (128, 128)), run.err
    assert "by the server" in run.err


def test_a_server_that_renders_nothing_leaves_it_to_us(tiny_pacs: TinyPacs, run_dw: Dw, tmp_path: Path) -> None:
    wire.stow(tiny_pacs.url, FILES, headers=tiny_pacs.headers)
    run = run_dw(
        "render", "2.25.1", "--thumbnail", "--viewport", "64,64", "-o", tmp_path / "t.png", env=tiny_pacs.environment
    )
    assert (run.code, size(tmp_path / "t.png")) == (0, (64, 64)), run.err
    assert "rendered locally" in run.err


def test_a_thumbnail_is_asked_for_by_its_own_resource(
    fake_server: Callable[..., Fake], run_dw: Dw, tmp_path: Path
) -> None:
    def handler(request: Request) -> Answer:
        if request.target.startswith("/studies/1/thumbnail"):
            return Answer(302, {"Location": "/cache/7.jpg"})
        return Answer(200, {"Content-Type": "image/jpeg"}, b"\xff\xd8\xffsmall")

    server = fake_server(handler)
    words = ("render", "1", "--url", server.url, "--thumbnail", "--viewport", "50,50", "-o", tmp_path / "t.jpg")
    run = run_dw(*words)
    assert (run.code, (tmp_path / "t.jpg").read_bytes()) == (0, b"\xff\xd8\xffsmall"), run.err
    assert [request.target for request in server.requests] == ["/studies/1/thumbnail?viewport=50,50", "/cache/7.jpg"]


def test_a_thumbnail_takes_a_viewport_only(run_dw: Dw) -> None:
    assert (
        run_dw("render", "1", "--url", "http://127.0.0.1:9", "--thumbnail", "--window", "1,2", "-o", "x.png").code == 2
    )
