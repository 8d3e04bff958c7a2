"""Credentials: at home, out of sight, and what is said where they are wrong."""

import base64
import json
import re
import shlex
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from servers import images
from servers.certificates import Certificates
from servers.dw import Dw, Run
from servers.fake import Answer, Fake, Request
from servers.issuer import FakeIssuer
from servers.nginx import Nginx
from servers.orthanc import Orthanc
from servers.tinyproxy import Tinyproxy
from servers.wire import stow

JSON = {"Content-Type": "application/dicom+json"}
STUDY, SERIES, INSTANCE = "2.25.1", "2.25.2", "2.25.3"


def rows(*found: dict[str, object]) -> Answer:
    return Answer(200, JSON, json.dumps(found).encode())


@pytest.fixture
def issuer() -> Iterator[FakeIssuer]:
    with FakeIssuer() as server:
        yield server


def letting_in(issuer: FakeIssuer) -> Callable[[Request], Answer]:
    """A server that takes the issuer's newest token only."""

    def handler(asked: Request) -> Answer:
        good = asked.header("Authorization") == f"Bearer access-{issuer.issued}"
        return rows({"0020000D": {"vr": "UI", "Value": [STUDY]}}) if good else Answer(401)

    return handler


def machine(dw: Dw, url: str, issuer: FakeIssuer) -> None:
    """A profile that logs in by itself."""
    dw.environment["CLIENT_SECRET"] = "client-s3cret"
    done = dw(
        "profile", "add", "p", url, "--auth", "oidc", "--issuer", issuer.issuer, "--client-id", "dw",
        "--client-secret-env", "CLIENT_SECRET", "--grant", "client_credentials",
    )  # fmt: skip
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--issuer", "id.example.org/realms/main"], "--issuer https://id.example.org/realms/main"),
        (["--issuer", "http://id.example.org"], "--issuer https://id.example.org"),
        (["--issuer", "ldap://id.example.org"], "https://id.example.org"),
        ([], "--issuer"),
    ],
)
def test_a_provider_that_cannot_work_is_not_written_down(run_dw: Dw, words: list[str], hint: str) -> None:
    done = run_dw("profile", "add", "p", "https://pacs", "--auth", "oidc", "--client-id", "dw", *words)
    assert done.code == 2
    assert hint in done.err
    assert not run_dw.config.exists()


# Renewal


def test_ten_processes_at_once_ask_the_provider_once(run_dw: Dw, issuer: FakeIssuer) -> None:
    with Fake(letting_in(issuer)) as server:
        machine(run_dw, server.url, issuer)
        processes = [run_dw.start("search", "-f", "uids") for _ in range(10)]
        for process in processes:
            process.communicate(timeout=60)
        assert [process.returncode for process in processes] == [0] * 10
        assert len(issuer.forms) == 1


def test_a_token_that_the_server_no_longer_takes_is_renewed_without_a_word(run_dw: Dw, issuer: FakeIssuer) -> None:
    with Fake(letting_in(issuer)) as server:
        machine(run_dw, server.url, issuer)
        assert run_dw("search").code == 0
        issuer.issued += 1
        again = run_dw("search")
        assert again.code == 0
        assert again.err == ""
        assert len(issuer.forms) == 2


def test_vv_shows_the_401_that_a_renewal_cured_and_how_the_token_was_had(run_dw: Dw, issuer: FakeIssuer) -> None:
    with Fake(letting_in(issuer)) as server:
        machine(run_dw, server.url, issuer)
        first = run_dw("search", "-vv").err
        assert f"> GET {issuer.issuer}/.well-known/openid-configuration\n< 200" in first
        assert f"> POST {issuer.issuer}/token\n< 200 application/json" in first
        issuer.issued += 1
        again = run_dw("search", "-vv")
        assert again.code == 0
        told = [line.split(" after ")[0] for line in again.err.splitlines()]
        assert [line for line in told if line.startswith("<")][:4] == [
            "< 401 no Content-Type",
            "< 200 application/json",
            "< 200 application/json",
            "< 200 application/dicom+json",
        ]
        assert told.index("< 401 no Content-Type") < told.index(f"> POST {issuer.issuer}/token") < len(told) - 1
        issuer.issued += 1
        assert run_dw("search", "-v").err == "login refused (401); retrying with a new token\n"
        assert not re.search(r"access-\d|client-s3cret|Bearer|Basic", first + again.err)


