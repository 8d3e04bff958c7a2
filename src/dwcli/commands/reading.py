"""Rows as they come from a server, and what it means where they stop in the middle."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from dwcli.errors import TemporaryError, TruncatedError

Value = TypeVar("Value")


@contextmanager
def listing() -> Iterator[None]:
    """Whoever lists in the block is told by a TemporaryError that a response was truncated.

    To list is harmless, so the same command may be given again, and then ends with exit 0 or the same 75. It is not
    asked again in here: rows that were printed cannot be taken back, and a server need not give the rest in the same
    order.
    """
    try:
        yield
    except TruncatedError as error:
        raise TemporaryError(error.message, "what came is not all: give the same command again") from error


def whole(rows: Iterable[Value]) -> Iterator[Value]:
    """The rows of a listing. Raises TemporaryError where the response is truncated."""
    with listing():
        yield from rows
