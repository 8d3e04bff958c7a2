"""What every check of the doctor uses: plain requests that never fail for their status, and a sample to ask about."""

import time
from collections.abc import Iterator
from typing import Any

from dwcli.client import Client
from dwcli.client.auto import COUNT, NOBODY
from dwcli.dicomweb import media, refs
from dwcli.dicomweb.dialects import Dialect
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.dicomweb.query import Query, target
from dwcli.dicomweb.refs import InstanceRef, Level
from dwcli.dicomweb.request import Body, Request
from dwcli.doctor.finding import Answer, Finding
from dwcli.errors import AbsentError, AuthError, DwError, RefusedError, TemporaryError

__all__ = ["COUNT", "NOBODY", "STANDARD", "Examination", "SpentError"]

STANDARD = Dialect()
"""How the questions that `auto` puts too are asked here, whatever the profile's dialect."""
REQUESTS = 150
SECONDS = 180.0
"""A whole examination: no request is begun beyond these."""
_SILENCES = 3  # answers in a row that never came: what is left would fare no better
_BODY_SECONDS = 10.0
_ENOUGH = 1 << 16


class SpentError(TemporaryError):
    """The examination has taken as long as it may, or the server answers no more."""


class Examination:
    """One server being looked over; `sample` is an instance to ask about, None where the server is empty.

    `study_row` is the row of its study, `count` the number of instances in that where it is known, else 0; `rows` are
    the first studies, `last` is what came to the last question put by `ask`.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.studies: list[str] = []
        self.study_row: Row = {}
        self.rows: list[Row] = []
        self.sample: InstanceRef | None = None
        self.series_rows: list[Row] = []
        self.count = 0
        self.decodes = True
        self.accept = client.dialect.json_type
        self.requests = 0
        self.last = Answer(0, "", {}, b"", framed=False)
        self._described: Answer | None = None
        self._silent = 0
        self._end = time.monotonic() + SECONDS

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
        kind = media.parse(answer.content_type).type
        if answer.full and kind != media.DICOM_JSON and not how:
            how = "dw goes by the bytes"
        good = answer.ok and (kind == media.DICOM_JSON or not answer.body)
        yield Finding(
            "search",
            "10.6.3",
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
            yield Finding("sample", "", "", "no study is there", "much cannot be tried: store one first, or --write")
            return
        self.rows = answer.rows()
        self._choose(self.rows)

    def _choose(self, rows: list[Row]) -> None:
        """An instance to ask about: of a study with more than one where there is one, as that shows more."""
        for study in self.studies:
            series_rows = self._rows(
                f"studies/{refs.segment(study)}/series?includefield=NumberOfSeriesRelatedInstances"
            )
            for series in [text(row, refs.SERIES_UID) for row in series_rows]:
                below = f"studies/{refs.segment(study)}/series/{refs.segment(series)}/instances?limit=2"
                found = [uid for row in self._rows(below) if (uid := text(row, refs.INSTANCE_UID))]
                if not found:
                    found = self._otherwise(study, series)
                if not found:
                    continue
                said = sum(int(n) for row in series_rows if (n := text(row, COUNT)).isdecimal())
                count = max(said, len(found), len(series_rows))
                if count > self.count:
                    self.sample, self.series_rows, self.count = InstanceRef(study, series, found[0]), series_rows, count
                    self.study_row = next((row for row in rows if text(row, refs.STUDY_UID) == study), {})
                break
            if self.count > 1:
                return

    def metadata(self, sample: InstanceRef) -> Answer:
        """The metadata of the sample, asked for once."""
        if self._described is None:
            self._described = self.get(f"{refs.path(sample)}/metadata")
        return self._described

    def ask(self, query: Query, dialect: Dialect) -> list[Row] | None:
        """The rows of a search, None where it is refused; `last` is the answer. The way in which `auto` asks."""
        self.last = self.get(target(query, dialect))
        return self.last.rows() if self.last.ok else None

    def _rows(self, path: str) -> list[Row]:
        try:
            return self.get(path).rows()
        except SpentError:
            raise
        except TemporaryError:
            return []

    def _otherwise(self, study: str, series: str) -> list[str]:
        """The instances of a series that a search does not list: its metadata may."""
        try:
            rows = self.client.search(Query(Level.INSTANCE, study, series, limit=2))
            return [uid for row in rows if (uid := text(row, refs.INSTANCE_UID))]
        except AuthError:
            raise
        except (RefusedError, AbsentError):
            return []

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
        """Send it and read the beginning of the answer, for ten seconds at most. Raises DwError where none came."""
        if self.requests >= REQUESTS or time.monotonic() > self._end:
            raise SpentError(f"stopped after {self.requests} requests")
        if self._silent >= _SILENCES:
            raise SpentError("the server answers no more")
        self.requests += 1
        try:
            with self.client.transport.exchange(self.request(path, method, accept, body, **headers)) as response:
                lower = {name.lower(): value for name, value in response.headers.items()}
                data = b"" if method == "HEAD" else _beginning(response.chunks())
                answer = Answer(response.status, response.content_type, lower, data, response.framed)
        except TemporaryError:
            self._silent += 1
            raise
        self._silent = 0
        return answer


def _beginning(chunks: Iterator[bytes]) -> bytes:
    """The first 64 KiB of a body, or what of it comes in time. Raises DwError where it breaks off before that."""
    until = time.monotonic() + _BODY_SECONDS
    data = b""
    try:
        for chunk in chunks:
            data += chunk
            if len(data) >= _ENOUGH or time.monotonic() > until:
                break
    except DwError:
        if not data:
            raise
    return data[:_ENOUGH]
