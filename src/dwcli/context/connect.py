"""How to reach a profile's server: TLS trust, proxy and login."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dwcli import config
from dwcli.config.secret_sources import exposed_key
from dwcli.dicomweb.dialects import must_be_chosen
from dwcli.output import Out

if TYPE_CHECKING:
    from dwcli.net.auth import Login
    from dwcli.net.oidc import Provider
    from dwcli.net.settings import Settings
    from dwcli.net.tokens import TokenFile

Warn = Callable[[str], None]
Log = Callable[[int, str], None]


def settings_of(profile: config.Profile, out: Out) -> "Settings":
    """Return the transport settings, still without a login. Raises UsageError and AuthError, see Profile.tls."""
    from dwcli.net.settings import Settings

    if profile.insecure and profile.encrypted:
        out.caution(f"the certificate of {profile.url} is not verified (insecure)")
    key = profile.client_key or profile.client_cert
    if key and profile.encrypted and exposed_key(key):
        out.warn(f"other users can read the private key in {key}; hint: chmod 600 {shlex.quote(str(key))}")
    if profile.dialect.name == "auto" and (preset := must_be_chosen(profile.url)):
        out.warn(f"this URL looks like {preset}; hint: dw profile edit {profile.name or 'NAME'} --dialect {preset}")
    settings = Settings(
        base=profile.url,
        headers=profile.headers,
        verify=profile.tls() or True,
        proxy=profile.proxy,
        trust_env=config.may_name_proxy(),  # looking for one loads much of the standard library
    )
    if profile.timeout is not None:
        settings = settings._replace(
            connect=min(settings.connect, profile.timeout),
            silence=profile.timeout,
            first_byte=profile.timeout,
        )
    return settings


def flow_of(
    profile: config.Profile, provider: "Callable[[], tuple[Provider, TokenFile]]", warn: Warn, log: Log
) -> "Login | None":
    """Return how requests log in, or None; calls `provider` if an OpenID provider issues the token."""
    from dwcli.config.logins import TABLE, Way
    from dwcli.net.settings import origin_of_url

    way = Way(origin_of_url(profile.url), provider, warn, log)
    return TABLE[profile.login.kind].flow(profile.login, way)


def provider_of(profile: config.Profile, settings: "Settings", state: Path, log: Log) -> "tuple[Provider, TokenFile]":
    """Return the OpenID provider of a profile that has one, and its token file below `state`."""
    from dwcli.net.oidc import Provider
    from dwcli.net.settings import origin_of_url
    from dwcli.net.tokens import TokenFile

    oidc = profile.login.oidc
    assert oidc is not None
    bound = (origin_of_url(profile.url), oidc.issuer, oidc.client_id, oidc.scope, oidc.grant or "")
    return (
        Provider(oidc, settings, command=f"dw profile login {profile.name}", log=log),
        TokenFile(state / "tokens", profile.name, bound, oidc.username),
    )


def named(advice: str, profile: config.Profile) -> str:
    """Return a hint with the placeholder NAME replaced by the profile's name."""
    if not profile.name or profile.place:
        return advice
    return advice.replace("dw profile edit NAME", f"dw profile edit {shlex.quote(profile.name)}")


def login_hint(profile: config.Profile) -> str:
    """Return what to type after a 401."""
    from dwcli.config.logins import TABLE

    if not profile.name:
        return "set DW_USER and DW_PASSWORD, or DW_TOKEN; or dw profile add NAME URL --user U"
    return TABLE[profile.login.kind].hint.format(name=profile.name, source=profile.login.source)
