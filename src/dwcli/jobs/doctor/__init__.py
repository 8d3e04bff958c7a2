"""Looking a server over: a fixed series of harmless requests, what PS3.18 says to each, what came, what `dw` does.

A finding holds no patient data and no secret: it may be sent to whoever looks after the server.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from dwcli.client import Client
from dwcli.dicomweb import dialects
from dwcli.errors import AuthError, DwError, UsageError
from dwcli.jobs.doctor import retrieving, searching, writing
from dwcli.jobs.doctor.examination import Examination, Finding

__all__ = ["Examination", "Finding", "examine", "suggest"]


def examine(client: Client, *, write: bool = False) -> Iterator[Finding]:
    """One finding after another. Raises AuthError, and DwError where the server cannot be searched at all."""
    patient = Examination(client)
    findings: list[Finding] = []
    for check in (Examination.begin, *searching.CHECKS, *retrieving.CHECKS):
        for finding in _guarded(patient, check):
            findings.append(finding)
            yield finding
    if write:
        if client.dialect.name == "auto":
            preset = dialects.PRESETS[suggest(findings, client)[0]]
            how = {name: getattr(preset, name) for name in ("delete", "delete_otherwise", "core")}
            client.dialect = replace(client.dialect, **how)
        yield from _guarded(patient, writing.examine)


def _guarded(patient: Examination, check: Any) -> Iterator[Finding]:
    try:
        yield from check(patient)
    except AuthError:
        raise
    except DwError as error:
        if check is Examination.begin:
            raise
        name = str(check.__name__).replace("_", " ")
        yield Finding(name, "an answer", f"none: {error.message}", "not looked into further", failed=True)


def suggest(findings: list[Finding], client: Client) -> tuple[str, dict[str, Any]]:
    """The preset that fits best, and the differences from it that were seen."""
    seen: dict[str, Any] = {}
    missing: set[str] = set()
    for finding in findings:
        for key, value in finding.setting.items():
            if key == "missing":
                missing.update(value)
            else:
                seen[key] = value
    clues = "\n".join(finding.clue for finding in findings)
    chosen = client.dialect.name if client.dialect.name != "auto" else "standard"
    name = dialects.recognise(client.base, clues) or chosen
    preset = dialects.PRESETS[name]
    if missing - set(preset.missing):
        seen["missing"] = sorted(missing | set(preset.missing))
    differences = {}
    for key, value in seen.items():
        had = getattr(preset, key)
        if (sorted(had) if isinstance(had, tuple) else had) != value:
            differences[key] = value
    try:
        dialects.choose(name, differences)
    except UsageError as error:
        raise DwError(f"what was found makes no dialect: {error.message}") from error
    return name, differences
