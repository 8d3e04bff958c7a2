"""The doctor before two real servers that are each other's opposite, and before ones that are out of order."""

import json
import tomllib
from collections.abc import Callable
from typing import Any

import pytest

from servers import images, wire
from servers.dw import Dw, Run
from servers.fake import Answer, Fake
from servers.orthanc import Orthanc
from servers.quirks import KINDS
from servers.tiny_pacs import TinyPacs

FILES = [
    images.instance(),
    images.instance(sop="2.25.4", number=2),
    images.instance("2.25.11", "2.25.12", "2.25.13", t00100020=("LO", "SECRET-ID"), t00100010=("PN", "Secret^Name")),
]


def findings(run: Run) -> dict[str, dict[str, Any]]:
    return {record["check"]: record for record in json.loads(run.out)}


def differing(run: Run) -> set[str]:
    return {name for name, record in findings(run).items() if record["result"] == "differs"}


def test_orthanc(orthanc: Orthanc, run_dw: Dw) -> None:
    wire.stow(orthanc.url, FILES, headers=orthanc.headers)
    run_dw("profile", "add", "o", orthanc.url, "--user", "alice", "--password-env", "PW")
    run = run_dw("doctor", "o", "--save", "--write", "-f", "json", env={"PW": "secret"})
    assert run.code == 0, run.err
    assert differing(run) == {
        "percent-encoding",
        "unknown key",
        "limit=0",
        "limit=-1",
        "unknown Accept",
        "XML",
        "HEAD /studies",
        "OPTIONS /studies",
        "unknown study",
        "single part",
        "zip",
        "length of a study",
        "rendered as GIF",
        "thumbnail",
        "WADO-URI encoding",
        "WADO-URI picture",
        "store with a transfer syntax in the part",
    }
    assert orthanc.count() == len(FILES)  # what it stored it has deleted
    assert "Secret" not in run.out + run.err
    assert "SECRET" not in run.out + run.err
    assert tomllib.loads(run_dw.config.read_text())["profiles"]["o"]["dialect"] == "orthanc"
    # The next run goes by it: a name with ^ is found, which the standard's escaping would not find there.
    again = run_dw("search", "PatientName=Secret^Name", "-f", "uids", "-vv", env={"PW": "secret"})
    assert again.lines == ["2.25.11"]
    assert "%5E" not in again.err


def test_tiny_pacs(tiny_pacs: TinyPacs, run_dw: Dw) -> None:
    wire.stow(tiny_pacs.url, FILES, headers=tiny_pacs.headers)
    run_dw("profile", "add", "t", tiny_pacs.url, "--token-env", "T")
    run = run_dw("doctor", "t", "--save", "-f", "json", env={"T": "tok123"})
    assert run.code == 0, run.err
    assert differing(run) == {
        "wildcards",
        "keys by tag",
        "unknown key",
        "limit=0",
        "limit=-1",
        "XML",
        "searches across studies",
        "counts of series",
        "RetrieveURL",
        "metadata",
        "frames",
        "rendered",
        "thumbnail",
    }
    assert tomllib.loads(run_dw.config.read_text())["profiles"]["t"]["dialect"] == "tiny-pacs"
    assert run_dw("search", "series", "-f", "uids", env={"T": "tok123"}).lines == ["2.25.2", "2.25.12"]


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("standard", {}),
        ("orthanc-0.4", {"json_type": "application/json"}),
        (
            "shanoir",
            {"paging_required": True, "relational": False, "retrieves": ["instance"], "offset_counts": "pages"},
        ),
        ("aws", {"relational": False, "retrieves": ["instance"]}),
    ],
)
def test_quirks_are_saved_as_settings(
    kind: str, wanted: dict[str, Any], fake_server: Callable[..., Fake], run_dw: Dw
) -> None:
    server = fake_server(KINDS[kind](3), path="/rs")
    run_dw("profile", "add", "p", server.url)
    run = run_dw("doctor", "p", "--save")
    assert run.code == 0, run.err
    saved = tomllib.loads(run_dw.config.read_text())["profiles"]["p"]["dialect"]
    assert {key: saved.get(key) for key in wanted} == wanted
    assert len(run_dw("search", "-f", "uids").lines) == 3


def test_a_terminal_gets_a_table_and_an_unnamed_server_no_save(tiny_pacs: TinyPacs, run_dw: Dw) -> None:
    run = run_dw("doctor", tty=150, env=tiny_pacs.environment)
    assert (run.code, "no study is there" in run.out) == (0, True)
    assert run_dw("doctor", "--save", env=tiny_pacs.environment).code == 2


@pytest.mark.parametrize(("status", "code"), [(401, 4), (403, 4)])
def test_a_server_that_lets_nobody_in(status: int, code: int, fake_server: Callable[..., Fake], run_dw: Dw) -> None:
    server = fake_server(lambda _request: Answer(status))
    assert run_dw("doctor", "--url", server.url).code == code
