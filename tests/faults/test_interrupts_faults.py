"""Ctrl-C, SIGTERM and kill -9 in the middle of a transfer, and the same command once more."""

import contextlib
import hashlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from servers import images, wire
from servers.certificates import Certificates
from servers.dw import Dw
from servers.fake import Answer, Fake, Request
from servers.faults import Answer as ProxyAnswer
from servers.faults import Faults, Hang, Pass, Rate, Rule, Seen
from servers.machine import Clock
from servers.orthanc import Orthanc
from servers.scripted import Instance, Scripted, is_retrieve, study

STUDY = "2.25.7"


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """A test run in the background ignores SIGINT, and so would its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def digests(folder: Path) -> dict[str, str]:
    """File name -> sha256, of everything in a folder."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def expected(instances: list[Instance]) -> dict[str, str]:
    return {f"{one.uid}.dcm": hashlib.sha256(one.data).hexdigest() for one in instances}


def stored(orthanc: Orthanc, instances: list[Instance]) -> list[Instance]:
    assert wire.stow(orthanc.url, [one.data for one in instances], headers=orthanc.headers).status == 200
    return instances


def until(condition: Callable[[], bool], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def end(process: subprocess.Popen[bytes], number: int) -> str:
    """Send a signal; what the process said on stderr, once it has ended as it should."""
    clock = Clock()
    process.send_signal(number)
    _, err = process.communicate(timeout=40)
    soon = clock.within(1.0)
    said = err.decode()
    assert process.returncode == 130, said
    assert soon, clock
    assert "Traceback" not in said, said
    assert "Fatal" not in said
    assert "interrupted" in said
    return said


def images_of(seen: Seen) -> bool:
    return bool(re.search(r"/(studies|series|instances)/[^/]+$", seen.target.partition("?")[0]))


both = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@both
@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(Rate(10_000), id="while-it-comes"),
        pytest.param(Hang(30_000), id="while-it-stalls"),
        pytest.param(Hang(0, of="whole"), id="before-the-first-byte"),
        pytest.param(ProxyAnswer(503, {"Retry-After": "30"}), id="in-a-pause"),
    ],
)
def test_a_retrieve_stops_within_a_second(
    orthanc: Orthanc, faults: Callable[..., Faults], run_dw: Dw, tmp_path: Path, rule: Rule, number: int
) -> None:
    sent = stored(orthanc, study(4, 3, side=100))
    proxy = faults(orthanc.url, lambda seen: rule if images_of(seen) else Pass())
    env = {**orthanc.environment, "DW_URL": proxy.url}
    line = ("retrieve", "study", STUDY, "-o", tmp_path / "out")
    process = run_dw.start(*line, env=env)
    until(lambda: sum(images_of(seen) for seen in proxy.seen) == 4)
    time.sleep(0.3)
    said = end(process, number)
    assert "run the same command again to retrieve what is missing" in said
    assert digests(tmp_path / "out").items() <= expected(sent).items()
    proxy.rule = Pass()
    assert run_dw(*line, env=env).code == 0
    assert digests(tmp_path / "out") == expected(sent)


@contextlib.contextmanager
def deaf() -> Iterator[int]:
    """A port that lets nobody connect: its queue is full, so that the kernel drops what comes."""
    with socket.socket() as listener, contextlib.ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(4):
            filler = waiting.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port


@both
def test_a_retrieve_stops_while_connecting(run_dw: Dw, tmp_path: Path, number: int) -> None:
    with deaf() as port:
        line: tuple[str | Path, ...] = ("retrieve", *[f"2.25.{n}" for n in range(8)], "-o", tmp_path / "out", "-j", "8")
        process = run_dw.start(*line, env={"DW_URL": f"http://127.0.0.1:{port}"})
        until(lambda: (tmp_path / "out").exists())
        time.sleep(0.4)
        end(process, number)
    assert digests(tmp_path / "out") == {}


@both
@pytest.mark.parametrize("handshake", [True, False], ids=["in-the-handshake", "in-the-body"])
def test_a_retrieve_stops_under_tls(
    run_dw: Dw,
    tmp_path: Path,
    certificates: Certificates,
    fake_server: Callable[..., Fake],
    number: int,
    handshake: bool,
) -> None:
    sent = study(1, 3, side=64)
    begun = threading.Event()

    def stall(request: Request, answer: Answer) -> Answer:
        if not is_retrieve(request):
            return answer
        assert isinstance(answer.body, bytes)
        begun.set()
        return Answer(200, answer.headers, [answer.body[:9000], 20.0], framing="close")

    run_dw.config.write_text(f'[profiles.a]\nurl = "%s"\n[profiles.a.tls]\nca = "{certificates.ca}"\n')
    with socket.create_server(("127.0.0.1", 0)) as mute, contextlib.ExitStack() as taken:
        server = fake_server(Scripted(sent, bend=stall), tls=certificates.server_context())
        url = f"https://127.0.0.1:{mute.getsockname()[1]}" if handshake else server.url
        run_dw.config.write_text(run_dw.config.read_text() % url)
        process = run_dw.start("-p", "a", "retrieve", "study", STUDY, "-o", tmp_path / "out")
        mute.settimeout(40)
        if handshake:
            taken.enter_context(mute.accept()[0])
        else:
            assert begun.wait(40)
        time.sleep(0.3)
        end(process, number)
    assert digests(tmp_path / "out").items() <= expected(sent).items()