def test_a_token_command_is_run_again_after_a_401(run_dw: Dw, tmp_path: Path) -> None:
    count = tmp_path / "count"
    command = f"echo x >> {shlex.quote(str(count))}; wc -l < {shlex.quote(str(count))} | tr -d ' '"

    def handler(asked: Request) -> Answer:
        return rows() if asked.header("Authorization") == "Bearer 2" else Answer(401)

    with Fake(handler) as server:
        assert run_dw("profile", "add", "p", server.url, "--token-command", command).code == 0
        assert run_dw("search").code == 0
        assert count.read_text() == "x\nx\n"


def test_an_upload_of_300_mb_survives_a_401_in_constant_memory(run_dw: Dw, issuer: FakeIssuer, tmp_path: Path) -> None:
    (file,) = images.big_study(tmp_path / "big", 300_000_000)
    uid = images.uid(images.uid("big", 300_000_000, 1, 1), "instance", 1)
    stored = {
        "00081199": {
            "vr": "SQ",
            "Value": [
                {
                    "00081150": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.7.3"]},
                    "00081155": {"vr": "UI", "Value": [uid]},
                }
            ],
        }
    }
    sizes: list[int] = []

    def handler(asked: Request) -> Answer:
        if asked.method != "POST":
            return rows()
        sizes.append(asked.size)
        good = asked.header("Authorization") == "Bearer access-2"
        return Answer(200, JSON, json.dumps(stored).encode()) if good else Answer(401)

    with Fake(handler, keep_bodies=False) as server:
        machine(run_dw, server.url, issuer)
        process = run_dw.start("store", file)
        peak = 0
        while process.poll() is None:
            found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
            peak = max(peak, int(found[1]) if found else 0)
            time.sleep(0.01)
        _out, err = process.communicate()
        assert process.returncode == 0, err.decode()
        assert len(sizes) == 2
        assert min(sizes) > 290_000_000
        assert 10_000 < peak < 80_000


# At home


@pytest.fixture
def home(fake_server: Callable[..., Fake], run_dw: Dw) -> tuple[Fake, Fake]:
    """A server whose every answer points at the second one, and a profile for the first with a password."""
    other = fake_server(lambda _asked: rows())
    where = f"{other.origin}/dicom-web/studies/{STUDY}"
    row = {
        "0020000D": {"vr": "UI", "Value": [STUDY]},
        "0020000E": {"vr": "UI", "Value": [SERIES]},
        "00080018": {"vr": "UI", "Value": [INSTANCE]},
        "00081190": {"vr": "UR", "Value": [where]},
        "7FE00010": {"vr": "OW", "BulkDataURI": f"{where}/bulk"},
    }
    file = images.instance(STUDY, SERIES, INSTANCE)

    def handler(asked: Request) -> Answer:
        if "/moved" in asked.target:
            return Answer(302, {"Location": f"{other.origin}/login"})
        if asked.target.startswith(f"/dicom-web/studies/{STUDY}") and "metadata" not in asked.target:
            if "series?" in asked.target or "instances?" in asked.target or asked.target.endswith("/series"):
                return rows(row)
            return Answer(200, {"Content-Type": "application/dicom"}, file)
        return rows(row)

    server = fake_server(handler, path="/dicom-web")
    run_dw.environment["PASSWORD"] = "s3cret-pass"
    done = run_dw(
        "profile", "add", "p", server.url, "--user", "alice", "--password-env", "PASSWORD", "-H", "X-Key: k3y"
    )
    assert done.code == 0, done.err
    return server, other


@pytest.mark.parametrize(
    "command",
    [
        ["search", "--url", "{home}/moved"],
        ["request", "GET", "moved"],
        ["request", "POST", "moved", "--data", "x"],
        ["request", "GET", "{other}/dicom-web/studies"],
        ["retrieve", "{other}/dicom-web/studies/2.25.1", "-o", "out"],
        ["retrieve", "study", STUDY, "-o", "out"],
        ["retrieve", "bulkdata", f"{STUDY}/{SERIES}/{INSTANCE}", "7FE00010", "-o", "bulk"],
        ["retrieve", "bulkdata", f"{STUDY}/{SERIES}/{INSTANCE}", "{other}/dicom-web/bulk/1", "-o", "bulk"],
        ["metadata", "{other}/dicom-web/studies/2.25.1"],
    ],
    ids=lambda command: " ".join(command[:3])[:40],
)
def test_nothing_secret_goes_to_a_second_origin(home: tuple[Fake, Fake], run_dw: Dw, command: list[str]) -> None:
    server, other = home
    run_dw(*(word.format(home=server.url, other=other.origin) for word in command))
    for asked in other.requests:
        sent = " ".join(f"{name}: {value}" for name, value in asked.headers)
        assert "Authorization" not in sent
        assert "k3y" not in sent


