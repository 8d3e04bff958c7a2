"""`dw orthanc`: let an Orthanc talk to other DICOMweb servers; nothing passes through here."""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote

import typer

from dwcli import config
from dwcli.commands import matching, references
from dwcli.context import DwContext, parse_headers
from dwcli.dicomweb import refs
from dwcli.dicomweb.dicomjson import Row, RowReader
from dwcli.dicomweb.query import parse_path
from dwcli.dicomweb.refs import Level
from dwcli.errors import DwError, UsageError
from dwcli.files.whole import WholeFile
from dwcli.help import App
from dwcli.options import takes

if TYPE_CHECKING:
    from dwcli.vendors.orthanc.peers import Job, Peers

app = App()

_Server = Annotated[str, typer.Argument(metavar="NAME", help="A server that this Orthanc knows.")]
_Words = Annotated[
    list[str], typer.Argument(metavar="[study|series|instance] REF...", help="References, or - for stdin.")
]
_RemoteHeader = Annotated[
    list[str] | None,
    typer.Option("--remote-header", metavar="'NAME: VALUE'", help="A header that Orthanc sends on; repeatable."),
]
_Param = Annotated[
    list[str] | None, typer.Option("--param", metavar="K=V", help="A query parameter that Orthanc sends; repeatable.")
]
_Async = Annotated[bool, typer.Option("--async", help="As a job of Orthanc's, shown with its progress.")]
_Detach = Annotated[bool, typer.Option("--detach", help="With --async: print the job's ID and leave it alone.")]
_Priority = Annotated[int | None, typer.Option("--priority", metavar="N", help="The job's priority; 0 is usual.")]


def register(parent: typer.Typer) -> None:
    """Add the group."""
    parent.add_typer(app, name="orthanc", help="Let an Orthanc fetch from and send to other DICOMweb servers.")


@app.command("servers")
@takes()
def servers(
    ctx: typer.Context,
    action: Annotated[str, typer.Argument(metavar="[list|show|add|remove]", help="list, by default.")] = "list",
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The name that Orthanc gives the server.")
    ] = None,
    address: Annotated[str | None, typer.Argument(metavar="[URL]", help="Its DICOMweb base URL, to add it.")] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="U", help="Orthanc's user name there.")] = None,
    password_env: Annotated[
        str | None, typer.Option("--password-env", metavar="V", help="The password, from this variable,")
    ] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="or from stdin.")] = False,
    remote_header: _RemoteHeader = None,
    chunked: Annotated[
        bool, typer.Option("--chunked/--no-chunked", help="Whether that server takes chunked uploads.")
    ] = True,
    can_delete: Annotated[bool, typer.Option("--can-delete", help="That server understands DELETE.")] = False,
    client_cert: Annotated[
        str | None, typer.Option("--client-cert", metavar="PATH", help="A certificate on Orthanc's own machine.")
    ] = None,
    client_key: Annotated[str | None, typer.Option("--client-key", metavar="PATH", help="Its key, there too.")] = None,
    key_password_env: Annotated[
        str | None,
        typer.Option("--client-key-password-env", metavar="V", help="The key's password, from this variable."),
    ] = None,
    seconds: Annotated[
        int, typer.Option("--remote-timeout", metavar="S", help="Seconds that Orthanc waits; 0: as it is configured.")
    ] = 0,
) -> None:
    """List, show, add or remove the DICOMweb servers that this Orthanc knows.

    Examples:

    \b
      dw -p pacs orthanc servers
      dw -p pacs orthanc servers add archive https://archive.example.org/dicom-web --user alice --password-env PW
      dw -p pacs orthanc servers remove archive
    """
    dw: DwContext = ctx.obj
    peers = _peers(dw)
    match action:
        case "list" if name is None:
            dw.out.table(_records(peers.names()), columns=("name", "url", "user", "chunked", "delete"), empty="none")
        case "show" if name and address is None:
            peers.known(name)
            settings = peers.names()[name]
            records: list[dict[str, object]] = [{"key": key, "value": value} for key, value in settings.items()]
            dw.out.table(records, columns=("key", "value"))
        case "add" if name and address:
            from dwcli.vendors.orthanc.peers import Peer

            password = _password(password_env, stdin=password_stdin) if user else ""
            peer = Peer(
                url=address,
                username=user or "",
                password=password,
                headers=parse_headers(tuple(remote_header or ())),
                chunked=chunked,
                can_delete=can_delete,
                certificate=client_cert or "",
                key=client_key or "",
                key_password=_from_variable(key_password_env) if key_password_env else "",
                timeout=seconds,
            )
            peers.add(name, peer)
            dw.out.info(f"{dw.client.base} knows {name} now")
        case "remove" if name and address is None:
            peers.remove(name)
            dw.out.info(f"{dw.client.base} has forgotten {name}")
        case _:
            raise UsageError(
                "not a way to speak of servers", "dw orthanc servers [list | show NAME | add NAME URL | remove NAME]"
            )


