"""Reading ahead: nothing is lost or reordered, little is held, and nobody waits for a blocked read."""

import threading
import time
from collections.abc import Generator

import pytest

from dwcli.net.read_ahead import ahead


def _none() -> None:
    """Nothing to wake."""


def test_pieces_come_in_order_and_an_error_after_them() -> None:
    def pieces() -> Generator[bytes, None, None]:
        yield b"one"
        yield b"two"
        raise OSError("cut")

    found = []
    with pytest.raises(OSError, match="cut"):
        for piece in ahead(pieces(), _none):
            found.append(piece)
    assert found == [b"one", b"two"]


def test_an_empty_body_ends() -> None:
    assert list(ahead((piece for piece in list[bytes]()), _none)) == []


@pytest.mark.parametrize(("size", "most"), [(1 << 20, 5), (2, 2400)])
def test_no_more_than_some_megabytes_are_received_before_they_are_used(size: int, most: int) -> None:
    made = 0
    number = 3 * most

    def pieces() -> Generator[bytes, None, None]:
        nonlocal made
        for _ in range(number):
            made += 1
            yield bytes(size)

    reader = ahead(pieces(), _none)
    next(reader)
    deadline = time.monotonic() + 60
    while made < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert 2 < made <= most  # the one in use among them
    assert len(list(reader)) == number - 1


def test_who_stops_early_wakes_the_reader_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    woken = threading.Event()
    closed = []

    def pieces() -> Generator[bytes, None, None]:
        try:
            yield b"first"
            woken.wait(30)  # as a read from a silent server
            yield b"second"
        finally:
            closed.append(True)

    reader = ahead(pieces(), woken.set)
    assert next(reader) == b"first"
    reader.close()
    # Threads of other tests may end meanwhile.
    assert (set(threading.enumerate()) - before, closed) == (set(), [True])
