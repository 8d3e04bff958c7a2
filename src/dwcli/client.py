"""The DICOMweb services of one server as iterators of values. Knows the dialect; holds nothing larger than a chunk."""

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TypeVar

from dwcli.dicomweb import match, media, multipart, refs, request, stow
from dwcli.dicomweb.dialects import Dialect, Resource
from dwcli.dicomweb.dicomjson import Row, RowReader, text
from dwcli.dicomweb.match import Questions, impossible
from dwcli.dicomweb.multipart import PartData, PartEnd, PartStart, Truncated
from dwcli.dicomweb.paging import AUTO_PAGE, Place
from dwcli.dicomweb.query import Query, Term, cannot_ask, worth_raw
from dwcli.dicomweb.refs import FrameRef, InstanceRef, Level, Ref, SeriesRef, StudyRef
from dwcli.dicomweb.request import Rendering, Request
from dwcli.dicomweb.xmlrows import XmlRowReader
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
from dwcli.net.body import Multipart, Part
from dwcli.net.transport import Response, Transport

_NOT_THIS_WAY = frozenset({400, 406, 415})
_NO_SUCH_PATH = frozenset({400, 405})

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Opened:
    """An answer has begun: its HTTP status, media type, length in bytes where known, and Warning header."""

    status: int
    media_type: str
    length: int | None
    warning: str


Event = Opened | PartStart | PartData | PartEnd | Truncated


class UnansweredError(TemporaryError):
    """A store request went out, and no reply came: nobody knows what the server took in."""


class _OtherTypeError(Exception):
    """XML came where JSON was asked for."""


