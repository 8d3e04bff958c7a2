"""Looking a server over: a fixed series of harmless requests, what PS3.18 says to each, what came, what `dw` does.

A finding holds no patient data and no secret: it may be sent to whoever looks after the server. The whole is bounded:
so many requests, so many seconds, and a server that falls silent is left alone.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dwcli.client import Client
from dwcli.dicomweb import dialects
from dwcli.dicomweb.dialects import Dialect
from dwcli.doctor.finding import Finding, written
from dwcli.doctor.probes import delete, paging, pixels, responses, retrieve, rows, search, wado_uri
from dwcli.doctor.probes.store import Storing
from dwcli.doctor.session import Examination, SpentError
from dwcli.errors import AuthError, DwError, UsageError

__all__ = ["Examination", "Finding", "Suggestion", "examine", "suggest"]

Check = Callable[[Examination], Iterator[Finding]]

_READS: tuple[tuple[str, tuple[Check, ...]], ...] = (
    ("search", search.CHECKS),
    ("paging", paging.CHECKS),
    ("rows", rows.CHECKS),
    ("answers", responses.CHECKS),
    ("retrieve", retrieve.CHECKS),
    ("pixels", pixels.CHECKS),
    ("WADO-URI", wado_uri.CHECKS),
)


def examine(client: Client, *, write: bool = False, large: bool = False) -> Generator[Finding, None, None]:
    """One finding after another. `write`: store made instances too, and delete them; `large`: and a large request.

    Raises AuthError, and DwError where the server cannot be searched at all.
    """
    patient = Examination(client)
    findings: list[Finding] = []
    for group, found in _in_turn(patient, write=write, large=large, findings=findings):
        finding = replace(found, group=group)
        findings.append(finding)
        yield finding


def _in_turn(
    patient: Examination, *, write: bool, large: bool, findings: list[Finding]
) -> Iterator[tuple[str, Finding]]:
    """Group and finding; ends with the first check that may begin no request any more."""
    for finding in patient.begin():
        yield "search", finding
    for group, checks in _READS:
        for check in checks:
            try:
                for finding in _guarded(check.__name__, check(patient)):
                    yield group, finding
            except SpentError as error:
                yield group, _rest(error)
                return
    if write:
        client = patient.client
        if client.dialect.name == "auto":
            preset = dialects.PRESETS[suggest(findings, client).preset]
            how = {name: getattr(preset, name) for name in ("delete", "delete_otherwise", "core")}
            client.learn(**how)
        for finding in _writing(patient, large=large):
            yield "store", finding


def _writing(patient: Examination, *, large: bool) -> Iterator[Finding]:
    """Store what was made, and take it away again, also where somebody interrupts."""
    storing = Storing(patient)
    try:
        yield from _stored(storing, large=large)
    except BaseException:
        list(delete.made(patient, storing.studies))
        raise
    yield from _guarded("delete", delete.made(patient, storing.studies))


def _stored(storing: Storing, *, large: bool) -> Iterator[Finding]:
    checks: list[Callable[[], Iterator[Finding]]] = [
        storing.store_again,
        storing.odd_parts,
        storing.store_no_dicom,
        storing.store_elsewhere,
        storing.odd_requests,
        storing.other_scripts,
        *([storing.large_request] if large else []),
    ]
    try:
        first = list(_guarded("store", storing.store()))
        yield from first
        if any(finding.result == "ok" for finding in first):
            for check in checks:
                yield from _guarded(check.__name__, check())
        yield from _guarded("DELETE", delete.method(storing.patient))
    except SpentError as error:
        yield _rest(error)


def _guarded(name: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """The findings of one check; where no answer came that is the finding. Raises AuthError and SpentError."""
    try:
        yield from findings
    except (AuthError, SpentError):
        raise
    except DwError as error:
        found = f"none: {error.message}"
        yield Finding(
            name.replace("_", " "), "", "an answer", found, "not looked into further", failure=error.exit_code
        )


def _rest(error: SpentError) -> Finding:
    found = f"not looked into: {error.message}"
    return Finding("everything else", "", "", found, "dw doctor --timeout S waits longer", failure=error.exit_code)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The preset that fits best, why, and the differences from it that were seen, each with the check that saw it."""

    preset: str
    why: str
    differences: dict[str, Any]
    seen: dict[str, str]

    @property
    def words(self) -> str:
        """As one would write it."""
        return ", ".join([self.preset, *(f"{key}={written(value)}" for key, value in self.differences.items())])

    @property
    def reasons(self) -> str:
        """Why this preset, and where each difference was seen."""
        return "; ".join([self.why, *(f"{key}: see {self.seen[key]}" for key in self.differences)])

    @property
    def value(self) -> str | dict[str, Any]:
        """As the configuration file has it."""
        return {"name": self.preset, **self.differences} if self.differences else self.preset

    def is_that_of(self, dialect: Dialect) -> bool:
        """Whether a profile has it already."""
        return dialects.choose(self.preset, self.differences) == dialect

    def record(self) -> dict[str, object]:
        """As the last row of a table or of JSON."""
        setting = ", ".join(f"{key}={written(value)}" for key, value in self.differences.items())
        return {
            **dict.fromkeys(("section", "standard"), ""),
            "group": "dialect",
            "check": "dialect",
            "result": "suggested",
            "found": self.preset,
            "consequence": self.reasons,
            "setting": setting,
        }


