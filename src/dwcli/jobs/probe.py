"""Check in steps whether a server is reachable, accepts the login, and speaks DICOMweb."""

import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from dwcli.client import Client
from dwcli.dicomweb import media
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.dicomweb.multipart import PartData
from dwcli.dicomweb.query import Query, Term
from dwcli.dicomweb.refs import STUDY_UID, Level, StudyRef
from dwcli.dicomweb.request import Request
from dwcli.errors import AbsentError, AuthError, DwError, ProtocolError, TemporaryError
from dwcli.net import tls as trust

_NO_STUDY = "2.25.0"
_SECONDS = 10.0
_PAGE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `result` in words, `error` where it failed (no further step follows then, but for `answer`)."""

    name: str
    result: str
    error: DwError | None = None


def probe(client: Client, *, login: str, tls: ssl.SSLContext | None, proxy: str, here: bool = False) -> Iterator[Step]:
    """Name, TCP, TLS, login, QIDO-RS, WADO-RS.

    `login`: the profile's kind in words; `tls`: None for http; `proxy`: what stands between, empty for nothing;
    `here`: no server is asked but a folder.
    """
    try:
        if here:
            yield Step("folder", "handled in this process, without a server")
        elif proxy:
            yield Step("proxy", f"through {proxy}: only the search below checks name, connection and TLS")
        else:
            yield from _reach(client.base, tls)
        if flow := client.transport.login:
            try:
                flow.header()
            except DwError as error:
                yield Step("login", "", error)
                return
        yield from _use(client, login)
    except _FailedError as failed:
        yield Step(failed.step, "", failed.error)


class _FailedError(Exception):
    def __init__(self, step: str, error: DwError) -> None:
        self.step = step
        self.error = error


def _reach(base: str, tls: ssl.SSLContext | None) -> Iterator[Step]:
    split = urlsplit(base)
    host, port = split.hostname or "", split.port or (443 if split.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        reason = TemporaryError(f"cannot resolve {host}: {error.strerror}", "check the profile's URL")
        raise _FailedError("name", reason) from None
    yield Step("name", f"{host} is {', '.join(sorted({str(info[4][0]) for info in found}))}")
    try:
        raw = socket.create_connection((host, port), _SECONDS)
    except OSError as error:
        what = f"port {port} of {host}: {error.strerror or error}"
        raise _FailedError(
            "connection", TemporaryError(what, "check the port, and that the server is running")
        ) from None
    with raw:
        yield Step("connection", f"port {port} is open")
        if tls is None:
            return
        try:
            with tls.wrap_socket(raw, server_hostname=host) as wrapped:
                version, certificate = wrapped.version(), wrapped.getpeercert() or {}
        except ssl.SSLError as error:
            raise _FailedError("TLS", trust.failure(error, host)) from None
        except OSError as error:
            what = f"{host} ended the TLS handshake: {error.strerror or error}"
            raise _FailedError("TLS", TemporaryError(what, "check that the port uses https")) from None
    until = (
        f", its certificate is valid until {certificate['notAfter']}" if certificate else ", certificate not checked"
    )
    yield Step("TLS", f"{version}{until}")


def _use(client: Client, login: str) -> Iterator[Step]:
    try:
        terms = () if client.dialect.keyless else (Term(STUDY_UID, _NO_STUDY),)
        rows = list(client.search(Query(Level.STUDY, terms=terms, limit=1)))
    except AuthError as error:
        yield Step("login", "", error)
        yield from _answer(client)
        return
    except AbsentError as error:
        if client.dialect.keyless:
            yield Step("search", "", error)
            return
        rows = []
    except DwError as error:
        yield Step("search", "", error)
        if isinstance(error, ProtocolError):
            yield from _answer(client)
        return
    yield Step("login", f"accepted ({login})")
    yield Step("search", "studies can be searched" if rows else "studies can be searched; none are visible")
    yield from _retrieve(client, rows)


def _retrieve(client: Client, rows: list[Row]) -> Iterator[Step]:
    uid = text(rows[0], STUDY_UID) if rows else ""
    if not uid:
        return
    head = b""
    events = client.retrieve(StudyRef(uid))
    try:
        for event in events:
            if isinstance(event, PartData):
                head += event.data
                if len(head) >= 132:
                    break
    except DwError as error:
        yield Step("retrieve", "", error)
        return
    finally:
        # The rest of the study is not asked for.
        events.close()  # type: ignore[attr-defined]
    if head[128:132] != b"DICM":
        yield Step("retrieve", "", ProtocolError("the response is not a DICOM file", "dw doctor"))
        return
    yield Step("retrieve", "instances can be retrieved")


def _answer(client: Client) -> Iterator[Step]:
    """Describe a response that is not a search result: a login page has a title."""
    asked = Request("GET", f"{client.base}/studies?limit=1", {"Accept": media.DICOM_JSON})
    try:
        with client.request(asked) as response:
            data = response.read(_PAGE_BYTES)
    except DwError:
        return
    page = response.hide(data.decode("utf-8", "replace"))
    title = re.search(r"<title[^>]*>(.*?)</title>", page, re.IGNORECASE | re.DOTALL)
    kind = response.content_type or "no Content-Type"
    if media.classify(response.content_type, data) is media.Body.HTML:
        form = ", with a password field" if re.search(r"type=[\"']?password", page, re.IGNORECASE) else ""
        called = f" titled {' '.join(title[1].split())!r}" if title else ""
        yield Step("answer", f"status {response.status}, a web page{called}{form}")
    else:
        yield Step("answer", f"status {response.status}, {kind}: {' '.join(page[:80].split())}")
