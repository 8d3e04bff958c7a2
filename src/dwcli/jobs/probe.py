"""Is a server reachable, does it let us in, and does it speak DICOMweb? Each step says what came."""

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from dwcli.client import Client
from dwcli.dicomweb.query import Query, Term
from dwcli.dicomweb.refs import STUDY_UID, Level
from dwcli.errors import AbsentError, DwError, TemporaryError

_NO_STUDY = "2.25.0"
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `result` in words, `error` where it failed (no further step follows then)."""

    name: str
    result: str
    error: DwError | None = None


def probe(client: Client, *, direct: bool) -> Iterator[Step]:
    """Name, TCP, then a search with the profile's login. `direct`: no proxy stands between."""
    split = urlsplit(client.base)
    host, port = split.hostname or "", split.port or (443 if split.scheme == "https" else 80)
    if direct:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            yield Step(
                "name",
                "",
                TemporaryError(f"no address for {host}: {error.strerror}", "check the profile's URL"),
            )
            return
        yield Step("name", f"{host} is {', '.join(sorted({str(info[4][0]) for info in found}))}")
        try:
            with socket.create_connection((host, port), _SECONDS):
                pass
        except OSError as error:
            reason = error.strerror or str(error)
            yield Step(
                "connection",
                "",
                TemporaryError(f"port {port} of {host}: {reason}", "is the server up, the port right?"),
            )
            return
        yield Step("connection", f"port {port} is open")
    try:
        terms = () if client.dialect.keyless else (Term(STUDY_UID, _NO_STUDY),)
        rows = list(client.search(Query(Level.STUDY, terms=terms, limit=1)))
    except AbsentError as error:
        if client.dialect.keyless:
            yield Step("search", "", error)
            return
        rows = []
    except DwError as error:
        yield Step("search", "", error)
        return
    if split.scheme == "https":
        yield Step("TLS", f"OpenSSL accepts the certificate ({ssl.OPENSSL_VERSION})")
    yield Step("search", "studies can be searched" if rows else "studies can be searched; there are none that match")
