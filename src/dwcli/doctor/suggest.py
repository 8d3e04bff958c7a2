"""Suggest the dialect that follows from the findings: a preset, and the settings that differ from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dwcli.client import Client
from dwcli.dicomweb import dialects
from dwcli.dicomweb.dialects import Dialect
from dwcli.doctor.finding import Finding, format_value
from dwcli.errors import DwError, UsageError


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The best-fitting preset, the reason, and the settings that differ, each with the check that showed it."""

    preset: str
    why: str
    differences: dict[str, Any]
    shown_by: dict[str, str]

    @property
    def summary(self) -> str:
        """Return the preset and its differences, as in `orthanc, counts=false`."""
        return ", ".join([self.preset, *(f"{key}={format_value(value)}" for key, value in self.differences.items())])

    @property
    def reasons(self) -> str:
        """Return why this preset was chosen, and which check showed each difference."""
        return "; ".join([self.why, *(f"{key}: see {self.shown_by[key]}" for key in self.differences)])

    @property
    def value(self) -> str | dict[str, Any]:
        """Return what the configuration file stores: a name, or a table."""
        return {"name": self.preset, **self.differences} if self.differences else self.preset

    def matches(self, dialect: Dialect) -> bool:
        """Return whether a profile already uses this dialect."""
        return dialects.choose(self.preset, self.differences) == dialect

    def record(self) -> dict[str, object]:
        """Return the last row of the report."""
        setting = ", ".join(f"{key}={format_value(value)}" for key, value in self.differences.items())
        return {
            **dict.fromkeys(("section", "standard"), ""),
            "group": "dialect",
            "check": "dialect",
            "result": "suggested",
            "found": self.preset,
            "consequence": self.reasons,
            "setting": setting,
        }


def suggest_dialect(findings: Sequence[Finding], client: Client) -> Suggestion:
    """Return the dialect that follows from the findings; the profile's own settings stay where no probe tested them.

    Raises DwError where the findings contradict each other.
    """
    settings: dict[str, Any] = {}
    seen: dict[str, str] = {}
    clues: list[tuple[str, str]] = [("the URL", client.base)]
    for finding in findings:
        for key, value in finding.setting.items():
            seen[key] = f"{seen[key]}, {finding.check}" if key in seen else finding.check
            settings[key] = sorted({*settings.get(key, []), *value}) if key == "missing" else value
        if finding.clue:
            clues.append((f"the response to “{finding.check}”", finding.clue))
    name, why = _recognise(clues, client.dialect.name)
    preset = dialects.PRESETS[name]
    for key, value in _own_settings(client.dialect).items():
        if key not in settings:
            settings[key], seen[key] = value, "the profile"
    available = {finding.check for finding in findings if finding.result == "ok" and finding.found[:3] == "200"}
    settings["missing"] = sorted({*preset.missing, *settings.get("missing", ())} - available)
    seen.setdefault("missing", ", ".join(sorted(set(preset.missing) & available)))
    differences = {key: value for key, value in settings.items() if _plain(getattr(preset, key), key) != value}
    try:
        dialects.choose(name, differences)
    except UsageError as error:
        raise DwError(f"the findings do not form a valid dialect: {error.message}") from error
    return Suggestion(name, why, differences, seen)


def _own_settings(dialect: Dialect) -> dict[str, Any]:
    """Return the settings in which a dialect differs from its preset."""
    preset = dialects.PRESETS[dialect.name]
    names = [name for name in Dialect._fields if getattr(dialect, name) != getattr(preset, name)]
    return {name: _plain(getattr(dialect, name), name) for name in names}


def _plain(value: Any, key: str) -> Any:
    """Return a setting as the configuration file stores it."""
    if not isinstance(value, tuple):
        return value
    return sorted(value) if key == "missing" else list(value)


def _recognise(clues: list[tuple[str, str]], chosen: str) -> tuple[str, str]:
    """Return the preset that a server's own words identify, and which words; else the profile's, else the standard."""
    name = dialects.recognise(*(clue for _, clue in clues))
    for where, clue in clues:
        if name and dialects.recognise(clue) == name:
            return name, f"{where} contains its name"
    if chosen != "auto":
        return chosen, "the profile uses it, and no finding contradicts it"
    return "standard", "the server does not identify itself"
