"""Where a secret comes from: a command, a variable, a file, the configuration itself, .netrc, or a person.

A keyring's place is here: one more suffix of a key, and one more source in `find`.
"""

import os
import shlex
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dwcli.errors import AuthError, UsageError

SUFFIXES = ("", "_env", "_command", "_file")
_COMMAND_SECONDS = 120


class Secret(NamedTuple):
    """A secret not asked for yet: `get` raises AuthError where it cannot be had. `source` says where from, in words.

    `unattended`: no person is asked; `renewable`: asking again may bring another.
    """

    get: Callable[[], str]
    source: str
    unattended: bool = True
    renewable: bool = False


class Sources(NamedTuple):
    """What one configuration file's secrets are found with. `ask(question)` prompts, and raises with nobody there."""

    config: Path
    variable: Callable[[str], str | None]
    ask: Callable[[str], str]

    def find(self, table: Mapping[str, Any], word: str, where: str) -> Secret | None:
        """The secret that `word`, `word_env`, `word_command` or `word_file` of `table` names; None where none does.

        Raises UsageError where the configuration holds it and others can read the file.
        """
        if f"{word}_command" in table:
            command = str(table[f"{word}_command"])
            return Secret(lambda: _from_command(command, word), "a command", renewable=True)
        if f"{word}_env" in table:
            named = str(table[f"{word}_env"])
            return Secret(lambda: self._from_variable(named), f"the variable {named}")
        if f"{word}_file" in table:
            path = self.path(str(table[f"{word}_file"]))
            return Secret(lambda: _from_file(path), f"the file {path}")
        if word in table:
            value = str(table[word])
            self.keep_private(f"a {word.replace('_', ' ')}", where, f"   (or use {word}_command)")
            return Secret(lambda: value, "the configuration file")
        return None

    def prompt(self, question: str) -> Secret:
        """A person types it."""
        return Secret(lambda: self.ask(question), "a prompt", unattended=False)

    def path(self, value: str) -> Path:
        """A file named in the configuration: relative to its folder."""
        return self.config.parent / Path(os.path.expanduser(value))  # noqa: PTH111  pathlib's raises

    def keep_private(self, what: str, where: str, instead: str = "") -> None:
        """Raise UsageError where others than the owner can read the configuration, which holds `what`."""
        try:
            exposed = os.name == "posix" and bool(self.config.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
        except OSError:
            exposed = True
        if exposed:
            raise UsageError(
                f"{where}: it holds {what} and others can read the file",
                f"chmod 600 {shlex.quote(str(self.config))}{instead}",
            )

    def _from_variable(self, name: str) -> str:
        value = self.variable(name)
        if value is None:
            raise AuthError(f"the variable {name}, which should hold the secret, is not set", f"export {name}=…")
        return value


def from_netrc(path: Path, host: str) -> tuple[str, str]:
    """User and password of a machine in a .netrc file. Raises AuthError where it has none or others can read it."""
    import netrc

    try:
        mode = path.stat().st_mode
        if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise AuthError(f"others can read {path}, which holds passwords", f"chmod 600 {shlex.quote(str(path))}")
        found = netrc.netrc(str(path)).authenticators(host)
    except FileNotFoundError:
        raise AuthError(f"there is no file {path}", "NETRC names another one") from None
    except netrc.NetrcParseError as error:
        # Its message quotes the word that it did not understand, which may be the password.
        raise AuthError(f"{path}: line {error.lineno} is not as a .netrc should be") from None
    except (OSError, UnicodeDecodeError) as error:
        raise AuthError(f"cannot read {path}: {error}") from None
    if found is None or not found[2]:
        raise AuthError(f"{path} has no login for {host}", f"add a line there: machine {host} login … password …")
    return found[0] or found[1] or "", found[2]


def exposed_key(path: Path) -> bool:
    """Whether a private key's file is open to others, as ssh judges: a file of one's own to nobody else at all."""
    try:
        found = path.stat()
    except OSError:
        return False
    if os.name != "posix" or not stat.S_ISREG(found.st_mode):
        return False
    return bool(found.st_mode & (stat.S_IRWXG | stat.S_IRWXO if found.st_uid == os.getuid() else stat.S_IRWXO))


def _from_file(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise AuthError(f"the secret in {path} is not UTF-8") from None
    except OSError as error:
        raise AuthError(f"cannot read the secret from {path}: {error.strerror or error}") from error
    if os.name == "posix" and stat.S_ISREG(mode) and mode & stat.S_IRWXO:
        raise AuthError(f"everybody can read {path}, which holds a secret", f"chmod 600 {shlex.quote(str(path))}")
    line = text.split("\n", 1)[0].rstrip("\r")
    if not line:
        raise AuthError(f"{path}, which should hold the secret, has an empty first line")
    return line


def _from_command(command: str, word: str) -> str:
    """The first line that a command prints; it may talk to the user on the terminal (stderr, /dev/tty)."""
    import subprocess

    what = f"the {word.replace('_', ' ')} command"
    try:
        done = subprocess.run(
            command,
            shell=True,
            # References may come by this process's stdin; a command such as ssh would eat them.
            stdin=None if sys.stdin is not None and sys.stdin.isatty() else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=_COMMAND_SECONDS,
            check=False,
            encoding="utf-8",
        )
    except subprocess.TimeoutExpired:
        raise AuthError(f"{what} gave nothing within {_COMMAND_SECONDS} s") from None
    except UnicodeDecodeError:
        raise AuthError(f"{what} printed something that is not UTF-8") from None
    line = done.stdout.split("\n", 1)[0].rstrip("\r")
    if done.returncode or not line:
        ended = f"ended with {done.returncode}" if done.returncode else "printed nothing"
        raise AuthError(f"{what} {ended}", "run it by hand to see why")
    return line
