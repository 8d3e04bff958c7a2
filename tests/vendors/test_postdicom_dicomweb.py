"""QIDO, WADO and STOW on PostDICOM's own paths, and on those of PS3.18 where a server does not have them."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dwcli.client import Client
from dwcli.dicomweb import dialects, refs
from dwcli.dicomweb.dicomjson import text
from dwcli.dicomweb.multipart import PartData, PartEnd
from dwcli.dicomweb.query import Query, Term
from dwcli.dicomweb.refs import InstanceRef, Level, Ref, SeriesRef, StudyRef
from dwcli.errors import AbsentError, DwError, ProtocolError, RefusedError
from dwcli.net.auth import basic
from dwcli.net.body import Part
from dwcli.net.settings import Settings, origin_of_url
from dwcli.net.transport import Transport
from servers import images
from servers.dw import Dw
from servers.fake import Answer, Fake
from servers.postdicom import PostDicom

STUDY = "2.25.71"
SERIES = ("2.25.72.1", "2.25.72.2")
COUNT = 3
FILES = {
    f"{series}.{number}": images.instance(STUDY, series, f"{series}.{number}", number=number)
    for series in SERIES
    for number in range(1, COUNT + 1)
}

Connect = Callable[..., Client]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """`connect(account)`: a client with the vendor's dialect and the account's login."""
    opened: list[Transport] = []

    def make(account: PostDicom | Fake) -> Client:
        login = None
        if isinstance(account, PostDicom):
            password = account.password
            login = basic(origin_of_url(account.url), account.user, lambda: password)
        opened.append(Transport(Settings(account.url, auth=login, tries=1, trust_env=False)))
        return Client(account.url, dialects.choose("postdicom"), opened[-1])

    yield make
    for transport in opened:
        transport.close()


def _store(client: Client, *names: str) -> None:
    for name in names or FILES:
        data = FILES[name]
        client.store([Part(len(data), lambda data=data: [data])], [name], on_bytes=lambda _: None)  # type: ignore[misc]


def _bodies(client: Client, ref: Ref) -> set[bytes]:
    """The whole parts of an answer."""
    found, body = set(), b""
    for event in client.retrieve(ref):
        match event:
            case PartData(data):
                body += data
            case PartEnd():
                found.add(body)
                body = b""
    return found


def _uids(client: Client, query: Query) -> list[str]:
    return [text(row, query.level.uid_tag) for row in client.search(query)]


@pytest.mark.parametrize(
    ("query", "target", "count"),
    [
        (Query(Level.STUDY, terms=(Term("00100020", "SYN1"),)), "GET /studies?00100020=SYN1", 1),
        (Query(Level.STUDY, terms=(Term(refs.STUDY_UID, STUDY),)), f"GET /studies?0020000D={STUDY}", 1),
        (Query(Level.SERIES, study=STUDY), f"GET /studies/series?0020000D={STUDY}", 2),
        (Query(Level.SERIES, study=STUDY, limit=1), f"GET /studies/series?0020000D={STUDY}", 1),
        (Query(Level.SERIES, study=STUDY, limit=5, offset=1), f"GET /studies/series?0020000D={STUDY}", 1),
        (Query(Level.INSTANCE, series=SERIES[0]), f"GET /studies/series/instances?0020000E={SERIES[0]}", COUNT),
        (
            Query(Level.INSTANCE, study=STUDY, series=SERIES[0]),
            f"GET /studies/series/instances?0020000E={SERIES[0]}",
            COUNT,
        ),
    ],
)
def test_a_search_is_one_request_on_the_vendors_path(
    postdicom: Callable[..., PostDicom], connect: Connect, query: Query, target: str, count: int
) -> None:
    account = postdicom()
    client = connect(account)
    _store(client)
    del account.requests[:]
    assert len(_uids(client, query)) == count
    assert account.targets == [target]


def test_a_search_below_several_series_walks_the_documented_searches(
    postdicom: Callable[..., PostDicom], connect: Connect
) -> None:
    account = postdicom()
    client = connect(account)
    _store(client)
    del account.requests[:]
    assert sorted(_uids(client, Query(Level.INSTANCE, study=STUDY))) == sorted(FILES)
    assert account.targets == [
        f"GET /studies/series?0020000D={STUDY}",
        *(f"GET /studies/series/instances?0020000E={series}" for series in SERIES),
    ]


@pytest.mark.parametrize(
    ("ref", "path", "count"),
    [
        (StudyRef(STUDY), f"studies/{STUDY}", 2 * COUNT),
        (SeriesRef("", SERIES[1]), f"studies/series/{SERIES[1]}", COUNT),
        (SeriesRef(STUDY, SERIES[1]), f"studies/series/{SERIES[1]}", COUNT),
        (InstanceRef("", "", "2.25.72.2.3"), "studies/series/instances/2.25.72.2.3", 1),
        (InstanceRef(STUDY, SERIES[1], "2.25.72.2.3"), "studies/series/instances/2.25.72.2.3", 1),
    ],
)
def test_a_retrieve_needs_the_objects_own_uid_only(
    postdicom: Callable[..., PostDicom], connect: Connect, ref: Ref, path: str, count: int
) -> None:
    account = postdicom()
    client = connect(account)
    _store(client)
    del account.requests[:]
    came = _bodies(client, ref)
    assert len(came) == count
    assert came <= set(FILES.values())
    assert account.targets == [f"GET /{path}"]


def test_a_store_goes_to_the_root_with_a_quoted_boundary(postdicom: Callable[..., PostDicom], connect: Connect) -> None:
    account = postdicom()
    _store(connect(account), "2.25.72.1.1")
    assert account.requests[0].target == "/dicomweb/"
    kind = account.requests[0].header("Content-Type") or ""
    assert re.fullmatch(r'multipart/related; type="application/dicom"; boundary="[^" ]+"', kind)


def test_a_server_with_standard_paths_is_asked_there_and_it_is_remembered(
    postdicom: Callable[..., PostDicom], connect: Connect
) -> None:
    account = postdicom(own=False)
    client = connect(account)
    _store(client, "2.25.72.1.1")
    _store(client, "2.25.72.1.2")
    assert account.targets == ["POST /", "POST /studies", "POST /studies"]
    del account.requests[:]
    for _ in range(2):
        assert _uids(client, Query(Level.SERIES, study=STUDY)) == [SERIES[0]]
    assert account.targets == [f"GET /studies/series?0020000D={STUDY}", *([f"GET /studies/{STUDY}/series"] * 2)]
    del account.requests[:]
    for _ in range(2):
        assert len(_bodies(client, SeriesRef(STUDY, SERIES[0]))) == 2
    assert account.targets == [f"GET /studies/series/{SERIES[0]}", *([f"GET /studies/{STUDY}/series/{SERIES[0]}"] * 2)]


@pytest.mark.parametrize(("ref", "count"), [(SeriesRef("", SERIES[0]), COUNT), (InstanceRef("", "", "2.25.72.1.2"), 1)])
def test_for_the_standard_path_the_uids_above_are_searched(
    postdicom: Callable[..., PostDicom], connect: Connect, ref: Ref, count: int
) -> None:
    account = postdicom(own=False)
    client = connect(account)
    _store(client)
    del account.requests[:]
    assert len(_bodies(client, ref)) == count
    assert account.targets[-1].startswith(f"GET /studies/{STUDY}/series/{SERIES[0]}")


@pytest.mark.parametrize("own", [True, False])
def test_what_neither_path_has_is_absent_in_the_servers_words(
    postdicom: Callable[..., PostDicom], connect: Connect, own: bool
) -> None:
    client = connect(postdicom(own=own))
    with pytest.raises(AbsentError, match="There are no such images" if own else "No such address"):
        list(client.retrieve(SeriesRef(STUDY, "2.25.404")))
    with pytest.raises(AbsentError):
        list(client.retrieve(SeriesRef("", "2.25.404")))


def test_a_refused_file_keeps_the_reason_of_the_first_path(
    postdicom: Callable[..., PostDicom], connect: Connect
) -> None:
    client = connect(postdicom())
    with pytest.raises(RefusedError, match="This is no DICOM file"):
        client.store([Part(4, lambda: [b"nope"])], ["2.25.9"], on_bytes=lambda _: None)


@pytest.mark.parametrize("status", [403, 409, 500])
def test_another_refusal_than_400_and_404_is_final(
    fake_server: Callable[..., Fake], connect: Connect, status: int
) -> None:
    server = fake_server(lambda _: Answer(status, {"X-Error-Reason": "because"}))
    with pytest.raises(DwError, match="because"):
        list(connect(server).search(Query(Level.SERIES, study=STUDY)))
    assert len(server.requests) == 1


def test_a_text_in_place_of_images_is_the_error(fake_server: Callable[..., Fake], connect: Connect) -> None:
    words = "Your plan does not include downloads. " * 5
    server = fake_server(lambda _: Answer(200, {"Content-Type": "text/plain"}, words.encode()))
    with pytest.raises(ProtocolError, match="Your plan does not include downloads"):
        list(connect(server).retrieve(StudyRef(STUDY)))


# The commands


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of FILES."""
    path = tmp_path / "in"
    path.mkdir()
    for name, data in FILES.items():
        (path / f"{name}.dcm").write_bytes(data)
    return path


