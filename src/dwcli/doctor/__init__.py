"""Check a server's DICOMweb conformance: a fixed series of harmless requests, each judged by PS3.18.

Each finding says what the standard requires, what the server sent, and what `dw` does about it. A finding holds no
patient data and no secret, so it may go into a support ticket. A run is bounded in requests and in seconds, and ends
early when the server stops responding.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

from dwcli.client import Client
from dwcli.dicomweb import dialects
from dwcli.doctor.finding import Finding
from dwcli.doctor.probes import delete, paging, pixels, responses, retrieve, rows, search, wado_uri
from dwcli.doctor.probes.store import StoreProbes
from dwcli.doctor.session import LimitError, Session
from dwcli.doctor.suggest import Suggestion, suggest_dialect
from dwcli.errors import AuthError, DwError

__all__ = ["Finding", "Session", "Suggestion", "examine", "suggest_dialect"]

Probe = Callable[[Session], Iterator[Finding]]

_READS: tuple[tuple[str, tuple[Probe, ...]], ...] = (
    ("search", search.PROBES),
    ("paging", paging.PROBES),
    ("rows", rows.PROBES),
    ("responses", responses.PROBES),
    ("retrieve", retrieve.PROBES),
    ("pixels", pixels.PROBES),
    ("WADO-URI", wado_uri.PROBES),
)


def examine(client: Client, *, write: bool = False, large: bool = False) -> Generator[Finding, None, None]:
    """Yield one finding after another.

    `write` also stores synthetic instances and deletes them again; `large` adds a large store request.
    Raises AuthError, and DwError where the server cannot be searched at all.
    """
    session = Session(client)
    findings: list[Finding] = []
    for group, found in _run(session, write=write, large=large, findings=findings):
        finding = replace(found, group=group)
        findings.append(finding)
        yield finding


def _run(session: Session, *, write: bool, large: bool, findings: list[Finding]) -> Iterator[tuple[str, Finding]]:
    """Yield each group and finding; end with the first probe that exceeds the session's limits."""
    for finding in session.begin():
        yield "search", finding
    for group, probes in _READS:
        for probe in probes:
            try:
                for finding in _guarded(probe.__name__, probe(session)):
                    yield group, finding
            except LimitError as error:
                yield group, _remaining(error)
                return
    if write:
        client = session.client
        if client.dialect.name == "auto":
            preset = dialects.PRESETS[suggest_dialect(findings, client).preset]
            client.learn(**{name: getattr(preset, name) for name in ("delete", "delete_otherwise", "core")})
        for finding in _write(session, large=large):
            yield "store", finding


def _write(session: Session, *, large: bool) -> Iterator[Finding]:
    """Store synthetic instances and delete them again, even when interrupted."""
    stored = StoreProbes(session)
    try:
        yield from _store(stored, large=large)
    except BaseException:
        list(delete.clean_up(session, stored.studies))
        raise
    yield from _guarded("delete", delete.clean_up(session, stored.studies))


def _store(stored: StoreProbes, *, large: bool) -> Iterator[Finding]:
    probes: list[Callable[[], Iterator[Finding]]] = [
        stored.store_again,
        stored.odd_parts,
        stored.invalid_parts,
        stored.wrong_study,
        stored.odd_requests,
        stored.character_sets,
        *([stored.large_request] if large else []),
    ]
    try:
        first = list(_guarded("store", stored.store()))
        yield from first
        if any(finding.result == "ok" for finding in first):
            for probe in probes:
                yield from _guarded(probe.__name__, probe())
        yield from _guarded("DELETE", delete.method(stored.session))
    except LimitError as error:
        yield _remaining(error)


def _guarded(name: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Yield the findings of one probe; a missing response becomes a finding. Raises AuthError and LimitError."""
    try:
        yield from findings
    except (AuthError, LimitError):
        raise
    except DwError as error:
        found = f"none: {error.message}"
        yield Finding(name.replace("_", " "), "", "a response", found, "not checked further", failure=error.exit_code)


def _remaining(error: LimitError) -> Finding:
    found = f"not checked: {error.message}"
    return Finding("remaining checks", "", "", found, "dw doctor --timeout S waits longer", failure=error.exit_code)
