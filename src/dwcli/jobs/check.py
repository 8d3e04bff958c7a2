"""Is a folder complete? Compares the instances that a server lists with those in the files of a folder."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from dwcli.client import Client
from dwcli.dicomweb import refs
from dwcli.dicomweb.dicomjson import text
from dwcli.dicomweb.query import Query
from dwcli.dicomweb.refs import InstanceRef, Level, Ref, SeriesRef, StudyRef
from dwcli.errors import AbsentError, AuthError, DwError, ExitCode
from dwcli.files.scan import DicomFile, Skipped, Unreadable, scan
from dwcli.jobs import compare
from dwcli.jobs.item import Item, failed
from dwcli.jobs.pool import Pool

Found = dict[tuple[str, str], dict[str, DicomFile]]


def check(
    client: Client,
    asked: Iterable[Ref],
    folder: Path,
    *,
    deep: bool,
    jobs: int,
    on_expect: Callable[[int], None] = lambda _n: None,
) -> Iterator[Item]:
    """One item for each instance: present, missing in the folder, extra there, or in conflict with the server's.

    `deep` fetches each instance and compares its bytes; otherwise a file that has the UIDs counts as the instance.
    What the server does not list at all is a failure (absent). Raises AuthError.
    """
    here: Found = {}
    twice: list[Item] = []
    for file in scan([folder]):
        match file:
            case DicomFile():
                series = here.setdefault((file.study, file.series), {})
                if file.instance in series:
                    twice.append(_item("extra", file, f"{series[file.instance].path} has the same SOP Instance UID"))
                else:
                    series[file.instance] = file
            case Unreadable(path, reason):
                yield Item("failed", path=str(path), reason=reason, code=ExitCode.FAILED)
            case Skipped():
                pass
    yield from twice
    pool: Pool[Item] = Pool(jobs, abort=client.transport.stop)

    def guarded(ref: Ref, task: Callable[[], None]) -> None:
        """One thing that cannot be checked does not stop the others; a login that fails does."""
        try:
            task()
        except AuthError:
            raise
        except DwError as error:
            pool.emit(failed(error, ref.study, getattr(ref, "series", ""), getattr(ref, "instance", "")))

    def start(ref: Ref) -> None:
        found = client.resolve(ref)
        match found:
            case StudyRef(study):
                there = [text(row, refs.SERIES_UID) for row in client.series_of(study)]
                if not there:
                    raise AbsentError(f"the server lists no series in study {study}")
                only_here = [series for owner, series in here if owner == study and series not in there]
                for series in [*there, *only_here]:
                    part = SeriesRef(study, series)
                    pool.add(partial(guarded, part, partial(one_series, part, None)))
            case SeriesRef():
                one_series(found, None)
            case InstanceRef(study, series, instance):
                one_series(SeriesRef(study, series), instance)

    def one_series(ref: SeriesRef, only: str | None) -> None:
        """A series against the files that claim to be of it; of these `only` one instance, where one is named."""
        rows = client.search(Query(Level.INSTANCE, study=ref.study, series=ref.series))
        uids = (text(row, refs.INSTANCE_UID) for row in rows)
        there = {uid: None for uid in uids if uid and only in (None, uid)}  # in the server's order
        files = here.get((ref.study, ref.series), {})
        if not there and (only is not None or not files):
            raise AbsentError("the server lists no such thing")
        on_expect(len(there))
        for uid in there:
            file = files.get(uid)
            if file is None:
                pool.emit(Item("missing", ref.study, ref.series, uid, reason="not in the folder", code=ExitCode.FAILED))
            else:
                pool.emit(_compared(client, InstanceRef(ref.study, ref.series, uid), file, deep=deep))
        for uid, file in files.items():
            if only is None and uid not in there:
                pool.emit(_item("extra", file, "the server does not list it"))

    yield from pool.run(partial(guarded, ref, partial(start, ref)) for ref in asked)


def _compared(client: Client, ref: InstanceRef, file: DicomFile, *, deep: bool) -> Item:
    if not deep:
        return _item("present", file)
    match compare.with_server(client, ref, file.open):
        case compare.Verdict.EQUAL:
            return _item("present", file)
        case compare.Verdict.DIFFERENT:
            return _item("conflict", file, "its bytes are not those that the server gives")
        case compare.Verdict.ABSENT:
            return _item("extra", file, "the server lists it, but does not have it")
        case compare.Verdict.UNKNOWN:
            return _item("failed", file, "the server does not give it out, so it cannot be compared")


def _item(outcome: str, file: DicomFile, reason: str = "") -> Item:
    code = ExitCode.OK if outcome == "present" else ExitCode.FAILED
    return Item(outcome, file.study, file.series, file.instance, str(file.path), file.size, reason, code)  # type: ignore[arg-type]