def _came(out: Path) -> set[bytes]:
    return {path.read_bytes() for path in out.rglob("*.dcm")}


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("parents", [True, False])
def test_store_then_retrieve_by_each_uid(
    postdicom: Callable[..., PostDicom], run_dw: Dw, folder: Path, own: bool, parents: bool
) -> None:
    account = postdicom(own=own, parents=parents)
    run = account.profile(run_dw)
    stored = run("store", folder)
    assert stored.code == 0, stored.err
    assert f"{len(FILES)} stored" in stored.err
    assert sum(target.startswith("POST") for target in account.targets) >= len(FILES)
    series = {data for name, data in FILES.items() if name.startswith(SERIES[0])}
    for number, (words, wanted) in enumerate(
        [
            (["study", STUDY], set(FILES.values())),
            (["series", f"{STUDY}/{SERIES[0]}"], series),
            (["series", SERIES[0]], series),
            (["instance", "2.25.72.1.2"], {FILES["2.25.72.1.2"]}),
        ]
    ):
        out = run_dw.home / str(number)
        done = run("retrieve", *words, "-o", out)
        if not own and not parents and "/" not in words[1] and words[0] != "study":
            # Neither path is to be had: the server's says 404, and nothing names the study.
            assert done.code == 5
            continue
        assert done.code == 0, done.err
        assert _came(out) == wanted
        assert {path.parent.parent.name for path in out.rglob("*.dcm")} == {STUDY}