def suggest(findings: Sequence[Finding], client: Client) -> Suggestion:
    """The dialect that follows from what was found; what the profile says of its own and nobody looked at stays."""
    settings: dict[str, Any] = {}
    seen: dict[str, str] = {}
    clues: list[tuple[str, str]] = [("the address", client.base)]
    for finding in findings:
        for key, value in finding.setting.items():
            seen[key] = f"{seen[key]}, {finding.check}" if key in seen else finding.check
            settings[key] = sorted({*settings.get(key, []), *value}) if key == "missing" else value
        if finding.clue:
            clues.append((f"the answer to “{finding.check}”", finding.clue))
    name, why = _recognised(clues, client.dialect.name)
    preset = dialects.PRESETS[name]
    for key, value in _own(client.dialect).items():
        if key not in settings:
            settings[key], seen[key] = value, "the profile"
    there = {
        finding.check.replace(" ", "") for finding in findings if finding.result == "ok" and finding.found[:3] == "200"
    }
    settings["missing"] = sorted({*preset.missing, *settings.get("missing", ())} - there)
    seen.setdefault("missing", ", ".join(sorted(set(preset.missing) & there)))
    differences = {key: value for key, value in settings.items() if _plain(getattr(preset, key), key) != value}
    try:
        dialects.choose(name, differences)
    except UsageError as error:
        raise DwError(f"what was found makes no dialect: {error.message}") from error
    return Suggestion(name, why, differences, seen)


def _own(dialect: Dialect) -> dict[str, Any]:
    """What a dialect has otherwise than its preset."""
    preset = dialects.PRESETS[dialect.name]
    names = [name for name in Dialect._fields if getattr(dialect, name) != getattr(preset, name)]
    return {name: _plain(getattr(dialect, name), name) for name in names}


def _plain(value: Any, key: str) -> Any:
    """A field as a configuration file would have it."""
    if not isinstance(value, tuple):
        return value
    return sorted(value) if key == "missing" else list(value)


def _recognised(clues: list[tuple[str, str]], chosen: str) -> tuple[str, str]:
    """The preset that a server's own words point to, and which words; else the profile's, else the standard."""
    name = dialects.recognise(*(clue for _, clue in clues))
    for where, clue in clues:
        if name and dialects.recognise(clue) == name:
            return name, f"{where} has its name"
    if chosen != "auto":
        return chosen, "the profile has it, and nothing speaks against it"
    return "standard", "nothing names the server"
