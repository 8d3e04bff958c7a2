"""Frames, bulk data and rendered images (PS3.18 10.4.1.1.3 to 10.4.1.1.5)."""

import math
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal, cast

from dwcli.archive import jsonmodel
from dwcli.archive.accept import EXPLICIT, Wanted, stored_type, wanted, wants_picture
from dwcli.archive.folder import Folder, Held
from dwcli.archive.reply import Part, Refusal, Reply, parts, whole
from dwcli.archive.searching import pairs
from dwcli.dicomweb import tags
from dwcli.dicomweb.media import OCTETS
from dwcli.dicomweb.refs import InstanceRef, Ref
from dwcli.errors import DwError, UsageError
from dwcli.imaging import native, reading, render
from dwcli.imaging.native import PixelData

_PICTURES = ("image/jpeg", "image/png")
_PATH = re.compile(r"[0-9A-Fa-f]{8}(/[1-9]\d*/[0-9A-Fa-f]{8})*")


def frame_numbers(text: str) -> tuple[int, ...]:
    """`1,3,5` as numbers. Raises Refusal 400."""
    if not re.fullmatch(r"[1-9]\d{0,8}(,[1-9]\d{0,8})*", text):
        raise Refusal(400, f"not a list of frames, counted from 1: {text}")
    return tuple(map(int, text.split(",")))


def frames(folder: Folder, ref: InstanceRef, numbers: tuple[int, ...], accept: str) -> Reply:
    """Frames one part each: uncompressed little endian, or as stored. Raises Refusal 404, 406."""
    held, found = _pixels(folder, ref)
    if max(numbers) > found.frames:
        raise Refusal(404, f"the instance has {found.frames} frames")
    return _as_wanted(accept, _forms(held, found), numbers)


def bulk(folder: Folder, ref: InstanceRef, path: str, accept: str) -> Reply:
    """One value by the path that the metadata's BulkDataURI has. Raises Refusal 404, 406."""
    if not _PATH.fullmatch(path):
        raise Refusal(404, f"no bulk data at {path}")
    path = path.upper()
    if path not in (tags.FloatPixelData, tags.DoubleFloatPixelData, tags.PixelData):
        (held,) = folder.held(ref)
        return _octets(accept, [_value(held, path)])
    held, found = _pixels(folder, ref)
    if found.tag != path:
        raise Refusal(404, f"this instance has no {path}")
    if not found.encapsulated and found.offset >= 0 and found.little:
        return _octets(accept, native.slices(held.path, found.offset, found.length), found.length)
    return _as_wanted(accept, _forms(held, found), tuple(range(1, found.frames + 1)), joined=True)


def _pixels(folder: Folder, ref: InstanceRef) -> tuple[Held, PixelData]:
    (held,) = folder.held(ref)
    if not held.path.is_file():
        raise Refusal(404, "the file is missing from the archive")
    try:
        found = native.describe(held.path)
    except DwError as error:
        raise Refusal(406, error.message) from error
    if found is None:
        raise Refusal(404, "the instance has no pixel data")
    return held, found


@dataclass(frozen=True, slots=True)
class _Form:
    """One way to give a frame: its media type, its transfer syntax, and its bytes by the frame's number."""

    kind: str
    syntax: str
    stored: bool
    read: Callable[[int], bytes]

    @property
    def content_type(self) -> str:
        return f"{self.kind}; transfer-syntax={self.syntax}"

    def fits(self, way: Wanted) -> bool:
        syntax = way.transfer_syntax
        if way.kind == OCTETS and self.stored:
            return syntax in ("*", self.syntax)
        if way.kind not in ("*", self.kind):
            return False
        return syntax in ("", "*", self.syntax)


def _forms(held: Held, found: PixelData) -> list[_Form]:
    plain = _Form(OCTETS, EXPLICIT, not found.encapsulated, lambda n: native.native_frame(held.path, found, n))
    if not found.encapsulated:
        return [replace(plain, stored=False)]
    kind = stored_type(found.syntax)
    return [_Form(kind, found.syntax, True, lambda n: native.stored_frame(held.path, found, n)), plain]


def _as_wanted(accept: str, forms: list[_Form], numbers: tuple[int, ...], *, joined: bool = False) -> Reply:
    """The frames in the first form that the client takes and that can be had; `joined`: plain ones as one value."""
    why = f"this archive sends {' or '.join(form.content_type for form in forms)}, as multipart"
    for way in wanted(accept):
        for form in forms:
            one = len(numbers) == 1 or (joined and not form.stored)
            if not form.fits(way) or not (way.multipart or one):
                continue
            try:
                # Read the first before the response begins, so that a failure gets the right status.
                first = form.read(numbers[0])
            except UsageError as error:
                raise Refusal(404, error.message) from error
            except DwError as error:
                why = error.message
                continue
            if one:
                size = len(first) if len(numbers) == 1 else None
                body = _after(first, form, numbers)
                if way.multipart:
                    return parts(form.kind, [Part(form.content_type, body, size)])
                return Reply(200, form.content_type, body, size)
            found = (Part(form.content_type, [data]) for data in _after(first, form, numbers))
            return parts(form.kind, found)
    raise Refusal(406, why)