@app.command("get")
@takes()
def get(
    ctx: typer.Context,
    server: _Server,
    path: Annotated[str, typer.Argument(metavar="PATH", help="Below that server's URL, such as /studies.")],
    param: _Param = None,
    remote_header: _RemoteHeader = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the answer here.")
    ] = None,
) -> None:
    """Let this Orthanc ask another server, and show what came.

    Orthanc percent-encodes what it asks, `*` too, which a server that never decodes will not find.

    Examples:

    \b
      dw -p pacs orthanc get archive /studies --param PatientID=X
      dw -p pacs orthanc get archive /studies/UID/metadata -f jsonl
      dw -p pacs orthanc get archive /series --remote-header "Accept: application/dicom+xml"
    """
    dw: DwContext = ctx.obj
    headers = parse_headers(tuple(remote_header or ()))
    # Orthanc takes no query in a path.
    path, _, query = path.partition("?")
    pairs = _pairs([*map(unquote, filter(None, query.split("&"))), *(param or ())])
    with _peers(dw).get(server, path, pairs, headers) as response:
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
                    raise UsageError("the answer is binary and would spoil the terminal", "-o FILE, or a pipe")
                dw.out.write(chunk)


@app.command("retrieve")
@takes()
def retrieve(
    ctx: typer.Context,
    server: _Server,
    words: _Words,
    as_job: _Async = False,
    detach: _Detach = False,
    priority: _Priority = None,
    param: _Param = None,
    remote_header: _RemoteHeader = None,
) -> None:
    """Let this Orthanc fetch studies, series or instances from another server.

    Examples:

    \b
      dw -p pacs orthanc retrieve archive UID
      dw -p pacs orthanc retrieve archive study UID UID --async --priority 10
    """
    dw: DwContext = ctx.obj
    level, rest = references.split_level(words)
    asked = list(references.read(dw, rest, level))
    for ref in asked:
        if not ref.known:
            raise UsageError(f"{refs.show(ref)}: the UIDs above are needed", "write STUDY/SERIES/INSTANCE")
    peers = _peers(dw)
    how = _how(as_job=as_job, detach=detach, priority=priority)
    how |= {"HttpHeaders": parse_headers(tuple(remote_header or ())), "Arguments": _pairs(param)}
    said = peers.retrieve(server, asked, **how)
    content = _finished(dw, peers, said, f"{server} to Orthanc", detach=detach) if as_job else said
    if content is not None:
        dw.out.info(f"Orthanc has fetched {content.get('ReceivedInstancesCount', '?')} instances from {server}")


@app.command("stow")
@takes()
def stow(
    ctx: typer.Context,
    server: _Server,
    words: _Words,
    as_job: _Async = False,
    detach: _Detach = False,
    priority: _Priority = None,
    remote_header: _RemoteHeader = None,
) -> None:
    """Let this Orthanc send studies, series or instances of its own to another server.

    Examples:

    \b
      dw -p pacs orthanc stow archive UID
      dw -p pacs orthanc stow archive study UID --async --priority 10
    """
    dw: DwContext = ctx.obj
    level, rest = references.split_level(words)
    peers = _peers(dw)
    how = _how(as_job=as_job, detach=detach, priority=priority)
    how["HttpHeaders"] = parse_headers(tuple(remote_header or ()))
    said = peers.stow(server, references.read(dw, rest, level), **how)
    content = _finished(dw, peers, said, f"Orthanc to {server}", detach=detach) if as_job else said
    if content is not None:
        dw.out.info(f"Orthanc has sent {content.get('InstancesCount', '?')} instances to {server}")


