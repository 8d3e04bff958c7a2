"""The transport onto a WSGI application: bodies are pulled, not gathered, and failures stay what they are."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from dwcli.dicomweb.request import Request
from dwcli.errors import TruncatedError
from dwcli.net.body import ChangedError
from dwcli.net.inprocess import InProcess
from dwcli.net.settings import Settings
from dwcli.net.transport import Transport

Start = Callable[[str, list[tuple[str, str]]], object]


def _transport(application: Callable[[dict[str, Any], Start], Any]) -> Transport:
    return Transport(Settings(base="http://local"), http=InProcess(application))


class Body:
    """An upload that counts what was taken of it."""

    def __init__(self, pieces: int, fail: Exception | None = None) -> None:
        self.length = pieces * 1000
        self.taken = 0
        self._pieces = pieces
        self._fail = fail

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self._pieces):
            self.taken += 1
            if self._fail and self.taken == 3:
                raise self._fail
            yield bytes(1000)


def test_an_upload_is_pulled_as_the_application_reads() -> None:
    body = Body(1000)
    taken = []

    def application(environ: dict[str, Any], start: Start) -> list[bytes]:
        for size in (10, 990, 1):
            assert len(environ["wsgi.input"].read(size)) == size
            taken.append(body.taken)
        start("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    with _transport(application).exchange(Request("POST", "http://local/studies", body=body)) as response:
        assert response.read() == b"ok"
    assert taken == [1, 1, 2] and body.taken == 2


def test_an_answer_is_pulled_as_the_caller_reads() -> None:
    made = []

    def application(_environ: dict[str, Any], start: Start) -> Iterator[bytes]:
        start("200 OK", [])
        return (made.append(n) or bytes(1000) for n in range(100))  # type: ignore[func-returns-value]

    with _transport(application).exchange(Request("GET", "http://local/x")) as response:
        next(response.chunks())
        assert len(made) <= 2
        assert response.framed


def test_an_upload_that_fails_raises_its_own_error_and_the_application_sees_a_break() -> None:
    seen = []

    def application(environ: dict[str, Any], start: Start) -> list[bytes]:
        try:
            while environ["wsgi.input"].read(4096):
                pass
        except OSError as error:
            seen.append(str(error))
        start("400 Bad Request", [])
        return []

    with (
        pytest.raises(ChangedError, match="shrank"),
        _transport(application).exchange(Request("POST", "http://local/x", body=Body(5, ChangedError(0, "it shrank")))),
    ):
        pass
    assert seen == ["the upload was interrupted"]


def test_an_answer_that_breaks_off_is_truncated() -> None:
    def broken(_environ: dict[str, Any], start: Start) -> Iterator[bytes]:
        start("200 OK", [])
        yield b"some"
        raise ValueError("the disk is gone")

    def application(environ: dict[str, Any], start: Start) -> Iterator[bytes]:
        body = broken(environ, start)
        first = next(body)
        return (chunk for part in ([first], body) for chunk in part)

    with (
        pytest.raises(TruncatedError),
        _transport(application).exchange(Request("GET", "http://local/x")) as response,
    ):
        response.read()


def test_the_request_arrives_as_it_was_written() -> None:
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start: Start) -> list[bytes]:
        seen.update(environ)
        start("204 No Content", [])
        return []

    target = "studies/4300%2F1/series?PatientName=A%5EB*&x=%C3%BC"
    asked = Request("GET", f"http://local/{target}", {"Accept": "application/dicom+json"})
    with _transport(application).exchange(asked) as response:
        assert response.status == 204 and response.read() == b""
    assert seen["REQUEST_URI"] == f"/{target}" and seen["PATH_INFO"] == "/studies/4300/1/series"
    assert seen["QUERY_STRING"] == "PatientName=A%5EB*&x=%C3%BC"
    assert seen["HTTP_ACCEPT"] == "application/dicom+json" and seen["HTTP_HOST"] == "local"


def test_the_body_is_closed_with_the_answer() -> None:
    closed = []

    class Answer:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"a", b"b"])

        def close(self) -> None:
            closed.append(True)

    def application(_environ: dict[str, Any], start: Start) -> Answer:
        start("200 OK", [])
        return Answer()

    response = InProcess(application).handle_request(httpx.Request("GET", "http://local/"))
    next(iter(response.iter_raw()))
    response.close()
    assert closed == [True]
