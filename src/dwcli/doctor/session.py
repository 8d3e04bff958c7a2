"""What every probe uses: requests that never fail for their status, and a sample instance to request."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dwcli.client import Client
from dwcli.client.auto import COUNT, NOBODY
from dwcli.dicomweb import media, refs
from dwcli.dicomweb.dialects import Dialect
from dwcli.dicomweb.dicomjson import Row, RowReader, text
from dwcli.dicomweb.query import Query, target
from dwcli.dicomweb.refs import InstanceRef, Level
from dwcli.dicomweb.request import Body, Request
from dwcli.dicomweb.xmlrows import XmlRowReader
from dwcli.doctor.finding import Finding
from dwcli.errors import AbsentError, AuthError, DwError, RefusedError, TemporaryError

__all__ = ["NOBODY", "STANDARD", "LimitError", "Response", "Session"]

STANDARD = Dialect()
"""The dialect in which the questions shared with `auto` are sent, whatever the profile's dialect."""
REQUESTS = 150
SECONDS = 180.0
"""The limits of a session: no request is begun beyond these."""
_MAX_SILENCES = 3  # requests in a row without a response: the remaining ones would fare no better
_BODY_SECONDS = 10.0
_MAX_BYTES = 1 << 16


class LimitError(TemporaryError):
    """The session has used up its requests or its time, or the server stopped responding."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response, with the first 64 KiB of its body; `framed`: HTTP itself marks where the body ends."""

    status: int
    content_type: str
    headers: dict[str, str]
    body: bytes
    framed: bool

    @property
    def kind(self) -> media.Body:
        """Return what the body really is, whatever its Content-Type."""
        return media.classify(self.content_type, self.body)

    @property
    def ok(self) -> bool:
        """Return whether the status is 2xx and the body is no web page: some servers send one for any path."""
        return 200 <= self.status < 300 and self.kind is not media.Body.HTML

    @property
    def delivered(self) -> bool:
        """Return whether it is `ok` and has a body."""
        return self.ok and bool(self.body)

    @property
    def absent(self) -> bool:
        """Return whether the resource is not supported at all, in any media type."""
        return self.status in (404, 405, 410, 501) or self.kind is media.Body.HTML

    @property
    def summary(self) -> str:
        """Return status and media type, without parameters."""
        kind = media.parse(self.content_type).type[:60]
        return f"{self.status} {kind or ('no Content-Type' if self.body else 'empty')}"

    def rows(self) -> list[Row]:
        """Return the complete rows in the body; [] where none can be read."""
        try:
            if self.kind in (media.Body.XML, media.Body.MULTIPART):
                documents = XmlRowReader(self.content_type, self.body)
                return [*documents.feed(self.body), *documents.finish()]
            return RowReader().feed(self.body) if self.ok else []
        except DwError:
            return []

    def uids(self, tag: str) -> list[str]:
        """Return the UIDs in its rows, one for each row."""
        return [text(row, tag) for row in self.rows()]


