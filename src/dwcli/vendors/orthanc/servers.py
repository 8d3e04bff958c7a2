"""`dw orthanc servers`: Orthanc's remote DICOMweb servers."""

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dwcli import config
from dwcli.context.global_options import parse_headers
from dwcli.context.run import DwContext
from dwcli.errors import UsageError
from dwcli.options import takes

if TYPE_CHECKING:
    from dwcli.vendors.orthanc.peers import Peers

RemoteHeader = Annotated[
    list[str] | None,
    typer.Option("--remote-header", metavar="'NAME: VALUE'", help="A header for Orthanc to send; repeatable."),
]


@takes()
def servers(
    ctx: typer.Context,
    action: Annotated[
        str, typer.Argument(metavar="[list|show|add|remove]", help="The action (default: list).")
    ] = "list",
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The server's name in Orthanc.")] = None,
    address: Annotated[str | None, typer.Argument(metavar="[URL]", help="Its DICOMweb base URL, for add.")] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="U", help="Orthanc's user name on that server.")] = None,
    password_env: Annotated[
        str | None, typer.Option("--password-env", metavar="V", help="The password: from this variable,")
    ] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="or from stdin.")] = False,
    remote_header: RemoteHeader = None,
    chunked: Annotated[
        bool, typer.Option("--chunked/--no-chunked", help="Whether that server accepts chunked uploads.")
    ] = True,
    can_delete: Annotated[bool, typer.Option("--can-delete", help="That server supports DELETE.")] = False,
    client_cert: Annotated[
        str | None, typer.Option("--client-cert", metavar="PATH", help="A certificate file on Orthanc's machine.")
    ] = None,
    client_key: Annotated[
        str | None, typer.Option("--client-key", metavar="PATH", help="Its key, also on Orthanc's machine.")
    ] = None,
    key_password_env: Annotated[
        str | None,
        typer.Option("--client-key-password-env", metavar="V", help="The key's password: from this variable."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing server of this name.")] = False,
    seconds: Annotated[
        int, typer.Option("--remote-timeout", metavar="S", help="Orthanc's time-out in seconds; 0: as configured.")
    ] = 0,
) -> None:
    """List, show, add or remove Orthanc's remote DICOMweb servers.

    Examples:

    \b
      dw -p pacs orthanc servers
      dw -p pacs orthanc servers add archive https://archive.example.org/dicom-web --user alice --password-env PW
      dw -p pacs orthanc servers remove archive
    """
    dw: DwContext = ctx.obj
    peers = peers_of(dw)
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

            url = config.address_of(address)
            known = name in peers.names()
            if known and not replace and not dw.out.confirm(f"replace server {name} and its login?"):
                again = f"dw orthanc servers add {shlex.quote(name)} URL --replace"
                raise UsageError(f"server {name} already exists in this Orthanc", again)
            password = _password(password_env, stdin=password_stdin) if user else ""
            peer = Peer(
                url=url,
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
            news = f"replaced {name}" if known else f"added {name}"
            dw.out.info(f"{dw.client.base} {news} until its next restart (add it to its configuration file to keep it)")
        case "remove" if name and address is None:
            peers.remove(name)
            dw.out.info(f"{dw.client.base} removed {name}")
        case _:
            raise UsageError(
                "unknown action or wrong number of arguments",
                "dw orthanc servers [list | show NAME | add NAME URL | remove NAME]",
            )


def peers_of(dw: DwContext) -> "Peers":
    """Return the peers of this run's Orthanc. Raises UsageError if the server is not an Orthanc."""
    from dwcli.vendors.orthanc.peers import Peers

    return Peers(dw.client)


def _records(known: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, object]]:
    for name, settings in known.items():
        yield {
            "name": name,
            "url": settings.get("Url", ""),
            "user": settings.get("Username") or "",
            "chunked": str(settings.get("ChunkedTransfers", "1")) in ("1", "True", "true"),
            "delete": str(settings.get("HasDelete", "0")) in ("1", "True", "true"),
        }


def _password(variable: str | None, *, stdin: bool) -> str:
    if variable:
        return _from_variable(variable)
    if stdin:
        return sys.stdin.readline().rstrip(os.linesep)
    raise UsageError("--user requires a password", "add --password-env VARIABLE or --password-stdin")


def _from_variable(name: str) -> str:
    value = config.variable(name)
    if value is None:
        raise UsageError(f"variable {name} (for the password) is not set")
    return value
