"""`dw check` says what is wrong with each file, once, and owns up where the server cannot list."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from servers.dw import Dw, Run
from servers.fake import Answer, Fake, Request
from servers.scripted import JSON, Instance, Scripted, study

STUDY = "2.25.7"
SERIES = f"{STUDY}.1"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder with three instances as retrieve writes them."""
    return fill(tmp_path / "out", study(1, 3))


def fill(folder: Path, instances: list[Instance]) -> Path:
    for one in instances:
        path = folder / one.study / one.series / f"{one.uid}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.data)
    return folder


@pytest.fixture
def check(run_dw: Dw, fake_server: Callable[..., Fake]) -> Callable[..., Run]:
    """`check(handler, folder, *options)` of STUDY."""

    def run(handler: Callable[[Request], Answer], folder: Path, *options: str, tty: int | None = None) -> Run:
        return run_dw("check", STUDY, folder, *options, env={"DW_URL": fake_server(handler).url}, tty=tty)

    return run


def rows(run: Run) -> list[tuple[str, str, str]]:
    """Outcome, instance and reason of each line that is not `present`."""
    lines = [line.split("\t") for line in run.lines[1:]]
    return [(line[0], line[3], line[-1]) for line in lines if line[0] != "present"]


def test_a_server_that_cannot_list_is_unverified(check: Callable[..., Run], out: Path) -> None:
    run = check(Scripted(study(1, 3), lists=False), out)
    assert run.code == 3, run.err
    ((outcome, _, reason),) = rows(run)
    assert outcome == "unverified" and "the server lists nothing" in reason
    assert "1 not verified" in run.err


def test_a_server_that_cannot_list_is_compared_by_deep(check: Callable[..., Run], out: Path) -> None:
    (out / STUDY / SERIES / f"{SERIES}.4.dcm").write_bytes(study(1, 4)[3].data)
    run = check(Scripted(study(1, 3), lists=False), out, "--deep")
    assert run.code == 3, run.err
    assert [row[0] for row in rows(run)] == ["extra", "unverified"]
    assert "3 instances identical byte for byte" in run.err


def test_a_server_that_lists_by_its_metadata_alone(check: Callable[..., Run], out: Path) -> None:
    plain = Scripted(study(1, 4))

    def handler(request: Request) -> Answer:
        if request.target.split("?")[0].endswith("/metadata"):
            moved = Request("GET", f"/studies/{STUDY}/instances", request.headers, b"", 0)
            return plain(moved)
        return Answer(404) if "/studies/2" not in request.target or "series" in request.target else plain(request)

    run = check(handler, out)
    assert (run.code, [row[:2] for row in rows(run)]) == (3, [("missing", f"{SERIES}.4")]), run.err


@pytest.mark.parametrize(("data", "why"), [(b"", "empty file"), (b"garbage" * 99, "not DICOM")])
def test_a_spoilt_file_is_there(check: Callable[..., Run], out: Path, data: bytes, why: str) -> None:
    spoilt = out / STUDY / SERIES / f"{SERIES}.2.dcm"
    spoilt.write_bytes(data)
    run = check(Scripted(study(1, 3)), out)
    assert run.code == 3
    assert rows(run) == [("conflict", f"{SERIES}.2", f"present, but damaged: {why}")]
    assert str(spoilt) in run.out


def test_a_file_that_cannot_be_read_is_named_once(check: Callable[..., Run], out: Path) -> None:
    file = out / STUDY / SERIES / f"{SERIES}.2.dcm"
    file.unlink()
    file.symlink_to(out / "nowhere")
    run = check(Scripted(study(1, 3)), out)
    assert run.code == 3
    assert rows(run) == [("failed", f"{SERIES}.2", "present, but broken link")]


def test_the_file_with_the_right_name_is_the_instance(check: Callable[..., Run], out: Path) -> None:
    folder = out / STUDY / SERIES
    (folder / f"{SERIES}.1.dcm").write_bytes((folder / f"{SERIES}.2.dcm").read_bytes())
    run = check(Scripted(study(1, 3)), out)
    assert run.code == 3
    extra, missing = rows(run)
    assert extra[0] == "extra" and f"{SERIES}.2.dcm has the same" in extra[2]
    assert missing[:2] == ("missing", f"{SERIES}.1") and f"contains {SERIES}.2" in missing[2]


def test_a_person_is_told_the_first_of_many(check: Callable[..., Run], tmp_path: Path) -> None:
    server, folder = Scripted(study(1, 50)), fill(tmp_path / "out", study(1, 1))
    shown = check(server, folder, tty=200)
    told = shown.out + shown.err
    assert told.count("not in the folder") == 10
    assert "39 more missing" in told
    assert len(rows(check(server, folder))) == 49


