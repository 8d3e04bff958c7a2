"""One request and its checked response: what was sent, what was received, and what kind of content it is."""

import re
import shlex
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from dwcli.client.learned import Learned
from dwcli.dicomweb import dialects, media, multipart, refs, request
from dwcli.dicomweb.dialects import Dialect, Resource
from dwcli.dicomweb.dicomjson import Row, RowReader, excerpt
from dwcli.dicomweb.multipart import PartData, PartEnd, PartStart, Truncated
from dwcli.dicomweb.query import Query
from dwcli.dicomweb.refs import Level, Ref
from dwcli.dicomweb.request import Request
from dwcli.errors import (
    AbsentError,
    AuthError,
    DwError,
    ProtocolError,
    RefusedError,
    TemporaryError,
    TruncatedError,
    UsageError,
)
from dwcli.net.response import Response
from dwcli.net.transport import Transport

if TYPE_CHECKING:
    from dwcli.dicomweb.xmlrows import XmlRowReader

NOT_THIS_WAY = frozenset({400, 406, 415})
_NO_SUCH_PATH = frozenset({400, 405})
_WHOLE = 64 << 20  # bytes
_RESOURCE = r"/(metadata|frames|rendered|thumbnail|bulkdata)(?:[/?]|$)"

_DUE = {
    media.Body.MULTIPART: "a multipart body",
    media.Body.DICOM: "a DICOM file",
    media.Body.JSON: "JSON",
    media.Body.XML: "XML",
    media.Body.PICTURE: "an image",
}

Value = TypeVar("Value")


class Opened(NamedTuple):
    """A response has begun: its HTTP status, media type, length in bytes where known, and Warning header."""

    status: int
    media_type: str
    length: int | None
    warning: str


Event = Opened | PartStart | PartData | PartEnd | Truncated


class Page:
    """What one response held: its rows, and how many there are in all where the server says so."""

    def __init__(self) -> None:
        self.rows = 0
        self.total: int | None = None

    def note(self, response: Response) -> None:
        """What the response's head says."""
        total = response.headers.get("X-Total-Count", "")
        self.total = int(total) if total.isdecimal() else None


class Tally:
    """Counts the rows of one study, which callers collect: an endless list must not fill the memory."""

    def __init__(self, most: int = 300_000) -> None:
        self._most = most
        self._rows = 0
        self._text = 0

    def add(self, uid: str) -> None:
        """Count a row. Raises ProtocolError if there are more than any study has."""
        self._rows += 1
        self._text += len(uid)
        if self._rows > self._most or self._text > 64 * self._most:
            raise ProtocolError(
                f"the server lists more than {self._most:,} in one study, without end", "check its lists: dw doctor"
            )


