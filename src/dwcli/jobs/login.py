"""Log in at an OpenID provider by the first grant that works here, and log out. Yields what the user should see."""

import secrets
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from dwcli.errors import AuthError, DwError, ProtocolError, TemporaryError
from dwcli.net.loopback import Listener
from dwcli.net.oidc import GrantError, Provider
from dwcli.net.registration import Grant
from dwcli.net.tokens import Token, TokenFile

_BROWSER_SECONDS = 300.0
_SLOWER = 5.0
_NOT_THIS_WAY = frozenset({"unauthorized_client", "unsupported_grant_type", "unsupported_response_type"})


@dataclass(frozen=True, slots=True)
class TypeCode:
    """Go to `url` on any device and type `code`; `complete_url` has it in it already, or is empty."""

    url: str
    code: str
    complete_url: str
    seconds: float


@dataclass(frozen=True, slots=True)
class OpenPage:
    """Open `url` in a browser on this machine."""

    url: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Passed:
    """A way in that this provider does not let this client take; the next one is tried."""

    grant: Grant
    reason: str


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Done and kept. `expires`: when the access token ends; `renewable`: `dw` gets the next one by itself."""

    grant: Grant
    expires: float | None
    renewable: bool


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """`there`: whether there was a login; `revoked`: whether the provider was told, `reason` says why not."""

    there: bool
    revoked: bool
    reason: str = ""


Event = TypeCode | OpenPage | Passed | LoggedIn


def login(
    provider: Provider,
    file: TokenFile,
    *,
    browser: bool,
    credentials: Callable[[], tuple[str, str]],
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[Event]:
    """Log in and keep the token.

    `browser`: whether one can be opened here; `credentials()` prompts for user name and password, and raises if it
    cannot. Raises AuthError, with the last grant's reason, if none works.
    """
    reasons: list[DwError] = []
    for grant in _ways(provider, browser=browser):
        try:
            token = yield from _try(provider, grant, credentials, pause)
        except GrantError as error:
            if provider.registration.grant or error.code not in _NOT_THIS_WAY:
                raise
            reasons.append(error)
            yield Passed(grant, error.message)
            continue
        with file.locked():
            file.save(token)
        again = bool(token.refresh) or grant == "client_credentials" or provider.registration.unattended
        yield LoggedIn(grant, token.expires, again)
        return
    raise (
        reasons[-1]
        if reasons
        else AuthError(f"{provider.host} offers no login that dw supports", "choose one with --grant")
    )


def _ways(provider: Provider, *, browser: bool) -> list[Grant]:
    """The grants worth a try, the most convenient first."""
    registered = provider.registration
    if registered.grant:
        return [registered.grant]
    order: list[Grant]
    if registered.username and registered.unattended:
        order = ["password"]
    elif browser:
        order = ["code", "device", "password"]
    else:
        # The redirect leads to this machine, where the user may have no browser.
        order = ["device", "password", "code"]
    if registered.secret:
        order.append("client_credentials")
    return [grant for grant in order if provider.offers(grant)]


def _try(
    provider: Provider,
    grant: Grant,
    credentials: Callable[[], tuple[str, str]],
    pause: Callable[[float], None],
) -> Generator[Event, None, Token]:
    match grant:
        case "client_credentials":
            return provider.with_credentials()
        case "password":
            return provider.with_password(*credentials())
        case "code":
            return (yield from _by_page(provider))
        case "device":
            return (yield from _by_device(provider, pause))


def _by_page(provider: Provider) -> Generator[Event, None, Token]:
    from oauthlib.oauth2 import WebApplicationClient

    listener = Listener(provider.registration.redirect)
    try:
        verifier = WebApplicationClient("").create_code_verifier(64)
        state = secrets.token_urlsafe(24)
        yield OpenPage(provider.page(verifier=verifier, state=state, redirect=listener.url), _BROWSER_SECONDS)
        code = listener.wait(state, provider.issuer, _BROWSER_SECONDS)
        return provider.with_code(code, verifier, listener.url)
    finally:
        listener.close()


def _by_device(provider: Provider, pause: Callable[[float], None]) -> Generator[Event, None, Token]:
    """Poll until the user has agreed (RFC 8628 3.3 to 3.5)."""
    device = provider.start_device()
    yield TypeCode(device.url, device.user_code, device.complete_url, device.seconds)
    interval, waited = device.interval, 0.0
    while waited < device.seconds:
        pause(interval)
        waited += interval
        try:
            return provider.poll_device(device)
        except TemporaryError:
            interval *= 2  # RFC 8628 3.5
        except GrantError as error:
            match error.code:
                case "authorization_pending":
                    pass
                case "slow_down":
                    interval += _SLOWER
                case "access_denied":
                    raise AuthError("the login was denied on the other device", provider.command) from None
                case "expired_token":
                    break
                case _:
                    raise
    raise AuthError("the code expired before it was used", provider.command)


def logout(provider: Provider, file: TokenFile) -> LoggedOut:
    """Revoke the token at the provider, as far as it can be reached, and delete it here in any case."""
    with file.locked():
        token = file.load()
        there = file.forget()
    if token is None:
        return LoggedOut(there, False)
    try:
        revoked = provider.revoke(token)
    except (AuthError, ProtocolError, TemporaryError) as error:
        return LoggedOut(True, False, error.message)
    return LoggedOut(True, revoked, "" if revoked else f"{provider.host} offers no revocation")
