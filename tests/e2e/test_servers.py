"""The fixtures themselves: each server starts, stores and finds, and each fault comes as ordered."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from servers import images, wire
from servers.certificates import Certificates
from servers.dw import Dw
from servers.fake import Answer as FakeAnswer
from servers.fake import Fake
from servers.faults import (
    Answer,
    Cut,
    CutRequest,
    Delay,
    Faults,
    Flip,
    Hang,
    Pass,
    Rate,
    Rule,
    Seen,
    Trickle,
    first,
)
from servers.nginx import Nginx
from servers.orthanc import Orthanc
from servers.tiny_pacs import TinyPacs

BODY = bytes(range(256)) * 400
Framings = pytest.mark.parametrize("framing", ["length", "chunked", "close"])


@pytest.fixture
def behind(faults: Callable[..., Faults], fake_server: Callable[..., Fake]) -> Callable[..., Faults]:
    """`behind(rule, framing)`: a fault proxy before a server whose answer is BODY in three chunks."""

    def make(rule: Rule | Callable[[Seen], Rule], framing: str = "length") -> Faults:
        chunks = [BODY[:1000], BODY[1000:50_000], BODY[50_000:]]
        server = fake_server(lambda _: FakeAnswer(200, {}, chunks, framing=framing), path="/base")  # type: ignore[arg-type]
        return faults(server.url, rule)

    return make


def _received(url: str, patience: float = 20.0) -> tuple[bytes, str]:
    """What came of a body before the stream ended, and how: `whole`, `short`, `reset` or `silent`."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port or 80, timeout=patience)
    got = b""
    try:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        while data := response.read1(65536):
            got += data
    except http.client.IncompleteRead as problem:
        return got + problem.partial, "short"
    except http.client.RemoteDisconnected:
        return got, "short"
    except ConnectionResetError:
        return got, "reset"
    except TimeoutError:
        return got, "silent"
    except http.client.HTTPException:
        return got, "short"
    finally:
        connection.close()
    return got, "whole" if len(got) == len(BODY) else "short"


def test_orthanc_stores_and_finds(orthanc: Orthanc) -> None:
    reply = wire.stow(orthanc.url, [images.instance()], headers=orthanc.headers)
    assert reply.status == 200
    assert orthanc.count() == 1
    found = wire.request("GET", f"{orthanc.url}/studies?PatientName=Synth*", headers=orthanc.headers)
    assert [row["0020000D"]["Value"] for row in found.json()] == [["2.25.1"]]
    assert wire.request("GET", f"{orthanc.url}/studies").status == 401
    orthanc.wipe()
    assert orthanc.count() == 0


def test_tiny_pacs_stores_and_finds(tiny_pacs: TinyPacs) -> None:
    reply = wire.stow(tiny_pacs.url, [images.instance()], headers=tiny_pacs.headers)
    assert reply.status == 200, reply.body
    assert tiny_pacs.count() == 1
    found = wire.request("GET", f"{tiny_pacs.url}/studies?PatientID=SYN1", headers=tiny_pacs.headers)
    assert [row["0020000D"]["Value"] for row in found.json()] == [["2.25.1"]]
    assert wire.request("GET", f"{tiny_pacs.url}/studies").status == 401
    url = tiny_pacs.url
    tiny_pacs.wipe()
    assert (tiny_pacs.count(), tiny_pacs.url) == (0, url)


