"""Every fault that a retrieve can meet, each with the outcome that the user is told (exit code and folder)."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Literal

import pytest

from dwcli.client import Client
from dwcli.dicomweb.dialects import choose
from dwcli.dicomweb.refs import StudyRef
from dwcli.files.sink import Sink
from dwcli.jobs.result import Item, Tally
from dwcli.jobs.retrieve import Options, Retrieval
from dwcli.net.settings import Settings
from dwcli.net.transport import Transport
from servers import images, wire
from servers.dw import Dw
from servers.fake import Answer, Fake, Request
from servers.faults import Answer as ProxyAnswer
from servers.faults import Chooser, Cut, Faults, Hang, Pass, Rule, Seen, first
from servers.orthanc import Orthanc
from servers.scripted import BOUNDARY, Instance, Scripted, is_retrieve, is_search, multipart, related, study
from servers.tiny_pacs import TinyPacs

STUDY = "2.25.7"


def files(folder: Path) -> dict[str, str]:
    """What a folder holds: file name -> sha256."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def names(instances: list[Instance]) -> dict[str, str]:
    """What a folder holds when these instances came."""
    return {f"{one.study}/{one.series}/{one.uid}.dcm": hashlib.sha256(one.data).hexdigest() for one in instances}


def retrieve(url: str, folder: Path, *, tries: int = 6, **options: object) -> tuple[list[Item], int, list[str]]:
    """Retrieve STUDY with the job itself, in this process; the items, the exit code and the warnings."""
    warnings: list[str] = []
    transport = Transport(Settings(url, silence=20, first_byte=20, tries=tries))
    client = Client(url, choose("standard"), transport, warn=warnings.append)
    tally = Tally()
    items = []
    with contextlib.closing(transport), Sink(folder) as sink:
        for item in Retrieval(client, sink, Options(**options)).run([StudyRef(STUDY)]):  # type: ignore[arg-type]
            tally.add(item)
            items.append(item)
    return items, int(tally.code), warnings


def bent(level: str, change: Callable[[Answer], Answer], *, times: int = 10**9) -> Callable[[Request, Answer], Answer]:
    """A bend that changes the first so many retrieves of a level."""
    turns = count()
    return lambda request, answer: change(answer) if is_retrieve(request, level) and next(turns) < times else answer


# A body that ends early


class TestCut:
    """The body of a three-part answer ends at any offset, in order or by a reset."""

    INSTANCES = study(1, 3, side=2)
    BODY = multipart(one.data for one in INSTANCES)

    def offsets(self) -> list[int]:
        """Every byte of the first part's head and the last boundaries, and a grid over the rest."""
        marks = [self.BODY.find(b"\r\n--" + BOUNDARY.encode(), start) for start in range(0, len(self.BODY), 400)]
        near = {at + step for at in marks if at >= 0 for step in range(-2, 70, 5)}
        grid = {*range(0, len(self.BODY), 311), *range(len(self.BODY) - 30, len(self.BODY) - 3)}
        return sorted(at for at in near | grid if 0 <= at < len(self.BODY) - 3)

    def cut(self, at: int, framing: Literal["close", "chunked"], *, reset: bool) -> Callable[[Answer], Answer]:
        """Of the answer only so many bytes come."""
        return lambda answer: replace(answer, body=self.BODY[:at], framing=framing, cut=True, reset=reset)

    @pytest.mark.parametrize("reset", [False, True], ids=["cleanly", "by-reset"])
    @pytest.mark.parametrize("framing", ["close", "chunked"])
    def test_without_a_list_only_whole_files_stay_and_the_exit_code_says_so(
        self, tmp_path: Path, fake_server: Callable[..., Fake], framing: Literal["close", "chunked"], reset: bool
    ) -> None:
        archive = Scripted(self.INSTANCES, lists=False)
        server = fake_server(archive)
        whole = names(self.INSTANCES)
        for turn, at in enumerate(self.offsets()[:: 2 if reset else 1]):
            archive.bend = bent("studies", self.cut(at, framing, reset=reset))
            out = tmp_path / str(turn)
            _, code, _ = retrieve(server.url, out)
            found = files(out)
            assert found.items() <= whole.items(), at
            assert code == (3 if found else 1), at
            assert len(found) < 3 or at >= self.BODY.rfind(b"\r\n--"), at

    @pytest.mark.parametrize("reset", [False, True], ids=["cleanly", "by-reset"])
    def test_what_is_missing_is_fetched_again_by_itself(
        self, tmp_path: Path, fake_server: Callable[..., Fake], reset: bool
    ) -> None:
        archive = Scripted(self.INSTANCES)
        server = fake_server(archive)
        for turn, at in enumerate(range(0, len(self.BODY) - 3, 397)):
            archive.bend = bent("series", self.cut(at, "close", reset=reset))
            out = tmp_path / str(turn)
            items, code, _ = retrieve(server.url, out)
            assert (code, files(out)) == (0, names(self.INSTANCES)), at
            assert sorted(item.outcome for item in items) == ["received"] * 3

    @pytest.mark.parametrize("reset", [False, True], ids=["cleanly", "by-reset"])
    @pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9999])
    def test_orthanc_cut_once(
        self,
        orthanc: Orthanc,
        faults: Callable[..., Faults],
        run_dw: Dw,
        tmp_path: Path,
        share: float,
        reset: bool,
    ) -> None:
        sent = stored(orthanc, study(1, 4, side=64))
        at = int(share * 4 * len(sent[0].data))
        proxy = faults(orthanc.url, once("/series/", Cut(at, reset=reset)))
        run = run_dw("retrieve", "study", STUDY, "-o", tmp_path / "out", env=through(proxy, orthanc))
        assert run.code == 0, run.err
        assert files(tmp_path / "out") == names(sent)

    def test_orthanc_cut_every_time(
        self, orthanc: Orthanc, faults: Callable[..., Faults], run_dw: Dw, tmp_path: Path
    ) -> None:
        sent = stored(orthanc, study(1, 3, side=64))
        proxy = faults(orthanc.url, always("/series/", Cut(int(1.5 * len(sent[0].data)))))
        run = run_dw("retrieve", "study", STUDY, "-o", tmp_path / "out", env=through(proxy, orthanc))
        # Each instance asked for alone is smaller than the cut, so that all come in the end.
        assert run.code == 0
        proxy.rule = always("/series/", Cut(1000))
        run = run_dw("retrieve", "study", STUDY, "-o", tmp_path / "none", env=through(proxy, orthanc))
        assert run.code == 1
        assert files(tmp_path / "none") == {}
        assert run.out.count("failed") == 3


