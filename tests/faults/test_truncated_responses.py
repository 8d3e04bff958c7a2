"""Responses that a proxy ends in good order though the server behind it was cut off: real nginx before real Orthanc.

dw -> nginx -> a proxy that cuts the connection -> Orthanc. nginx completes what it got: last chunk, no error.
"""

import hashlib
import os
import random
import signal
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from servers import wire
from servers.dw import Dw
from servers.fake import Fake
from servers.faults import Chooser, Cut, Faults, Pass, Rule, Seen, first
from servers.nginx import Nginx
from servers.orthanc import Orthanc
from servers.scripted import Instance, Scripted, study

STUDY = "2.25.7"
INSTANCE = f"{STUDY}/{STUDY}.1/{STUDY}.1.1"
SECRET = {"SECRET": "secret"}
PATH = f"/studies/{STUDY}/series/{STUDY}.1/instances/{STUDY}.1.1"


@dataclass(frozen=True)
class Chain:
    """dw -> nginx -> `cutter` -> Orthanc, which holds `instances`."""

    orthanc: Orthanc
    cutter: Faults
    nginx: Nginx
    instances: list[Instance]

    def profile(self, name: str) -> str:
        return (
            f'[profiles.{name}]\nurl = "{self.nginx.url}"\ndialect = "orthanc"\n'
            f'[profiles.{name}.auth]\nkind = "basic"\nusername = "alice"\npassword_env = "SECRET"\n'
        )


@pytest.fixture
def chain(orthanc: Orthanc, faults: Callable[..., Faults], run_dw: Dw, tmp_path: Path) -> Iterator[Chain]:
    instances = study(1, 3, side=96)
    assert wire.stow(orthanc.url, [one.data for one in instances], headers=orthanc.headers).status == 200
    cutter = faults(orthanc.url)
    with Nginx(tmp_path / "nginx", cutter.url) as nginx:
        chain = Chain(orthanc, cutter, nginx, instances)
        run_dw.config.write_text(f'default = "pacs"\n{chain.profile("pacs")}')
        yield chain


