"""Content codings: read to their proven end, refused by name, in little memory."""

import gzip
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import pytest

from dwcli.dicomweb.request import Request
from dwcli.errors import AbsentError, AuthError, DwError, ProtocolError, RefusedError, TruncatedError
from dwcli.net import auth, codings
from dwcli.net.settings import Settings, origin_of_url
from dwcli.net.transport import Transport
from servers.fake import Answer, Fake
from servers.fake import Request as Asked


def squeezed(data: bytes, level: int = 9) -> bytes:
    """As gzip, without the time, so that every process collects the same tests."""
    return gzip.compress(data, level, mtime=0)


FakeServer = Callable[..., Fake]

TEXT = random.Random(7).randbytes(3000) + b"text " * 2000


def raw_deflate(data: bytes) -> bytes:
    squeezer = zlib.compressobj(wbits=-15)
    return squeezer.compress(data) + squeezer.flush()


BODIES = {
    "gzip": ("gzip", squeezed(TEXT)),
    "three members": ("gzip", b"".join(squeezed(TEXT[at : at + 5000]) for at in range(0, len(TEXT), 5000))),
    "an empty member first": ("gzip", squeezed(b"") + squeezed(TEXT)),
    "an empty member last": ("gzip", squeezed(TEXT) + squeezed(b"")),
    "zeros after it": ("gzip", squeezed(TEXT) + bytes(700)),
    "zeros between": ("gzip", squeezed(TEXT[:50]) + bytes(5) + squeezed(TEXT[50:])),
    "x-gzip in capitals": ("X-GZip", squeezed(TEXT)),
    "identity besides": ("identity, gzip", squeezed(TEXT)),
    "deflate with a head": ("deflate", zlib.compress(TEXT)),
    "deflate without": ("Deflate", raw_deflate(TEXT)),
    "identity": ("identity", TEXT),
    "nothing": ("", TEXT),
}


def unpack(body: bytes, coding: str, *sizes: int) -> bytes:
    """The content of a body that comes in pieces of these sizes, and the rest in one."""
    pieces, at = [], 0
    for size in sizes:
        pieces.append(body[at : at + size])
        at += size
    name = codings.named({"Content-Encoding": coding}, "pacs")
    if not name:
        return body
    return b"".join(codings.decoded([*pieces, body[at:]], name, "pacs", empty=True))


@pytest.mark.parametrize(("coding", "body"), BODIES.values(), ids=BODIES)
def test_a_coded_body_is_read_whole_wherever_its_chunks_are_cut(coding: str, body: bytes) -> None:
    assert unpack(body, coding) == TEXT
    assert unpack(body, coding, *[1] * len(body)) == TEXT
    for at in range(1, len(body), 131):
        assert unpack(body, coding, at) == TEXT


@pytest.mark.parametrize(("coding", "make"), [("gzip", squeezed), ("deflate", zlib.compress), ("deflate", raw_deflate)])
def test_a_coding_without_its_end_is_truncated_at_every_cut(coding: str, make: Callable[[bytes], bytes]) -> None:
    body = make(b"some text " * 30)
    for at in range(1, len(body)):
        with pytest.raises(TruncatedError, match=f"truncated inside its {coding} coding"):
            unpack(body[:at], coding)


def test_a_second_member_without_its_end_is_truncated() -> None:
    first, second = squeezed(b"one"), squeezed(b"two")
    for at in range(1, len(second)):
        with pytest.raises(TruncatedError):
            unpack(first + second[:at], "gzip")


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", squeezed(TEXT) + b"x"),
        ("gzip", squeezed(TEXT) + b"\r\n"),
        ("gzip", squeezed(TEXT) + bytes(9) + b"<html>"),
        ("gzip", squeezed(TEXT) + b"\x1f\x8c more"),
        ("deflate", zlib.compress(TEXT) + b"x"),
        ("deflate", zlib.compress(TEXT) + zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT) + b"\n"),
        ("gzip", TEXT),
        ("gzip", zlib.compress(TEXT)),
        ("gzip", squeezed(TEXT)[:-8] + b"\1\2\3\4" + squeezed(TEXT)[-4:]),
        ("gzip", squeezed(TEXT)[:-4] + b"\1\2\3\4"),
        ("deflate", zlib.compress(TEXT)[:-4] + b"\1\2\3\4"),
    ],
)
def test_a_damaged_coding_and_what_follows_its_end_are_refused(coding: str, body: bytes) -> None:
    for sizes in ((), (len(body) - 1,), [1] * len(body)):
        with pytest.raises(ProtocolError):
            unpack(body, coding, *sizes)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("br", "br, which was not requested"),
        ("ZSTD", "zstd, which was not requested"),
        ("x-unknown", "x-unknown, which was not requested"),
        ("gzip, br", "br, which was not requested"),
        ("gzip, gzip", "nested codings"),
        ("deflate,x-gzip", "nested codings"),
    ],
)
def test_an_unknown_or_a_second_coding_is_refused_by_name(header: str, said: str) -> None:
    with pytest.raises(ProtocolError, match=said) as caught:
        codings.named({"Content-Encoding": header}, "pacs")
    assert caught.value.hint


@pytest.mark.parametrize("member", [bytes(40 << 20), b""], ids=["large", "empty"])
def test_a_bomb_is_unpacked_in_little_memory(member: bytes) -> None:
    body = squeezed(member, 9) * (2 if member else 20_000)
    tracemalloc.start()
    try:
        size = sum(len(piece) for piece in codings.decoded([body], "gzip", "pacs", empty=True))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == 2 * len(member)
    assert peak < 6 << 20


# Through the transport


