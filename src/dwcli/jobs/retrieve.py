"""Retrieving: what should come, what came, and what is missing.

Before a study is fetched its series are asked for with their counts, which costs little; instances are listed only
for a series whose count disagrees afterwards (a list of 2,000 costs more than their download). What a listing names
and the answer did not bring is fetched again by itself, then reported.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock

from dwcli.client import Client, Event, Opened
from dwcli.dicomweb import part10, refs
from dwcli.dicomweb.dicomjson import text
from dwcli.dicomweb.multipart import PartData, PartEnd, PartStart, Truncated
from dwcli.dicomweb.query import Query
from dwcli.dicomweb.refs import InstanceRef, Level, Ref, SeriesRef, StudyRef
from dwcli.errors import (
    AbsentError,
    AuthError,
    DwError,
    ExitCode,
    RefusedError,
    TemporaryError,
    TruncatedError,
)
from dwcli.files.sink import CollisionError, Draft, FolderError, Kept, Sink
from dwcli.jobs.item import Item, failed
from dwcli.jobs.pool import Pool

_COUNT = "00201209"  # NumberOfSeriesRelatedInstances


@dataclass(frozen=True, slots=True)
class Options:
    """How to retrieve. `transfer_syntax`: a UID, or `*` for as stored; `verify`: list every series, trust no count."""

    transfer_syntax: str = "*"
    jobs: int = 4
    verify: bool = False
    wado_uri: bool = False
    max_errors: int | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A series as the server announces it; `count` None where it does not say, `present` the UIDs in the folder."""

    study: str
    series: str
    count: int | None
    present: frozenset[str]


@dataclass(slots=True)
class _Got:
    """What one answer brought: SOP Instance UIDs of instances that were kept or found equal or in conflict."""

    uids: set[str] = field(default_factory=set)
    unnamed: int = 0
    partial: bool = False