class Exchange:
    """Sends requests to one server and checks the responses."""

    def __init__(self, base: str, learned: Learned, transport: Transport) -> None:
        self.base = base
        self.learned = learned
        self.transport = transport

    @contextmanager
    def request(self, asked: Request) -> Iterator[Response]:
        """Send any request with this server's login; return refusals as responses, too."""
        try:
            with self.transport.exchange(asked) as response:
                yield response
        except RefusedError as error:
            self.advise(error)
            raise

    def advise(self, error: DwError) -> None:
        """Under `auto`, suggest the preset that the server's address or its refusal points to.

        A warning and no hint, as a job makes a refusal the reason of one item among many.
        """
        if self.learned.now.learns and (preset := dialects.recognise(self.base, error.clue)):
            self.learned.warn(f"this looks like {preset}: dw profile edit NAME --dialect {preset}")

    def call(self, asked: Request) -> bytes:
        """Send any request and read the response's body. Raises the DwError that a status of 400 or above means."""
        with self.request(asked) as response:
            body = response.read(_WHOLE)
            if response.status >= 400:
                raise response.refusal(body)
            return body

    @contextmanager
    def opened(self, asked: Request) -> Iterator[tuple[Response, bytes, Iterator[bytes]]]:
        """A response with its first bytes, which identify its content."""
        try:
            with self.transport.exchange(asked) as response:
                response.check()
                chunks = response.chunks()
                head = b""
                for chunk in chunks:
                    head += chunk
                    if len(head) >= 132:
                        break
                yield response, head, chunks
        except RefusedError as error:
            self.advise(error)
            raise
        except AbsentError as error:
            resource = re.search(_RESOURCE, asked.url)
            if not resource:
                raise
            self.advise(error)
            hint = error.hint or f"it does not exist, or this server has no {resource[1]}: dw doctor"
            raise error.worded(hint=hint) from None

    def events(self, response: Response, head: bytes, chunks: Iterator[bytes]) -> Iterator[Event]:
        """The parts of a multipart response, or the whole body as one part, which only its own content can prove whole:
        HTTP's framing says that what the last hop sent has come, and a proxy ends a truncated response in good order.
        """
        kind = media.classify(response.content_type, head)
        declared = media.parse(response.content_type)
        yield Opened(response.status, declared.type, response.length, response.headers.get("Warning", ""))
        if kind is not media.Body.MULTIPART:
            if not head:
                return
            location = response.headers.get("Content-Location", "")
            yield PartStart({"content-type": response.content_type, "content-location": location})
            yield PartData(head)
            for chunk in chunks:
                yield PartData(chunk)
            yield PartEnd(proven=False)
            return
        reader = multipart.Reader(declared.boundary)
        yield from reader.feed(head)
        try:
            for chunk in chunks:
                yield from reader.feed(chunk)
        except (TruncatedError, TemporaryError) as error:
            yield from (event for event in reader.finish(early=True) if not isinstance(event, Truncated))
            if not reader.closed:
                raise
            self.learned.warn(f"{error.message}, after the closing boundary")
            return
        yield from reader.finish()

    def search(self, query: Query, dialect: Dialect, page: Page | None = None) -> Iterator[Row]:
        """The rows of one search (PS3.18 10.6), on the server's own path where it has one."""

        def ask(own: bool) -> Iterator[Row]:
            return self.rows(request.search(self.base, query, dialect, own=own), page)

        return self.either(f"search {query.level}", ask, own=self.has_own(query.level))

    def metadata(self, ref: Ref) -> Iterator[Row]:
        """The metadata below a reference with all its UIDs (PS3.18 10.4.1.1.2)."""
        return self.rows(request.metadata(self.base, ref, self.learned.now.dialect))

    def rows(self, asked: Request, page: Page | None = None) -> Generator[Row, None, None]:
        """The rows of a response; 204, `[]` and an empty body are none. The media type that brings some is kept."""
        known = self.learned.now
        ladder = media.rows_ladder(known.dialect.json_type)
        for accept in ladder:
            try:
                with self.opened(asked._replace(headers={**asked.headers, "Accept": accept})) as (
                    response,
                    head,
                    chunks,
                ):
                    if page is not None:
                        page.note(response)
                        self._relay(response.headers.get("Warning", ""))
                    reader = self._reader(response, head, accept)
                    if reader is None:
                        continue
                    try:
                        for chunk in chain([head], chunks):
                            yield from reader.feed(chunk)
                            reader.check()
                    except (TruncatedError, TemporaryError):
                        reader.stop()
                        raise
                    yield from reader.finish()
            except RefusedError as error:
                another = error.status == 406 or (error.status in NOT_THIS_WAY and accept == media.DICOM_XML)
                if not another or accept == ladder[-1]:
                    raise
            else:
                if accept != ladder[0]:
                    self.learned.learn(known, json_type=accept)
                return

    def _reader(self, response: Response, head: bytes, accept: str) -> "RowReader | XmlRowReader | None":
        """The row reader for a response; None for XML instead of JSON, which the other media type may bring."""
        kind = media.classify(response.content_type, head)
        if kind not in (media.Body.XML, media.Body.MULTIPART):
            if response.status != 204:
                # OTHER may be JSON labelled as octets, or white space so far: the reader tells.
                self.expect(response, kind, head, media.Body.JSON, media.Body.OTHER)
            return RowReader()
        if accept == media.DICOM_JSON:
            return None
        from dwcli.dicomweb.xmlrows import XmlRowReader

        return XmlRowReader(response.content_type, head)

    def _relay(self, warning: str) -> None:
        """Report a server's warnings (299), except about rows that the next pages bring."""
        if warning and not re.search(r"\d+ additional", warning):
            self.learned.warn(f"the server warns: {warning}")

    def climb(
        self,
        key: tuple[str, ...],
        ladder: Sequence[str],
        ask: Callable[[str], Request],
        wanted: tuple[media.Body, ...] = (),
    ) -> Iterator[Event]:
        """Try each media range until one is accepted; that one is tried first from then on.

        `wanted`: the acceptable kinds of body; any if empty.
        """
        now = self.learned.now
        known = self.learned.accepted(key)
        rungs = [known, *(rung for rung in ladder if rung != known)] if known else list(ladder)
        if not now.dialect.accept_type_quoted:
            rungs = [media.unquoted(rung) for rung in rungs]
        elif now.learns and media.unquoted(ladder[0]) not in rungs:
            rungs.append(media.unquoted(ladder[0]))
        refusals: list[DwError] = []
        for accept in rungs:
            try:
                with self.opened(ask(accept)) as (response, head, chunks):
                    kind = media.classify(response.content_type, head)
                    if wanted:
                        # A text instead of images is an error message, whatever its status.
                        text_came = media.parse(response.content_type).type.startswith("text/")
                        fit = (body for body in wanted if not (text_came and body is media.Body.OTHER))
                        self.expect(response, kind, head, *fit)
                    self.learned.accept(key, accept)
                    yield from self.events(response, head, chunks)
                    return
            except RefusedError as error:
                if error.status not in NOT_THIS_WAY:
                    raise
                refusals.append(error)
        raise refusals[0]

    def either(self, what: str, ask: Callable[[bool], Iterator[Value]], *, own: bool) -> Iterator[Value]:
        """`ask(True)`, the server's own path; if that responds 404, 400 or 405, `ask(False)`, the path of PS3.18.

        A standard path that worked is the first and only one for the rest of the run. Raises the first refusal if
        neither path works.
        """
        if not own or ("standard path", what) in self.learned.now.facts:
            return ask(False)
        return self._own_first(what, ask)

    def _own_first(self, what: str, ask: Callable[[bool], Iterator[Value]]) -> Iterator[Value]:
        known = self.learned.now
        try:
            yield from ask(True)
            return
        except AbsentError as error:
            refused: DwError = error
        except RefusedError as error:
            if error.status not in _NO_SUCH_PATH:
                raise
            refused = error
        try:
            for value in ask(False):
                self.learned.learn(known, ("standard path", what))
                yield value
        except (AbsentError, RefusedError, UsageError):
            raise refused from None
        self.learned.learn(known, ("standard path", what))

    def has_own(self, level: Level) -> bool:
        return self.learned.now.dialect.own_uids and level is not Level.STUDY

    def offers(self, resource: Resource, ref: Ref | None = None) -> None:
        if resource in self.learned.now.dialect.missing:
            raise RefusedError(
                f"this server has no {resource} resource (dialect {self.learned.now.dialect.name})",
                f"dw retrieve {ref.level} {shlex.quote(refs.show(ref))} -o DIR retrieves whole instances"
                if ref
                else "",
                status=501,
            )

    def expect(self, response: Response, kind: media.Body, head: bytes, *wanted: media.Body) -> None:
        if kind in wanted or (kind is media.Body.EMPTY and media.Body.JSON in wanted):
            return
        if response.status == 204:
            raise AbsentError(f"{response.host}: no content (204)")
        if kind is media.Body.HTML:
            raise AuthError(
                f"{response.host} sent a web page instead of {_DUE[wanted[0]]}",
                "this is usually a login page or a wrong address: dw profile test",
            )
        said = response.headers.get("X-Error-Reason", "") or excerpt(head, 200)
        raise ProtocolError(
            f"{response.host} sent {kind.value} ({response.content_type or 'no Content-Type'}) instead of "
            f"{_DUE[wanted[0]]}: {said or 'nothing'}"
        )