@both
@pytest.mark.parametrize("reading", [True, False], ids=["while-it-goes", "while-the-reply-is-due"])
def test_a_store_stops_within_a_second(
    orthanc: Orthanc, faults: Callable[..., Faults], run_dw: Dw, tmp_path: Path, number: int, reading: bool
) -> None:
    sent = images.big_study(tmp_path / "in", 12_000_000, count=12)
    book = tmp_path / "night.jsonl"
    line = ("store", tmp_path / "in", "--journal", book, "--batch-size", "2M")
    gate = contextlib.ExitStack()
    if reading:
        # It takes the connection and the head, and then reads nothing.
        mute = gate.enter_context(socket.create_server(("127.0.0.1", 0)))
        mute.settimeout(40)
        mute.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
    else:
        proxy = faults(orthanc.url, lambda seen: Hang(0, of="whole") if seen.number > 1 else Pass())
        url = proxy.url
    with gate:
        process = run_dw.start(*line, env={**orthanc.environment, "DW_URL": url})
        if reading:
            gate.enter_context(mute.accept()[0])
        else:
            until(lambda: len(proxy.seen) >= 4)
            # What Orthanc has taken is written down when its reply comes.
            until(lambda: book.exists() and b'"stored"' in book.read_bytes())
        time.sleep(0.4)
        said = end(process, number)
    assert "run the same command again to send only the rest" in said
    if not reading:
        proxy.rule = Pass()
        run = run_dw(*line, env={**orthanc.environment, "DW_URL": url})
        assert run.code == 0, run.err
        assert run.out.count("\npresent") >= 1
        assert orthanc.count() == len(sent)


