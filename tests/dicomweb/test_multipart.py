"""The multipart reader, fed whole, byte by byte, cut anywhere and ended anywhere."""

import re
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwcli.dicomweb.multipart import (
    HEAD_LIMIT,
    Event,
    PartData,
    PartEnd,
    PartStart,
    Reader,
    Truncated,
    closing,
    new_boundary,
    part_head,
)
from dwcli.errors import ProtocolError

Part = tuple[dict[str, str], bytes]
DICOM = {"content-type": "application/dicom"}


def read(chunks: Iterable[bytes], *, boundary: str | None = "b", early: bool = False) -> tuple[list[Part], Reader, str]:
    """The proven parts, the reader, and the reason of the truncation ("" if there was none)."""
    reader = Reader(boundary)
    parts, cut = proven_parts(events_of(reader, chunks, early=early))
    return parts, reader, cut


def events_of(reader: Reader, chunks: Iterable[bytes], *, early: bool = False) -> list[Event]:
    events: list[Event] = []
    for chunk in chunks:
        events += reader.feed(chunk)
    return events + reader.finish(early=early)


def unproven(body: bytes, *, boundary: str = "b") -> list[bytes]:
    """The data of parts that only their content can prove."""
    found, data = [], b""
    for event in events_of(Reader(boundary), [body]):
        match event:
            case PartStart():
                data = b""
            case PartData(piece):
                data += piece
            case PartEnd(proven=False):
                found.append(data)
            case _:
                pass
    return found


def proven_parts(events: Sequence[Event]) -> tuple[list[Part], str]:
    parts: list[Part] = []
    headers: dict[str, str] | None = None
    data = b""
    for index, event in enumerate(events):
        match event:
            case PartStart():
                assert headers is None, "a part began inside another"
                headers, data = dict(event.headers), b""
            case PartData():
                assert headers is not None and event.data
                data += event.data
            case PartEnd(proven):
                assert headers is not None
                if proven:
                    parts.append((headers, data))
                headers = None
            case Truncated(reason):
                assert index == len(events) - 1, "something came after Truncated"
                return parts, reason
    assert headers is None, "a part was left open without a word"
    return parts, ""


def each_byte(body: bytes) -> list[bytes]:
    return [body[i : i + 1] for i in range(len(body))]