def without(*tags: str, rows: slice = slice(None), resource: str = "") -> Callable[[Request, Answer], Answer]:
    """Bends listings, and metadata: so many rows lack these attributes."""

    def bend(request: Request, answer: Answer) -> Answer:
        path = urlsplit(request.target).path
        if answer.status == 200 and dict(answer.headers).get("Content-Type") == JSON["Content-Type"]:
            if resource and not path.endswith(resource):
                return answer
            found = json.loads(answer.body)  # type: ignore[arg-type]
            for row in found[rows]:
                for tag in tags:
                    row.pop(tag, None)
            return replace(answer, body=json.dumps(found).encode())
        return answer

    return bend


def described(handler: Scripted) -> Callable[[Request], Answer]:
    """The same archive, with metadata as its listing of instances."""

    def answer(request: Request) -> Answer:
        split = urlsplit(request.target)
        if not split.path.endswith("/metadata"):
            return handler(request)
        parts = split.path.removesuffix("/metadata").split("/")
        found = [
            {tag: {"vr": "UI", "Value": [uid]} for tag, uid in _uids(one)}
            for one in handler.instances
            if one.study == parts[2] and one.series == (parts[4] if len(parts) > 4 else one.series)
        ]
        return handler.bend(request, Answer(200, JSON, json.dumps(found).encode()))

    return answer


def _uids(one: Instance) -> list[tuple[str, str]]:
    return [("0020000D", one.study), ("0020000E", one.series), ("00080018", one.uid)]


@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize("tag", ["00080018", "0020000E"])
@pytest.mark.parametrize("metadata", [True, False])
@pytest.mark.parametrize("deep", [[], ["--deep"]])
def test_rows_that_name_nothing_cannot_be_verified(
    check: Callable[..., Run], out: Path, lists: bool, tag: str, metadata: bool, deep: list[str]
) -> None:
    server = Scripted(study(1, 3), lists=lists, bend=without(tag))
    run = check(described(server) if metadata else server, out, *deep)
    assert run.code == 3, run.out + run.err
    assert "unverified" in {row[0] for row in rows(run)} and not {"missing", "extra"} & {row[0] for row in rows(run)}
    assert "not verified" in run.err


def test_one_row_that_names_nothing_may_be_any_file(check: Callable[..., Run], out: Path) -> None:
    run = check(Scripted(study(1, 3), bend=without("00080018", rows=slice(1), resource="/instances")), out)
    assert run.code == 3, run.out + run.err
    ((outcome, _, reason),) = rows(run)
    assert outcome == "unverified" and "1 row names no SOP Instance UID" in reason
    assert "2 instances present, 1 not verified" in run.err


def test_failures_are_told_even_quietly(check: Callable[..., Run], out: Path) -> None:
    (out / STUDY / SERIES / f"{SERIES}.2.dcm").unlink()
    (out / STUDY / SERIES / f"{SERIES}.9.dcm").write_bytes(study(1, 9)[8].data)
    for quiet in ("-q", "-qq"):
        for tty in (None, 100):
            run = check(Scripted(study(1, 3)), out, quiet, tty=tty)
            assert run.code == 3, run.err
            told = [line.split(" ")[0] for line in run.err.splitlines()]
            assert told == ["missing", "extra"], run.err
    whole = check(Scripted([*study(1, 1), study(1, 3)[2], study(1, 9)[8]]), out, "-q")
    assert (whole.code, whole.err) == (0, "")


def test_a_file_truncated_on_the_server_is_green_only_where_its_bytes_are_equal(
    check: Callable[..., Run], tmp_path: Path
) -> None:
    sent = study(1, 2)
    short = [sent[0], replace(sent[1], data=sent[1].data[:-9])]
    out = fill(tmp_path / "short", short)
    run = check(Scripted(short), out)
    assert run.code == 3
    [(outcome, uid, reason)] = rows(run)
    assert (outcome, uid) == ("conflict", short[1].uid) and "truncated" in reason
    run = check(Scripted(short), out, "--deep")
    assert run.code == 0
    assert rows(run) == [("warned", short[1].uid, "truncated on the server")]
    assert check(Scripted(sent), out, "--deep").code == 3


def test_a_study_that_failed_is_counted_once_in_the_summary(check: Callable[..., Run], tmp_path: Path) -> None:
    run = check(Scripted(), tmp_path)
    assert run.err.count("failed entirely") == 1, run.err
