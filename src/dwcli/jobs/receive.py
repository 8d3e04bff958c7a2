"""Write one response into the folder: each complete part gets its name; unrequested instances are told apart."""

import re
from collections.abc import Callable, Container, Iterator

from dwcli.client import Client, Event, Opened
from dwcli.dicomweb import part10, refs
from dwcli.dicomweb.content import End
from dwcli.dicomweb.multipart import PartData, PartEnd, PartStart, Truncated
from dwcli.dicomweb.refs import InstanceRef, Ref
from dwcli.errors import AuthError, DwError, ExitCode, TruncatedError
from dwcli.files.draft import CollisionError, Destination, Draft, FolderError, Kept
from dwcli.jobs.result import Item, failed


class Received:
    """What one response brought.

    `uids`: SOP Instance UIDs of the instances that came whole. `rejected`: parts that could not be kept, as failures
    not yet reported. `partial`: the server said 206. `error`: what ended the response early.
    """

    def __init__(self) -> None:
        self.uids: set[str] = set()
        self.rejected: list[Item] = []
        self.partial = False
        self.error: DwError | None = None
        self._series: dict[tuple[str, str], set[str]] = {}

    def add(self, instance: InstanceRef) -> None:
        """Count one more complete instance."""
        self.uids.add(instance.instance)
        self._series.setdefault((instance.study, instance.series), set()).add(instance.instance)

    def of(self, study: str, series: str) -> set[str]:
        """Those that say of themselves that they are of a series."""
        return self._series.get((study, series), set())


class Receiver:
    """Reads responses into a folder and emits an item for each instance. Threads may share one."""

    def __init__(
        self,
        client: Client,
        destination: Destination,
        *,
        transfer_syntax: str,
        wado_uri: bool,
        verify: bool,
        emit: Callable[[Item], None],
        on_bytes: Callable[[int], None],
    ) -> None:
        self._client = client
        self._destination = destination
        self._transfer_syntax = transfer_syntax
        self._wado_uri = wado_uri
        self._verify = verify
        self._emit = emit
        self._on_bytes = on_bytes

    def take(self, ref: Ref, series: Container[str] | None = None, *, last: bool = False) -> Received:
        """Read the response for one reference. `last`: it is not asked for again, so that what can prove nothing stays.

        `series`: those that a study was announced to have; an instance of another one was not asked for.

        Raises AuthError, and FolderError where the folder cannot be written.
        """
        received = Received()
        draft: Draft | None = None
        try:
            for event in self._events(ref):
                match event:
                    case PartData(data):
                        assert draft is not None
                        draft.write(data)
                        self._on_bytes(len(data))
                    case PartStart():
                        draft = self._destination.open()
                    case PartEnd():
                        assert draft is not None
                        self._keep(draft, ref, series, received, event, last=last)
                        draft = None
                    case Truncated(reason):
                        received.error = received.error or TruncatedError(f"the response {reason}")
                        return received
                    case Opened(status, _, _, warning):
                        received.partial = status == 206
                        if received.partial:
                            self._client.warn(f"{refs.show(ref)}: the server sent only a part of it (206)")
                        if warning:
                            self._client.warn(f"{refs.show(ref)}: the server warns: {_said(warning)}")
        except (AuthError, FolderError):
            raise
        except DwError as error:
            received.error = error
        finally:
            if draft is not None:
                draft.discard()
        return received

    def _events(self, ref: Ref) -> Iterator[Event]:
        if self._wado_uri and isinstance(ref, InstanceRef):
            return self._client.wado_uri(ref, self._transfer_syntax)
        return self._client.retrieve(ref, self._transfer_syntax)

    def _keep(
        self, draft: Draft, ref: Ref, series: Container[str] | None, received: Received, part: PartEnd, *, last: bool
    ) -> None:
        """Give one part its name where it is whole, and say what became of it."""
        hint = (ref.study, ref.series, ref.instance)
        try:
            head = draft.finish()
            end = draft.end(proven=part.proven)
            if not part.proven:
                _believe(end, part, last=last)
            if self._transfer_syntax not in ("*", head.transfer_syntax):
                # Under its final name it would be taken for what was asked for, by the next run at the latest.
                draft.discard()
                came = InstanceRef(head.study or hint[0], head.series or hint[1], head.instance or hint[2])
                received.add(came)
                reason = f"received as {head.transfer_syntax} instead of {self._transfer_syntax}; not kept"
                self._emit(Item("failed", *came, reason=reason, code=ExitCode.FAILED))
                return
            kept = draft.keep(hint)
        except (part10.NotDicom, CollisionError) as error:
            draft.discard()
            if isinstance(error, part10.EndsEarly) and not part.proven:
                received.error = TruncatedError(f"the response is truncated: {error.message}")
            else:
                received.rejected.append(failed(error, *hint))
            return
        came = InstanceRef(kept.study, kept.series, kept.instance)
        again = came.instance in received.uids
        received.add(came)
        if kept.outcome == "same" and again:
            return  # the server sent it twice
        item = _became(kept, ref, refs.covers(ref, came) and (series is None or came.series in series))
        if end is End.TRUNCATED and item.code is ExitCode.OK:
            item = item.ended("warned", "; ".join(filter(None, ("truncated on the server", item.reason))))
        elif end is End.UNPROVEN and not part.proven and item.code is ExitCode.OK:
            code = ExitCode.PARTIAL if self._verify else ExitCode.OK
            item = item.ended("unverified", "cannot confirm that the file is complete", code)
        self._emit(item)


def _became(kept: Kept, ref: Ref, asked_for: bool) -> Item:
    """What the folder made of a part that was given its name."""
    item = Item("received", kept.study, kept.series, kept.instance, kept.path, kept.size)
    match kept.outcome:
        case "conflict":
            return item.ended(
                "conflict", "different content exists for this SOP Instance UID and was kept", ExitCode.FAILED
            )
        case _ if not asked_for:
            own = ref.study and kept.study != ref.study
            return item.ended("unexpected", f"its header says study {kept.study}" if own else "not requested")
        case "same":
            return item.ended("present")
        case "replaced":
            return item.ended("replaced")
        case _:
            return item


def _believe(end: End, part: PartEnd, *, last: bool) -> None:
    """Raise EndsEarly unless the content makes up for the proof that the transport did not give."""
    if end is End.TRUNCATED:
        raise part10.EndsEarly("the file ends inside a data element")
    enough = {End.WHOLE, End.PLAUSIBLE}
    if part.unclosed:
        enough = enough if last else {End.WHOLE}
    elif last:
        enough = {*enough, End.UNPROVEN}
    if end not in enough:
        raise part10.EndsEarly("cannot confirm that the file is complete")


def _said(warning: str) -> str:
    """The text of a Warning header, `299 agent "text"` (RFC 7234 5.5); all of it where it has another form."""
    found = re.fullmatch(r'\d{3} \S+ "(.*)"(?: ".*")?', warning.strip())
    return found[1] if found else warning
