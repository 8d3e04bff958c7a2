"""Reading ahead: while one piece of a large body is written, the next one is received, and decrypted under TLS."""

import queue
import threading
from collections.abc import Callable, Generator

from dwcli import process

_UNIT = 256 << 10  # bytes
_WAITING = 8  # units
_ENOUGH = 1 << 20  # units: more than any piece has
_OVERHEAD = 1 << 10  # bytes that a piece counts for besides its own: some servers write two bytes at a time
_MANY = 32  # units


def ahead(pieces: Generator[bytes, None, None], wake: Callable[[], None]) -> Generator[bytes, None, None]:
    """The same pieces, received in a thread of their own, up to two megabytes and one piece before they are used.

    What `pieces` raises comes after the pieces before it. `wake` ends a blocked read, for a user who stops early; the
    thread is gone when this generator is.
    """
    received: queue.SimpleQueue[bytes | BaseException | None] = queue.SimpleQueue()
    room = threading.Semaphore(_WAITING)
    stopped = threading.Event()

    def receive() -> None:
        try:
            units = held = 0
            for piece in pieces:
                received.put(piece)
                held += len(piece) + _OVERHEAD
                while held >= _UNIT:
                    held -= _UNIT
                    units += 1
                    if units == _MANY:
                        process.large_transfer()
                    room.acquire()
                if stopped.is_set():
                    return
            received.put(None)
        except BaseException as error:
            received.put(error)
        finally:
            pieces.close()

    thread = threading.Thread(target=receive, daemon=True)
    thread.start()
    finished = False
    used = 0
    try:
        while True:
            match received.get():
                case None:
                    break
                case bytes(piece):
                    used += len(piece) + _OVERHEAD
                    while used >= _UNIT:
                        used -= _UNIT
                        room.release()
                    yield piece
                case BaseException() as error:
                    raise error
        finished = True
    finally:
        if not finished:
            stopped.set()
            room.release(_ENOUGH)
            wake()
        thread.join()
