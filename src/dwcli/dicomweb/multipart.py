"""Multipart bodies (RFC 2046 5.1, PS3.18 8.6): a push parser, and the lines that a writer puts between parts.

`Reader` takes the body in pieces of any size and returns events. It never holds more than one part
head or one possible delimiter line, and the bytes of a part leave it as they came in.

A delimiter ends a part, whatever the part's own Content-Length says: servers omit it or get it wrong, and searching
512 MB for the delimiter costs about a tenth of a second. Where the stream ends without one, a Content-Length that is
met proves the part all the same. That the stream ended in good order proves nothing: a proxy ends what it got of a
truncated response in good order, too.
"""

import os
import re
from collections.abc import Mapping
from enum import Enum, auto
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from dwcli.errors import ProtocolError

HEAD_LIMIT = 64 * 1024  # bytes of one part head; also of a first line that has to tell the boundary
_PADDING = 256  # white space that may follow a delimiter on its line
_BEFORE = "ended before its first part"
_UNCLOSED = "ended without its closing boundary"


class PartStart(NamedTuple):
    """A part begins. Header names lower-case, values stripped and unfolded; the first of a repeated one."""

    headers: Mapping[str, str]


class PartData(NamedTuple):
    """The next bytes of the open part; never empty. A view of what was fed: a copy costs as much as to receive it."""

    data: bytes | memoryview


class PartEnd(NamedTuple):
    """The open part ended. `proven`: by the delimiter behind it, or by its own Content-Length; else by the end of the
    stream, and only the content itself can tell whether it is whole. `unclosed`: a delimiter is missing there.
    """

    proven: bool = True
    unclosed: bool = False


class Truncated(NamedTuple):
    """The last event: the stream ended before its closing delimiter. A part that was open then is not whole.

    `reason` goes on where "the response" begins: "ended inside a part".
    """

    reason: str


Event = PartStart | PartData | PartEnd | Truncated


class _State(Enum):
    LEARN = auto()  # the boundary is still to be read from the first line
    PREAMBLE = auto()
    HEAD = auto()  # the buffer begins with the line feed that ended the delimiter line
    BODY = auto()
    CLOSED = auto()
    FINISHED = auto()