def test_a_redirect_to_a_second_origin_is_told_and_exits_4(home: tuple[Fake, Fake], run_dw: Dw) -> None:
    server, other = home
    done = run_dw("search", "--url", f"{server.url}/moved")
    assert done.code == 4
    assert other.origin in done.err
    assert "dw profile test" in done.err
    assert not other.requests


def test_a_profiles_token_is_not_used_for_another_server(run_dw: Dw, issuer: FakeIssuer) -> None:
    with Fake(letting_in(issuer)) as server, Fake(lambda _asked: rows()) as other:
        machine(run_dw, server.url, issuer)
        assert run_dw("search").code == 0
        assert run_dw("profile", "edit", "p", "--url", other.url).code == 0
        assert run_dw("search").code == 0
        assert other.requests[-1].header("Authorization") == "Bearer access-2"


# Wrong ones


def test_missing_and_wrong_logins_exit_4_and_say_what_to_type(
    orthanc: Orthanc, run_dw: Dw, issuer: FakeIssuer, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine other.example.org login a password b\n")
    netrc.chmod(0o600)
    run_dw.environment |= {"WRONG": "wr0ng", "NETRC": str(netrc)}
    oidc = ["--auth", "oidc", "--issuer", issuer.issuer, "--client-id", "dw"]
    cases: list[tuple[list[str], str]] = [
        ([], "dw profile edit p0 --user U"),
        (["--user", "alice", "--password-env", "WRONG"], "dw profile edit p1"),
        (["--user", "alice", "--password-env", "UNSET"], "export UNSET"),
        (["--user", "alice", "--password-command", "exit 3"], "run it by hand"),
        (["--user", "alice", "--password-file", str(tmp_path / "none")], "cannot read the secret"),
        (["--user", "alice"], "--password-command"),
        (["--token-env", "WRONG"], "--token-command C"),
        (["--token-command", "echo wr0ng"], "--token-command C"),
        (["--netrc"], "machine 127.0.0.1 login"),
        (oidc, "dw profile login p9"),
        ([*oidc, "--client-secret-env", "UNSET", "--grant", "client_credentials"], "export UNSET"),
    ]
    for number, (options, hint) in enumerate(cases):
        assert run_dw("profile", "add", f"p{number}", orthanc.url, *options).code == 0
        done = run_dw("search", "-p", f"p{number}")
        assert done.code == 4, (options, done.err)
        assert hint in done.err, (options, done.err)
        assert "wr0ng" not in done.err
    bare = run_dw("search", "--url", orthanc.url)
    assert bare.code == 4
    assert "DW_USER" in bare.err


def test_a_login_that_the_provider_has_ended_exits_4_and_is_forgotten(run_dw: Dw, issuer: FakeIssuer) -> None:
    with Fake(letting_in(issuer)) as server:
        run_dw.environment["PASSWORD"] = "pass-w0rd"
        run_dw(
            "profile", "add", "p", server.url, "--auth", "oidc", "--issuer", issuer.issuer, "--client-id", "dw",
            "--grant", "password", "--user", "alice", "--password-env", "PASSWORD",
        )  # fmt: skip
        assert run_dw("profile", "login").code == 0
        del run_dw.environment["PASSWORD"]
        issuer.refresh = "another"
        issuer.issued += 1
        done = run_dw("search")
        assert done.code == 4, done.err


def test_a_password_in_a_configuration_that_others_can_read_is_not_used(orthanc: Orthanc, run_dw: Dw) -> None:
    added = run_dw("profile", "add", "p", orthanc.url, "--user", "alice", "--password-stdin", stdin="secret\n")
    assert added.code == 0
    assert stat.S_IMODE(run_dw.config.stat().st_mode) == 0o600
    assert run_dw("search").code == 0
    run_dw.config.chmod(0o640)
    done = run_dw("search")
    assert done.code == 2
    assert "chmod 600" in done.err


def test_netrc_gives_user_and_password(orthanc: Orthanc, run_dw: Dw) -> None:
    netrc = run_dw.home / ".netrc"
    netrc.write_text("machine 127.0.0.1 login alice password secret\n")
    netrc.chmod(0o600)
    assert run_dw("profile", "add", "p", orthanc.url, "--netrc").code == 0
    assert run_dw("search").code == 0
    netrc.chmod(0o644)
    done = run_dw("search")
    assert done.code == 4
    assert "chmod 600" in done.err


def test_a_proxys_password_is_no_option_and_is_not_shown(run_dw: Dw) -> None:
    refused = run_dw("profile", "add", "p", "http://127.0.0.1:9", "--proxy", "http://pat:pr0xy-pw@127.0.0.1:8")
    assert refused.code == 2
    assert run_dw("profile", "add", "p", "http://127.0.0.1:9", "--proxy", "http://127.0.0.1:8").code == 0
    run_dw.config.write_text(run_dw.config.read_text().replace("http://127.0.0.1:8", "http://pat:pr0xy-pw@127.0.0.1:8"))
    shown = run_dw("profile", "show", "p")
    assert "pr0xy-pw" not in refused.err + shown.out + shown.err
    assert "127.0.0.1:8" in shown.out


def test_proxies_of_the_environment_and_no_proxy(orthanc: Orthanc, dw_process: Dw, tmp_path: Path) -> None:
    with Tinyproxy(tmp_path / "proxy") as proxy:
        through = {**orthanc.environment, "http_proxy": proxy.url, "no_proxy": ""}
        assert dw_process("search", env=through).code == 0
        assert "GET http://127.0.0.1" in proxy.log
        before = proxy.log.count("GET http://127.0.0.1")
        assert dw_process("search", env={**through, "no_proxy": "127.0.0.1"}).code == 0
        assert proxy.log.count("GET http://127.0.0.1") == before
    refused = dw_process("search", env=through)
    said = f"cannot reach the proxy 127.0.0.1:{proxy.port} for 127.0.0.1:{orthanc.port}: Connection refused"
    assert refused.code == 75 and said in refused.err and "HTTP_PROXY" in refused.err


# TLS


@pytest.mark.parametrize("option", [["-q"], []])
def test_unchecked_certificates_are_said_even_when_quiet(run_dw: Dw, option: list[str]) -> None:
    run_dw("profile", "add", "p", "https://127.0.0.1:1", "--insecure")
    said = "warning: the certificate of https://127.0.0.1:1 is not verified (insecure)"
    assert said in run_dw(*option, "profile", "test", "p").err
    assert said not in run_dw("-q", "profile", "test", "p", "-q").err
    assert said not in run_dw("profile", "test", "p", "-qq").err
    run_dw("profile", "edit", "p", "--url", "http://127.0.0.1:1")
    assert "certificate" not in run_dw("profile", "test", "p").err


@pytest.mark.parametrize("one_file", [True, False])
def test_a_private_key_that_others_can_read_is_said(
    run_dw: Dw, tmp_path: Path, certificates: Certificates, one_file: bool
) -> None:
    cert, key = tmp_path / "me.pem", tmp_path / ("me.pem" if one_file else "a key.pem")
    cert.write_bytes((certificates.client if one_file else certificates.client_certificate).read_bytes())
    if not one_file:
        key.write_bytes(certificates.client_key.read_bytes())
    words: list[str | Path] = [] if one_file else ["--client-key", key]
    run_dw("profile", "add", "p", "https://127.0.0.1:1", "--client-cert", cert, *words)
    for mode, told in ((0o600, False), (0o640, True), (0o604, True)):
        key.chmod(mode)
        err = run_dw("profile", "test", "p").err
        assert (
            f"warning: other users can read the private key in {key}; hint: chmod 600 {shlex.quote(str(key))}" in err
        ) is told
        assert "PRIVATE KEY-" not in err


# profile test


def test_profile_test_names_each_step(orthanc: Orthanc, run_dw: Dw, tmp_path: Path, certificates: Certificates) -> None:
    assert stow(orthanc.url, [images.instance()], headers=orthanc.headers).status == 200
    with Nginx(tmp_path / "nginx", orthanc.url, certificates=certificates) as nginx:
        run_dw(
            "profile", "add", "p", nginx.url, "--dialect", "orthanc", "--user", "alice", "--password-command",
            "echo secret", "--ca", certificates.ca,
        )  # fmt: skip
        done = run_dw("profile", "test", "p")
        assert done.code == 0, done.err
        steps = [line.split("\t")[0] for line in done.lines[1:]]
        assert steps == ["name", "connection", "TLS", "login", "search", "retrieve"]
        assert "TLSv1." in done.out
        run_dw("profile", "edit", "p", "--ca", certificates.other_ca)
        wrong = run_dw("profile", "test", "p")
        assert wrong.code == 1
        assert wrong.lines[-1].startswith("TLS\tfailed")
        run_dw("profile", "edit", "p", "--ca", certificates.ca, "--password-command", "echo wr0ng")
        turned = run_dw("profile", "test", "p")
        assert turned.code == 4
        assert "login\tfailed" in turned.out
        assert "dw profile edit p" in turned.err


def test_profile_test_shows_what_a_login_page_looks_like(run_dw: Dw) -> None:
    page = b"<html><head><title>Sign in to\nHospital</title></head><form><input type=password></form></html>"
    with Fake(lambda _asked: Answer(200, {"Content-Type": "text/html"}, page)) as server:
        run_dw("profile", "add", "p", server.url)
        done = run_dw("profile", "test")
        assert done.code == 4
        assert "a web page titled 'Sign in to Hospital', with a password field" in done.out


# Out of sight


class Watch:
    """Collects the command lines of a process and of all that it starts, while it runs."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def run(self, dw: Dw, *words: str | Path, stdin: str = "") -> Run:
        """Run `dw WORDS -vv`, with an eye on it and its children."""
        process = dw.start(*words, "-vv")
        done = threading.Event()

        def look() -> None:
            while not done.is_set():
                self._note(process.pid)
                time.sleep(0.003)

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            out, err = process.communicate(stdin.encode(), 60)
        finally:
            done.set()
            watcher.join()
        return Run(process.returncode, out, err.decode(), 0.0)

    def _note(self, pid: int) -> None:
        try:
            self.seen.add(Path(f"/proc/{pid}/cmdline").read_text())
            for thread in Path(f"/proc/{pid}/task").iterdir():
                for child in (thread / "children").read_text().split():
                    self._note(int(child))
        except OSError:
            pass


def spellings(secret: str) -> set[str]:
    """Plain, Base64 at each alignment, percent-encoded and \\u-escaped."""
    raw = secret.encode()
    found = {secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    found.add("".join(f"\\u{ord(letter):04x}" for letter in secret))
    for shift in range(3):
        coded = base64.b64encode(b"x" * shift + raw).decode()
        found.add(coded[4 if shift else 0 : len(coded) - 4])
    return {word for word in found if len(word) >= 6}


def test_no_secret_is_seen_anywhere(
    orthanc: Orthanc, run_dw: Dw, issuer: FakeIssuer, tmp_path: Path, certificates: Certificates
) -> None:
    basic, token, client, person = "pässw0rd-basic", "t0ken-from-command", "cl1ent-secret/ä", "pers0n-password-é"
    secrets = {basic, token, client, person, "secret-header-k3y", "pr0xy-passw0rd", "netrc-passw0rd", "passphrase-w0rd"}
    config = run_dw.environment
    config |= {"BASIC": basic, "CLIENT": client, "PERSON": person, "PHRASE": "passphrase-w0rd"}
    tokens = tmp_path / "token"
    tokens.write_text(token + "\n")
    tokens.chmod(0o600)

    def echo(asked: Request) -> Answer:
        """Refuses, and says in its answer everything that it was told."""
        sent = asked.header("Authorization") or ""
        plain = base64.b64decode(sent.removeprefix("Basic ")).decode() if sent.startswith("Basic ") else sent
        words = f"no: {sent} {plain} {quote(plain)}"
        if "moved" in asked.target:
            return Answer(302, {"Location": "http://127.0.0.1:1/login"})
        if "metadata" in asked.target:
            return Answer(200, {"Content-Type": "text/plain"}, words.encode())
        status = 403 if "nine" in asked.target else 401
        return Answer(
            status, {"Content-Type": "application/json", "Warning": words}, json.dumps({"Message": words}).encode()
        )

    watch = Watch()
    said: list[str] = []
    file = tmp_path / "one.dcm"
    file.write_bytes(images.instance())

    def run(*words: str | Path, watched: bool = True) -> None:
        done = watch.run(run_dw, *words) if watched else run_dw(*words, "-vv")
        # The body of an answer to `dw request` is what the server sent, to the byte.
        said.append(f"$ {words}\n{'' if words[0] == 'request' else done.out}\n{done.err}")

    def everything(name: str) -> None:
        run("search", "-p", name)
        report, journal = tmp_path / f"{name}.jsonl", tmp_path / f"{name}-journal.jsonl"
        for words in (
            ["store", file, "--report", report, "--journal", journal],
            ["retrieve", "2.25.1", "-o", tmp_path / f"{name}-out", "--report", tmp_path / f"{name}-r.jsonl"],
            ["request", "GET", "moved"],
            ["request", "GET", "studies?nine=9"],
        ):
            run(*words, "-p", name, watched=False)
        run("profile", "test", name, watched=False)
        run("profile", "show", name, watched=False)

    with Fake(echo) as server:
        oidc = ["--auth", "oidc", "--issuer", issuer.issuer, "--client-id", "dw", "--client-secret-env", "CLIENT"]
        run("profile", "add", "basic", server.url, "--user", "alice", "--password-env", "BASIC", "-H", "X-Api-Key: x")
        written = run_dw.config.read_text().replace('"x"', '"secret-header-k3y"')
        run_dw.config.write_text(written)
        run("profile", "add", "good", orthanc.url, "--user", "alice", "--password-command", f"cat {tmp_path}/good")
        (tmp_path / "good").write_text("secret\n")
        run("profile", "add", "token", server.url, "--token-command", f"cat {shlex.quote(str(tokens))}")
        person_words = ("--grant", "password", "--user", "a", "--password-env", "PERSON")
        run("profile", "add", "person", server.url, *oidc, *person_words)
        run("profile", "add", "machine", server.url, *oidc, "--grant", "client_credentials")
        run(
            "profile", "add", "key", "https://127.0.0.1:1", "--client-cert", certificates.client, "--proxy",
            "http://127.0.0.1:1", "--client-key-password-env", "PHRASE",
        )  # fmt: skip
        run_dw.config.write_text(
            run_dw.config.read_text().replace('"http://127.0.0.1:1"', '"http://pat:pr0xy-passw0rd@127.0.0.1:1"')
        )
        netrc = run_dw.home / ".netrc"
        netrc.write_text("machine 127.0.0.1 login a password netrc-passw0rd\n")
        netrc.chmod(0o600)
        run("profile", "add", "netrc", server.url, "--netrc")
        run("profile", "login", "person")
        for name in ("basic", "good", "token"):
            everything(name)
        run("search", "-p", "netrc")
        run("search", "-p", "machine")
        run("search", "-p", "person")
        run("metadata", "-p", "basic", "2.25.1", watched=False)
        run("profile", "list", watched=False)
        run("search", "-p", "key", "--timeout", "1")
        run("profile", "test", "key")
        issuer.script = [(400, {"error": "invalid_grant", "error_description": f"{person} {client}"})] * 3
        run("profile", "login", "person")
        run("profile", "logout", "person")
        run("profile", "remove", "machine")
    assert issuer.issued > 2
    secrets |= {f"access-{number}" for number in range(1, issuer.issued + 1)}
    secrets |= {form[key] for form in issuer.forms for key in ("refresh_token", "client_secret") if key in form}

    kept = [path for folder in (run_dw.home, tmp_path) for path in folder.rglob("*") if path.is_file()]
    private = {run_dw.config, netrc, tokens, tmp_path / "good"}
    for path in kept:
        if path.parent.name == "tokens" or path == run_dw.config:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
            private.add(path)
    written = "\n".join(path.read_bytes().decode("utf-8", "replace") for path in kept if path not in private)
    lines = "\n".join(watch.seen)
    for secret in secrets:
        for word in spellings(secret):
            shown = [text for text in said if word in text]
            assert not shown, (secret, word, [text[max(0, text.index(word) - 100) :][:300] for text in shown[:1]])
            assert word not in written, (secret, word)
            assert word not in lines, (secret, word)
    assert "cat " in lines  # the eye was open: the commands that bring a secret were seen
    assert sys.executable in lines
