"""Server to server: each instance is held only until the target has accepted it.

A copy is a retrieve that feeds a store, so that both keep their promises: every instance is whole before it is sent,
is sent with its exact length, and is compared with what should have come.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

from dwcli.client import Client
from dwcli.dicomweb import refs
from dwcli.dicomweb.dicomjson import text
from dwcli.dicomweb.query import Query
from dwcli.dicomweb.refs import Level, Ref
from dwcli.errors import AuthError, DwError, ExitCode
from dwcli.files.relay import Held, Relay
from dwcli.files.scan import Instance
from dwcli.jobs import retrieve, store
from dwcli.jobs.result import DONE, Item, failed
from dwcli.jobs.retrieve import Planned

_BACKLOG = 8
_BATCH = 4_000_000
_ROOM = 3 * _BATCH
"""Bytes that may wait between the two. More than a batch, or a batch would wait for ever to be full."""


def copy(
    source: Client,
    target: Client,
    asked: Iterable[Ref],
    *,
    fetching: retrieve.Options,
    storing: store.Options,
    on_bytes: Callable[[int], None] = lambda _n: None,
    on_expect: Callable[[int], None] = lambda _n: None,
) -> Iterator[Item]:
    """Copy everything below the references; one item for each instance, as the target's store has it.

    What the target had before under a UID is compared afterwards, for some servers say stored and keep the old one.
    At the end the target is asked for what it was given. Raises DwError, after the items that there are, where the
    fetching stopped.
    """
    with Relay(_ROOM) as relay:
        fetch = retrieve.Retrieval(source, relay, fetching, on_bytes=on_bytes, on_expect=on_expect, backlog=_BACKLOG)
        arrivals = _Arrivals(relay, _Before(target))
        came = fetch.run(asked)
        job = store.Storing(target, replace(storing, batch_bytes=_BATCH), doubt=arrivals.was_there)
        given: dict[tuple[str, str], set[str]] = {}
        try:
            for item in job.run(arrivals.files(came)):
                yield from arrivals.troubles()
                if item.outcome in DONE:
                    given.setdefault((item.study, item.series), set()).add(item.instance)
                relay.release(item.path)
                yield arrivals.told(item)
            yield from arrivals.troubles()
        finally:
            if not arrivals.ended:
                # Threads that wait for room, or for the source, would wait in vain now.
                relay.close()
                source.transport.stop()
                with suppress(ValueError):  # a thread that is about to end still runs it
                    came.close()  # type: ignore[attr-defined]  # it is a generator
    for (study, series), uids in given.items():
        yield from _unseen(target, study, series, uids, storing)
    if arrivals.broken:
        raise arrivals.broken


def plan(source: Client, target: Client, asked: Iterable[Ref]) -> Iterator[Planned]:
    """What `copy` would look at, without fetching anything; `present` are those that the target lists."""
    before = _Before(target)
    with Relay(_ROOM) as relay:
        job = retrieve.Retrieval(source, relay, retrieve.Options())
        for ref in asked:
            for series in job.plan([ref]):
                there = before.listed(series.study, series.series) if series.series else frozenset()
                only = frozenset({ref.instance}) if ref.instance else there
                yield series._replace(present=there & only)


class _Arrivals:
    """What comes from the source: handed on as files to store, each instance once."""

    def __init__(self, relay: Relay, before: "_Before") -> None:
        self.ended = False
        self.broken: DwError | None = None
        self._relay = relay
        self._before = before
        self._troubles: deque[Item] = deque()
        self._digests: dict[str, bytes] = {}
        self._remarks: dict[str, Item] = {}

    def files(self, items: Iterable[Item]) -> Iterator[Instance]:
        """The files to store; what did not come goes to the troubles. What ends it early is kept in `broken`, so that
        what came until then is still stored."""
        try:
            for item in items:
                if not item.path or item.outcome not in DONE:
                    self._troubles.append(item._replace(path=""))
                elif self._is_new(item, held := self._relay.held(item.path)):
                    self._before.listed(held.study, held.series)
                    yield held
                else:
                    self._relay.release(item.path)
        except DwError as error:
            self.broken = error
        self.ended = True

    def _is_new(self, item: Item, held: Held) -> bool:
        """Whether an instance comes for the first time; another one of its UID is a conflict."""
        with held.open() as file:
            digest = hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]  # BinaryIO has readinto
        first = self._digests.setdefault(item.instance, digest)
        if first is not digest:
            if first != digest:
                words = "the source sent different content for this SOP Instance UID; the first version was copied"
                self._troubles.append(item._replace(path="").ended("conflict", words, ExitCode.FAILED))
            return False
        if item.reason:
            self._remarks[item.instance] = item
        return True

    def troubles(self) -> Iterator[Item]:
        """Those since the last call."""
        while self._troubles:
            yield self._troubles.popleft()

    def was_there(self, file: Instance) -> bool:
        """Whether the target had an instance of that UID before the copy."""
        return file.instance in self._before.listed(file.study, file.series)

    def told(self, item: Item) -> Item:
        """What became of an instance, without the path, and with what there was to say of it when it came: that it was
        not asked for, is truncated on the source, or that nothing proves it whole."""
        item = item._replace(path="")
        came = self._remarks.get(item.instance)
        if came is None:
            return item
        outcome = came.outcome if item.outcome == "stored" else item.outcome
        words = "; ".join(filter(None, (came.reason, item.outcome, item.reason)))
        return item.ended(outcome, words, item.code or came.code)


class _Before:
    """What the target listed before the copy: asked once for each study, and for each series that it knows."""

    def __init__(self, target: Client) -> None:
        self._target = target
        self._series: dict[str, frozenset[str]] = {}
        self._instances: dict[tuple[str, str], frozenset[str]] = {}

    def listed(self, study: str, series: str) -> frozenset[str]:
        """The SOP Instance UIDs of a series; none where the target cannot tell. Raises AuthError."""
        key = study, series
        if key not in self._instances:
            if study not in self._series:
                self._series[study] = self._ask(Query(Level.SERIES, study=study), refs.SERIES_UID)
            known = series in self._series[study]
            query = Query(Level.INSTANCE, study=study, series=series)
            self._instances[key] = self._ask(query, refs.INSTANCE_UID) if known else frozenset()
        return self._instances[key]

    def _ask(self, query: Query, uid: str) -> frozenset[str]:
        try:
            return frozenset(text(row, uid) for row in self._target.search(query))
        except AuthError:
            raise
        except DwError:
            return frozenset()


def _unseen(target: Client, study: str, series: str, uids: set[str], storing: store.Options) -> Iterator[Item]:
    """Those of a series that the target took and does not list."""
    try:
        rows = target.search(Query(Level.INSTANCE, study=study, series=series))
        listed = {text(row, refs.INSTANCE_UID) for row in rows}
    except AuthError:
        raise
    except DwError as error:
        code = ExitCode.PARTIAL if storing.verify else ExitCode.OK
        yield Item("unverified", study, series, reason=f"the target cannot list the series: {error.message}", code=code)
        return
    for uid in sorted(uids - listed):
        gone = DwError("the target accepted it but does not list it", exit_code=ExitCode.FAILED)
        yield failed(gone, study, series, uid)
