"""WADO-RS and WADO-URI: metadata, instances, frames, bulk data and pictures as they come (PS3.18 10.4, chapter 9)."""

import shlex
from collections.abc import Iterator

from dwcli.client.connection import Event
from dwcli.client.rows import Tally
from dwcli.client.searching import Searching
from dwcli.dicomweb import media, refs, request
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.dicomweb.query import Query
from dwcli.dicomweb.refs import FrameRef, InstanceRef, Level, Ref, StudyRef
from dwcli.dicomweb.request import Rendering
from dwcli.errors import AbsentError, DwError, RefusedError, UsageError


class Retrieving(Searching):
    """Retrieves with the media range that this server takes, and instance by instance where it has no other way."""

    def metadata(self, ref: Ref) -> Iterator[Row]:
        """The metadata of each instance below `ref`, as received (PS3.18 10.4.1.1.2)."""
        self._offers("metadata", ref)
        found = self.resolve(ref)
        tally = Tally()
        try:
            for row in self._rows(request.metadata(self.base, found, self.dialect)):
                tally.add(text(row, refs.INSTANCE_UID))
                yield row
        except (AbsentError, RefusedError) as error:
            raise self._truly(found, error) from None

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

        try:
            yield from self._either(f"retrieve {ref.level}", ask, own=self._has_own(ref.level))
        except (AbsentError, RefusedError, UsageError) as error:
            uids = (ref.study, getattr(ref, "series", ""), getattr(ref, "instance", ""))
            if all(map(refs.is_segment, uids)):
                raise self._truly(ref, error) from None
            if not isinstance(ref, InstanceRef) or not self.dialect.wado_uri:
                self._advise(error)
                raise
            # What no path can name, a query can.
            yield from self.wado_uri(ref, transfer_syntax)

    def _truly(self, ref: Ref, error: DwError) -> DwError:
        """The error itself, unless a UID in `ref` is one that this server mistakes: then what it says is not so."""
        uids = [uid for uid in (ref.study, getattr(ref, "series", ""), getattr(ref, "instance", "")) if uid]
        if any(char in uid for uid in uids for char in "*?"):
            return RefusedError(
                f"it may be there, but a UID with * or ? is a wildcard to many servers, which never find it by name "
                f"({error.message})",
                "the server's own pages or tools reach it",
                status=getattr(error, "status", 404),
            )
        if all(map(refs.is_segment, uids)) or not self._is_listed(ref):
            return error
        return RefusedError(
            f"it is there, but the paths of this server cannot name a UID with a / ({error.message})",
            f"dw retrieve {ref.level} {shlex.quote(refs.show(ref))} -o DIR brings the instances whole",
            status=getattr(error, "status", 404),
        )

    def _is_listed(self, ref: Ref) -> bool:
        """Whether a search finds anything below `ref`."""
        try:
            for row in self.search(Query(Level.INSTANCE, ref.study, getattr(ref, "series", ""), limit=None)):
                if not isinstance(ref, InstanceRef) or text(row, refs.INSTANCE_UID) == ref.instance:
                    return True
        except (AbsentError, RefusedError):
            pass
        return False

    def _below(self, ref: Ref) -> Iterator[InstanceRef]:
        """The instances of a study or series, for a server that gives them only one by one."""
        series = [text(row, refs.SERIES_UID) for row in self.series_of(ref.study)] if isinstance(ref, StudyRef) else []
        for uid in series if isinstance(ref, StudyRef) else [getattr(ref, "series", "")]:
            for row in self.search(Query(Level.INSTANCE, study=ref.study, series=uid)):
                yield InstanceRef(ref.study, uid, text(row, refs.INSTANCE_UID))

    def frames(self, ref: FrameRef, transfer_syntax: str = "") -> Iterator[Event]:
        """The frames asked for, one part each, in ascending order; raw little endian unless a syntax is named."""
        self._offers("frames", ref.instance)
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
        self._offers("bulkdata", ref)
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
        self._offers(
            "thumbnail" if wanted.thumbnail else "rendered", ref.instance if isinstance(ref, FrameRef) else ref
        )
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
