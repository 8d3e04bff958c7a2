"""A single file appears whole or not at all, and what killed runs left beside it goes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dwcli.files import atomic
from dwcli.files.atomic import WholeFile


@pytest.fixture(autouse=True)
def _another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "_cleared", set())


def _parts(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.endswith(".part")]


_HANG = """
import sys, time
from pathlib import Path
from dwcli.files.atomic import WholeFile
with WholeFile(Path(sys.argv[1]) / "a.bin") as file:
    file.write(b"x" * 3_000_000)
    print("ready", flush=True)
    time.sleep(60)
"""


def test_the_part_of_a_killed_run_is_cleared_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", _HANG, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline() == b"ready\n"
    with WholeFile(tmp_path / "b.bin") as file:
        file.write(b"1")
    assert len(_parts(tmp_path)) == 1
    process.send_signal(signal.SIGKILL)
    process.communicate()
    atomic._cleared.clear()
    with WholeFile(tmp_path / "c.bin") as file:
        file.write(b"2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.bin", "c.bin"]


def test_parts_of_others_names_links_and_folders_stay(tmp_path: Path) -> None:
    (tmp_path / "mine.part").touch()
    (tmp_path / ".dw-folder.part").mkdir()
    (tmp_path / "target").write_text("kept")
    (tmp_path / ".dw-link.part").symlink_to("target")
    os.mkfifo(tmp_path / ".dw-fifo.part")
    with WholeFile(tmp_path / "a.bin") as file:
        file.write(b"1")
    names = {path.name for path in tmp_path.iterdir()}
    assert {"mine.part", ".dw-folder.part", ".dw-link.part", "target", "a.bin"} <= names


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
def test_nothing_is_left_of_a_file_that_failed(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "a.bin").write_bytes(b"before")
    with pytest.raises(error), WholeFile(tmp_path / "a.bin") as file:
        file.write(b"half")
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"before"
