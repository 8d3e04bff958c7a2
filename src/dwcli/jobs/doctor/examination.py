"""What every check of the doctor uses: plain requests that never fail for their status, and a sample to ask about."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from dwcli.client import Client
from dwcli.dicomweb import media, refs
from dwcli.dicomweb.dicomjson import Row, RowReader, text
from dwcli.dicomweb.query import Query
from dwcli.dicomweb.refs import InstanceRef, Level
from dwcli.dicomweb.request import Body, Request
from dwcli.dicomweb.xmlrows import XmlRowReader
from dwcli.errors import AbsentError, AuthError, DwError, RefusedError

_ENOUGH = 1 << 16


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried. `setting`: the dialect's fields that follow; `clue`: what may give the server away."""

    check: str
    standard: str
    found: str
    consequence: str = ""
    differs: bool = False
    failed: bool = False
    setting: dict[str, Any] = field(default_factory=dict)
    clue: str = ""

    @property
    def result(self) -> str:
        """In a word."""
        return "failed" if self.failed else "differs" if self.differs else "ok"

    def record(self) -> dict[str, object]:
        """As a row of a table or of JSON."""
        return {
            "check": self.check,
            "result": self.result,
            "standard": self.standard,
            "found": self.found,
            "consequence": self.consequence,
            "setting": ", ".join(f"{key}={value}" for key, value in self.setting.items()),
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """What came: at most the first 64 KiB of the body; `framed`: HTTP itself tells where it ends."""

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
        """Whether the server said yes."""
        return self.status < 400

    @property
    def words(self) -> str:
        """Status and media type, without parameters."""
        kind = media.parse(self.content_type).type
        return f"{self.status} {kind or ('no Content-Type' if self.body else 'empty')}"

    def rows(self) -> list[Row]:
        """The whole rows in it; [] where it holds none that can be read."""
        try:
            if self.kind in (media.Body.XML, media.Body.MULTIPART):
                documents = XmlRowReader(self.content_type, self.body)
                return [*documents.feed(self.body), *documents.finish(framed=True)]
            return RowReader().feed(self.body) if self.ok else []
        except DwError:
            return []

    def uids(self, tag: str) -> list[str]:
        """The UIDs in its rows."""
        return [text(row, tag) for row in self.rows()]


class Examination:
    """One server being looked over; `sample` is an instance to ask about, None where the server is empty."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.studies: list[str] = []
        self.study_row: Row = {}
        self.sample: InstanceRef | None = None
        self.series_rows: list[Row] = []
        self.accept = client.dialect.json_type

    def begin(self) -> Iterator[Finding]:
        """The first search, by which everything else is asked about. Raises DwError where there is none."""
        answer = self.get("studies?limit=2")
        clue = f"{answer.headers.get('server', '')}\n{answer.content_type}"
        setting: dict[str, Any] = {}
        how = ""
        if answer.status in (401, 403):
            with self.client.transport.stream(self.request("studies?limit=2")):
                pass
        if answer.status in (400, 500):
            again = self.get("studies?limit=2&offset=0")
            if again.ok:
                answer, setting, how = again, {"paging_required": True}, "only with limit and offset; dw sends both"
        if answer.kind in (media.Body.XML, media.Body.MULTIPART) or answer.status == 406:
            self.accept = media.JSON
            again = self.get("studies?limit=2")
            if again.kind in (media.Body.JSON, media.Body.EMPTY) and again.ok:
                answer, setting, how = again, {"json_type": media.JSON}, "JSON only as application/json; dw asks so"
        good = answer.ok and answer.kind in (media.Body.JSON, media.Body.EMPTY)
        yield Finding(
            "search",
            "200 or 204, application/dicom+json",
            answer.words,
            how,
            not good or bool(setting),
            setting=setting,
            clue=clue,
        )
        self.studies = [uid for uid in answer.uids(refs.STUDY_UID) if uid]
        if not self.studies:
            self.studies = [text(row, refs.STUDY_UID) for row in self.client.search(Query(Level.STUDY, limit=2))]
        if not self.studies:
            yield Finding("sample", "", "no study is there", "much cannot be tried: store one first, or --write")
            return
        rows = answer.rows()
        self.study_row = rows[0] if rows else {}
        self.sample = self._instance(self.studies)

    def _instance(self, studies: list[str]) -> InstanceRef | None:
        for study in studies:
            try:
                self.series_rows = list(self.client.series_of(study))
                for row in self.series_rows:
                    series = text(row, refs.SERIES_UID)
                    for found in self.client.search(Query(Level.INSTANCE, study, series, limit=2)):
                        return InstanceRef(study, series, text(found, refs.INSTANCE_UID))
            except AuthError:
                raise
            except (RefusedError, AbsentError):
                continue
        return None

    def request(
        self, path: str, method: str = "GET", accept: str = "", body: Body | None = None, **headers: str
    ) -> Request:
        """A request below the base URL, or to an address on the same server; `accept` is DICOM JSON by default."""
        url = path if refs.origin(path) else f"{self.client.base}/{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Request(method, url, {"Accept": accept or self.accept, **named}, body)

    def get(
        self, path: str, accept: str = "", *, method: str = "GET", body: Body | None = None, **headers: str
    ) -> Answer:
        """Send it and read the beginning of the answer. Raises DwError where none came."""
        with self.client.transport.exchange(self.request(path, method, accept, body, **headers)) as response:
            try:
                data = b"" if method == "HEAD" else response.read(_ENOUGH)
            except DwError:
                data = b""
            lower = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, response.content_type, lower, data, response.framed)
