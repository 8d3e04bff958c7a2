"""Each preset, and `auto`, before a server with that preset's quirks: the same rows, the same files."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dwcli.client import Client
from dwcli.commands import matching
from dwcli.dicomweb import dialects
from dwcli.dicomweb.dicomjson import text
from dwcli.dicomweb.refs import Level, StudyRef
from dwcli.errors import RefusedError
from dwcli.files.sink import Sink
from dwcli.jobs.retrieve import Options, Retrieval
from dwcli.net.transport import Settings, Transport
from dwcli.options import MatchOptions
from servers import images, wire
from servers.dw import Dw
from servers.fake import Fake
from servers.quirks import KINDS, Deaf, OldOrthanc
from servers.tiny_pacs import TinyPacs

# What `auto` cannot learn there: a key that is refused stays refused, and the refusal says so.
_UNLEARNABLE = {"google", "azure"}

Both = pytest.mark.parametrize("preset", [pytest.param(False, id="auto"), pytest.param(True, id="preset")])
Kinds = pytest.mark.parametrize("kind", KINDS)


@dataclass(slots=True)
class Side:
    """`dw`'s side of the conversation, without a process for each word."""

    client: Client
    warnings: list[str] = field(default_factory=list)

    def uids(self, *terms: str, level: Level = Level.STUDY, **options: object) -> list[str]:
        queries = matching.build(level, MatchOptions(**options), terms)  # type: ignore[arg-type]
        return [text(row, level.uid_tag) for query in queries for row in self.client.search(query)]


@pytest.fixture
def side(fake_server: Callable[..., Fake]) -> Iterator[Callable[..., Side]]:
    """`side(kind, preset, studies)`: a client of that preset, or of `auto`, before the scripted server."""
    made: list[Transport] = []

    def make(kind: str, preset: bool, studies: int = 3) -> Side:
        url = fake_server(KINDS[kind](studies), path="/rs").url
        made.append(Transport(Settings(url, tries=1)))
        warnings: list[str] = []
        return Side(Client(url, dialects.choose(kind if preset else "auto"), made[-1], warn=warnings.append), warnings)

    yield make
    for transport in made:
        transport.close()


@Kinds
@Both
def test_every_study_is_found_once(kind: str, preset: bool, side: Callable[..., Side]) -> None:
    there = side(kind, preset, 230)
    assert there.uids() == [f"1.{n}" for n in range(230)]
    assert there.uids(offset=205, limit=10) == [f"1.{n}" for n in range(205, 215)]
    assert there.warnings == []
    assert side(kind, preset, 230).uids(offset=205, limit=10) == [f"1.{n}" for n in range(205, 215)]


@Kinds
@Both
def test_keys_find_what_they_name(kind: str, preset: bool, side: Callable[..., Side]) -> None:
    there = side(kind, preset)
    for typed in ("PatientName=Doe^1", "00100020=ID1", "StudyInstanceUID=1.1"):
        assert there.uids(typed) == ["1.1"], typed
    assert there.uids(patient_id="nobody") == []
    if kind in _UNLEARNABLE and not preset:
        with pytest.raises(RefusedError, match="unsupported"):
            there.uids("NumberOfStudyRelatedInstances=2")
    else:
        assert there.uids("NumberOfStudyRelatedInstances=2", patient="Doe*", modality="CT") == ["1.1"]


@Kinds
@Both
def test_a_study_is_retrieved_whole(kind: str, preset: bool, side: Callable[..., Side], tmp_path: Path) -> None:
    with Sink(tmp_path) as sink:
        items = list(Retrieval(side(kind, preset).client, sink, Options()).run([StudyRef("1.1")]))
    assert sorted((item.outcome, item.instance) for item in items) == [
        ("received", "1.1.1.1"),
        ("received", "1.1.1.2"),
    ]
    files = sorted(tmp_path.rglob("*.dcm"))
    assert files[0].read_bytes() == images.instance("1.1", "1.1.1", "1.1.1.1")


@Kinds
@Both
def test_instances_are_listed(kind: str, preset: bool, side: Callable[..., Side]) -> None:
    there = side(kind, preset)
    listed = there.uids(level=Level.INSTANCE, study="1.1", series="1.1.1")
    assert listed == ["1.1.1.1", "1.1.1.2"]


def test_names_of_the_old_plugin_are_read(fake_server: Callable[..., Fake], run_dw: Dw) -> None:
    run = run_dw("search", "--url", fake_server(OldOrthanc()).url, "-f", "flat", "--limit", "1")
    row = json.loads(run.out)
    assert (row["PatientName"], row["NumberOfStudyRelatedInstances"]) == ("Doe^0", 2)


def test_a_tag_that_tiny_pacs_ignores_is_filtered_here(tiny_pacs: TinyPacs, run_dw: Dw) -> None:
    other = images.instance("2.25.11", "2.25.12", "2.25.13", t00100020=("LO", "OTHER"))
    wire.stow(tiny_pacs.url, [images.instance(), other], headers=tiny_pacs.headers)
    run = run_dw("search", "00100020=OTHER", "-f", "uids", env=tiny_pacs.environment)
    assert (run.code, run.lines) == (0, ["2.25.11"])
    run = run_dw("search", "StudyDate=19990101", "-f", "uids", env=tiny_pacs.environment)
    assert (run.code, run.lines) == (0, [])
    run = run_dw("search", "StationName=NOWHERE", "-f", "uids", env=tiny_pacs.environment)
    assert (len(run.lines), "ignores StationName" in run.err) == (2, True)


def test_a_server_that_ignores_everything_is_told_of_and_filtered(fake_server: Callable[..., Fake], run_dw: Dw) -> None:
    url = fake_server(Deaf(5), path="/rs").url
    run = run_dw("search", "--url", url, "--patient-id", "ID3", "-f", "uids")
    assert (run.code, run.lines) == (0, ["1.3"])
    assert "ignores PatientID=ID3" in run.err
    run = run_dw("retrieve", "--url", url, "--patient-id", "ID3", "--dry-run", "-f", "json")
    assert [row["study"] for row in json.loads(run.out)] == ["1.3"]


def test_an_address_that_gives_its_server_away_is_told(run_dw: Dw) -> None:
    assert dialects.recognise("https://healthcare.googleapis.com/v1/projects/p") == "google"
    assert dialects.must_be_chosen("https://x-y.dicom.azurehealthcareapis.com/v2") == "azure"
    assert dialects.must_be_chosen("http://orthanc:8042/dicom-web") == ""
    run = run_dw("search", "--url", "http://127.0.0.1:9/viewer.shanoir/dicomweb", "--timeout", "1")
    assert "--dialect shanoir" in run.err
