"""`--anonymize`: what still names the patient is not kept."""

from collections.abc import Callable
from pathlib import Path

import pytest

from servers import images, wire
from servers.dw import Dw
from servers.fake import Answer, Fake
from servers.orthanc import Orthanc

NAMED = images.instance("1", "2", "3")
ANEW = images.instance("2.25.7", "2.25.8", "2.25.9")
REMOVED = images.instance("1", "2", "3", t00120062=("CS", "YES"))


@pytest.mark.parametrize(
    ("sent", "code", "names"),
    [(ANEW, 0, ["2.25.9.dcm"]), (REMOVED, 0, ["3.dcm"]), (NAMED, 1, []), (ANEW[:200], 1, [])],
    ids=["new UIDs", "marked", "as it is", "cut"],
)
def test_only_what_is_anonymous_is_kept(
    sent: bytes, code: int, names: list[str], fake_server: Callable[..., Fake], run_dw: Dw, tmp_path: Path
) -> None:
    server = fake_server(lambda _request: Answer(200, {"Content-Type": "application/dicom"}, sent), path="/rs")
    run_dw("profile", "add", "p", server.url, "--dialect", "dcm4chee")
    run = run_dw("retrieve", "instance", "1/2/3", "--wado-uri", "--anonymize", "-o", tmp_path / "out")
    assert run.code == code, run.err
    assert [path.name for path in (tmp_path / "out").rglob("*.dcm")] == names
    assert server.requests[0].target.endswith("&contentType=application/dicom&transferSyntax=*&anonymize=yes")


def test_orthanc_ignores_it_and_nothing_is_kept(orthanc: Orthanc, run_dw: Dw, tmp_path: Path) -> None:
    wire.stow(orthanc.url, [images.instance()], headers=orthanc.headers)
    run_dw("profile", "add", "o", orthanc.url, "--dialect", "orthanc", "--user", "alice", "--password-env", "PW")
    words = ("retrieve", "instance", "2.25.1/2.25.2/2.25.3", "--wado-uri", "--anonymize", "-o", tmp_path / "out")
    run = run_dw(*words, env={"PW": "secret"})
    assert (run.code, list((tmp_path / "out").rglob("*.dcm"))) == (1, []), run.err
    assert "the server did not de-identify the instance" in run.out


def test_it_needs_wado_uri(run_dw: Dw) -> None:
    assert run_dw("retrieve", "instance", "1/2/3", "--url", "http://127.0.0.1:9", "--anonymize").code == 2
