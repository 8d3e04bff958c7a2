"""One frame of a DICOM instance as a PNG or JPEG, made here: what a server's `/rendered` would return (PS3.18
8.3.5).
"""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dwcli.errors import DwError, UsageError
from dwcli.imaging import frame, grey

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from pydicom.dataset import Dataset

MediaType = Literal["image/png", "image/jpeg"]

_MAX_SIDE = 65_500  # of a JPEG
_MAX_PIXELS = 1 << 28
_MAX_STRETCH = 100.0


@dataclass(frozen=True, slots=True)
class Options:
    """What to render and how.

    `frame` counts from 1. `window` is (centre, width, function) in the units of the modality (Hounsfield
    units for CT), function one of linear, linear-exact, sigmoid; None takes the instance's own. `viewport` is
    (width, height) in pixels; the image is scaled up or down to fit inside, its aspect kept (PS3.18
    8.3.5.1.3); None keeps the image's size. `quality` (1 to 100) is that of a JPEG.
    """

    frame: int = 1
    window: tuple[float, float, str] | None = None
    viewport: tuple[int, int] | None = None
    quality: int = 90
    media_type: MediaType = "image/png"


def render(source: Path | bytes, options: Options) -> bytes:
    """Frame `options.frame` of the instance at `source` (a path or its Part 10 bytes) as a PNG or JPEG file's
    bytes.

    8 bits a sample, grey or RGB; pixels that are not square are made square. `UsageError` for options that
    cannot be met (frame, window, viewport, quality), `DwError` for an instance without pixels, with pixels
    that cannot be decoded here, or with ones whose meaning is not known: never an image that is silently
    wrong. A `DwError` about a path names the file.
    """
    _check(options)
    try:
        return _rendered(source, options)
    except UsageError:
        raise
    except DwError as error:
        if isinstance(source, bytes) or source.name in error.message:
            raise
        raise DwError(f"{source.name}: {error.message}", error.hint) from error


def _rendered(source: Path | bytes, options: Options) -> bytes:
    with frame.opened(source) as stream:
        header = frame.read_header(stream)
        picture = _picture(header, frame.decode(stream, header, options.frame), options)
    picture = _scaled(picture, _size(picture.size, _stretch(header, options.frame), options.viewport))
    return _encoded(picture, options)


def frame_count(source: Path | bytes) -> int:
    """How many frames the instance has, read from its header; `DwError` when it has no pixels at all."""
    with frame.opened(source) as stream:
        return frame.count(frame.read_header(stream))


def _check(options: Options) -> None:
    if not 1 <= options.quality <= 100:
        raise UsageError(f"quality must be 1 to 100, not {options.quality}")
    if options.media_type not in ("image/png", "image/jpeg"):
        raise UsageError(f"cannot render {options.media_type} here", hint="image/png or image/jpeg")
    if options.viewport is not None and min(options.viewport) < 1:
        raise UsageError("a viewport must be at least one pixel wide and high", hint="--viewport 512,512")


def _picture(header: "Dataset", samples: "NDArray[np.generic]", options: Options) -> "Image":
    from PIL import Image

    photometric = header.PhotometricInterpretation
    if photometric in frame.GREY:
        return Image.fromarray(grey.levels(samples, header, options.frame, options.window))
    if options.window is not None:
        raise UsageError(f"a window applies to grey images, not to {photometric}", hint="omit --window")
    if photometric == "PALETTE COLOR":
        return Image.fromarray(grey.coloured(samples, header))
    return Image.fromarray(grey.eight_bit(samples, header))


def _stretch(header: "Dataset", number: int) -> float:
    """Height of a pixel by its width, 1 where nothing sensible is said (PS3.3 C.7.6.3.1.7, 10.7.1.3)."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"):
        pair = frame.numbers(frame.attribute(header, number, keyword, "PixelMeasuresSequence"))
        if len(pair) == 2 and min(pair) > 0 and 1 / _MAX_STRETCH <= pair[0] / pair[1] <= _MAX_STRETCH:
            return pair[0] / pair[1]
    return 1.0


def _size(size: tuple[int, int], stretch: float, viewport: tuple[int, int] | None) -> tuple[int, int]:
    """Width and height to show: pixels made square by enlarging, then fitted into the viewport."""
    width, height = float(size[0]), float(size[1])
    if stretch > 1:
        height *= stretch
    else:
        width /= stretch
    if viewport is not None:
        scale = min(viewport[0] / width, viewport[1] / height)
        width, height = width * scale, height * scale
    target = max(1, round(width)), max(1, round(height))
    if max(target) > _MAX_SIDE or target[0] * target[1] > _MAX_PIXELS:
        raise UsageError(
            f"a rendered image of {target[0]} x {target[1]} pixels is too large", hint="--viewport 2048,2048"
        )
    return target


def _scaled(picture: "Image", size: tuple[int, int]) -> "Image":
    from PIL.Image import Resampling

    return picture if picture.size == size else picture.resize(size, Resampling.LANCZOS)


def _encoded(picture: "Image", options: Options) -> bytes:
    out = BytesIO()
    try:
        if options.media_type == "image/png":
            picture.save(out, "PNG")
        else:
            # colour at half resolution blurs the thin lines and letters of an ultrasound
            picture.save(out, "JPEG", quality=options.quality, subsampling=0 if options.quality >= 90 else 2)
    except (OSError, ValueError) as error:
        raise DwError(f"cannot encode the rendered image as {options.media_type}: {error}") from error
    return out.getvalue()
