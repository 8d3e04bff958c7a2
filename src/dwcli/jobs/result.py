"""The outcome of one instance, for screens, pipes and reports."""

from collections import Counter
from threading import Lock
from typing import Literal, NamedTuple

from dwcli.errors import DwError, ExitCode, UsageError, combine

Outcome = Literal[
    "received",  # fetched, whole, new in the folder
    "replaced",  # fetched, replacing what was there (--overwrite, or no DICOM file any more)
    "present",  # was there already, equal as far as was looked
    "unexpected",  # fetched and kept, without being asked for
    "stored",  # the server says it has it
    "warned",  # stored, but the server changed something or complains; received, but truncated on the server
    "conflict",  # the same SOP Instance UID with other bytes: the first one stays
    "failed",  # did not come, or was not taken; `reason` says why
    "unknown",  # sent, but its outcome is unknown
    "skipped",  # not a DICOM instance, or a twin of one: never sent
    "planned",  # would be sent (--dry-run)
    "missing",  # the server lists it, and the folder does not have it (check)
    "extra",  # the folder has it, and the server does not list it (check)
    "deleted",  # gone from the server, which no longer lists it
    "unverified",  # received, but nothing proves that it is whole; of a study or series: that it is complete
]

_MOVED = frozenset({"received", "replaced", "unexpected", "stored", "warned", "unverified", "planned"})
DONE = frozenset({"received", "replaced", "present", "unexpected", "stored", "warned", "deleted", "unverified"})


class Item(NamedTuple):
    """One instance; where `instance` is empty, a file, or a study or series as a whole."""

    outcome: Outcome
    study: str = ""
    series: str = ""
    instance: str = ""
    path: str = ""
    size: int = 0
    reason: str = ""
    code: ExitCode = ExitCode.OK

    def ended(self, outcome: Outcome, reason: str = "", code: ExitCode = ExitCode.OK) -> "Item":
        """The same with another end."""
        return self._replace(outcome=outcome, reason=reason, code=code)

    def record(self) -> dict[str, object]:
        """As a line of a report."""
        return {
            "outcome": self.outcome,
            "study": self.study,
            "series": self.series,
            "instance": self.instance,
            "path": self.path,
            "size": self.size,
            "reason": self.reason,
        }


class Tally:
    """Counts of a run. `whole`: how many failures are whole studies or series, with unknown numbers of instances."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.whole = 0
        self.bytes = 0
        self.codes: set[ExitCode] = set()

    def add(self, item: Item) -> None:
        """Count one item."""
        self.outcomes[item.outcome] += 1
        self.whole += item.outcome == "failed" and bool(item.study and not item.instance)
        if item.outcome in _MOVED:
            self.bytes += item.size
        if item.code is not ExitCode.OK:
            self.codes.add(item.code)

    def count(self, *outcomes: Outcome) -> int:
        """How many ended so."""
        return sum(self.outcomes[outcome] for outcome in outcomes)

    @property
    def code(self) -> ExitCode:
        """The exit code of the run."""
        return combine(self.codes, succeeded=any(self.outcomes[outcome] for outcome in (*DONE, "planned")))


class Strikes:
    """Counts failures as they happen; `out` reports once that `--max-errors` is reached."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._seen = 0
        self._lock = Lock()

    def out(self, item: Item) -> bool:
        """Count one item. What is merely unverified is no failure, and a login that fails ends the run by itself."""
        if item.code in (ExitCode.OK, ExitCode.AUTH, ExitCode.PARTIAL):
            return False
        with self._lock:
            self._seen += 1
            return self._seen == self._most

    @property
    def words(self) -> str:
        """The message for the user then."""
        return f"stopped after {self._most} failures (--max-errors); the rest was not tried"


def failed(error: DwError, study: str = "", series: str = "", instance: str = "", path: str = "") -> Item:
    """A failure as an item. Only how to ask in another way is worth its hint on every line."""
    reason = f"{error.message}: {error.hint}" if isinstance(error, UsageError) and error.hint else error.message
    return Item("failed", study, series, instance, path, reason=reason, code=error.exit_code)
