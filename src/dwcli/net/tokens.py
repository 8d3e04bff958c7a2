"""Access tokens that outlive a run: kept in a file of their owner's, renewed early, by one process at a time."""

import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dwcli.errors import AuthError, DwError, TemporaryError
from dwcli.lock import locked

_EARLY_SECONDS = 60.0
_LOCK_SECONDS = 120.0


class SpentError(AuthError):
    """The provider no longer accepts its own token: only a new login helps."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a provider issued. Times are seconds since the epoch, by this machine's clock; None: it did not say."""

    access: str = field(repr=False)
    refresh: str = field(default="", repr=False)
    issued: float = 0.0
    expires: float | None = None

    def due(self, now: float) -> bool:
        """Whether to renew: the smaller of 60 s and a quarter of its life before its end."""
        if self.expires is None:
            return False
        return now >= self.expires - min(_EARLY_SECONDS, (self.expires - self.issued) / 4)

    def over(self, now: float) -> bool:
        """Whether it has ended."""
        return self.expires is not None and now >= self.expires


class TokenFile:
    """One profile's token in `folder` (made 0700, the file 0600), put in place whole.

    `bound` is everything a token must not outlive: the server, the issuer, the client. A token kept for another of
    them is ignored, as is one of another `user` if one is named; without a name any user's token counts.
    """

    def __init__(self, folder: Path, profile: str, bound: tuple[str, ...], user: str = "") -> None:
        # A profile's name is untrusted as a file name, and two may collide where case is ignored.
        name = hashlib.sha256(profile.encode()).hexdigest()[:16]
        self.path = folder / f"{name}.json"
        self._lock = folder / f"{name}.lock"
        self._user = user
        self._bound = hashlib.sha256(json.dumps(bound).encode()).hexdigest()

    def load(self) -> Token | None:
        """The token kept, None where there is none for this login; a broken file counts as none."""
        try:
            kept = json.loads(self.path.read_bytes())
            if kept["bound"] != self._bound or (self._user and kept["user"] != self._user):
                return None
            expires = kept["expires"]
            return Token(
                str(kept["access"]),
                str(kept["refresh"]),
                float(kept["issued"]),
                None if expires is None else float(expires),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _kept_user(self) -> str:
        """Whose the token in the file is, which a renewal keeps."""
        try:
            return str(json.loads(self.path.read_bytes())["user"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def save(self, token: Token) -> None:
        """Save it instead of the previous token. Raises DwError if that fails."""
        kept: dict[str, Any] = {
            "bound": self._bound,
            "user": self._user or self._kept_user(),
            "access": token.access,
            "refresh": token.refresh,
            "issued": token.issued,
            "expires": token.expires,
        }
        try:
            self._make_folder()
            handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=".token-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(kept, file)
                os.replace(temporary, self.path)  # noqa: PTH105
            except BaseException:
                os.unlink(temporary)  # noqa: PTH108
                raise
        except OSError as error:
            raise DwError(f"cannot save the login in {self.path.parent}: {error.strerror or error}") from error

    def forget(self) -> bool:
        """Delete it; whether there was one."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise DwError(f"cannot delete {self.path}: {error.strerror or error}") from error
        return True

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of this file among all processes. Raises TemporaryError if another one does not release it.

        Continues without a lock if the folder is not writable or the file system has no locks.
        """
        with locked(self._lock, seconds=_LOCK_SECONDS, busy="another dw process holds the lock of the login"):
            yield

    def _make_folder(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)


class Tokens:
    """The access token to use now, for any number of threads and processes.

    `renew(token)` brings a new one, given the one before it (None: there is none); it raises AuthError where only a
    person can, SpentError where the one before it is of no more use. `warn(text)` is called if one was not saved.
    """

    def __init__(
        self,
        file: TokenFile,
        renew: Callable[[Token | None], Token],
        *,
        warn: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._file = file
        self._renew = renew
        self._warn = warn
        self._guard = threading.Lock()
        self._token: Token | None = None

    def current(self, refused: str = "") -> str:
        """An access token that is not about to expire and is not `refused`, which a server has just rejected."""
        with self._guard:
            token = self._token
            if not _good(token, refused):
                with self._file.locked():
                    token = self._renewed(refused)
                self._token = token
            assert token is not None
            return token.access

    def _renewed(self, refused: str) -> Token:
        # Another process may have been here while this one waited for the lock.
        kept = self._file.load() or self._token
        if _good(kept, refused):
            assert kept is not None
            return kept
        try:
            fresh = self._renew(kept)
        except TemporaryError:
            if kept is not None and not kept.over(time.time()) and kept.access != refused:
                return kept
            raise
        except SpentError:
            # The next run must not offer it again: some providers take a second try for a theft.
            with suppress(DwError):
                self._file.forget()
            raise
        try:
            self._file.save(fresh)
        except DwError as error:
            self._warn(error.message)
        return fresh


def _good(token: Token | None, refused: str) -> bool:
    return token is not None and token.access != refused and not token.due(time.time())
