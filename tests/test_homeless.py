"""`dw` where the user has no home folder, as in a container with a uid that no passwd entry names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from servers import images
from servers.dw import Dw

# What such a container gives: expanduser finds no home, neither in HOME nor in the password database.
_RUN = """
import os, pwd, sys
def nobody(_uid):
    raise KeyError("uid not found")
pwd.getpwuid = nobody
os.environ.pop("HOME", None)
sys.argv[0] = "dw"
from dwcli.__main__ import run
run()
"""


def _dw(folder: Path, *line: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", _RUN, *map(str, line)],
        cwd=folder, env={**kept, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture
def images_in(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.dcm").write_bytes(images.instance("1.2.1"))
    return folder


def test_what_needs_no_home_works_without_one(tmp_path: Path, images_in: Path) -> None:
    here = tmp_path / "here"
    assert _dw(here, "--help").returncode == 0
    assert _dw(here, "profile", "list").returncode == 0
    run = _dw(here, "search", "studies")
    assert (run.returncode, "no server chosen" in run.stderr) == (2, True)
    run = _dw(here, "--url", "http://127.0.0.1:9", "--timeout", "2", "search", "studies")
    assert (run.returncode, "Traceback" in run.stderr) == (75, False), run.stderr
    assert list(here.iterdir()) == [], "nothing goes to a folder called ~"


@pytest.mark.parametrize(
    "line, name",
    [
        (("profile", "add", "a", "http://127.0.0.1:9/x"), "DW_CONFIG"),
        (("-p", "local", "search", "studies"), "XDG_DATA_HOME"),
        (("-p", "demo", "search", "studies"), "XDG_CACHE_HOME"),
        (("--url", "../in", "search", "studies"), "XDG_CACHE_HOME"),
        (("serve",), "XDG_DATA_HOME"),
    ],
)
def test_what_needs_a_home_says_what_to_set(tmp_path: Path, images_in: Path, line: tuple[str, ...], name: str) -> None:
    run = _dw(tmp_path / "here", *line)
    assert run.returncode == 2, run.stderr
    assert f"set HOME or {name}" in run.stderr
    assert "Traceback" not in run.stderr
    assert list((tmp_path / "here").iterdir()) == []


def test_the_variables_stand_in_for_a_home(tmp_path: Path, images_in: Path) -> None:
    named = {f"XDG_{word}_HOME": str(tmp_path / word) for word in ("CONFIG", "DATA", "CACHE", "STATE")}
    here = tmp_path / "here"
    assert _dw(here, "profile", "add", "a", "http://127.0.0.1:9/x", **named).returncode == 0
    assert "http://127.0.0.1:9/x" in _dw(here, "profile", "list", **named).stdout
    assert _dw(here, "-p", "local", "store", images_in, **named).returncode == 0
    assert _dw(here, "--url", images_in, "search", "studies", "--count", **named).stdout == "1\n"
    config = {"DW_CONFIG": str(tmp_path / "c.toml")}
    assert _dw(here, "profile", "add", "b", "http://127.0.0.1:9/y", **config).returncode == 0
    assert (tmp_path / "c.toml").exists()


def test_a_home_that_does_not_exist_is_no_traceback(dw_process: Dw, tmp_path: Path, images_in: Path) -> None:
    gone = {"HOME": "/proc/gone", "DW_CONFIG": ""} | {f"XDG_{w}_HOME": "" for w in ("CONFIG", "DATA", "CACHE", "STATE")}
    assert dw_process("profile", "list", env=gone).code == 0
    for line in (("--url", images_in, "search", "studies"), ("profile", "add", "a", "http://127.0.0.1:9/x")):
        run = dw_process(*line, env=gone)
        assert run.code in (1, 2)
        assert "/proc/gone" in run.err
        assert "Traceback" not in run.err
