"""One client in many threads: each gets all its rows, whatever the others find out of the server meanwhile."""

import json
import random
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import count
from typing import Any

import httpx
import pytest

from dwcli.client import Client
from dwcli.client.learned import Known, Learned
from dwcli.dicomweb.dialects import Dialect, choose
from dwcli.dicomweb.dicomjson import text
from dwcli.dicomweb.multipart import PartEnd
from dwcli.dicomweb.query import Query, Term
from dwcli.dicomweb.refs import InstanceRef, Level, Ref, StudyRef
from dwcli.dicomweb.stow import Stored
from dwcli.net.body import Part
from dwcli.net.settings import Settings
from dwcli.net.transport import Transport
from servers import images, wire
from servers.fake import Answer, Request
from servers.orthanc import Orthanc as RealOrthanc
from servers.quirks import Aws, OldOrthanc, Orthanc, Quirky, Row, Shanoir, TinyPacs
from servers.scripted import item

THREADS = 8
STUDIES = 25
ALL = [f"1.{n}" for n in range(STUDIES)]
INSTANCES = [f"{uid}.1.{m}" for uid in ALL for m in (1, 2)]

Handler = Callable[[Request], Answer]


class InProcess(httpx.BaseTransport):
    """Hands each request to the handler of a fake, after a pause of a moment, so that threads come between."""

    def __init__(self, handler: Handler, pauses: random.Random | None = None) -> None:
        self._handler = handler
        self._pauses = pauses
        self.targets: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = b"".join(request.stream) if isinstance(request.stream, httpx.SyncByteStream) else b""
        target = request.url.raw_path.decode()
        self.targets.append(target.removeprefix("/dw/"))
        if self._pauses:
            time.sleep(self._pauses.choice((0, 0, 0.0005, 0.002)))
        answer = self._handler(Request(request.method, target, tuple(request.headers.items()), body, len(body)))
        assert isinstance(answer.body, bytes)
        return httpx.Response(answer.status, headers=dict(answer.headers), stream=httpx.ByteStream(answer.body))


def client_of(handler: Handler, pauses: random.Random | None = None, dialect: str = "auto") -> Client:
    url = "http://server/dw"
    http = InProcess(handler, pauses)
    client = Client(url, choose(dialect), Transport(Settings(url, tries=1), http=http))
    client.http = http  # type: ignore[attr-defined]
    return client


def storing(server: type[Quirky]) -> type[Quirky]:
    """The same server, which stores whatever is sent."""

    class Storing(server):  # type: ignore[misc, valid-type]
        def change(self, request: Request, parts: list[str]) -> Answer:
            found = re.findall(rb"UID:([\d.]+)", request.body)
            reply = {"00081199": {"vr": "SQ", "Value": [item(uid.decode()) for uid in found]}}
            return Answer(200, {"Content-Type": "application/dicom+json"}, json.dumps(reply).encode())

    return Storing


class IgnoresOffset(Quirky):
    def start(self, offset: int, limit: int) -> int:
        return 0


class CountsPages(Quirky):
    default_limit = largest_limit = 10

    def start(self, offset: int, limit: int) -> int:
        return offset * limit


class NeverDecodesNorKnowsWildcards(Orthanc):
    def matches(self, row: Row, key: str, value: str) -> bool:
        return "*" not in value and super().matches(row, key, value)


SERVERS = {
    "never decodes": Orthanc,
    "ignores offset": IgnoresOffset,
    "counts pages": CountsPages,
    "wants pages, lists instances in metadata": Shanoir,
    "knows no wildcards": TinyPacs,
    "never decodes and knows no wildcards": NeverDecodesNorKnowsWildcards,
    "searches in one study only": Aws,
    "one media type only": OldOrthanc,
}


def named(value: str, **more: Any) -> Query:
    return Query(Level.STUDY, terms=(Term("00100010", value),), **more)


def found(client: Client, query: Query) -> list[str]:
    return [text(row, query.level.uid_tag) for row in client.search(query)]


def retrieved(client: Client, ref: Ref) -> int:
    return sum(isinstance(event, PartEnd) for event in client.retrieve(ref))


def stored(client: Client, files: dict[str, bytes]) -> int:
    parts = [Part(len(data), lambda data=data: [data]) for data in files.values()]  # type: ignore[misc]
    reply = client.store(parts, list(files), on_bytes=lambda _n: None)
    return sum(isinstance(outcome, Stored) for outcome in reply.outcomes.values())