def test_a_server_dies_with_the_run_that_started_it(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; sys.path.insert(0, sys.argv[1]); "
        "from servers.tiny_pacs import TinyPacs; "
        "print(TinyPacs(Path(sys.argv[2])).pid, flush=True); time.sleep(60)"
    )
    tests = str(Path(__file__).resolve().parents[1])
    argv = [sys.executable, "-c", code, tests, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    deadline = time.monotonic() + 40
    while _running(pid):
        assert time.monotonic() < deadline, "the server outlived its test run"
        time.sleep(0.05)


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_nginx_asks_for_the_client_certificate(
    tmp_path: Path, certificates: Certificates, fake_server: Callable[..., Fake]
) -> None:
    upstream = fake_server(lambda _: FakeAnswer(body=b"in"), path="/base")
    with Nginx(
        tmp_path / "nginx",
        upstream.url,
        server="client_max_body_size 1k; location = /base/away { return 302 https://example.org/; }",
        certificates=certificates,
        client_certificate=True,
    ) as nginx:
        alice = certificates.client_context(alice=True)
        reply = wire.request("GET", nginx.url + "/x?a=%2A*", tls=alice)
        assert (reply.status, reply.body) == (200, b"in")
        assert upstream.requests[0].target == "/base/x?a=%2A*"
        assert wire.request("GET", nginx.url, tls=certificates.client_context()).status == 400
        assert wire.request("POST", nginx.url, body=bytes(2000), tls=alice).status == 413
        assert wire.request("GET", nginx.url + "/away", tls=alice).status == 302


@Framings
def test_proxy_passes_every_framing_unchanged(behind: Callable[..., Faults], framing: str) -> None:
    proxy = behind(Pass(), framing)
    assert _received(proxy.url) == (BODY, "whole")


@Framings
def test_proxy_cuts_where_it_was_told(behind: Callable[..., Faults], framing: str) -> None:
    proxy = behind(Cut(after=60_000), framing)
    got, how = _received(proxy.url)
    assert how == "short"
    assert BODY.startswith(got)
    # Sizes of chunks count: three of at most eight bytes each.
    assert 60_000 - 24 <= len(got) <= 60_000


def test_proxy_cuts_before_the_first_byte(behind: Callable[..., Faults]) -> None:
    assert _received(behind(Cut(after=0, of="whole")).url) == (b"", "short")


def test_proxy_resets_the_connection(behind: Callable[..., Faults]) -> None:
    assert _received(behind(Cut(after=5000, reset=True)).url)[1] == "reset"


def test_proxy_falls_silent(behind: Callable[..., Faults]) -> None:
    assert _received(behind(Hang(after=5000)).url, 1.0) == (BODY[:5000], "silent")


def test_proxy_goes_on_after_a_pause(behind: Callable[..., Faults]) -> None:
    assert _received(behind(Hang(after=5000, seconds=0.1)).url) == (BODY, "whole")


@pytest.mark.parametrize("rule", [Delay(0.1), Trickle(20_000, 0.02), Rate(1_024_000), Rate(1e9, delay=0.1)])
def test_proxy_is_slow_but_whole(behind: Callable[..., Faults], rule: Rule) -> None:
    began = time.monotonic()
    assert _received(behind(rule).url) == (BODY, "whole")
    assert time.monotonic() - began >= 0.09


def test_proxy_flips_one_byte(behind: Callable[..., Faults]) -> None:
    got, _ = _received(behind(Flip(at=1500)).url)
    assert [place for place in range(len(BODY)) if got[place] != BODY[place]] == [1500]


def test_proxy_answers_for_the_server_and_then_passes(behind: Callable[..., Faults]) -> None:
    proxy = behind(first(2, Answer(429, {"Retry-After": "1"}, b"later")))
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)
    statuses = []
    for _ in range(3):
        connection.request("POST", "/base/a//b?x=%5E^", body=bytes(100_000), headers={"X-Mine": "1"})
        response = connection.getresponse()
        statuses.append((response.status, response.headers.get("Retry-After"), len(response.read())))
    connection.close()
    assert statuses == [(429, "1", 5), (429, "1", 5), (200, None, len(BODY))]
    assert [(seen.method, seen.target) for seen in proxy.seen] == [("POST", "/base/a//b?x=%5E^")] * 3
    assert proxy.seen[2].header("x-mine") == "1"
    assert proxy.connections == 1


