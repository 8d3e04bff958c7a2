"""What a run has to clear away at its end, however Ctrl-C splits its work.

Python raises KeyboardInterrupt between any two steps: also between making a folder and the `try` that would remove it,
and in the middle of removing it. So what is made is noted here in one step with its making.
"""

import atexit
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_left: dict[object, Callable[[], None]] = {}


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back what a signal's handler raises until the block has ended. Only the main thread is ever interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    held = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in held:
        signal.signal(number, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def note(owner: object, clear: Callable[[], None]) -> None:
    """`clear` is called at the end of the run unless `owner` is forgotten before. Inside `uninterrupted`."""
    _left[owner] = clear


def forget(owner: object) -> None:
    """What `owner` made is gone."""
    _left.pop(owner, None)


def noted() -> frozenset[object]:
    """Who has something to clear away now."""
    return frozenset(_left)


def clear(*, but: frozenset[object] = frozenset()) -> None:
    """Clear away what is left at the end of a run, which may be an interrupted one, `but` what is not of this run."""
    for owner, remove in list(_left.items()):
        if owner not in but:
            with suppress(OSError):
                remove()


atexit.register(clear)
