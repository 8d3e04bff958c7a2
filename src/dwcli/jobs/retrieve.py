"""Retrieving: what should come, what came, and what is missing.

Before a study is fetched its series are asked for with their counts, which costs little; instances are listed only
for a series whose count disagrees afterwards (a list of 2,000 costs more than their download). What a listing names
but the response lacks is fetched again by itself, then reported.
"""

from collections.abc import Callable, Container, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from dwcli.client import Client
from dwcli.dicomweb import refs, tags
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.dicomweb.query import Query
from dwcli.dicomweb.refs import InstanceRef, Level, Ref, SeriesRef, StudyRef
from dwcli.errors import (
    AbsentError,
    AuthError,
    DwError,
    ExitCode,
    ProtocolError,
    RefusedError,
    TemporaryError,
    TruncatedError,
)
from dwcli.files.draft import Destination, FolderError
from dwcli.files.existing import Present, is_truncated
from dwcli.jobs.pool import Pool
from dwcli.jobs.receive import Received, Receiver
from dwcli.jobs.result import Item, Strikes, failed

_COUNT = tags.NumberOfSeriesRelatedInstances
_CANNOT = (RefusedError, AbsentError, ProtocolError)


class Options(NamedTuple):
    """How to retrieve. `transfer_syntax`: a UID, or `*` for as stored; `verify`: list every series, trust no count."""

    transfer_syntax: str = "*"
    jobs: int = 4
    verify: bool = False
    wado_uri: bool = False
    max_errors: int | None = None


class Planned(NamedTuple):
    """A series as the server announces it; `announced` None where it does not say, `present` the UIDs in the folder."""

    study: str
    series: str
    announced: int | None
    present: frozenset[str]


