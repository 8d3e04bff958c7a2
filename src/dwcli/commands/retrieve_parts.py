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

_UNPROVEN = "unverified: nothing proves that it is complete"


def frames(dw: DwContext, words: list[str], output: Path | None, transfer_syntax: str, *, verify: bool) -> None:
    """Write each frame of `REF LIST` to its own file, named as soon as the frame is known to be complete."""
    if len(words) != 2:
        raise UsageError(
            "frames requires a reference and a list of frames",
            "dw retrieve frames STUDY/SERIES/INSTANCE 1,3-5 -o frames/",
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
    """Write one value (`REF TAG` or `URI`) to a file or stdout. Raises UsageError, TruncatedError, AbsentError."""
    if not 1 <= len(words) <= 2:
        raise UsageError(
            "bulkdata requires a reference and a tag",
            "dw retrieve bulkdata STUDY/SERIES/INSTANCE 7FE00010 -o pixels.bin",
        )
    if output is None and dw.out.terminal:
        raise UsageError("bulkdata is binary and cannot be shown on a terminal", "use -o FILE or a pipe")
    base = dw.profile.url
    expected = parts.unknown
    if refs.origin(words[-1]):
        url = rebase(words[-1], base, f"{base}/")
    elif len(words) == 2:
        ref, tag = references.one_instance(dw, words[0]), dictionary.parse_tag(words[1])
        url = dw.client.bulkdata_url(ref, tag)
        expected = parts.expected_value(dw.client, ref, tag)
    else:
        raise UsageError("no tag given", "add a tag such as 7FE00010 after the reference, or give only a BulkDataURI")
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
    """Write the value to its file, or several parts to numbered files."""
    WholeFile(output)  # raises early if it is not writable
    with _spool(output.parent) as spool, dw.out.progress("retrieving") as progress:
        found = parts.Receiver(dw.client, spool, on_bytes=progress.add).bulkdata(url, expected)
        names = [output]
        if len(found) > 1:
            names = [output.with_name(f"{output.stem}.{number}{output.suffix}") for number in range(1, len(found) + 1)]
        for part, path in zip(found, names, strict=True):
            _name(part, path)
    if len(found) > 1:
        dw.out.warn(f"received {len(found)} parts (usual for compressed pixel data): {names[0]} to {names[-1]}")
    for part, path in zip(found, names, strict=True):
        dw.out.info(f"{path}: {size(part.size)}")
    return End.UNPROVEN if any(part.end is End.UNPROVEN for part in found) else End.WHOLE


def _to_stdout(dw: DwContext, url: str) -> End:
    """Write the value to stdout as it arrives. Piped data cannot be recalled: the error says whether it is complete."""
    witness = content.Witness()
    end: End | None = None
    for event in dw.client.bulkdata(url):
        match event:
            case PartStart() if end is not None:
                raise ProtocolError("the value has several parts; only the first was written", "use -o FILE")
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
    """Provide a spool for parts on the same file system until they get their names. Raises UsageError, DwError."""
    try:
        spool = Spool(folder)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{folder} is a file, not a folder", "-o DIR") from error
    except OSError as error:
        raise DwError(f"cannot write in {folder}: {error.strerror or error}", "use another folder: -o DIR") from error
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
