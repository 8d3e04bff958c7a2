"""A study whose UIDs want to be paths: listed, retrieved, checked and rendered, and never outside the folder."""

from collections.abc import Callable
from pathlib import Path

import pytest

from servers import images, wire
from servers.dw import Dw
from servers.inside import Inside
from servers.orthanc import Orthanc

Uids = pytest.mark.parametrize("uid", ["../../x", "4300", "a/b", "%2e%2e", ".."])


@pytest.fixture
def run_dw(tmp_path: Path) -> Dw:
    return Inside(tmp_path / "home")


@pytest.fixture
def walk(run_dw: Dw, tmp_path: Path) -> Callable[..., Path]:
    """`walk(uid, profile, env)`: store it there, and do with it what users do; the folder that it was retrieved to."""

    def go(uid: str, profile: str, env: dict[str, str], *, pictures: bool = True) -> Path:
        out = tmp_path / "deep" / "out"
        file = tmp_path / "one.dcm"
        file.write_bytes(images.instance(uid, f"{uid}.1", f"{uid}.1.1"))

        def dw(*words: str | Path) -> list[str]:
            run = run_dw("-p", profile, *words, env=env)
            assert run.code == 0, run.err + run.out
            assert "Warning" not in run.err
            return run.lines

        dw("store", file)
        (word,) = dw("search", "-f", "uids")
        (series,) = dw("search", "series", "--study", word, "-f", "uids")
        (instance,) = dw("search", "instances", "--study", word, "--series", series, "-f", "uids")
        dw("retrieve", "study", word, "-o", out)
        assert "already there" in run_dw("-p", profile, "retrieve", "study", word, "-o", out, env=env).err
        dw("check", word, out)
        if pictures:
            dw("render", f"{word}/{series}/{instance}", "-o", tmp_path / "one.png")
        kept = [path for path in tmp_path.rglob("*.dcm") if path != file and "archive" not in path.parts]
        assert [path.read_bytes() for path in kept] == [file.read_bytes()]
        assert kept[0].resolve().is_relative_to(out)
        return out

    return go


@Uids
def test_on_orthanc_which_decodes_paths_before_it_looks(
    uid: str, walk: Callable[..., Path], orthanc: Orthanc, run_dw: Dw
) -> None:
    run_dw("profile", "add", "o", orthanc.url, "--dialect", "orthanc", "--user", "alice", "--password-env", "PW")
    walk(uid, "o", {"PW": "secret"}, pictures=uid != "..")


@pytest.mark.parametrize("uid", ["../../x", "4300", "a/b", "%2e%2e"])
def test_in_the_archive(uid: str, walk: Callable[..., Path], tmp_path: Path, run_dw: Dw) -> None:
    env = {"XDG_DATA_HOME": str(tmp_path / "data")}
    walk(uid, "local", env)
    (word,) = run_dw("-p", "local", "search", "-f", "uids", env=env).lines
    run = run_dw("-p", "local", "metadata", word, "-f", "jsonl", env=env)
    assert (run.code, len(run.lines), run.err) == (0, 1, "")


def test_a_uid_that_no_url_can_name_spoils_nothing_else_in_the_archive(tmp_path: Path, run_dw: Dw) -> None:
    env = {"XDG_DATA_HOME": str(tmp_path / "data")}
    for number, uid in enumerate(["..", "1.2"]):
        file = tmp_path / f"{number}.dcm"
        file.write_bytes(images.instance(uid, f"{uid}.1", f"{uid}.1.1"))
        run = run_dw("-p", "local", "store", file, env=env)
        assert run.code == 0, run.err + run.out
    run = run_dw("-p", "local", "search", "-f", "uids", env=env)
    assert (run.code, sorted(run.lines)) == (0, ["..", "1.2"]), run.err
    run = run_dw("-p", "local", "retrieve", "..", "-o", tmp_path / "out", env=env)
    assert (run.code, list((tmp_path / "out").rglob("*.dcm"))) == (2, [])
    assert "cannot be requested" in run.out


def test_orthanc_says_truly_what_it_cannot_show_and_shows_the_rest(orthanc: Orthanc, run_dw: Dw) -> None:
    odd = ["1.2/3", "x?y=1#f"]
    files = [images.instance(uid, f"{uid}.1", f"{uid}.1.1") for uid in [*odd, "1.2"]]
    assert wire.stow(orthanc.url, files, headers=orthanc.headers).status == 200
    run = run_dw("metadata", "1.2%2F3", env=orthanc.environment)
    assert (run.code, run.out) == (1, ""), run.err
    assert "error: 1.2%2F3: it exists" in run.err
    assert "dw retrieve study 1.2%2F3 -o DIR" in run.err
    run = run_dw("metadata", "9.9%2F9", env=orthanc.environment)
    assert run.code == 5, run.err
    for command in (["metadata"], ["retrieve", "-o", "out"]):
        run = run_dw(*command, "x%3Fy=1%23f", env=orthanc.environment)
        assert run.code == 1, run.err
        assert "it may exist" in run.out + run.err
        assert "x?y=1" in run.out + run.err
    words = "\n".join(run_dw("search", "-f", "uids", env=orthanc.environment).lines)
    run = run_dw("metadata", "-", "-f", "jsonl", stdin=words, env=orthanc.environment)
    assert run.code == 3, run.err
    assert len(run.lines) == 1 and '"1.2.1.1"' in run.out
    assert run.err.count("error: ") == 2
