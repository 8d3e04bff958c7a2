"""The client of one server against servers that page, escape, label and end their answers in odd ways."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from dwcli.client import Client, Event, Opened
from dwcli.dicomweb.dialects import choose
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.dicomweb.multipart import PartData, PartEnd, Truncated
from dwcli.dicomweb.query import Query, Term
from dwcli.dicomweb.refs import FrameRef, InstanceRef, Level, SeriesRef, StudyRef
from dwcli.dicomweb.request import Rendering
from dwcli.errors import (
    AbsentError,
    AuthError,
    DwError,
    ProtocolError,
    RefusedError,
    TruncatedError,
    UsageError,
)
from dwcli.net.settings import Settings
from dwcli.net.transport import Transport
from servers.fake import Answer, Fake, Handler, Request

JSON = {"Content-Type": "application/dicom+json"}
DICM = b"\0" * 128 + b"DICM" + bytes(range(200))
STUDIES, SERIES, INSTANCES = Query(Level.STUDY), Query(Level.SERIES), Query(Level.INSTANCE)
REF = InstanceRef("1", "1.1", "1.1.1")

REFUSED = Answer(400, {"Content-Type": "text/plain"}, b"no such date or key")

Connect = Callable[..., Client]


@pytest.fixture
def connect(fake_server: Callable[..., Fake]) -> Iterator[Connect]:
    """`connect(handler, dialect)`: a client of a fake; `client.fake` and `client.said` are for the test."""
    opened: list[Client] = []

    def make(handler: Handler, dialect: str = "standard", **differences: Any) -> Client:
        server = fake_server(handler, path="/dw")
        said: list[str] = []
        transport = Transport(Settings(server.url, trust_env=False, tries=1, silence=20.0))
        client = Client(server.url, choose(dialect, differences), transport, warn=said.append)
        client.fake, client.said = server, said  # type: ignore[attr-defined]
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.transport.close()


def targets(client: Client) -> list[str]:
    return [request.target.removeprefix("/dw/") for request in client.fake.requests]  # type: ignore[attr-defined]


def said(client: Client) -> str:
    return "\n".join(client.said)  # type: ignore[attr-defined]


def element(vr: str, *values: object) -> dict[str, object]:
    return {"vr": vr, "Value": list(values)}


def study(n: int, **more: Any) -> Row:
    return {"0020000D": element("UI", str(n)), **more}


def rows(found: list[Row]) -> Answer:
    return Answer(200, JSON, json.dumps(found).encode())


def uids(found: Iterator[Row], tag: str = "0020000D") -> list[str]:
    return [text(row, tag) for row in found]


def asked(request: Request) -> dict[str, str]:
    return {k: v[0] for k, v in parse_qs(urlsplit(request.target).query).items()}


def paged(total: int, cap: int, *, ignores_offset: bool = False, counts: bool = False) -> Handler:
    """A server of `total` studies that gives at most `cap` at once."""

    def handler(request: Request) -> Answer:
        query = asked(request)
        offset = 0 if ignores_offset else int(query.get("offset", 0))
        size = min(cap, int(query.get("limit", cap)))
        found = [study(n) for n in range(offset, min(total, offset + size))]
        if not found:
            return Answer(204)
        more = {"X-Total-Count": str(total)} if counts else {}
        return Answer(200, {**JSON, **more}, json.dumps(found).encode())

    return handler


# Paging


@pytest.mark.parametrize(("total", "cap"), [(0, 10), (1, 10), (10, 10), (25, 10), (30, 7)])
def test_all_rows_come_whatever_the_servers_cap(connect: Connect, total: int, cap: int) -> None:
    client = connect(paged(total, cap))
    assert uids(client.search(STUDIES)) == [str(n) for n in range(total)]


def test_pages_are_counted_by_rows_received(connect: Connect) -> None:
    client = connect(paged(25, 10), page_size=20)
    assert len(uids(client.search(STUDIES))) == 25
    assert targets(client) == [
        "studies?limit=20", "studies?limit=20&offset=10", "studies?limit=20&offset=20", "studies?limit=20&offset=25",
    ]  # fmt: skip


def test_a_limit_asks_for_what_is_left_and_no_more(connect: Connect) -> None:
    client = connect(paged(100, 10))
    assert len(uids(client.search(Query(Level.STUDY, limit=15, offset=30)))) == 15
    assert targets(client) == ["studies?limit=15&offset=30", "studies?limit=5&offset=40"]


def test_a_server_that_ignores_offset_and_limit_ends_the_search(connect: Connect) -> None:
    client = connect(paged(5, 100, ignores_offset=True))
    assert len(uids(client.search(STUDIES))) == 5
    assert len(targets(client)) == 2
    assert said(client) == ""


def by_pages(total: int, cap: int) -> Handler:
    """A server whose `offset` counts pages of `limit` studies, of `cap` at most."""

    def handler(request: Request) -> Answer:
        query = asked(request)
        size = min(cap, int(query.get("limit", cap)))
        start = size * int(query.get("offset", 0))
        return rows([study(n) for n in range(start, min(total, start + size))])

    return handler


@pytest.mark.parametrize(("total", "cap"), [(120, 50), (100, 50), (50, 50), (10, 2), (3, 50), (121, 2)])
@pytest.mark.parametrize("server", [paged, by_pages])
@pytest.mark.parametrize(("offset", "limit"), [(0, None), (1, None), (7, 30), (0, 60), (60, 3), (500, None)])
def test_auto_loses_no_row_whatever_offset_counts(
    connect: Connect, server: Callable[..., Handler], total: int, cap: int, offset: int, limit: int | None
) -> None:
    client = connect(server(total, cap), "auto")
    found = uids(client.search(Query(Level.STUDY, limit=limit, offset=offset)))
    assert found == [str(n) for n in range(total)][offset : None if limit is None else offset + limit]
    assert said(client) == ""


def test_auto_finds_out_what_offset_counts_without_a_question_more(connect: Connect) -> None:
    client = connect(paged(5, 100), "auto")
    assert len(uids(client.search(STUDIES))) == 5
    assert targets(client) == ["studies", "studies?offset=4"]


def test_a_list_that_ends_with_its_first_page_does_not_tell_what_offset_counts(connect: Connect) -> None:
    few, many = by_pages(3, 10), by_pages(25, 10)
    client = connect(lambda request: few(request) if "PatientID" in request.target else many(request), "auto")
    assert len(uids(client.search(Query(Level.STUDY, terms=(Term("00100020", "*"),))))) == 3
    assert uids(client.search(STUDIES)) == [str(n) for n in range(25)]
    assert client.dialect.offset_counts == "pages"


@pytest.mark.parametrize("ignores", [True, False])
def test_auto_remembers_whether_offset_is_ignored(connect: Connect, ignores: bool) -> None:
    client = connect(paged(25, 100, ignores_offset=ignores), "auto")
    for _ in range(2):
        assert uids(client.search(STUDIES)) == [str(n) for n in range(25)]
    before = len(targets(client))
    assert uids(client.search(Query(Level.STUDY, offset=7, limit=5))) == [str(n) for n in range(7, 12)]
    assert targets(client)[before:] == ["studies" if ignores else "studies?limit=5&offset=7"]


@pytest.mark.parametrize("dialect", ["standard", "auto"])
def test_a_server_that_ignores_offset_and_caps_is_told_of(connect: Connect, dialect: str) -> None:
    client = connect(paged(120, 50, ignores_offset=True), dialect)
    assert len(uids(client.search(STUDIES))) == 50
    assert "more than the 50 rows" in said(client)


@pytest.mark.parametrize("dialect", ["standard", "auto"])
@pytest.mark.parametrize(("offset", "limit"), [(1, None), (2, 2), (9, None)])
def test_offset_is_counted_here_where_the_server_ignores_it(
    connect: Connect, dialect: str, offset: int, limit: int | None
) -> None:
    def handler(request: Request) -> Answer:
        if asked(request)["StudyInstanceUID"] == "2.25.17071979":
            return rows([])
        return rows([study(n) for n in range(1, 6)][: int(asked(request).get("limit", 9))])

    client = connect(handler, dialect)
    named = (Term("0020000D", "1,2,3,4,5"),)
    found = uids(client.search(Query(Level.STUDY, terms=named, limit=limit, offset=offset)))
    assert found == ["1", "2", "3", "4", "5"][offset : None if limit is None else offset + limit]
    client = connect(handler, dialect)
    found = uids(client.search(Query(Level.STUDY, terms=(Term("0020000D", "*"),), limit=limit, offset=offset)))
    assert found == ["1", "2", "3", "4", "5"][offset : None if limit is None else offset + limit]


def deaf(*found: Row, shows: tuple[str, ...] = ()) -> Handler:
    """A server that ignores every key and shows the attributes of `shows` only where they are asked for."""

    def handler(request: Request) -> Answer:
        query = parse_qs(urlsplit(request.target).query)
        include = query.get("includefield", [])
        offset, limit = int(query.get("offset", ["0"])[0]), int(query.get("limit", ["1000"])[0])
        given = [{t: e for t, e in row.items() if t not in shows or _keyword(t) in include} for row in found]
        return rows(given[offset : offset + limit])

    return handler


def _keyword(tag: str) -> str:
    return Term(tag, "").name


DESCRIBED = Term("00081030", "Knee")


def _described(*descriptions: str) -> list[Row]:
    return [study(n, **{"00081030": element("LO", *filter(None, [d]))}) for n, d in enumerate(descriptions)]


@pytest.mark.parametrize("dialect", ["standard", "auto"])
@pytest.mark.parametrize("shows", [(), ("00081030",)])
@pytest.mark.parametrize(("offset", "limit"), [(0, None), (0, 1), (1, None), (1, 1)])
@pytest.mark.parametrize(
    "descriptions", [["", "Knee", "Head", "Knee"], ["", "", "Head"], ["Knee", "", "Knee", "Knee"], ["", ""]]
)
def test_no_row_is_given_that_does_not_match_where_the_server_ignores_the_key(
    connect: Connect, descriptions: list[str], offset: int, limit: int | None, shows: tuple[str, ...], dialect: str
) -> None:
    client = connect(deaf(*_described(*descriptions), shows=shows), dialect)
    found = uids(client.search(Query(Level.STUDY, terms=(DESCRIBED,), offset=offset, limit=limit)))
    fit = [str(n) for n, one in enumerate(descriptions) if one == "Knee"]
    assert found == fit[offset : None if limit is None else offset + limit]
    assert "ignores StudyDescription" in said(client) or found == fit[:1] == ["0"]


@pytest.mark.parametrize("limit", [None, 1])
def test_what_is_ignored_and_never_shown_is_an_error_before_any_row(connect: Connect, limit: int | None) -> None:
    client = connect(deaf(study(1), study(2)))
    with pytest.raises(RefusedError, match="its rows do not contain it"):
        next(client.search(Query(Level.STUDY, terms=(DESCRIBED,), limit=limit)))


def test_a_row_that_does_not_show_a_heeded_key_is_given(connect: Connect) -> None:
    def handler(request: Request) -> Answer:
        query = asked(request)
        return rows([study(1), study(2)] if query["StudyDescription"] == "Knee" and "offset" not in query else [])

    client = connect(handler)
    assert uids(client.search(Query(Level.STUDY, terms=(DESCRIBED,)))) == ["1", "2"]
    assert said(client) == ""
    assert len(targets(client)) == 3


def test_a_server_that_ignores_the_limit_is_cut_short(connect: Connect) -> None:
    client = connect(lambda _: rows([study(n) for n in range(50)]))
    assert len(uids(client.search(Query(Level.STUDY, limit=7)))) == 7
    assert len(targets(client)) == 1


def test_rows_without_a_uid_do_not_go_round_for_ever(connect: Connect) -> None:
    client = connect(lambda _: rows([{"00100010": element("PN", {"Alphabetic": name})} for name in "AB"]))
    assert len(list(client.search(STUDIES))) == 2
    assert len(targets(client)) == 2


def test_a_row_that_two_pages_bring_is_given_once(connect: Connect) -> None:
    pages = iter([[study(1), study(2)], [study(2), study(3)], []])
    client = connect(lambda _: rows(next(pages)))
    assert uids(client.search(STUDIES)) == ["1", "2", "3"]


def test_a_total_count_saves_the_last_question(connect: Connect) -> None:
    client = connect(paged(20, 10, counts=True))
    assert len(uids(client.search(STUDIES))) == 20
    assert len(targets(client)) == 2


@pytest.mark.parametrize(
    "answer",
    [
        Answer(204),
        Answer(200, JSON, b"[]"),
        Answer(200, JSON, b""),
        Answer(200, {}, b""),
        Answer(200, JSON, b"\r\n"),
        Answer(200, JSON, b"\xef\xbb\xbf [ ]"),
    ],
)
def test_no_match_in_every_form(connect: Connect, answer: Answer) -> None:
    assert list(connect(lambda _: answer).search(STUDIES)) == []


def test_rows_come_however_the_body_is_cut_into_chunks(connect: Connect) -> None:
    body = b"\r\n  " + json.dumps([study(1), study(2)]).encode()
    chunks = [body[i : i + 1] for i in range(len(body))]
    client = connect(
        lambda r: Answer(200, JSON, chunks, framing="chunked") if "offset" not in r.target else Answer(204)
    )
    assert uids(client.search(STUDIES)) == ["1", "2"]


@pytest.mark.parametrize("label", ["application/json", "text/plain", "application/octet-stream", ""])
def test_json_is_read_under_any_label(connect: Connect, label: str) -> None:
    client = connect(lambda _: Answer(200, {"Content-Type": label} if label else {}, json.dumps([study(1)]).encode()))
    assert uids(client.search(STUDIES)) == ["1"]


def test_a_cut_list_is_truncated_after_its_whole_rows(connect: Connect) -> None:
    client = connect(lambda _: Answer(200, JSON, json.dumps([study(1), study(2)]).encode()[:-5], framing="close"))
    found = client.search(STUDIES)
    assert text(next(found), "0020000D") == "1"
    with pytest.raises(TruncatedError):
        list(found)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(200, {"Content-Type": "text/html"}, b"<!DOCTYPE html><html>Sign in"), AuthError),
        (Answer(200, JSON, b"Bad gateway"), ProtocolError),
        (Answer(200, {"Content-Type": "image/png"}, b"\x89PNG\r\n"), ProtocolError),
        (Answer(400, JSON, b'{"Message": "bad"}'), RefusedError),
        (Answer(404), RefusedError),
    ],
)
def test_what_is_no_list_is_an_error(connect: Connect, answer: Answer, error: type[DwError]) -> None:
    with pytest.raises(error):
        list(connect(lambda _: answer).search(STUDIES))


@pytest.mark.parametrize(
    "other",
    [
        Answer(200, {"Content-Type": "application/dicom+xml"}, b"<?xml version='1.0'?><NativeDicomModel/>"),
        Answer(200, {"Content-Type": "multipart/related; boundary=b"}, b"--b\r\n\r\n<x/>\r\n--b--"),
        Answer(406),
    ],
)
def test_xml_or_406_leads_to_application_json_which_is_remembered(connect: Connect, other: Answer) -> None:
    def handler(request: Request) -> Answer:
        return rows([study(1)]) if request.header("Accept") == "application/json" else other

    client = connect(handler)
    assert uids(client.search(STUDIES)) == ["1"]
    assert uids(client.search(STUDIES)) == ["1"]
    accepts = [request.header("Accept") for request in client.fake.requests]  # type: ignore[attr-defined]
    assert accepts == ["application/dicom+json", *["application/json"] * 4]


@pytest.mark.parametrize(
    ("other", "asked"),
    [
        (Answer(200, {"Content-Type": "multipart/related; boundary=b"}, b"--b\r\n\r\n<x/>\r\n--b--"), 2),
        (Answer(406), 3),
    ],
)
def test_what_is_neither_json_nor_dicom_in_xml_is_an_error(connect: Connect, other: Answer, asked: int) -> None:
    stubborn = connect(lambda _: other)
    with pytest.raises((ProtocolError, RefusedError)):
        list(stubborn.search(STUDIES))
    assert len(targets(stubborn)) == asked


def test_a_warning_is_told_once_but_not_one_of_further_pages(connect: Connect) -> None:
    fuzzy = '299 pacs: "The fuzzymatching parameter is not supported. Only literal matching has been performed."'
    warnings = iter(['299 pacs: "There are 3 additional results that can be requested"', fuzzy, fuzzy])
    sizes = iter([2, 1, 0])
    client = connect(lambda r: Answer(200, {**JSON, "Warning": next(warnings)}, json.dumps(
        [study(int(asked(r).get("offset", 0)) + n) for n in range(next(sizes))]).encode()))  # fmt: skip
    list(client.search(Query(Level.STUDY, fuzzy=True)))
    assert said(client).count("not supported") == 1
    assert "additional" not in said(client)


# Escaping


def _names(request: Request, *, decodes: bool) -> Answer:
    """A server with the one patient Buc^Jerome, which does or does not decode what it is asked."""
    query = urlsplit(request.target).query
    given = next((pair.partition("=")[2] for pair in query.split("&") if pair.startswith("PatientName=")), "")
    wanted = unquote(given) if decodes else given
    return rows([study(1)] if wanted in ("Buc^*", "Buc*") and "offset" not in query else [])


def strict(request: Request) -> Answer:
    return Answer(400) if "^" in request.target else _names(request, decodes=True)


def never_decodes(request: Request) -> Answer:
    return _names(request, decodes=False)


def named(value: str) -> Query:
    return Query(Level.STUDY, terms=(Term("00100010", value),))


@pytest.mark.parametrize("server", [strict, never_decodes])
@pytest.mark.parametrize("value", ["Buc*", "Buc^*"])
def test_auto_finds_a_name_on_a_server_that_refuses_a_caret_and_on_one_that_never_decodes(
    connect: Connect, server: Handler, value: str
) -> None:
    client = connect(server, "auto")
    assert uids(client.search(named(value))) == ["1"]


def test_auto_remembers_what_it_learnt(connect: Connect) -> None:
    client = connect(never_decodes, "auto")
    list(client.search(named("Buc^*")))
    assert client.dialect.escaping == "raw"
    before = len(targets(client))
    list(client.search(named("Buc^*")))
    assert all("PatientName=Buc^*" in target for target in targets(client)[before:])
    client = connect(strict, "auto")
    assert list(client.search(named("Nobody^*"))) == []
    assert client.dialect.escaping == "standard"
    before = len(targets(client))
    list(client.search(named("Nobody^*")))
    assert targets(client)[before:] == ["studies?PatientName=Nobody%5E*"]


def test_nothing_is_asked_twice_where_escaping_makes_no_difference(connect: Connect) -> None:
    client = connect(never_decodes, "auto")
    assert list(client.search(named("Nobody*"))) == []
    assert [target for target in targets(client) if "PatientName=" in target] == ["studies?PatientName=Nobody*"]
    assert client.dialect.escaping == "auto"


def test_a_value_that_cannot_be_asked_is_told(connect: Connect) -> None:
    client = connect(never_decodes, "orthanc")
    list(client.search(named("van Dyk")))
    assert "van Dyk" in said(client)


# Lists of UIDs


def _by_uid(*, finds: Callable[[list[str]], list[str]]) -> Handler:
    """The studies 1 to 4, found by those of the UIDs asked for that `finds` leaves."""

    def handler(request: Request) -> Answer:
        query = asked(request)
        wanted = query["StudyInstanceUID"].split(",")
        if len(wanted) > 1:
            wanted = finds(wanted)
        found = [study(n) for n in (1, 2, 3, 4) if str(n) in wanted]
        return REFUSED if "400" in wanted else rows(found[int(query.get("offset", 0)) :])

    return handler


@pytest.mark.parametrize("dialect", ["standard", "auto"])
@pytest.mark.parametrize(
    "finds", [list, lambda _: [], lambda uids: uids[:1], lambda uids: uids[-1:], lambda _: ["400"]]
)
def test_a_list_of_uids_finds_all_on_a_server_that_knows_none(
    connect: Connect, finds: Callable[[list[str]], list[str]], dialect: str
) -> None:
    def search(value: str, limit: int | None = None, offset: int = 0) -> list[str]:
        client = connect(_by_uid(finds=finds), dialect)
        listed = (Term("0020000D", value),)
        return uids(client.search(Query(Level.STUDY, terms=listed, limit=limit, offset=offset)))

    assert sorted(search("1,3,7,4")) == ["1", "3", "4"]
    assert len(search("1,3,4", limit=2)) == 2
    assert len({*search("1,3,4", limit=1), *search("1,3,4", offset=1)}) == 3
    assert search("8,9") == []


def test_a_server_that_knows_lists_is_not_asked_again(connect: Connect) -> None:
    client = connect(_by_uid(finds=list))
    query = Query(Level.STUDY, terms=(Term("0020000D", "1,2,9"),))
    assert uids(client.search(query)) == ["1", "2"]
    assert len(targets(client)) == 2
    assert said(client) == ""


# Wildcards and levels


def _patients(request: Request) -> Answer:
    query = asked(request)
    assert "PatientName" not in query
    offset, limit = int(query.get("offset", 0)), int(query.get("limit", 4))
    names = ["Abel", "Berta", "Anton", "Cain", "Ada", "Aaron"]
    found = [study(n, **{"00100010": element("PN", {"Alphabetic": name})}) for n, name in enumerate(names)]
    return rows(found[offset : offset + limit])


@pytest.mark.parametrize(
    ("limit", "offset", "found"),
    [(None, 0, ["0", "2", "4", "5"]), (2, 0, ["0", "2"]), (2, 1, ["2", "4"]), (None, 3, ["5"]), (5, 9, [])],
)
def test_wildcards_are_matched_here_and_limit_and_offset_count_matches(
    connect: Connect, limit: int | None, offset: int, found: list[str]
) -> None:
    client = connect(_patients, wildcards=False)
    query = Query(Level.STUDY, terms=(Term("00100010", "a*"),), limit=limit, offset=offset)
    assert uids(client.search(query)) == found
    assert "wildcards" in said(client)


def test_a_key_that_is_refused_and_not_shown_is_an_error_and_no_empty_list(connect: Connect) -> None:
    def handler(request: Request) -> Answer:
        known = {"limit", "offset"}
        return rows([study(1)] if "offset" not in request.target else []) if asked(request).keys() <= known else REFUSED

    client = connect(handler, "auto")
    station = Term("00081010", "X")
    with pytest.raises(RefusedError, match="its rows do not contain it"):
        list(client.search(Query(Level.STUDY, terms=(station,))))
    assert (client.dialect.refused_keys, client.dialect.refused_fields) == (("StationName",), ("StationName",))
    assert uids(client.search(Query(Level.STUDY, terms=(station._replace(value="*"),)))) == ["1"]


def test_a_value_that_is_refused_is_the_users_to_mend(connect: Connect) -> None:
    client = connect(lambda request: REFUSED if "abc" in request.target else rows([]), "auto")
    with pytest.raises(RefusedError, match="no such date"):
        list(client.search(Query(Level.STUDY, terms=(Term("00080020", "abc"),))))
    assert client.dialect.refused_keys == ()


def _hierarchical(request: Request) -> Answer:
    """Two studies of two series of two instances; rows name no parents; nothing can be asked across studies."""
    parts = urlsplit(request.target).path.split("/")[2:]
    if "offset" in request.target:
        return Answer(204)
    match parts:
        case ["studies"]:
            return rows([study(1), study(2)])
        case ["studies", s, "series"]:
            found = [
                {"0020000E": element("UI", f"{s}.{n}"), "00080060": element("CS", m)} for n, m in ((1, "CT"), (2, "MR"))
            ]
            wanted = asked(request).get("Modality")
            return rows([row for row in found if not wanted or text(row, "00080060") == wanted])
        case ["studies", _, "series", e, "instances"]:
            return rows([{"00080018": element("UI", f"{e}.{n}")} for n in (1, 2)])
        case _:
            return Answer(404)


def test_a_server_that_is_not_relational_is_walked_and_rows_name_their_parents(connect: Connect) -> None:
    client = connect(_hierarchical, relational=False)
    found = list(client.search(SERIES))
    assert [(text(r, "0020000D"), text(r, "0020000E")) for r in found] == [
        ("1", "1.1"), ("1", "1.2"), ("2", "2.1"), ("2", "2.2"),
    ]  # fmt: skip
    found = list(client.search(Query(Level.INSTANCE, terms=(Term("00080060", "MR"),), limit=2, offset=1)))
    assert [(text(r, "0020000D"), text(r, "0020000E"), text(r, "00080018")) for r in found] == [
        ("1", "1.2", "1.2.2"), ("2", "2.2", "2.2.1"),
    ]  # fmt: skip
    found = list(client.search(Query(Level.INSTANCE, study="2")))
    assert [text(r, "00080018") for r in found] == ["2.1.1", "2.1.2", "2.2.1", "2.2.2"]
    assert {text(r, "0020000D") for r in found} == {"2"}
    assert "instances" not in {target.split("?")[0] for target in targets(client)}


def test_a_key_of_the_level_above_is_matched_there_on_any_server(connect: Connect) -> None:
    client = connect(_hierarchical)
    found = client.search(Query(Level.INSTANCE, study="1", terms=(Term("00080060", "CT"),)))
    assert uids(found, "00080018") == ["1.1.1", "1.1.2"]


# Resolving


def test_a_lone_uid_is_resolved_by_one_search(connect: Connect) -> None:
    row = {"0020000D": element("UI", "1"), "0020000E": element("UI", "1.1"), "00080018": element("UI", "1.1.1")}
    noise = [{**row, "0020000E": element("UI", f"9.{n}"), "00080018": element("UI", f"9.9.{n}")} for n in range(3)]
    client = connect(lambda _: rows([*noise, row]))  # it ignores the key
    assert client.resolve(SeriesRef("", "1.1")) == SeriesRef("1", "1.1")
    assert client.resolve(InstanceRef("", "", "1.1.1")) == REF
    assert targets(client) == ["series?SeriesInstanceUID=1.1", "instances?SOPInstanceUID=1.1.1"]
    assert client.resolve(StudyRef("4300")) == StudyRef("4300")
    with pytest.raises(AbsentError, match="no series"):
        client.resolve(SeriesRef("", "nowhere"))


def test_a_server_that_cannot_resolve_says_what_to_write(connect: Connect) -> None:
    client = connect(_hierarchical, relational=False)
    with pytest.raises(UsageError) as caught:
        client.resolve(InstanceRef("", "", "1"))
    assert "STUDY/SERIES/INSTANCE" in caught.value.hint
    assert targets(client) == []


# Retrieving


def multipart(*parts: bytes, kind: str = "application/dicom", end: bytes = b"\r\n--b--\r\n", **options: Any) -> Answer:
    body = b"".join(b"\r\n--b\r\nContent-Type: %b\r\n\r\n" % kind.encode() + part for part in parts)
    return Answer(200, {"Content-Type": f'multipart/related; type="{kind}"; boundary=b'}, body + end, **options)


def received(events: Iterator[Event]) -> tuple[list[bytes], bool]:
    """The parts that ended, proven or a whole body of its own, and whether a Truncated event came."""
    whole: list[bytes] = []
    part = b""
    truncated = False
    for event in events:
        match event:
            case PartData(data):
                part += data
            case PartEnd(unclosed=False):
                whole.append(part)
                part = b""
            case PartEnd():
                part = b""
            case Truncated():
                truncated = True
            case _:
                pass
    return whole, truncated


def test_a_study_comes_part_by_part(connect: Connect) -> None:
    client = connect(lambda _: multipart(DICM, DICM + b"2"))
    assert received(client.retrieve(StudyRef("1"))) == ([DICM, DICM + b"2"], False)
    request = client.fake.requests[0]  # type: ignore[attr-defined]
    assert request.header("Accept") == 'multipart/related; type="application/dicom"; transfer-syntax=*'
    assert request.header("Accept-Encoding") == "identity"


@pytest.mark.parametrize("uid", ["../../x", "a/b", "4300", "é", "a?b"])
def test_a_hostile_uid_stays_one_segment_on_the_wire(connect: Connect, uid: str) -> None:
    client = connect(lambda _: multipart(DICM))
    received(client.retrieve(InstanceRef(uid, uid, uid)))
    (target,) = targets(client)
    names = target.split("/")
    assert names[::2] == ["studies", "series", "instances"]
    assert [unquote(name) for name in names[1::2]] == [uid] * 3
    assert not {".", ".."} & set(names)


@pytest.mark.parametrize("rung", [0, 1, 2, 3])
@pytest.mark.parametrize("status", [400, 406, 415])
def test_the_ladder_is_climbed_to_the_first_rung_that_holds_and_remembered(
    connect: Connect, rung: int, status: int
) -> None:
    ladder = [
        'multipart/related; type="application/dicom"; transfer-syntax=*',
        "application/dicom; transfer-syntax=*",
        'multipart/related; type="application/dicom"',
        "*/*",
    ]
    single = Answer(200, {"Content-Type": "application/dicom"}, DICM)

    def handler(request: Request) -> Answer:
        return single if request.header("Accept") == ladder[rung] else Answer(status)

    client = connect(handler)
    for _ in range(2):
        assert received(client.retrieve(REF)) == ([DICM], False)
    accepts = [request.header("Accept") for request in client.fake.requests]  # type: ignore[attr-defined]
    assert accepts == [*ladder[: rung + 1], ladder[rung]]


@pytest.mark.parametrize("preset", [{"dialect": "auto"}, {"accept_type_quoted": False}])
def test_a_server_that_wants_a_bare_type_gets_it(connect: Connect, preset: dict[str, Any]) -> None:
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + DICM + b"\r\n--b--"
    good = Answer(200, {"Content-Type": "multipart/related; type=application/dicom; boundary=b"}, body)

    def handler(request: Request) -> Answer:
        return good if str(request.header("Accept")).startswith("multipart/related; type=application") else Answer(406)

    assert received(connect(handler, **preset).retrieve(StudyRef("1"))) == ([DICM], False)


def test_a_ladder_that_ends_shows_the_first_refusal(connect: Connect) -> None:
    words = iter(["first", "second", "third", "fourth"])
    client = connect(lambda _: Answer(406, {"Content-Type": "text/plain"}, next(words).encode()))
    with pytest.raises(RefusedError, match="first"):
        received(client.retrieve(REF))


@pytest.mark.parametrize("status", [404, 500, 403])
def test_other_refusals_are_not_asked_around(connect: Connect, status: int) -> None:
    client = connect(lambda _: Answer(status))
    with pytest.raises(DwError):
        received(client.retrieve(REF))
    assert len(targets(client)) == 1


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_single_part_is_taken_where_multipart_was_asked(connect: Connect, framing: str) -> None:
    client = connect(lambda _: Answer(200, {"Content-Type": "application/dicom"}, DICM, framing=framing))  # type: ignore[arg-type]
    assert received(client.retrieve(REF)) == ([DICM], False)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_single_part_is_left_to_its_content_to_prove(connect: Connect, framing: str) -> None:
    client = connect(lambda _: Answer(200, {"Content-Type": "application/dicom"}, DICM, framing=framing))  # type: ignore[arg-type]
    assert [event for event in client.retrieve(REF) if isinstance(event, PartEnd)] == [PartEnd(proven=False)]


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("cut", [3, 40, 200, 420])
def test_a_response_that_ends_early_in_good_order_proves_no_last_part(connect: Connect, cut: int, framing: str) -> None:
    whole = multipart(DICM, DICM)
    assert isinstance(whole.body, bytes)
    answer = Answer(200, whole.headers, whole.body[:-cut], framing=framing)  # type: ignore[arg-type]
    parts, truncated = received(connect(lambda _: answer).retrieve(StudyRef("1")))
    assert parts == [DICM] * len(parts)
    assert truncated and len(parts) < 2


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_missing_closing_boundary_is_a_truncation_however_http_ended(connect: Connect, framing: str) -> None:
    client = connect(lambda _: multipart(DICM, DICM, end=b"", framing=framing))
    assert received(client.retrieve(StudyRef("1"))) == ([DICM], True)


@pytest.mark.parametrize("body", [b"", b"epilogue"])
def test_silence_or_a_cut_after_the_closing_boundary_is_told_and_forgiven(connect: Connect, body: bytes) -> None:
    whole = multipart(DICM)
    assert isinstance(whole.body, bytes)
    cut = Answer(200, whole.headers, whole.body + body, length=10**6, cut=True)
    client = connect(lambda _: cut)
    assert received(client.retrieve(StudyRef("1"))) == ([DICM], False)
    assert "after the closing boundary" in said(client)
    silent = Answer(200, whole.headers, [whole.body + body, 10.0], framing="chunked")
    client = connect(lambda _: silent)
    client.transport._settings = Settings(client.base, silence=0.8)
    assert received(client.retrieve(StudyRef("1"))) == ([DICM], False)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(200, {"Content-Type": "text/html"}, b"<html>login</html>"), AuthError),
        (Answer(200, JSON, b'{"error": "none"}'), ProtocolError),
        (Answer(200, {}, b""), ProtocolError),
        (Answer(204), AbsentError),
        (Answer(200, {"Content-Type": "image/jpeg"}, b"\xff\xd8\xff\xe0"), ProtocolError),
    ],
)
def test_what_is_no_dicom_is_an_error_and_no_file(connect: Connect, answer: Answer, error: type[DwError]) -> None:
    with pytest.raises(error):
        received(connect(lambda _: answer).retrieve(StudyRef("1")))


@pytest.mark.parametrize(
    ("kind", "pixels"),
    [
        ("application/octet-stream", b"<<[[{{ raw pixels"),
        ("application/octet-stream", b"\xff\xd8\xff\xe0 jpeg"),
        ("image/jpeg", b"\xff\xd8\xff\xe0 jpeg"),
        ("image/jp2", b"\0\0\0\x0cjP"),
    ],
)
def test_one_frame_may_come_as_a_single_part(connect: Connect, kind: str, pixels: bytes) -> None:
    client = connect(lambda _: Answer(200, {"Content-Type": kind}, pixels))
    assert received(client.frames(FrameRef(REF, (1,)))) == ([pixels], False)
    assert targets(client) == ["studies/1/series/1.1/instances/1.1.1/frames/1"]


def test_what_a_dialect_says_is_missing_is_not_asked_for(connect: Connect) -> None:
    client = connect(lambda _: Answer(500), "tiny-pacs")
    for ask in (
        lambda: list(client.metadata(StudyRef("1"))),
        lambda: list(client.frames(FrameRef(REF, (1,)))),
        lambda: list(client.rendered(REF, Rendering())),
        lambda: list(client.bulkdata(f"{client.base}/x")),
    ):
        with pytest.raises(RefusedError, match="tiny-pacs") as caught:
            ask()
        assert " REF" not in caught.value.hint
    assert targets(client) == []
    with pytest.raises(RefusedError) as caught:
        list(client.rendered(InstanceRef("1", "a/b", "c"), Rendering()))
    assert "dw retrieve instance 1/a%2Fb/c -o DIR" in caught.value.hint


def test_a_picture_is_taken_and_an_error_page_is_not(connect: Connect) -> None:
    client = connect(lambda _: Answer(200, {"Content-Type": "image/png"}, b"\xff\xd8\xff\xe0"))
    assert received(client.rendered(REF, Rendering())) == ([b"\xff\xd8\xff\xe0"], False)
    for body in (b"<html>", b'{"e": 1}', b"<?xml version='1.0'?><error/>", b""):
        with pytest.raises(DwError, match="instead of an image"):
            received(connect(lambda _, body=body: Answer(200, {}, body)).rendered(REF, Rendering()))


# Bulk data


def test_a_bulk_data_uri_is_rebased_onto_the_profile(connect: Connect) -> None:
    uri = " http://10.0.0.1:8042/dicom-web/studies/1/series/1.1/instances/1.1.1/bulk/7FE00010\n"
    metadata = [{"7FE00010": {"vr": "OW", "BulkDataURI": uri}, "00100020": element("LO", "x")}]

    def handler(request: Request) -> Answer:
        if request.target.endswith("/metadata"):
            return rows(metadata)
        return multipart(b"pixels", kind="application/octet-stream")

    client = connect(handler)
    url = client.bulkdata_url(REF, "7FE00010")
    assert url == f"{client.base}/studies/1/series/1.1/instances/1.1.1/bulk/7FE00010"
    assert received(client.bulkdata(url)) == ([b"pixels"], False)
    with pytest.raises(AbsentError, match="is inline in the metadata"):
        client.bulkdata_url(REF, "00100020")
    with pytest.raises(AbsentError, match="has no"):
        client.bulkdata_url(REF, "00420011")


def test_bulk_data_of_another_server_is_never_asked_for(connect: Connect, fake_server: Callable[..., Fake]) -> None:
    other = fake_server(lambda _: Answer())
    client = connect(lambda _: Answer())
    port = client.base.partition("//")[2].partition("/")[0]
    for url in (f"{other.url}/x", f"http://{port}@127.0.0.1:{other.port}/x", "file:///etc/passwd"):
        with pytest.raises(UsageError, match="another server"):
            received(client.bulkdata(url))
    assert other.requests == []


def test_opened_tells_what_began(connect: Connect) -> None:
    answer = Answer(206, {"Content-Type": "application/dicom", "Warning": "299 x"}, DICM)
    first = next(connect(lambda _: answer).retrieve(REF))
    assert first == Opened(206, "application/dicom", len(DICM), "299 x")
