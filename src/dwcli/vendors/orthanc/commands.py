"""`dw orthanc`: make Orthanc access other DICOMweb servers; no image data passes through dw."""

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote

import typer

from dwcli.commands import references
from dwcli.commands.search import COLUMNS
from dwcli.context.global_options import parse_headers
from dwcli.context.run import DwContext
from dwcli.dicomweb import refs
from dwcli.dicomweb.dicomjson import Row, RowReader
from dwcli.dicomweb.query import parse_path
from dwcli.dicomweb.refs import Level, Ref
from dwcli.errors import AbsentError, DwError, ExitCode, TemporaryError, UsageError, combine
from dwcli.files.atomic import WholeFile
from dwcli.help import App
from dwcli.options import takes
from dwcli.vendors.orthanc.servers import RemoteHeader, peers_of, servers

if TYPE_CHECKING:
    from dwcli.vendors.orthanc.peers import Job, Peers

app = App(help="Make Orthanc retrieve from and send to other DICOMweb servers.")
app.command("servers")(servers)

_Server = Annotated[str, typer.Argument(metavar="NAME", help="A remote server configured in Orthanc.")]
_Words = Annotated[
    list[str], typer.Argument(metavar="[study|series|instance] REF...", help="References, or - for stdin.")
]
_Param = Annotated[
    list[str] | None, typer.Option("--param", metavar="K=V", help="A query parameter for Orthanc to send; repeatable.")
]
_Detach = Annotated[bool, typer.Option("--detach", help="Print the job ID and do not wait.")]
_Priority = Annotated[int | None, typer.Option("--priority", metavar="N", help="The job's priority (default: 0).")]


@app.command("get")
@takes()
def get(
    ctx: typer.Context,
    server: _Server,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A path below that server's URL, such as /studies.")],
    param: _Param = None,
    remote_header: RemoteHeader = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the response body to FILE.")
    ] = None,
) -> None:
    """Make Orthanc query another server, and show the response.

    Orthanc percent-encodes its queries, including `*`; servers that do not percent-decode cannot match them.

    Examples:

    \b
      dw -p pacs orthanc get archive /studies --param PatientID=X
      dw -p pacs orthanc get archive /studies/UID/metadata -f jsonl
      dw -p pacs orthanc get archive /series --remote-header "Accept: application/dicom+xml"
    """
    dw: DwContext = ctx.obj
    headers = parse_headers(tuple(remote_header or ()))
    # Orthanc accepts no query in a path.
    path, _, query = path.partition("?")
    pairs = _pairs([*map(unquote, filter(None, query.split("&"))), *(param or ())])
    with peers_of(dw).get(server, path, pairs, headers) as response:
        if output is not None:
            with WholeFile(output) as file:
                for chunk in response.chunks():
                    file.write(chunk)
            dw.out.info(f"{output}: {file.size} bytes, {response.content_type or 'no Content-Type'}")
        elif "json" in response.content_type:
            _show(dw, path, _rows(response.chunks()))
        else:
            for chunk in response.chunks():
                if dw.out.terminal and b"\0" in chunk:
                    raise UsageError(
                        "the response is binary and cannot be shown on a terminal", "use -o FILE or a pipe"
                    )
                dw.out.write(chunk)


@app.command("retrieve")
@takes()
def retrieve(
    ctx: typer.Context,
    server: _Server,
    words: _Words,
    detach: _Detach = False,
    priority: _Priority = None,
    param: _Param = None,
    remote_header: RemoteHeader = None,
) -> None:
    """Make Orthanc retrieve studies, series or instances from another server.

    Examples:

    \b
      dw -p pacs orthanc retrieve archive UID
      dw -p pacs orthanc retrieve archive study UID UID --priority 10
    """
    dw: DwContext = ctx.obj
    level, rest = references.split_level(words)
    asked = list(references.read(dw, rest, level))
    for ref in asked:
        if not ref.known:
            whole = "STUDY/SERIES" if ref.level is Level.SERIES else "STUDY/SERIES/INSTANCE"
            raise UsageError(f"{refs.show(ref)}: the other server needs the study UID too", f"write {whole}")
    peers = peers_of(dw)
    how: dict[str, Any] = {"Priority": priority}
    how |= {"HttpHeaders": parse_headers(tuple(remote_header or ())), "Arguments": _pairs(param)}
    if detach:
        dw.out.line(peers.retrieve(server, asked, **how))
        return

    def fetch(ref: Ref) -> int:
        try:
            job = _followed(dw, peers, peers.retrieve(server, [ref], **how), f"{server} to Orthanc", server)
        except DwError as error:
            if error.exit_code is ExitCode.FAILED and not peers.lists(server, ref):
                raise AbsentError(f"{server}: {ref.level} not found: {refs.show(ref)}") from error
            raise
        return _number(job.content.get("ReceivedInstancesCount"))

    _each(dw, asked, fetch, "Orthanc retrieved {} instances from " + server)


