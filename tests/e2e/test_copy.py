"""`dw copy` tells the truth of both ends, takes little room between them, and leaves nothing on this disk."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from servers import images, wire
from servers.disk import small
from servers.dw import Dw, Run
from servers.fake import Answer, Fake, Request
from servers.machine import Clock
from servers.orthanc import Orthanc
from servers.scripted import Instance, Scripted, is_retrieve, item, multipart, related, reply, study

STUDY = "2.25.7"
Serve = Callable[..., Fake]


def outcomes(run: Run) -> dict[str, int]:
    """How many lines of a pipe have each outcome."""
    found = [line.split("\t")[0] for line in run.lines[1:]]
    return {outcome: found.count(outcome) for outcome in set(found)}


@pytest.fixture
def copy(run_dw: Dw, fake_server: Serve) -> Callable[..., Run]:
    """`copy(source, target, *options)` of STUDY between two handlers."""

    def run(source: Scripted, target: Scripted, *options: str, dw: Dw = run_dw) -> Run:
        for name, handler in (("from", source), ("to", target)):
            added = dw("profile", "add", name, fake_server(handler).url)
            assert added.code == 0, added.err
        return dw("-p", "from", "copy", "study", STUDY, "--to", "to", *options)

    return run


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 20 MB, which only root may mount."""
    with small(tmp_path / "disk", "20m") as place:
        yield place


@pytest.mark.parametrize("jobs", ["1", "4"])
def test_a_study_larger_than_the_disk_between(copy: Callable[..., Run], dw_process: Dw, disk: Path, jobs: str) -> None:
    source, target = Scripted(study(2, 20, side=800)), Scripted()  # 40 files of 1.3 MB
    dw_process.environment["TMPDIR"] = str(disk)
    run = copy(source, target, "--jobs", jobs, dw=dw_process)
    assert (run.code, outcomes(run)) == (0, {"stored": 40}), run.err
    assert sorted(one.data for one in target.stored) == sorted(one.data for one in source.instances)


def test_what_does_not_fit_between_is_told_and_the_rest_stored(
    copy: Callable[..., Run], dw_process: Dw, disk: Path
) -> None:
    small = study(1, 3)
    huge = images.instance(STUDY, f"{STUDY}.2", f"{STUDY}.2.1", side=4000)  # 32 MB
    target = Scripted()
    dw_process.environment["TMPDIR"] = str(disk)
    run = copy(
        Scripted([*small, Instance(STUDY, f"{STUDY}.2", f"{STUDY}.2.1", huge)]), target, "-j", "1", dw=dw_process
    )
    assert run.code == 1, run.err
    assert f"cannot write in {disk}: No space left" in run.err
    assert "TMPDIR" in run.err and "only what is missing" not in run.err
    assert outcomes(run) == {"stored": 3}
    assert len(target.stored) == 3


@contextmanager
def begun(dw: Dw, serve: Serve) -> Iterator[subprocess.Popen[bytes]]:
    """A copy whose target has been sent the first images and does not answer."""
    go_on = threading.Event()

    def stall(request: Request, answer: Answer) -> Answer:
        if request.method == "POST":
            go_on.wait(60)
        return answer

    source, target = serve(Scripted(study(2, 20, side=1000))), serve(Scripted(bend=stall))
    for name, server in (("from", source), ("to", target)):
        assert dw("profile", "add", name, server.url).code == 0
    process = dw.start("-p", "from", "copy", "study", STUDY, "--to", "to")
    try:
        deadline = time.monotonic() + 40
        while not any(request.method == "POST" for request in target.requests):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        yield process
    finally:
        go_on.set()
        process.kill()
        process.communicate(timeout=10)


def test_a_killed_copy_leaves_nothing(dw_process: Dw, fake_server: Serve, tmp_path: Path) -> None:
    place = tmp_path / "between"
    place.mkdir()
    dw_process.environment["TMPDIR"] = str(place)
    with begun(dw_process, fake_server) as process:
        assert list(place.rglob("*")) == []
        os.kill(process.pid, signal.SIGKILL)
    assert list(place.rglob("*")) == []


def changed(instances: list[Instance], number: int) -> list[Instance]:
    """The same with other pixels in the first so many."""
    other = [
        Instance(one.study, one.series, one.uid, images.instance(one.study, one.series, one.uid, number=77))
        for one in instances[:number]
    ]
    return [*other, *instances[number:]]


