"""The table of commands that Orthanc has to pass, asked of the profile `local` and of `dw serve`.

The same checks, but where the archive is stricter or honestly less able: those rows are in DIFFERENT.
"""

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_matrix import CINE, HEAD_FILES, MATRIX, WORDS, Check, Ran, Row, Site, _new, picture, refuses

from servers import images
from servers.inside import Inside
from servers.serving import Serving

# Orthanc ignores a frame that is not there, converts where the archive doesn't, and renders one slice of a study.
DIFFERENT: dict[str, Check | None] = {
    "profile add other {url} --dialect {dialect} --user alice": None,
    "profile test pacs": None,
    "retrieve instance {I} -o {out} --wado-uri": refuses(2, "names no WADO-URI address"),
    "retrieve instance {I} -o {out} --transfer-syntax jpeg-lossless": refuses(1, "refused (406)"),
    "retrieve instance {I} -o {out} --transfer-syntax jpeg2000-lossless": refuses(1, "refused (406)"),
    "retrieve frames {I} 2 -o {out}": refuses(5, "(404)", "has 1 frames"),
    "render study {S} -o {out}/study.jpg": refuses(1, "does not render a study", "render an instance"),
}


@pytest.fixture(scope="module")
def sources(cranium: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A folder with what Orthanc's table is asked about, and the same by SOP Instance UID."""
    files = {f"2.25.108001{index + 1:03}": cranium[index].read_bytes() for index in HEAD_FILES}
    files[CINE[2]] = images.instance(*CINE, frames=6)
    folder = tmp_path_factory.mktemp("sources")
    for number, data in enumerate(files.values()):
        (folder / f"{number}.dcm").write_bytes(data)
    return folder, files


@pytest.fixture(scope="module", params=["local", "serve"])
def site(
    request: pytest.FixtureRequest, sources: tuple[Path, dict[str, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder, files = sources
    home = tmp_path_factory.mktemp("home")
    (home / "known").symlink_to(folder)
    dw = Inside(home)
    with Serving(tmp_path_factory.mktemp("matrix"), "-q") as serving:
        if request.param == "local":
            dw.environment["DW_PROFILE"] = "local"
        else:
            assert dw("profile", "add", "pacs", serving.url).code == 0
        run = dw("store", folder)
        assert run.code == 0, run.err
        yield Site(serving, dw, files)  # type: ignore[arg-type]


@pytest.mark.parametrize("row", MATRIX, ids=[row.line for row in MATRIX])
def test_a_cell_of_orthancs_column(row: Row, site: Site, tmp_path: Path) -> None:
    check = DIFFERENT.get(row.line, row.orthanc)
    if check is None:
        pytest.skip("about a server's profile")
    out = tmp_path / "out"
    out.mkdir()
    named = {**WORDS, "out": str(out), "known": str(site.dw.home / "known"), "new": ""}
    if "{new}" in row.line:
        named["new"] = str(_new(tmp_path))
    words = [word.format(**named) for word in shlex.split(row.line)]
    stdin = row.stdin.format(**WORDS) if row.stdin else None
    check(Ran(site, site.dw(*words, stdin=stdin), out))


def test_a_picture_of_the_head_is_the_same_by_either(site: Site, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    run = site.dw("render", WORDS["I"], "-o", out / "slice.png", "--window", "40,400")
    picture("slice.png", "PNG", (256, 256), "by the server")(Ran(site, run, out))
    site.dw("render", WORDS["I"], "-o", out / "here.png", "--window", "40,400", "--local")
    assert (out / "slice.png").read_bytes() == (out / "here.png").read_bytes()
