"""The environment and the user's folders; no other module reads them."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from dwcli.config.logins import Login
from dwcli.config.secret_sources import Sources
from dwcli.errors import UsageError


class Environment(NamedTuple):
    """The environment's settings. `repr` never shows the password or the token."""

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
    """Whether a browser window can be opened."""

    @property
    def state(self) -> Path:
        """The folder for data kept between runs: tokens."""
        from platformdirs import user_state_path

        return known(_own(lambda: user_state_path("dw", appauthor=False)), "XDG_STATE_HOME")

    def __repr__(self) -> str:
        return f"Environment(config={self.config!r}, profile={self.profile!r}, url={self.url!r})"

    @classmethod
    def read(cls) -> "Environment":
        """Read the process's current environment."""
        get = os.environ.get
        columns = get("COLUMNS", "")
        return cls(
            config=at_home(get("DW_CONFIG", "")) if get("DW_CONFIG") else _default_config(),
            profile=get("DW_PROFILE", ""),
            url=get("DW_URL", ""),
            user=get("DW_USER", ""),
            password=get("DW_PASSWORD"),
            token=get("DW_TOKEN") or None,
            no_color=bool(get("NO_COLOR")),
            dumb=get("TERM") == "dumb",
            columns=int(columns) if columns.isdecimal() and int(columns) > 0 else None,
            netrc=at_home(get("NETRC") or "~/.netrc"),
            screen=sys.platform in ("win32", "darwin") or bool(get("DISPLAY") or get("WAYLAND_DISPLAY")),
        )


def _default_config() -> Path:
    from platformdirs import user_config_path

    return _own(lambda: user_config_path("dw", appauthor=False)) / "config.toml"


def _own(find: Callable[[], Path]) -> Path:
    """Return what `find` finds, or `~` if it needs a home folder and there is none (as older platformdirs do)."""
    try:
        return find()
    except RuntimeError:
        return Path("~")


def cache() -> Path:
    """Return the cache folder. Raises UsageError if the user has none."""
    from platformdirs import user_cache_path

    return known(_own(lambda: user_cache_path("dw", appauthor=False)), "XDG_CACHE_HOME")


def data() -> Path:
    """Return the data folder. Raises UsageError if the user has none."""
    from platformdirs import user_data_path

    return known(_own(lambda: user_data_path("dw", appauthor=False)), "XDG_DATA_HOME")


def at_home(path: str) -> Path:
    """Expand `~` as a shell does; the path stays unchanged if there is no home folder (a container)."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  pathlib's raises


def is_homeless(path: Path) -> bool:
    """Return whether a path starts with a home folder that does not exist."""
    return path.parts[:1] == ("~",)


def known(path: Path, name: str) -> Path:
    """Return the path. Raises UsageError if it depends on a home folder that the user does not have."""
    if is_homeless(path):
        raise UsageError("no home folder is known", f"set HOME or {name}")
    return path


def proxy_from_environment(url: str) -> str:
    """Return the proxy for this URL from HTTP_PROXY and similar variables, subject to NO_PROXY; else empty."""
    from urllib import request

    split = urlsplit(url)
    found = request.getproxies_environment()
    chosen = found.get(split.scheme) or found.get("all") or ""
    return "" if request.proxy_bypass_environment(split.netloc, found) else chosen  # type: ignore[attr-defined]


def may_name_proxy() -> bool:
    """Return whether the environment, or the system's settings, may name a proxy."""
    return sys.platform in ("darwin", "win32") or any(name.lower().endswith("_proxy") for name in os.environ)


def variable(name: str) -> str | None:
    """Return one variable, for secrets in the environment."""
    return os.environ.get(name)


def read_secret(word: str, variable_name: str | None, command: str | None) -> str:
    """Return a secret of no profile: from a variable, or a command's first line. Raises AuthError."""
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