def test_what_the_target_had_before_is_compared(copy: Callable[..., Run]) -> None:
    sent = study(1, 5)
    target = Scripted(changed(sent, 2)[:3])
    run = copy(Scripted(sent), target)
    assert (run.code, outcomes(run)) == (3, {"stored": 3, "conflict": 2}), run.err
    assert "returns different content" in run.out
    # Only what was there before is fetched back.
    assert sorted(target.retrieved("instances")) == [one.uid for one in sent[:3]]


def test_a_new_study_is_not_fetched_back(copy: Callable[..., Run]) -> None:
    target = Scripted()
    run = copy(Scripted(study(2, 3)), target)
    assert (run.code, outcomes(run)) == (0, {"stored": 6}), run.err
    assert not any(is_retrieve_line(line) for line in target.asked)
    # One question before, and what is asked of each series at the end.
    assert target.asked[0] == f"GET /studies/{STUDY}/series"
    assert target.asked[1].startswith("POST")


def is_retrieve_line(line: str) -> bool:
    return line.startswith("GET") and line.split("/")[-2] in ("studies", "series", "instances")


def test_verify_of_a_source_that_lists_nothing_is_exit_3(copy: Callable[..., Run]) -> None:
    run = copy(Scripted(study(1, 3), lists=False), Scripted(), "--verify")
    assert (run.code, outcomes(run)) == (3, {"stored": 3, "unverified": 1}), run.err
    assert "1 not verified" in run.err


def test_verify_into_a_target_that_lists_nothing_is_exit_3(copy: Callable[..., Run]) -> None:
    run = copy(Scripted(study(1, 3)), Scripted(lists=False), "--verify")
    assert (run.code, outcomes(run)) == (3, {"stored": 3, "unverified": 1}), run.err


def test_parts_of_another_study_are_copied_once_and_named(copy: Callable[..., Run]) -> None:
    asked = study(1, 2)
    own = [Instance("2.25.8", one.series, one.uid, images.instance("2.25.8", one.series, one.uid)) for one in asked]

    def bend(request: Request, answer: Answer) -> Answer:
        return related(multipart(one.data for one in own)) if is_retrieve(request) else answer

    target = Scripted()
    run = copy(Scripted(asked, bend=bend), target)
    assert sorted(one.uid for one in target.stored) == sorted(one.uid for one in own)
    assert (run.code, outcomes(run)) == (0, {"unexpected": 2}), run.err
    assert "2.25.8" in run.out and "/tmp" not in run.out
    assert "not requested" in run.err


def test_one_stranger_among_the_others_is_named(copy: Callable[..., Run]) -> None:
    asked, (stranger,) = study(1, 2), study(1, 1, name="2.25.8")

    def bend(request: Request, answer: Answer) -> Answer:
        return related(multipart(one.data for one in [*asked, stranger])) if is_retrieve(request) else answer

    run = copy(Scripted(asked, bend=bend), Scripted())
    assert (run.code, outcomes(run)) == (0, {"stored": 2, "unexpected": 1}), run.err


def test_an_instance_that_comes_twice_is_stored_once(copy: Callable[..., Run]) -> None:
    sent = study(1, 3)

    def bend(request: Request, answer: Answer) -> Answer:
        parts = [one.data for one in [*sent, sent[0], changed(sent, 2)[1]]]
        return related(multipart(parts)) if is_retrieve(request) else answer

    target = Scripted()
    run = copy(Scripted(sent, bend=bend), target)
    assert (run.code, outcomes(run)) == (3, {"stored": 3, "conflict": 1}), run.err
    assert sorted(one.data for one in target.stored) == sorted(one.data for one in sent)


def test_a_dry_run_copies_nothing(copy: Callable[..., Run]) -> None:
    source, target = Scripted(study(2, 3)), Scripted(study(1, 2))
    run = copy(source, target, "--dry-run")
    assert run.code == 0, run.err
    assert [line.split("\t")[2:] for line in run.lines[1:]] == [["3", "2"], ["3", "0"]]
    assert "would copy 6 instances in 2 series to to, which already lists 2 of them" in run.err
    assert target.stored == [] and source.retrieved("series") == source.retrieved("studies") == []