def contents(folder: Path) -> dict[str, str]:
    """What lies below a folder, hidden files too: name -> sha256; of a zip each member."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                found |= {f"{name}/{one}": hashlib.sha256(archive.read(one)).hexdigest() for one in archive.namelist()}
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


COMMANDS: Mapping[str, list[str]] = {
    "study": ["retrieve", "study", STUDY, "-o", "."],
    "study in one response": ["retrieve", "study", STUDY, "-o", ".", "-j", "1"],
    "instance": ["retrieve", "instance", INSTANCE, "-o", "."],
    "wado-uri": ["retrieve", "instance", INSTANCE, "--wado-uri", "-o", "."],
    "frames": ["retrieve", "frames", INSTANCE, "1", "-o", "."],
    "bulk data": ["retrieve", "bulkdata", INSTANCE, "7FE00010", "-o", "pixels.bin"],
    "zip": ["retrieve", "study", STUDY, "--zip", "study.zip"],
    "rendered": ["render", INSTANCE, "-o", "image.png"],
    "request": ["request", "GET", f"{PATH}/rendered", "-o", "body", "-H", "Accept: image/png"],
    "metadata with bulk data": ["metadata", INSTANCE, "--bulkdata", "bulk"],
}  # fmt: skip


def pixels(seen: Seen) -> bool:
    """Whether a request fetches pixels, and is no listing."""
    path = seen.target.partition("?")[0]
    return not path.endswith(("/instances", "/series", "/studies", "/metadata"))


def fetches(rule: Rule, times: int) -> Chooser:
    """The rule for the first so many of these requests."""
    turns = first(times, rule)
    return lambda seen: turns(seen) if pixels(seen) else Pass()


def body_length(chain: Chain, run_dw: Dw, command: list[str], folder: Path) -> tuple[int, dict[str, str]]:
    """How long the largest response to this command is, and what the command leaves where nothing is cut."""
    folder.mkdir()
    run = run_dw(*command, env=SECRET, cwd=folder)
    assert run.code == 0, run.err
    whole = contents(folder)
    assert whole
    return sum(len(one.data) for one in chain.instances) if "study" in command else len(chain.instances[0].data), whole


def cut_everywhere(chain: Chain, run_dw: Dw, name: str, tmp_path: Path, offsets: int) -> None:
    command = COMMANDS[name]
    length, whole = body_length(chain, run_dw, command, tmp_path / "whole")
    for turn in range(offsets):
        after = 1 + (length + 1500) * turn // offsets
        for times in (1, 10**9):
            folder = tmp_path / f"{turn}-{times}"
            folder.mkdir()
            chain.cutter.rule = fetches(Cut(after), times)
            run = run_dw(*command, env=SECRET, cwd=folder)
            left = contents(folder)
            # Whole files under right names, whatever the exit code says; nothing hidden stays.
            assert left.items() <= whole.items(), (after, run.err)
            assert run.code in (0, 1, 3, 75), (after, run.err)
            assert (run.code == 0) == (left == whole), (after, run.code, run.err)
            if times == 1:
                assert run.code == 0, (after, run.err)  # what ended early is fetched again by itself
            chain.cutter.rule = Pass()
            run = run_dw(*command, env=SECRET, cwd=folder)
            assert (run.code, contents(folder)) == (0, whole), (after, run.err)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_response_that_a_proxy_completed_is_never_taken_for_whole(
    chain: Chain, run_dw: Dw, name: str, tmp_path: Path
) -> None:
    cut_everywhere(chain, run_dw, name, tmp_path, 3)


@pytest.mark.interop
@pytest.mark.parametrize("name", COMMANDS)
def test_a_response_that_a_proxy_completed_is_never_taken_for_whole_at_many_offsets(
    chain: Chain, run_dw: Dw, name: str, tmp_path: Path
) -> None:
    cut_everywhere(chain, run_dw, name, tmp_path, 20)


@pytest.mark.parametrize("shares", [3, pytest.param(20, marks=pytest.mark.interop)])
def test_a_copy_sends_on_nothing_that_a_proxy_completed(
    chain: Chain, run_dw: Dw, fake_server: Callable[..., Fake], shares: int
) -> None:
    whole = {one.uid: one.data for one in chain.instances}
    for turn, (share, times) in enumerate([(step / shares, times) for step in range(shares) for times in (1, 10**9)]):
        target = Scripted()
        url = fake_server(target).url
        run_dw.config.write_text(f'{chain.profile("source")}[profiles.target]\nurl = "{url}"\n')
        chain.cutter.rule = fetches(Cut(int(3 * len(chain.instances[0].data) * share)), times)
        run = run_dw("copy", STUDY, "-p", "source", "--to", "target", env=SECRET)
        assert {one.uid: one.data for one in target.stored}.items() <= whole.items(), turn
        assert (run.code == 0) == (len(target.stored) == len(whole)), (turn, run.err)
        assert times > 1 or run.code == 0


@pytest.mark.interop
def test_orthanc_killed_under_a_retrieve(tmp_path: Path, dw_process: Dw) -> None:
    instances = study(2, 12, side=1024)
    with (
        Orthanc(tmp_path / "orthanc") as server,
        Nginx(tmp_path / "nginx", server.url, location="proxy_buffering off; limit_rate 16m;") as nginx,
    ):
        assert wire.stow(server.url, [one.data for one in instances], headers=server.headers).status == 200
        environment = {**server.environment, "DW_URL": nginx.url}
        whole = {f"{one.study}/{one.series}/{one.uid}.dcm": hashlib.sha256(one.data).hexdigest() for one in instances}
        chance = random.Random(11)
        run = dw_process("retrieve", "study", STUDY, "-o", tmp_path / "undisturbed", env=environment)
        assert run.code == 0
        requests = len(nginx.access_log.splitlines())
        met = 0
        for turn in range(20):
            folder = tmp_path / str(turn)
            line = ("retrieve", "study", STUDY, "-o", folder, "--timeout", "5")
            before = len(nginx.access_log.splitlines())
            process = dw_process.start(*line, env=environment)
            time.sleep(chance.uniform(0.2, 0.6))
            os.kill(server.pid, signal.SIGKILL)
            time.sleep(1)
            server.restart()
            _, err = process.communicate(timeout=60)
            met += len(nginx.access_log.splitlines()) - before > requests
            left = contents(folder)
            assert left.items() <= whole.items(), err
            assert process.returncode != 0 or left == whole, err
            run = dw_process(*line, env=environment)
            assert (run.code, contents(folder)) == (0, whole), run.err
        assert met >= 3  # asked for more: otherwise the kills came too late to show anything
