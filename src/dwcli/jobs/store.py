"""Storing: files are sent in batches, and the body of the store response gives each outcome.

What a response leaves open is checked: the instance is fetched and compared, or sent again alone. A SOP Instance UID
makes sending twice safe.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock

from dwcli.client import Client, UnansweredError
from dwcli.dicomweb import stow
from dwcli.dicomweb.content import End
from dwcli.dicomweb.refs import InstanceRef
from dwcli.errors import AbsentError, AuthError, DwError, ExitCode, RefusedError, TemporaryError
from dwcli.files.existing import end_of_opened
from dwcli.files.journal import Journal
from dwcli.files.scan import DicomFile, Instance
from dwcli.jobs import compare
from dwcli.jobs.compare import Verdict
from dwcli.jobs.pool import Pool
from dwcli.jobs.result import Item, Outcome, Strikes
from dwcli.jobs.selection import AROUND, Found, done, ended, offers
from dwcli.net.body import ChangedError, Part, read

_TOO_LARGE = 413
_MINDED = frozenset({400, 409, 422})  # a refusal of what is in the request, where some servers mean that they have it
_NEVER = frozenset({405, 406, 411, 415, 501})  # a refusal of the request itself, whatever files are in it


@dataclass(frozen=True, slots=True)
class Options:
    """How to store. `study`: only instances of this study may go in; `batch_bytes`: a request's size; `verify`: compare
    every instance with what the server returns."""

    study: str = ""
    jobs: int = 4
    batch_bytes: int = 64_000_000
    verify: bool = False
    max_errors: int | None = None


class Storing:
    """One run. `on_bytes(n)` is called for bytes sent, `on_expect(files, bytes)` for what will be sent.

    `doubt`: files always compared with what the server returns, once it reports them stored.
    """

    def __init__(
        self,
        client: Client,
        options: Options,
        *,
        journal: Journal | None = None,
        doubt: Callable[[Instance], bool] = lambda _file: False,
        on_bytes: Callable[[int], None] = lambda _n: None,
        on_expect: Callable[[int, int], None] = lambda _files, _bytes: None,
    ) -> None:
        self._client = client
        self._options = options
        self._journal = journal
        self._doubt = doubt
        self._on_bytes = on_bytes
        self._on_expect = on_expect
        jobs = min(options.jobs, client.dialect.store_jobs or options.jobs)
        self._pool: Pool[Item] = Pool(jobs, abort=client.transport.stop)
        self._limit = min(options.batch_bytes, client.dialect.store_bytes or options.batch_bytes)
        self._lock = Lock()
        self._told = False
        self._strikes = Strikes(options.max_errors)

    def run(self, found: Iterable[Found]) -> Iterator[Item]:
        """Store what was found; one item for each file."""
        files = self._to_send(found)
        most = self._client.dialect.store_files or None
        groups = batches(files, max_bytes=self._limit, max_count=most, around=AROUND)
        yield from self._pool.run(self._task(group, self._send) for group in groups)

    def _to_send(self, found: Iterable[Found]) -> Iterator[Instance]:
        for offer in offers(found, self._options, self._journal, store_bytes=self._client.dialect.store_bytes):
            match offer:
                case Item():
                    self._emit(offer)
                case file if done(self._journal, file):
                    self._pool.add(self._task([file], self._look_again))
                case file:
                    self._on_expect(1, file.size)
                    yield file

    # Sending

    def _send(self, files: Sequence[Instance]) -> None:
        """One request; what it leaves open is settled file by file."""
        files = self._within_limit(files)
        parts = [Part(file.size, partial(read, file.open)) for file in files]
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
        except UnansweredError as error:
            self._unanswered(files, error)
            return
        finally:
            self._pool.ease(self._client.transport.throttled)
        for note in reply.notes:
            self._client.warn(f"the store response: {note}")
        # Of one file and another name for it, the file's own outcome tells.
        for stray in reply.strays if len(files) > 1 or len(reply.strays) > 1 else ():
            reason = getattr(stray, "reason", "")
            name = f" {stray.instance}" if stray.instance else ""
            self._client.warn(f"the store response lists an instance that was not sent{name}: {reason or 'stored'}")
        for file in files:
            # Each by itself, since to settle one may need the network, and fail where the others are settled.
            settle = partial(self._settle, outcome=reply.outcomes[file.instance], alone=len(files) == 1)
            self._task([file], lambda one, settle=settle: settle(one[0]))()  # type: ignore[misc]

    def _within_limit(self, files: Sequence[Instance]) -> Sequence[Instance]:
        """After a 413, batches are smaller for the rest of the run; this one is split, its rest sent separately."""
        if len(files) == 1 or sum(file.size + AROUND for file in files) <= self._limit:
            return files
        head, *rest = batches(files, max_bytes=self._limit, max_count=None, around=AROUND)
        for group in rest:
            self._again(group)
        return head

    def _refused(self, files: Sequence[Instance], error: RefusedError) -> None:
        """The server stored nothing and named nothing: halve the batch until the rejected file is alone."""
        if error.status in _NEVER:
            raise error
        if len(files) == 1:
            if error.status == _TOO_LARGE:
                words = f"{error.message}: this file alone exceeds the server's request limit"
                self._end(files[0], "failed", words, error.exit_code)
            elif error.status not in _MINDED or not self._is_there(files[0], error.message):
                self._not_taken(files[0], "failed", error.message)
            return
        if error.status == _TOO_LARGE:
            with self._lock:
                self._limit = min(self._limit, max(1, sum(file.size for file in files) // 2))
        middle = len(files) // 2
        self._again(files[:middle])
        self._again(files[middle:])

    def _unanswered(self, files: Sequence[Instance], lost: UnansweredError) -> None:
        """No response came despite retries: check each file on the server, until that fails as well."""
        for number, file in enumerate(files):
            try:
                verdict = self._compare(file)
            except (AuthError, TemporaryError) as error:
                if isinstance(error, AuthError):
                    self._stop(error)
                for left in files[number:]:
                    self._end(left, "unknown", lost.message, error.exit_code)
                return
            except OSError as error:
                words = _join(lost.message, f"the file can no longer be read: {error.strerror or error}")
                self._end(file, "unknown", words, lost.exit_code)
                continue
            match verdict:
                case Verdict.EQUAL:
                    self._end(file, "stored", f"{lost.message}; the server returns it", ExitCode.OK)
                case Verdict.DIFFERENT:
                    self._end(file, "conflict", _other_bytes(lost.message), ExitCode.FAILED)
                case Verdict.ABSENT:
                    self._end(file, "failed", f"{lost.message}; the server does not have it", lost.exit_code)
                case _:
                    self._end(file, "unknown", lost.message, lost.exit_code)

    # What became of a file

    def _settle(self, file: Instance, outcome: stow.Outcome, *, alone: bool) -> None:
        match outcome:
            case stow.Stored():
                self._accepted(file, "stored", "")
            case stow.Warned(_, code, reason) if code in stow.MAYBE_PRESENT and self._is_there(file, reason):
                pass
            case stow.Warned(_, _, reason):
                self._accepted(file, "warned", reason)
            case stow.Failed(_, code, reason):
                if code not in stow.MAYBE_PRESENT or not self._is_there(file, reason):
                    self._not_taken(file, "failed", reason)
            case stow.Unknown(_, reason):
                self._left_open(file, reason, alone=alone)

    def _left_open(self, file: Instance, why: str, *, alone: bool) -> None:
        """The outcome is unknown: check the server, and send the file once more alone if it is missing."""
        match self._compare(file):
            case Verdict.EQUAL:
                self._end(file, "stored", f"{why}; the server returns it", ExitCode.OK)
            case Verdict.DIFFERENT:
                self._not_taken(file, "conflict", _other_bytes(why))
            case _ if not alone:
                self._again([file])
            case Verdict.ABSENT:
                self._not_taken(file, "failed", f"{why}, and the server does not have it")
            case _:
                self._end(file, "unknown", f"{why}, and the server does not return it", ExitCode.FAILED)

    def _accepted(self, file: Instance, outcome: Outcome, reason: str) -> None:
        """The server reports it stored; under --verify, or in doubt, fetch it to prove that."""
        if not self._options.verify and not self._doubt(file):
            self._end(file, outcome, reason, ExitCode.OK)
            return
        try:
            verdict = self._compare(file)
        except TemporaryError as error:
            self._end(file, outcome, _join(reason, f"not verified: {error.message}"), error.exit_code)
            return
        match verdict:
            case Verdict.EQUAL:
                self._end(file, outcome, reason, ExitCode.OK)
            case Verdict.DIFFERENT if outcome == "warned":
                self._end(file, outcome, _join(reason, "the server returns different content"), ExitCode.OK)
            case Verdict.DIFFERENT:
                words = "the server reports it stored but returns different content for this SOP Instance UID"
                self._end(file, "conflict", words, ExitCode.FAILED)
            case Verdict.ABSENT:
                self._end(file, "failed", "the server reports it stored but does not have it", ExitCode.FAILED)
            case _:
                words = _join(reason, "not verified: the server does not return it")
                self._end(file, outcome, words, ExitCode.PARTIAL)

    def _look_again(self, files: Sequence[Instance]) -> None:
        """Under --verify, check that what an earlier run stored is still there; else send it again."""
        (file,) = files
        match self._compare(file):
            case Verdict.EQUAL:
                self._end(file, "present", "stored by an earlier run and still there", ExitCode.OK)
            case Verdict.DIFFERENT:
                self._end(file, "conflict", _other_bytes("stored by an earlier run"), ExitCode.FAILED)
            case Verdict.ABSENT:
                self._on_expect(1, file.size)
                self._send([file])
            case _:
                words = "stored by an earlier run; not verified: the server does not return it"
                self._end(file, "present", words, ExitCode.PARTIAL)

    def _is_there(self, file: Instance, why: str) -> bool:
        """Whether the server has the instance already; says so, or that it has another one of that UID."""
        try:
            verdict = self._compare(file)
        except TemporaryError as error:
            self._end(file, "failed", _join(why, f"not compared: {error.message}"), error.exit_code)
            return True
        except OSError:
            return False  # there is nothing to compare with any more: the refusal stands
        match verdict:
            case Verdict.EQUAL:
                # Why it was not taken reads as a failure, and is none.
                self._end(file, "present", "already on the server and identical", ExitCode.OK)
            case Verdict.DIFFERENT:
                self._not_taken(file, "conflict", _other_bytes(why))
            case _:
                return False
        return True

    def _not_taken(self, file: Instance, outcome: Outcome, why: str) -> None:
        """The server did not take it; where the file lacks its end, that is the reason, whatever the server holds."""
        try:
            with file.open() as opened:
                truncated = end_of_opened(opened) is End.TRUNCATED
        except OSError as error:
            truncated, why = False, _join(why, f"the file can no longer be read: {error.strerror or error}")
        if truncated:
            outcome, why = "failed", f"the file is truncated: it ends inside a data element; {why}"
        self._end(file, outcome, why, ExitCode.FAILED)

    def _compare(self, file: Instance) -> Verdict:
        return compare.with_server(self._client, InstanceRef(file.study, file.series, file.instance), file.open)

    # Small things

    def _again(self, files: Sequence[Instance]) -> None:
        if files:
            self._pool.add(self._task(files, self._send))

    def _task(self, files: Sequence[Instance], do: Callable[[Sequence[Instance]], None]) -> Callable[[], None]:
        """Something to do with files; an error that ends it is the outcome of each."""
        return partial(self._guarded, files, do)

    def _guarded(self, files: Sequence[Instance], do: Callable[[Sequence[Instance]], None]) -> None:
        try:
            do(files)
        except OSError as error:
            for file in files:
                self._end(file, "failed", f"cannot be read: {error.strerror or error}", ExitCode.FAILED)
        except DwError as error:
            if isinstance(error, AuthError):
                self._stop(error)
            # That the address of a store is absent does not mean that what was asked for is.
            code = ExitCode.FAILED if isinstance(error, AbsentError) else error.exit_code
            for file in files:
                self._end(file, "failed", error.message, code)

    def _stop(self, error: AuthError) -> None:
        """Stop: every other file would fail as well."""
        self._pool.halt()
        with self._lock:
            told, self._told = self._told, True
        if not told:
            self._client.warn(f"stopped, the rest was not tried: {error.message}; {error.hint}")

    def _end(self, file: Instance, outcome: Outcome, reason: str, code: ExitCode) -> None:
        if self._journal and isinstance(file, DicomFile):
            self._journal.record(file, outcome, reason)
        self._emit(ended(file, outcome, reason, code))

    def _emit(self, item: Item) -> None:
        self._pool.emit(item)
        if self._strikes.out(item):
            self._pool.halt()
            self._client.warn(self._strikes.words)


def _other_bytes(why: str) -> str:
    return f"the server has different content for this SOP Instance UID ({why})"


def _join(*words: str) -> str:
    return "; ".join(word for word in words if word)


def batches(
    files: Iterable[Instance], *, max_bytes: int, max_count: int | None, around: int = 0
) -> Iterator[list[Instance]]:
    """Split files, in order, into lists of at most `max_bytes` bytes and `max_count` files.

    `max_count` None: any number; `around`: bytes that a request carries beside each file. A file larger than
    `max_bytes` goes alone. Lists are never empty, and files are taken only as they are needed.
    """
    batch: list[Instance] = []
    size = 0
    for file in files:
        length = file.size + around
        if batch and (size + length > max_bytes or len(batch) == max_count):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += length
    if batch:
        yield batch