def stored(server: Orthanc | TinyPacs, instances: list[Instance]) -> list[Instance]:
    """Put them on a server, without `dw`."""
    assert wire.stow(server.url, [one.data for one in instances], headers=server.headers).status == 200
    return instances


def through(proxy: Faults, server: Orthanc | TinyPacs) -> dict[str, str]:
    """The environment for `dw` by way of a proxy."""
    return {**server.environment, "DW_URL": proxy.url}


def retrieves(seen: Seen, part: str) -> bool:
    """Whether a request fetches images of a path with `part` in it, and is no search."""
    path = seen.target.partition("?")[0]
    return part in path and not path.endswith(("/instances", "/series"))


def once(part: str, rule: Rule) -> Chooser:
    """A rule for the first retrieve only."""
    turns = first(1, rule)
    return lambda seen: turns(seen) if retrieves(seen, part) else Pass()


def always(part: str, rule: Rule) -> Chooser:
    """A rule for every retrieve."""
    return lambda seen: rule if retrieves(seen, part) else Pass()


def test_no_closing_boundary_but_the_length_met_is_a_warning(tmp_path: Path, fake_server: Callable[..., Fake]) -> None:
    sent = study(1, 3)
    archive = Scripted(sent, bend=bent("series", lambda _: related(multipart((i.data for i in sent), closed=False))))
    _, code, warnings = retrieve(fake_server(archive).url, tmp_path / "out")
    assert (code, files(tmp_path / "out")) == (0, names(sent))
    assert any("closing boundary" in text for text in warnings)
    assert archive.retrieved("instances") == []


def test_a_body_that_stalls_is_to_be_tried_later(
    orthanc: Orthanc, faults: Callable[..., Faults], run_dw: Dw, tmp_path: Path
) -> None:
    sent = stored(orthanc, study(1, 3, side=64))
    proxy = faults(orthanc.url, always("/series/", Hang(2 * len(sent[0].data) + 900)))
    run = run_dw("--timeout", "1.5", "retrieve", "study", STUDY, "-o", tmp_path / "out", env=through(proxy, orthanc))
    assert run.code == 75, run.err
    assert "1 failed entirely" in run.err  # two of its three instances came
    came = files(tmp_path / "out")
    assert len(came) == 2
    assert came.items() <= names(sent).items()
    proxy.rule = Pass()
    run = run_dw("retrieve", "study", STUDY, "-o", tmp_path / "out", env=through(proxy, orthanc))
    assert (run.code, files(tmp_path / "out")) == (0, names(sent))
    # What came before the stall was not fetched again.
    assert sum(retrieves(seen, "/instances/") for seen in proxy.seen) == 1