@app.command("stow")
@takes()
def stow(
    ctx: typer.Context,
    server: _Server,
    words: _Words,
    detach: _Detach = False,
    priority: _Priority = None,
    remote_header: RemoteHeader = None,
) -> None:
    """Make Orthanc send its own studies, series or instances to another server.

    Examples:

    \b
      dw -p pacs orthanc stow archive UID
      dw -p pacs orthanc stow archive study UID --priority 10
    """
    dw: DwContext = ctx.obj
    level, rest = references.split_level(words)
    asked = list(references.read(dw, rest, level))
    peers = peers_of(dw)
    how: dict[str, Any] = {"Priority": priority}
    how["HttpHeaders"] = parse_headers(tuple(remote_header or ()))
    if detach:
        dw.out.line(peers.stow(server, asked, **how))
        return

    def send(ref: Ref) -> int:
        job = _followed(dw, peers, peers.stow(server, [ref], **how), f"Orthanc to {server}", server)
        return _number(job.content.get("InstancesCount"))

    _each(dw, asked, send, "Orthanc sent {} instances to " + server)


@app.command("delete")
@takes()
def delete(
    ctx: typer.Context,
    server: _Server,
    words: _Words,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Make Orthanc delete on another server, which must have been added with --can-delete.

    Examples:

    \b
      dw -p pacs orthanc delete archive study UID
    """
    dw: DwContext = ctx.obj
    level, rest = references.split_level(words)
    asked = list(references.read(dw, rest, level))
    if not yes:
        if sys.stdin is None or not sys.stdin.isatty():
            raise UsageError("cannot prompt: stdin is not a terminal", "add --yes")
        if not dw.out.confirm(f"delete {', '.join(map(refs.show, asked))} on {server}?"):
            raise DwError("nothing was deleted")
    peers = peers_of(dw)
    for ref in asked:
        peers.delete(server, ref)
        dw.out.info(f"{server} accepted the request to delete {refs.show(ref)}")


@app.command("job")
@takes()
def job(
    ctx: typer.Context,
    number: Annotated[str, typer.Argument(metavar="ID", help="The job ID that --detach printed.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the job ends.")] = False,
) -> None:
    """Show the state of an Orthanc job.

    Examples:

    \b
      dw -p pacs orthanc job 9c4bff65-29cc-4ef3-b106-1e5662f346d2 --wait
    """
    dw: DwContext = ctx.obj
    peers = peers_of(dw)
    found = _followed(dw, peers, number, "job") if wait else peers.job(number)
    record = {"id": found.id, "state": found.state, "progress": found.progress, "error": found.error, **found.content}
    dw.out.table([record], columns=("id", "state", "progress", "error"))
    if found.state == "Failure":
        raise DwError(f"the job failed: {found.error}")


def _each(dw: DwContext, asked: Sequence[Ref], move: Callable[[Ref], int], told: str) -> None:
    """Transfer the references one by one and print the number of instances: `told` has a placeholder for it.

    A failure does not stop the others, unless the login fails or the server does not respond.
    """
    if not asked:
        raise UsageError("no reference given", "write STUDY, STUDY/SERIES or STUDY/SERIES/INSTANCE")
    moved = done = 0
    codes: list[ExitCode] = []
    for ref in asked:
        try:
            moved += move(ref)
            done += 1
        except DwError as error:
            if len(asked) == 1:
                raise
            codes.append(error.exit_code)
            dw.out.warn(f"{refs.show(ref)}: {error.message}")
            if error.exit_code in (ExitCode.AUTH, ExitCode.TEMPORARY):
                break
    failed = f"; {len(asked) - done} of {len(asked)} references failed" if codes else ""
    dw.out.info(told.format(moved) + failed)
    dw.finish(combine(codes, succeeded=bool(done)))


def _number(count: object) -> int:
    """Parse a count, which Orthanc sometimes writes as text."""
    return int(count) if isinstance(count, int | str) and str(count).isdecimal() else 0


def _followed(dw: DwContext, peers: "Peers", number: str, label: str, server: str = "") -> "Job":
    from dwcli.vendors.orthanc.peers import Job

    last = Job(number, "", 0, "", {})
    try:
        with dw.out.progress(label, total_items=100) as progress:
            for last in peers.follow(number, server):
                for _ in range(last.progress - progress.done_items):
                    progress.item()
    except (KeyboardInterrupt, TemporaryError):
        here = f"-p {dw.profile.name}" if dw.profile.name else f"--url {shlex.quote(dw.profile.url)}"
        dw.out.info(f"the Orthanc job continues; hint: dw {here} orthanc job {number} --wait")
        raise
    return last


def _rows(chunks: Iterator[bytes]) -> Iterator[Row]:
    reader = RowReader()
    for chunk in chunks:
        yield from reader.feed(chunk)
    yield from reader.finish()


def _show(dw: DwContext, path: str, rows: Iterator[Row]) -> None:
    """Show rows of a search as `dw search` does, anything else as metadata."""
    level = refs.parse_level(path.partition("?")[0].rstrip("/").rpartition("/")[2])
    if level is None:
        dw.out.metadata(rows)
        return
    columns = [parse_path(name) for name in COLUMNS[Level(level)].split()]
    dw.out.rows(rows, columns=columns, uid_tag=level.uid_tag)


def _pairs(given: list[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for pair in given or []:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise UsageError(f"not a parameter: {pair}", "write --param KEY=VALUE")
        pairs[key] = value
    return pairs