def test_a_retrieve_by_a_series_uid_goes_on_where_it_was(
    postdicom: Callable[..., PostDicom], run_dw: Dw, folder: Path
) -> None:
    account = postdicom()
    run = account.profile(run_dw)
    assert run("store", folder).code == 0
    out = run_dw.home / "out"
    assert run("retrieve", "series", SERIES[0], "-o", out).code == 0
    gone = next(out.rglob("*.dcm"))
    whole = gone.read_bytes()
    gone.unlink()
    del account.requests[:]
    again = run("retrieve", "series", SERIES[0], "-o", out)
    assert again.code == 0, again.err
    assert gone.read_bytes() == whole
    assert f"GET /studies/series/{SERIES[0]}" not in account.targets


def test_a_store_that_is_answered_by_nothing_is_proved_by_fetching(
    postdicom: Callable[..., PostDicom], run_dw: Dw, folder: Path
) -> None:
    account = postdicom(store_reply=b"")
    done = account.profile(run_dw)("store", folder)
    assert done.code == 0, done.err
    assert len(account.state.images) == len(FILES)
    assert "GET /studies/series/instances/2.25.72.1.1" in account.targets


def test_a_picture_is_made_here(postdicom: Callable[..., PostDicom], run_dw: Dw, folder: Path) -> None:
    account = postdicom()
    run = account.profile(run_dw)
    assert run("store", folder).code == 0
    picture = run_dw.home / "a.png"
    done = run("render", f"{STUDY}/{SERIES[0]}/2.25.72.1.1", "-o", picture)
    assert done.code == 0, done.err
    assert picture.read_bytes().startswith(b"\x89PNG")