class Client:
    """One server. `warn(text)` is told what a user should know and cannot see in the values."""

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
        self._heeded: set[str] = set()

    # QIDO-RS

    def search(self, query: Query) -> Iterator[Row]:
        """The rows that match, in the server's order, each UID once (PS3.18 10.6).

        Where the server cannot search below a study, or a key belongs to a level above, the levels are walked.
        """
        for value in cannot_ask(query, self.dialect):
            self.warn(
                f"this server never decodes a query, so {value!r} will find nothing there; "
                "use * or ? in place of spaces and of letters beyond ASCII"
            )
        if query.series and not query.study and not self.dialect.own_uids:
            series = self.resolve(SeriesRef("", query.series))
            assert isinstance(series, SeriesRef)
            query = replace(query, study=series.study)
        rows = self._walk(query) if self._must_walk(query) else self._from_metadata(query)
        if rows is not None:
            yield from islice(rows, query.offset, _end(query))
            return
        found = False
        for row in self._pages(query):
            found = True
            yield row
        if not found and self.dialect.name == "auto" and self.dialect.instances_from == "search":
            yield from self._perhaps_from_metadata(query)

    def _must_walk(self, query: Query) -> bool:
        match query.level:
            case Level.STUDY:
                return False
            case Level.SERIES:
                return not query.study and not self.dialect.relational
            case Level.INSTANCE:
                above = any(term.level == Level.SERIES for term in query.terms)
                return not query.series and (above or not self.dialect.relational)

    def _from_metadata(self, query: Query) -> Iterator[Row] | None:
        """The instances of a series out of its metadata, for a server that lists them nowhere else."""
        if query.level is not Level.INSTANCE or not (query.study and query.series):
            return None
        if self.dialect.instances_from == "search":
            return None
        self._offers("metadata")
        rows = self._rows(request.metadata(self.base, SeriesRef(query.study, query.series), self.dialect))
        return (row for row in rows if all(match.fits(term, row) for term in query.terms))

    def _perhaps_from_metadata(self, query: Query) -> Iterator[Row]:
        """A series that lists no instance is empty, or its server lists instances nowhere but in metadata."""
        asked = query.level is Level.INSTANCE and query.study and query.series
        if not asked or query.terms or query.offset or "metadata" in self.dialect.missing:
            return
        try:
            for row in self._rows(request.metadata(self.base, SeriesRef(query.study, query.series), self.dialect)):
                self.dialect = replace(self.dialect, instances_from="metadata")
                yield row
        except (RefusedError, AbsentError):
            return

    def _walk(self, query: Query) -> Iterator[Row]:
        """Search level by level: the keys of a level are matched there, all others at the bottom."""
        parent = Level.STUDY if query.level is Level.SERIES else Level.SERIES
        above = {Level.STUDY, parent}
        upper = tuple(term for term in query.terms if term.level in above)
        lower = tuple(term for term in query.terms if term.level not in above)
        for row in self.search(Query(parent, study=query.study, terms=upper, fuzzy=query.fuzzy)):
            found = refs.from_row({**_uid(refs.STUDY_UID, query.study), **row}, parent)
            nested = replace(query, terms=lower, limit=None, offset=0, study=found.study)
            parents = _uid(refs.STUDY_UID, found.study)
            if isinstance(found, SeriesRef):
                nested = replace(nested, series=found.series)
                parents |= _uid(refs.SERIES_UID, found.series)
            # As a relational search would give them (PS3.18 10.6.3.3): a row alone has to name its parents.
            for below in self.search(nested):
                yield {**parents, **below}

    def _pages(self, query: Query) -> Generator[Row, None, None]:
        """The rows of one resource; terms that the server does not understand are matched here."""
        sent, here = self._divided(query)
        if not here:
            yield from self._received(query)
            return
        questions = Questions((), here)
        rows = self._received(replace(sent, limit=None, offset=0))
        yield from islice((row for row in rows if questions.answered_by(row)), query.offset, _end(query))

    def _received(self, query: Query) -> Iterator[Row]:
        """The rows that the server gives, each once, page by page.

        Pages by rows received, since a server's own cap may be below any limit; ends on an empty page, on one without a
        new row (a server that ignores `offset`), at X-Total-Count or at `query.limit`. A term that the server ignores,
        which its rows betray, is matched here.
        """
        questions = Questions(query.terms, fuzzy=query.fuzzy)
        if not self.dialect.paging:
            everything = (row for row in self._page(query.page(0, None), _Page()) if self._fits(questions, row))
            yield from islice(everything, query.offset, _end(query))
            return
        skip, start = 0, query.offset
        seen: set[str] = set()
        given = 0
        place = Place(start, self.dialect)
        while True:
            left = None if query.limit is None or skip else query.limit - given
            place.learn(self.dialect)
            size = place.size(left)
            page = _Page()
            new = 0
            for row in self._page(query.page(place.offset(size), size), page):
                page.rows += 1
                uid = text(row, query.level.uid_tag) or repr(row)
                if uid in seen:
                    continue
                seen.add(uid)
                new += 1
                if not self._fits(questions, row) or place.is_before(page.rows):
                    continue
                if skip:
                    skip -= 1
                    continue
                if given == query.limit:
                    return
                given += 1
                yield row
            if not new and self._counts_pages(query, place, seen):
                place = place.by_pages(self.dialect)
                continue
            if not seen and place.start and self.dialect.name == "auto":
                # Beyond the end, or counted in pages: from the beginning both come out right.
                place, skip = Place(0, self.dialect), query.offset
                continue
            place.advance(page.rows, size)
            if not new or given == query.limit or (page.total is not None and place.received >= page.total):
                for term in questions.unseen() if seen else ():
                    self._check_ignored(query, term)
                return

    def _fits(self, questions: Questions, row: Row) -> bool:
        """Whether the row answers the questions; what the server ignores is told of."""
        fits = questions.answered_by(row)
        for complaint in questions.complaints():
            self.warn(complaint)
        return fits

    def _check_ignored(self, query: Query, term: Term) -> None:
        """Warn where the server ignores a key that its rows do not show: asked once, with a value that nothing has."""
        name = f"{query.level} {term.name}"
        if name in self._heeded:
            return
        self._heeded.add(name)
        try:
            asked = replace(query, terms=(impossible(term),), include=(), limit=1, offset=0)
            ignored = any(True for _ in self._rows(request.search(self.base, asked, self.dialect)))
        except (RefusedError, AbsentError):
            return
        if ignored:
            self.warn(f"this server ignores {term.name}, and its rows do not show it: they are not filtered by it")

    def _divided(self, query: Query) -> tuple[Query, tuple[Term, ...]]:
        """The query that this server understands, and the terms that are matched here instead."""
        dialect = self.dialect
        patterns = () if dialect.wildcards else tuple(term for term in query.terms if term.is_pattern)
        strange = tuple(term for term in query.terms if dialect.known_keys and term.name not in dialect.known_keys)
        if patterns:
            self.warn("this server knows no wildcards: all its rows are fetched and matched here")
        for term in strange:
            self.warn(f"this server cannot search by {term.name}: all its rows are fetched and matched here")
        here = tuple(dict.fromkeys([*patterns, *strange]))
        if not here:
            return query, here
        include = tuple(term.name for term in strange if "." not in term.path)
        sent = tuple(term for term in query.terms if term not in here)
        return replace(query, terms=sent, include=tuple(dict.fromkeys([*query.include, *include]))), here

    def _counts_pages(self, query: Query, place: Place, seen: set[str]) -> bool:
        """After a full page and then none, under `auto`: does `offset` count pages? Then page 1 is all new."""
        if self.dialect.name != "auto" or not place.may_count_pages(len(seen)):
            return False
        try:
            rows = self._rows(request.search(self.base, query.page(1, len(seen)), self.dialect))
            uids = [text(row, query.level.uid_tag) for row in rows]
        except (RefusedError, AbsentError):
            return False
        if not uids or not seen.isdisjoint(uids):
            return False
        self.dialect = replace(self.dialect, offset_counts="pages", page_size=len(seen))
        return True

    def _page(self, query: Query, page: "_Page") -> Iterator[Row]:
        """The rows of one request; asks again in another way where the dialect is `auto` and nothing was found."""
        found = False

        def ask(own: bool) -> Iterator[Row]:
            return self._rows(request.search(self.base, query, self.dialect, own=own), page)

        try:
            for row in self._either(f"search {query.level}", ask, own=self._has_own(query.level)):
                found = True
                yield row
        except RefusedError as error:
            if not self._wants_pages(query, error):
                raise
            self.dialect = replace(self.dialect, paging_required=True, page_size=AUTO_PAGE)
            yield from self._rows(request.search(self.base, query.page(0, AUTO_PAGE), self.dialect), page)
            return
        except AbsentError as error:
            if query.level is not Level.STUDY:
                raise
            # Nobody asked for anything that could be absent: there is no such service at this address.
            hint = "is it the DICOMweb root, up to /studies without it? dw profile test"
            raise RefusedError(f"no search at {self.base}: {error.message}", hint, status=404) from error
        if found or self.dialect.escaping != "auto" or query.offset or not worth_raw(query):
            return
        try:
            for row in self._rows(request.search(self.base, query, self.dialect, raw=True), page):
                if not found:
                    found = True
                    self.dialect = replace(self.dialect, escaping="raw")
                yield row
        except (RefusedError, AbsentError):
            # A server that refuses a raw query has decoded the first one: it was right, and found nothing.
            self.dialect = replace(self.dialect, escaping="standard")

    def _wants_pages(self, query: Query, error: RefusedError) -> bool:
        """Whether the refusal of a plain search may only mean that `limit` and `offset` are wanted."""
        plain = query.level is Level.STUDY and query.limit is None and not query.offset
        return self.dialect.name == "auto" and plain and error.status in (400, 500) and not self.dialect.paging_required

    def _has_own(self, level: Level) -> bool:
        return self.dialect.own_uids and level is not Level.STUDY

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

    def _rows(self, asked: Request, page: "_Page | None" = None) -> Iterator[Row]:
        """The rows of an answer; 204, `[]` and an empty body are none. The media type that brings some is kept."""
        ladder = media.rows_ladder(asked.headers["Accept"])
        for accept in ladder:
            try:
                yield from self._rows_as(replace(asked, headers={**asked.headers, "Accept": accept}), page)
            except RefusedError as error:
                if error.status != 406 and not (error.status in _NOT_THIS_WAY and accept == media.DICOM_XML):
                    raise
                if accept == ladder[-1]:
                    raise
            except _OtherTypeError:
                pass
            else:
                if accept != ladder[0]:
                    self.dialect = replace(self.dialect, json_type=accept)
                return

    def _rows_as(self, asked: Request, page: "_Page | None") -> Iterator[Row]:
        """The rows of one answer in JSON or XML. Raises _OtherTypeError where XML came and may be avoided."""
        with self._opened(asked) as (response, head, chunks):
            if page is not None:
                page.note(response)
                self._relay(response.headers.get("Warning", ""))
            kind = media.classify(response.content_type, head)
            if kind not in (media.Body.XML, media.Body.MULTIPART):
                yield from self._read_rows(response, kind, head, chunks)
                return
            if asked.headers["Accept"] == media.DICOM_JSON:
                raise _OtherTypeError
            documents = XmlRowReader(response.content_type, head)
            for chunk in chain([head], chunks):
                yield from documents.feed(chunk)
            yield from documents.finish(framed=response.framed)

    def prefer_xml(self) -> None:
        """Ask for XML in searches and metadata from now on; a server that has none is asked for JSON as ever."""
        self.dialect = replace(self.dialect, json_type=media.DICOM_XML)

    def _read_rows(self, response: Response, kind: media.Body, head: bytes, chunks: Iterator[bytes]) -> Iterator[Row]:
        if response.status == 204:
            return
        # OTHER may be JSON labelled as octets, or white space so far: the reader tells.
        self._expect(response, kind, head, media.Body.JSON, media.Body.OTHER)
        reader = RowReader()
        yield from reader.feed(head)
        for chunk in chunks:
            yield from reader.feed(chunk)
        yield from reader.finish()

    def _relay(self, warning: str) -> None:
        """Tell what a server warns of (299), but for the rows that the next pages bring."""
        if warning and not re.search(r"\d+ additional", warning):
            self.warn(f"the server warns: {warning}")

    def series_of(self, study: str) -> Iterator[Row]:
        """The series of a study, with NumberOfSeriesRelatedInstances where the server gives it."""
        include = ("NumberOfSeriesRelatedInstances",) if self.dialect.include_fields and self.dialect.counts else ()
        yield from self.search(Query(Level.SERIES, study=study, include=include))

    def resolve(self, ref: Ref) -> Ref:
        """A reference with every UID above its own found by a search. Raises AbsentError where there is none."""
        if ref.known:
            return ref
        if self.dialect.own_uids:
            return self._resolve_by_own_uid(ref)
        match ref:
            case InstanceRef(_, _, uid):
                query = Query(Level.INSTANCE, terms=(Term(refs.INSTANCE_UID, uid),))
            case SeriesRef(_, uid):
                query = Query(Level.SERIES, terms=(Term(refs.SERIES_UID, uid),))
            case StudyRef(uid):
                return ref
        if not self.dialect.relational:
            raise UsageError(
                f"this server cannot find {'an' if ref.level is Level.INSTANCE else 'a'} {ref.level} by its own UID",
                "write STUDY/SERIES/INSTANCE" if ref.level is Level.INSTANCE else "write STUDY/SERIES",
            )
        # A server that ignores the key gives all it has: the search ends with the row that is looked for.
        with closing(self._pages(query)) as rows:
            found = next((row for row in rows if text(row, ref.level.uid_tag) == uid), None)
        if found is None:
            raise AbsentError(f"no {ref.level} {uid} found", f"dw search {ref.level.resource}")
        return refs.from_row(found, ref.level)

    def _resolve_by_own_uid(self, ref: Ref) -> Ref:
        """The same on a server with `own_uids`: the UIDs above stand in the rows of the instances."""
        match ref:
            case SeriesRef(_, uid):
                # Asked below the series, a row need not repeat its UID.
                query, fits = Query(Level.INSTANCE, series=uid), {"", uid}
            case InstanceRef(_, _, uid):
                query, fits = Query(Level.INSTANCE, terms=(Term(refs.INSTANCE_UID, uid),)), {uid}
            case StudyRef():
                return ref
        with closing(self._pages(query)) as rows:
            found = next((row for row in rows if text(row, ref.level.uid_tag) in fits), None)
        if found is None:
            raise AbsentError(f"no {ref.level} {uid} found", "dw search studies")
        placed = refs.from_row({**found, **_uid(ref.level.uid_tag, uid)}, ref.level)
        if not placed.known:
            raise UsageError(f"this server does not say in which study {ref.level} {uid} is", "write STUDY/SERIES/…")
        return placed

    def locate(self, ref: Ref) -> Ref:
        """Like `resolve`, but as it is where the UIDs above are not to be had and `retrieve` needs none."""
        try:
            return self.resolve(ref)
        except (AbsentError, RefusedError, UsageError):
            if not self.dialect.own_uids:
                raise
            return ref

    # WADO-RS

    def metadata(self, ref: Ref) -> Iterator[Row]:
        """The metadata of each instance below `ref`, as received (PS3.18 10.4.1.1.2)."""
        self._offers("metadata")
        yield from self._rows(request.metadata(self.base, self.resolve(ref), self.dialect))

    def retrieve(self, ref: Ref, transfer_syntax: str = "*") -> Iterator[Event]:
        """The instances below `ref` as they come: Opened, then PartStart, PartData…, PartEnd for each (PS3.18 10.4).

        Ends with Truncated, or raises, where the answer stops early; a part is whole only after its PartEnd.
        """
        if str(ref.level) not in self.dialect.retrieves:
            for instance in self._below(self.resolve(ref)):
                yield from self.retrieve(instance, transfer_syntax)
            return
        ladder = media.retrieve_ladder(ref.level, transfer_syntax, self.dialect)
        key = ("retrieve", ref.level, transfer_syntax)
        wanted = (media.Body.MULTIPART, media.Body.DICOM, media.Body.OTHER)

        def ask(own: bool) -> Iterator[Event]:
            if own:
                return self._climb(key, ladder, lambda accept: request.own_resource(self.base, ref, accept), wanted)
            found = self.resolve(ref)
            return self._climb(key, ladder, lambda accept: request.resource(self.base, found, accept), wanted)

        yield from self._either(f"retrieve {ref.level}", ask, own=self._has_own(ref.level))

    def _below(self, ref: Ref) -> Iterator[InstanceRef]:
        """The instances of a study or series, for a server that gives them only one by one."""
        series = [text(row, refs.SERIES_UID) for row in self.series_of(ref.study)] if isinstance(ref, StudyRef) else []
        for uid in series if isinstance(ref, StudyRef) else [getattr(ref, "series", "")]:
            for row in self.search(Query(Level.INSTANCE, study=ref.study, series=uid)):
                yield InstanceRef(ref.study, uid, text(row, refs.INSTANCE_UID))

    def frames(self, ref: FrameRef, transfer_syntax: str = "") -> Iterator[Event]:
        """The frames asked for, one part each, in ascending order; raw little endian unless a syntax is named."""
        self._offers("frames")
        ladder = media.frames_ladder(transfer_syntax)
        asked = FrameRef(self._instance(ref.instance), ref.frames)
        yield from self._climb(
            ("frames", transfer_syntax),
            ladder,
            lambda accept: request.resource(self.base, asked, accept),
            (media.Body.MULTIPART, media.Body.OTHER, media.Body.PICTURE),
        )

    def bulkdata(self, url: str) -> Iterator[Event]:
        """Bulk data by its URL, which must lie under the profile's own address."""
        self._offers("bulkdata")
        if refs.origin(url) != refs.origin(self.base):
            raise UsageError(f"{url} is on another server", "bulk data is fetched from the profile's own server only")
        yield from self._climb(("bulkdata",), media.bulkdata_ladder(), lambda accept: request.bulkdata(url, accept))

    def bulkdata_url(self, ref: InstanceRef, tag: str) -> str:
        """The URL of one attribute's value, from the instance's metadata. Raises AbsentError where it names none."""
        self._offers("bulkdata")
        ref = self._instance(ref)
        asked = request.metadata(self.base, ref, self.dialect)
        for row in self._rows(asked):
            element = row.get(tag)
            if isinstance(element, dict) and element.get("BulkDataURI"):
                return request.rebase(str(element["BulkDataURI"]), self.base, asked.url)
            if element:
                raise AbsentError(
                    f"{tag} is no bulk data here: its value stands in the metadata",
                    "dw metadata REF --tag " + tag,
                )
        raise AbsentError(f"this instance has no {tag}")

    def rendered(self, ref: Ref | FrameRef, wanted: Rendering) -> Iterator[Event]:
        """A picture made by the server (PS3.18 10.4.1.1.3)."""
        self._offers("thumbnail" if wanted.thumbnail else "rendered")
        found: Ref | FrameRef
        match ref:
            case FrameRef(instance, frames):
                found = FrameRef(self._instance(instance), frames)
            case _:
                found = self.resolve(ref)
        with self._opened(request.rendered(self.base, found, wanted)) as (response, head, chunks):
            kind = media.classify(response.content_type, head)
            if kind in (media.Body.HTML, media.Body.JSON, media.Body.XML, media.Body.EMPTY):
                self._expect(response, kind, head, media.Body.PICTURE)
            yield from self._events(response, head, chunks)

    def wado_uri(self, ref: InstanceRef, transfer_syntax: str = "*", *, anonymize: bool = False) -> Iterator[Event]:
        """One instance by WADO-URI (PS3.18 chapter 9)."""
        asked = request.wado_uri(self.base, ref, self.dialect, transfer_syntax, anonymize=anonymize)
        with self._opened(asked) as (response, head, chunks):
            self._expect(response, media.classify(response.content_type, head), head, media.Body.DICOM)
            yield from self._events(response, head, chunks)

    def _instance(self, ref: InstanceRef) -> InstanceRef:
        found = self.resolve(ref)
        assert isinstance(found, InstanceRef)
        return found

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
                if error.status not in _NOT_THIS_WAY:
                    raise
                refusals.append(error)
        raise refusals[0]

    @contextmanager
    def _opened(self, asked: Request) -> Iterator[tuple[Response, bytes, Iterator[bytes]]]:
        """An answer with its first bytes, by which it is told what it is."""
        with self.transport.stream(asked) as response:
            chunks = response.chunks()
            head = b""
            for chunk in chunks:
                head += chunk
                if len(head) >= 132:
                    break
            yield response, head, chunks

    def _events(self, response: Response, head: bytes, chunks: Iterator[bytes]) -> Iterator[Event]:
        """The parts of a multipart answer, or the whole body as one part."""
        kind = media.classify(response.content_type, head)
        declared = media.parse(response.content_type)
        yield Opened(response.status, declared.type, response.length, response.headers.get("Warning", ""))
        if kind is not media.Body.MULTIPART:
            if not head:
                return
            yield PartStart({"content-type": response.content_type})
            yield PartData(head)
            for chunk in chunks:
                yield PartData(chunk)
            if response.framed:
                yield PartEnd()
            else:
                yield Truncated("the server gave no length, so nothing proves that the body is complete")
            return
        reader = multipart.Reader(declared.boundary)
        yield from reader.feed(head)
        try:
            for chunk in chunks:
                yield from reader.feed(chunk)
        except (TruncatedError, TemporaryError) as error:
            if isinstance(error, TruncatedError):
                yield from reader.finish(framed=False)
            if not reader.closed:
                raise
            self.warn(f"{error.message}, after the closing boundary")
            return
        yield from reader.finish(framed=response.framed)
        if not reader.closed and response.framed:
            self.warn("the server left out the closing boundary; HTTP's own length was met")

    # STOW-RS

    def store(
        self,
        parts: Sequence[Part],
        instances: Sequence[str],
        study: str = "",
        *,
        on_bytes: Callable[[int], None],
    ) -> stow.Reply:
        """Store Part 10 bytes in one request (PS3.18 10.5); the reply's body decides, whatever the status.

        `instances`: the SOP Instance UIDs in the parts' order; where the reply is cut, each is Unknown. Raises only
        where the server took nothing in (a refusal without an account of instances, a login, no connection), and
        UnansweredError where bytes went out and no reply came.
        """
        went = False

        def count(n: int) -> None:
            nonlocal went
            went = True
            on_bytes(n)

        body = Multipart(parts, on_bytes=count)

        def ask(at_root: bool) -> Iterator[stow.Reply]:
            asked = request.store(self.base, study, body.boundary, body, self.dialect, at_root=at_root)
            try:
                with self.transport.exchange(asked) as response:
                    reply = self._reply(response, instances)
            except TemporaryError as error:
                if went:
                    raise UnansweredError(error.message, error.hint) from error
                raise
            if isinstance(reply, DwError):
                raise reply
            yield reply

        return next(self._either("store", ask, own=self.dialect.store_at_root))

    def _reply(self, response: Response, instances: Sequence[str]) -> stow.Reply | DwError:
        """What a store reply says, or the refusal that it is."""
        try:
            data = response.read(64 * 1024 * 1024)
        except TruncatedError as error:
            if response.status >= 400:
                return response.refusal(b"")
            return stow.Reply({uid: stow.Unknown(uid, error.message) for uid in instances}, (), ())
        kind = media.classify(response.content_type, data)
        if kind is media.Body.HTML and response.status < 400:
            self._expect(response, kind, data, media.Body.JSON)
        reply = stow.read(response.status, response.content_type, data, instances)
        if response.status >= 400 and not _accounts(reply):
            return response.refusal(data)
        return reply

    # Anything else

    @contextmanager
    def request(self, asked: Request) -> Iterator[Response]:
        """Send any request with this server's login; refusals too are handed out as answers."""
        with self.transport.exchange(asked) as response:
            yield response

    def _offers(self, resource: Resource) -> None:
        if resource in self.dialect.missing:
            raise RefusedError(
                f"this server has no {resource} resource (dialect {self.dialect.name})",
                "dw retrieve instance REF brings the whole instance",
                status=501,
            )

    def _expect(self, response: Response, kind: media.Body, head: bytes, *wanted: media.Body) -> None:
        if kind in wanted or (kind is media.Body.EMPTY and media.Body.JSON in wanted):
            return
        if response.status == 204:
            raise AbsentError(f"{response.host} has nothing there (204)")
        if kind is media.Body.HTML:
            raise AuthError(
                f"{response.host} answered with a web page where {wanted[0].value} was due",
                "this is usually a login page or a wrong address: dw profile test",
            )
        said = response.headers.get("X-Error-Reason", "") or repr(head[:200].decode("utf-8", "replace"))
        raise ProtocolError(
            f"{response.host} answered {kind.value} ({response.content_type or 'no Content-Type'}) where "
            f"{wanted[0].value} was due: {said}"
        )

    def warn(self, text: str) -> None:
        """Tell the user, each thing once."""
        if text not in self._warned:
            self._warned.add(text)
            self._warn_user(text)


@dataclass(slots=True)
class _Page:
    rows: int = 0
    total: int | None = None

    def note(self, response: Response) -> None:
        total = response.headers.get("X-Total-Count", "")
        self.total = int(total) if total.isdecimal() else None


def _uid(tag: str, uid: str) -> Row:
    return {tag: {"vr": "UI", "Value": [uid]}} if uid else {}


def _end(query: Query) -> int | None:
    return None if query.limit is None else query.offset + query.limit


def _accounts(reply: stow.Reply) -> bool:
    """Whether a store reply says anything about an instance."""
    return bool(reply.strays) or any(not isinstance(o, stow.Unknown) for o in reply.outcomes.values())
