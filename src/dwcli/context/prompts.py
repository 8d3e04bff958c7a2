"""Prompts on the terminal."""

import sys

from dwcli.errors import AuthError


def ask(question: str) -> str:
    """Prompt for a secret on the terminal, without echo. Raises AuthError if there is no terminal."""
    from getpass import getpass

    try:
        if not sys.stdin.isatty():
            with open("/dev/tty"):  # noqa: PTH123  only to check that there is a terminal
                pass
        return getpass(question)
    except (OSError, EOFError):
        raise AuthError(
            f"cannot prompt for {question.strip().rstrip(':')!r}: no terminal",
            "dw profile edit NAME --password-command C   (or set DW_PASSWORD; dw sends it only to the profile of -p)",
        ) from None


def ask_name(question: str) -> str:
    """Prompt for a user name on the terminal. Raises AuthError if there is no terminal."""
    try:
        with open("/dev/tty", "r+b", buffering=0) as terminal:  # noqa: PTH123
            terminal.write(question.encode())
            name = terminal.readline().decode().strip()
    except (OSError, UnicodeDecodeError):
        name = ""
    if not name:
        raise AuthError(
            "cannot prompt for a user name: no terminal", "dw profile edit NAME --user U --password-command C"
        )
    return name
