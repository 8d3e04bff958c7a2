"""Ctrl-C and kill -9 at any moment of a transfer to and from the local archive."""

import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import images
from servers.dw import Dw

COUNT = 30
SIZE = COUNT * 40_000
STUDY = images.uid("big", SIZE, COUNT, 1)
KINDS = ("store", "copy", "retrieve", "zip")


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """A test run in the background ignores SIGINT, and so would its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Transfers:
    """Transfers of one study to and from an archive, each in an empty folder."""

    def __init__(self, dw: Dw, base: Path) -> None:
        self.dw, self.base, self.box = dw, base, base / "box"
        made = images.big_study(base / "in", SIZE, count=COUNT)
        self.truth = {hashlib.sha256(path.read_bytes()).hexdigest() for path in made}
        assert dw("-p", "local", "store", base / "in").code == 0
        (self.archive,) = base.rglob("dw/archive")

    def start(self, kind: str) -> subprocess.Popen[bytes]:
        shutil.rmtree(self.box, ignore_errors=True)
        self.box.mkdir()
        return self.again(kind)

    def again(self, kind: str) -> subprocess.Popen[bytes]:
        line: dict[str, tuple[str | Path, ...]] = {
            "store": ("-p", "local", "store", self.base / "in"),
            "copy": ("--url", self.base / "in", "copy", "study", STUDY, "--to", "local"),
            "retrieve": ("-p", "local", "retrieve", "study", STUDY, "-o", self.box / "out"),
            "zip": ("-p", "local", "retrieve", "study", STUDY, "--zip", self.box / "o.zip"),
        }
        env = {"XDG_DATA_HOME": str(self.box / "data")} if kind in ("store", "copy") else {}
        return self.dw.start(*line[kind], env=env)

    def left(self) -> list[Path]:
        """What a run left that is not a result."""
        own = [*self.box.rglob(".dw-*"), *self.archive.glob(".dw-*")]
        return [path for path in own if not path.name.startswith(".dw-archive") and path.name != ".dw-index.jsonl"]

    def look(self) -> None:
        """No file is half."""
        for path in self.box.rglob("*.dcm"):
            if not any(part.startswith(".dw-") for part in path.parts):
                assert hashlib.sha256(path.read_bytes()).hexdigest() in self.truth
        if (self.box / "o.zip").exists():
            with zipfile.ZipFile(self.box / "o.zip") as archive:
                assert len(archive.namelist()) == COUNT


@pytest.fixture
def transfers(dw_process: Dw, tmp_path: Path) -> Transfers:
    return Transfers(dw_process, tmp_path)


def _interrupt(transfers: Transfers, rounds: int) -> int:
    """Interrupt each kind of transfer so often; how many were not over before."""
    stopped = 0
    for kind in KINDS:
        began = time.monotonic()
        assert transfers.start(kind).communicate(timeout=60) and not transfers.left()
        lasts = time.monotonic() - began
        for _ in range(rounds):
            process = transfers.start(kind)
            time.sleep(random.uniform(min(0.3, 0.6 * lasts), lasts))
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
            assert process.returncode in (0, 130), (kind, process.returncode, err)
            assert b"Traceback" not in err and b"Fatal" not in err, err
            assert transfers.left() == [], kind
            transfers.look()
            stopped += process.returncode == 130
    return stopped


def test_transfers_with_the_archive_stop_without_a_trace(transfers: Transfers) -> None:
    assert _interrupt(transfers, 3) >= 4


@pytest.mark.interop
def test_two_hundred_interrupts_leave_no_trace(transfers: Transfers) -> None:
    assert _interrupt(transfers, 50) >= 150


@pytest.mark.parametrize("kind", ["zip", "retrieve", "store"])
def test_what_a_killed_transfer_left_is_cleared_by_the_next(transfers: Transfers, kind: str) -> None:
    for _ in range(3):
        process = transfers.start(kind)
        deadline = time.monotonic() + 30
        while not any(path.suffix == ".tmp" for path in transfers.left()) and process.poll() is None:
            assert time.monotonic() < deadline
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        transfers.look()
        if transfers.left():
            break
    assert transfers.left(), "no kill came in time"
    process = transfers.again(kind)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert transfers.left() == []
