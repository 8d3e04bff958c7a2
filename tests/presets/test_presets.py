"""Each preset, and `auto`, before a server with that preset's quirks: the same rows, the same files."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dwcli.client import Client
from dwcli.commands import search_options
from dwcli.commands.search_options import MatchOptions
from dwcli.dicomweb import dialects
from dwcli.dicomweb.dicomjson import text
from dwcli.dicomweb.refs import InstanceRef, Level, Ref, SeriesRef, StudyRef
from dwcli.errors import DwError
from dwcli.files.sink import Sink
from dwcli.jobs import delete
from dwcli.jobs.retrieve import Options, Retrieval
from dwcli.net.settings import Settings
from dwcli.net.transport import Transport
from servers import images, wire
from servers.dw import Dw
from servers.fake import Fake
from servers.quirks import KINDS, Deaf, OldOrthanc
from servers.tiny_pacs import TinyPacs

# Where a server is in real life, as far as its address gives it away.
ADDRESSES = {
    "google": "/healthcare.googleapis.com/v1/projects/p/datasets/d/dicomStores/s/dicomWeb",
    "azure": "/w-s.dicom.azurehealthcareapis.com/v2",
    "aws": "/dicom-medical-imaging.eu-west-2.amazonaws.com/datastore/d",
    "dcm4chee": "/dcm4chee-arc/aets/DCM4CHEE/rs",
    "xnat": "/xapi/dicomweb",
    "shanoir": "/viewer.shanoir/dicomweb",
    "kheops": "/kheops/api",
}
STUDIES = 230

Kinds = pytest.mark.parametrize("kind", KINDS)


@dataclass(slots=True)
class Side:
    """`dw`'s side of the conversation, without a process for each word."""

    client: Client
    folder: Path
    warnings: list[str] = field(default_factory=list)

    def uids(self, *terms: str, level: Level = Level.STUDY, **options: object) -> list[str]:
        lists = ("modality", "patient_id", "accession", "study", "series")
        given = {name: [value] if name in lists else value for name, value in options.items()}
        keys = {key.name: given.pop(key.name) for key in search_options.KEYS if key.name in given}
        match = MatchOptions(keys, **given)  # type: ignore[arg-type]
        queries = search_options.build(level, match, terms)
        return [text(row, level.uid_tag) for query in queries for row in self.client.search(query)]

    def retrieved(self, ref: Ref) -> list[str]:
        with Sink(self.folder) as sink:
            items = list(Retrieval(self.client, sink, Options()).run([ref]))
        for item in items:
            if item.outcome == "failed":
                raise DwError(item.reason)
        files = {item.instance: Path(item.path).read_bytes() for item in items if item.path}
        return [uid for uid, data in files.items() if data == images.instance("1.1", "1.1.1", uid)]

    def deleted(self, ref: Ref) -> list[str]:
        item = delete.delete(self.client, delete.plan(self.client, ref), wait=lambda _seconds: None)
        if item.outcome != "deleted":
            raise DwError(item.reason)
        return [item.study]


@pytest.fixture
def side(fake_server: Callable[..., Fake], tmp_path: Path) -> Iterator[Callable[..., Side]]:
    """`side(kind, preset)`: a client of that preset, or of `auto`, before the scripted server."""
    made: list[Transport] = []

    def make(kind: str, preset: bool, path: str = "/rs") -> Side:
        url = fake_server(KINDS[kind](STUDIES), path=path).url
        made.append(Transport(Settings(url, tries=1)))
        warnings: list[str] = []
        client = Client(url, dialects.choose(kind if preset else "auto"), made[-1], warn=warnings.append)
        return Side(client, tmp_path, warnings)

    yield make
    for transport in made:
        transport.close()


SERIES, INSTANCE = Level.SERIES, Level.INSTANCE
ALL = [f"1.{n}" for n in range(STUDIES)]
ODD = [uid for n, uid in enumerate(ALL) if n % 2]
PAIR = ["1.1.1.1", "1.1.1.2"]

