"""Upload bodies: exact length, sent again from the start, and honest about a file that changes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dwcli.dicomweb import multipart
from dwcli.dicomweb.multipart import PartData, PartEnd
from dwcli.dicomweb.request import Request
from dwcli.errors import DwError, UsageError
from dwcli.net.body import Bytes, ChangedError, FileBody, Multipart, Part, read
from dwcli.net.settings import Settings
from dwcli.net.transport import Transport
from servers.fake import Answer, Fake


def parts(*files: bytes) -> list[Part]:
    return [Part(len(data), lambda data=data: iter([data[:2], data[2:]])) for data in files]  # type: ignore[misc]


def test_a_multipart_has_the_length_it_says_and_can_be_read_again() -> None:
    counted: list[int] = []
    body = Multipart(parts(b"abcdef", b"", b"\r\n--x"), on_bytes=counted.append)
    once, again = b"".join(body), b"".join(body)
    assert once == again
    assert len(once) == body.length
    assert sum(counted) == 2 * 11
    reader = multipart.Reader(body.boundary)
    events = [*reader.feed(once), *reader.finish()]
    assert sum(isinstance(event, PartEnd) for event in events) == 3
    assert b"".join(event.data for event in events if isinstance(event, PartData)) == b"abcdef\r\n--x"


def test_two_bodies_never_share_a_boundary() -> None:
    assert Multipart(parts(b"a")).boundary != Multipart(parts(b"a")).boundary


@pytest.mark.parametrize(("length", "word"), [(2, "grew"), (9, "shrank")])
def test_a_part_that_changed_while_it_was_sent_is_named(length: int, word: str) -> None:
    good = parts(b"abc")[0]
    body = Multipart([good, Part(length, lambda: [b"abc"])])
    with pytest.raises(ChangedError, match=word) as caught:
        list(body)
    assert caught.value.index == 1


def test_a_part_that_vanished_is_named_and_what_was_opened_is_closed(tmp_path: Path) -> None:
    with pytest.raises(ChangedError, match="cannot be read") as caught:
        list(Multipart([Part(3, lambda: read(lambda: (tmp_path / "gone").open("rb")))]))
    assert caught.value.index == 0
    closed: list[bool] = []

    def chunks() -> Iterator[bytes]:
        try:
            yield b"abcdef"
        finally:
            closed.append(True)

    with pytest.raises(ChangedError):
        list(Multipart([Part(3, chunks)]))
    assert closed == [True]


def test_a_part_that_shrank_ends_the_request_before_the_server_believes_it(
    fake_server: Callable[..., Fake],
) -> None:
    server = fake_server(lambda _: Answer())
    transport = Transport(Settings(server.url, trust_env=False))
    body = Multipart([Part(9, lambda: [b"abc"])])
    with pytest.raises(ChangedError), transport.exchange(Request("POST", server.url, {}, body)):
        pass
    transport.close()
    assert not any(request.size == body.length for request in server.requests)


def test_a_file_is_read_in_chunks_and_again(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(range(256)) * 3000)
    body = FileBody(path)
    assert b"".join(body) == b"".join(body) == path.read_bytes()
    assert body.length == 768_000
    assert max(map(len, body)) < 300_000


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path / "gone", tmp_path):
        with pytest.raises(UsageError, match="cannot read"):
            FileBody(path)
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    body = FileBody(path)
    path.unlink()
    with pytest.raises(DwError, match="cannot"):
        list(body)


def test_bytes_are_sent_as_they_are() -> None:
    body = Bytes(b"abc")
    assert (body.length, list(body), list(body)) == (3, [b"abc"], [b"abc"])
