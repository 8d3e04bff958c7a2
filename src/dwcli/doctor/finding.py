"""What came of one thing that was tried. It holds no patient data and no secret: it may be sent to anybody."""

from dataclasses import dataclass, field
from typing import Any

from dwcli.dicomweb import media
from dwcli.dicomweb.dicomjson import Row, RowReader, text
from dwcli.dicomweb.xmlrows import XmlRowReader
from dwcli.errors import DwError, ExitCode


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried.

    `section`: of PS3.18, or another text named in full; `standard`: what that says; `found`: what came; `consequence`:
    what follows for whoever uses `dw`. `setting`: the dialect's fields that follow; `clue`: what may give the server
    away. `failure`: how a command would end that met this; None where an answer came.
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
        """In a word: `failed`, `differs`, `note` (allowed, and good to know) or `ok`."""
        if self.failure is not None:
            return "failed"
        return "differs" if self.differs else "note" if self.consequence else "ok"

    def record(self) -> dict[str, object]:
        """As a row of a table or of JSON."""
        return {
            "group": self.group,
            "check": self.check,
            "result": self.result,
            "section": self.section,
            "standard": self.standard,
            "found": self.found,
            "consequence": self.consequence,
            "setting": ", ".join(f"{key}={written(value)}" for key, value in self.setting.items()),
        }


def judged(
    check: str,
    section: str,
    standard: str,
    found: str,
    good: bool,
    consequence: str = "",
    *,
    setting: dict[str, Any] | None = None,
    fine: dict[str, Any] | None = None,
    clue: str = "",
) -> Finding:
    """A finding that differs, and has its consequence and setting, where what came is not `good`; else `fine` holds."""
    if good:
        return Finding(check, section, standard, found, setting=fine or {}, clue=clue)
    return Finding(check, section, standard, found, consequence, True, setting or {}, clue)


def written(value: Any) -> str:
    """A dialect's field as the configuration file has it."""
    match value:
        case bool():
            return str(value).lower()
        case list() | tuple():
            return " ".join(map(str, value))
        case _:
            return str(value)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came: the beginning of the body; `framed`: HTTP itself tells where it ends."""

    status: int
    content_type: str
    headers: dict[str, str]
    body: bytes
    framed: bool

    @property
    def kind(self) -> media.Body:
        """What the body really is."""
        return media.classify(self.content_type, self.body)

    @property
    def ok(self) -> bool:
        """Whether the server said yes, and not with a web page, as some do to any address at all."""
        return 200 <= self.status < 300 and self.kind is not media.Body.HTML

    @property
    def full(self) -> bool:
        """The same, with something in it."""
        return self.ok and bool(self.body)

    @property
    def absent(self) -> bool:
        """Whether there is no such thing here at all, whatever one asks for it in."""
        return self.status in (404, 405, 410, 501) or self.kind is media.Body.HTML

    @property
    def words(self) -> str:
        """Status and media type, without parameters."""
        kind = media.parse(self.content_type).type[:60]
        return f"{self.status} {kind or ('no Content-Type' if self.body else 'empty')}"

    def rows(self) -> list[Row]:
        """The whole rows in it; [] where it holds none that can be read."""
        try:
            if self.kind in (media.Body.XML, media.Body.MULTIPART):
                documents = XmlRowReader(self.content_type, self.body)
                return [*documents.feed(self.body), *documents.finish()]
            return RowReader().feed(self.body) if self.ok else []
        except DwError:
            return []

    def uids(self, tag: str) -> list[str]:
        """The UIDs in its rows."""
        return [text(row, tag) for row in self.rows()]