class Retrieval:
    """One run. `on_bytes(n)` is called for bytes received, `on_expect(n)` for instances to come.

    At most `backlog` items wait to be taken; then the transfer waits.
    """

    def __init__(
        self,
        client: Client,
        destination: Destination,
        options: Options,
        *,
        on_bytes: Callable[[int], None] = lambda _n: None,
        on_expect: Callable[[int], None] = lambda _n: None,
        backlog: int = 1000,
    ) -> None:
        self._client = client
        self._destination = destination
        self._options = options
        self._on_expect = on_expect
        self._pool: Pool[Item] = Pool(options.jobs, abort=client.transport.stop, backlog=backlog)
        self._strikes = Strikes(options.max_errors)
        self._broken: FolderError | None = None
        self._receiver = Receiver(
            client,
            destination,
            transfer_syntax=options.transfer_syntax,
            wado_uri=options.wado_uri,
            verify=options.verify,
            emit=self._emit,
            on_bytes=on_bytes,
        )

    def run(self, asked: Iterable[Ref]) -> Iterator[Item]:
        """Fetch everything below the references; one item for each instance, and for what failed as a whole.

        Raises FolderError, after the items that there are, where the folder cannot be written any more.
        """
        self._destination.prepare()
        seeds = (partial(self._guarded, ref, partial(self._start, ref)) for ref in asked)
        yield from self._pool.run(seeds)
        if self._broken:
            raise self._broken

    def plan(self, asked: Iterable[Ref]) -> Iterator[Planned]:
        """What `run` would look at, without fetching anything. A series without a count is listed."""
        for ref in asked:
            found = self._client.locate(ref)
            match found:
                case InstanceRef(study, series, instance):
                    yield Planned(study, series, 1, self._present(study, series) & {instance})
                case _:
                    for plan in self._announced(found) or [Planned(found.study, "", None, frozenset())]:
                        yield plan if plan.announced is not None else self._counted(plan)

    # Planning

    def _start(self, ref: Ref) -> None:
        """Find out what should come for one reference, and add the tasks that fetch it."""
        ref = self._client.locate(ref)
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
        self._on_expect(sum(plan.announced or 0 for plan in series))
        untouched = not any(plan.present for plan in series)
        if isinstance(ref, StudyRef) and untouched and self._options.jobs == 1:
            self._add(ref, partial(self._fetch_study, ref, series))
            return
        for plan in series:
            self._add(SeriesRef(plan.study, plan.series), partial(self._fetch_series, plan))

    def _announced(self, ref: StudyRef | SeriesRef) -> list[Planned] | None:
        """The series below a reference with their counts; None where the server cannot list any."""
        if not ref.study:
            return None
        try:
            rows = list(self._client.series_of(ref.study))
        except _CANNOT:
            return None
        plans = []
        for row in rows:
            uid = text(row, refs.SERIES_UID)
            if uid and (isinstance(ref, StudyRef) or uid == ref.series):
                count = text(row, _COUNT)
                present = self._present(ref.study, uid)
                plans.append(Planned(ref.study, uid, int(count) if count.isdecimal() else None, present))
        # An empty list proves nothing: Orthanc returns one for a study that it does not have, others for every study.
        return plans or None

    def _counted(self, plan: Planned) -> Planned:
        """The same with a count, where the server lists instances."""
        listed = self._listed(SeriesRef(plan.study, plan.series)) if plan.series else {}
        return plan._replace(announced=len(listed) or None)

    def _present(self, study: str, series: str) -> frozenset[str]:
        if self._destination.overwrite:
            return frozenset()
        found = self._destination.instances(study, series)
        return frozenset(one.instance for one in found if not (self._options.verify and _lacks_end(one)))

    def _listed(self, ref: StudyRef | SeriesRef) -> dict[str, InstanceRef]:
        """The instances that the server names below a reference; none where it cannot tell.

        Shanoir returns nothing for every instance search, so the metadata are requested, too, which cost more.
        """
        series = ref.series
        asks: tuple[Callable[[], Iterator[Row]], ...] = (
            lambda: self._client.search(Query(Level.INSTANCE, study=ref.study, series=series)),
            lambda: self._client.metadata(ref),
        )
        for ask in asks:
            found = {}
            try:
                for row in ask():
                    uid, above = text(row, refs.INSTANCE_UID), series or text(row, refs.SERIES_UID)
                    if uid and above:
                        found[uid] = InstanceRef(ref.study, above, uid)
            except _CANNOT:
                continue
            if found:
                return found
        return {}

    # Fetching

    def _fetch_study(self, ref: StudyRef, plans: list[Planned]) -> None:
        """A whole study as one stream, then each series against its count."""
        received = self._stream(ref, {plan.series for plan in plans})
        for plan in plans:
            self._reconcile(plan, received)
            received.rejected.clear()  # which series they belong to is not known: they count in the first

    def _fetch_series(self, plan: Planned) -> None:
        """A series as one stream, or only what is missing of it."""
        ref = SeriesRef(plan.study, plan.series)
        if plan.present and self._fetch_rest(ref, plan):
            return
        self._reconcile(plan, self._stream(ref))

    def _fetch_rest(self, ref: SeriesRef, plan: Planned) -> bool:
        """What is missing of a series that is partly here; False where nothing tells what that is."""
        complete = len(plan.present) == plan.announced
        listed: dict[str, InstanceRef] = {}
        if self._options.verify or not complete:
            listed = self._listed(ref)
        if not listed and not complete:
            return False
        for uid in plan.present & listed.keys() if listed else plan.present:
            self._found(InstanceRef(plan.study, plan.series, uid))
        for uid, missing in listed.items():
            if uid not in plan.present:
                self._add(missing, partial(self._fetch_instance, missing))
        if self._options.verify and not listed:
            self._emit(self._unverified(ref, "the server does not list its instances"))
        elif plan.announced is not None and plan.announced > len(plan.present | listed.keys()):
            self._emit(self._unverified(ref, _fewer(plan.announced, len(listed))))
        return True

    def _reconcile(self, plan: Planned, received: Received) -> None:
        """Compare what came of a series with what should have come, and fetch the rest one by one."""
        ref = SeriesRef(plan.study, plan.series)
        uids = received.of(plan.study, plan.series)
        as_announced = plan.announced == len(uids)
        if as_announced and (uids or received.error is None) and not self._options.verify and not received.partial:
            if received.error is not None:
                self._client.warn(
                    f"{refs.show(ref)}: {received.error.message}; received {_instances(len(uids))}, as announced"
                )
            self._remark(received)
            return
        listed = self._listed(ref)
        for uid, named in listed.items():
            # What says of itself that it belongs elsewhere would say so again.
            if uid not in received.uids:
                self._add(named, partial(self._fetch_instance, named))
        if listed and (strange := uids - listed.keys()):
            words = f"{len(strange)} received that the server does not list, such as {min(strange)}"
            self._client.warn(f"{refs.show(ref)}: {words}")
        known = len(uids | listed.keys())
        if listed and (plan.announced is None or plan.announced <= known):
            self._remark(received)
            return
        for item in received.rejected:
            self._emit(item)
        if received.error is not None and not listed and not as_announced:
            self._emit(failed(_with_counts(received.error, len(uids), plan.announced), plan.study, plan.series))
        elif not received.rejected:  # else they are what is missing
            self._emit(self._short(plan, len(uids), len(listed)))

    def _short(self, plan: Planned, came: int, listed: int) -> Item:
        """Say what is known of a series of which neither count nor list proves that it came whole."""
        ref = SeriesRef(plan.study, plan.series)
        if listed:
            return self._unverified(ref, _fewer(plan.announced or 0, listed))
        if plan.announced is not None and plan.announced > came:
            short = DwError(f"received {came} of {_instances(plan.announced)}; the server cannot list them")
            return failed(short, plan.study, plan.series)
        if not came:
            return failed(AbsentError("the series is empty"), plan.study, plan.series)
        return self._unverified(ref, "the server does not list its instances")

    def _fetch_unlisted(self, ref: StudyRef | SeriesRef) -> None:
        """A study or series of a server that cannot say which series are in it."""
        received = self._stream(ref)
        uids = received.uids
        # A search for what the server does not know finds nothing, so an absent study needs no second look.
        listed = {} if isinstance(received.error, AbsentError) and isinstance(ref, StudyRef) else self._listed(ref)
        for uid, named in listed.items():
            if uid not in uids:
                self._add(named, partial(self._fetch_instance, named))
        if listed:
            self._remark(received)
            return
        for item in received.rejected:
            self._emit(item)
        if received.error is not None:
            self._emit(failed(_with_counts(received.error, len(uids), None), ref.study, ref.series))
        elif uids:
            self._emit(self._unverified(ref, f"the server lists nothing; received {_instances(len(uids))}"))
        elif not received.rejected:
            self._emit(failed(AbsentError("the response contains no instance"), ref.study, ref.series))

    def _fetch_instance(self, ref: InstanceRef) -> None:
        """Fetch one instance by itself; twice if the response is truncated."""
        for last in (False, True):
            received = self._stream(ref, last=last)
            if ref.instance in received.uids:
                self._remark(received)
                return
            if not isinstance(received.error, TruncatedError) or last:
                break
        if received.error is None and received.rejected:
            self._emit(received.rejected[0])
            return
        reason = "the response contains other instances" if received.uids else "the response is empty"
        error = received.error or DwError(reason)
        self._emit(failed(error, ref.study, ref.series, ref.instance))

    def _stream(self, ref: Ref, series: Container[str] | None = None, *, last: bool = False) -> Received:
        """Write one response into the folder. A busy or silent server is left alone until the next run."""
        received = self._receiver.take(ref, series, last=last)
        self._pool.ease(self._client.transport.throttled)
        if isinstance(received.error, TemporaryError):
            raise received.error
        return received

    # Small things

    def _found(self, ref: InstanceRef) -> None:
        path = self._destination.where(ref.study, ref.series, ref.instance)
        self._emit(Item("present", ref.study, ref.series, ref.instance, str(path or ""), _size(path)))

    def _unverified(self, ref: StudyRef | SeriesRef, reason: str) -> Item:
        code = ExitCode.PARTIAL if self._options.verify else ExitCode.OK
        return Item("unverified", ref.study, ref.series, reason=reason, code=code)

    def _remark(self, received: Received) -> None:
        """Warn about parts that could not be kept, if every instance of the response is here or requested again."""
        for item in received.rejected:
            self._client.warn(f"a part of the response was dropped: {item.reason}")

    def _add(self, ref: Ref, task: Callable[[], None]) -> None:
        self._pool.add(partial(self._guarded, ref, task))

    def _guarded(self, ref: Ref, task: Callable[[], None]) -> None:
        """Run a task; its error becomes an item, and a login that fails or a full disk ends the run."""
        try:
            task()
        except FolderError as error:
            self._broken = error
            self._pool.halt()
        except DwError as error:
            if isinstance(error, AuthError):
                self._pool.halt()
                self._client.warn(f"stopped, the rest was not tried; {error.hint}".removesuffix("; "))
            self._emit(failed(error, ref.study, ref.series, ref.instance))

    def _emit(self, item: Item) -> None:
        self._pool.emit(item)
        if self._strikes.out(item):
            self._pool.halt()
            self._client.warn(self._strikes.words)


def _fewer(count: int, listed: int) -> str:
    return f"the server announces {_instances(count)} and lists {listed}"


def _with_counts(error: DwError, came: int, expected: int | None) -> DwError:
    """The same error with the number of instances received."""
    of = f"{came} of {_instances(expected)}" if expected is not None else _instances(came)
    return DwError(f"{error.message}; received {of}", error.hint, error.exit_code)


def _instances(count: int) -> str:
    return "1 instance" if count == 1 else f"{count} instances"


def _size(path: Path | None) -> int:
    try:
        return path.stat().st_size if path else 0
    except OSError:
        return 0


def _lacks_end(one: Present) -> bool:
    """Whether a file that was stored complete has been truncated since."""
    try:
        return is_truncated(one.path)
    except OSError:
        return True
