"""The result of one check. It holds no patient data and no secret, so it may be shared."""

from dataclasses import dataclass, field
from typing import Any

from dwcli.errors import ExitCode


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    `section`: of PS3.18, or another standard named in full; `standard`: what that requires; `found`: what the server
    did; `consequence`: what it means for users of `dw`. `setting`: the dialect settings that follow; `clue`: text that
    may identify the server. `failure`: the exit code of the error; None where a response came.
    """

    check: str
    section: str
    standard: str
    found: str
    consequence: str = ""
    differs: bool = False
    setting: dict[str, Any] = field(default_factory=dict)
    clue: str = ""
    failure: ExitCode | None = None
    group: str = ""

    @property
    def result(self) -> str:
        """Return `failed`, `differs`, `note` (conforms, but good to know) or `ok`."""
        if self.failure is not None:
            return "failed"
        return "differs" if self.differs else "note" if self.consequence else "ok"

    def record(self) -> dict[str, object]:
        """Return a row of the report."""
        return {
            "group": self.group,
            "check": self.check,
            "result": self.result,
            "section": self.section,
            "standard": self.standard,
            "found": self.found,
            "consequence": self.consequence,
            "setting": ", ".join(f"{key}={format_value(value)}" for key, value in self.setting.items()),
        }


def assess(
    check: str,
    section: str,
    standard: str,
    found: str,
    conforms: bool,
    consequence: str = "",
    *,
    setting: dict[str, Any] | None = None,
    setting_if_ok: dict[str, Any] | None = None,
    clue: str = "",
) -> Finding:
    """Return a finding that differs, with `consequence` and `setting`; with `setting_if_ok` where it `conforms`."""
    if conforms:
        return Finding(check, section, standard, found, setting=setting_if_ok or {}, clue=clue)
    return Finding(check, section, standard, found, consequence, True, setting or {}, clue)


def format_value(value: Any) -> str:
    """Return a dialect setting as the configuration file writes it."""
    match value:
        case bool():
            return str(value).lower()
        case list() | tuple():
            return " ".join(map(str, value))
        case _:
            return str(value)
