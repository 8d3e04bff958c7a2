"""The doctor before servers that are out of order: it ends, soon, and with the exit code that says why."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from dwcli import doctor
from dwcli.client import Client
from dwcli.dicomweb.dialects import PRESETS
from dwcli.doctor import session
from dwcli.doctor.probes import store
from dwcli.net.settings import Settings
from dwcli.net.transport import Transport
from servers.dw import Dw
from servers.fake import Answer, Fake, Request
from servers.faults import Faults, Hang, Pass
from servers.orthanc import Orthanc
from servers.quirks import Quirky
from servers.scripted import Scripted, study
from servers.tiny_pacs import TinyPacs

_PAGE = b"<!DOCTYPE html><html><title>Log in</title><form><input type=password></form></html>"
Servers = Callable[..., Fake]


def test_an_empty_server_is_looked_over_as_far_as_that_goes(tiny_pacs: TinyPacs, run_dw: Dw) -> None:
    run = run_dw("doctor", "-f", "json", env=tiny_pacs.environment)
    found = {record["check"]: record for record in json.loads(run.out)}
    assert run.code == 0
    assert found["sample"]["found"] == "no studies on this server"
    assert found["no match"]["found"] == "204 empty"
    assert "metadata" not in found


def test_without_a_sample_storing_still_shows_much(orthanc: Orthanc, run_dw: Dw) -> None:
    run = run_dw("doctor", "--write", "-f", "json", env=orthanc.environment)
    found = {record["check"]: record for record in json.loads(run.out)}
    assert (run.code, found["part without a type"]["result"], found["delete"]["found"]) == (0, "differs", "deleted")
    assert orthanc.count() == 0


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (Answer(401), 4, "requires a login"),
        (Answer(403), 4, "forbidden (403)"),
        (Answer(200, {"Content-Type": "text/html"}, _PAGE), 4, "web page"),
        (Answer(302, {"Location": "https://elsewhere.invalid/login"}), 4, "redirect"),
        (Answer(404), 1, "cannot search at"),
        (Answer(503, {"Retry-After": "900"}), 75, "is temporarily unavailable"),
        (Answer(200, {"Content-Type": "text/plain"}, b"hello"), 1, "not DICOM JSON"),
    ],
)
def test_what_is_no_server_is_said_at_once(
    answer: Answer, code: int, words: str, fake_server: Servers, run_dw: Dw
) -> None:
    server = fake_server(lambda _request: answer)
    run = run_dw("doctor", "--url", server.url, "--write")
    assert (run.code, words in run.err) == (code, True), run.err
    assert len(server.requests) <= 5


@pytest.mark.parametrize("body", [False, True])
def test_a_server_that_never_answers_is_soon_given_up(body: bool, fake_server: Servers, run_dw: Dw) -> None:
    def handler(_request: Request) -> Answer:
        if not body:
            time.sleep(4)
        return Answer(200, {"Content-Type": "application/dicom+json"}, [4.0, b"[]"], framing="chunked")

    server = fake_server(handler)
    run = run_dw("doctor", "--url", server.url, "--timeout", "1")
    assert (run.code, len(server.requests) <= 2, run.seconds < 8) == (75, True, True), run.err


def test_a_server_that_falls_silent_in_the_middle_is_left_alone(
    orthanc: Orthanc, faults: Callable[..., Faults], run_dw: Dw
) -> None:
    proxy = faults(orthanc.rest, lambda seen: Hang(0, of="whole") if seen.number > 4 else Pass())
    environment = {**orthanc.environment, "DW_URL": f"{proxy.url}/dicom-web"}
    run = run_dw("doctor", "--timeout", "1", "--write", "-f", "json", env=environment)
    assert (run.code, run.seconds < 15) == (75, True)
    rest = [record["found"] for record in json.loads(run.out) if record["check"] == "remaining checks"]
    assert rest == ["not checked: the server stopped responding"]


def test_a_body_that_trickles_for_ever_is_left_after_a_while(
    monkeypatch: pytest.MonkeyPatch, fake_server: Servers
) -> None:
    monkeypatch.setattr(session, "_BODY_SECONDS", 0.5)
    server = fake_server(lambda _request: Answer(200, {}, (b" " if n % 2 else 0.1 for n in range(200)), "chunked"))
    transport = Transport(Settings(base=server.url))
    began = time.monotonic()
    assert session.Session(Client(server.url, PRESETS["auto"], transport)).get("studies").status == 200
    assert time.monotonic() - began < 3
    transport.close()


def test_one_check_that_gets_no_answer_does_not_end_the_others(fake_server: Servers, run_dw: Dw) -> None:
    quirky = Quirky(3)

    def handler(request: Request) -> Answer:
        return Answer(reset=True, length=100) if "limit=0" in request.target else quirky(request)

    server = fake_server(handler, path="/rs")
    run = run_dw("doctor", "--url", server.url, "-f", "json")
    found = {record["check"]: record for record in json.loads(run.out)}
    assert (found["limit zero"]["result"], found["limit"]["result"]) == ("failed", "ok")
    assert "limit=abc" in found
    assert run.code == 3
    assert "1 could not be checked" in run.err


def test_a_healthy_server_is_asked_less_than_a_hundred_and_fifty_times(fake_server: Servers, run_dw: Dw) -> None:
    server = fake_server(Quirky(3), path="/rs")
    run = run_dw("doctor", "--url", server.url)
    assert (run.code, len(server.requests) < 100, run.seconds < 20) == (0, True, True)
    assert {request.method for request in server.requests} <= {"GET", "HEAD", "OPTIONS"}


@pytest.fixture
def asked(fake_server: Servers) -> Iterator[Callable[..., tuple[Client, Fake]]]:
    """`asked(handler, path="/rs")`: a client of a server, in this process."""
    opened: list[Transport] = []

    def make(handler: Callable[[Request], Answer], path: str = "/rs", dialect: str = "auto") -> tuple[Client, Fake]:
        server = fake_server(handler, path=path)
        opened.append(Transport(Settings(base=server.url, tries=1)))
        return Client(server.url, PRESETS[dialect], opened[-1]), server

    yield make
    for transport in opened:
        transport.close()


@pytest.mark.parametrize(("name", "most"), [("SECONDS", 0.5), ("REQUESTS", 12)])
def test_an_examination_has_an_end_however_slow_the_server(
    name: str, most: float, monkeypatch: pytest.MonkeyPatch, asked: Callable[..., tuple[Client, Fake]]
) -> None:
    quirky = Quirky(3)

    def slowly(request: Request) -> Answer:
        time.sleep(0.05)
        return quirky(request)

    monkeypatch.setattr(session, name, most)
    client, server = asked(slowly)
    *_, last = doctor.examine(client, write=True)
    assert (last.check, last.found) == (
        "remaining checks",
        f"not checked: stopped after {len(server.requests)} requests",
    )
    assert len(server.requests) <= 13
    assert last.failure == 75


def test_what_was_stored_goes_again_when_somebody_interrupts(orthanc: Orthanc) -> None:
    login = {"Authorization": orthanc.headers["Authorization"]}
    transport = Transport(Settings(base=orthanc.url, headers=login))
    with closing(doctor.examine(Client(orthanc.url, PRESETS["orthanc"], transport), write=True)) as findings:
        assert any(finding.check == "store again" for finding in findings)
        assert orthanc.count() == 1
    assert orthanc.count() == 0
    transport.close()


def test_what_a_proxy_lets_through_becomes_the_dialects(
    monkeypatch: pytest.MonkeyPatch, asked: Callable[..., tuple[Client, Fake]]
) -> None:
    monkeypatch.setattr(store, "_SIZES", (9000, 8000, 7000))
    archive = Scripted(study(1, 2))
    client, _ = asked(lambda request: Answer(413) if request.size > 8500 else archive(request), "", "tiny-pacs")
    found = list(doctor.examine(client, write=True, large=True))
    (large,) = [finding for finding in found if finding.check == "large request"]
    assert large.found == "8000 bytes: 200 application/dicom+json; 9000 bytes: 413"
    assert doctor.suggest_dialect(found, client).differences["store_bytes"] == 8000