class Session:
    """One server under examination, and what the probes have learned about it.

    `sample` is an instance to request, None where the server is empty; `study_row` is the row of its study, `count` the
    number of instances in that study where it is known, else 0. `rows` are the first studies; `last` is the response to
    the last query sent by `ask`.
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
        self.last = Response(0, "", {}, b"", framed=False)
        self._metadata: Response | None = None
        self._silent = 0
        self._end = time.monotonic() + SECONDS

    def begin(self) -> Iterator[Finding]:
        """Send the first search and choose the sample. Raises DwError where the server cannot be searched."""
        response = self.get("studies?limit=2")
        clue = f"{response.headers.get('server', '')}\n{response.content_type}"
        setting: dict[str, Any] = {}
        how = ""
        if response.status in (401, 403):
            with self.client.transport.stream(self.request("studies?limit=2")):
                pass
        if response.status in (400, 500):
            again = self.get("studies?limit=2&offset=0")
            if again.ok:
                response, setting, how = (
                    again,
                    {"paging_required": True},
                    "requires both limit and offset; dw sends both",
                )
        if response.kind in (media.Body.XML, media.Body.MULTIPART) or response.status == 406:
            self.accept = media.JSON
            again = self.get("studies?limit=2")
            if again.kind in (media.Body.JSON, media.Body.EMPTY) and again.ok:
                response, setting, how = (
                    again,
                    {"json_type": media.JSON},
                    "sends JSON only as application/json; dw requests that type",
                )
        kind = media.parse(response.content_type).type
        if response.delivered and kind != media.DICOM_JSON and not how:
            how = "dw detects the format from the body"
        good = response.ok and (kind == media.DICOM_JSON or not response.body)
        yield Finding(
            "search",
            "10.6.3",
            "200 or 204, application/dicom+json",
            response.summary,
            how,
            not good or bool(setting),
            setting=setting,
            clue=clue,
        )
        self.studies = [uid for uid in response.uids(refs.STUDY_UID) if uid]
        if not self.studies:
            self.studies = [text(row, refs.STUDY_UID) for row in self.client.search(Query(Level.STUDY, limit=2))]
        if not self.studies:
            yield Finding(
                "sample",
                "",
                "",
                "no studies on this server",
                "many checks need a study: store one first, or use --write",
            )
            return
        self.rows = response.rows()
        self._choose(self.rows)

    def _choose(self, rows: list[Row]) -> None:
        """Choose the sample: an instance of a study with several instances, if any, as that shows more."""
        for study in self.studies:
            series_rows = self._rows(
                f"studies/{refs.segment(study)}/series?includefield=NumberOfSeriesRelatedInstances"
            )
            for series in [text(row, refs.SERIES_UID) for row in series_rows]:
                below = f"studies/{refs.segment(study)}/series/{refs.segment(series)}/instances?limit=2"
                found = [uid for row in self._rows(below) if (uid := text(row, refs.INSTANCE_UID))]
                if not found:
                    found = self._find_instances(study, series)
                if not found:
                    continue
                stated = sum(int(n) for row in series_rows if (n := text(row, COUNT)).isdecimal())
                count = max(stated, len(found), len(series_rows))
                if count > self.count:
                    self.sample, self.series_rows, self.count = InstanceRef(study, series, found[0]), series_rows, count
                    self.study_row = next((row for row in rows if text(row, refs.STUDY_UID) == study), {})
                break
            if self.count > 1:
                return

    def metadata(self, sample: InstanceRef) -> Response:
        """Return the response to a metadata request for the sample, which is sent once."""
        if self._metadata is None:
            self._metadata = self.get(f"{refs.path(sample)}/metadata")
        return self._metadata

    def ask(self, query: Query, dialect: Dialect) -> list[Row] | None:
        """Return the rows of a search, None where the server refuses it; keep the response in `last` (`auto.Ask`)."""
        self.last = self.get(target(query, dialect))
        return self.last.rows() if self.last.ok else None

    def _rows(self, path: str) -> list[Row]:
        try:
            return self.get(path).rows()
        except LimitError:
            raise
        except TemporaryError:
            return []

    def _find_instances(self, study: str, series: str) -> list[str]:
        """Return the instances of a series that its own search does not list: the client may fall back on metadata."""
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
        """Return a request below the base URL, or to an absolute URL; `accept` defaults to DICOM JSON."""
        url = path if refs.origin(path) else f"{self.client.base}/{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Request(method, url, {"Accept": accept or self.accept, **named}, body)

    def get(
        self, path: str, accept: str = "", *, method: str = "GET", body: Body | None = None, **headers: str
    ) -> Response:
        """Send a request and read the beginning of the response, for ten seconds at most.

        Raises DwError where no response came, LimitError where no further request may be sent.
        """
        if self.requests >= REQUESTS or time.monotonic() > self._end:
            raise LimitError(f"stopped after {self.requests} requests")
        if self._silent >= _MAX_SILENCES:
            raise LimitError("the server stopped responding")
        self.requests += 1
        try:
            with self.client.transport.exchange(self.request(path, method, accept, body, **headers)) as received:
                lower = {name.lower(): value for name, value in received.headers.items()}
                data = b"" if method == "HEAD" else _read_start(received.chunks())
                response = Response(received.status, received.content_type, lower, data, received.framed)
        except TemporaryError:
            self._silent += 1
            raise
        self._silent = 0
        return response


def _read_start(chunks: Iterator[bytes]) -> bytes:
    """Return the first 64 KiB of a body, or what arrives in time. Raises DwError where it fails before any byte."""
    until = time.monotonic() + _BODY_SECONDS
    data = b""
    try:
        for chunk in chunks:
            data += chunk
            if len(data) >= _MAX_BYTES or time.monotonic() > until:
                break
    except DwError:
        if not data:
            raise
    return data[:_MAX_BYTES]
