"""Questions to the person at the terminal."""

import sys

from dwcli.errors import AuthError


def ask(question: str) -> str:
    """Prompt for a secret on the terminal, unseen. Raises AuthError where there is nobody to ask."""
    from getpass import getpass

    try:
        if not sys.stdin.isatty():
            with open("/dev/tty"):  # noqa: PTH123  only to see whether there is a terminal at all
                pass
        return getpass(question)
    except (OSError, EOFError):
        raise AuthError(
            f"nobody is there to answer {question.strip().rstrip(':')!r}",
            "set DW_PASSWORD, which goes to the profile that -p names and to no other, or give the profile a source: "
            "dw profile edit NAME --password-command C",
        ) from None


def ask_name(question: str) -> str:
    """Prompt for a user's name on the terminal. Raises AuthError where there is nobody to ask."""
    try:
        with open("/dev/tty", "r+b", buffering=0) as terminal:  # noqa: PTH123
            terminal.write(question.encode())
            name = terminal.readline().decode().strip()
    except (OSError, UnicodeDecodeError):
        name = ""
    if not name:
        raise AuthError("nobody is there to give a user name", "dw profile edit NAME --user U --password-command C")
    return name
