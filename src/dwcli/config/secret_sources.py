"""Sources of secrets: a command, a variable, a file, the configuration itself, .netrc, or a prompt.

A keyring would go here: one more suffix of a key, and one more source in `find`.
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
    """A secret not read yet: `get` raises AuthError if it cannot be read. `source` describes its source.

    `unattended`: no prompt is needed; `renewable`: calling `get` again may return a new one.
    """

    get: Callable[[], str]
    source: str
    unattended: bool = True
    renewable: bool = False


class Sources(NamedTuple):
    """Finds the secrets of one configuration file. `ask(question)` prompts, and raises if there is no terminal."""

    config: Path
    variable: Callable[[str], str | None]
    ask: Callable[[str], str]

    def find(self, table: Mapping[str, Any], word: str, where: str) -> Secret | None:
        """Return the secret that `word`, `word_env`, `word_command` or `word_file` of `table` names, or None.

        Raises UsageError if the configuration contains the secret and other users can read the file.
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
        """Return a secret that the user types."""
        return Secret(lambda: self.ask(question), "a prompt", unattended=False)

    def path(self, value: str) -> Path:
        """Resolve a file named in the configuration, relative to its folder."""
        return self.config.parent / Path(os.path.expanduser(value))  # noqa: PTH111  pathlib's raises

    def keep_private(self, what: str, where: str, instead: str = "") -> None:
        """Raise UsageError if users other than the owner can read the configuration, which contains `what`."""
        try:
            exposed = os.name == "posix" and bool(self.config.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
        except OSError:
            exposed = True
        if exposed:
            raise UsageError(
                f"{where}: contains {what}, and other users can read the file",
                f"chmod 600 {shlex.quote(str(self.config))}{instead}",
            )

    def _from_variable(self, name: str) -> str:
        value = self.variable(name)
        if value is None:
            raise AuthError(f"variable {name} (for the secret) is not set", f"export {name}=…")
        return value


def from_netrc(path: Path, host: str) -> tuple[str, str]:
    """Return user and password of a host in a .netrc file. Raises AuthError if it has none or is not private."""
    import netrc

    try:
        mode = path.stat().st_mode
        if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise AuthError(
                f"other users can read {path}, which contains passwords", f"chmod 600 {shlex.quote(str(path))}"
            )
        found = netrc.netrc(str(path)).authenticators(host)
    except FileNotFoundError:
        raise AuthError(f"file not found: {path}", "set NETRC to use another file") from None
    except netrc.NetrcParseError as error:
        # The parser's message quotes the unexpected word, which may be the password.
        raise AuthError(f"{path}: line {error.lineno} is not valid .netrc") from None
    except (OSError, UnicodeDecodeError) as error:
        raise AuthError(f"cannot read {path}: {error}") from None
    if found is None or not found[2]:
        raise AuthError(f"{path} has no login for {host}", f"add the line: machine {host} login … password …")
    return found[0] or found[1] or "", found[2]


def exposed_key(path: Path) -> bool:
    """Return whether a private key file is too open, by ssh's rules: only its owner may access one's own file."""
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
        raise AuthError(f"all users can read {path}, which contains a secret", f"chmod 600 {shlex.quote(str(path))}")
    line = text.split("\n", 1)[0].rstrip("\r")
    if not line:
        raise AuthError(f"{path}: the first line, for the secret, is empty")
    return line


def _from_command(command: str, word: str) -> str:
    """Return the first line that a command prints; it may prompt the user on the terminal (stderr, /dev/tty)."""
    import subprocess

    what = f"the {word.replace('_', ' ')} command"
    try:
        done = subprocess.run(
            command,
            shell=True,
            # This process may read references from stdin; a command such as ssh would consume them.
            stdin=None if sys.stdin is not None and sys.stdin.isatty() else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=_COMMAND_SECONDS,
            check=False,
            encoding="utf-8",
        )
    except subprocess.TimeoutExpired:
        raise AuthError(f"{what} printed nothing within {_COMMAND_SECONDS} s") from None
    except UnicodeDecodeError:
        raise AuthError(f"{what} printed something that is not UTF-8") from None
    line = done.stdout.split("\n", 1)[0].rstrip("\r")
    if done.returncode or not line:
        ended = f"exited with status {done.returncode}" if done.returncode else "printed nothing"
        raise AuthError(f"{what} {ended}", "run it by hand to see why")
    return line