def test_an_interrupted_copy_ends_at_once_and_says_how_to_go_on(dw_process: Dw, fake_server: Serve) -> None:
    with begun(dw_process, fake_server) as process:
        clock = Clock()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=40)
        assert clock.within(3), clock
    assert process.returncode == 130
    assert b"run the same command again to copy the rest" in err and b"Traceback" not in err


def test_a_target_that_refuses_the_login_ends_a_copy(copy: Callable[..., Run]) -> None:
    def bend(request: Request, answer: Answer) -> Answer:
        return Answer(401) if request.method == "POST" else answer

    run = copy(Scripted(study(4, 20, side=500)), Scripted(bend=bend))
    assert run.code == 4, run.err
    assert "401" in run.out


def test_what_orthanc_silently_keeps_is_a_conflict(orthanc: Orthanc, run_dw: Dw, tmp_path: Path) -> None:
    sent = study(1, 4)
    for one in sent:
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{one.uid}.dcm").write_bytes(one.data)
    older = changed(sent, 2)[:2]
    assert wire.stow(orthanc.url, [one.data for one in older], headers=orthanc.headers).status == 200
    login = ["--user", orthanc.environment["DW_USER"], "--password-env", "SECRET"]
    run_dw.environment["SECRET"] = orthanc.environment["DW_PASSWORD"]
    assert run_dw("profile", "add", "to", orthanc.url, *login).code == 0
    run = run_dw("--url", tmp_path / "in", "copy", "study", STUDY, "--to", "to")
    assert (run.code, outcomes(run)) == (3, {"stored": 2, "conflict": 2}), run.err


@pytest.mark.parametrize(
    "refusal",
    [
        reply(409, failed=[item(f"{STUDY}.1.{number}", failure=0xA700) for number in (1, 2)]),
        reply(200, failed=[item(f"{STUDY}.1.{number}", failure=0xA700) for number in (1, 2)]),
        reply(202, failed=[item(f"{STUDY}.1.{number}", failure=0x0122) for number in (1, 2)]),
        Answer(400, {"Content-Type": "text/plain"}, b"the quota of this site is used up"),
        Answer(409, {"Content-Type": "text/plain"}, b"the quota of this site is used up"),
        Answer(422, {"Content-Type": "text/plain"}, b"the quota of this site is used up"),
    ],
    ids=["409 A700", "200 A700", "202 0122", "400 words", "409 words", "422 words"],
)
def test_the_reason_of_a_refusal_is_told(copy: Callable[..., Run], refusal: Answer) -> None:
    target = Scripted()
    target._store = lambda _request: refusal  # type: ignore[assignment,method-assign]
    run = copy(Scripted(study(1, 2)), target, "-f", "jsonl")
    assert run.code == 1, run.err
    items = [json.loads(line) for line in run.lines]
    assert [one["outcome"] for one in items] == ["failed", "failed"]
    for one in items:
        assert re.search("A700|0122|0x0122|quota", one["reason"]), one
        assert "No such file" not in one["reason"] and not one["path"]


@pytest.mark.parametrize("code", [0x0110, 0x0111, 0xB00E])
@pytest.mark.parametrize("status", [200, 202, 409])
def test_other_bytes_at_the_target_are_a_conflict(copy: Callable[..., Run], status: int, code: int) -> None:
    sent = study(1, 2)
    target = Scripted(changed(sent, 2))
    refusal = reply(status, failed=[item(one.uid, failure=code) for one in sent])
    target.bend = lambda request, answer: refusal if request.method == "POST" else answer
    run = copy(Scripted(sent), target)
    assert (run.code, outcomes(run)) == (1, {"conflict": 2}), run.err
    assert "different content for this SOP Instance UID" in run.out


def test_a_refusal_is_not_replaced_by_the_failure_to_compare(copy: Callable[..., Run]) -> None:
    sent = study(1, 1)
    refusal = reply(409, failed=[item(sent[0].uid, failure=0x0110)])

    def bend(request: Request, answer: Answer) -> Answer:
        if request.method == "POST":
            return refusal
        return Answer(400, {}, b"no") if is_retrieve(request) else answer

    run = copy(Scripted(sent), Scripted(bend=bend), "-f", "jsonl")
    assert run.code == 1, run.err
    assert "0110" in json.loads(run.out)["reason"]
