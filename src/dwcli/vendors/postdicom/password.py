"""The password of a share: from a prompt, stdin, a variable or a command, never from the command line."""

import sys
from typing import Annotated

import typer

from dwcli import config
from dwcli.context.prompts import ask
from dwcli.errors import AuthError, UsageError

Prompt = Annotated[
    bool,
    typer.Option("--password-prompt", help="Protect the share with a password: prompt for it,"),
]
Stdin = Annotated[bool, typer.Option("--password-stdin", help="or read it from stdin,")]
Env = Annotated[str | None, typer.Option("--password-env", metavar="V", help="or take it from this variable,")]
Command = Annotated[
    str | None, typer.Option("--password-command", metavar="C", help="or from this command's first line.")
]


def read(*, prompt: bool, stdin: bool, env: str | None, command: str | None) -> str | None:
    """Return the password from the one given source, or None. Raises UsageError, AuthError."""
    match (prompt, stdin, env is not None, command is not None).count(True):
        case 0:
            return None
        case 1:
            pass
        case _:
            raise UsageError("more than one source for the share's password", "give only one")
    if prompt:
        password = _asked_twice()
    elif stdin:
        password = sys.stdin.readline().rstrip("\r\n") if sys.stdin else ""
    else:
        password = config.read_secret("password", env, command)
    if not password:
        raise UsageError("the share's password is empty", "leave these options out for a share without a password")
    return password


def _asked_twice() -> str:
    try:
        password = ask("Password of the share: ")
        again = ask("Repeat the password: ")
    except AuthError:
        raise UsageError(
            "cannot prompt for the share's password: no terminal",
            "--password-stdin, --password-env V or --password-command C",
        ) from None
    if again != password:
        raise UsageError("the two passwords differ; nothing was shared")
    return password
