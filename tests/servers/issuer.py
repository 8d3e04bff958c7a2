"""A scripted OpenID provider, for the answers that no real one gives on demand."""

import json
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

from servers.fake import Answer, Fake, Request

Reply = tuple[int, Mapping[str, Any]]


class FakeIssuer:
    """Issues tokens `access-1`, `access-2` … with refresh tokens `refresh-1` … that are good once.

    `script` holds (status, object) answers of the token endpoint, given before any other; `document` is merged over
    the discovery document; `life`: seconds in `expires_in`. `forms` are the forms that came, in order.
    """

    def __init__(self, *, life: float | None = 3600, document: Mapping[str, Any] | None = None) -> None:
        self.life = life
        self.document = dict(document or {})
        self.script: list[Reply] = []
        self.device: Reply = (200, {})
        self.forms: list[dict[str, str]] = []
        self.revoked: list[str] = []
        self.issued = 0
        self.refresh = "refresh-0"
        self._lock = threading.Lock()
        self.fake = Fake(self._answer)

    @property
    def issuer(self) -> str:
        return self.fake.origin

    def granted(self, grant: str) -> int:
        """How often a grant was asked for."""
        return sum(form.get("grant_type") == grant for form in self.forms)

    def _answer(self, asked: Request) -> Answer:
        with self._lock:
            status, found = self._route(asked)
        return Answer(status, {"Content-Type": "application/json"}, json.dumps(found).encode())

    def _route(self, asked: Request) -> Reply:
        routes: dict[str, Callable[[dict[str, str]], Reply]] = {
            "/token": self._token,
            "/device": lambda _form: self.device,
            "/revoke": self._revoke,
        }
        if asked.target == "/.well-known/openid-configuration":
            return 200, self._discovery()
        if asked.target not in routes:
            return 404, {}
        form = {key: values[0] for key, values in parse_qs(asked.body.decode()).items()}
        return routes[asked.target](form)

    def _discovery(self) -> dict[str, Any]:
        here = self.issuer
        return {
            "issuer": here,
            "token_endpoint": f"{here}/token",
            "authorization_endpoint": f"{here}/authorize",
            "device_authorization_endpoint": f"{here}/device",
            "revocation_endpoint": f"{here}/revoke",
            "scopes_supported": ["openid", "offline_access"],
            **self.document,
        }

    def _token(self, form: dict[str, str]) -> Reply:
        self.forms.append(form)
        if self.script:
            return self.script.pop(0)
        if form["grant_type"] == "refresh_token" and form["refresh_token"] != self.refresh:
            return 400, {"error": "invalid_grant", "error_description": f"{form['refresh_token']} is spent"}
        self.issued += 1
        self.refresh = f"refresh-{self.issued}"
        token: dict[str, Any] = {"access_token": f"access-{self.issued}", "token_type": "Bearer"}
        if form["grant_type"] != "client_credentials":
            token["refresh_token"] = self.refresh
        if self.life is not None:
            token["expires_in"] = self.life
        return 200, token

    def _revoke(self, form: dict[str, str]) -> Reply:
        self.revoked.append(form["token"])
        return 200, {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.fake.close()
