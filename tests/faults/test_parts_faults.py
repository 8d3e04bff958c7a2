"""Frames, bulkdata and rendered images as servers spoil them: lost, out of order, split, of another kind, truncated."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from servers.dw import Dw
from servers.fake import Answer, Fake, Request
from servers.images import instance as image
from servers.scripted import BOUNDARY

REF = "1.2.1/1.2.2/1.2.3"
WHERE = "/studies/1.2.1/series/1.2.2/instances/1.2.3"
FRAME = {number: bytes([number]) * 16 for number in range(1, 10)}
ROW = {
    "00080018": {"vr": "UI", "Value": ["1.2.3"]},
    "00280002": {"vr": "US", "Value": [1]},
    "00280008": {"vr": "IS", "Value": [3]},
    "00280010": {"vr": "US", "Value": [4]},
    "00280011": {"vr": "US", "Value": [2]},
    "00280100": {"vr": "US", "Value": [16]},
    "7FE00010": {"vr": "OW", "BulkDataURI": f"{WHERE}/bulk"},
}
DICOM = image("1.2.1", "1.2.2", "1.2.3")
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c63600000000200"
    "01e221bc330000000049454e44ae426082"
)
MP4 = b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + b"\0\0\0\x08moov" + b"\0\0\0\x10mdat" + b"12345678"


def parts(*found: tuple[dict[str, str], bytes], closed: bool = True) -> Answer:
    """A multipart response of these parts, in good order as far as HTTP is concerned."""
    body = b""
    for headers, data in found:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        body += f"\r\n--{BOUNDARY}\r\n{head}\r\n".encode() + data
    body += f"\r\n--{BOUNDARY}--\r\n".encode() if closed else b""
    kind = f'multipart/related; type="application/octet-stream"; boundary={BOUNDARY}'
    return Answer(200, {"Content-Type": kind}, body)


def located(number: int, data: bytes | None = None) -> tuple[dict[str, str], bytes]:
    headers = {"Content-Type": "application/octet-stream", "Content-Location": f"http://x{WHERE}/frames/{number}"}
    return headers, FRAME[number] if data is None else data


def plain(data: bytes) -> tuple[dict[str, str], bytes]:
    return {"Content-Type": "application/octet-stream"}, data


class Pacs:
    """Answers frame lists by `frames`, single frames by `single`, bulkdata by `bulk`, images by `rendered`."""

    def __init__(self, **answers: Answer | Callable[[], Answer]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, request: Request) -> Answer:
        path = request.target.partition("?")[0].removeprefix(WHERE)
        self.asked.append(path)
        match path.strip("/").split("/"):
            case ["metadata"]:
                return Answer(200, {"Content-Type": "application/dicom+json"}, json.dumps([ROW]).encode())
            case ["frames", numbers] if "," in numbers:
                return self._answer("frames")
            case ["frames", number]:
                return self._answer("single") if "single" in self.answers else parts(plain(FRAME[int(number)]))
            case [("bulk" | "rendered") as name]:
                return self._answer(name)
            case ["frames", _, "rendered"]:
                return self._answer("rendered")
            case [""]:
                return parts(({"Content-Type": "application/dicom"}, DICOM))
        return Answer(404)

    def _answer(self, name: str) -> Answer:
        answer = self.answers[name]
        return answer() if callable(answer) else answer


def names(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def raw(numbers: Iterable[int]) -> dict[str, bytes]:
    return {f"1.2.3.frame{number:04d}.raw": FRAME[number] for number in numbers}


@pytest.fixture
def dw(
    run_dw: Dw, fake_server: Callable[..., Fake], tmp_path: Path
) -> Callable[..., tuple[int, str, dict[str, bytes]]]:
    """Run a command against a Pacs: its exit code, stderr, and the files that it left."""

    def run(pacs: Pacs, *words: str) -> tuple[int, str, dict[str, bytes]]:
        folder = tmp_path / "out"
        folder.mkdir(exist_ok=True)
        done = run_dw(*words, env={"DW_URL": fake_server(pacs).url}, cwd=folder)
        return done.code, done.err, names(folder)

    return run


Run = Callable[..., tuple[int, str, dict[str, bytes]]]


# Frames


def test_frames_are_named_by_their_content_location(dw: Run) -> None:
    pacs = Pacs(frames=parts(located(3), located(1), located(2)))
    assert dw(pacs, "retrieve", "frames", REF, "1-3", "-o", ".")[::2] == (0, raw([1, 2, 3]))
    assert pacs.asked == ["/frames/1,2,3"]


def test_a_frame_that_is_missing_by_the_locations_is_asked_for_by_itself(dw: Run) -> None:
    pacs = Pacs(frames=parts(located(3), located(1)))
    assert dw(pacs, "retrieve", "frames", REF, "1-3", "-o", ".")[::2] == (0, raw([1, 2, 3]))
    assert pacs.asked == ["/frames/1,2,3", "/frames/2"]


def test_a_frame_that_does_not_come_is_named_and_the_others_stay(dw: Run) -> None:
    pacs = Pacs(frames=parts(located(1), located(3)), single=parts())
    code, err, files = dw(pacs, "retrieve", "frames", REF, "1-3", "-o", ".")
    assert (code, files) == (3, raw([1, 3]))
    assert "frame 2" in err


def test_fewer_frames_without_locations_are_not_numbered_by_guess(dw: Run) -> None:
    pacs = Pacs(frames=parts(plain(FRAME[1]), plain(FRAME[3])))
    assert dw(pacs, "retrieve", "frames", REF, "1-3", "-o", ".")[::2] == (0, raw([1, 2, 3]))
    assert pacs.asked[1:] == ["/frames/1", "/frames/2", "/frames/3"]


def test_more_frames_than_asked_for_are_an_error_and_none_is_kept(dw: Run) -> None:
    pacs = Pacs(frames=parts(*(plain(FRAME[number]) for number in (1, 2, 3, 4))))
    code, err, files = dw(pacs, "retrieve", "frames", REF, "1-3", "-o", ".")
    assert (code, files) == (1, {})
    assert "4 frames instead of 3" in err


def test_an_unclosed_response_is_completed_frame_by_frame(dw: Run) -> None:
    pacs = Pacs(frames=parts(plain(FRAME[1]), plain(FRAME[2]), plain(FRAME[3][:5]), closed=False))
    assert dw(pacs, "retrieve", "frames", REF, "1-3", "-o", ".")[::2] == (0, raw([1, 2, 3]))
    assert "/frames/3" in pacs.asked


@pytest.mark.parametrize("single", [Answer(200, {"Content-Type": "application/octet-stream"}, FRAME[1][:9])])
def test_a_raw_frame_shorter_than_the_metadata_promise_is_truncated(dw: Run, single: Answer) -> None:
    code, err, files = dw(Pacs(single=single), "retrieve", "frames", REF, "1", "-o", ".")
    assert (code, files) == (1, {})
    assert "truncated" in err


def test_a_raw_frame_of_the_size_that_the_metadata_promise_is_whole(dw: Run) -> None:
    single = Answer(200, {"Content-Type": "application/octet-stream"}, FRAME[1])
    code, err, files = dw(Pacs(single=single), "retrieve", "frames", REF, "1", "-o", ".", "--verify")
    assert (code, files) == (0, raw([1]))
    assert "unverified" not in err


def test_a_frame_that_nothing_proves_is_said_to_be_unverified(dw: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(ROW, "00280010")
    single = Answer(200, {"Content-Type": "application/octet-stream"}, FRAME[1])
    code, err, files = dw(Pacs(single=single), "retrieve", "frames", REF, "1", "-o", ".")
    assert (code, files) == (0, raw([1]))
    assert "unverified" in err
    assert dw(Pacs(single=single), "retrieve", "frames", REF, "1", "-o", ".", "--verify")[0] == 3


def test_a_whole_instance_is_no_frame(dw: Run) -> None:
    pacs = Pacs(single=parts(plain(DICOM)))
    code, err, files = dw(pacs, "retrieve", "frames", REF, "1", "-o", ".")
    assert (code, files) == (1, {})
    assert "DICOM" in err and "frame 1" in err


def test_pixels_that_begin_like_a_file_are_pixels_where_the_size_is_right(dw: Run) -> None:
    pixels = b"%PDF-1.4 a b c d"
    assert len(pixels) == 16
    pacs = Pacs(single=parts(plain(pixels)))
    assert dw(pacs, "retrieve", "frames", REF, "1", "-o", ".")[2] in (
        {"1.2.3.frame0001.raw": pixels},
        {"1.2.3.frame0001.pdf": pixels},
    )


def test_a_frame_of_another_compression_than_asked_for_is_refused(dw: Run) -> None:
    pacs = Pacs(single=parts(plain(PNG)))
    words = ("retrieve", "frames", REF, "1", "-o", ".", "--transfer-syntax", "jpeg")
    code, err, files = dw(pacs, *words)
    assert (code, files) == (1, {})
    assert "PNG" in err


# Bulkdata


def test_a_value_in_several_parts_is_kept_whole_under_numbered_names(dw: Run) -> None:
    pacs = Pacs(bulk=parts(plain(b"\0\0\0\0"), plain(b"one"), plain(b"two!")))
    code, err, files = dw(pacs, "retrieve", "bulkdata", REF, "7FE00010", "-o", "pixels.bin")
    assert (code, files) == (0, {"pixels.1.bin": b"\0\0\0\0", "pixels.2.bin": b"one", "pixels.3.bin": b"two!"})
    assert "3 parts" in err


def test_a_value_in_several_parts_leaves_nothing_where_one_is_lost(dw: Run) -> None:
    pacs = Pacs(bulk=parts(plain(b"\0\0\0\0"), plain(b"one"), closed=False))
    code, err, files = dw(pacs, "retrieve", "bulkdata", REF, "7FE00010", "-o", "pixels.bin")
    assert (code, files) == (1, {})
    assert "closing boundary" in err


def test_a_value_in_several_parts_is_no_success_in_a_pipe(dw: Run) -> None:
    pacs = Pacs(bulk=parts(plain(b"\0\0\0\0"), plain(b"one")))
    code, err, _ = dw(pacs, "retrieve", "bulkdata", REF, "7FE00010")
    assert code == 1
    assert "-o FILE" in err


def test_metadata_name_each_part_of_a_value(
    dw: Run, run_dw: Dw, fake_server: Callable[..., Fake], tmp_path: Path
) -> None:
    pacs = Pacs(bulk=parts(plain(b"\0\0\0\0"), plain(b"one")))
    folder = tmp_path / "bulk"
    run = run_dw("metadata", REF, "--bulkdata", folder, "-f", "json", env={"DW_URL": fake_server(pacs).url})
    assert run.code == 0, run.err
    named = json.loads(run.out)[0]["7FE00010"]["BulkDataURI"]
    assert [Path(name).read_bytes() for name in named] == [b"\0\0\0\0", b"one"]
    assert sorted(names(folder)) == ["1.2.3/7FE00010.1.bin", "1.2.3/7FE00010.2.bin"]


def test_a_value_shorter_than_the_metadata_promise_is_fetched_again(dw: Run) -> None:
    octets = {"Content-Type": "application/octet-stream"}
    turns = iter([Answer(200, octets, b"x" * 47), Answer(200, octets, b"x" * 48)])
    pacs = Pacs(bulk=lambda: next(turns))
    words = ("retrieve", "bulkdata", REF, "7FE00010", "-o", "pixels.bin")
    assert dw(pacs, *words)[::2] == (0, {"pixels.bin": b"x" * 48})


# Rendered images


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (MP4, "MP4"),
        (b"%PDF-1.4\n%%EOF\n", "PDF"),
        (DICOM, "DICOM"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 300 + b"\xff\xd9", "JPEG"),
        (b"no image today, sorry", ""),
    ],
    ids=["mp4", "pdf", "dicom", "jpeg", "text"],
)
def test_an_image_of_another_kind_is_rendered_here_and_said(dw: Run, body: bytes, named: str) -> None:
    pacs = Pacs(rendered=Answer(200, {"Content-Type": "image/png"}, body))
    code, err, files = dw(pacs, "render", REF, "-o", "x.png")
    assert code == 0, err
    assert files["x.png"].startswith(b"\x89PNG")
    assert "rendered locally" in err and named in err


def test_a_truncated_image_is_fetched_again_and_never_kept(dw: Run) -> None:
    turns = iter([PNG[:50], PNG])
    pacs = Pacs(rendered=lambda: Answer(200, {"Content-Type": "image/png"}, next(turns)))
    assert dw(pacs, "render", REF, "-o", "x.png")[::2] == (0, {"x.png": PNG})
    pacs = Pacs(rendered=Answer(200, {"Content-Type": "image/png"}, PNG[:-12]))
    code, err, files = dw(pacs, "render", REF, "-o", "y.png")
    assert (code, files) == (1, {"x.png": PNG})
    assert "truncated" in err


# Any request


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("application/dicom+json", b'[{"a": "]"}]', 0),
        ("application/dicom+json", b'[{"a": "]"}', 1),
        ("application/octet-stream", PNG, 0),
        ("application/octet-stream", PNG[:-1], 1),
        (f"multipart/related; boundary={BOUNDARY}", parts(plain(b"one")).body, 0),
        (f"multipart/related; boundary={BOUNDARY}", parts(plain(b"one"), closed=False).body, 1),
        ("text/plain", b"unprovable", 0),
    ],
)
def test_a_request_keeps_a_body_only_where_nothing_shows_that_it_ended_early(
    dw: Run, kind: str, body: bytes, code: int
) -> None:
    pacs = Pacs(bulk=Answer(200, {"Content-Type": kind}, body))
    done, err, files = dw(pacs, "request", "GET", f"{WHERE}/bulk", "-o", "body")
    assert (done, files) == (code, {"body": body} if code == 0 else {})
    assert ("unverified" in err) == (body == b"unprovable")