@pytest.mark.parametrize("wrong", [-10, -1, 1, 1000, 10**9])
def test_a_wrong_length_of_a_part_changes_no_byte(tmp_path: Path, fake_server: Callable[..., Fake], wrong: int) -> None:
    sent = study(1, 3)
    heads = [f"Content-Length: {len(one.data) + wrong}" for one in sent]
    archive = Scripted(sent, bend=bent("series", lambda _: related(multipart((i.data for i in sent), heads=heads))))
    _, code, _ = retrieve(fake_server(archive).url, tmp_path / "out")
    assert (code, files(tmp_path / "out")) == (0, names(sent))


# Answers that hold something else


def test_an_instance_sent_twice_is_kept_once(tmp_path: Path, fake_server: Callable[..., Fake]) -> None:
    sent = study(1, 3)
    twice = [*sent, sent[1]]
    archive = Scripted(sent, bend=bent("series", lambda _: related(multipart(i.data for i in twice))))
    items, code, _ = retrieve(fake_server(archive).url, tmp_path / "out")
    assert (code, files(tmp_path / "out")) == (0, names(sent))
    assert [item.outcome for item in items] == ["received"] * 3


def test_an_instance_that_nobody_asked_for_is_kept_and_reported(
    tmp_path: Path, fake_server: Callable[..., Fake]
) -> None:
    sent, other = study(1, 3), study(1, 1, name="2.25.8")
    archive = Scripted(sent, bend=bent("series", lambda _: related(multipart(i.data for i in [*sent, *other]))))
    items, code, _ = retrieve(fake_server(archive).url, tmp_path / "out")
    assert (code, files(tmp_path / "out")) == (0, names([*sent, *other]))
    assert [item.instance for item in items if item.outcome == "unexpected"] == [other[0].uid]


def test_two_instances_of_one_uid_are_a_conflict(tmp_path: Path, fake_server: Callable[..., Fake]) -> None:
    sent = study(1, 3)
    other = images.instance(STUDY, sent[0].series, sent[0].uid, number=99, side=8)
    archive = Scripted(sent, bend=bent("series", lambda _: related(multipart([*(i.data for i in sent), other]))))
    items, code, _ = retrieve(fake_server(archive).url, tmp_path / "out")
    assert (code, files(tmp_path / "out")) == (3, names(sent))
    assert [item.instance for item in items if item.outcome == "conflict"] == [sent[0].uid]


@pytest.mark.parametrize("uid", ["../../etc/x", "../" * 9 + "tmp/x", "2.25." + "9" * 300, "2.25.5\x002.25.6", "/etc/x"])
def test_an_odd_uid_stays_inside_the_folder(tmp_path: Path, fake_server: Callable[..., Fake], uid: str) -> None:
    odd = images.instance(STUDY, f"{STUDY}.1", uid, side=8)
    sent = study(1, 1)
    archive = Scripted([*sent, Instance(STUDY, f"{STUDY}.1", uid, odd)])
    out = tmp_path / "deep" / "out"
    items, code, _ = retrieve(fake_server(archive).url, out)
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and out not in path.parents]
    assert outside == []
    assert names(sent).items() <= files(out).items()
    if code == 0:
        assert hashlib.sha256(odd).hexdigest() in files(out).values()
    else:
        assert code == 3
        assert any(item.outcome == "failed" and item.reason for item in items)


@pytest.mark.parametrize("parts", [1, 2])
def test_an_instance_without_a_uid_fails_by_name(tmp_path: Path, fake_server: Callable[..., Fake], parts: int) -> None:
    odd = images.instance(STUDY, f"{STUDY}.1", "", side=8)
    sent = study(1, parts - 1)
    body = multipart([*(one.data for one in sent), odd])
    archive = Scripted([*sent, Instance(STUDY, f"{STUDY}.1", "", odd)], bend=bent("series", lambda _: related(body)))
    items, code, _ = retrieve(fake_server(archive).url, tmp_path / "out")
    assert (code, files(tmp_path / "out")) == (3 if sent else 1, names(sent))
    assert any(item.outcome == "failed" and "UID" in item.reason for item in items)


def test_a_part_that_is_no_dicom_is_fetched_again_by_its_uid(tmp_path: Path, fake_server: Callable[..., Fake]) -> None:
    sent = study(1, 3)
    spoilt = multipart([sent[0].data, b"Internal error\n" * 20, sent[2].data])
    archive = Scripted(sent, bend=bent("series", lambda _: related(spoilt)))
    items, code, warnings = retrieve(fake_server(archive).url, tmp_path / "out")
    assert (code, files(tmp_path / "out")) == (0, names(sent))
    assert [item.outcome for item in items] == ["received"] * 3
    assert any("not a DICOM file" in text for text in warnings), warnings


