"""A small archive in memory that answers like PS3.18, and bends its answers as a test asks.

archive = Scripted(study(2, 3))
archive.bend = lambda request, answer: replace(answer, length=10**6) if is_retrieve(request) else answer
server = fake_server(archive)
"""

import io
import json
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from servers.fake import Answer, Request
from servers.images import instance as image

BOUNDARY = "dwtest-b0undary"
JSON = {"Content-Type": "application/dicom+json"}


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance: its UIDs and its whole file."""

    study: str
    series: str
    uid: str
    data: bytes


def study(series: int = 1, count: int = 3, *, name: str = "2.25.7", side: int = 8) -> list[Instance]:
    """A study of so many series with `count` instances each, of `side`² pixels."""
    found = []
    for s in range(1, series + 1):
        for number in range(1, count + 1):
            uids = name, f"{name}.{s}", f"{name}.{s}.{number}"
            found.append(Instance(*uids, image(*uids, number=100 * s + number, side=side)))
    return found


def multipart(parts: Iterable[bytes], *, closed: bool = True, heads: Iterable[str] = ()) -> bytes:
    """A multipart/related body of DICOM parts; `heads` are further head lines, one for each part."""
    more = list(heads)
    body = b""
    for index, part in enumerate(parts):
        extra = f"{more[index]}\r\n" if index < len(more) else ""
        body += f"\r\n--{BOUNDARY}\r\nContent-Type: application/dicom\r\n{extra}\r\n".encode() + part
    return body[2:] + (f"\r\n--{BOUNDARY}--\r\n".encode() if closed else b"")


def related(body: bytes, **options: object) -> Answer:
    """The answer that carries such a body."""
    kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    return Answer(200, {"Content-Type": kind}, body, **options)  # type: ignore[arg-type]


def is_search(request: Request) -> bool:
    """Whether this asks for a list."""
    return bool(re.search(r"/(studies|series|instances)$", urlsplit(request.target).path))


def is_retrieve(request: Request, level: str = "") -> bool:
    """Whether this asks for instances, of one level where that is named (`studies`, `series`, `instances`)."""
    found = re.search(r"/(studies|series|instances)/[^/]+$", urlsplit(request.target).path)
    return request.method == "GET" and bool(found) and (not level or (found is not None and found[1] == level))


class Scripted:
    """The handler of a Fake. `bend(request, answer)` may give another answer; `stored` are the files sent to it.

    `lists` and `counts` say whether it can list what a study holds, and name numbers of instances.
    """

    def __init__(
        self,
        instances: Iterable[Instance] = (),
        *,
        lists: bool = True,
        counts: bool = True,
        bend: Callable[[Request, Answer], Answer] = lambda _request, answer: answer,
    ) -> None:
        self.instances = list(instances)
        self.lists = lists
        self.counts = counts
        self.bend = bend
        self.stored: list[Instance] = []
        self.asked: list[str] = []
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Answer:
        with self._lock:
            self.asked.append(f"{request.method} {unquote(urlsplit(request.target).path)}")
        answer = self._store(request) if request.method == "POST" else self._give(request)
        return self.bend(request, answer)

    def retrieved(self, level: str) -> list[str]:
        """The UIDs of that level that were asked for as images."""
        found = (re.search(rf"^GET .*/{level}/([^/]+)$", line) for line in self.asked)
        return [match[1] for match in found if match]

    def _give(self, request: Request) -> Answer:
        split = urlsplit(request.target)
        words = [unquote(word) for word in split.path.strip("/").split("/")]
        given = dict(zip(words[::2], words[1::2], strict=False))
        query = parse_qs(split.query)
        chosen = [
            one
            for one in self.instances
            if given.get("studies", one.study) == one.study
            and given.get("series", one.series) == one.series
            and given.get("instances", one.uid) == one.uid
        ]
        if len(words) % 2:
            if not self.lists:
                return Answer(404, {}, b"no such resource")
            return _rows(words[-1], chosen, int(query.get("offset", ["0"])[0]), counts=self.counts)
        if not chosen:
            return Answer(404, {}, b"not found")
        return related(multipart(one.data for one in chosen))

    def _store(self, request: Request) -> Answer:
        from pydicom import dcmread

        boundary = re.search(r"boundary=([^;]+)", request.header("Content-Type") or "")
        assert boundary is not None
        rows = []
        for part in request.body.split(b"--" + boundary[1].encode())[1:-1]:
            data = part.partition(b"\r\n\r\n")[2][:-2]
            found = dcmread(io.BytesIO(data), stop_before_pixels=True)
            one = Instance(found.StudyInstanceUID, found.SeriesInstanceUID, found.SOPInstanceUID, data)
            with self._lock:
                self.stored.append(one)
                if all(known.uid != one.uid for known in self.instances):
                    self.instances.append(one)
            rows.append(item(one.uid))
        return reply(stored=rows)


def item(uid: str, *, failure: int | None = None, warning: int | None = None) -> dict[str, object]:
    """One item of a store reply's sequences."""
    found: dict[str, object] = {
        "00081150": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.7"]},
        "00081155": {"vr": "UI", "Value": [uid]},
    }
    if failure is not None:
        found["00081197"] = {"vr": "US", "Value": [failure]}
    if warning is not None:
        found["00081196"] = {"vr": "US", "Value": [warning]}
    return found


def reply(
    status: int = 200, stored: Iterable[dict[str, object]] = (), failed: Iterable[dict[str, object]] = ()
) -> Answer:
    """A store reply (PS3.18 10.5.3)."""
    sequences = {"00081199": list(stored), "00081198": list(failed)}
    data = {tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items}
    return Answer(status, JSON, json.dumps(data).encode())


def _rows(level: str, chosen: list[Instance], offset: int, *, counts: bool) -> Answer:
    rows: dict[str, dict[str, object]] = {}
    for one in chosen:
        row: dict[str, object] = {"0020000D": {"vr": "UI", "Value": [one.study]}}
        key = one.study
        if level in ("series", "instances"):
            key = one.series
            row["0020000E"] = {"vr": "UI", "Value": [one.series]}
        if level == "series" and counts:
            number = len({other.uid for other in chosen if other.series == one.series})
            row["00201209"] = {"vr": "IS", "Value": [number]}
        if level == "instances":
            key = one.uid
            row["00080018"] = {"vr": "UI", "Value": [one.uid]}
        rows[key] = row
    return Answer(200, JSON, json.dumps(list(rows.values())[offset:]).encode())