def _after(first: bytes, form: _Form, numbers: tuple[int, ...]) -> Iterator[bytes]:
    yield first
    for number in numbers[1:]:
        yield form.read(number)


def _value(held: Held, path: str) -> bytes:
    """A binary value that is no pixel data, little endian. Raises Refusal 404."""
    steps = path.split("/")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with held.path.open("rb") as stream:
                found: Any = reading.read(stream)
            little = found.original_encoding[1] is not False
            for tag, number in zip(steps[:-1:2], steps[1::2], strict=True):
                found = found[int(tag, 16)].value[int(number) - 1]
            element = found[int(steps[-1], 16)]
        except (LookupError, TypeError):
            raise Refusal(404, f"this instance has no {path}") from None
        except FileNotFoundError:
            raise Refusal(404, "the file is missing from the archive") from None
        except Exception as error:  # whatever pydicom meets in bytes that break the rules
            raise Refusal(406, f"{path} cannot be read: {error}") from error
    if not isinstance(element.value, bytes):
        raise Refusal(404, f"{path} is inline in the metadata, not bulk data")
    value: bytes = element.value
    return value if little else jsonmodel.swapped(value, str(element.VR))


def _octets(accept: str, body: Iterable[bytes], length: int | None = None) -> Reply:
    if length is None:
        body = list(body)
        length = sum(map(len, body))
    for way in wanted(accept):
        if way.kind in (OCTETS, "*", "application/*") and way.transfer_syntax in ("", "*", EXPLICIT):
            if way.multipart:
                return parts(OCTETS, [Part(OCTETS, body, length)])
            return Reply(200, OCTETS, body, length)
    raise Refusal(406, f'bulk data comes as {OCTETS}, alone or as multipart/related; type="{OCTETS}"')


def rendered(folder: Folder, ref: Ref, numbers: tuple[int, ...], accept: str, query: str) -> Reply:
    """Rendered images (PS3.18 8.3.5): one, or as multipart one for each requested frame or instance with pixels.

    Raises Refusal 400, 404, 406.
    """
    kind, multiple = wants_picture(accept, _PICTURES)
    held = folder.held(ref)
    options = _options(query, kind)
    pictures: list[tuple[Held, int]] = []
    for one in held:
        every = numbers or tuple(range(1, _count(one, alone=len(held) == 1) + 1))
        pictures += [(one, number) for number in every]
    if not pictures:
        raise Refusal(406, "no instance here has pixels to render")
    if not multiple and len(pictures) > 1:
        what = (
            "frames: request one, as …/frames/1/rendered,"
            if len(held) == 1
            else "rendered images: request an instance,"
        )
        raise Refusal(406, f'{len(pictures)} {what} or for multipart/related; type="{kind}"')
    first = _picture(*pictures[0], options)
    if not multiple:
        return whole(200, kind, first)
    rest = (_picture(one, number, options) for one, number in pictures[1:])
    return parts(kind, (Part(kind, [data]) for data in chain([first], rest)))


def _count(one: Held, *, alone: bool) -> int:
    try:
        return render.frame_count(one.path)
    except DwError as error:
        if alone:
            raise Refusal(406, error.message) from error
        return 0


def _picture(one: Held, number: int, options: render.Options) -> bytes:
    try:
        return render.render(one.path, replace(options, frame=number))
    except UsageError as error:
        raise Refusal(404 if error.message.startswith("frame ") else 400, error.message) from error
    except DwError as error:
        raise Refusal(406, error.message) from error


def _options(query: str, kind: str) -> render.Options:
    """The rendering that a query string asks for. Raises Refusal 400, and 501 for what is not supported here."""
    media_type = cast("Literal['image/jpeg', 'image/png']", kind)
    options = render.Options(media_type=media_type)
    for name, value in pairs(query):
        match name:
            case "window":
                options = replace(options, window=_window(value))
            case "viewport":
                if not re.fullmatch(r"[1-9]\d{0,4},[1-9]\d{0,4}", value):
                    if re.fullmatch(r"\d+,\d+(,-?[\d.]*){4}", value):
                        raise Refusal(501, "this archive does not render regions; use viewport=width,height")
                    raise Refusal(400, f"viewport={value} is not width,height")
                width, height = map(int, value.split(","))
                options = replace(options, viewport=(width, height))
            case "quality":
                if not re.fullmatch(r"[1-9]\d?|100", value):
                    raise Refusal(400, f"quality={value} is not 1 to 100")
                options = replace(options, quality=int(value))
            case "annotation" if value:
                raise Refusal(501, "this archive does not burn annotations into images")
            case "iccprofile" if value not in ("", "no"):
                raise Refusal(501, "this archive does not add colour profiles")
            case _:
                pass
    return options


def _window(value: str) -> tuple[float, float, str]:
    try:
        center, width, function = value.split(",")
        found = float(center), float(width), function
        if not (math.isfinite(found[0]) and math.isfinite(found[1])):
            raise ValueError
    except ValueError:
        raise Refusal(400, f"window={value} is not center,width,function") from None
    if function not in ("linear", "linear-exact", "sigmoid"):
        raise Refusal(400, f"window function {function} is not linear, linear-exact or sigmoid")
    return found