class Reader:
    """Reads one multipart body: `feed` every piece as it comes, then `finish` once.

    `boundary` is the parameter of the media type, unquoted; None (or empty) takes the first line minus its
    "--", as Shanoir's responses need, which come without a Content-Type.

    A delimiter counts at a line start only (after CRLF or LF, or at the very beginning) and with nothing
    but white space behind it on its line. The line break before it is not data: CRLF where there is one,
    else LF. Preamble and epilogue are skipped. A part may come without a head (a blank line at once), or
    without a body.

    `closed` says that the closing delimiter was read. Where that is the last line and has no line break, only
    `finish` can know it.
    """

    def __init__(self, boundary: str | None) -> None:
        self._state = _State.LEARN
        # A line break that was not sent, so that a delimiter at the very beginning is found like any other.
        self._buffer = b"\n"
        self._at = 0  # how far the buffer is read
        self._searched = 0  # in HEAD: as many bytes of it hold no end of the head
        self._lead = 0  # in BODY: 1 while the buffer still begins with the head's last line feed
        self._empty = True
        self._due: int | None = None  # the open part's own Content-Length
        self._came = 0  # bytes of the open part that were handed out
        if boundary:
            self._learn(boundary.encode("utf-8", "surrogateescape"))

    @property
    def closed(self) -> bool:
        """Whether the closing delimiter was read."""
        return self._state is _State.CLOSED

    def feed(self, data: bytes) -> list[Event]:
        """The events that these bytes complete.

        `ProtocolError` for a part head of more than 64 KiB, or a body that should tell its own boundary and
        does not begin with one.
        """
        if self._state in (_State.CLOSED, _State.FINISHED) or not data:
            return []
        self._empty = False
        if self._lead and self._buffer == b"\n" and not data.startswith(b"-"):
            # The head came by itself, as Orthanc sends it. Its line feed begins no delimiter, so it is done with.
            self._buffer, self._lead = data, 0
        else:
            self._buffer = self._buffer + data if self._buffer else data
        self._at = 0
        events: list[Event] = []
        while self._step(events):
            pass
        # With nothing held back, which is nearly always, the next piece is passed on without a copy.
        self._buffer = self._buffer[self._at :]
        return events

    def finish(self, *, early: bool = False) -> list[Event]:
        """The events that the end of the stream brings; without the closing delimiter the last one is `Truncated`.

        A part that is open then ends with `PartEnd(proven=False)`, or with a proven one where its own Content-Length is
        met. `early`: the transport says that the stream was cut off; an open part then just stays open, unless its
        length is met. So it does where the end cuts through a delimiter. An empty stream has no events.
        `ProtocolError` where bytes came, but nothing that a delimiter could begin with.
        """
        if self._state in (_State.CLOSED, _State.FINISHED):
            return []
        if self._state is _State.LEARN and not early and not self._empty:
            self._learn(_first_line(self._buffer))
        state, buffer = self._state, self._buffer
        self._state, self._buffer = _State.FINISHED, b""

        if state is _State.LEARN:
            return [Truncated(_BEFORE)] if early else []
        last = self._last_line.search(buffer)
        closed = last is not None and last["close"] == b"--"
        if closed:
            self._state = _State.CLOSED
        match state:
            case _State.BODY:
                return self._last_part(buffer, last, closed=closed, early=early)
            case _State.HEAD if closed:
                assert last is not None
                return [PartStart(_parse_head(buffer[1 : last.start()])), PartEnd()]
            case _State.HEAD:
                return [Truncated("ended inside a part header" if buffer.strip() else _UNCLOSED)]
            case _ if closed or (self._empty and not early):
                return []
            case _ if early or last or buffer[self._possible_delimiter(buffer, 0) :].strip():
                return [Truncated(_BEFORE)]
        raise ProtocolError(
            "the response is declared as multipart but does not contain its boundary",
            hint="look at the raw response with `dw request GET PATH -o FILE`",
        )

    def _last_part(self, buffer: bytes, last: re.Match[bytes] | None, *, closed: bool, early: bool) -> list[Event]:
        """How the part ends in which the stream ended; `last`: the line that may be its delimiter."""
        start = self._lead
        held = self._possible_delimiter(buffer, 0)
        if last:
            end = _line_start(buffer, start, last.start())
        else:
            end = len(buffer) if len(buffer) - held <= len(b"\r\n--") else -1  # -1: inside a delimiter
        proven = closed
        if not closed and self._due is not None:
            due = start + self._due - self._came
            if held <= due <= len(buffer) or due == end:
                # What follows is at most the beginning of a delimiter.
                end, proven = due, True
        events: list[Event] = []
        if end < 0 or (early and not proven):
            return [Truncated("ended inside a boundary" if end < 0 else "ended inside a part")]
        if end > start:
            events.append(PartData(buffer[start:end]))
        events.append(PartEnd(proven, unclosed=not proven))
        if not closed:
            events.append(Truncated(_UNCLOSED))
        return events

    def _learn(self, boundary: bytes) -> None:
        name = re.escape(boundary)
        self._token = b"\n--" + boundary
        padding = rb"[ \t]{0,%d}" % _PADDING
        self._line = re.compile(rb"\n--" + name + rb"(?P<close>--)?" + padding + rb"\r?\n")
        # What may still become a delimiter line; at the end of the stream, what counts as one.
        self._last_line = re.compile(rb"\n--" + name + rb"(?P<close>--|-)?" + padding + rb"\r?\Z")
        self._head_end = re.compile(rb"\n(?:\r?\n|--" + name + rb"(?P<close>--)?" + padding + rb"\r?(?P<line>\n))")
        self._line_limit = len(self._token) + len(b"\r--\r\n") + _PADDING
        self._state = _State.PREAMBLE

    def _step(self, events: list[Event]) -> bool:
        """Read one line, head or body as far as the buffer goes; False when more is needed to go on."""
        match self._state:
            case _State.BODY | _State.PREAMBLE:
                return self._read_body(events)
            case _State.HEAD:
                return self._read_head(events)
            case _State.LEARN:
                return self._read_first_line()
            case _State.CLOSED | _State.FINISHED:
                self._at = len(self._buffer)
                return False

    def _read_first_line(self) -> bool:
        start = self._buffer.lstrip(b"\r\n")
        if b"\n" not in start:
            if len(self._buffer) > HEAD_LIMIT or not b"--".startswith(start[:2]):
                raise _no_boundary()
            return False
        self._learn(_first_line(start))
        return True

    def _read_head(self, events: list[Event]) -> bool:
        buffer, start = self._buffer, self._at
        found = self._head_end.search(buffer, start + self._searched)
        undecided = max(start, len(buffer) - self._line_limit)
        if (found.start() if found else undecided) - start > HEAD_LIMIT:
            raise ProtocolError(f"the response has a part header of more than {HEAD_LIMIT // 1024} KiB")
        if found is None:
            self._searched = undecided - start
            return False
        headers = _parse_head(buffer[start + 1 : found.start()])
        events.append(PartStart(headers))
        if found["line"] is None:
            self._state = _State.BODY
            self._lead = 1
            self._came = 0
            length = headers.get("content-length", "")
            self._due = int(length) if length.isdecimal() and len(length) < 20 else None
        else:  # no blank line, so no body either
            events.append(PartEnd())
            self._state = _State.CLOSED if found["close"] else _State.HEAD
        self._at = found.end() - 1
        self._searched = 0
        return True

    def _read_body(self, events: list[Event]) -> bool:
        buffer, start = self._buffer, self._at
        in_part = self._state is _State.BODY
        data, search = start + self._lead, start
        while (at := buffer.find(self._token, search)) >= 0:
            line = self._line.match(buffer, at)
            if line is None:  # not a line of its own, or one that is not all here yet
                search = at + 1
                continue
            end = _line_start(buffer, data, at)
            if in_part:
                if end > data:
                    events.append(PartData(memoryview(buffer)[data:end]))
                events.append(PartEnd())
            self._state = _State.CLOSED if line["close"] else _State.HEAD
            self._lead = 0
            self._at = line.end() - 1
            return True
        held = self._possible_delimiter(buffer, start)
        if held > start:
            if in_part and held > data:
                events.append(PartData(memoryview(buffer)[data:held]))
                self._came += held - data
            self._lead = 0
        self._at = held
        return False

    def _possible_delimiter(self, buffer: bytes, start: int) -> int:
        """Where, from `start`, a delimiter line may have begun that is not complete yet; else the end."""
        at = max(start, len(buffer) - self._line_limit)
        while (at := buffer.find(b"\n", at)) >= 0:
            if self._token.startswith(buffer[at : at + len(self._token)]) and (
                len(buffer) - at <= len(self._token) or self._last_line.match(buffer, at)
            ):
                return _line_start(buffer, start, at)
            at += 1
        return len(buffer) - 1 if buffer.endswith(b"\r") and len(buffer) > start else len(buffer)


