"""nginx before another server, letting in who shows a token that an OpenID provider calls active."""

import base64
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import quote, quote_plus

from servers.fake import Answer, Fake, Request
from servers.nginx import Nginx
from servers.wire import request


class Issuer(Protocol):
    """What a provider of the tests has."""

    machine: str
    machine_secret: str
    form_encoded: bool

    @property
    def issuer(self) -> str: ...

    @property
    def introspection(self) -> str: ...


class Gate:
    """`url` is the DICOMweb address behind nginx's `auth_request`; `upstream_headers` log nginx in at the server.

    `seen` holds every token shown, `refused` counts those turned away.
    """

    def __init__(
        self, folder: Path, upstream: str, issuer: Issuer, *, upstream_headers: Mapping[str, str], location: str = ""
    ) -> None:
        self._issuer = issuer
        self._lock = threading.Lock()
        self.seen: set[str] = set()
        self.refused = 0
        self._checker = Fake(self._check)
        sent = "\n".join(f'proxy_set_header {name} "{value}";' for name, value in upstream_headers.items())
        self.nginx = Nginx(
            folder,
            upstream,
            server=f"""location = /_check {{
              internal;
              proxy_pass {self._checker.origin}/;
              proxy_pass_request_body off;
              proxy_set_header Content-Length "";
            }}
            error_page 401 = @refused;
            location @refused {{ return 401; }}""",
            location=f"auth_request /_check;\n{sent}\n{location}",
        )
        self.url = self.nginx.url

    def _check(self, asked: Request) -> Answer:
        shown = asked.header("Authorization") or ""
        token = shown.removeprefix("Bearer ")
        written = quote_plus if self._issuer.form_encoded else str
        pair = f"{written(self._issuer.machine)}:{written(self._issuer.machine_secret)}".encode()
        reply = request(
            "POST",
            self._issuer.introspection,
            headers={
                "Authorization": f"Basic {base64.b64encode(pair).decode()}",
                "Content-Type": "application/x-www-form-urlencoded",
            },
            body=f"token={quote(token, safe='')}".encode(),
        )
        active = shown.startswith("Bearer ") and json.loads(reply.body).get("active") is True
        with self._lock:
            self.seen.add(token)
            self.refused += not active
        return Answer(204 if active else 401)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.nginx.stop()
        self._checker.close()
