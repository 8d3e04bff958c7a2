"""Instances that the server de-identifies before sending them (WADO-URI `anonymize=yes`, PS3.18 9.4.1.2.1).

A server that ignores the parameter sends the patient's name, so each response is checked before it is kept.
"""

from collections.abc import Callable, Iterable, Iterator

from dwcli.client import Client
from dwcli.dicomweb import part10, tags
from dwcli.dicomweb.content import End
from dwcli.dicomweb.multipart import PartData, PartEnd, PartStart, Truncated
from dwcli.dicomweb.refs import InstanceRef
from dwcli.errors import AuthError, DwError, TruncatedError
from dwcli.files.draft import Draft, FolderError
from dwcli.files.sink import Sink
from dwcli.jobs.result import Item, failed

_IDENTITY_REMOVED = tags.PatientIdentityRemoved
_ENOUGH = 1 << 20


def retrieve(
    client: Client,
    asked: Iterable[InstanceRef],
    sink: Sink,
    transfer_syntax: str,
    *,
    on_bytes: Callable[[int], None],
) -> Iterator[Item]:
    """One item for each instance, with the UIDs that the server gave it."""
    sink.prepare()
    for ref in asked:
        try:
            try:
                yield _one(client, ref, sink, transfer_syntax, on_bytes)
            except TruncatedError:
                yield _one(client, ref, sink, transfer_syntax, on_bytes)
        except (AuthError, FolderError):
            raise
        except DwError as error:
            yield failed(error, ref.study, ref.series, ref.instance)


def _one(client: Client, ref: InstanceRef, sink: Sink, transfer_syntax: str, on_bytes: Callable[[int], None]) -> Item:
    draft = sink.open()
    prefix = bytearray()
    ended = proven = False
    try:
        for event in client.wado_uri(ref, transfer_syntax, anonymize=True):
            match event:
                case PartData(data):
                    draft.write(data)
                    prefix += data[: _ENOUGH - len(prefix)]
                    on_bytes(len(data))
                case PartEnd(proven):
                    ended = True
                case Truncated(reason) if not ended:
                    raise TruncatedError(f"the response {reason}")
                case PartStart():
                    pass
                case _:
                    pass
        if not ended:
            raise TruncatedError("the response is empty")
        end = _end(draft, proven=proven)
        _look(bytes(prefix), ref, complete=draft.size <= len(prefix))
        kept = draft.keep()
    except BaseException:
        draft.discard()
        raise
    if kept.outcome == "conflict":
        raise DwError(f"{kept.path} already exists with different content")
    outcome = {"written": "received", "same": "present"}.get(kept.outcome, kept.outcome)
    item = Item(outcome, kept.study, kept.series, kept.instance, kept.path, kept.size)  # type: ignore[arg-type]
    if proven or end in (End.WHOLE, End.PLAUSIBLE):
        return item
    return item.ended("unverified", "cannot confirm that the file is complete")


def _end(draft: Draft, *, proven: bool) -> End:
    """Whether the file is whole. Raises TruncatedError, NotDicom."""
    try:
        draft.finish()
    except part10.EndsEarly as error:
        raise TruncatedError(f"the response is truncated: {error.message}") from error
    end = draft.end(proven=proven)
    if end is End.TRUNCATED and not proven:  # one instance, asked for by itself
        raise TruncatedError("the response is truncated: the file ends inside a data element")
    return end


def _look(prefix: bytes, ref: InstanceRef, *, complete: bool) -> None:
    """Raises DwError if nothing shows that the server de-identified it."""
    head = part10.read_head(prefix, final=complete, wanted=frozenset({_IDENTITY_REMOVED}))
    said = head.elements.get(_IDENTITY_REMOVED, b"").strip(b" \0") if head else b""
    if head is None or (said != b"YES" and head.instance == ref.instance):
        raise DwError(
            "the server did not de-identify the instance; it was not kept",
            "this server does not support anonymize=yes",
        )
