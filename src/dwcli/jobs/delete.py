"""Deletion: plan it, use the server's own mechanism, then check that the objects are gone."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dwcli.client import Client
from dwcli.dicomweb import deletion, refs, tags
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.dicomweb.query import Query, Term
from dwcli.dicomweb.refs import InstanceRef, Level, Ref, SeriesRef, StudyRef
from dwcli.dicomweb.request import Request
from dwcli.errors import AbsentError, DwError, ExitCode, RefusedError, TemporaryError
from dwcli.jobs import rest_lookup
from dwcli.jobs.result import Item, failed

_COUNT = tags.NumberOfSeriesRelatedInstances
_PAUSES = (0.0, 0.5, 2.0)
_OPERATION_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)
_OPERATION_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class DeletionPlan:
    """What would be deleted. `instances` None if unknown; `row` is the study's, {} where it cannot be found."""

    ref: Ref
    series: int
    instances: int | None
    row: Row


def plan(client: Client, ref: Ref) -> DeletionPlan:
    """What lies below a reference. Raises AbsentError if the server does not have it."""
    ref = client.resolve(ref)
    rows = [row for row in client.series_of(ref.study) if text(row, refs.SERIES_UID)]
    studies = client.search(Query(Level.STUDY, terms=(Term(refs.STUDY_UID, ref.study),)))
    study = next((row for row in studies if text(row, refs.STUDY_UID) == ref.study), {})
    if not isinstance(ref, StudyRef):
        rows = [row for row in rows if text(row, refs.SERIES_UID) == ref.series]
    if not rows and not (study and isinstance(ref, StudyRef)):
        raise AbsentError(f"the server lists no {ref.level} {deletion.own_uid(ref)}", f"dw search {ref.level.resource}")
    if isinstance(ref, InstanceRef):
        if ref.instance not in _instances(client, ref.study, ref.series):
            raise AbsentError(f"the server lists no instance {ref.instance} in its series", "dw search instances")
        return DeletionPlan(ref, 1, 1, study)
    counts = [_count(client, ref.study, row) for row in rows]
    return DeletionPlan(ref, len(rows), None if None in counts else sum(count or 0 for count in counts), study)


def look(client: Client, ref: Ref) -> DeletionPlan | Item:
    """The plan, or an item with the reason why not. Raises what would fail for every other reference as well: a login
    that fails, a server that does not respond."""
    try:
        return plan(client, ref)
    except DwError as error:
        if error.exit_code in (ExitCode.AUTH, ExitCode.TEMPORARY):
            raise
        return failed(error, ref.study, ref.series, ref.instance)


def _count(client: Client, study: str, row: Row) -> int | None:
    said = text(row, _COUNT)
    if said.isdecimal():
        return int(said)
    try:
        return len(_instances(client, study, text(row, refs.SERIES_UID)))
    except (RefusedError, AbsentError):
        return None


def _instances(client: Client, study: str, series: str) -> set[str]:
    return {text(row, refs.INSTANCE_UID) for row in client.search(Query(Level.INSTANCE, study, series))}


def can(client: Client, folder: Path | None = None) -> None:
    """Raises RefusedError, with the way to do it, where this server is known to delete nothing over the network.

    `folder`: where its files are, if they are on this disk.
    """
    if client.dialect.delete == "none":
        own = f"delete its files: they are in {folder}" if folder else client.dialect.delete_otherwise
        raise RefusedError(
            f"this server does not delete over DICOMweb (dialect {client.dialect.name})",
            own or "ask its administrator, or see its own interface",
            status=501,
        )


def delete(
    client: Client, planned: DeletionPlan, *, reason: str = "113001^DCM", wait: Callable[[float], None] = time.sleep
) -> Item:
    """Delete it, and check that it is gone: `deleted`, or `failed` with the reason. An AuthError is raised."""
    ref = planned.ref
    said = "the server accepted the deletion but still lists it"
    try:
        try:
            _remove(client, ref, reason, wait)
        except AbsentError as error:
            # It was listed a moment ago: gone since then, or deleted in another way here.
            said = f"{error.message}, but still lists it: this server deletes in another way"
        for pause in _PAUSES:
            wait(pause)
            if not _listed(client, ref):
                return _item("deleted", ref)
    except DwError as error:
        if error.exit_code is ExitCode.AUTH:
            raise
        return failed(error, ref.study, ref.series, ref.instance)
    return failed(DwError(said), ref.study, ref.series, ref.instance)


def _remove(client: Client, ref: Ref, reason: str, wait: Callable[[float], None]) -> None:
    can(client)
    match client.dialect.delete:
        case "reject":
            client.call(deletion.reject(client.base, ref, reason))
        case "lookup":
            _by_own_name(client, ref)
        case _:
            # The response shows whether it is done at once or by an operation, also for unknown servers.
            _awaited(client, client.call(deletion.plain(client.base, ref)), wait)


def _by_own_name(client: Client, ref: Ref) -> None:
    """Delete through the server's own REST interface, which uses its own identifiers."""
    for one in rest_lookup.find(client, ref):
        client.call(Request("DELETE", deletion.core(client.base, client.dialect, one.path)))


def _awaited(client: Client, answer: bytes, wait: Callable[[float], None]) -> None:
    """Poll a long-running operation until it is done."""
    waited = 0.0
    pauses = iter(_OPERATION_PAUSES)
    while (running := deletion.operation(client.base, answer)) is not None:
        if running.error:
            raise DwError(f"the server could not delete it: {running.error}")
        if running.done:
            return
        if waited > _OPERATION_SECONDS:
            raise TemporaryError("the server is still deleting", f"dw request GET {running.url}")
        pause = next(pauses, _OPERATION_PAUSES[-1])
        wait(pause)
        waited += pause
        answer = client.call(Request("GET", running.url, {"Accept": "application/json"}))


def _listed(client: Client, ref: Ref) -> bool:
    """Whether the server still lists it."""
    rows: Iterator[Row]
    try:
        match ref:
            case StudyRef(study):
                rows = client.search(Query(Level.STUDY, terms=(Term(refs.STUDY_UID, study),)))
            case SeriesRef(study, _):
                rows = client.search(Query(Level.SERIES, study))
            case InstanceRef(study, series, _):
                rows = client.search(Query(Level.INSTANCE, study, series))
        return any(text(row, ref.level.uid_tag) == deletion.own_uid(ref) for row in rows)
    except AbsentError:
        return False


def _item(outcome: str, ref: Ref) -> Item:
    return Item(outcome, ref.study, ref.series, ref.instance)  # type: ignore[arg-type]