@pytest.fixture
def transport() -> Iterator[Callable[..., Transport]]:
    opened: list[Transport] = []

    def make(base: str, **settings: object) -> Transport:
        opened.append(Transport(Settings(base, trust_env=False, tries=1)._replace(**settings)))  # type: ignore[arg-type]
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def fetch(transport: Transport, url: str, method: str = "GET") -> bytes:
    with transport.stream(Request(method, url, {"Accept-Encoding": "identity"})) as response:
        return response.read()


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize(("coding", "body"), BODIES.values(), ids=BODIES)
def test_the_transport_gives_the_content_also_where_no_coding_was_asked_for(
    coding: str, body: bytes, framing: str, fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    headers = {"Content-Encoding": coding} if coding else {}
    server = fake_server(lambda _: Answer(200, headers, body, framing=framing))  # type: ignore[arg-type]
    assert fetch(transport(server.url), server.url) == TEXT


@pytest.mark.parametrize("size", [2000, 3 << 20])
@pytest.mark.parametrize("coding", ["", "gzip", "deflate"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_that_http_says_is_cut_is_truncated(
    coding: str, framing: str, size: int, fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    content = random.Random(1).randbytes(size)
    body = {"": content, "gzip": squeezed(content), "deflate": zlib.compress(content)}[coding]
    half = Answer(
        200,
        {"Content-Encoding": coding} if coding else {},
        body[: len(body) // 2],
        framing=framing,  # type: ignore[arg-type]
        length=len(body) if framing == "length" else None,
        cut=True,
    )
    server = fake_server(lambda _: half)
    with pytest.raises(TruncatedError, match="early"):
        fetch(transport(server.url), server.url)


def test_a_whole_coding_in_a_cut_http_body_is_truncated(
    fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    server = fake_server(
        lambda _: Answer(200, {"Content-Encoding": "gzip"}, squeezed(TEXT), framing="chunked", cut=True)
    )
    with pytest.raises(TruncatedError):
        fetch(transport(server.url), server.url)


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", Answer(200, {"Content-Encoding": "gzip"}, squeezed(TEXT))),
        ("HEAD", Answer(200, {"Content-Encoding": "br"}, b"abc")),
        ("GET", Answer(204, {"Content-Encoding": "gzip"})),
        ("GET", Answer(304, {"Content-Encoding": "gzip"})),
        ("GET", Answer(200, {"Content-Encoding": "gzip"})),
        ("GET", Answer(200, {"Content-Encoding": "deflate"}, framing="chunked")),
    ],
)
def test_no_body_is_no_coding(
    method: str, answer: Answer, fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    server = fake_server(lambda _: answer)
    assert fetch(transport(server.url), server.url, method) == b""


def test_no_bytes_up_to_the_end_of_the_connection_are_truncated(
    fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    server = fake_server(lambda _: Answer(200, {"Content-Encoding": "gzip"}, b"", framing="close"))
    with pytest.raises(TruncatedError):
        fetch(transport(server.url), server.url)


@pytest.mark.parametrize(
    ("coding", "body"),
    [("gzip", b"not gzip"), ("gzip", squeezed(TEXT)[:40]), ("br", b"x"), ("gzip, gzip", squeezed(TEXT))],
)
@pytest.mark.parametrize(
    ("status", "kind"), [(401, AuthError), (403, AuthError), (404, AbsentError), (409, RefusedError)]
)
def test_a_damaged_error_page_does_not_hide_the_status(
    status: int,
    kind: type[DwError],
    coding: str,
    body: bytes,
    fake_server: FakeServer,
    transport: Callable[..., Transport],
) -> None:
    server = fake_server(lambda _: Answer(status, {"Content-Encoding": coding}, body))
    with pytest.raises(kind, match=str(status)):
        fetch(transport(server.url), server.url)
    with pytest.raises(kind, match=str(status)), transport(server.url).exchange(Request("GET", server.url)) as response:
        response.read()


def test_the_words_of_a_coded_error_page_are_told(fake_server: FakeServer, transport: Callable[..., Transport]) -> None:
    page = Answer(400, {"Content-Encoding": "gzip", "Content-Type": "text/plain"}, squeezed(b"no such key"))
    server = fake_server(lambda _: page)
    with pytest.raises(RefusedError, match="no such key"):
        fetch(transport(server.url), server.url)


@pytest.mark.parametrize("coding", ["gzip", "br", "gzip, gzip"])
def test_a_401_that_a_login_answers_is_neither_unpacked_nor_read_to_its_end(
    coding: str, fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    def answer(asked: Asked) -> Answer:
        if asked.header("Authorization") is None or asked.header("Authorization") == "Bearer old":
            return Answer(401, {"Content-Encoding": coding}, endless(), framing="chunked")
        return Answer(200, {}, b"in")

    tokens = iter(["old", "new"])
    server = fake_server(answer)
    login = auth.bearer(origin_of_url(server.url), lambda: next(tokens), renewable=True)
    assert fetch(transport(server.url, auth=login), server.url) == b"in"


def test_the_coding_stays_among_the_headers(fake_server: FakeServer, transport: Callable[..., Transport]) -> None:
    server = fake_server(lambda _: Answer(200, {"Content-Encoding": "gzip"}, squeezed(TEXT)))
    with transport(server.url).stream(Request("GET", server.url)) as response:
        assert response.headers["content-encoding"] == "gzip"
        assert response.length is None


def test_a_transfer_coding_other_than_chunked_is_refused_by_name(
    fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    server = fake_server(lambda _: Answer(200, {"Transfer-Encoding": "gzip, chunked"}, squeezed(TEXT), framing="close"))
    with pytest.raises(ProtocolError, match="Transfer-Encoding"):
        fetch(transport(server.url), server.url)