BODIES: dict[str, tuple[bytes, list[Part]]] = {
    "as the standard says": (
        b"--b\r\nContent-Type: application/dicom\r\n\r\none\r\n"
        b"--b\r\nContent-Type: application/dicom\r\n\r\ntwo\r\n--b--\r\n",
        [(DICOM, b"one"), (DICOM, b"two")],
    ),
    "preamble and epilogue": (
        b"This is multipart.\r\n--bb\r\n\r\n--b\r\n\r\none\r\n--b--\r\nbye\r\n--b\r\n\r\nnot a part\r\n--b--",
        [({}, b"one")],
    ),
    "a line break before the first delimiter": (b"\r\n--b\r\n\r\none\r\n--b--\r\n", [({}, b"one")]),
    "line feeds only": (
        b"--b\nContent-Type: application/dicom\n\none\n--b\n\ntwo\n--b--\n",
        [(DICOM, b"one"), ({}, b"two")],
    ),
    "heads with bare line feeds": (
        b"--b\r\nContent-Type: application/dicom\n\none\r\n--b--\r\n",
        [(DICOM, b"one")],
    ),
    "no part heads": (b"--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n", [({}, b"one"), ({}, b"two")]),
    "lower-case, folded, repeated and broken headers": (
        b"--b\r\ncontent-type:multipart/x;\r\n\t type=y \r\nX-A:  1\r\nX-a: 2\r\n and on\r\nnonsense\r\n"
        b": v\r\n\r\none\r\n--b--\r\n",
        [({"content-type": "multipart/x; type=y", "x-a": "1"}, b"one")],
    ),
    "white space behind the delimiter": (
        b"--b \t\r\n\r\none\r\n--b  \r\n\r\ntwo\r\n--b-- \t \r\n",
        [({}, b"one"), ({}, b"two")],
    ),
    "no line break at the very end": (b"--b\r\n\r\none\r\n--b--", [({}, b"one")]),
    "white space at the very end": (b"--b\r\n\r\none\r\n--b-- ", [({}, b"one")]),
    "no parts": (b"--b--\r\n", []),
    "no parts and no line break": (b"--b--", []),
    "a part without data": (b"--b\r\nX: y\r\n\r\n\r\n--b--\r\n", [({"x": "y"}, b"")]),
    "a part without data or its line break": (b"--b\r\nX: y\r\n\r\n--b--\r\n", [({"x": "y"}, b"")]),
    "a part without a blank line": (
        b"--b\r\nX: y\r\n--b\r\n\r\ntwo\r\n--b--\r\n",
        [({"x": "y"}, b""), ({}, b"two")],
    ),
    "delimiter lines at once behind one another": (b"--b\r\n--b\r\n--b--", [({}, b""), ({}, b"")]),
    "the boundary inside a line": (
        b"--b\r\n\r\nx--b\r\n --b--\r\n\r\n--b--\r\n",
        [({}, b"x--b\r\n --b--\r\n")],
    ),
    "longer boundaries": (
        b"--b\r\n\r\n\r\n--bX\r\n--b-\r\n--b-x\r\n--b x\r\n\r\n--b--\r\n",
        [({}, b"\r\n--bX\r\n--b-\r\n--b-x\r\n--b x\r\n")],
    ),
    "more white space than a line may have": (
        b"--b\r\n\r\n\r\n--b" + b" " * 257 + b"\r\n\r\n--b--\r\n",
        [({}, b"\r\n--b" + b" " * 257 + b"\r\n")],
    ),
    "line breaks in the data": (
        b"--b\r\n\r\n\r\n\r\n\r\r\n\n\r\r\n--b\r\n\r\n\n\r\n--b--\r\n",
        [({}, b"\r\n\r\n\r\r\n\n\r"), ({}, b"\n")],
    ),
    "dashes in the data": (b"--b\r\n\r\n\r\n-\r\n--\r\n---b\r\n--b--\r\n", [({}, b"\r\n-\r\n--\r\n---b")]),
    "wrong part Content-Length": (
        b"--b\r\nContent-Length: 1\r\n\r\none\r\n--b\r\nContent-Length: 99\r\n\r\ntwo\r\n--b--\r\n",
        [({"content-length": "1"}, b"one"), ({"content-length": "99"}, b"two")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_reader_reads(name: str) -> None:
    body, parts = BODIES[name]
    for chunks in ([body], each_byte(body), *([body[:i], body[i:]] for i in range(1, len(body)))):
        came, reader, cut = read(chunks)
        assert (came, reader.closed, cut) == (parts, True, "")


@pytest.mark.parametrize("name", BODIES)
def test_reader_reports_every_truncation(name: str) -> None:
    body, parts = BODIES[name]
    # Without what follows it on its line, the closing delimiter is the last thing that a body needs.
    end = re.search(rb"(?:\A|\n)--b--[ \t]*(?:\r?\n|\Z)", body)
    assert end
    needed = end.start() + len(end.group().rstrip())
    preamble = max(body.find(b"--b\r"), body.find(b"--b\n"))
    for offset in range(1, needed):
        try:
            came, reader, cut = read([body[:offset]])
        except ProtocolError:
            assert offset <= preamble  # no word of a boundary yet
            continue
        assert cut and not reader.closed, offset
        if came and came[-1][0].get("content-length") == str(len(came[-1][1])):
            continue  # a length that lies and is met
        assert came == parts[: len(came)], offset
    for offset in range(needed, len(body) + 1):
        came, reader, cut = read([body[:offset]])
        assert (came, reader.closed, cut) == (parts, True, ""), offset


@pytest.mark.parametrize("name", BODIES)
def test_reader_skips_what_trails(name: str) -> None:
    body, parts = BODIES[name]
    if not body.endswith(b"\n"):
        body += b"\r\n"
    assert read([body, b"\0" * 100, b"\r\n--b\r\n\r\nx\r\n--b--"])[0] == parts


lines = st.sampled_from(
    [b"\r\n", b"\n", b"\r", b"--b", b"--b--", b"--", b"-", b" ", b"b", b"X: y", b"\0\xff", b"\r\n--b\r\n\r\n"]
)


@given(pieces=st.lists(lines, max_size=25), cuts=st.lists(st.integers(0, 80)), early=st.booleans())
def test_reader_gives_the_same_events_for_any_chunks(pieces: list[bytes], cuts: list[int], early: bool) -> None:
    body = b"".join(pieces)
    edges = [0, *sorted(c for c in cuts if c < len(body)), len(body)]

    def outcome(chunks: Iterable[bytes]) -> object:
        try:
            parts, reader, cut = read(chunks, early=early)
        except ProtocolError as error:
            return error.message
        return parts, reader.closed, cut

    expected = outcome([body])
    assert outcome(body[a:b] for a, b in pairwise(edges)) == expected
    assert outcome(each_byte(body)) == expected


@given(
    datas=st.lists(st.binary(max_size=200), max_size=4),
    size=st.integers(1, 50),
    boundary=st.text("'()+_,-./:=? aZ0", min_size=1, max_size=70).filter(lambda b: b[-1] != " "),
)
def test_what_is_written_is_read_back(datas: list[bytes], size: int, boundary: str) -> None:
    body = b"".join(part_head(boundary, {"A": "b"}, first=i == 0) + d for i, d in enumerate(datas)) + closing(boundary)
    if any(b"\n--" in b"\n" + data for data in datas):
        return
    came, reader, cut = read((body[i : i + size] for i in range(0, len(body), size)), boundary=boundary)
    assert (came, reader.closed, cut) == ([({"a": "b"}, data) for data in datas], True, "")


def test_boundary_is_fresh_and_plain() -> None:
    boundaries = {new_boundary() for _ in range(100)}
    assert len(boundaries) == 100
    assert all(re.fullmatch(r"[0-9A-Za-z-]{20,70}", b) for b in boundaries)


def test_a_header_that_would_break_its_line_is_refused() -> None:
    with pytest.raises(ValueError, match="X"):
        part_head("b", {"X": "a\r\nContent-Type: text/html"}, first=True)


# What the end of the stream means


@pytest.mark.parametrize("tail", [b"", b"\r", b"\r\n", b"\r\n-", b"\r\n--", b"\r\n--b", b"\r\n--b-"])
def test_the_end_of_the_stream_proves_no_part(tail: bytes) -> None:
    body = b"--b\r\n\r\none" + tail
    parts, reader, cut = read([body])
    assert (parts, reader.closed) == ([], False) and cut
    # The delimiter may be meant, so it is no data; what is less than its dashes may be data.
    assert unproven(body) == [b"one" if b"--b" in tail else b"one" + tail]
    assert read([body], early=True)[2] and not read([body], early=True)[0]


def test_a_delimiter_proves_the_part_before_it_and_no_response() -> None:
    for early in (False, True):
        parts, reader, cut = read([b"--b\r\n\r\none\r\n--b\r\n"], early=early)
        assert (parts, reader.closed) == ([({}, b"one")], False) and "closing boundary" in cut


@pytest.mark.parametrize("tail", [b"", b"\r", b"\r\n", b"\n", b"\r\n-", b"\r\n--", b"\r\n--a", b"\r\n--abc-"])
@pytest.mark.parametrize("early", [False, True])
def test_its_own_length_proves_a_part_but_not_the_response(tail: bytes, early: bool) -> None:
    head = {"content-length": "3"}
    body = b"--abc\r\nContent-Length: 3\r\n\r\none" + tail
    for chunks in ([body], each_byte(body)):
        parts, reader, cut = read(chunks, boundary="abc", early=early)
        assert (parts, reader.closed) == ([(head, b"one")], False) and cut


@pytest.mark.parametrize("length", ["2", "4", "99999", "", "x", "3, 3", "-3", "9" * 30])
def test_a_length_that_is_not_met_proves_nothing(length: str) -> None:
    body = b"--b\r\nContent-Length: " + length.encode() + b"\r\n\r\none"
    assert read([body])[0] == [] and unproven(body) == [b"one"]


@pytest.mark.parametrize("at", range(1, 3))
def test_a_length_that_the_data_outgrow_proves_nothing(at: int) -> None:
    body = b"--b\r\nContent-Length: %d\r\n\r\n" % at + b"\r\n--" * 3
    assert read([body])[0] == []


@pytest.mark.parametrize(
    "body",
    [
        b"--abcd\r\n\r\none\r\n--a",
        b"--abcd\r\n\r\none\n--abc",
        b"--abcd\r\n\r\n--abc",
        b"--abcd\r\n\r\none\r\n--abcd\r\nX: y\r\n",
    ],
)
def test_a_cut_through_a_delimiter_or_a_head_is_told(body: bytes) -> None:
    assert read([body], boundary="abcd")[2]
    assert unproven(body, boundary="abcd") == []


def test_an_empty_stream_has_no_parts_and_is_truncated_where_the_transport_says_so() -> None:
    assert read([])[::2] == ([], "")
    assert read([], boundary=None)[::2] == ([], "")
    assert read([], early=True)[2] and read([], boundary=None, early=True)[2]


def test_a_body_without_its_boundary_is_an_error_not_an_empty_response() -> None:
    body = b"--other\r\n\r\none\r\n--other--\r\n"
    with pytest.raises(ProtocolError, match="boundary"):
        read([body])
    assert read([body], early=True)[2]


@pytest.mark.parametrize("body", [b"-", b"--", b"--abc", b"preamble\r\n--a"])
def test_a_stream_that_ends_in_its_first_delimiter_is_truncated(body: bytes) -> None:
    assert "first part" in read([body], boundary="abcd")[2]


def test_a_line_that_only_begins_as_the_closing_one_is_data() -> None:
    body = b"--b\r\n\r\none\r\n--b--x\r\n--b--\r\n"
    for chunks in ([body], each_byte(body)):
        assert read(chunks)[0] == [({}, b"one\r\n--b--x")]


def test_bytes_after_the_end_bring_nothing() -> None:
    reader = Reader("b")
    reader.feed(b"--b--\r\n")
    assert reader.feed(b"\r\n--b\r\n\r\n") == [] == reader.finish()


# The boundary read from the first line


@pytest.mark.parametrize("start", [b"", b"\r\n", b"\n\n"])
def test_boundary_is_learned_from_the_first_line(start: bytes) -> None:
    body = start + b"--x y-1 \r\n\r\none\r\n--x y-1\r\n\r\n--x\r\n--x y-1--\r\n"
    for chunks in ([body], each_byte(body)):
        assert read(chunks, boundary=None)[::2] == ([({}, b"one"), ({}, b"--x")], "")


def test_a_lone_closing_line_tells_its_boundary() -> None:
    parts, reader, cut = read([b"--x--\r\n"], boundary=None)
    assert (parts, reader.closed, cut) == ([], True, "")
    assert read([b"--x--"], boundary=None)[1].closed
    # Cut, it may have been the beginning of a longer boundary.
    assert read([b"--x--"], boundary=None, early=True)[2]


@pytest.mark.parametrize("body", [b"[{}]", b"\r\n-x", b"--\r\n\r\none", b"--" + b"x" * (HEAD_LIMIT + 1)])
def test_a_body_that_tells_no_boundary_is_refused(body: bytes) -> None:
    for chunks in ([body], [body[:3], body[3:]]):
        with pytest.raises(ProtocolError):
            read(chunks, boundary=None)


# Bounds


@pytest.mark.parametrize("size", [HEAD_LIMIT * 3, 4096, 1000])
def test_a_part_head_that_never_ends_is_refused(size: int) -> None:
    body = b"--b\r\n" + b"X: yyyyyyy\r\n" * (HEAD_LIMIT // 12 + 100)
    with pytest.raises(ProtocolError, match="64 KiB"):
        read([body[i : i + size] for i in range(0, len(body), size)])


def test_a_long_part_head_is_read() -> None:
    body = b"--b\r\nX: " + b"y" * (HEAD_LIMIT - 10) + b"\r\n\r\none\r\n--b--\r\n"
    for chunks in ([body], [body[i : i + 999] for i in range(0, len(body), 999)]):
        assert read(chunks)[0] == [({"x": "y" * (HEAD_LIMIT - 10)}, b"one")]


def test_a_large_chunk_passes_through_as_one_piece_and_uncopied() -> None:
    reader = Reader("b")
    reader.feed(b"--b\r\n\r\nbegin")
    chunk = bytes(range(256)) * 256
    assert [memoryview(event.data).obj is chunk for event in reader.feed(chunk) if isinstance(event, PartData)] == [
        True
    ]


@pytest.mark.parametrize("filler", [b"\r\n--b!", b"\n", b"\r", b"\r\n--b" + b" " * 250, b"\r\n--"])
def test_hostile_data_costs_linear_time(filler: bytes) -> None:
    def seconds(count: int) -> float:
        body = b"--b\r\n\r\n" + filler * (count // len(filler))
        started = time.thread_time()
        read([body[i : i + 1000] for i in range(0, len(body), 1000)])
        return time.thread_time() - started

    # Eight times as much would cost 64 times as much if it were quadratic; the floor is for a clock's noise.
    # The best of three: what else the machine does can only make it slower.
    long, short = (min(seconds(count) for _ in range(3)) for count in (800_000, 100_000))
    assert long < 30 * max(short, 0.005)


def test_a_body_that_comes_apart_from_its_head_is_passed_on_without_a_copy() -> None:
    reader = Reader("b")
    reader.feed(b"--b\r\nContent-Type: application/dicom\r\n\r\n")
    piece = bytes(range(48, 58)) * 100
    [event] = reader.feed(piece)
    assert isinstance(event, PartData) and isinstance(event.data, memoryview)
    assert event.data == piece and event.data.obj is piece
