"""Every error that `dw` shows, and every exit code it ends with."""

from collections.abc import Iterable
from enum import IntEnum
from typing import Self


class ExitCode(IntEnum):
    """The exit status of a command. The man page and README quote this table."""

    OK = 0  # all done; also: nothing found by a search, warnings only
    FAILED = 1  # failed
    USAGE = 2  # wrong usage, no profile
    PARTIAL = 3  # some items succeeded and some failed, or unverified with --verify
    AUTH = 4  # not authenticated or not allowed
    ABSENT = 5  # everything asked for is absent
    TEMPORARY = 75  # the same command may work later
    INTERRUPTED = 130  # Ctrl-C or SIGTERM


class DwError(Exception):
    """An error for the user: what went wrong, and the next command to type.

    `message` says what happened in one sentence, `hint` what to do next (may be empty). `clue`: the part of
    a response that may identify the server's product; never shown.
    """

    exit_code: ExitCode = ExitCode.FAILED
    clue: str = ""

    def __init__(self, message: str, hint: str = "", exit_code: ExitCode | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if exit_code is not None:
            self.exit_code = exit_code

    def worded(self, message: str | None = None, hint: str | None = None) -> Self:
        """Return a copy of this error with another message or hint; other code may still hold this one."""
        kind = type(self)
        error = kind.__new__(kind, self.message if message is None else message)
        error.__dict__.update(self.__dict__)
        error.message = str(error.args[0])
        error.hint = self.hint if hint is None else hint
        return error


class UsageError(DwError):
    """The command line or the configuration is wrong; nothing was sent."""

    exit_code = ExitCode.USAGE


class AuthError(DwError):
    """The server requires a login, or a different one (401, 403, a login page)."""

    exit_code = ExitCode.AUTH


class AbsentError(DwError):
    """The requested resource does not exist (404, 410)."""

    exit_code = ExitCode.ABSENT


class TemporaryError(DwError):
    """The network or the server failed in a way that may pass (408, 429, 502, 503, 504, time-outs)."""

    exit_code = ExitCode.TEMPORARY


class ProtocolError(DwError):
    """A response that DICOMweb does not allow and that cannot be read safely."""


class TruncatedError(DwError):
    """A response ended before it was complete; complete parts count, the last one is dropped."""


class RefusedError(DwError):
    """The server rejected the request (400, 406, 409, 415, 501, …); `status` is the HTTP status code."""

    def __init__(self, message: str, hint: str = "", *, status: int) -> None:
        super().__init__(message, hint)
        self.status = status


def combine(codes: Iterable[ExitCode], *, succeeded: bool) -> ExitCode:
    """Return the exit code of a command from those of its failed items; `succeeded`: at least one item succeeded."""
    failed = set(codes) - {ExitCode.OK}
    if not failed:
        return ExitCode.OK
    for code in (ExitCode.INTERRUPTED, ExitCode.AUTH):
        if code in failed:
            return code
    if failed == {ExitCode.TEMPORARY}:
        return ExitCode.TEMPORARY
    if succeeded or failed == {ExitCode.PARTIAL}:
        return ExitCode.PARTIAL
    return failed.pop() if failed in ({ExitCode.ABSENT}, {ExitCode.USAGE}) else ExitCode.FAILED


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return a hint that names the choices close to a mistyped word, or all of them."""
    from difflib import get_close_matches  # only on the way to an error

    names = sorted(choices)
    near = get_close_matches(word.lower(), names, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else f"one of: {', '.join(names)}"
