"""Coded bodies that are cut, damaged or bombs: what each command makes of them, and in how much memory."""

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from servers.dw import Dw
from servers.fake import Answer, Fake, Request
from servers.inside import Inside
from servers.memory import peak
from servers.scripted import Scripted, is_retrieve, study


def squeezed(data: bytes, level: int = 9) -> bytes:
    """As gzip, without the time, so that every process collects the same tests."""
    return gzip.compress(data, level, mtime=0)


FakeServer = Callable[..., Fake]

JSON = {"Content-Type": "application/dicom+json"}
CODED = {**JSON, "Content-Encoding": "gzip"}
MOST = 200_000_000  # bytes
ROWS = json.dumps([{"0020000D": {"vr": "UI", "Value": [f"2.25.{n}"]}} for n in range(300)]).encode()


@pytest.mark.parametrize("words", [["search", "-f", "uids"], ["search", "--count"], ["metadata", "2.25.9"]])
def test_a_gzip_listing_cut_anywhere_is_exit_75(tmp_path: Path, fake_server: FakeServer, words: list[str]) -> None:
    body = squeezed(ROWS)
    cuts = iter([*range(1, len(body), len(body) // 18), len(body) - 8, len(body) - 1])
    answer = Answer()
    server = fake_server(lambda _: answer)
    for cut in cuts:
        answer = Answer(200, CODED, body[:cut])
        run = Inside(tmp_path)("--url", server.url, *words)
        assert run.code == 75, (cut, run.err)
        assert "truncated inside its gzip coding" in run.err


def test_a_gzip_listing_of_several_members_is_all_there(tmp_path: Path, fake_server: FakeServer) -> None:
    body = squeezed(ROWS[:1000]) + squeezed(b"") + squeezed(ROWS[1000:])
    server = fake_server(lambda r: Answer(200, CODED, body) if "offset" not in r.target else Answer(200, JSON, b"[]"))
    run = Inside(tmp_path)("--url", server.url, "search", "-f", "uids")
    assert (run.code, run.out.count("\n")) == (0, 300)


def bent(change: Callable[[bytes], tuple[str, bytes]]) -> Callable[[Request, Answer], Answer]:
    """Changes the body of each retrieve into another in a coding."""

    def bend(request: Request, answer: Answer) -> Answer:
        if not is_retrieve(request) or answer.status != 200:
            return answer
        assert isinstance(answer.body, bytes) and isinstance(answer.headers, dict)
        coding, body = change(answer.body)
        return replace(answer, headers={**answer.headers, "Content-Encoding": coding}, body=body)

    return bend


def test_instances_in_a_gzip_cut_anywhere_are_never_half_files(tmp_path: Path, fake_server: FakeServer) -> None:
    instances = study(1, 3, side=64)
    whole = {one.data for one in instances}

    def without(tail: int) -> Callable[[bytes], tuple[str, bytes]]:
        return lambda body: ("gzip", squeezed(body)[:-tail])

    for part in range(20):
        archive = Scripted(instances, bend=bent(without(8 + 30 * part)))
        folder = tmp_path / str(part)
        run = Inside(tmp_path)("--url", fake_server(archive).url, "retrieve", "2.25.7", "-o", folder)
        kept = {path.read_bytes() for path in folder.rglob("*.dcm")}
        assert kept <= whole
        assert run.code != 0 or kept == whole, run.err


@pytest.mark.parametrize("coding", ["br", "zstd", "x-unknown", "gzip, gzip"])
def test_instances_in_another_coding_are_refused_by_its_name(
    tmp_path: Path, fake_server: FakeServer, coding: str
) -> None:
    archive = Scripted(study(), bend=bent(lambda body: (coding, body)))
    run = Inside(tmp_path)("--url", fake_server(archive).url, "retrieve", "2.25.7", "-o", tmp_path / "out")
    assert run.code == 1
    assert coding in run.err
    assert not list((tmp_path / "out").rglob("*.dcm"))


def test_a_store_reply_in_a_damaged_coding_says_nothing_of_the_instance(
    tmp_path: Path, fake_server: FakeServer
) -> None:
    file = tmp_path / "a.dcm"
    file.write_bytes(study()[0].data)
    archive = Scripted(
        bend=lambda request, answer: (
            replace(answer, headers=CODED, body=squeezed(bytes(answer.body))[:-3])  # type: ignore[arg-type]
            if request.method == "POST"
            else Answer(404)
        )
    )
    run = Inside(tmp_path)("--url", fake_server(archive).url, "store", file)
    assert run.code != 0
    assert "truncated inside its gzip coding" in run.err + run.out


def bomb(start: bytes, filling: bytes, megabytes: int = 400) -> bytes:
    """A gzip body of a few hundred kilobytes that unpacks to hundreds of megabytes."""
    return squeezed(start) + squeezed(filling * ((1 << 20) // len(filling)), 9) * megabytes


STRING = b'[{"0020000D":{"vr":"UI","Value":["'
XML = {"Content-Type": "application/dicom+xml", "Content-Encoding": "gzip"}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (CODED, bomb(STRING, b"x")),
        (CODED, bomb(b'[{"00081140":{"vr":"SQ","Value":[', b"[],")),
        (XML, bomb(b"<NativeDicomModel>", b"x")),
        (XML, bomb(b"<NativeDicomModel>", b"<a/>")),
        (
            {"Content-Type": "application/dicom+xml"},
            b"<NativeDicomModel>"
            + b'<DicomAttribute tag="00081140" vr="LO"><Value number="1000000">x</Value></DicomAttribute>' * 400
            + b"</NativeDicomModel>",
        ),
    ],
    ids=["string", "lists", "text", "elements", "gaps"],
)
@pytest.mark.parametrize("words", [["search"], ["metadata", "2.25.9"], ["retrieve", "2.25.9", "-o", "out"]])
def test_a_listing_that_is_a_bomb_is_refused_in_little_memory(
    words: list[str], headers: dict[str, str], body: bytes, run_dw: Dw, fake_server: FakeServer
) -> None:
    server = fake_server(lambda _: Answer(200, headers, body))
    assert peak(run_dw, "--url", server.url, *words, code=1) < MOST


@pytest.mark.parametrize("status", [200, 409])
def test_a_store_reply_that_is_a_bomb_takes_little_memory(
    status: int, run_dw: Dw, fake_server: FakeServer, tmp_path: Path
) -> None:
    file = tmp_path / "a.dcm"
    file.write_bytes(study()[0].data)
    server = fake_server(
        lambda r: Answer(status, CODED, bomb(b'{"00081199":"', b"x")) if r.method == "POST" else Answer(404)
    )
    assert peak(run_dw, "--url", server.url, "store", file, code=1) < MOST


def test_a_list_of_series_without_end_is_left_in_little_memory(run_dw: Dw, fake_server: FakeServer) -> None:
    def series() -> Iterator[bytes]:
        yield b"["
        for start in range(0, 10**7, 1000):
            rows = ({"0020000E": {"vr": "UI", "Value": [f"2.25.{start + n}.{'7' * 30}"]}} for n in range(1000))
            yield ",".join(map(json.dumps, rows)).encode() + b","

    endless = Answer(200, JSON, series(), framing="chunked")
    server = fake_server(lambda r: endless if "/series" in r.target else Answer(404))
    # No list is a reason to ask for the study as a whole, which is not there.
    assert peak(run_dw, "--url", server.url, "retrieve", "2.25.9", "-o", "out", code=5) < MOST
