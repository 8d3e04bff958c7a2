"""What a program may set for its whole process. Importing dwcli sets nothing: only `__main__` does."""

from collections.abc import Callable


def _nothing() -> None:
    pass


large_transfer: Callable[[], None] = _nothing
"""Called once a transfer turns out to be large."""
