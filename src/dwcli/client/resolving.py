"""A reference by its own UID alone -> the same with every UID above it."""

from contextlib import closing

from dwcli.client.pages import NotRelationalError, Pages
from dwcli.dicomweb import refs
from dwcli.dicomweb.dicomjson import text
from dwcli.dicomweb.query import Query, Term
from dwcli.dicomweb.refs import InstanceRef, Level, Ref, SeriesRef, StudyRef
from dwcli.errors import AbsentError, RefusedError, UsageError


class Resolving(Pages):
    """Finds what stands above a series or an instance, by a search."""

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
        try:
            if not self.dialect.relational:
                raise NotRelationalError
            # A server that ignores the key gives all it has: the search ends with the row that is looked for.
            with closing(self._across(query)) as rows:
                found = next((row for row in rows if text(row, ref.level.uid_tag) == uid), None)
        except NotRelationalError:
            raise UsageError(
                f"this server cannot find {'an' if ref.level is Level.INSTANCE else 'a'} {ref.level} by its own UID",
                "write STUDY/SERIES/INSTANCE" if ref.level is Level.INSTANCE else "write STUDY/SERIES",
            ) from None
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
        placed = refs.from_row({**found, **refs.uid_row(ref.level.uid_tag, uid)}, ref.level)
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
