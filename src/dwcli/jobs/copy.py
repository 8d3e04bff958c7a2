"""Server to server: what is retrieved lies in a temporary folder only until the other server has taken it.

A copy is a retrieve that feeds a store, so that both keep their promises: every instance is whole before it is sent,
is sent with its exact length, and is compared with what should have come.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from dwcli.client import Client
from dwcli.dicomweb import refs
from dwcli.dicomweb.dicomjson import text
from dwcli.dicomweb.query import Query
from dwcli.dicomweb.refs import Level, Ref
from dwcli.errors import AuthError, DwError, ExitCode
from dwcli.files.scan import DicomFile, Skipped, Unreadable, scan
from dwcli.files.sink import Sink
from dwcli.jobs import retrieve, store
from dwcli.jobs.item import DONE, Item, failed

_BACKLOG = 8
"""Instances that may wait between the two: what bounds the disk that a copy takes."""


def copy(
    source: Client,
    target: Client,
    asked: Iterable[Ref],
    spool: Path,
    *,
    fetching: retrieve.Options,
    storing: store.Options,
    on_bytes: Callable[[int], None] = lambda _n: None,
    on_expect: Callable[[int], None] = lambda _n: None,
) -> Iterator[Item]:
    """Copy everything below the references; one item for each instance, as the target's store has it.

    `spool` is an empty folder that the caller removes. At the end the target is asked for what it was given.
    """
    troubles: deque[Item] = deque()
    given: dict[tuple[str, str], set[str]] = {}
    with Sink(spool) as sink:
        fetch = retrieve.Retrieval(source, sink, fetching, on_bytes=on_bytes, on_expect=on_expect, backlog=_BACKLOG)
        job = store.Storing(target, storing)
        for item in job.run(_files(fetch.run(asked), troubles)):
            while troubles:
                yield troubles.popleft()
            if item.outcome in DONE:
                given.setdefault((item.study, item.series), set()).add(item.instance)
            Path(item.path).unlink(missing_ok=True)
            yield _without_path(item)
    yield from troubles
    for (study, series), uids in given.items():
        yield from _unseen(target, study, series, uids)


def _files(items: Iterable[Item], troubles: deque[Item]) -> Iterator[DicomFile | Skipped | Unreadable]:
    """What came, as files to store; what did not goes to `troubles`."""
    for item in items:
        if item.path and item.outcome in DONE:
            yield from scan([Path(item.path)])
        else:
            troubles.append(_without_path(item))


def _unseen(target: Client, study: str, series: str, uids: set[str]) -> Iterator[Item]:
    """Those of a series that the target took and does not list."""
    try:
        rows = target.search(Query(Level.INSTANCE, study=study, series=series))
        listed = {text(row, refs.INSTANCE_UID) for row in rows}
    except AuthError:
        raise
    except DwError as error:
        yield Item("unverified", study, series, reason=f"the target cannot list the series: {error.message}")
        return
    for uid in sorted(uids - listed):
        gone = DwError("the target took it, and does not list it", exit_code=ExitCode.FAILED)
        yield failed(gone, study, series, uid)


def _without_path(item: Item) -> Item:
    """An item without the spool's path, which means nothing to anybody afterwards."""
    return Item(item.outcome, item.study, item.series, item.instance, "", item.size, item.reason, item.code)