def test_a_206_is_not_taken_for_the_whole(tmp_path: Path, fake_server: Callable[..., Fake]) -> None:
    """dcm4chee answers so where some instances cannot be had."""
    sent = study(1, 3)
    some = replace(related(multipart(i.data for i in sent[:2])), status=206)
    archive = Scripted(sent, counts=False, bend=bent("series", lambda _: some))
    _, code, warnings = retrieve(fake_server(archive).url, tmp_path / "out")
    assert (code, files(tmp_path / "out")) == (0, names(sent))
    assert any("206" in text for text in warnings)
    assert archive.retrieved("instances") == [sent[2].uid]


def test_a_warning_of_the_server_is_told(tmp_path: Path, fake_server: Callable[..., Fake]) -> None:
    def warned(answer: Answer) -> Answer:
        return replace(answer, headers={**dict(answer.headers), "Warning": '299 pacs "only some were included"'})

    archive = Scripted(study(1, 2), bend=bent("series", warned))
    _, code, warnings = retrieve(fake_server(archive).url, tmp_path / "out")
    assert code == 0
    assert any(text.endswith("the server warns: only some were included") for text in warnings), warnings


def test_files_that_name_another_study_than_the_server_are_kept_and_told_of_once(
    tmp_path: Path, fake_server: Callable[..., Fake]
) -> None:
    listed = study(1, 3)
    other = [images.instance("2.25.55", one.series, one.uid, side=8) for one in listed]
    archive = Scripted(listed, bend=bent("series", lambda _: related(multipart(other))))
    server = fake_server(archive)
    items, code, _ = retrieve(server.url, tmp_path / "out")
    assert code == 0
    assert [(item.outcome, item.instance) for item in items] == [("unexpected", one.uid) for one in listed]
    assert {item.reason for item in items} == {"its header says study 2.25.55"}
    assert archive.retrieved("instances") == []


def test_an_instance_that_the_series_does_not_list_is_told_of(tmp_path: Path, fake_server: Callable[..., Fake]) -> None:
    listed = study(1, 3)
    more = images.instance(STUDY, listed[0].series, "2.25.99", side=8)
    body = multipart([*(one.data for one in listed), more])
    items, code, warnings = retrieve(
        fake_server(Scripted(listed, bend=bent("series", lambda _: related(body)))).url, tmp_path / "out"
    )
    assert (code, len(items)) == (0, 4)
    assert any("1 received that the server does not list, such as 2.25.99" in text for text in warnings), warnings


def test_a_file_that_cannot_be_read_is_no_conflict(tmp_path: Path, fake_server: Callable[..., Fake]) -> None:
    sent = study(1, 2)
    out = tmp_path / "out"
    server = fake_server(Scripted(sent))
    assert retrieve(server.url, out)[1] == 0
    taken = next(out.rglob(f"{sent[0].uid}.dcm"))
    taken.unlink()
    taken.symlink_to(tmp_path / "gone")  # as a file that only others may read; that one could be read by root
    items, code, _ = retrieve(server.url, out)
    assert code == 3
    assert {item.outcome for item in items} == {"present", "failed"}
    assert any(f"{taken} exists but cannot be read" in item.reason for item in items)


def test_a_pipe_has_the_first_reason_on_stderr_too(
    run_dw: Dw, tmp_path: Path, fake_server: Callable[..., Fake]
) -> None:
    """stdout often goes nowhere in a cron job, and its mail is then all there is."""
    server = fake_server(Scripted(study(2, 2), bend=bent("series", lambda _: Answer(403, {}, b""))))
    run = run_dw("--url", server.url, "retrieve", "study", STUDY, "-o", tmp_path / "out")
    assert run.code == 4
    assert run.err.count("(403)") == 1, run.err


def test_another_layout_in_the_folder_is_told_of(run_dw: Dw, tmp_path: Path, fake_server: Callable[..., Fake]) -> None:
    server = fake_server(Scripted(study(1, 2)))
    line = ("--url", server.url, "retrieve", "study", STUDY, "-o", tmp_path / "out")
    assert run_dw(*line, "--layout", "{SOPInstanceUID}").err.count("--layout") == 0
    assert "was filled with another --layout" in run_dw(*line).err


def test_another_transfer_syntax_than_asked_for_is_not_kept(tmp_path: Path, fake_server: Callable[..., Fake]) -> None:
    archive = Scripted(study(1, 2))
    server = fake_server(archive)
    for _ in range(2):  # a second run must not find what the first one refused
        items, code, _ = retrieve(server.url, tmp_path / "out", transfer_syntax="1.2.840.10008.1.2.4.90")
        assert (code, files(tmp_path / "out")) == (1, {})
        assert all("1.2.840.10008.1.2.1" in item.reason for item in items)


