"""Retrieving from a real server over broken connections: no half file, and never exit 0 for an incomplete answer."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from servers import images, wire
from servers.dw import Dw
from servers.faults import Cut, Faults, Hang, Pass, Rate, Rule, Seen
from servers.inside import Inside
from servers.machine import Clock, within
from servers.orthanc import Orthanc

STUDY, SERIES = "2.25.51", "2.25.52"
UIDS = [f"2.25.53.{number}" for number in range(6)]
REF = f"{STUDY}/{SERIES}"
FILES = {uid: images.instance(STUDY, SERIES, uid, number=n, side=128, frames=4) for n, uid in enumerate(UIDS)}
LENGTH = len(FILES[UIDS[0]])


@pytest.fixture
def dw(tmp_path: Path) -> Inside:
    return Inside(tmp_path / "home")


@pytest.fixture
def behind(orthanc: Orthanc, faults: Callable[..., Faults], dw: Inside) -> Callable[..., Faults]:
    """`behind(rule)`: Orthanc with a study of six instances, and `dw` pointed at a proxy before it."""
    assert wire.stow(orthanc.url, FILES.values(), headers=orthanc.headers).status == 200

    def make(rule: Rule | Callable[[Seen], Rule]) -> Faults:
        proxy = faults(orthanc.url, rule)
        dw.environment |= {**orthanc.environment, "DW_URL": proxy.url}
        return proxy

    return make


def _pixels(rule: Rule, *, times: int = 1000) -> Callable[[Seen], Rule]:
    """The rule for so many answers that hold instances; searches pass."""
    left = [rule] * times
    return lambda seen: (
        left.pop() if left and not seen.target.split("?")[0].endswith(("series", "instances")) else Pass()
    )


def _whole(out: Path) -> set[str]:
    """The instances in a folder: each file there is one, whole; nothing else is left."""
    found = {path.stem: path for path in out.rglob("*") if path.is_file()}
    for uid, path in found.items():
        assert path.suffix == ".dcm"
        assert path.read_bytes() == FILES[uid], path
    return set(found)


@pytest.mark.parametrize("jobs", [1, 4])
@pytest.mark.parametrize("after", [10, LENGTH // 2, 3 * LENGTH + LENGTH // 2, 6 * LENGTH + 500])
def test_an_answer_cut_once_is_mended_in_the_same_run(
    after: int, jobs: int, behind: Callable[..., Faults], dw: Inside, tmp_path: Path
) -> None:
    """Orthanc sends no length, so each of these cuts looks like an orderly end."""
    proxy = behind(_pixels(Cut(after), times=1))
    run = dw("retrieve", "study", STUDY, "-o", tmp_path / "out", "-j", str(jobs))
    assert run.code == 0, (run.out, run.err)
    assert _whole(tmp_path / "out") == set(UIDS)
    whole = [seen for seen in proxy.seen if seen.target.endswith((STUDY, SERIES))]
    assert len(whole) == 1, "what came whole is not fetched again"


@pytest.mark.parametrize("reset", [False, True])
def test_answers_that_are_always_cut_leave_no_half_file(
    reset: bool, behind: Callable[..., Faults], dw: Inside, tmp_path: Path
) -> None:
    behind(_pixels(Cut(LENGTH // 2, reset=reset)))
    run = dw("retrieve", "study", STUDY, "-o", tmp_path / "out")
    assert run.code == 1, (run.out, run.err)
    assert _whole(tmp_path / "out") == set()
    assert "0 retrieved" in run.err and "6 failed" in run.err


def test_what_came_before_the_cut_counts_and_the_next_run_brings_the_rest(
    behind: Callable[..., Faults], dw: Inside, tmp_path: Path
) -> None:
    def rule(seen: Seen) -> Rule:
        if seen.target.endswith(f"/{SERIES}"):
            return Cut(2 * LENGTH + LENGTH // 2)
        return Cut(100) if "/instances/" in seen.target else Pass()

    proxy = behind(rule)
    run = dw("retrieve", "study", STUDY, "-o", tmp_path / "out")
    assert run.code == 3, (run.out, run.err)
    there = _whole(tmp_path / "out")
    assert len(there) == 2
    proxy.rule, proxy.seen = Pass(), []
    run = dw("retrieve", "study", STUDY, "-o", tmp_path / "out")
    assert run.code == 0
    assert "4 retrieved" in run.err and "2 already there" in run.err
    assert _whole(tmp_path / "out") == set(UIDS)
    fetched = {seen.target.rpartition("/")[2] for seen in proxy.seen if "/instances/" in seen.target}
    assert fetched == set(UIDS) - there


@pytest.mark.parametrize(
    "line",
    [
        f"retrieve instance {REF}/{UIDS[0]} -o OUT",
        f"retrieve instance {REF}/{UIDS[0]} -o OUT --wado-uri",
        f"retrieve frames {REF}/{UIDS[0]} 1-4 -o OUT",
        f"retrieve bulkdata {REF}/{UIDS[0]} 7FE00010 -o OUT/pixels.bin",
        f"render {REF}/{UIDS[0]} -o OUT/slice.png",
        f"request GET /studies/{REF.replace('/', '/series/')}/instances/{UIDS[0]} -o OUT/answer",
    ],
)
def test_one_answer_that_is_cut_writes_nothing_of_its_end(
    line: str, behind: Callable[..., Faults], dw: Inside, tmp_path: Path
) -> None:
    proxy = behind(lambda seen: Pass() if seen.target.endswith("metadata") else Cut(3000))
    dw("profile", "add", "it", proxy.url, "--dialect", "orthanc", "--user", "alice", "--password-env", "DW_PASSWORD")
    del dw.environment["DW_URL"], dw.environment["DW_USER"]
    out = tmp_path / "out"
    out.mkdir()
    run = dw(*line.replace("OUT", str(out)).split())
    assert run.code == 1, (run.out, run.err)
    assert not [path for path in out.rglob("*") if path.is_file()]


def test_a_server_that_falls_silent_is_given_up_on(behind: Callable[..., Faults], dw: Inside, tmp_path: Path) -> None:
    behind(_pixels(Hang(LENGTH + LENGTH // 2)))
    run = dw("retrieve", "study", STUDY, "-o", tmp_path / "out", "--timeout", "1.5", "-j", "1")
    assert run.code in (3, 75), (run.out, run.err)
    assert len(_whole(tmp_path / "out")) == 1
    assert run.seconds < within(8)


@pytest.mark.parametrize(
    "line",
    [
        f"retrieve study {STUDY} -o FILE",
        f"retrieve study {STUDY} -o FILE/below",
        f"retrieve frames {REF}/{UIDS[0]} 1 -o FILE",
        f"retrieve frames {REF}/{UIDS[0]} 1 -o FILE/below",
        f"retrieve bulkdata {REF}/{UIDS[0]} 7FE00010 -o FILE/below",
        f"render {REF}/{UIDS[0]} -o FILE/below.png",
        "request GET /studies -o FILE/below",
        f"retrieve study {STUDY} -o OUT --report FILE/below",
    ],
)
def test_a_file_where_a_folder_should_be_is_named(
    line: str, behind: Callable[..., Faults], dw: Inside, tmp_path: Path
) -> None:
    behind(Pass())
    file = tmp_path / "file"
    file.write_text("mine")
    run = dw(*line.replace("FILE", str(file)).replace("OUT", str(tmp_path / "out")).split())
    assert run.code in (1, 2), (run.out, run.err)
    assert str(file) in run.err
    assert file.read_text() == "mine"


def test_an_interrupt_ends_a_slow_transfer_at_once(
    behind: Callable[..., Faults], run_dw: Dw, dw: Inside, tmp_path: Path
) -> None:
    proxy = behind(_pixels(Rate(LENGTH / 30)))  # half a minute for the first file
    out = tmp_path / "out"
    process = run_dw.start("retrieve", "study", STUDY, "-o", out, "-j", "1", env=dw.environment)
    deadline = time.monotonic() + 40
    while not [seen for seen in proxy.seen if seen.target.endswith((STUDY, SERIES))]:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    time.sleep(0.2)
    clock = Clock()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=40)
    soon = clock.within(2)
    assert process.returncode == 130, err
    assert soon, clock
    assert b"Traceback" not in err
    assert _whole(out) == set()
