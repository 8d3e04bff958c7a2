"""Selects a profile: by flag, variable, or the file's default."""

from collections.abc import Callable, Mapping

from dwcli.config.environment import Environment, at_home, from_environment
from dwcli.config.file import LONGEST, File
from dwcli.config.logins import Login
from dwcli.config.profile import BUILT_IN, Profile, address_of, built_in, folder, is_folder, origin_of
from dwcli.errors import UsageError


def select(
    environment: Environment,
    *,
    profile: str = "",
    url: str = "",
    timeout: float | None = None,
    headers: Mapping[str, str] | None = None,
    ask: Callable[[str], str],
) -> Profile:
    """The profile a command runs with. `ask(question)` prompts for a secret; it raises if it cannot prompt.

    Raises UsageError with the next command where there is none, or where `url` would carry a profile's login elsewhere.
    """
    if timeout is not None and not 0 < timeout < LONGEST:
        raise UsageError(f"not a time-out in seconds: {timeout}", "--timeout 30")
    file = File.load(environment.config)
    name = profile or ("" if url else environment.profile)
    address = url or ("" if profile or environment.profile else environment.url)
    if address and not name and is_folder(address):
        chosen = folder(at_home(address))
    elif address and not name:
        chosen = _bare(environment, address_of(address), ask)
    else:
        chosen = _named(file, name or file.default, environment, ask)
        if address:
            chosen = _moved(chosen, name, address_of(address))
    return chosen._replace(
        headers=_overridden(chosen.headers, headers or {}),
        timeout=timeout if timeout is not None else chosen.timeout,
    )


def _named(file: File, name: str, environment: Environment, ask: Callable[[str], str]) -> Profile:
    """The profile of that name, of the file before a built-in one. Raises UsageError, also where there is no name."""
    if not name:
        raise UsageError("no server chosen", "dw profile add NAME URL   (or --url URL once; or -p demo)")
    return file.profile(name, environment, ask) if name in file.names or name not in BUILT_IN else built_in(name)


def _moved(chosen: Profile, name: str, address: str) -> Profile:
    """The profile at another address of its server. Raises UsageError where its login would leave that server."""
    if origin_of(address) != origin_of(chosen.url):
        raise UsageError(
            f"--url {address} is not the server of profile {name}; dw does not send its login there",
            "leave out -p or --url",
        )
    return chosen._replace(url=address)


def _overridden(headers: Mapping[str, str], later: Mapping[str, str]) -> dict[str, str]:
    """Headers of which the later ones hold, however their names are written."""
    names = {name.lower() for name in later}
    return {**{name: value for name, value in headers.items() if name.lower() not in names}, **later}


def _bare(environment: Environment, url: str, ask: Callable[[str], str]) -> Profile:
    """Return a profile for `--url` or DW_URL alone, with the login from the environment."""
    from dwcli.dicomweb.dialects import choose

    return Profile(name="", url=url, dialect=choose("auto"), login=from_environment(environment, ask) or Login())