# Logins and moves


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(
            Answer(200, {"Content-Type": "text/html"}, b"<!doctype html><html>log in</html>"), id="login-page"
        ),
        pytest.param(Answer(302, {"Location": "http://127.0.0.2:9/login"}), id="moved-elsewhere"),
    ],
)
def test_a_login_page_is_no_image(run_dw: Dw, tmp_path: Path, fake_server: Callable[..., Fake], answer: Answer) -> None:
    other = fake_server(lambda _: Answer(200, {}, b"caught"))
    if answer.status == 302:
        answer = replace(answer, headers={"Location": f"{other.url}/login"})
    archive = Scripted(study(1, 2), bend=bent("series", lambda _: answer))
    server = fake_server(archive)
    login = {"DW_URL": server.url, "DW_USER": "alice", "DW_PASSWORD": "secret"}
    run = run_dw("retrieve", "study", STUDY, "-o", tmp_path / "out", env=login)
    assert run.code == 4, run.err
    assert files(tmp_path / "out") == {}
    assert other.requests == []
    assert run.err.count("stopped, the rest was not tried; ") == 1  # and what to do


def test_a_401_after_the_first_series_keeps_what_came(
    orthanc: Orthanc, faults: Callable[..., Faults], run_dw: Dw, tmp_path: Path
) -> None:
    sent = stored(orthanc, study(3, 2))
    rule = {"turn": count()}
    denied = ProxyAnswer(401, {"WWW-Authenticate": "Basic"})
    proxy = faults(orthanc.url, lambda s: denied if retrieves(s, "/series/") and next(rule["turn"]) >= 1 else Pass())
    run = run_dw("retrieve", "study", STUDY, "-o", tmp_path / "out", "-j", "2", env=through(proxy, orthanc))
    assert run.code == 4, run.err
    assert len(files(tmp_path / "out")) == 2
    assert files(tmp_path / "out").items() <= names(sent).items()


def test_a_401_in_the_middle_refreshes_the_token_once(
    tmp_path: Path, run_dw: Dw, fake_server: Callable[..., Fake]
) -> None:
    sent = study(3, 2)
    turns = count()
    archive = Scripted(sent)

    def handle(request: Request) -> Answer:
        if is_retrieve(request) and next(turns) == 1:
            archive.expired = True  # type: ignore[attr-defined]
        wanted = "Bearer new" if getattr(archive, "expired", False) else "Bearer old"
        if request.header("Authorization") != wanted:
            return Answer(401, {"WWW-Authenticate": "Bearer"})
        return archive(request)

    server = fake_server(handle)
    token = tmp_path / "token"
    token.write_text("old")
    script = f"cat {token}; echo new > {token}"
    run_dw.config.write_text(
        f'default = "a"\n[profiles.a]\nurl = "{server.url}"\n'
        f"[profiles.a.auth]\nkind = \"bearer\"\ntoken_command = '''sh -c \"{script}\"'''\n"
    )
    run = run_dw("retrieve", "study", STUDY, "-o", tmp_path / "out", "-j", "1")
    assert (run.code, files(tmp_path / "out")) == (0, names(sent)), run.err


# A server that is busy


def test_a_429_waits_as_long_as_it_says(
    orthanc: Orthanc, faults: Callable[..., Faults], run_dw: Dw, tmp_path: Path
) -> None:
    sent = stored(orthanc, study(1, 2))
    proxy = faults(orthanc.url, once("/series/", ProxyAnswer(429, {"Retry-After": "1"})))
    run = run_dw("-v", "retrieve", "study", STUDY, "-o", tmp_path / "out", env=through(proxy, orthanc))
    assert (run.code, files(tmp_path / "out")) == (0, names(sent))
    assert "429" in run.err
    assert "in 1.0 s" in run.err


def test_ten_503_and_then_an_answer(
    orthanc: Orthanc, faults: Callable[..., Faults], run_dw: Dw, tmp_path: Path
) -> None:
    sent = stored(orthanc, study(1, 2))
    proxy = faults(orthanc.url, first(10, ProxyAnswer(503, {"Retry-After": "0"})))
    run = run_dw("retrieve", "study", STUDY, "-o", tmp_path / "out", env=through(proxy, orthanc))
    assert (run.code, files(tmp_path / "out")) == (0, names(sent)), run.err


def test_503_for_ever_is_to_be_tried_later(
    orthanc: Orthanc, faults: Callable[..., Faults], run_dw: Dw, tmp_path: Path
) -> None:
    sent = stored(orthanc, study(2, 2))
    turns = count()
    busy = ProxyAnswer(503, {"Retry-After": "0"})
    proxy = faults(orthanc.url, lambda s: busy if retrieves(s, "/series/") and next(turns) > 0 else Pass())
    run = run_dw("retrieve", "study", STUDY, "-o", tmp_path / "out", "-j", "2", env=through(proxy, orthanc))
    assert run.code == 75, run.err
    assert len(files(tmp_path / "out")) == 2
    assert files(tmp_path / "out").items() <= names(sent).items()


