"""Transfers: instances, frames, bulk data and rendered images as streams, and stores (PS3.18 10.4, 10.5, 9)."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from dwcli.client.exchange import Event, Exchange, Tally
from dwcli.client.search import Search
from dwcli.dicomweb import media, refs, request
from dwcli.dicomweb.dialects import Dialect
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.dicomweb.query import Query
from dwcli.dicomweb.refs import FrameRef, InstanceRef, Level, Ref, StudyRef
from dwcli.dicomweb.request import Rendering
from dwcli.errors import (
    AbsentError,
    DwError,
    ProtocolError,
    RefusedError,
    TemporaryError,
    TruncatedError,
    UsageError,
)
from dwcli.net.response import Response

if TYPE_CHECKING:
    from dwcli.dicomweb import stow
    from dwcli.net.body import Part


_LARGEST = 16 << 20  # bytes of a store response; 300 per instance are usual


class UnansweredError(TemporaryError):
    """A store request was sent but no response came: it is unknown what the server stored."""


class Transfer:
    """Requests the media range that this server accepts, instance by instance where necessary."""

    def __init__(self, exchange: Exchange, search: Search) -> None:
        self._exchange = exchange
        self._search = search

    @property
    def _dialect(self) -> Dialect:
        return self._exchange.learned.now.dialect

    def metadata(self, ref: Ref) -> Iterator[Row]:
        """The metadata of each instance below `ref`, as received (PS3.18 10.4.1.1.2)."""
        self._exchange.offers("metadata", ref)
        found = self._search.resolve(ref)
        tally = Tally()
        try:
            for row in self._exchange.metadata(found):
                tally.add(text(row, refs.INSTANCE_UID))
                yield row
        except (AbsentError, RefusedError) as error:
            raise self._truly(found, error) from None

    def retrieve(self, ref: Ref, transfer_syntax: str = "*") -> Iterator[Event]:
        """The instances below `ref` as they come: Opened, then PartStart, PartData…, PartEnd for each (PS3.18 10.4).

        Ends with Truncated, or raises, where the response stops early; a part is whole only after its PartEnd.
        """
        whole = str(ref.level) in self._dialect.retrieves
        for one in [ref] if whole else self._below(self._search.resolve(ref)):
            try:
                yield from self._whole(one, transfer_syntax)
            except (AbsentError, RefusedError, UsageError) as error:
                uids = (one.study, one.series, one.instance)
                if all(map(refs.is_segment, uids)):
                    raise self._truly(one, error) from None
                if not isinstance(one, InstanceRef) or not self._dialect.wado_uri:
                    self._exchange.advise(error)
                    raise
                # What no path can name, a query can.
                yield from self.wado_uri(one, transfer_syntax)

    def _whole(self, ref: Ref, transfer_syntax: str) -> Iterator[Event]:
        """The instances of what is retrieved in one request."""
        ladder = media.retrieve_ladder(ref.level, transfer_syntax, self._dialect)
        key = ("retrieve", ref.level, transfer_syntax)
        wanted = (media.Body.MULTIPART, media.Body.DICOM, media.Body.OTHER)
        base, climb = self._exchange.base, self._exchange.climb

        def ask(own: bool) -> Iterator[Event]:
            if own:
                return climb(key, ladder, lambda accept: request.own_resource(base, ref, accept), wanted)
            found = self._search.resolve(ref)
            return climb(key, ladder, lambda accept: request.resource(base, found, accept), wanted)

        return self._exchange.either(f"retrieve {ref.level}", ask, own=self._exchange.has_own(ref.level))

    def _truly(self, ref: Ref, error: DwError) -> DwError:
        """Return the error, reworded if this server misreads a UID in `ref`, so that its message would mislead."""
        uids = [uid for uid in (ref.study, ref.series, ref.instance) if uid]
        if any(char in uid for uid in uids for char in "*?"):
            return RefusedError(
                f"it may exist, but many servers treat * or ? in a UID as a wildcard ({error.message})",
                "use the server's own pages or tools",
                status=getattr(error, "status", 404),
            )
        if all(map(refs.is_segment, uids)) or not self._is_listed(ref):
            return error
        return RefusedError(
            f"it exists, but this server's paths cannot address a UID with a / ({error.message})",
            f"dw retrieve {ref.level} {shlex.quote(refs.show(ref))} -o DIR retrieves whole instances",
            status=getattr(error, "status", 404),
        )

    def _is_listed(self, ref: Ref) -> bool:
        """Whether a search finds anything below `ref`."""
        try:
            for row in self._search.search(Query(Level.INSTANCE, ref.study, ref.series)):
                if not isinstance(ref, InstanceRef) or text(row, refs.INSTANCE_UID) == ref.instance:
                    return True
        except (AbsentError, RefusedError):
            pass
        return False

    def _below(self, ref: Ref) -> Iterator[InstanceRef]:
        """The instances of a study or series, for a server that gives them only one by one."""
        series = [ref.series]
        if isinstance(ref, StudyRef):
            series = [text(row, refs.SERIES_UID) for row in self._search.series_of(ref.study)]
        for uid in series:
            for row in self._search.search(Query(Level.INSTANCE, study=ref.study, series=uid)):
                yield InstanceRef(ref.study, uid, text(row, refs.INSTANCE_UID))

    def frames(self, ref: FrameRef, transfer_syntax: str = "") -> Iterator[Event]:
        """Yield the frames in ascending order, one part each; raw little endian unless a syntax is given."""
        self._exchange.offers("frames", ref.instance)
        ladder = media.frames_ladder(transfer_syntax)
        asked = FrameRef(self._instance(ref.instance), ref.frames)
        yield from self._exchange.climb(
            ("frames", transfer_syntax),
            ladder,
            lambda accept: request.resource(self._exchange.base, asked, accept),
            (media.Body.MULTIPART, media.Body.OTHER, media.Body.PICTURE),
        )

    def bulkdata(self, url: str) -> Iterator[Event]:
        """Bulk data by its URL, which must lie under the profile's own address."""
        self._exchange.offers("bulkdata")
        if refs.origin(url) != refs.origin(self._exchange.base):
            raise UsageError(f"{url} is on another server", "dw fetches bulk data only from the profile's own server")
        yield from self._exchange.climb(
            ("bulkdata",), media.bulkdata_ladder(), lambda accept: request.bulkdata(url, accept)
        )

    def bulkdata_url(self, ref: InstanceRef, tag: str) -> str:
        """The URL of one attribute's value, from the instance's metadata. Raises AbsentError where it names none."""
        self._exchange.offers("bulkdata", ref)
        ref = self._instance(ref)
        asked = request.metadata(self._exchange.base, ref, self._dialect)
        for row in self._exchange.rows(asked):
            element = row.get(tag)
            if isinstance(element, dict) and element.get("BulkDataURI"):
                return request.rebase(str(element["BulkDataURI"]), self._exchange.base, asked.url)
            if element:
                raise AbsentError(
                    f"{tag} is inline in the metadata, not bulk data",
                    "dw metadata REF --tag " + tag,
                )
        raise AbsentError(f"this instance has no {tag}")

    def rendered(self, ref: Ref | FrameRef, wanted: Rendering) -> Iterator[Event]:
        """Yield the server's rendered image (PS3.18 10.4.1.1.3)."""
        self._exchange.offers(
            "thumbnail" if wanted.thumbnail else "rendered", ref.instance if isinstance(ref, FrameRef) else ref
        )
        found: Ref | FrameRef
        match ref:
            case FrameRef(instance, frames):
                found = FrameRef(self._instance(instance), frames)
            case _:
                found = self._search.resolve(ref)
        with self._exchange.opened(request.rendered(self._exchange.base, found, wanted)) as (response, head, chunks):
            kind = media.classify(response.content_type, head)
            if kind in (media.Body.HTML, media.Body.JSON, media.Body.XML, media.Body.EMPTY):
                self._exchange.expect(response, kind, head, media.Body.PICTURE)
            yield from self._exchange.events(response, head, chunks)

    def wado_uri(self, ref: InstanceRef, transfer_syntax: str = "*", *, anonymize: bool = False) -> Iterator[Event]:
        """One instance by WADO-URI (PS3.18 chapter 9)."""
        asked = request.wado_uri(self._exchange.base, ref, self._dialect, transfer_syntax, anonymize=anonymize)
        with self._exchange.opened(asked) as (response, head, chunks):
            self._exchange.expect(response, media.classify(response.content_type, head), head, media.Body.DICOM)
            yield from self._exchange.events(response, head, chunks)

    def _instance(self, ref: InstanceRef) -> InstanceRef:
        found = self._search.resolve(ref)
        assert isinstance(found, InstanceRef)
        return found

    def store(
        self,
        parts: Sequence["Part"],
        instances: Sequence[str],
        study: str = "",
        *,
        on_bytes: Callable[[int], None],
    ) -> "stow.Reply":
        """Store Part 10 bytes in one request (PS3.18 10.5); the store response's body decides, not the status.

        `instances`: the SOP Instance UIDs in the parts' order; all Unknown if the response is truncated. Raises only
        if the server stored nothing (a refusal that lists no instances, a login, no connection), and
        UnansweredError if bytes were sent but no response came.
        """
        from dwcli.net.body import Multipart

        went = False

        def count(n: int) -> None:
            nonlocal went
            went = True
            on_bytes(n)

        body = Multipart(parts, on_bytes=count)

        def ask(at_root: bool) -> Iterator["stow.Reply"]:
            asked = request.store(self._exchange.base, study, body.boundary, body, self._dialect, at_root=at_root)
            try:
                with self._exchange.transport.exchange(asked) as response:
                    reply = self._reply(response, instances)
            except TemporaryError as error:
                if went:
                    raise UnansweredError(error.message, error.hint) from error
                raise
            if isinstance(reply, DwError):
                raise reply
            yield reply

        return next(self._exchange.either("store", ask, own=self._dialect.store_at_root))

    def _reply(self, response: Response, instances: Sequence[str]) -> "stow.Reply | DwError":
        """The parsed store response, or the refusal that it represents."""
        from dwcli.dicomweb import stow

        try:
            data = response.read(_LARGEST + 1)
            if len(data) > _LARGEST:
                raise ProtocolError(f"{response.host} sent a store response of more than {_LARGEST >> 20} MB")
        except (TruncatedError, ProtocolError) as error:
            if response.status >= 400:
                return response.refusal(b"")
            return stow.Reply({uid: stow.Unknown(uid, error.message) for uid in instances}, (), ())
        except DwError as error:
            if isinstance(error.__cause__, TruncatedError | ProtocolError):
                return error  # the refusal that a damaged body leaves
            raise
        kind = media.classify(response.content_type, data)
        if kind is media.Body.HTML and response.status < 400:
            self._exchange.expect(response, kind, data, media.Body.JSON)
        reply = stow.read(response.status, response.content_type, data, instances)
        if response.status >= 400 and not _accounts(reply):
            return response.refusal(data)
        return reply


def _accounts(reply: "stow.Reply") -> bool:
    """Whether a store response reports on any instance."""
    from dwcli.dicomweb import stow

    return bool(reply.strays) or any(not isinstance(o, stow.Unknown) for o in reply.outcomes.values())