@app.command("delete")
@takes()
def delete(
    ctx: typer.Context,
    server: _Server,
    words: _Words,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Let this Orthanc delete on another server, which was added with --can-delete.

    Examples:

    \b
      dw -p pacs orthanc delete archive study UID
    """
    dw: DwContext = ctx.obj
    level, rest = references.split_level(words)
    asked = list(references.read(dw, rest, level))
    if not yes:
        if sys.stdin is None or not sys.stdin.isatty():
            raise UsageError("nobody can be asked on this stdin", "--yes")
        if not dw.out.confirm(f"delete {', '.join(map(refs.show, asked))} on {server}?"):
            raise DwError("nothing was deleted")
    peers = _peers(dw)
    for ref in asked:
        peers.delete(server, ref)
        dw.out.info(f"{server} has taken the order to delete {refs.show(ref)}")


@app.command("job")
@takes()
def job(
    ctx: typer.Context,
    number: Annotated[str, typer.Argument(metavar="ID", help="The job's ID, as --detach printed it.")],
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its end.")] = False,
) -> None:
    """Show how a job of this Orthanc stands.

    Examples:

    \b
      dw -p pacs orthanc job 9c4bff65-29cc-4ef3-b106-1e5662f346d2 --wait
    """
    dw: DwContext = ctx.obj
    peers = _peers(dw)
    found = _followed(dw, peers, number, "job") if wait else peers.job(number)
    record = {"id": found.id, "state": found.state, "progress": found.progress, "error": found.error, **found.content}
    dw.out.table([record], columns=("id", "state", "progress", "error"))
    if found.state == "Failure":
        raise DwError(f"the job failed: {found.error}")


def _peers(dw: DwContext) -> "Peers":
    from dwcli.vendors.orthanc.peers import Peers

    return Peers(dw.client)


def _how(*, as_job: bool, detach: bool, priority: int | None) -> dict[str, Any]:
    if detach and not as_job:
        raise UsageError("--detach leaves a job alone, and without --async there is none", "--async --detach")
    return {"Synchronous": not as_job, "Priority": priority}


def _finished(
    dw: DwContext, peers: "Peers", said: Mapping[str, Any], label: str, *, detach: bool
) -> Mapping[str, Any] | None:
    """The account that a job gives at its end; None where it is left alone."""
    number = str(said.get("ID", ""))
    if detach:
        dw.out.line(number)
        return None
    return _followed(dw, peers, number, label).content


def _followed(dw: DwContext, peers: "Peers", number: str, label: str) -> "Job":
    from dwcli.vendors.orthanc.peers import Job

    last = Job(number, "", 0, "", {})
    with dw.out.progress(label, total_items=100) as progress:
        for last in peers.follow(number):
            for _ in range(last.progress - progress.done_items):
                progress.item()
    return last


def _records(known: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, object]]:
    for name, settings in known.items():
        yield {
            "name": name,
            "url": settings.get("Url", ""),
            "user": settings.get("Username") or "",
            "chunked": str(settings.get("ChunkedTransfers", "1")) in ("1", "True", "true"),
            "delete": str(settings.get("HasDelete", "0")) in ("1", "True", "true"),
        }


def _rows(chunks: Iterator[bytes]) -> Iterator[Row]:
    reader = RowReader()
    for chunk in chunks:
        yield from reader.feed(chunk)
    yield from reader.finish()


def _show(dw: DwContext, path: str, rows: Iterator[Row]) -> None:
    """Rows of a search as `dw search` shows them, anything else as metadata."""
    level = refs.parse_level(path.partition("?")[0].rstrip("/").rpartition("/")[2])
    if level is None:
        dw.out.metadata(rows)
        return
    columns = [parse_path(name) for name in matching.COLUMNS[Level(level)].split()]
    dw.out.rows(rows, columns=columns, uid_tag=level.uid_tag)


def _pairs(given: list[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for pair in given or []:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise UsageError(f"not a parameter: {pair}", "write --param KEY=VALUE")
        pairs[key] = value
    return pairs


def _password(variable: str | None, *, stdin: bool) -> str:
    if variable:
        return _from_variable(variable)
    if stdin:
        return sys.stdin.readline().rstrip(os.linesep)
    raise UsageError("a user without a password", "--password-env VARIABLE or --password-stdin")


def _from_variable(name: str) -> str:
    value = config.variable(name)
    if value is None:
        raise UsageError(f"the variable {name}, which should hold the password, is not set")
    return value
