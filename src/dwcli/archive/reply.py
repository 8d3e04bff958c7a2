"""The archive's responses, and the refusals that its parts raise."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from dwcli.dicomweb import multipart, refs, tags
from dwcli.dicomweb.media import OCTETS
from dwcli.dicomweb.refs import Ref
from dwcli.errors import UsageError

Json = dict[str, Any]
CHUNK = 256 * 1024


class Refusal(Exception):
    """An HTTP status of 400 or above, with the reason for the client."""

    def __init__(self, status: int, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers


def retrieve_url(base: str, ref: Ref) -> Json:
    """Where something is retrieved, as the element of a row; none for a UID of `.` or `..`, which no URL can name."""
    try:
        return {tags.RetrieveURL: {"vr": "UR", "Value": [f"{base}/{refs.path(ref)}"]}}
    except UsageError:
        return {}


@dataclass(frozen=True, slots=True)
class Reply:
    """A response. `length`: the body's bytes where they are known before; None sends it in chunks."""

    status: int
    content_type: str = ""
    body: Iterable[bytes] = ()
    length: int | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """Status code and reason phrase, as WSGI wants them."""
        return f"{self.status} {HTTPStatus(self.status).phrase}"


def text(status: int, words: str, headers: dict[str, str] | None = None) -> Reply:
    """A response of one line of text."""
    data = f"{words}\n".encode()
    return Reply(status, "text/plain; charset=utf-8", [data], len(data), headers or {})


def whole(status: int, content_type: str, data: bytes) -> Reply:
    """A response whose body is in memory."""
    return Reply(status, content_type, [data], len(data))


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart response: its media type, its bytes, and how many they are (None: not known before)."""

    content_type: str
    body: Iterable[bytes]
    length: int | None = None


def parts(kind: str, found: Iterable[Part], status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """A multipart/related response (PS3.18 8.6.1.2.1); of known length where all its parts are."""
    boundary = multipart.new_boundary()
    content_type = f'multipart/related; type="{kind or OCTETS}"; boundary={boundary}'
    length = None
    if isinstance(found, list):
        known = [part.length for part in found]
        if all(size is not None for size in known):
            heads = sum(len(_head(boundary, part, first=not at)) for at, part in enumerate(found))
            length = heads + sum(size or 0 for size in known) + len(multipart.closing(boundary))
    return Reply(status, content_type, _joined(boundary, found), length, headers or {})


def _head(boundary: str, part: Part, *, first: bool) -> bytes:
    return multipart.part_head(boundary, {"Content-Type": part.content_type}, first=first)


def _joined(boundary: str, found: Iterable[Part]) -> Iterator[bytes]:
    first = True
    for part in found:
        yield _head(boundary, part, first=first)
        yield from part.body
        first = False
    yield multipart.closing(boundary)


def array(first: Json, rest: Iterator[Json]) -> Iterator[bytes]:
    """Rows as one JSON array, in pieces."""
    held = [b"[" + dumped(first)]
    size = 0
    for row in rest:
        held.append(b",\n" + dumped(row))
        size += len(held[-1])
        if size > CHUNK:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join([*held, b"]"])


def dumped(row: Json) -> bytes:
    """One row as JSON in UTF-8."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
