"""Rendered images: from the server if it can, else made here from the instance."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dwcli.client import Client, Event
from dwcli.dicomweb import content, refs, tags
from dwcli.dicomweb.content import End, Kind
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.dicomweb.multipart import PartData, PartEnd
from dwcli.dicomweb.query import Query
from dwcli.dicomweb.refs import FrameRef, InstanceRef, Level, Ref
from dwcli.dicomweb.request import Rendering
from dwcli.errors import AbsentError, DwError, RefusedError, TruncatedError

THUMBNAIL = (128, 128)
_INSTANCE_NUMBER = tags.InstanceNumber
_KINDS = {"image/png": Kind.PNG, "image/jpeg": Kind.JPEG}
_HEAD = content.HEAD
_CANNOT = frozenset({400, 404, 406, 415, 500, 501})


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded image, and its source: the server, or `dw` from the instance."""

    data: bytes
    by_server: bool
    why: str = ""


def picture(
    client: Client,
    ref: Ref,
    frame: int | None,
    wanted: Rendering,
    *,
    local: bool,
    on_bytes: Callable[[int], None],
) -> Picture:
    """Render one frame (the first, or the server's choice, if None is given).

    Where the server responds 400, 404, 406, 415, 500 or 501 the instance is fetched and rendered here. Raises DwError.
    """
    why = "requested with --local"
    if not local:
        asked: Ref | FrameRef = ref
        if frame is not None and isinstance(ref, InstanceRef):
            asked = FrameRef(ref, (frame,))
        try:
            return _by_server(client, asked, wanted, on_bytes)
        except RefusedError as error:
            if error.status not in _CANNOT:
                raise
            why = error.message
        except _OtherKindError as error:
            why = error.message
        except AbsentError as error:
            if not isinstance(ref, InstanceRef):
                raise AbsentError(
                    f"no rendered image of this {ref.level}: {error.message}",
                    "it does not exist, or the server renders instances only: STUDY/SERIES/INSTANCE",
                ) from error
            why = error.message
    if not isinstance(ref, InstanceRef):
        raise DwError(f"the server does not render a {ref.level}: {why}", "render an instance: STUDY/SERIES/INSTANCE")
    instance = _whole(partial(client.retrieve, ref), on_bytes)
    return Picture(_local(instance, frame, wanted), by_server=False, why=why)


def thumbnail(client: Client, ref: Ref, wanted: Rendering, *, local: bool, on_bytes: Callable[[int], None]) -> Picture:
    """A thumbnail of a study, series or instance: the server's own, or a rendered instance of it.

    Where the server has no thumbnails, the instance in the middle of the first series stands for the whole.
    """
    if not local:
        try:
            return _by_server(client, ref, wanted, on_bytes)
        except RefusedError as error:
            if error.status not in _CANNOT:
                raise
        except (AbsentError, _OtherKindError):
            pass
    small = wanted._replace(thumbnail=False, viewport=wanted.viewport or THUMBNAIL)
    return picture(client, _middle(client, client.resolve(ref)), None, small, local=local, on_bytes=on_bytes)


def _order(row: Row) -> tuple[bool, float, str]:
    """Instances by number; those without one last."""
    said = text(row, _INSTANCE_NUMBER)
    return not said.isdecimal(), float(said) if said.isdecimal() else 0.0, text(row, refs.INSTANCE_UID)


def _middle(client: Client, ref: Ref) -> InstanceRef:
    """The instance that stands for what is above it."""
    if isinstance(ref, InstanceRef):
        return ref
    series = ref.series or next((text(row, refs.SERIES_UID) for row in client.series_of(ref.study)), "")
    rows = client.search(Query(Level.INSTANCE, ref.study, series)) if series else iter(())
    found = sorted(rows, key=_order)
    if not found:
        raise AbsentError(f"no instance in {refs.show(ref)}", "dw search instances --study UID")
    return InstanceRef(ref.study, series, text(found[len(found) // 2], refs.INSTANCE_UID))


def from_file(path: Path, frame: int | None, wanted: Rendering) -> Picture:
    """Render a DICOM file on this disk. Raises DwError."""
    return Picture(_local(path, frame, wanted), by_server=False, why="from a file")


def _local(source: Path | bytes, frame: int | None, wanted: Rendering) -> bytes:
    from dwcli.imaging import render

    options = render.Options(
        frame=frame or 1,
        window=wanted.window,
        viewport=wanted.viewport,
        quality=wanted.quality or 90,
        media_type=wanted.media_type,
    )
    return render.render(source, options)


class _OtherKindError(DwError):
    """The server did not send an image of the requested type."""


def _by_server(client: Client, ref: Ref | FrameRef, wanted: Rendering, on_bytes: Callable[[int], None]) -> Picture:
    """The server's own image. Raises _OtherKindError if it is not an image of the requested type."""
    data = _whole(partial(client.rendered, ref, wanted), on_bytes)
    kind = content.kind_of(data[:_HEAD])
    if kind is not _KINDS[wanted.media_type]:
        raise _OtherKindError(f"the server sent {kind.value} instead of {_KINDS[wanted.media_type].value}")
    return Picture(data, by_server=True)


def _whole(ask: Callable[[], Iterator[Event]], on_bytes: Callable[[int], None]) -> bytes:
    """The first part of a response, asked for once more where it is truncated. Raises TruncatedError."""
    try:
        return _one(ask(), on_bytes)
    except TruncatedError:
        return _one(ask(), on_bytes)


def _one(events: Iterator[Event], on_bytes: Callable[[int], None]) -> bytes:
    """The first part of a response, whole."""
    data = bytearray()
    proof: bool | None = None
    for event in events:
        match event:
            case PartData(chunk) if proof is None:
                data += chunk
                on_bytes(len(chunk))
            case PartEnd(proven) if proof is None:
                proof = proven
            case _:
                pass
    if not data:
        raise AbsentError("the response is empty")
    if proof is None or (not proof and content.end_of_bytes(bytes(data)) is End.TRUNCATED):
        raise TruncatedError("the response is truncated")
    return bytes(data)