def test_proxy_cuts_an_upload(faults: Callable[..., Faults], fake_server: Callable[..., Fake]) -> None:
    server = fake_server(lambda _: FakeAnswer())
    proxy = faults(server.url, CutRequest(after=70_000))
    with pytest.raises((OSError, http.client.HTTPException)):
        wire.request("POST", proxy.url, body=bytes(5_000_000))
    deadline = time.monotonic() + 40
    while not server.requests and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [request.size for request in server.requests] == [70_000]


def test_proxy_passes_a_refusal_that_comes_before_the_body(
    faults: Callable[..., Faults], fake_server: Callable[..., Fake]
) -> None:
    server = fake_server(lambda _: FakeAnswer(), early=lambda _: FakeAnswer(413, body=b"too large"))
    proxy = faults(server.url)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + bytes(1000))
        assert client.recv(1000).startswith(b"HTTP/1.1 413 ")


@Framings
def test_fake_sends_the_framing_asked_for(fake_server: Callable[..., Fake], framing: str) -> None:
    server = fake_server(lambda _: FakeAnswer(201, [("A", "1"), ("A", "2")], [b"one", 0.01, b"two"], framing))  # type: ignore[arg-type]
    reply = wire.request("PUT", server.url + "//x?y", body=iter([b"a", b"bc"]))
    assert (reply.status, reply.body) == (201, b"onetwo")
    assert ("content-length" in reply.headers, "transfer-encoding" in reply.headers) == (
        framing == "length",
        framing == "chunked",
    )
    assert (server.requests[0].target, server.requests[0].body) == ("//x?y", b"abc")


def test_the_ct_is_the_same_each_time(cranium: list[Path]) -> None:
    import pydicom

    assert len(cranium) == 108
    first_slice, last_slice = pydicom.dcmread(cranium[0]), pydicom.dcmread(cranium[-1])
    assert (first_slice.PatientName, first_slice.Modality) == ("Cranium^Test", "CT")
    assert (first_slice.ImagePositionPatient[2], last_slice.ImagePositionPatient[2]) == (0, 160.5)
    middle = pydicom.dcmread(cranium[59]).pixel_array.astype(int) - 1024
    # Bone at the forehead, air of the sinus at the front, the table below the head.
    assert middle.max() > 1000
    assert middle[40:60, 110:150].min() < -900 < 900 < middle[:60].max()


def test_a_big_study_is_valid_and_repeatable(tmp_path: Path) -> None:
    import pydicom

    files = images.big_study(tmp_path / "a", 5_000_000, count=3, series=2)
    again = images.big_study(tmp_path / "b", 5_000_000, count=3, series=2)
    assert [file.read_bytes() for file in files] == [file.read_bytes() for file in again]
    sets = [pydicom.dcmread(file) for file in files]
    assert abs(sum(file.stat().st_size for file in files) - 5_000_000) < 3 * 600_000
    assert len({ds.SOPInstanceUID for ds in sets}) == 3
    assert (len({ds.StudyInstanceUID for ds in sets}), len({ds.SeriesInstanceUID for ds in sets})) == (1, 2)
    assert sets[0].pixel_array.shape == (3, 512, 512)


def test_pydicom_brings_its_files() -> None:
    names = {path.name for path in images.pydicom_files()}
    assert {"CT_small.dcm", "chrH31.dcm", "DICOMDIR", "README.txt"} <= names


def test_dw_runs_in_a_home_of_its_own(run_dw: Dw) -> None:
    run = run_dw("--help")
    assert run.code == 0, run.err
    assert "search" in run.out


def test_dw_sees_a_terminal_of_that_width(run_dw: Dw, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import os, sys; print(os.get_terminal_size(1).columns, [os.isatty(n) for n in range(3)]); "
        "print(os.get_terminal_size(2).columns, file=sys.stderr); print(input()); "
        "print(open('/dev/tty').fileno() > 2)"
    )
    monkeypatch.setattr(run_dw, "_command", lambda _: [sys.executable, "-c", code])
    run = run_dw(tty=97, stdin="typed\n")
    assert (run.code, run.lines) == (0, ["97 [True, True, True]", "typed", "True"])
    assert "97" in run.err
