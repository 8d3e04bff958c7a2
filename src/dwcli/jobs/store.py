"""Storing: files go out in batches, and the reply's body says what became of each.

What a reply leaves open is asked for: the instance is fetched and compared, or sent again by itself. A SOP Instance UID
makes sending twice safe.
"""

import filecmp
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock

from dwcli.client import Client
from dwcli.dicomweb import stow
from dwcli.dicomweb.refs import InstanceRef
from dwcli.errors import AuthError, DwError, ExitCode, RefusedError, TemporaryError
from dwcli.files.batch import batches
from dwcli.files.journal import Journal
from dwcli.files.scan import DicomFile, Skipped, Unreadable
from dwcli.jobs import compare
from dwcli.jobs.item import Item
from dwcli.jobs.pool import Pool
from dwcli.net.body import ChangedError, Part, read_file

_TOO_LARGE = 413


@dataclass(frozen=True, slots=True)
class Options:
    """How to store. `study`: only instances of this study may go in; `batch_bytes`: a request's size; `verify`: compare
    every instance with what the server gives back."""

    study: str = ""
    jobs: int = 4
    batch_bytes: int = 64_000_000
    verify: bool = False
    max_errors: int | None = None


class Storing:
    """One run. `on_bytes(n)` hears of bytes as they go, `on_expect(files, bytes)` of what will go."""

    def __init__(
        self,
        client: Client,
        options: Options,
        *,
        journal: Journal | None = None,
        on_bytes: Callable[[int], None] = lambda _n: None,
        on_expect: Callable[[int, int], None] = lambda _files, _bytes: None,
    ) -> None:
        self._client = client
        self._options = options
        self._journal = journal
        self._on_bytes = on_bytes
        self._on_expect = on_expect
        self._pool: Pool[Item] = Pool(options.jobs, abort=client.transport.stop)
        self._limit = options.batch_bytes
        self._lock = Lock()
        self._throttled = 0
        self._errors = 0

    def run(self, found: Iterable[DicomFile | Skipped | Unreadable]) -> Iterator[Item]:
        """Store what was found; one item for each file."""
        files = self._offered(found)
        groups = batches(files, max_bytes=self._options.batch_bytes, max_count=self._client.dialect.store_files or None)
        seeds = (partial(self._guarded, group, partial(self._send, group)) for group in groups)
        for item in self._pool.run(seeds):
            yield item
            if item.code not in (ExitCode.OK, ExitCode.AUTH):
                self._errors += 1
                if self._errors == self._options.max_errors:
                    self._pool.halt()

    def _offered(self, found: Iterable[DicomFile | Skipped | Unreadable]) -> Iterator[DicomFile]:
        """The files to send: DICOM, each SOP Instance UID once, not yet in the journal."""
        first: dict[str, Path] = {}
        for file in found:
            match file:
                case Skipped(path, reason):
                    self._pool.emit(Item("skipped", path=str(path), reason=reason))
                case Unreadable(path, reason):
                    self._pool.emit(Item("failed", path=str(path), reason=reason, code=ExitCode.FAILED))
                case DicomFile():
                    if file.instance in first:
                        self._emit_twin(file, first[file.instance])
                        continue
                    first[file.instance] = file.path
                    if self._options.study and file.study != self._options.study:
                        self._end(file, "failed", f"it belongs to study {file.study}", ExitCode.FAILED)
                    elif self._journal and self._journal.done(file):
                        self._pool.emit(_item(file, "present", "stored by an earlier run (journal)"))
                    else:
                        self._on_expect(1, file.size)
                        yield file

    def _emit_twin(self, file: DicomFile, first: Path) -> None:
        """A second file of one SOP Instance UID: sent by its twin, or a conflict."""
        try:
            equal = filecmp.cmp(first, file.path, shallow=False)
        except OSError as error:
            self._end(file, "failed", f"it cannot be read: {error.strerror}", ExitCode.FAILED)
            return
        if equal:
            self._pool.emit(Item("skipped", path=str(file.path), reason=f"the same as {first}"))
        else:
            reason = f"{first} has the same SOP Instance UID and other bytes; that one is offered"
            self._pool.emit(_item(file, "conflict", reason, ExitCode.FAILED))

    # Sending

    def _send(self, files: Sequence[DicomFile]) -> None:
        """One request; what it leaves open is settled file by file."""
        files = self._within_limit(files)
        if not files:
            return
        parts = [Part(file.size, partial(read_file, str(file.path))) for file in files]
        sent = [0]

        def count(n: int) -> None:
            sent[0] += n
            self._on_bytes(n)

        try:
            reply = self._client.store(parts, [file.instance for file in files], self._options.study, on_bytes=count)
        except ChangedError as error:
            self._on_bytes(-sent[0])
            changed = files[error.index]
            self._end(changed, "failed", error.message, ExitCode.FAILED)
            self._again([file for file in files if file is not changed])
            return
        except RefusedError as error:
            self._on_bytes(-sent[0])
            self._refused(files, error)
            return
        finally:
            self._ease()
        for note in reply.notes:
            self._client.warn(f"the server's reply to a store: {note}")
        for stray in reply.strays:
            reason = getattr(stray, "reason", "")
            name = f" {stray.instance}" if stray.instance else ""
            self._client.warn(f"the server's reply names an instance that was not sent{name}: {reason or 'stored'}")
        for file in files:
            self._settle(file, reply.outcomes[file.instance], alone=len(files) == 1)

    def _within_limit(self, files: Sequence[DicomFile]) -> Sequence[DicomFile]:
        """After a 413, batches are smaller for the rest of the run; this one is cut, its rest sent separately."""
        total = sum(file.size for file in files)
        if total <= self._limit or len(files) == 1:
            return files
        head, *rest = batches(files, max_bytes=self._limit, max_count=None)
        for group in rest:
            self._again(group)
        return head

    def _refused(self, files: Sequence[DicomFile], error: RefusedError) -> None:
        """The server took nothing and named nothing: halve the batch, until the file that it minds is alone."""
        if len(files) == 1:
            self._end(files[0], "failed", error.message, error.exit_code)
            return
        if error.status == _TOO_LARGE:
            with self._lock:
                self._limit = min(self._limit, max(1, sum(file.size for file in files) // 2))
        middle = len(files) // 2
        self._again(files[:middle])
        self._again(files[middle:])

    def _settle(self, file: DicomFile, outcome: stow.Outcome, *, alone: bool) -> None:
        match outcome:
            case stow.Stored():
                self._accepted(file, "stored", "")
            case stow.Warned(_, _, reason):
                self._accepted(file, "warned", reason)
            case stow.Failed(_, code, reason):
                if code in stow.MAYBE_PRESENT and self._is_there(file, reason):
                    return
                self._end(file, "failed", reason, ExitCode.FAILED)
            case stow.Unknown(_, reason):
                if self._is_there(file, reason):
                    return
                if alone:
                    self._end(file, "failed", f"{reason}, and the server does not have it", ExitCode.FAILED)
                else:
                    self._again([file])

    def _accepted(self, file: DicomFile, outcome: str, reason: str) -> None:
        """The server says it has it; under --verify it has to show it."""
        if self._options.verify:
            match self._compare(file):
                case compare.Verdict.EQUAL:
                    pass
                case compare.Verdict.DIFFERENT if outcome == "warned":
                    reason = f"{reason}; what the server gives back differs"
                case compare.Verdict.DIFFERENT:
                    words = "the server says stored, but gives back other bytes under this SOP Instance UID"
                    self._end(file, "conflict", words, ExitCode.FAILED)
                    return
                case compare.Verdict.ABSENT:
                    self._end(file, "failed", "the server says stored, but does not have it", ExitCode.FAILED)
                    return
                case compare.Verdict.UNKNOWN:
                    reason = f"{reason}; not verified: the server does not give it back".lstrip("; ")
                    self._end(file, outcome, reason, ExitCode.PARTIAL)
                    return
        self._end(file, outcome, reason, ExitCode.OK)

    def _is_there(self, file: DicomFile, why: str) -> bool:
        """Whether the server has the instance already; says so, or that it has another one of that UID."""
        match self._compare(file):
            case compare.Verdict.EQUAL:
                self._end(file, "present", why, ExitCode.OK)
            case compare.Verdict.DIFFERENT:
                words = f"the server has other bytes under this SOP Instance UID ({why})"
                self._end(file, "conflict", words, ExitCode.FAILED)
            case _:
                return False
        return True

    def _compare(self, file: DicomFile) -> compare.Verdict:
        return compare.with_server(self._client, InstanceRef(file.study, file.series, file.instance), file.path)

    # Small things

    def _again(self, files: Sequence[DicomFile]) -> None:
        if files:
            self._pool.add(partial(self._guarded, files, partial(self._send, files)))

    def _guarded(self, files: Sequence[DicomFile], task: Callable[[], None]) -> None:
        """Run a task; an error that ends it is the outcome of each of its files."""
        try:
            task()
        except DwError as error:
            if self._pool.halted and isinstance(error, TemporaryError):
                return
            if isinstance(error, AuthError):
                self._pool.halt()
            outcome = "unknown" if isinstance(error, TemporaryError) else "failed"
            for file in files:
                self._end(file, outcome, error.message, error.exit_code)

    def _end(self, file: DicomFile, outcome: str, reason: str, code: ExitCode) -> None:
        if self._journal:
            self._journal.record(file, outcome, reason)
        self._pool.emit(_item(file, outcome, reason, code))

    def _ease(self) -> None:
        with self._lock:
            seen = self._client.transport.throttled
            if seen > self._throttled:
                self._throttled = seen
                self._pool.ease()


def _item(file: DicomFile, outcome: str, reason: str = "", code: ExitCode = ExitCode.OK) -> Item:
    return Item(outcome, file.study, file.series, file.instance, str(file.path), file.size, reason, code)  # type: ignore[arg-type]