def _line_start(buffer: bytes, start: int, line_feed: int) -> int:
    """Where the line break begins that ends at `line_feed`: at its CR, if one stands at or after `start`."""
    if line_feed > start and buffer[line_feed - 1] == 0x0D:
        return line_feed - 1
    return max(line_feed, start)


def _first_line(buffer: bytes) -> bytes:
    """The boundary that the first line tells. "--b--" alone is the closing line of an empty multipart."""
    line = buffer.lstrip(b"\r\n").split(b"\n", 1)[0].rstrip(b"\r \t")
    boundary = line[2:].removesuffix(b"--") if line.startswith(b"--") else b""
    if not boundary:
        raise _no_boundary()
    return boundary


def _no_boundary() -> ProtocolError:
    return ProtocolError("the response names no boundary and does not begin with one")


@lru_cache(maxsize=64)  # most servers write the same head before every part
def _parse_head(head: bytes) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    last = ""
    for line in head.decode("utf-8", "replace").split("\n"):
        if line[:1] in (" ", "\t") and last:
            headers[last] = f"{headers[last]} {line.strip()}".strip()
            continue
        name, colon, value = line.partition(":")
        last = name.strip().lower() if colon else ""
        if last in headers:
            last = ""
        elif last:
            headers[last] = value.strip()
    return MappingProxyType(headers)


def new_boundary() -> str:
    """A fresh boundary: 34 of [0-9a-z], 128 bits of them random, so that no file contains it by chance."""
    return f"dw{os.urandom(16).hex()}"


def part_head(boundary: str, headers: Mapping[str, str], *, first: bool) -> bytes:
    """The bytes before a part's data: line break (not before the first), delimiter line, headers, blank line.

    `ValueError` for a header that would break out of its line.
    """
    lines = [f"--{boundary}"]
    for name, value in headers.items():
        line = f"{name}: {value}"
        if "\r" in line or "\n" in line:
            raise ValueError(f"a line break in the part header {name!r}")
        lines.append(line)
    return (("" if first else "\r\n") + "\r\n".join(lines) + "\r\n\r\n").encode()


def closing(boundary: str) -> bytes:
    """The bytes after the last part's data."""
    return f"\r\n--{boundary}--\r\n".encode()