def test_a_busy_server_is_asked_by_fewer_at_once(tmp_path: Path, fake_server: Callable[..., Fake]) -> None:
    sent = study(24, 1, side=2)
    lock = threading.Lock()
    open_now, most = [0], [0]
    archive = Scripted(sent)

    def body(data: bytes) -> Iterator[bytes | float]:
        with lock:
            open_now[0] += 1
            most[0] = max(most[0], open_now[0])
        yield 0.02
        yield data
        with lock:
            open_now[0] -= 1

    turns = count()

    def bend(request: Request, answer: Answer) -> Answer:
        if not is_retrieve(request):
            return answer
        turn = next(turns)
        if turn < 4:
            return Answer(503, {"Retry-After": "0"})
        if turn == 12:
            with lock:
                most[0] = 0  # what was under way when it was said is over
        assert isinstance(answer.body, bytes)
        return replace(answer, body=body(answer.body), framing="chunked")

    archive.bend = bend
    _, code, _ = retrieve(fake_server(archive).url, tmp_path / "out", jobs=4)
    assert (code, files(tmp_path / "out")) == (0, names(sent))
    assert most[0] <= 2


# What the server can tell


def test_a_server_that_lists_nothing_is_said_to_be_unverified(
    fake_server: Callable[..., Fake], run_dw: Dw, tmp_path: Path
) -> None:
    sent = study(2, 2)
    environment = {"DW_URL": fake_server(Scripted(sent, lists=False)).url}
    report = tmp_path / "report.jsonl"
    run = run_dw("retrieve", "study", STUDY, "-o", tmp_path / "out", "--report", report, env=environment)
    assert (run.code, files(tmp_path / "out")) == (0, names(sent)), run.err
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert any(line.get("outcome") == "unverified" for line in lines)
    assert "1 not verified" in run.err
    run = run_dw("retrieve", "study", STUDY, "-o", tmp_path / "out2", "--verify", env=environment)
    assert (run.code, files(tmp_path / "out2")) == (3, names(sent))
    assert "unverified" in run.out
    run = run_dw("retrieve", "study", STUDY, "-o", tmp_path / "out3", "--dry-run", env=environment)
    assert run.code == 0
    assert (
        "would retrieve the instances of 1 references that the server does not list; nothing was retrieved" in run.err
    )


def test_tiny_pacs_which_counts_nothing_is_verified_by_its_lists(
    tiny_pacs: TinyPacs, run_dw: Dw, tmp_path: Path
) -> None:
    sent = stored(tiny_pacs, study(2, 2))
    line = ("retrieve", "study", STUDY, "-o", tmp_path / "out", "--verify")
    run = run_dw(*line, env=tiny_pacs.environment)
    # The server has put other file meta information before each data set.
    assert (run.code, files(tmp_path / "out").keys()) == (0, names(sent).keys()), run.err
    assert "unverified" not in run.out
    gone = tmp_path / "out" / STUDY / sent[0].series / f"{sent[0].uid}.dcm"
    gone.unlink()
    run = run_dw(*line, env=tiny_pacs.environment)
    assert (run.code, run.out.count("present"), run.out.count("received")) == (0, 3, 1), run.err


def test_instances_are_listed_by_the_metadata_where_no_search_finds_them(
    tmp_path: Path, fake_server: Callable[..., Fake]
) -> None:
    """Shanoir: no route for studies and series, searches for instances that find nothing, metadata of a series."""
    sent = study(1, 3)

    def bend(request: Request, answer: Answer) -> Answer:
        path = request.target.partition("?")[0]
        if path.endswith("/instances"):
            return Answer(200, {}, b"[]")
        if path.endswith(f"/series/{sent[0].series}/metadata"):
            rows = [{"00080018": {"vr": "UI", "Value": [one.uid]}} for one in sent]
            return Answer(200, {"Content-Type": "application/dicom+json"}, json.dumps(rows).encode())
        return Answer(404) if is_retrieve(request, "series") or is_retrieve(request, "studies") else answer

    _, code, _ = retrieve(fake_server(Scripted(sent, counts=False, bend=bend)).url, tmp_path / "out")
    assert (code, files(tmp_path / "out")) == (0, names(sent))


def test_an_answer_shorter_than_the_count_is_completed_from_the_list(
    tmp_path: Path, fake_server: Callable[..., Fake]
) -> None:
    sent = study(2, 3)
    archive = Scripted(sent, bend=bent("series", lambda _: related(multipart([sent[0].data])), times=1))
    _, code, _ = retrieve(fake_server(archive).url, tmp_path / "out", jobs=1, verify=True)
    assert (code, files(tmp_path / "out")) == (0, names(sent))