def test_a_store_without_a_journal_names_it(run_dw: Dw, tmp_path: Path) -> None:
    images.big_study(tmp_path / "in", 40_000, count=2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.settimeout(40)
        process = run_dw.start("store", tmp_path / "in", env={"DW_URL": f"http://127.0.0.1:{mute.getsockname()[1]}"})
        with mute.accept()[0]:
            assert "--journal FILE" in end(process, signal.SIGINT)


@both
def test_a_retrieve_stops_while_it_waits_for_references(
    orthanc: Orthanc, run_dw: Dw, tmp_path: Path, number: int
) -> None:
    process = run_dw.start("retrieve", "study", "-", "-o", tmp_path / "out", env=orthanc.environment)
    until(lambda: (tmp_path / "out").exists())
    time.sleep(0.3)
    clock = Clock()
    process.send_signal(number)
    assert process.wait(40) == 130
    assert clock.within(1.0), clock
    assert process.stderr is not None
    said = process.stderr.read().decode()
    for pipe in (process.stdin, process.stdout, process.stderr):
        assert pipe is not None
        pipe.close()
    assert "Fatal" not in said


def test_the_report_of_an_interrupted_run_says_130(
    orthanc: Orthanc, faults: Callable[..., Faults], run_dw: Dw, tmp_path: Path
) -> None:
    stored(orthanc, study(1, 3, side=64))
    proxy = faults(orthanc.url, lambda seen: Hang(17_000) if images_of(seen) else Pass())
    report = tmp_path / "run.jsonl"
    line = ("retrieve", "study", STUDY, "-o", tmp_path / "out", "--report", report)
    process = run_dw.start(*line, env={**orthanc.environment, "DW_URL": proxy.url})
    until(lambda: report.exists() and b"received" in report.read_bytes())
    end(process, signal.SIGTERM)
    *lines, summary = [json.loads(text) for text in report.read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["received"]
    assert (summary["exit"], summary["summary"]) == (130, {"received": 1})


# kill -9


def kill_and_go_on(
    start: Callable[[], subprocess.Popen[bytes]],
    delays: list[float],
    look: Callable[[], Any],
    begun: Callable[[], int] | None = None,
) -> int:
    """Kill a run after each delay and look at what it left; how many were killed before they ended.

    `begun` counts what a transfer does, where the delay is to count from its beginning.
    """
    killed = 0
    for delay in delays:
        before = begun() if begun else 0
        process = start()
        # Somebody has to read what it prints: a full pipe stops it before it comes to what is waited for.
        reading = threading.Thread(target=process.communicate, daemon=True)
        reading.start()
        while begun and begun() == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        reading.join()
        killed += process.returncode == -signal.SIGKILL
        look()
    return killed


def retrieve_killed(
    orthanc: Orthanc,
    url: str,
    run_dw: Dw,
    out: Path,
    study_uid: str,
    truth: dict[str, str],
    delays: list[float],
    begun: Callable[[], int] | None = None,
) -> int:
    line = ("retrieve", "study", study_uid, "-o", out)
    env = {**orthanc.environment, "DW_URL": url}
    before: dict[str, tuple[int, int]] = {}

    def look() -> None:
        """Nothing half under a final name, and nothing that was there is gone or was written again."""
        there = {path.name: path for path in out.rglob("*.dcm")}
        now = {name: (path.stat().st_ino, path.stat().st_mtime_ns) for name, path in there.items()}
        assert before.items() <= now.items()
        new = {name: there[name].read_bytes() for name in now.keys() - before.keys()}
        assert {name: hashlib.sha256(data).hexdigest() for name, data in new.items()}.items() <= truth.items()
        before.update(now)

    killed = kill_and_go_on(lambda: run_dw.start(*line, env=env), delays, look, begun)
    run = run_dw(*line, env=env, timeout=300)
    assert run.code == 0, run.err
    look()
    assert digests(out) == truth
    assert [path for path in out.iterdir() if path.name.startswith(".dw-")] == []
    return killed


def test_a_retrieve_killed_three_times_is_complete_in_the_end(
    orthanc: Orthanc, faults: Callable[..., Faults], run_dw: Dw, tmp_path: Path
) -> None:
    sent = stored(orthanc, study(3, 20, side=100))
    # A series takes two seconds.
    proxy = faults(orthanc.url, lambda seen: Rate(200_000) if images_of(seen) else Pass())
    delays = [0.4 * random.random() for _ in range(3)]

    def begun() -> int:
        return sum(images_of(seen) for seen in proxy.seen)

    killed = retrieve_killed(orthanc, proxy.url, run_dw, tmp_path / "out", STUDY, expected(sent), delays, begun)
    assert killed >= 1


def test_a_store_killed_three_times_is_complete_in_the_end(
    orthanc: Orthanc, faults: Callable[..., Faults], run_dw: Dw, tmp_path: Path
) -> None:
    made = images.big_study(tmp_path / "in", 60 * 20_000, count=60)
    proxy = faults(orthanc.url, lambda _: Rate(10_000, delay=0.1))
    book = tmp_path / "night.jsonl"
    line = ("store", tmp_path / "in", "--journal", book, "--batch-size", "50k")
    env = {**orthanc.environment, "DW_URL": proxy.url}
    delays = [0.1 + 0.3 * random.random() for _ in range(3)]

    def begun() -> int:
        return sum(seen.method == "POST" for seen in proxy.seen)

    assert kill_and_go_on(lambda: run_dw.start(*line, env=env), delays, lambda: None, begun) >= 1
    accepted = book.read_text().count('"stored"')
    run = run_dw(*line, env=env)
    assert run.code == 0, run.err
    assert run.out.count("\npresent") >= accepted - 1  # the last line may be torn
    assert orthanc.count() == len(made)
    posts = begun()
    assert run_dw(*line, env=env).out.count("\npresent") == 60
    assert begun() == posts


@pytest.mark.interop
def test_a_study_of_2000_killed_twenty_times_is_complete_in_the_end(
    orthanc: Orthanc, faults: Callable[..., Faults], run_dw: Dw, tmp_path: Path
) -> None:
    made = images.big_study(tmp_path / "in", 2000 * 40_000, count=2000, series=8)
    for start in range(0, 2000, 200):
        assert wire.stow(orthanc.url, made[start : start + 200], headers=orthanc.headers).status == 200
    uid = images.uid("big", 2000 * 40_000, 2000, 8)
    truth = {
        f"{images.uid(uid, 'instance', number)}.dcm": hashlib.sha256(path.read_bytes()).hexdigest()
        for number, path in enumerate(made, 1)
    }
    # Slow enough to be under way at each kill.
    proxy = faults(orthanc.url, lambda seen: Rate(3_000_000) if images_of(seen) else Pass())

    def begun() -> int:
        return sum(images_of(seen) for seen in proxy.seen)

    delays = [random.uniform(0.0, 0.5) for _ in range(20)]
    killed = retrieve_killed(orthanc, proxy.url, run_dw, tmp_path / "out", uid, truth, delays, begun)
    assert killed >= 10


@pytest.mark.interop
def test_a_store_of_2000_killed_twenty_times_is_complete_in_the_end(
    orthanc: Orthanc, faults: Callable[..., Faults], run_dw: Dw, tmp_path: Path
) -> None:
    made = images.big_study(tmp_path / "in", 2000 * 40_000, count=2000, series=8)
    proxy = faults(orthanc.url)
    env = {**orthanc.environment, "DW_URL": proxy.url}
    line = ("store", tmp_path / "in", "--journal", tmp_path / "night.jsonl", "--batch-size", "1M")

    def begun() -> int:
        return sum(seen.method == "POST" for seen in proxy.seen)

    delays = [random.uniform(0.0, 0.3) for _ in range(20)]
    killed = kill_and_go_on(lambda: run_dw.start(*line, env=env), delays, lambda: None, begun)
    assert killed >= 10
    assert run_dw(*line, env=env).code == 0
    assert orthanc.count() == len(made)
    out = tmp_path / "out"
    uid = images.uid("big", 2000 * 40_000, 2000, 8)
    assert run_dw("retrieve", "study", uid, "-o", out, env=orthanc.environment).code == 0
    assert set(digests(out).values()) == set(digests(tmp_path / "in").values())
