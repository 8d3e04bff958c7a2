"""`dw render`: images, rendered on the server or locally."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from dwcli.commands import references
from dwcli.context.run import DwContext
from dwcli.dicomweb import refs
from dwcli.dicomweb.refs import InstanceRef
from dwcli.errors import UsageError, did_you_mean
from dwcli.files.atomic import WholeFile
from dwcli.options import takes

if TYPE_CHECKING:
    from dwcli.dicomweb.request import Rendering
    from dwcli.jobs.render import Picture

_TYPES: dict[str, Literal["image/png", "image/jpeg"]] = {"png": "image/png", "jpeg": "image/jpeg", "jpg": "image/jpeg"}
_FUNCTIONS = ("linear", "linear-exact", "sigmoid")
_ANNOTATIONS = ("patient", "technique")


class RenderOptions(NamedTuple):
    """The image to render, and where to write it."""

    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The image file; its extension sets the type."),
    ] = None
    frame: Annotated[
        str | None,
        typer.Option("--frame", metavar="1,5-9", help="Frames; several write NAME.0001.png, …"),
    ] = None
    window: Annotated[
        str | None,
        typer.Option("--window", metavar="C,W[,FUNCTION]", help="Center, width; linear, linear-exact, sigmoid."),
    ] = None
    viewport: Annotated[
        str | None,
        typer.Option("--viewport", metavar="W,H", help="Fit into this size in pixels; keeps the aspect ratio."),
    ] = None
    quality: Annotated[int | None, typer.Option("--quality", metavar="1-100", min=1, max=100, help="JPEG quality.")] = (
        None
    )
    kind: Annotated[
        str | None, typer.Option("--type", metavar="png|jpeg", help="Default: from the extension, else png.")
    ] = None
    annotation: Annotated[
        str | None,
        typer.Option("--annotation", metavar="patient,technique", help="Let the server burn in annotations."),
    ] = None
    thumbnail: Annotated[bool, typer.Option("--thumbnail", help="Get a thumbnail of a study, series or instance.")] = (
        False
    )
    local: Annotated[bool, typer.Option("--local", help="Render locally, from the instance itself.")] = False


@takes(RenderOptions)
def render(
    ctx: typer.Context,
    how: RenderOptions,
    words: Annotated[
        list[str],
        typer.Argument(metavar="[study|series|instance] REF | FILE", help="A reference, or a local DICOM file."),
    ],
) -> None:
    """Render an image, on the server or locally.

    If the server cannot render, dw retrieves the instance and renders it locally; stderr says which was used.

    Examples:

    \b
      dw render STUDY/SERIES/INSTANCE -o slice.png --window 40,400 --viewport 512,512
      dw render STUDY/SERIES/INSTANCE -o cine.jpg --frame 1-10 --quality 90
      dw render STUDY --thumbnail -o study.jpg
      dw render scan.dcm -o scan.png
    """
    dw: DwContext = ctx.obj
    wanted = _wanted(how)
    if how.output is None and dw.out.terminal:
        raise UsageError("an image is binary and cannot be shown on a terminal", "use -o FILE or a pipe")
    frames: tuple[int | None, ...] = refs.parse_frames(how.frame) if how.frame else (None,)
    if len(frames) > 1 and how.output is None:
        raise UsageError("several frames require -o", "-o NAME.png writes NAME.0001.png, …")
    made = _of_file(file, wanted) if (file := _file(words)) else _of_server(dw, words, how, wanted)
    for number in frames:
        picture = made(number)
        if wanted.annotation and not picture.by_server:
            dw.out.warn("only servers burn in annotations; this image has none")
        where = "stdout"
        if how.output is None:
            dw.out.write(picture.data)
        else:
            path = how.output
            if len(frames) > 1:
                path = path.with_name(f"{path.stem}.{number:04d}{path.suffix}")
            with WholeFile(path) as target:
                target.write(picture.data)
            where = str(path)
        by = "by the server" if picture.by_server else f"locally ({picture.why})"
        dw.out.info(f"{where}: rendered {by}")


def _wanted(how: RenderOptions) -> "Rendering":
    """Return the rendering that the options request. Raises UsageError."""
    from dwcli.dicomweb.request import Rendering

    wanted = Rendering(
        media_type=_media_type(how.kind, how.output),
        window=_window(how.window) if how.window else None,
        viewport=_viewport(how.viewport) if how.viewport else None,
        quality=how.quality,
        annotation=_annotation(how.annotation) if how.annotation else (),
        thumbnail=how.thumbnail,
    )
    if how.thumbnail and (how.frame or how.window or how.annotation or how.quality is not None):
        raise UsageError("--thumbnail accepts no other rendering options than --viewport", "leave the others out")
    return wanted


def _of_file(file: Path, wanted: "Rendering") -> "Callable[[int | None], Picture]":
    """Return a function that renders a frame of a local file."""
    from dwcli.jobs import render as job

    if wanted.thumbnail:
        wanted = wanted._replace(thumbnail=False, viewport=wanted.viewport or job.THUMBNAIL)
    return lambda number: job.from_file(file, number, wanted)


def _of_server(
    dw: DwContext, words: list[str], how: RenderOptions, wanted: "Rendering"
) -> "Callable[[int | None], Picture]":
    """Return a function that gets a frame of a reference rendered. Raises UsageError."""
    from dwcli.jobs import render as job

    ref = references.one(dw, words)
    if how.frame and not isinstance(ref, InstanceRef):
        raise UsageError(f"--frame requires an instance, not a {ref.level}", "write STUDY/SERIES/INSTANCE")

    def picture(number: int | None) -> "Picture":
        with dw.out.progress("rendering") as progress:
            if how.thumbnail:
                return job.thumbnail(dw.client, ref, wanted, local=how.local, on_bytes=progress.add)
            return job.picture(dw.client, ref, number, wanted, local=how.local, on_bytes=progress.add)

    return picture


def _file(words: list[str]) -> Path | None:
    """Return the local file that the word names, if any: a reference never ends in .dcm or names an existing file."""
    if len(words) != 1:
        return None
    if words[0] == "-" and not sys.stdin.isatty():
        return None
    path = Path(words[0])
    if path.suffix.lower() in (".dcm", ".dicom", ".ima") and not path.exists():
        raise UsageError(f"file not found: {path}", "give a file or a reference: STUDY/SERIES/INSTANCE")
    return path if path.is_file() else None


def _media_type(kind: str | None, output: Path | None) -> Literal["image/png", "image/jpeg"]:
    name = kind or (output.suffix.lstrip(".").lower() if output else "") or "png"
    if name not in _TYPES:
        raise UsageError(
            f"unknown image type {name!r}", f"{did_you_mean(name, _TYPES)} (--type or the file's extension)"
        )
    return _TYPES[name]


def _window(typed: str) -> tuple[float, float, str]:
    numbers = typed.split(",")
    try:
        center, width = float(numbers[0]), float(numbers[1])
        function = numbers[2] if len(numbers) > 2 else "linear"
    except (ValueError, IndexError):
        raise UsageError(f"not a window: {typed}", "write --window 40,400 or 40,400,sigmoid") from None
    if function not in _FUNCTIONS or len(numbers) > 3:
        raise UsageError(f"not a VOI function: {function}", did_you_mean(function, _FUNCTIONS))
    if not (math.isfinite(center) and math.isfinite(width)):
        raise UsageError(f"not a window: {typed}", "write --window 40,400 or 40,400,sigmoid")
    if width < 1:
        raise UsageError(f"the window width must be at least 1, not {width:g}")
    return center, width, function


def _viewport(typed: str) -> tuple[int, int]:
    width, _, height = typed.replace("x", ",").partition(",")
    if not width.isdecimal() or not height.isdecimal() or not 0 < int(width) <= 16384 or not 0 < int(height) <= 16384:
        raise UsageError(f"not a viewport: {typed}", "write --viewport 512,512")
    return int(width), int(height)


def _annotation(typed: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in typed.split(","))
    for word in words:
        if word not in _ANNOTATIONS:
            raise UsageError(f"unknown annotation {word!r}", did_you_mean(word, _ANNOTATIONS))
    return words