Deeds = list[tuple[Callable[[Client], object], object]]

# What is asked -> what must come of it, whatever else goes on
DEEDS: Deeds = [
    (lambda client: found(client, named("Doe^3")), ["1.3"]),
    (lambda client: found(client, named("Doe^*")), ALL),
    (lambda client: found(client, Query(Level.STUDY)), ALL),
    (lambda client: found(client, Query(Level.STUDY, offset=7, limit=5)), ALL[7:12]),
    (lambda client: found(client, Query(Level.SERIES)), [f"{uid}.1" for uid in ALL]),
    (lambda client: found(client, Query(Level.INSTANCE, "1.4", "1.4.1")), ["1.4.1.1", "1.4.1.2"]),
    (lambda client: retrieved(client, InstanceRef("1.4", "1.4.1", "1.4.1.2")), 1),
    (lambda client: stored(client, {uid: f"UID:{uid}".encode() for uid in ("2.25.1", "2.25.2")}), 2),
]


def together(client: Client, first: int, deeds: Deeds) -> list[str]:
    """What went wrong in eight threads, each of which does all deeds; where `first` is 1, each begins with another."""
    wrong: list[str] = []
    start = threading.Barrier(THREADS)

    def work(number: int) -> None:
        start.wait()
        for step in range(len(deeds)):
            index = (number * first + step) % len(deeds)
            do, expected = deeds[index]
            try:
                if (came := do(client)) != expected:
                    wrong.append(f"deed {index}: {came}")
            except Exception as error:
                wrong.append(f"deed {index}: {error!r}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads take turns a hundred times as often."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(interval / 100)
    yield
    sys.setswitchinterval(interval)


def rounds(server: type[Quirky], number: int) -> None:
    for seed in range(number):
        client = client_of(storing(server)(STUDIES), random.Random(seed))
        assert together(client, seed % 2, DEEDS) == [], f"round {seed}"


@pytest.mark.usefixtures("switching")
@pytest.mark.parametrize("server", SERVERS)
def test_eight_threads_get_all_their_rows_while_auto_learns(server: str) -> None:
    rounds(SERVERS[server], 2)


@pytest.mark.interop
@pytest.mark.usefixtures("switching")
@pytest.mark.parametrize("server", SERVERS)
def test_eight_threads_get_all_their_rows_in_200_rounds(server: str) -> None:
    rounds(SERVERS[server], 200)


def rounds_at(orthanc: RealOrthanc, number: int) -> None:
    """The same on a real server that never decodes: a name with a circumflex is found only by asking raw."""
    uids = [f"2.25.{n}" for n in range(1, 5)]
    files = {f"{uid}.1.1": images.instance(uid, f"{uid}.1", f"{uid}.1.1") for uid in uids}
    numbers = count(100)

    def fresh() -> dict[str, bytes]:
        # Of one instance that several threads store at once, Orthanc itself refuses some.
        uid = f"2.25.{next(numbers)}"
        return {uid: images.instance("2.25.9", "2.25.9.1", uid, t00100010=("PN", "Other"), t00100020=("LO", "OTHER"))}

    deeds: Deeds = [
        (lambda client: sorted(found(client, named("Synthetic^Test"))), uids),
        (lambda client: sorted(found(client, named("Synthetic^T*", limit=9))), uids),
        (lambda client: retrieved(client, StudyRef(uids[1])), 1),
        (lambda client: stored(client, fresh()), 1),
    ]
    wire.stow(orthanc.url, files.values(), headers=orthanc.headers)
    for seed in range(number):
        with closing(Transport(Settings(orthanc.url, headers=orthanc.headers, trust_env=False))) as transport:
            client = Client(orthanc.url, choose("auto"), transport)
            assert together(client, seed % 2, deeds) == [], f"round {seed}"
            assert client.dialect.escaping == "raw"


def test_eight_threads_get_all_their_rows_of_a_server_that_never_decodes(orthanc: RealOrthanc) -> None:
    rounds_at(orthanc, 3)


@pytest.mark.interop
def test_eight_threads_get_all_their_rows_of_a_server_that_never_decodes_200_times(orthanc: RealOrthanc) -> None:
    rounds_at(orthanc, 200)


# What another thread learns while this one's response is on its way


@pytest.mark.parametrize(
    ("server", "learnt", "query", "expected"),
    [
        (Orthanc, {"escaping": "raw"}, named("Doe^3"), ["1.3"]),
        (TinyPacs, {"wildcards": False}, named("Doe*"), ALL),
        (Aws, {"relational": False}, Query(Level.SERIES), [f"{uid}.1" for uid in ALL]),
        (Aws, {"relational": False}, Query(Level.INSTANCE, terms=(Term("00080060", "CT"),)), INSTANCES),
        (Aws, {"relational": False}, Query(Level.SERIES, terms=(Term("0020000D", "1.1,1.3"),)), ["1.1.1", "1.3.1"]),
        (Shanoir, {"paging_required": True, "page_size": 100}, Query(Level.STUDY, limit=3), ALL[:3]),
        (CountsPages, {"offset_counts": "pages", "page_size": 10}, Query(Level.STUDY), ALL),
        (Shanoir, {"instances_from": "metadata"}, Query(Level.INSTANCE, "1.4", "1.4.1"), ["1.4.1.1", "1.4.1.2"]),
    ],
)
@pytest.mark.parametrize("at", [1, 2, 3])
def test_what_another_thread_learns_during_a_request_leaves_no_row_out(
    server: type[Quirky], learnt: dict[str, Any], query: Query, expected: list[str], at: int
) -> None:
    plain, requests = server(STUDIES), count(1)

    def handler(request: Request) -> Answer:
        if next(requests) == at:
            client.learn(**learnt)
        return plain(request)

    client = client_of(handler)
    assert found(client, query) == expected


def test_a_response_is_judged_by_the_snapshot_that_its_request_used() -> None:
    """Asked as the standard says and found nothing: known by now to be a server that never decodes, it is asked raw."""
    client = client_of(lambda request: learning(request))

    def learning(request: Request) -> Answer:
        client.learn(escaping="raw")
        return Orthanc(STUDIES)(request)

    assert found(client, named("Doe^3", limit=1)) == ["1.3"]
    assert client.http.targets == ["studies?PatientName=Doe%5E3&limit=1", "studies?PatientName=Doe^3&limit=1"]  # type: ignore[attr-defined]


def test_a_search_that_is_loosened_changes_nothing_for_another() -> None:
    """While one thread tries a server raw, the next one still asks as the standard says."""
    seen: list[str] = []

    def handler(request: Request) -> Answer:
        if "St?" in request.target and not seen:
            seen.append(client.dialect.escaping)
            list(client.search(named("Doe^3", limit=1)))
        return Quirky(STUDIES)(replace(request, target=request.target.replace("St?", "St ")))

    client = client_of(handler)
    assert found(client, named("St X")) == []
    assert seen == ["auto"]
    assert "studies?PatientName=Doe%5E3&limit=1" in client.http.targets  # type: ignore[attr-defined]
    assert client.dialect.escaping == "auto"


# The memory itself


def test_a_field_is_learnt_only_where_nobody_has_learnt_otherwise_since() -> None:
    learned = Learned(choose("auto"), lambda _text: None)
    before = learned.now
    learned.learn(before, ("offset",), escaping="raw", refused_keys=("A",))
    learned.learn(before, escaping="standard", refused_keys=("B", "A"), wildcards=False)
    dialect = choose("auto")._replace(escaping="raw", refused_keys=("A", "B"), wildcards=False)
    assert learned.now == Known(dialect, frozenset([("offset",)]))
    assert before == Known(choose("auto"))


def test_nothing_that_threads_learn_at_once_is_lost() -> None:
    learned = Learned(choose("auto"), lambda _text: None)
    told: list[str] = []
    learned = Learned(Dialect(), told.append)

    def work(number: int) -> None:
        for step in range(50):
            learned.learn(learned.now, (number, step), refused_keys=(f"{number}-{step}",))
            learned.warn(f"step {step}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(learned.now.facts) == len(learned.now.dialect.refused_keys) == THREADS * 50
    assert sorted(told) == sorted(f"step {step}" for step in range(50))


def test_two_studies_are_retrieved_at_once_by_one_client() -> None:
    client = client_of(Quirky(STUDIES))
    first, second = client.retrieve(StudyRef("1.1")), client.retrieve(StudyRef("1.2"))
    ends = [0, 0]
    for event, other in zip(first, second, strict=True):
        ends[0] += isinstance(event, PartEnd)
        ends[1] += isinstance(other, PartEnd)
    assert ends == [2, 2]
