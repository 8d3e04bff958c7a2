"""`dw retrieve frames` and `dw retrieve bulkdata`: parts of one instance to files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dwcli.commands import references
from dwcli.context.run import DwContext
from dwcli.dicomweb import content, dictionary, refs
from dwcli.dicomweb.content import End
from dwcli.dicomweb.multipart import PartData, PartEnd, PartStart, Truncated
from dwcli.dicomweb.refs import FrameRef
from dwcli.dicomweb.request import rebase
from dwcli.errors import DwError, ExitCode, ProtocolError, TruncatedError, UsageError, combine
from dwcli.files.atomic import WholeFile
from dwcli.files.spool import Spool
from dwcli.jobs import parts
from dwcli.output import size

_UNPROVEN = "nothing proves that it is whole (unverified)"


def frames(dw: DwContext, words: list[str], output: Path | None, transfer_syntax: str, *, verify: bool) -> None:
    """`REF LIST`: each frame into a file of its own, under its name as soon as it is known to be whole."""
    if len(words) != 2:
        raise UsageError(
            "frames takes a reference and a list", "dw retrieve frames STUDY/SERIES/INSTANCE 1,3-5 -o frames/"
        )
    ref = FrameRef(references.one_instance(dw, words[0]), refs.parse_frames(words[1]))
    folder = output or Path()
    stem = refs.word(ref.instance.instance)
    codes: list[ExitCode] = []
    written = 0
    with _spool(folder) as spool, dw.out.progress("retrieving", total_items=len(ref.frames)) as progress:
        for found in parts.Receiver(dw.client, spool, on_bytes=progress.add).frames(ref, transfer_syntax):
            if isinstance(found, parts.Incomplete):
                dw.out.error(DwError(f"frame {found.number}: {found.error.message}", found.error.hint))
                codes.append(found.error.exit_code)
                continue
            number, part = found
            path = folder / f"{stem}.frame{number:04d}.{part.ending or 'raw'}"
            _name(part, path)
            if part.end is End.UNPROVEN:
                dw.out.warn(f"{path}: {_UNPROVEN}")
                codes += [ExitCode.PARTIAL] if verify else []
            progress.item()
            written += 1
            dw.out.line(str(path))
    if written:
        dw.out.info(f"{written} frame{'s' * (written > 1)} in {folder}")
    dw.finish(combine(codes, succeeded=written > 0))


def bulkdata(dw: DwContext, words: list[str], output: Path | None, *, verify: bool) -> None:
    """`REF TAG` or `URI`: one value into a file, or to stdout. Raises UsageError, TruncatedError, AbsentError."""
    if not 1 <= len(words) <= 2:
        raise UsageError(
            "bulkdata takes a reference and a tag",
            "dw retrieve bulkdata STUDY/SERIES/INSTANCE 7FE00010 -o pixels.bin",
        )
    if output is None and dw.out.terminal:
        raise UsageError("bulkdata is binary and would spoil the terminal", "-o FILE, or a pipe")
    base = dw.profile.url
    expected = parts.unknown
    if refs.origin(words[-1]):
        url = rebase(words[-1], base, f"{base}/")
    elif len(words) == 2:
        ref, tag = references.one_instance(dw, words[0]), dictionary.parse_tag(words[1])
        url = dw.client.bulkdata_url(ref, tag)
        expected = parts.expected_value(dw.client, ref, tag)
    else:
        raise UsageError("which value?", "a tag such as 7FE00010 after the reference, or a BulkDataURI alone")
    if output is None:
        end = _to_stdout(dw, url)
        where = "stdout"
    else:
        end = _to_file(dw, url, output, expected)
        where = str(output)
    if end is End.UNPROVEN:
        dw.out.warn(f"{where}: {_UNPROVEN}")
        dw.finish(ExitCode.PARTIAL if verify else ExitCode.OK)


def _to_file(dw: DwContext, url: str, output: Path, expected: parts.Size) -> End:
    """The value under its name, or, in several parts, under numbered names."""
    WholeFile(output)  # says so where it cannot be one
    with _spool(output.parent) as spool, dw.out.progress("retrieving") as progress:
        found = parts.Receiver(dw.client, spool, on_bytes=progress.add).bulkdata(url, expected)
        names = [output]
        if len(found) > 1:
            names = [output.with_name(f"{output.stem}.{number}{output.suffix}") for number in range(1, len(found) + 1)]
        for part, path in zip(found, names, strict=True):
            _name(part, path)
    if len(found) > 1:
        dw.out.warn(f"the value came in {len(found)} parts, as compressed pixels do: {names[0]} to {names[-1]}")
    for part, path in zip(found, names, strict=True):
        dw.out.info(f"{path}: {size(part.size)}")
    return End.UNPROVEN if any(part.end is End.UNPROVEN for part in found) else End.WHOLE


def _to_stdout(dw: DwContext, url: str) -> End:
    """The value into the pipe as it comes. What a pipe took cannot be taken back: the error says what it is worth."""
    witness = content.Witness()
    end: End | None = None
    for event in dw.client.bulkdata(url):
        match event:
            case PartStart() if end is not None:
                raise ProtocolError("the value comes in several parts, of which only the first was written", "-o FILE")
            case PartData(data):
                witness.feed(bytes(data))
                dw.out.write(bytes(data))
            case PartEnd(proven):
                end = End.WHOLE if proven else witness.end()
            case Truncated(reason) if end is not End.WHOLE:
                raise TruncatedError(f"the response {reason}")
            case _:
                pass
    if end is None or end is End.TRUNCATED:
        raise TruncatedError("the response is empty" if end is None else "the response is truncated")
    return end


@contextmanager
def _spool(folder: Path) -> Iterator[Spool]:
    """Where parts lie until they have their names: in the same file system. Raises UsageError, DwError."""
    try:
        spool = Spool(folder)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{folder} is a file, not a folder", "-o DIR") from error
    except OSError as error:
        raise DwError(f"cannot write in {folder}: {error.strerror or error}", "-o DIR for another folder") from error
    try:
        yield spool
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DwError(f"cannot write in {folder}: {error.strerror or error}") from error
    finally:
        spool.close()


def _name(part: parts.Part, path: Path) -> None:
    try:
        part.path.replace(path)
    except OSError as error:
        raise DwError(f"cannot write {path}: {error.strerror or error}") from error
