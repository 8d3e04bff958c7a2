"""What walks over a content to its end have in common: over a file by random access, or over a stream as it passes.

A walk is a generator that yields the place it wants to see next, never an earlier one, and is sent the bytes
from there: at least `LEAST` unless the content ends before, b"" exactly at the end, None behind it.
"""

from collections.abc import Callable, Generator
from enum import Enum

LEAST = 64  # bytes that a walk sees at once, except at the end
_FIRST, _MOST, _AFTER_JUMP = 16 * 1024, 64 * 1024, 256


class End(Enum):
    """What a content says about its own end."""

    WHOLE = "whole"
    TRUNCATED = "truncated"
    UNPROVEN = "unproven"


Walk = Generator[int, bytes | None, End]
Read = Callable[[int, int], bytes]


def run(walk: Walk, read: Read, size: int) -> End:
    """Take the walk over `size` bytes that `read(at, n)` gives. Raises what `read` raises."""
    seen, many = 0, _FIRST
    try:
        at = next(walk)
        while True:
            if at > size:
                at = walk.send(None)
                continue
            many = _AFTER_JUMP if at > seen else min(2 * many, _MOST)
            seen = at + min(many, size - at)
            block = read(at, seen - at) if seen > at else b""
            if len(block) < seen - at:  # it has become shorter meanwhile
                return End.UNPROVEN
            at = walk.send(block)
    except StopIteration as stop:
        return End(stop.value)


class Passing:
    """The same over a content that is fed in chunks; it keeps fewer than `LEAST` bytes between them."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._rest = b""
        self._from = 0  # where `_rest` begins
        self._end: End | None = None
        self._at = 0
        self._step(None, start=True)

    def _step(self, block: bytes | None, *, start: bool = False) -> None:
        try:
            self._at = next(self._walk) if start else self._walk.send(block)
        except StopIteration as stop:
            self._end = End(stop.value)

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        if self._end is not None:
            return
        end = self._from + len(self._rest) + len(chunk)
        if self._at >= end:
            self._rest, self._from = b"", end
            return
        data, begin = (self._rest + chunk if self._rest else chunk), self._from
        while self._end is None and end - self._at >= LEAST:
            skip = self._at - begin
            self._step(data[skip : skip + _MOST])
        self._from = min(self._at, end)
        self._rest = b"" if self._end is not None else data[self._from - begin :]

    def end(self) -> End:
        """What the bytes so far say; no more can be fed."""
        end = self._from + len(self._rest)
        while self._end is None:
            self._step(None if self._at > end else self._rest[self._at - self._from :])
        return self._end


def padding(at: int) -> Walk:
    """The end of a content at `at`, where zero bytes may follow."""
    while True:
        block = yield at
        if block is None:
            return End.TRUNCATED
        if not block:
            return End.WHOLE
        if block.count(0) != len(block):
            return End.UNPROVEN
        at += len(block)


def nothing(at: int) -> Walk:
    """The end of a content at `at`, where nothing may follow."""
    block = yield at
    if block is None:
        return End.TRUNCATED
    return End.UNPROVEN if block else End.WHOLE
