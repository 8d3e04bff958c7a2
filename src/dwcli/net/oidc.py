"""An OpenID provider: its discovery, and every grant that brings a token (RFC 6749, 7009, 7636, 8628)."""

import base64
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, quote_plus, urlencode, urlsplit

import httpx

from dwcli.errors import AuthError, DwError, ProtocolError, TemporaryError, TruncatedError
from dwcli.net import codings
from dwcli.net.auth import origin_of
from dwcli.net.failures import translate
from dwcli.net.registration import Grant, Registration
from dwcli.net.settings import Settings
from dwcli.net.tokens import SpentError, Token

_DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
_NAMES: dict[str, str] = {
    "device": _DEVICE,
    "code": "authorization_code",
    "client_credentials": "client_credentials",
    "password": "password",
}
_OPEN = frozenset({"scope", "username", "redirect_uri"})
_SECONDS = 30.0
_INTERVAL = 5.0
_LARGEST = 1 << 20  # bytes of a response
_OF_TRANSFER = frozenset({"content-encoding", "content-length", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Device:
    """A device authorization (RFC 8628 3.2): the URL and code for the user, valid for `seconds` from now."""

    code: str = field(repr=False)
    user_code: str
    url: str
    complete_url: str
    seconds: float
    interval: float


class GrantError(AuthError):
    """The provider refused; `code` is its error code (RFC 6749 5.2, RFC 8628 3.5)."""

    def __init__(self, message: str, hint: str = "", *, code: str) -> None:
        super().__init__(message, hint)
        self.code = code


class Provider:
    """One issuer, asked with the same TLS, proxy and time-outs as the server that its tokens are for.

    `command` is what the user types to log in again; `log` receives each request, as Transport's does. Every method
    raises GrantError where the provider refuses, TemporaryError where it does not respond, ProtocolError where its
    response cannot be used.
    """

    def __init__(
        self,
        registration: Registration,
        settings: Settings,
        *,
        command: str = "",
        log: Callable[[int, str], None] = lambda _level, _text: None,
    ) -> None:
        self.registration = registration
        self.command = command
        self._log = log
        self.issuer = registration.issuer.removesuffix("/.well-known/openid-configuration").rstrip("/")
        self.host = urlsplit(self.issuer).netloc
        self._known: Mapping[str, Any] | None = None
        self._http = httpx.Client(
            verify=settings.verify,
            proxy=settings.proxy,
            trust_env=settings.trust_env,
            follow_redirects=False,
            timeout=httpx.Timeout(min(_SECONDS, settings.silence), connect=settings.connect),
            headers={"User-Agent": "dw", "Accept": "application/json", "Accept-Encoding": codings.ACCEPTED},
        )

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    # What it offers

    def discovered(self) -> Mapping[str, Any]:
        """The discovery document (OpenID Connect Discovery 1.0, 4), asked for once."""
        if self._known is None:
            url = f"{self.issuer}/.well-known/openid-configuration"
            reply = self._send("GET", url)
            found = _object(reply)
            if reply.status_code != 200 or found is None:
                raise ProtocolError(
                    f"{self.host} has no discovery document: {reply.status_code} for {url}",
                    "check the issuer, including its path",
                )
            if str(found.get("issuer", "")).rstrip("/") != self.issuer:
                raise ProtocolError(
                    f"{self.host} identifies itself as another issuer, {found.get('issuer')!r}",
                    "if it is the right one: dw profile edit NAME --issuer URL",
                )
            self._known = found
        return self._known

    def endpoint(self, name: str) -> str:
        """One endpoint's URL. Raises ProtocolError where there is none, or it lies elsewhere and without TLS."""
        url = str(self.discovered().get(f"{name}_endpoint") or "")
        if not url:
            raise GrantError(f"{self.host} offers no {name.replace('_', ' ')}", code="unsupported_grant_type")
        split = urlsplit(url)
        at_home = split.scheme == "http" and origin_of(httpx.URL(url)) == origin_of(httpx.URL(self.issuer))
        if not split.hostname or not (split.scheme == "https" or at_home):
            raise ProtocolError(
                f"{self.host} names a {name.replace('_', ' ')} endpoint without TLS: {url}",
                "the endpoint must use https",
            )
        return url

    def offers(self, grant: Grant) -> bool:
        """Whether the discovery document has what a grant needs."""
        known = self.discovered()
        listed = known.get("grant_types_supported")
        match grant:
            case "device":
                return bool(known.get("device_authorization_endpoint"))
            case "code":
                return bool(known.get("authorization_endpoint"))
            case _:
                return not isinstance(listed, list) or _NAMES[grant] in listed

    def scope(self, grant: Grant) -> str:
        """The scope to ask for: the registration's, or one that brings a refresh token where that has a name."""
        if self.registration.scope or grant == "client_credentials":
            return self.registration.scope
        supported = self.discovered().get("scopes_supported")
        return "openid offline_access" if isinstance(supported, list) and "offline_access" in supported else "openid"

    # Grants

    def with_credentials(self) -> Token:
        """The client's own token (RFC 6749 4.4)."""
        return self._token("client_credentials", scope=self.scope("client_credentials"))

    def with_password(self, username: str, password: str) -> Token:
        """A user's token for name and password (RFC 6749 4.3)."""
        return self._token("password", username=username, password=password, scope=self.scope("password"))

    def with_code(self, code: str, verifier: str, redirect: str) -> Token:
        """The token for a code that the browser brought back (RFC 6749 4.1.3, RFC 7636 4.5)."""
        return self._token("authorization_code", code=code, code_verifier=verifier, redirect_uri=redirect)

    def page(self, *, verifier: str, state: str, redirect: str) -> str:
        """The URL to open in a browser (RFC 6749 4.1.1, RFC 7636 4.3)."""
        from oauthlib.oauth2 import WebApplicationClient

        url = self.endpoint("authorization")
        scope = self.scope("code")
        asked = {
            "response_type": "code",
            "client_id": self.registration.client_id,
            "redirect_uri": redirect,
            "scope": scope,
            "state": state,
            "code_challenge": WebApplicationClient("").create_code_challenge(verifier, "S256"),
            "code_challenge_method": "S256",
            # OpenID Connect Core 1.0, 11: without it the scope is ignored.
            **({"prompt": "consent"} if "offline_access" in scope.split() else {}),
        }
        return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(asked, quote_via=quote)}"

    def start_device(self) -> Device:
        """Request a code for the user to type on another device (RFC 8628 3.1)."""
        form = {"client_id": self.registration.client_id, "scope": self.scope("device")}
        found = self._post(self.endpoint("device_authorization"), urlencode(form))
        url = str(found.get("verification_uri") or found.get("verification_url") or "")  # the latter is Google's
        code, user_code = str(found.get("device_code") or ""), str(found.get("user_code") or "")
        if not (code and user_code and urlsplit(url).scheme in ("http", "https")):
            raise ProtocolError(f"{self.host} sent no usable device code")
        complete = str(found.get("verification_uri_complete") or "")
        return Device(
            code,
            user_code,
            url,
            complete if urlsplit(complete).scheme in ("http", "https") else "",
            _number(found.get("expires_in")) or 600.0,
            _number(found.get("interval")) or _INTERVAL,
        )

    def poll_device(self, device: Device) -> Token:
        """The token, once the user has agreed (RFC 8628 3.4); until then GrantError says `authorization_pending`."""
        return self._token(_DEVICE, device_code=device.code)

    def refresh(self, token: Token) -> Token:
        """A token for the refresh token (RFC 6749 6), which is kept where no new one comes. Raises SpentError."""
        try:
            fresh = self._token("refresh_token", refresh_token=token.refresh)
        except GrantError as error:
            if error.code == "invalid_grant":
                raise SpentError(f"the login at {self.host} has ended: {error.message}", self.command) from None
            raise
        return fresh if fresh.refresh else replace(fresh, refresh=token.refresh)

    def renew(self, token: Token | None) -> Token:
        """Get a new token unattended, by refresh or an unattended grant. Raises AuthError if that fails."""
        if token is not None and token.refresh:
            try:
                return self.refresh(token)
            except SpentError:
                if not self._alone:
                    raise
        if self.registration.grant == "client_credentials":
            return self.with_credentials()
        if self._alone and self.registration.password:
            return self.with_password(self.registration.username, self.registration.password())
        what = "the login has ended" if token else "not logged in"
        raise AuthError(f"{what} at {self.host}", self.command)

    @property
    def _alone(self) -> bool:
        asked = self.registration
        by_password = asked.grant in (None, "password") and asked.unattended and bool(asked.username)
        return asked.grant == "client_credentials" or by_password

    def revoke(self, token: Token) -> bool:
        """Revoke the token at the provider (RFC 7009); False if it offers no revocation."""
        if not self.discovered().get("revocation_endpoint"):
            return False
        kind = "refresh_token" if token.refresh else "access_token"
        form = {"token": token.refresh or token.access, "token_type_hint": kind}
        if self.registration.secret is None:
            form["client_id"] = self.registration.client_id
        self._post(self.endpoint("revocation"), urlencode(form), hidden=[form["token"]], empty=True)
        return True

    # Asking

    def _token(self, grant: str, **fields: str) -> Token:
        from oauthlib.oauth2.rfc6749.parameters import prepare_token_request

        public = self.registration.secret is None
        body = prepare_token_request(
            grant,
            include_client_id=public,
            client_id=self.registration.client_id,
            **{key: value for key, value in fields.items() if value},
        )
        asked = time.time()
        found = self._post(
            self.endpoint("token"), body, hidden=[value for key, value in fields.items() if key not in _OPEN]
        )
        access = found.get("access_token")
        if not isinstance(access, str) or not access:
            raise ProtocolError(f"{self.host} sent no access token")
        kind = found.get("token_type", "Bearer")
        if str(kind).lower() != "bearer":
            raise ProtocolError(f"{self.host} sent a token of type {kind}, which is not supported")
        life = _number(found.get("expires_in"))
        refresh = found.get("refresh_token")
        return Token(
            access,
            refresh if isinstance(refresh, str) else "",
            asked,
            # Its lifetime began before the response: counting from the request errs on the safe side.
            None if life is None else asked + life,
        )

    def _post(self, url: str, body: str, *, hidden: Iterable[str] = (), empty: bool = False) -> Mapping[str, Any]:
        """POST a form with the client's own login, by header first, then in the body if only that is taken.

        `hidden`: values in the form that no error may repeat; `empty`: a response without a body is fine.
        """
        secret = self.registration.secret() if self.registration.secret else None
        methods = [""] if secret is None else self._methods(secret)
        reply = None
        for method in methods:
            form, headers = body, {"Content-Type": "application/x-www-form-urlencoded"}
            if secret is not None and method.startswith("client_secret_basic"):
                written = quote_plus if method == "client_secret_basic" else str
                pair = f"{written(self.registration.client_id)}:{written(secret)}".encode()
                headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
            elif secret is not None:
                form += "&" + urlencode({"client_id": self.registration.client_id, "client_secret": secret})
            reply = self._send("POST", url, form=form, headers=headers)
            found = _object(reply)
            code = str((found or {}).get("error") or "")
            if code != "invalid_client":
                break
        assert reply is not None
        if reply.status_code < 300 and not code and (found is not None or empty):
            return found or {}
        raise self._refused(reply, code, str((found or {}).get("error_description") or ""), [*hidden, secret or ""])

    def _methods(self, secret: str) -> list[str]:
        """The client authentication methods, in the order to try (RFC 6749 2.3.1)."""
        listed = self.discovered().get("token_endpoint_auth_methods_supported")
        known = [method for method in ("client_secret_basic", "client_secret_post") if method in (listed or ())]
        known = known or ["client_secret_basic"]
        if "client_secret_basic" in known and quote_plus(secret) != secret:
            # Not every provider knows that the pair is form-encoded before it is Base64.
            known.append("client_secret_basic as it stands")
        return known

    def _refused(self, reply: httpx.Response, code: str, said: str, hidden: Iterable[str]) -> DwError:
        """Turn a provider's refusal into an error with its own words but none of the `hidden` values."""
        status = reply.status_code
        for value in hidden:
            if len(value) >= 4:
                said = said.replace(value, "(hidden)")
        words = f"{code}: {said}" if code and said else code or f"status {status}"
        match code:
            case "temporarily_unavailable" | "server_error":
                return TemporaryError(
                    f"{self.host} cannot process logins now ({words})", "try the same command again later"
                )
            case "" if status in (408, 429) or status >= 500:
                return TemporaryError(
                    f"{self.host} cannot process logins now ({status})", "try the same command again later"
                )
            case "":
                return ProtocolError(f"{self.host} sent {status} without a valid OAuth error")
            case "invalid_client" | "unauthorized_client":
                hint = "check --client-id, its secret, and --grant in `dw profile edit`"
            case "invalid_scope":
                hint = "dw profile edit NAME --scope openid"
            case _:
                hint = self.command
        return GrantError(f"{self.host} refuses the login ({words})", hint, code=code)

    def _send(
        self, method: str, url: str, *, form: str | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        # Whatever is secret goes in the form.
        self._log(2, f"> {method} {url}")
        began = time.monotonic()
        try:
            with self._http.stream(method, url, content=form, headers=dict(headers or {})) as coming:
                reply = _read(coming, urlsplit(url).netloc)
        except httpx.HTTPError as error:
            raise translate(error, urlsplit(url).netloc) from None
        except httpx.InvalidURL as error:
            raise ProtocolError(f"{self.host} names an invalid URL: {error}") from None
        kind = reply.headers.get("Content-Type", "no Content-Type")
        self._log(2, f"< {reply.status_code} {kind} after {time.monotonic() - began:.3f} s")
        if reply.is_redirect:
            where = origin_of(reply.url.join(reply.headers.get("Location", "")))
            raise ProtocolError(
                f"{urlsplit(url).netloc} redirects to {where}, which was not followed",
                "check the issuer",
            )
        return reply


def _read(coming: httpx.Response, host: str) -> httpx.Response:
    """The same response with its body, decoded. Raises ProtocolError where that is larger than any token or list."""
    body = bytearray()
    try:
        coding = codings.named(coming.headers, host)
        pieces = coming.iter_raw()
        for piece in codings.decoded(pieces, coding, host, empty=True) if coding else pieces:
            body += piece
            if len(body) > _LARGEST:
                raise ProtocolError(f"{host} sent more than {_LARGEST} bytes", "check the issuer")
    except (ProtocolError, TruncatedError):
        if coming.status_code < 400:
            raise
        body.clear()  # the status says enough
    kept = [(name, value) for name, value in coming.headers.multi_items() if name.lower() not in _OF_TRANSFER]
    return httpx.Response(coming.status_code, headers=kept, content=bytes(body), request=coming.request)


def _object(reply: httpx.Response) -> dict[str, Any] | None:
    try:
        found = reply.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _number(value: Any) -> float | None:
    """A positive number of seconds, also written as a string (Azure's v1); None for anything else."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if 0 < found < 1e10 else None
