"""`dw orthanc` with a real pair: one Orthanc fetches from, sends to and deletes on the other."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from servers import images, wire
from servers.certificates import Certificates
from servers.dw import Dw, Run
from servers.fake import Answer, Fake, Request
from servers.nginx import Nginx
from servers.orthanc import Orthanc
from servers.tiny_pacs import TinyPacs


@pytest.fixture(scope="module")
def other_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("other-orthanc"), user="bob", password="b0b") as server:
        yield server


@pytest.fixture
def other(other_server: Orthanc) -> Orthanc:
    other_server.wipe()
    return other_server


@pytest.fixture
def near(orthanc: Orthanc, other: Orthanc, run_dw: Dw) -> Iterator[Callable[..., Run]]:
    """`near("retrieve", "b", …)` runs `dw orthanc …` on the first Orthanc, which knows the other as b."""
    run_dw("profile", "add", "a", orthanc.url, "--dialect", "orthanc", "--user", "alice", "--password-env", "PW")

    def run(*words: str, **how: object) -> Run:
        return run_dw("-p", "a", "orthanc", *words, env={"PW": "secret", "THEIRS": "b0b"}, **how)  # type: ignore[arg-type]

    added = run("servers", "add", "b", other.url, "--user", "bob", "--password-env", "THEIRS")
    assert added.code == 0, added.err
    yield run
    orthanc.core("DELETE", "/dicom-web/servers/b")


def test_servers_are_added_shown_and_removed(near: Callable[..., Run], other: Orthanc) -> None:
    near("servers", "add", "c", "http://c.example/rs", "--no-chunked", "--can-delete", "--remote-header", "X-A: 1")
    listed = json.loads(near("servers", "-f", "json").out)
    assert [(row["name"], row["url"], row["chunked"], row["delete"]) for row in listed] == [
        ("b", f"{other.url}/", True, False),
        ("c", "http://c.example/rs/", False, True),
    ]
    shown = near("servers", "show", "c").out
    assert "X-A" in shown
    assert "b0b" not in near("servers", "show", "b").out
    assert near("servers", "remove", "c").code == 0
    assert near("servers", "-f", "tsv").lines[1:] == [f"b\t{other.url}/\tbob\tyes\tno"]
    run = near("servers", "remove", "c")
    assert (run.code, "server c is not configured" in run.err, "servers add c" in run.err) == (5, True, False)
    assert near("servers", "forget", "b").code == 2


def test_get_shows_what_the_other_server_has(near: Callable[..., Run], other: Orthanc) -> None:
    wire.stow(other.url, [images.instance()], headers=other.headers)
    assert near("get", "b", "/studies", "--param", "PatientID=SYN1", "-f", "uids").out == "2.25.1\n"
    assert near("get", "b", "/studies", "--param", "PatientID=nobody", "-f", "uids").out == ""
    metadata = near("get", "b", "/studies/2.25.1/metadata", "-f", "jsonl")
    assert json.loads(metadata.out)["00100020"]["Value"] == ["SYN1"]
    xml = near("get", "b", "/series", "--remote-header", "Accept: application/dicom+xml")
    assert "<NativeDicomModel" in xml.out
    assert near("get", "b", "/studies/9.9").code == 5
    run = near("get", "nobody", "/studies")
    assert (run.code, "nobody" in run.err) == (5, True)


@pytest.mark.parametrize("how", [[], ["--priority", "7"]])
def test_the_real_ct_moves_there_and_back(
    how: list[str], near: Callable[..., Run], orthanc: Orthanc, other: Orthanc, cranium: list[Path], run_dw: Dw
) -> None:
    wire.stow(other.url, cranium, headers=other.headers)
    run = near("retrieve", "b", images.CRANIUM_STUDY, *how)
    assert (run.code, orthanc.count()) == (0, len(cranium)), run.err
    assert f"retrieved {len(cranium)} instances" in run.err
    other.wipe()
    run = near("stow", "b", f"{images.CRANIUM_STUDY}/{images.CRANIUM_SERIES}", *how)
    assert (run.code, other.count()) == (0, len(cranium)), run.err
    assert f"sent {len(cranium)} instances" in run.err
    run_dw("profile", "add", "b", other.url, "--dialect", "orthanc", "--user", "bob", "--password-env", "THEIRS")
    for name, server in {"a": orthanc, "b": other}.items():
        gone = run_dw(
            "-p", name, "delete", "study", images.CRANIUM_STUDY, "--yes", env={"PW": "secret", "THEIRS": "b0b"}
        )
        assert (gone.code, server.count()) == (0, 0), gone.err


def test_a_job_left_alone_can_be_followed_later(near: Callable[..., Run], orthanc: Orthanc, other: Orthanc) -> None:
    wire.stow(other.url, [images.instance()], headers=other.headers)
    number = near("retrieve", "b", "study", "2.25.1", "--detach", "--priority", "3").out.strip()
    run = near("job", number, "--wait", "-f", "json")
    assert (run.code, orthanc.count()) == (0, 1), run.err
    assert json.loads(run.out)[0]["state"] == "Success"
    assert near("job", "0000").code == 5


def test_what_is_not_there_is_a_failure(near: Callable[..., Run]) -> None:
    assert near("retrieve", "b", "9.9").code == 5
    assert near("stow", "b", "9.9").code == 5
    assert "server z is not configured" in near("retrieve", "z", "9.9").err


def test_delete_reaches_a_server_that_allows_it(near: Callable[..., Run], fake_server: Callable[..., Fake]) -> None:
    server = fake_server(lambda _request: Answer(200))
    near("servers", "add", "b", server.url, "--can-delete", "--replace")
    assert near("delete", "b", "1.2/3.4").code == 2
    run = near("delete", "b", "1.2/3.4", "--yes")
    assert run.code == 0, run.err
    assert [(request.method, request.target) for request in server.requests] == [("DELETE", "/studies/1.2/series/3.4")]


def test_a_server_that_knows_no_delete_is_named(near: Callable[..., Run], other: Orthanc) -> None:
    near("servers", "add", "b", other.url, "--user", "bob", "--password-env", "THEIRS", "--can-delete", "--replace")
    run = near("delete", "b", "1.2", "--yes")
    assert (run.code, "b failed: " in run.err, "does not support this DELETE" in run.err) == (1, True, True)
    assert near("delete", "nobody", "1.2", "--yes").code == 5


def test_a_query_in_the_path_is_asked_as_arguments(near: Callable[..., Run], other: Orthanc) -> None:
    wire.stow(other.url, [images.instance()], headers=other.headers)
    assert near("get", "b", "/studies?PatientID=SYN%31&limit=1", "-f", "uids").lines == ["2.25.1"]
    assert near("get", "b", "studies?PatientID=nobody", "--param", "limit=1", "-f", "uids").lines == []


def test_a_certificate_and_its_encrypted_key_open_the_other_server(
    other: Orthanc, certificates: Certificates, run_dw: Dw, tmp_path: Path
) -> None:
    key = load_pem_private_key(certificates.client_key.read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"0pen"))
    )
    wire.stow(other.url, [images.instance()], headers=other.headers)
    trust = {"HttpsVerifyPeers": True, "HttpsCACertificates": str(certificates.ca)}
    gate = Nginx(tmp_path / "nginx", other.url, certificates=certificates, client_certificate=True)
    with gate, Orthanc(tmp_path / "near", config=trust) as near:
        environment = {**near.environment, "THEIRS": "b0b", "KEY": "0pen"}
        words = ["--user", "bob", "--password-env", "THEIRS"]
        shown = ["--client-cert", certificates.client_certificate, "--client-key", locked]
        opened = [*shown, "--client-key-password-env", "KEY"]
        codes = []
        for options in (words, [*words, *shown], [*words, *opened]):
            added = run_dw("orthanc", "servers", "add", "b", gate.url, "--replace", *options, env=environment)
            assert added.code == 0, added.err
            run = run_dw("orthanc", "retrieve", "b", "2.25.1", env=environment)
            codes.append(run.code)
        assert (codes, near.count()) == ([1, 1, 0], 1)
        assert "0pen" not in run_dw("orthanc", "servers", "show", "b", env=environment).out


def test_another_dialect_is_wrong_usage(tiny_pacs: TinyPacs, run_dw: Dw) -> None:
    run_dw("profile", "add", "t", tiny_pacs.url, "--dialect", "tiny-pacs", "--token-env", "T")
    run = run_dw("-p", "t", "orthanc", "servers", env={"T": "tok123"})
    assert (run.code, "not an Orthanc" in run.err) == (2, True)


def test_a_login_that_the_other_server_refuses_is_not_ours(near: Callable[..., Run], other: Orthanc) -> None:
    wire.stow(other.url, [images.instance()], headers=other.headers)
    near("servers", "add", "b", other.url, "--user", "bob", "--password-env", "PW", "--replace")
    for words in (("get", "b", "/studies"), ("retrieve", "b", "2.25.1"), ("retrieve", "b", "2.25.1")):
        run = near(*words)
        assert run.code == 4, run.err
        assert ("b rejects Orthanc's login" in run.err, "profile edit a" in run.err) == (True, False)


def test_a_known_server_is_replaced_only_where_that_is_said(near: Callable[..., Run], other: Orthanc) -> None:
    run = near("servers", "add", "b", "http://c.example/rs")
    assert (run.code, "--replace" in run.err) == (2, True)
    assert near("servers", "-f", "tsv").lines[1].split("\t")[1] == f"{other.url}/"
    run = near("servers", "add", "b", "http://c.example/rs", "--replace")
    assert (run.code, "replaced b until its next restart" in run.err) == (0, True)


@pytest.mark.parametrize(("name", "url"), [("we ird/n", "http://c.example"), ("c", "http://u:p@c.example/rs")])
def test_a_server_that_cannot_be_added_is_refused_here(name: str, url: str, near: Callable[..., Run]) -> None:
    assert near("servers", "add", name, url).code == 2
    assert "c.example" not in near("servers").out


def test_one_bad_reference_does_not_hide_the_good_ones(
    near: Callable[..., Run], orthanc: Orthanc, other: Orthanc
) -> None:
    wire.stow(other.url, [images.instance()], headers=other.headers)
    run = near("retrieve", "b", "9.9", "2.25.1")
    assert (run.code, orthanc.count()) == (3, 1), run.err
    assert "b: study not found: 9.9" in run.err
    assert "retrieved 1 instances from b; 1 of 2 references failed" in run.err
    other.wipe()
    run = near("stow", "b", "9.9", "2.25.1")
    assert (run.code, other.count()) == (3, 1), run.err
    assert near("retrieve", "b", "9.9", "9.8").code == 5


def test_what_names_no_study_says_what_to_write(near: Callable[..., Run]) -> None:
    run = near("retrieve", "b", "series", "1.2")
    assert (run.code, run.err.endswith("write STUDY/SERIES\n")) == (2, True)
    run = near("job", "zzz")
    assert (run.code, "job not found: zzz" in run.err) == (5, True)


def test_ctrl_c_leaves_the_job_and_says_how_to_follow_it(fake_server: Callable[..., Fake], dw_process: Dw) -> None:
    def answer(request: Request) -> Answer:
        said: dict[str, object] = {"b": {}} if "servers?expand" in request.target else {"ID": "77"}
        if "/jobs/" in request.target:
            said = {"State": "Running", "Progress": 3, "Content": {}}
        return Answer(200, {"Content-Type": "application/json"}, json.dumps(said).encode())

    server = fake_server(answer)
    process = dw_process.start("--url", f"{server.url}/dicom-web", "orthanc", "retrieve", "b", "1.2")
    end = time.monotonic() + 20
    while not any("/jobs/" in request.target for request in server.requests) and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=20)
    assert (process.returncode, b"orthanc job 77 --wait" in err) == (130, True), err


@pytest.mark.parametrize("words", [["servers"], ["servers", "show", "x"], ["retrieve", "x", "1.2"], ["job", "x"]])
def test_what_no_orthanc_answers_is_said(words: list[str], fake_server: Callable[..., Fake], run_dw: Dw) -> None:
    server = fake_server(lambda _request: Answer(200, {"Content-Type": "application/json"}, b'{"errors":[1]}'))
    run = run_dw("--url", server.url, "orthanc", *words)
    assert (run.code, run.out, "unexpected response from Orthanc's DICOMweb plugin" in run.err) == (1, "", True)


def test_a_job_that_orthanc_forgets_is_no_success(fake_server: Callable[..., Fake], run_dw: Dw) -> None:
    def answer(request: Request) -> Answer:
        if "/jobs/" in request.target:
            return Answer(404)
        said: dict[str, object] = {"b": {}} if "servers?expand" in request.target else {"ID": "77"}
        return Answer(200, {"Content-Type": "application/json"}, json.dumps(said).encode())

    run = run_dw("--url", fake_server(answer).url, "orthanc", "retrieve", "b", "1.2")
    assert (run.code, "JobsHistorySize" in run.err) == (1, True)
