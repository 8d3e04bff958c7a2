"""Deleting on real servers, and the ways of those that cannot be started here, as their documents describe them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dwcli.client import Client
from dwcli.dicomweb import deletion, dialects
from dwcli.dicomweb.refs import InstanceRef, Level, StudyRef, parse
from dwcli.errors import AbsentError, ExitCode, ProtocolError
from dwcli.jobs import delete as job
from dwcli.net.settings import Settings
from dwcli.net.transport import Transport
from servers import images, wire
from servers.dw import Dw
from servers.fake import Answer, Fake, Request
from servers.orthanc import Orthanc
from servers.tiny_pacs import TinyPacs

STUDY = {"0020000D": {"vr": "UI", "Value": ["1.2"]}, "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^J"}]}}
SERIES = {"0020000E": {"vr": "UI", "Value": ["1.2.3"]}, "00201209": {"vr": "IS", "Value": [2]}}


class Shelf:
    """A scripted server with one study of one series of two instances, deleted in its own way."""

    def __init__(self, remove: Callable[["Shelf", Request], Answer]) -> None:
        self.there = True
        self.remove = remove

    def __call__(self, request: Request) -> Answer:
        path = request.target.partition("?")[0]
        if request.method != "GET" or "operations" in path:
            return self.remove(self, request)
        rows = []
        if self.there:
            match path.rsplit("/", 1)[1]:
                case "studies":
                    rows = [STUDY]
                case "series":
                    rows = [SERIES]
                case "instances":
                    rows = [{"00080018": {"vr": "UI", "Value": [f"1.2.3.{n}"]}} for n in (1, 2)]
        return Answer(200, {"Content-Type": "application/dicom+json"}, json.dumps(rows).encode())


@pytest.fixture
def client_of() -> Iterator[Callable[..., Client]]:
    made: list[Transport] = []

    def make(url: str, dialect: str) -> Client:
        made.append(Transport(Settings(url, tries=1)))
        return Client(url, dialects.choose(dialect), made[-1])

    yield make
    for transport in made:
        transport.close()


def test_orthanc_loses_an_instance_then_a_series_then_the_study(orthanc: Orthanc, run_dw: Dw, tmp_path: Path) -> None:
    files = images.big_study(tmp_path, 30_000, count=3, series=2)
    wire.stow(orthanc.url, files, headers=orthanc.headers)
    run_dw("profile", "add", "o", orthanc.url, "--dialect", "orthanc", "--user", "alice", "--password-env", "PW")
    env = {"PW": "secret"}
    rows = [json.loads(line) for line in run_dw("search", "instances", "-f", "jsonl", env=env).lines]
    first = "/".join(rows[0][tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018"))
    before = orthanc.count()
    run = run_dw("delete", first, "--yes", env=env)
    assert (run.code, orthanc.count()) == (0, before - 1), run.err
    series = run_dw("search", "series", "-f", "jsonl", env=env).lines
    one = json.loads(series[0])
    run = run_dw("delete", f"{one['0020000D']['Value'][0]}/{one['0020000E']['Value'][0]}", "--yes", env=env)
    assert run.code == 0, run.err
    assert len(run_dw("search", "series", "-f", "uids", env=env).lines) == len(series) - 1
    study = one["0020000D"]["Value"][0]
    run = run_dw("delete", "study", study, "--dry-run", "-f", "json", env=env)
    assert (json.loads(run.out)[0]["instances"], orthanc.count()) == (orthanc.count(), orthanc.count())
    run = run_dw("delete", "study", study, "--yes", env=env)
    assert (run.code, orthanc.count()) == (0, 0), run.err
    assert run.lines[1].startswith("deleted\t")
    assert run_dw("delete", "study", study, "--yes", env=env).code == 5


def test_it_asks_on_a_terminal_and_says_what_would_go(orthanc: Orthanc, run_dw: Dw) -> None:
    wire.stow(orthanc.url, [images.instance()], headers=orthanc.headers)
    url = ("--url", orthanc.url)
    env = orthanc.environment
    run_dw("profile", "add", "o", orthanc.url, "--dialect", "orthanc")
    named = ("-p", "o")
    env = {name: value for name, value in env.items() if name != "DW_URL"}
    run = run_dw("delete", "2.25.1", *url, env=env)
    assert (run.code, orthanc.count()) == (2, 1)
    assert "--yes" in run.err
    run = run_dw("delete", "2.25.1", *named, tty=100, stdin="n\n", env=env)
    assert (run.code, orthanc.count()) == (1, 1)
    assert "1 series, 1 instances" in run.err
    run = run_dw("delete", "2.25.1", *named, tty=100, stdin="y\n", env=env)
    assert (run.code, orthanc.count()) == (0, 0)


def test_auto_says_how_where_delete_is_refused(orthanc: Orthanc, run_dw: Dw) -> None:
    wire.stow(orthanc.url, [images.instance()], headers=orthanc.headers)
    run_dw("profile", "add", "o", orthanc.url, "--user", "alice", "--password-env", "PW")
    run = run_dw("delete", "2.25.1", "--yes", env={"PW": "secret"})
    assert (run.code, orthanc.count()) == (1, 1)
    assert "405" in run.out
    assert "dw doctor o" in run.err
    assert f"dw doctor --url {orthanc.url}" in run_dw("delete", "2.25.1", "--yes", env=orthanc.environment).err


def test_one_that_is_not_there_does_not_keep_the_others(orthanc: Orthanc, run_dw: Dw, tmp_path: Path) -> None:
    wire.stow(orthanc.url, [images.instance()], headers=orthanc.headers)
    run_dw("profile", "add", "o", orthanc.url, "--dialect", "orthanc", "--user", "alice", "--password-env", "PW")
    env = {"PW": "secret"}
    run = run_dw("delete", "study", "-", "--dry-run", stdin="9.9\n2.25.1\n", env=env)
    assert (run.code, len(run.lines), orthanc.count()) == (3, 2, 1)
    assert "lists no study 9.9" in run.err
    report = tmp_path / "r.jsonl"
    run = run_dw("delete", "study", "-", "--yes", "--report", report, stdin="9.9\n2.25.1\n", env=env)
    assert (run.code, orthanc.count()) == (3, 0)
    assert [line.split("\t")[:2] for line in run.lines[1:]] == [["failed", "9.9"], ["deleted", "2.25.1"]]
    assert "1 deleted, 1 failed" in run.err
    assert json.loads(report.read_text().splitlines()[-1])["exit"] == 3
    assert run_dw("delete", "study", "9.9", "--yes", env=env).code == 5


def test_an_answer_of_404_for_what_is_listed_is_a_failure(
    fake_server: Callable[..., Fake], client_of: Callable[..., Client]
) -> None:
    def gone_meanwhile(shelf: Shelf, _request: Request) -> Answer:
        shelf.there = False
        return Answer(404)

    client = client_of(fake_server(Shelf(lambda _shelf, _request: Answer(404))).url, "dcm4chee")
    item = job.delete(client, job.plan(client, StudyRef("1.2")), wait=lambda _seconds: None)
    assert (item.outcome, item.code) == ("failed", ExitCode.FAILED)
    assert "in another way" in item.reason
    client = client_of(fake_server(Shelf(gone_meanwhile)).url, "dcm4chee")
    assert job.delete(client, job.plan(client, StudyRef("1.2"))).outcome == "deleted"


def test_a_reason_is_a_code_and_its_scheme(orthanc: Orthanc, run_dw: Dw) -> None:
    wire.stow(orthanc.url, [images.instance()], headers=orthanc.headers)
    run_dw("profile", "add", "o", orthanc.url, "--dialect", "orthanc", "--user", "alice", "--password-env", "PW")
    env = {"PW": "secret"}
    run = run_dw("delete", "2.25.1", "--reason", "foo", "--yes", env=env)
    assert (run.code, orthanc.count(), "CODE^SCHEME" in run.err) == (2, 1, True)
    run = run_dw("delete", "2.25.1", "--reason", "113039^DCM", "--yes", env=env)
    assert (run.code, orthanc.count(), "--reason is ignored" in run.err) == (0, 0, True)


def test_a_folder_says_where_its_files_are(run_dw: Dw, tmp_path: Path) -> None:
    run = run_dw("-p", "local", "delete", "2.25.1", "--yes", env={"XDG_DATA_HOME": str(tmp_path / "kept here")})
    assert (run.code, f"they are in {tmp_path / 'kept here'}" in run.err) == (1, True)


def test_a_server_that_deletes_nothing_says_what_to_do(tiny_pacs: TinyPacs, run_dw: Dw) -> None:
    wire.stow(tiny_pacs.url, [images.instance()], headers=tiny_pacs.headers)
    run_dw("profile", "add", "t", tiny_pacs.url, "--dialect", "tiny-pacs", "--token-env", "T")
    run = run_dw("delete", "2.25.1", "--yes", env={"T": str(tiny_pacs.token)})
    assert (run.code, tiny_pacs.count()) == (1, 1)
    assert "storage folder" in run.err


def test_plain_delete(fake_server: Callable[..., Fake], client_of: Callable[..., Client]) -> None:
    def remove(shelf: Shelf, request: Request) -> Answer:
        shelf.there = False
        return Answer(204)

    server = fake_server(Shelf(remove))
    client = client_of(server.url, "standard")
    doomed = job.plan(client, StudyRef("1.2"))
    assert (doomed.series, doomed.instances) == (1, 2)
    assert job.delete(client, doomed).outcome == "deleted"
    sent = next(request for request in server.requests if request.method == "DELETE")
    assert sent.target == "/studies/1.2"


def test_a_reject_carries_its_reason(fake_server: Callable[..., Fake], client_of: Callable[..., Client]) -> None:
    def remove(shelf: Shelf, request: Request) -> Answer:
        shelf.there = False
        return Answer(200, {"Content-Type": "application/json"}, b'{"count":2}')

    server = fake_server(Shelf(remove))
    client = client_of(server.url, "dcm4chee")
    assert job.delete(client, job.plan(client, parse("1.2/1.2.3"))).outcome == "deleted"
    sent = next(request for request in server.requests if request.method == "POST")
    assert sent.target == "/studies/1.2/series/1.2.3/reject/113001%5EDCM"


@pytest.mark.parametrize("fails", [False, True])
def test_an_operation_is_followed_to_its_end(
    fails: bool, fake_server: Callable[..., Fake], client_of: Callable[..., Client]
) -> None:
    asked: list[str] = []

    def remove(shelf: Shelf, request: Request) -> Answer:
        answer: dict[str, object] = {"name": "projects/p/operations/7"}
        if request.method == "GET":
            asked.append(request.target)
            answer["done"] = len(asked) == 3
            if fails and answer["done"]:
                answer["error"] = {"code": 7, "message": "retention lock"}
            shelf.there = not answer["done"] or fails
        return Answer(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())

    server = fake_server(Shelf(remove))
    client = client_of(f"{server.url}/v1/projects/p/dicomWeb", "google")
    waited: list[float] = []
    item = job.delete(client, job.plan(client, StudyRef("1.2")), wait=waited.append)
    assert asked == ["/v1/projects/p/operations/7"] * 3
    assert (item.outcome, "retention lock" in item.reason) == (("failed", True) if fails else ("deleted", False))


def test_a_yes_is_not_believed_while_the_study_is_listed(
    fake_server: Callable[..., Fake], client_of: Callable[..., Client]
) -> None:
    client = client_of(fake_server(Shelf(lambda _shelf, _request: Answer(204))).url, "azure")
    item = job.delete(client, job.plan(client, StudyRef("1.2")), wait=lambda _seconds: None)
    assert (item.outcome, item.reason) == ("failed", "the server accepted the deletion but still lists it")


def test_nothing_is_planned_for_what_is_not_there(
    fake_server: Callable[..., Fake], client_of: Callable[..., Client]
) -> None:
    shelf = Shelf(lambda _shelf, _request: Answer(204))
    client = client_of(fake_server(shelf).url, "standard")
    with pytest.raises(AbsentError):
        job.plan(client, InstanceRef("1.2", "1.2.3", "9"))
    shelf.there = False
    with pytest.raises(AbsentError):
        job.plan(client, StudyRef("1.2"))


def test_a_lookup_keeps_the_level_asked_for() -> None:
    answer = json.dumps([{"ID": "a/b", "Type": "Series"}, {"ID": "c", "Type": "Study"}]).encode()
    assert [one.path for one in deletion.known(answer, Level.SERIES)] == ["series/a%2Fb"]
    for other in (b"<html>", b'[{"ID": "a"}]', b"3"):
        with pytest.raises(ProtocolError):
            deletion.known(other, Level.SERIES)