@pytest.mark.parametrize("empty", [True, False], ids=["empty-list", "no-list"])
def test_a_short_answer_that_no_list_explains_is_no_success(
    tmp_path: Path, fake_server: Callable[..., Fake], empty: bool
) -> None:
    """Shanoir answers every list of instances with 200 and nothing, others with 404."""
    sent = study(1, 3)

    def bend(request: Request, answer: Answer) -> Answer:
        if request.target.partition("?")[0].endswith("/instances"):
            return Answer(200, {}, b"[]") if empty else Answer(404)
        if is_retrieve(request, "series"):
            return related(multipart([sent[0].data]))
        return answer

    items, code, _ = retrieve(fake_server(Scripted(sent, bend=bend)).url, tmp_path / "out")
    assert (code, files(tmp_path / "out")) == (3, names(sent[:1]))
    assert any("1 of 3" in item.reason for item in items)


@pytest.mark.parametrize("empty", [True, False], ids=["empty-list", "no-list"])
def test_a_series_partly_there_is_fetched_whole_where_no_list_tells_the_rest(
    tmp_path: Path, fake_server: Callable[..., Fake], empty: bool
) -> None:
    sent = study(1, 3)
    there = tmp_path / "out" / sent[0].study / sent[0].series / f"{sent[0].uid}.dcm"
    there.parent.mkdir(parents=True)
    there.write_bytes(sent[0].data)

    def bend(request: Request, answer: Answer) -> Answer:
        if request.target.partition("?")[0].endswith("/instances"):
            return Answer(200, {}, b"[]") if empty else Answer(404)
        return answer

    items, code, _ = retrieve(fake_server(Scripted(sent, bend=bend)).url, tmp_path / "out")
    assert (code, files(tmp_path / "out")) == (0, names(sent))
    assert sorted(item.outcome for item in items) == ["present", "received", "received"]


def test_a_list_that_cannot_be_had_now_is_to_be_tried_later(tmp_path: Path, fake_server: Callable[..., Fake]) -> None:
    sent = study(1, 3)

    def bend(request: Request, answer: Answer) -> Answer:
        if request.target.partition("?")[0].endswith("/instances"):
            return Answer(503, {"Retry-After": "0"})
        return answer

    server = fake_server(Scripted(sent, counts=False, bend=bend))
    _, code, _ = retrieve(server.url, tmp_path / "out")
    assert (code, files(tmp_path / "out")) == (75, names(sent))


def test_a_study_that_is_not_there(orthanc: Orthanc, run_dw: Dw, tmp_path: Path) -> None:
    run = run_dw("retrieve", "study", "2.25.404", "-o", tmp_path / "out", env=orthanc.environment)
    assert run.code == 5, run.err


# Going on


def test_a_complete_study_is_not_asked_for_again(
    orthanc: Orthanc, faults: Callable[..., Faults], run_dw: Dw, tmp_path: Path
) -> None:
    sent = stored(orthanc, study(2, 3))
    proxy = faults(orthanc.url)
    line = ("retrieve", "study", STUDY, "-o", tmp_path / "out")
    assert run_dw(*line, env=through(proxy, orthanc)).code == 0
    before = len(proxy.seen)
    run = run_dw(*line, env=through(proxy, orthanc))
    assert (run.code, files(tmp_path / "out")) == (0, names(sent))
    # The series with their counts, and the page after them; no list of instances and no image.
    assert {seen.target.partition("?")[0] for seen in proxy.seen[before:]} == {f"/dicom-web/studies/{STUDY}/series"}
    assert run.out.count("present") == 6
    assert "6 already there" in run.err
    run = run_dw(*line, "--overwrite", env=through(proxy, orthanc))
    assert run.out.count("replaced") == 6


@pytest.mark.parametrize("layout", [None, "{PatientID}/{InstanceNumber}-{SOPInstanceUID}.dcm"])
def test_only_what_is_missing_is_asked_for(
    orthanc: Orthanc, faults: Callable[..., Faults], run_dw: Dw, tmp_path: Path, layout: str | None
) -> None:
    sent = stored(orthanc, study(3, 3))
    proxy = faults(orthanc.url)
    out = tmp_path / "out"
    line: list[str | Path] = ["retrieve", "study", STUDY, "-o", out, *(["--layout", layout] if layout else [])]
    assert run_dw(*line, env=through(proxy, orthanc)).code == 0
    whole = files(out)
    # One series is gone, one instance of another.
    gone = {*(one.uid for one in sent[:3]), sent[4].uid}
    for path in out.rglob("*.dcm"):
        if any(path.name.endswith(f"{uid}.dcm") for uid in gone):
            path.unlink()
    before = len(proxy.seen)
    run = run_dw(*line, env=through(proxy, orthanc))
    assert run.code == 0, run.err
    assert {name: digest for name, digest in files(out).items() if not name.startswith(".dw-")} == {
        name: digest for name, digest in whole.items() if not name.startswith(".dw-")
    }
    asked = [seen.target for seen in proxy.seen[before:] if retrieves(seen, f"/studies/{STUDY}")]
    base = f"/dicom-web/studies/{STUDY}/series/"
    assert sorted(asked) == sorted([base + sent[0].series, f"{base}{sent[4].series}/instances/{sent[4].uid}"])


