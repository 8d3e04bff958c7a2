"""What is known about one server: an immutable snapshot per request, changed in one place only."""

import threading
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from dwcli.dicomweb.dialects import Dialect


class Known(NamedTuple):
    """A snapshot. `facts`: what a dialect has no field for, such as ("heeds", "study PatientID")."""

    dialect: Dialect
    facts: frozenset[Hashable] = frozenset()

    @property
    def learns(self) -> bool:
        """Whether anything is to be found out of this server."""
        return self.dialect.name == "auto"

    def tried(self, **changes: Any) -> "Known":
        """The same with changes to the dialect that are yet to be proven."""
        return self._replace(dialect=self.dialect._replace(**changes))

    def outdates(self, other: "Known") -> bool:
        """Whether a search is sent, or its rows are read, in another way than by the snapshot `other`."""
        return _as_sent(self.dialect) != _as_sent(other.dialect)


class Learned:
    """The facts known about one server, shared by all its requests. Thread-safe.

    Each request takes a snapshot (`now`) and its response is judged by that snapshot, whatever other threads learn.
    """

    def __init__(self, dialect: Dialect, tell: Callable[[str], None]) -> None:
        self._lock = threading.Lock()
        self._now = Known(dialect)
        self._accepted: dict[Hashable, str] = {}
        self._tell = tell
        self._told: set[str] = set()

    @property
    def now(self) -> Known:
        """All that is known, as an immutable value."""
        return self._now

    def learn(self, since: Known, *facts: Hashable, **changes: Any) -> None:
        """Add facts, and change fields of the dialect that are still as they were in the snapshot `since`.

        Where another response has changed a field meanwhile, that stays; a field that is a list grows.
        """
        with self._lock:
            dialect, known = self._now
            for name, value in changes.items():
                current = getattr(dialect, name)
                change: dict[str, Any] = {name: value}
                if isinstance(value, tuple):
                    change = {name: tuple(dict.fromkeys([*current, *value]))}
                elif current != getattr(since.dialect, name):
                    continue
                dialect = dialect._replace(**change)
            self._now = Known(dialect, known.union(facts))

    def accepted(self, what: Hashable) -> str:
        """The media range that was accepted for `what`, empty where none was so far."""
        return self._accepted.get(what, "")

    def accept(self, what: Hashable, media_range: str) -> None:
        """Remember the media range that was accepted for `what`."""
        with self._lock:
            self._accepted[what] = media_range

    def warn(self, text: str) -> None:
        """Warn the user, once per text."""
        with self._lock:
            told = text in self._told
            self._told.add(text)
        if not told:
            self._tell(text)


def _as_sent(dialect: Dialect) -> Dialect:
    """A dialect without what changes no search: the media type is each request's own, `auto` writes as the standard."""
    return dialect._replace(json_type="", escaping="raw" if dialect.escaping == "raw" else "standard")
