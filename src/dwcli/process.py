"""Process-wide settings. Importing dwcli sets none of them: only `__main__` does."""

from collections.abc import Callable


def _nothing() -> None:
    pass


large_transfer: Callable[[], None] = _nothing
"""Called once, when a transfer turns out to be large."""