def test_two_runs_into_one_folder_at_once(orthanc: Orthanc, run_dw: Dw, tmp_path: Path) -> None:
    sent = stored(orthanc, study(4, 10, side=64))
    line = ("retrieve", "study", STUDY, "-o", tmp_path / "out")
    running = [run_dw.start(*line, env=orthanc.environment) for _ in range(3)]
    for process in running:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert out.count(STUDY.encode() + b".") >= 40
    assert files(tmp_path / "out") == names(sent)
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".dw-")] == []


def test_max_errors_stops_the_run_and_says_so(tmp_path: Path, run_dw: Dw, fake_server: Callable[..., Fake]) -> None:
    sent = study(30, 1, side=2)
    archive = Scripted(sent, bend=lambda r, a: a if is_search(r) else Answer(500, {}, b"no"))
    line = ("retrieve", "study", STUDY, "-o", tmp_path / "out", "-j", "1", "--max-errors", "3")
    run = run_dw(*line, env={"DW_URL": fake_server(archive).url})
    assert run.code == 1, run.err
    assert run.out.count("failed") == 3
    assert "stopped after 3 failures" in run.err
    assert len(set(archive.retrieved("series"))) <= 4


def test_the_report_has_a_line_for_each_instance_and_a_summary(
    tmp_path: Path, run_dw: Dw, fake_server: Callable[..., Fake]
) -> None:
    sent = study(1, 3)
    archive = Scripted(sent)
    archive.bend = lambda r, a: (
        related(multipart(i.data for i in sent[:2]))
        if is_retrieve(r, "series")
        else Answer(500, {}, b"disk on fire")
        if is_retrieve(r, "instances")
        else a
    )
    report = tmp_path / "run.jsonl"
    line = ("retrieve", "study", STUDY, "-o", tmp_path / "out", "--report", report)
    run = run_dw(*line, env={"DW_URL": fake_server(archive).url})
    assert run.code == 3
    *lines, summary = [json.loads(text) for text in report.read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["received", "received", "failed"]
    assert all(set(line) == {"outcome", "study", "series", "instance", "path", "size", "reason"} for line in lines)
    assert "disk on fire" in lines[2]["reason"]
    assert lines[2]["instance"] == sent[2].uid
    assert Path(lines[0]["path"]).read_bytes() == sent[0].data
    assert set(summary) == {"summary", "whole", "bytes", "seconds", "exit"}
    assert summary["whole"] == 0
    assert summary["summary"] == {"received": 2, "failed": 1}
    assert summary["bytes"] == len(sent[0].data) + len(sent[1].data)
    assert summary["exit"] == 3


def test_verify_lists_each_series_and_finds_what_counts_hide(tmp_path: Path, fake_server: Callable[..., Fake]) -> None:
    sent = study(1, 3)
    other = images.instance(STUDY, sent[0].series, "2.25.999", side=8)
    # As many as announced, but one of them is another instance of the series.
    body = multipart([sent[0].data, sent[1].data, other])
    archive = Scripted(sent, bend=bent("series", lambda _: related(body)))
    server = fake_server(archive)
    _, code, _ = retrieve(server.url, tmp_path / "out", verify=True)
    assert code == 0
    assert names(sent).items() <= files(tmp_path / "out").items()
    assert archive.retrieved("instances") == [sent[2].uid]


def test_verify_of_a_folder_that_has_all(tmp_path: Path, fake_server: Callable[..., Fake]) -> None:
    sent = study(1, 3)
    archive = Scripted(sent)
    server = fake_server(archive)
    assert retrieve(server.url, tmp_path / "out")[1] == 0
    assert retrieve(server.url, tmp_path / "out", verify=True)[1] == 0
    archive.bend = lambda r, a: Answer(404) if r.target.partition("?")[0].endswith("/instances") else a
    items, code, _ = retrieve(server.url, tmp_path / "out", verify=True)
    assert code == 3
    assert "unverified" in {item.outcome for item in items}
