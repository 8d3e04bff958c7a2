"""Every way in, against real providers: logged in, searched behind nginx, renewed, logged out."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import images
from servers.browser import Browser
from servers.dw import Dw
from servers.gate import Gate
from servers.nanoidp import Nanoidp
from servers.oidc_provider import OidcProvider
from servers.orthanc import Orthanc
from servers.wire import stow

Issuer = Nanoidp | OidcProvider
GRANTS = [
    ("nanoidp", "device"),
    ("nanoidp", "code"),
    ("nanoidp", "client_credentials"),
    ("nanoidp", "password"),
    pytest.param("oidc_provider", "device", marks=pytest.mark.interop),
    pytest.param("oidc_provider", "code", marks=pytest.mark.interop),
    pytest.param("oidc_provider", "client_credentials", marks=pytest.mark.interop),
]


@pytest.fixture(scope="module")
def nanoidp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nanoidp]:
    with Nanoidp(tmp_path_factory.mktemp("nanoidp")) as server:
        yield server


@pytest.fixture(scope="module")
def oidc_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OidcProvider]:
    with OidcProvider(tmp_path_factory.mktemp("oidc-provider")) as server:
        yield server


@pytest.fixture
def study(orthanc: Orthanc, tmp_path: Path) -> list[Path]:
    """Six instances of 100 kB, one a series, stored in Orthanc."""
    files = images.big_study(tmp_path / "study", 600_000, count=6, series=6)
    assert stow(orthanc.url, files, headers=orthanc.headers).status == 200
    return files


def add(dw: Dw, url: str, issuer: Issuer, grant: str, *, name: str = "p") -> None:
    """`dw profile add`, as the grant needs it."""
    machine = grant == "client_credentials"
    client = issuer.machine if machine else issuer.public
    extra: list[str] = ["--client-secret-env", "CLIENT_SECRET"] if machine else []
    if grant == "password":
        extra += ["--user", issuer.user, "--password-env", "PASSWORD"]
    dw.environment |= {"CLIENT_SECRET": issuer.machine_secret, "PASSWORD": issuer.password}
    done = dw(
        "profile", "add", name, url, "--dialect", "orthanc", "--auth", "oidc",
        "--issuer", issuer.issuer, "--client-id", client, "--grant", grant, *extra,
    )  # fmt: skip
    assert done.code == 0, done.err


def log_in(dw: Dw, issuer: Issuer, *, name: str = "p") -> str:
    """`dw profile login` with a person at a browser where it asks for one; returns what it said."""
    process = dw.start("profile", "login", name, "--no-browser")
    assert process.stderr is not None
    said = b""
    try:
        for line in process.stderr:
            said += line
            found = re.search(rb"(?:or go to|log in at) (http\S+)", line)
            if found:
                fields = {"login": issuer.user, "username": issuer.user, "password": issuer.password}
                Browser().visit(found[1].decode(), fields | {"action": "authorize"})
        assert process.wait(30) == 0, said.decode()
    finally:
        _end(process)
    return said.decode()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


@pytest.mark.parametrize(("provider", "grant"), GRANTS)
def test_each_grant_logs_in_and_searches(
    provider: str, grant: str, request: pytest.FixtureRequest, orthanc: Orthanc, study: list[Path], run_dw: Dw,
    tmp_path: Path,
) -> None:  # fmt: skip
    issuer: Issuer = request.getfixturevalue(provider)
    with Gate(tmp_path / "gate", orthanc.url, issuer, upstream_headers=orthanc.headers) as gate:
        add(run_dw, gate.url, issuer, grant)
        if grant in ("device", "code"):
            refused = run_dw("search")
            assert refused.code == 4
            assert "dw profile login p" in refused.err
            assert f"by {grant}" in log_in(run_dw, issuer)
        found = run_dw("search", "-f", "uids")
        assert found.code == 0, found.err
        assert len(found.lines) == 1
        assert gate.refused == 0
        out = run_dw("profile", "logout", "p")
        assert out.code == 0, out.err
        assert "logged out" in out.err
        if grant in ("device", "code"):
            assert run_dw("search").code == 4


@pytest.mark.interop
def test_a_retrieve_outlasts_five_tokens_without_an_error_shown(
    orthanc: Orthanc, study: list[Path], run_dw: Dw, tmp_path: Path
) -> None:
    with (
        OidcProvider(tmp_path / "idp", life=2) as issuer,
        Gate(
            tmp_path / "gate", orthanc.url, issuer, upstream_headers=orthanc.headers, location="limit_rate 40k;"
        ) as gate,
    ):
        add(run_dw, gate.url, issuer, "code")
        log_in(run_dw, issuer)
        # Each of the six takes more than a token's life.
        series = run_dw("search", "series", "-f", "uids").lines
        done = run_dw("retrieve", "series", *series, "-o", tmp_path / "out", "-j", "1")
        assert done.code == 0, done.err
        assert len(series) == 6
        assert "error" not in done.err.lower()
        assert "login" not in done.err.lower()
        assert len(list((tmp_path / "out").rglob("*.dcm"))) == 6
        assert done.seconds > 5 * issuer.life
        assert issuer.granted("refresh_token") >= 5
        assert len(gate.seen) >= 5


def expire(dw: Dw) -> None:
    """Let the kept access token have ended long ago; its refresh token stays good."""
    (file,) = (dw.home / "state").rglob("tokens/*.json")
    kept = json.loads(file.read_text())
    file.write_text(json.dumps(kept | {"expires": 1000.0, "issued": 0.0, "access": "expired"}))


@pytest.mark.interop
def test_ten_processes_with_an_expired_token_refresh_once(
    orthanc: Orthanc, study: list[Path], run_dw: Dw, tmp_path: Path
) -> None:
    with (
        OidcProvider(tmp_path / "idp", life=300) as issuer,
        Gate(tmp_path / "gate", orthanc.url, issuer, upstream_headers=orthanc.headers) as gate,
    ):
        add(run_dw, gate.url, issuer, "code")
        log_in(run_dw, issuer)
        expire(run_dw)
        assert ten_searches(run_dw) == [0] * 10
        assert issuer.granted("refresh_token") == 1
        assert gate.refused == 0


def ten_searches(dw: Dw) -> list[int]:
    """The exit codes of ten searches at once."""
    processes = [dw.start("search", "-f", "uids") for _ in range(10)]
    ended = [process.communicate(timeout=60) for process in processes]
    assert [out.count(b"\n") for out, _err in ended] == [1] * 10, ended
    return [process.returncode for process in processes]
