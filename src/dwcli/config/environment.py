"""What the environment says, and where a user's folders are; nothing else reads it."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from dwcli.logins import Login
from dwcli.secrets import Sources


class Environment(NamedTuple):
    """What the environment says; nothing else reads it. Its words never show the password or the token."""

    config: Path
    profile: str
    url: str
    user: str
    password: str | None
    token: str | None
    no_color: bool
    dumb: bool
    columns: int | None
    netrc: Path = Path("~/.netrc")
    screen: bool = False
    """Whether a browser's window can be opened here."""

    @property
    def state(self) -> Path:
        """The folder for what is kept between runs: tokens."""
        from platformdirs import user_state_path

        return user_state_path("dw", appauthor=False)

    def __repr__(self) -> str:
        return f"Environment(config={self.config!r}, profile={self.profile!r}, url={self.url!r})"

    @classmethod
    def read(cls) -> "Environment":
        """The process's environment, now."""
        get = os.environ.get
        columns = get("COLUMNS", "")
        return cls(
            config=Path(get("DW_CONFIG", "")).expanduser() if get("DW_CONFIG") else _default_config(),
            profile=get("DW_PROFILE", ""),
            url=get("DW_URL", ""),
            user=get("DW_USER", ""),
            password=get("DW_PASSWORD"),
            token=get("DW_TOKEN") or None,
            no_color=bool(get("NO_COLOR")),
            dumb=get("TERM") == "dumb",
            columns=int(columns) if columns.isdecimal() and int(columns) > 0 else None,
            netrc=Path(get("NETRC") or "~/.netrc").expanduser(),
            screen=sys.platform in ("win32", "darwin") or bool(get("DISPLAY") or get("WAYLAND_DISPLAY")),
        )


def _default_config() -> Path:
    from platformdirs import user_config_path

    return user_config_path("dw", appauthor=False) / "config.toml"


def cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("dw", appauthor=False)


def proxy_from_environment(url: str) -> str:
    """The proxy that HTTP_PROXY and its kin, but for NO_PROXY, put before this URL; empty where there is none."""
    from urllib import request

    split = urlsplit(url)
    found = request.getproxies_environment()
    chosen = found.get(split.scheme) or found.get("all") or ""
    return "" if request.proxy_bypass_environment(split.netloc, found) else chosen  # type: ignore[attr-defined]


def may_name_proxy() -> bool:
    """Whether the environment may name a proxy, or the system's own settings where it has some."""
    return sys.platform in ("darwin", "win32") or any(name.lower().endswith("_proxy") for name in os.environ)


def variable(name: str) -> str | None:
    """One named variable, for secrets that live in the environment."""
    return os.environ.get(name)


def read_secret(word: str, variable_name: str | None, command: str | None) -> str:
    """A secret that belongs to no profile: from a named variable, or a command's first line. Raises AuthError."""
    named = {f"{word}_command": command} if command is not None else {f"{word}_env": variable_name or ""}
    found = Sources(Path(), variable, lambda _question: "").find(named, word, "")
    assert found is not None
    return found.get()


def from_environment(environment: Environment, ask: Callable[[str], str]) -> Login | None:
    if environment.token is not None:
        token = environment.token
        return Login("bearer", secret=lambda: token, source="DW_TOKEN")
    if environment.user:
        password = environment.password
        secret = (lambda: password) if password is not None else (lambda: ask(f"Password of {environment.user}: "))
        return Login("basic", environment.user, secret, "DW_PASSWORD" if password is not None else "prompt")
    return None
