"""`-q` hides talk, never a failure; success is silent."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from servers.dw import Dw, Run
from servers.fake import Answer, Fake, Request
from servers.scripted import Scripted, item, reply, study

STUDY = "2.25.7"
Serve = Callable[..., Fake]
QUIET = pytest.mark.parametrize("quiet", [["-q"], ["-qq"], ["-q", "-f", "jsonl"]], ids=" ".join)
TTY = pytest.mark.parametrize("tty", [None, 100], ids=["pipe", "terminal"])


@pytest.fixture
def dw(run_dw: Dw, fake_server: Serve) -> Callable[..., Run]:
    """`dw(handler, *words, to=None)` with profiles `from`, the default, and `to`."""

    def run(
        handler: Callable[[Request], Answer], *words: str | Path, to: Scripted | None = None, **more: object
    ) -> Run:
        run_dw.config.unlink(missing_ok=True)
        for name, server in (("from", handler), ("to", to or Scripted())):
            assert run_dw("profile", "add", name, fake_server(server).url).code == 0
        return run_dw(*words, **more)  # type: ignore[arg-type]

    return run


def failures(run: Run) -> list[str]:
    """The outcomes that stderr names, one a line; anything else on it is talk."""
    lines = run.err.splitlines()
    assert all(line.split(" ")[0] in ("failed", "conflict", "unknown", "missing", "unverified") for line in lines), (
        lines
    )
    return [line.split(" ")[0] for line in lines]


def refusing(*uids: str, code: int = 0xA700) -> Scripted:
    """A target that takes all but these."""
    target = Scripted()
    take = target._store

    def store(request: Request) -> Answer:
        taken = take(request)
        stored = [one for one in json.loads(taken.body)["00081199"]["Value"] if one["00081155"]["Value"][0] not in uids]  # type: ignore[arg-type]
        target.instances = [one for one in target.instances if one.uid not in uids]
        return reply(202, stored=stored, failed=[item(uid, failure=code) for uid in uids])

    target._store = store  # type: ignore[method-assign]
    return target


@QUIET
@TTY
def test_retrieve_names_what_failed(dw: Callable[..., Run], tmp_path: Path, quiet: list[str], tty: int | None) -> None:
    run = dw(Scripted(study(1, 2)), "retrieve", "study", STUDY, "1.2.3", "-o", tmp_path / "o", *quiet, tty=tty)
    assert run.code == 3, run.err
    assert failures(run) == ["failed"] and "1.2.3" in run.err
    if tty and "-f" not in quiet:
        assert run.out == ""  # one time is enough for a person
    again = dw(Scripted(study(1, 2)), "retrieve", "study", STUDY, "-o", tmp_path / "o", *quiet, tty=tty)
    assert (again.code, again.err) == (0, "")


@QUIET
@TTY
def test_store_names_what_failed(dw: Callable[..., Run], tmp_path: Path, quiet: list[str], tty: int | None) -> None:
    for one in study(1, 3):
        (tmp_path / f"{one.uid}.dcm").write_bytes(one.data)
    run = dw(refusing(f"{STUDY}.1.1", f"{STUDY}.1.3"), "store", tmp_path, *quiet, tty=tty)
    assert run.code == 3, run.err
    assert failures(run) == ["failed", "failed"] and f"{STUDY}.1.3.dcm" in run.err
    fine = dw(Scripted(), "store", tmp_path, *quiet, tty=tty)
    assert (fine.code, fine.err) == (0, "")


@QUIET
@TTY
def test_copy_names_what_failed(dw: Callable[..., Run], quiet: list[str], tty: int | None) -> None:
    source = Scripted(study(1, 3))
    run = dw(source, "copy", STUDY, "1.2.3", "--to", "to", *quiet, to=refusing(f"{STUDY}.1.2"), tty=tty)
    assert run.code == 3, run.err
    assert failures(run) == ["failed", "failed"] and f"{STUDY}.1.2" in run.err and "1.2.3" in run.err
    fine = dw(source, "copy", STUDY, "--to", "to", *quiet, tty=tty)
    assert (fine.code, fine.err) == (0, "")


@QUIET
@TTY
def test_delete_names_what_failed(dw: Callable[..., Run], quiet: list[str], tty: int | None) -> None:
    archive = Scripted(study(1, 1))

    def bend(request: Request, answer: Answer) -> Answer:
        if request.method == "DELETE":
            archive.instances.clear()
            return Answer(204)
        return answer

    archive.bend = bend
    for dry in (["--dry-run"], ["--yes"]):
        run = dw(archive, "delete", STUDY, "1.2.3", *dry, *quiet, tty=tty)
        assert run.code == 3, run.err + run.out
        assert failures(run) == ["failed"] and "1.2.3" in run.err


@TTY
def test_unverified_under_verify_is_named(dw: Callable[..., Run], tmp_path: Path, tty: int | None) -> None:
    source = Scripted(study(1, 2), lists=False)
    run = dw(source, "retrieve", "study", STUDY, "-o", tmp_path / "o", "--verify", "-q", tty=tty)
    assert (run.code, failures(run)) == (3, ["unverified"])
    run = dw(source, "retrieve", "study", STUDY, "-o", tmp_path / "p", "-q", tty=tty)
    assert (run.code, run.err) == (0, "")


@TTY
def test_a_zip_names_what_failed(dw: Callable[..., Run], tmp_path: Path, tty: int | None) -> None:
    run = dw(Scripted(study(1, 1)), "retrieve", STUDY, "1.2.3", "--zip", tmp_path / "a.zip", "-q", tty=tty)
    assert run.code in (1, 3), run.err
    assert "failed 1.2.3" in run.err


@pytest.mark.parametrize(
    "words",
    [["render", f"{STUDY}/1/1", "-o", "a.png"], ["metadata", STUDY], ["retrieve", "frames", f"{STUDY}/1/1", "1"],
     ["retrieve", "bulkdata", f"{STUDY}/1/1", "7FE00010", "-o", "a.bin"]],
    ids=lambda words: " ".join(words[:2]),
)  # fmt: skip
@QUIET
@TTY
def test_what_ends_with_an_error_says_so(
    dw: Callable[..., Run], words: list[str], quiet: list[str], tty: int | None
) -> None:
    run = dw(lambda _request: Answer(404, {}, b"gone"), *words, *quiet, tty=tty)
    assert run.code == 5, run.err
    assert "error: " in run.err or "error:" in run.err


def test_a_person_without_q_sees_each_failure_once(dw: Callable[..., Run], tmp_path: Path) -> None:
    run = dw(Scripted(study(1, 2)), "retrieve", STUDY, "1.2.3", "-o", tmp_path / "o", tty=100)
    assert (run.out + run.err).count("failed 1.2.3") == 1