# What is done -> how, and what must come of it on every server
DEEDS: dict[str, tuple[Callable[[Side], list[str]], list[str]]] = {
    "all studies": (lambda at: at.uids(), ALL),
    "a later part": (lambda at: at.uids(offset=205, limit=10), ALL[205:215]),
    "beyond the end": (lambda at: at.uids(offset=STUDIES), []),
    "a large limit": (lambda at: at.uids(limit=6000), ALL),
    "a name": (lambda at: at.uids("PatientName=Doe^1"), ["1.1"]),
    "a pattern": (lambda at: at.uids(patient="Doe*"), ALL),
    "a pattern without match": (lambda at: at.uids(patient="Roe*"), []),
    "an id by tag": (lambda at: at.uids("00100020=ID1"), ["1.1"]),
    "nobody's id": (lambda at: at.uids(patient_id="nobody"), []),
    "a modality": (lambda at: at.uids(modality="CT"), ODD),
    "a rare key": (lambda at: at.uids("StudyTime=110000", limit=3), ["1.1", "1.11", "1.21"]),
    "two rare keys": (lambda at: at.uids("StudyTime=110000", patient="Doe^1*", limit=2), ["1.1", "1.11"]),
    "a study's series": (lambda at: at.uids(level=SERIES, study="1.1"), ["1.1.1"]),
    "all series": (lambda at: at.uids(level=SERIES), [f"{uid}.1" for uid in ALL]),
    "a series by its UID": (lambda at: at.uids(level=SERIES, series="1.1.1"), ["1.1.1"]),
    "a series' instances": (lambda at: at.uids(level=INSTANCE, study="1.1", series="1.1.1"), PAIR),
    "the second instance": (
        lambda at: at.uids("InstanceNumber=2", level=INSTANCE, study="1.1", series="1.1.1"),
        PAIR[1:],
    ),
    "a study's instances": (lambda at: at.uids(level=INSTANCE, study="1.1"), PAIR),
    "all instances": (
        lambda at: at.uids(level=INSTANCE, limit=3, offset=1),
        ["1.0.1.2", *PAIR],
    ),
    "a study retrieved": (lambda at: sorted(at.retrieved(StudyRef("1.1"))), PAIR),
    "a series retrieved": (lambda at: sorted(at.retrieved(SeriesRef("1.1", "1.1.1"))), PAIR),
    "a series retrieved by its UID": (lambda at: sorted(at.retrieved(SeriesRef("", "1.1.1"))), PAIR),
    "an instance retrieved": (lambda at: at.retrieved(InstanceRef("1.1", "1.1.1", PAIR[0])), PAIR[:1]),
    "metadata": (
        lambda at: [text(row, INSTANCE.uid_tag) for row in at.client.metadata(SeriesRef("1.1", "1.1.1"))],
        PAIR,
    ),
    "a study deleted": (lambda at: at.deleted(StudyRef("1.1")), ["1.1"]),
}
# What a server has no way for, so that its own preset must refuse it.
KEYED = "all studies, a later part, beyond the end, a large limit, a name, a pattern, a pattern without match"
IMPOSSIBLE: dict[str, set[str]] = {
    "aws": {"a study deleted", "a series retrieved by its UID"},
    "shanoir": {"a study deleted", "a series retrieved by its UID"},
    "xnat": {"a study deleted"},
    "tiny-pacs": {"a study deleted", "a series retrieved by its UID", "metadata"},
    "postdicom": {
        *KEYED.split(", "), "a modality", "a rare key", "two rare keys", "all series", "all instances", "metadata",
        "a study deleted", "a series by its UID", "the second instance",
    },
}  # fmt: skip


@Kinds
@pytest.mark.parametrize("deed", DEEDS)
def test_a_preset_does_everything_that_its_server_can(kind: str, deed: str, side: Callable[..., Side]) -> None:
    do, expected = DEEDS[deed]
    there = side(kind, True)
    if deed in IMPOSSIBLE.get(kind, ()):
        with pytest.raises(DwError):
            do(there)
    else:
        assert do(there) == expected


@Kinds
@pytest.mark.parametrize("deed", DEEDS)
def test_auto_ends_right_or_says_which_preset_to_choose(kind: str, deed: str, side: Callable[..., Side]) -> None:
    do, expected = DEEDS[deed]
    there = side(kind, False, ADDRESSES.get(kind, "/rs"))
    try:
        assert do(there) == expected
    except DwError as error:
        # Only what the preset could not do either may go without its name; what an address tells is told at the start.
        told = dialects.must_be_chosen(there.client.base) == kind
        advised = f"--dialect {kind.removesuffix('-0.4')}" in "\n".join(there.warnings)
        assert told or advised or deed in IMPOSSIBLE.get(kind, ()), (error.message, there.warnings)


# PostDICOM refuses what nobody would know to ask in its way, and says who it is.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "postdicom"])
def test_auto_searches_right_without_the_address_telling(kind: str, side: Callable[..., Side]) -> None:
    there = side(kind, False)
    for deed, (do, expected) in DEEDS.items():
        if "retrieved" not in deed and "deleted" not in deed and deed not in IMPOSSIBLE.get(kind, ()):
            assert do(there) == expected, deed


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
    assert (run.code, run.lines, "ignores StationName" in run.err) == (1, [], True)
    assert "its rows do not contain it" in run.err


def test_tiny_pacs_finds_what_was_asked_for_and_nothing_else(tiny_pacs: TinyPacs, run_dw: Dw) -> None:
    described = images.instance("2.25.11", "2.25.12", "2.25.13", t00081030=("LO", "Knee"), t00200010=("SH", "S1"))
    wire.stow(tiny_pacs.url, [images.instance("2.25.21", "2.25.22", "2.25.23"), described], headers=tiny_pacs.headers)

    def found(*asked: str) -> list[str]:
        return run_dw("search", *asked, "-f", "uids", env=tiny_pacs.environment).lines

    assert found("StudyDescription=x") == found("StudyDescription=x", "--limit", "1") == []
    assert found("--description", "Knee", "--limit", "1") == ["2.25.11"]
    assert found("00200010=S1") == ["2.25.11"]
    assert sorted(found("StudyInstanceUID=2.25.11,2.25.21")) == ["2.25.11", "2.25.21"]


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
