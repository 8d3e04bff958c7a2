"""Select the files to send, and report the others."""

import filecmp
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from dwcli.errors import ExitCode
from dwcli.files.journal import Journal
from dwcli.files.scan import DicomFile, Instance, Skipped, Unreadable
from dwcli.jobs.result import Item, Outcome
from dwcli.net.body import Multipart, Part

Found = Instance | Skipped | Unreadable

AROUND = Multipart([Part(0, lambda: ())]).length
"""Bytes that a store request carries around one file, at most."""


class Choice(Protocol):
    """The options that decide. `study`: only instances of this study may go in."""

    @property
    def study(self) -> str: ...

    @property
    def verify(self) -> bool: ...


def offers(
    found: Iterable[Found], choice: Choice, journal: Journal | None, *, store_bytes: int = 0
) -> Iterator[Instance | Item]:
    """The files to send, each SOP Instance UID once and not yet in the journal; an item for each other file.

    `store_bytes`: what the server accepts in one request (Dialect.store_bytes); 0: unknown. Under `verify` the files
    in the journal come too: what an earlier run stored is looked at, not believed.
    """
    first: dict[str, Path] = {}
    for file in found:
        match file:
            case Skipped(path, reason):
                yield Item("skipped", path=str(path), reason=reason)
            case Unreadable(path, reason):
                yield Item("failed", path=str(path), reason=reason, code=ExitCode.FAILED)
            # Of files alone: what comes from a server comes once, as jobs/copy sees to.
            case DicomFile(path) if (twin := first.setdefault(file.instance, path)) is not path:
                yield _twin(file, twin)
            case _:
                if choice.study and file.study != choice.study:
                    yield ended(file, "failed", f"it belongs to study {file.study}", ExitCode.FAILED)
                elif done(journal, file) and not choice.verify:
                    yield ended(file, "present", "stored by an earlier run (journal)")
                elif 0 < store_bytes < file.size + AROUND and not done(journal, file):
                    reason = f"too large: this server accepts {store_bytes} bytes in one request (dialect.store_bytes)"
                    yield ended(file, "failed", reason, ExitCode.FAILED)
                else:
                    yield file


def plan(found: Iterable[Found], choice: Choice, journal: Journal | None, *, store_bytes: int = 0) -> Iterator[Item]:
    """The same as items alone (`--dry-run`)."""
    for offer in offers(found, choice, journal, store_bytes=store_bytes):
        yield offer if isinstance(offer, Item) else ended(offer, "planned")


def done(journal: Journal | None, file: Instance) -> bool:
    """Whether an earlier run stored this file, as the journal says."""
    return journal is not None and isinstance(file, DicomFile) and journal.done(file)


def ended(file: Instance, outcome: Outcome, reason: str = "", code: ExitCode = ExitCode.OK) -> Item:
    """The outcome of a file."""
    return Item(outcome, file.study, file.series, file.instance, file.key, file.size, reason, code)


def _twin(file: DicomFile, first: Path) -> Item:
    """A second file of one SOP Instance UID: sent by its twin, or a conflict."""
    try:
        equal = filecmp.cmp(first, file.path, shallow=False)
    except OSError as error:
        return ended(file, "failed", f"cannot be read: {error.strerror}", ExitCode.FAILED)
    if equal:
        return Item("skipped", path=str(file.path), reason=f"the same as {first}")
    reason = f"{first} has the same SOP Instance UID but different content; dw sends that one"
    return ended(file, "conflict", reason, ExitCode.FAILED)
