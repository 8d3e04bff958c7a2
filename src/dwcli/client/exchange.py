"""One server and the conversation with it: what was asked, what came, and what that turned out to be."""

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from dwcli.dicomweb import dialects, media, multipart, refs
from dwcli.dicomweb.dialects import Dialect, Resource
from dwcli.dicomweb.dicomjson import excerpt
from dwcli.dicomweb.multipart import PartData, PartEnd, PartStart, Truncated
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

NOT_THIS_WAY = frozenset({400, 406, 415})
_NO_SUCH_PATH = frozenset({400, 405})
_RESOURCE = r"/(metadata|frames|rendered|thumbnail|bulkdata)(?:[/?]|$)"

_DUE = {
    media.Body.MULTIPART: "a multipart body",
    media.Body.DICOM: "a DICOM file",
    media.Body.JSON: "JSON",
    media.Body.XML: "XML",
    media.Body.PICTURE: "a picture",
}

Value = TypeVar("Value")


class Opened(NamedTuple):
    """An answer has begun: its HTTP status, media type, length in bytes where known, and Warning header."""

    status: int
    media_type: str
    length: int | None
    warning: str


Event = Opened | PartStart | PartData | PartEnd | Truncated


class Connection:
    """One server's address, dialect and transport.

    `warn(text)` is told what a user should know and cannot see in the values. What the conversation teaches of the
    server is kept in `dialect` for the rest of the run.
    """

    def __init__(
        self,
        base: str,
        dialect: Dialect,
        transport: Transport,
        *,
        warn: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.base = base.rstrip("/")
        self.dialect = dialect
        self.transport = transport
        self._warn_user = warn
        self._warned: set[str] = set()
        self._rungs: dict[tuple[str, ...], str] = {}
        self._standard: set[str] = set()
        self._heeds: dict[str, bool] = {}
        self._ignored: set[str] = set()
        self._sampled: set[str] = set()
        self._knows_wildcards = False
        self._knows_relational = False
        self._knows_offset = False
        self._knows_lists = False

    def warn(self, text: str) -> None:
        """Tell the user, each thing once."""
        if text not in self._warned:
            self._warned.add(text)
            self._warn_user(text)

    @contextmanager
    def request(self, asked: Request) -> Iterator[Response]:
        """Send any request with this server's login; refusals too are handed out as answers."""
        try:
            with self.transport.exchange(asked) as response:
                yield response
        except RefusedError as error:
            self._advise(error)
            raise

    def _advise(self, error: DwError) -> None:
        """Under `auto`, name the preset that the server's address or its refusal points to.

        A warning and no hint, as a job makes a refusal the reason of one item among many.
        """
        if self.dialect.name == "auto" and (preset := dialects.recognise(self.base, error.clue)):
            self.warn(f"this looks like {preset}: dw profile edit NAME --dialect {preset}")

    @contextmanager
    def _opened(self, asked: Request) -> Iterator[tuple[Response, bytes, Iterator[bytes]]]:
        """An answer with its first bytes, by which it is told what it is."""
        try:
            with self.transport.stream(asked) as response:
                chunks = response.chunks()
                head = b""
                for chunk in chunks:
                    head += chunk
                    if len(head) >= 132:
                        break
                yield response, head, chunks
        except RefusedError as error:
            self._advise(error)
            raise
        except AbsentError as error:
            if resource := re.search(_RESOURCE, asked.url):
                error.hint = error.hint or f"it is not there, or this server has no {resource[1]}: dw doctor tells"
                self._advise(error)
            raise

    def _events(self, response: Response, head: bytes, chunks: Iterator[bytes]) -> Iterator[Event]:
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
            self.warn(f"{error.message}, after the closing boundary")
            return
        yield from reader.finish()

    def _climb(
        self,
        key: tuple[str, ...],
        ladder: Sequence[str],
        ask: Callable[[str], Request],
        wanted: tuple[media.Body, ...] = (),
    ) -> Iterator[Event]:
        """Ask with each media range until one is accepted; the one that was is asked first from then on.

        `wanted`: what the answer may be; anything where it is empty.
        """
        known = self._rungs.get(key)
        rungs = [known, *(rung for rung in ladder if rung != known)] if known else list(ladder)
        if not self.dialect.accept_type_quoted:
            rungs = [media.unquoted(rung) for rung in rungs]
        elif self.dialect.name == "auto" and media.unquoted(ladder[0]) not in rungs:
            rungs.append(media.unquoted(ladder[0]))
        refusals: list[DwError] = []
        for accept in rungs:
            try:
                with self._opened(ask(accept)) as (response, head, chunks):
                    kind = media.classify(response.content_type, head)
                    if wanted:
                        # A text in place of images is a complaint, whatever its status.
                        text_came = media.parse(response.content_type).type.startswith("text/")
                        fit = (body for body in wanted if not (text_came and body is media.Body.OTHER))
                        self._expect(response, kind, head, *fit)
                    self._rungs[key] = accept
                    yield from self._events(response, head, chunks)
                    return
            except RefusedError as error:
                if error.status not in NOT_THIS_WAY:
                    raise
                refusals.append(error)
        raise refusals[0]

    def _either(self, what: str, ask: Callable[[bool], Iterator[Value]], *, own: bool) -> Iterator[Value]:
        """`ask(True)`, the server's own path; where that answers 404, 400 or 405, `ask(False)`, the path of PS3.18.

        A standard path that answered is the first and only one for the rest of the run. Raises the first refusal where
        neither path answers.
        """
        if not own or what in self._standard:
            yield from ask(False)
            return
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
                self._standard.add(what)
                yield value
        except (AbsentError, RefusedError, UsageError):
            raise refused from None
        self._standard.add(what)

    def _has_own(self, level: Level) -> bool:
        return self.dialect.own_uids and level is not Level.STUDY

    def _offers(self, resource: Resource, ref: Ref | None = None) -> None:
        if resource in self.dialect.missing:
            raise RefusedError(
                f"this server has no {resource} resource (dialect {self.dialect.name})",
                f"dw retrieve {ref.level} {shlex.quote(refs.show(ref))} -o DIR brings the instances whole"
                if ref
                else "",
                status=501,
            )

    def _expect(self, response: Response, kind: media.Body, head: bytes, *wanted: media.Body) -> None:
        if kind in wanted or (kind is media.Body.EMPTY and media.Body.JSON in wanted):
            return
        if response.status == 204:
            raise AbsentError(f"{response.host} has nothing there (204)")
        if kind is media.Body.HTML:
            raise AuthError(
                f"{response.host} answered with a web page where {_DUE[wanted[0]]} was due",
                "this is usually a login page or a wrong address: dw profile test",
            )
        said = response.headers.get("X-Error-Reason", "") or excerpt(head, 200)
        raise ProtocolError(
            f"{response.host} answered {kind.value} ({response.content_type or 'no Content-Type'}) where "
            f"{_DUE[wanted[0]]} was due: {said or 'nothing'}"
        )