class Retrieval:
    """One run. `on_bytes(n)` hears of bytes as they come, `on_expect(n)` of instances to come."""

    def __init__(
        self,
        client: Client,
        sink: Sink,
        options: Options,
        *,
        on_bytes: Callable[[int], None] = lambda _n: None,
        on_expect: Callable[[int], None] = lambda _n: None,
        backlog: int = 1000,
    ) -> None:
        self._client = client
        self._sink = sink
        self._options = options
        self._on_bytes = on_bytes
        self._on_expect = on_expect
        self._pool: Pool[Item] = Pool(options.jobs, abort=client.transport.stop, backlog=backlog)
        self._throttled = 0
        self._errors = 0
        self._lock = Lock()

    def run(self, asked: Iterable[Ref]) -> Iterator[Item]:
        """Fetch everything below the references; one item for each instance, and for what failed as a whole."""
        self._sink.prepare()
        seeds = (partial(self._guarded, ref, partial(self._start, ref)) for ref in asked)
        for item in self._pool.run(seeds):
            yield item
            if item.code not in (ExitCode.OK, ExitCode.AUTH):
                self._errors += 1
                if self._errors == self._options.max_errors:
                    self._pool.halt()

    def plan(self, asked: Iterable[Ref]) -> Iterator[Planned]:
        """What `run` would look at, without fetching anything."""
        for ref in asked:
            found = self._client.resolve(ref)
            match found:
                case InstanceRef(study, series, instance):
                    yield Planned(study, series, 1, self._present(study, series) & {instance})
                case _:
                    yield from self._announced(found) or [Planned(found.study, "", None, frozenset())]

    # Planning

    def _start(self, ref: Ref) -> None:
        """Find out what should come for one reference, and add the tasks that fetch it."""
        ref = self._client.resolve(ref)
        if isinstance(ref, InstanceRef):
            self._on_expect(1)
            if ref.instance in self._present(ref.study, ref.series):
                self._found(ref)
            else:
                self._fetch_instance(ref)
            return
        series = self._announced(ref)
        if series is None:
            self._fetch_unlisted(ref)
            return
        self._on_expect(sum(plan.count or 0 for plan in series))
        untouched = not any(plan.present for plan in series)
        if isinstance(ref, StudyRef) and untouched and self._options.jobs == 1:
            self._add(ref, partial(self._fetch_study, ref, series))
            return
        for plan in series:
            self._add(SeriesRef(plan.study, plan.series), partial(self._fetch_series, plan))

    def _announced(self, ref: StudyRef | SeriesRef) -> list[Planned] | None:
        """The series below a reference with their counts; None where the server cannot list any."""
        try:
            rows = list(self._client.series_of(ref.study))
        except (RefusedError, AbsentError):
            return None
        plans = []
        for row in rows:
            uid = text(row, refs.SERIES_UID)
            if uid and (isinstance(ref, StudyRef) or uid == ref.series):
                count = text(row, _COUNT)
                present = self._present(ref.study, uid)
                plans.append(Planned(ref.study, uid, int(count) if count.isdecimal() else None, present))
        # An empty list proves nothing: Orthanc answers one for a study that it does not know, others for every study.
        return plans or None

    def _present(self, study: str, series: str) -> frozenset[str]:
        if self._sink.overwrite:
            return frozenset()
        return frozenset(found.instance for found in self._sink.instances(study, series))

    def _listed(self, study: str, series: str) -> dict[str, InstanceRef]:
        """The instances that the server names in a series. Raises DwError where it cannot."""
        rows = self._client.search(Query(Level.INSTANCE, study=study, series=series))
        uids = (text(row, refs.INSTANCE_UID) for row in rows)
        return {uid: InstanceRef(study, series, uid) for uid in uids if uid}

    # Fetching

    def _fetch_study(self, ref: StudyRef, plans: list[Planned]) -> None:
        """A whole study as one stream, then each series against its count."""
        by_series: dict[str, set[str]] = {plan.series: set() for plan in plans}

        def note(kept: Kept) -> bool:
            known = by_series.get(kept.series)
            if known is None or kept.study != ref.study:
                return False
            known.add(kept.instance)
            return True

        got, error = self._stream(ref, note)
        self._give_up_unless_refetchable(error)
        for plan in plans:
            self._reconcile(plan, by_series[plan.series], error, got)

    def _fetch_series(self, plan: Planned) -> None:
        """A series as one stream, or only what is missing of it."""
        ref = SeriesRef(plan.study, plan.series)
        if plan.present:
            listed = None
            if self._options.verify or plan.count is None or len(plan.present) != plan.count:
                listed = self._listed(plan.study, plan.series)
            wanted = plan.present if listed is None else plan.present & listed.keys()
            for uid in wanted:
                self._found(InstanceRef(plan.study, plan.series, uid))
            for uid, missing in (listed or {}).items():
                if uid not in plan.present:
                    self._add(missing, partial(self._fetch_instance, missing))
            return
        uids: set[str] = set()

        def note(kept: Kept) -> bool:
            if (kept.study, kept.series) != (plan.study, plan.series):
                return False
            uids.add(kept.instance)
            return True

        got, error = self._stream(ref, note)
        self._give_up_unless_refetchable(error)
        self._reconcile(plan, uids, error, got)

    def _reconcile(self, plan: Planned, uids: set[str], error: DwError | None, got: _Got) -> None:
        """Compare what came of a series with what should have come, and fetch the rest one by one."""
        ref = SeriesRef(plan.study, plan.series)
        if error is None and not self._options.verify and not got.partial and plan.count == len(uids):
            return
        try:
            listed = self._listed(plan.study, plan.series)
        except AuthError:
            raise
        except DwError as unlisted:
            if error is not None:
                self._emit(failed(_with_counts(error, len(uids), plan.count), plan.study, plan.series))
            elif plan.count is not None and plan.count > len(uids):
                short = DwError(f"{len(uids)} of {plan.count} instances came, and the server cannot list them")
                self._emit(failed(short, plan.study, plan.series))
            else:
                self._emit(self._unverified(ref, f"the server cannot list its instances: {unlisted.message}"))
            return
        missing = [named for uid, named in listed.items() if uid not in uids]
        if not listed and not uids:
            self._emit(failed(error or AbsentError("the series is empty"), plan.study, plan.series))
        for named in missing:
            self._add(named, partial(self._fetch_instance, named))

    def _fetch_unlisted(self, ref: StudyRef | SeriesRef) -> None:
        """A study or series of a server that cannot say what is in it."""
        self._on_expect(0)
        uids: set[str] = set()

        def note(kept: Kept) -> bool:
            uids.add(kept.instance)
            return kept.study == ref.study

        got, error = self._stream(ref, note)
        series = ref.series if isinstance(ref, SeriesRef) else ""
        if error is None and series:
            try:
                listed = self._listed(ref.study, series)
            except (RefusedError, AbsentError):
                listed = {}
            if listed:
                for uid, named in listed.items():
                    if uid not in uids:
                        self._add(named, partial(self._fetch_instance, named))
                return
        if error is not None:
            self._emit(failed(_with_counts(error, len(uids), None), ref.study, series))
        elif not uids and not got.unnamed:
            self._emit(failed(AbsentError("the answer holds no instance"), ref.study, series))
        else:
            self._emit(self._unverified(ref, f"the server lists nothing; {len(uids)} instances came"))

    def _fetch_instance(self, ref: InstanceRef) -> None:
        """One instance by itself; tried twice where the answer is cut."""
        for last in (False, True):
            came = False

            def note(kept: Kept) -> bool:
                nonlocal came
                came = came or kept.instance == ref.instance
                return kept.instance == ref.instance

            got, error = self._stream(ref, note)
            if came:
                return
            if not isinstance(error, TruncatedError) or last:
                break
        if error is None:
            error = (got.unnamed and DwError("the answer is not this instance")) or DwError("the answer is empty")
        self._emit(failed(error, ref.study, ref.series, ref.instance))

    def _stream(self, ref: Ref, note: Callable[[Kept], bool]) -> tuple[_Got, DwError | None]:
        """Read one answer into the folder and emit its instances; `note(kept)` says whether it was asked for.

        Returns what came, and the error that ended it. A login that fails or a folder that cannot be written is raised.
        """
        got = _Got()
        draft: Draft | None = None
        try:
            for event in self._events(ref):
                match event:
                    case PartData(data):
                        if draft is None:
                            raise AssertionError("data outside a part")
                        draft.write(data)
                        self._on_bytes(len(data))
                    case PartStart():
                        draft = self._sink.open()
                    case PartEnd():
                        assert draft is not None
                        self._keep(draft, ref, got, note)
                        draft = None
                    case Truncated(reason):
                        return got, TruncatedError(f"the answer is not complete: {reason}")
                    case Opened(status, _, _, warning):
                        got.partial = status == 206
                        if (warning and not warning.startswith("299")) or got.partial:
                            self._client.warn(f"{refs.show(ref)}: {status} {warning}".rstrip())
        except (AuthError, FolderError):
            raise
        except DwError as error:
            return got, error
        finally:
            if draft is not None:
                draft.discard()
            self._ease()
        return got, None

    def _events(self, ref: Ref) -> Iterator[Event]:
        if self._options.wado_uri and isinstance(ref, InstanceRef):
            return self._client.wado_uri(ref, self._options.transfer_syntax)
        return self._client.retrieve(ref, self._options.transfer_syntax)

    def _keep(self, draft: Draft, ref: Ref, got: _Got, note: Callable[[Kept], bool]) -> None:
        """Give one whole part its name, and say what became of it."""
        match ref:
            case StudyRef(study):
                hint = (study, "", "")
            case SeriesRef(study, series):
                hint = (study, series, "")
            case InstanceRef(study, series, instance):
                hint = (study, series, instance)
        try:
            kept = draft.keep(hint)
        except (part10.NotDicom, CollisionError) as error:
            got.unnamed += 1
            self._emit(failed(error, *hint))
            return
        asked_for = note(kept)
        again = kept.instance in got.uids
        got.uids.add(kept.instance)
        syntax = draft.head.transfer_syntax if draft.head else ""
        wanted = self._options.transfer_syntax
        reason, code = "", ExitCode.OK
        match kept.outcome:
            case "conflict":
                reason, code = "other bytes of this SOP Instance UID are there and stay", ExitCode.FAILED
            case "same" if again:
                return  # the server sent it twice
            case _ if wanted != "*" and syntax != wanted:
                reason, code = f"it came as {syntax}, not as {wanted}", ExitCode.FAILED
        outcome = {"written": "received", "same": "present"}.get(kept.outcome, kept.outcome)
        if not asked_for and not code:
            outcome, reason = "stranger", "nobody asked for it"
        if code and outcome != "conflict":
            outcome = "failed"
        item = Item(outcome, kept.study, kept.series, kept.instance, str(kept.path), kept.size, reason, code)  # type: ignore[arg-type]
        self._emit(item)

    # Small things

    def _found(self, ref: InstanceRef) -> None:
        path = self._sink.find(ref.study, ref.series, ref.instance)
        self._emit(Item("present", ref.study, ref.series, ref.instance, str(path or ""), _size(path)))

    def _unverified(self, ref: StudyRef | SeriesRef, reason: str) -> Item:
        code = ExitCode.PARTIAL if self._options.verify else ExitCode.OK
        series = ref.series if isinstance(ref, SeriesRef) else ""
        return Item("unverified", ref.study, series, reason=reason, code=code)

    def _give_up_unless_refetchable(self, error: DwError | None) -> None:
        """A server that fell silent is not asked for the rest one by one; the next run does that."""
        if isinstance(error, TemporaryError):
            raise error

    def _add(self, ref: Ref, task: Callable[[], None]) -> None:
        self._pool.add(partial(self._guarded, ref, task))

    def _guarded(self, ref: Ref, task: Callable[[], None]) -> None:
        """Run a task; its error becomes an item, and a login that fails or a full disk ends the run."""
        try:
            task()
        except DwError as error:
            if self._pool.halted and isinstance(error, TemporaryError):
                return
            if isinstance(error, AuthError | FolderError):
                self._pool.halt()
            series = getattr(ref, "series", "")
            self._emit(failed(error, ref.study, series, getattr(ref, "instance", "")))

    def _emit(self, item: Item) -> None:
        self._pool.emit(item)

    def _ease(self) -> None:
        with self._lock:
            seen = self._client.transport.throttled
            if seen > self._throttled:
                self._throttled = seen
                self._pool.ease()


def _with_counts(error: DwError, came: int, expected: int | None) -> DwError:
    """The same error, saying how many instances came."""
    of = f" of {expected}" if expected is not None else ""
    return DwError(f"{error.message}; {came}{of} instances came whole", error.hint, error.exit_code)


def _size(path: Path | None) -> int:
    try:
        return path.stat().st_size if path else 0
    except OSError:
        return 0
