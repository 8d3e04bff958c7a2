"""The DICOMweb servers that an Orthanc knows, and what it does with them by itself (`/dicom-web/servers/…`).

Seen with Orthanc 1.10.1 and its plugin 1.7; the same routes are there since plugin 1.0.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from dwcli.client import Client
from dwcli.dicomweb import removal
from dwcli.dicomweb.refs import InstanceRef, Ref, SeriesRef
from dwcli.dicomweb.request import Request
from dwcli.errors import AbsentError, DwError, ProtocolError, RefusedError, UsageError
from dwcli.jobs import ownname
from dwcli.net.body import Bytes
from dwcli.net.transport import Response

_PAUSES = (0.1, 0.2, 0.5)
_ENDED = ("Success", "Failure")


@dataclass(frozen=True, slots=True)
class Peer:
    """A server to be made known. `certificate` and `key` are paths on Orthanc's own machine."""

    url: str
    username: str = ""
    password: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    chunked: bool = True
    can_delete: bool = False
    certificate: str = ""
    key: str = ""
    key_password: str = ""
    timeout: int = 0

    def document(self) -> dict[str, object]:
        """As Orthanc takes it."""
        said: dict[str, object] = {
            "Url": self.url.rstrip("/") + "/",
            "ChunkedTransfers": self.chunked,
            "HasDelete": self.can_delete,
        }
        if self.username:
            said |= {"Username": self.username, "Password": self.password}
        if self.headers:
            said["HttpHeaders"] = dict(self.headers)
        if self.certificate:
            said |= {"CertificateFile": self.certificate, "CertificateKeyFile": self.key or self.certificate}
        if self.key_password:
            said["CertificateKeyPassword"] = self.key_password
        if self.timeout:
            said["Timeout"] = self.timeout
        return said


@dataclass(frozen=True, slots=True)
class Job:
    """A job of Orthanc's. `progress` in per cent; `content` as Orthanc describes it."""

    id: str
    state: str
    progress: int
    error: str
    content: Mapping[str, Any]

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in _ENDED


class Peers:
    """What one Orthanc can do with other servers. Raises UsageError for a profile of another dialect."""

    def __init__(self, client: Client) -> None:
        name = client.dialect.name
        if name == "auto":
            client.dialect = replace(client.dialect, core="..")
        elif not name.startswith("orthanc"):
            raise UsageError(
                f"this profile's server is no Orthanc (dialect {name})",
                "-p NAME of an Orthanc, or dw profile edit NAME --dialect orthanc",
            )
        self._client = client

    def names(self) -> dict[str, dict[str, Any]]:
        """The servers that it knows, each with its settings; passwords are left out by Orthanc itself."""
        found = _object(self._call("GET", "servers?expand"))
        return {str(name): dict(settings) for name, settings in found.items()}

    def add(self, name: str, peer: Peer) -> None:
        """Make a server known, or change it. Orthanc forgets it when it restarts."""
        self._call("PUT", f"servers/{_word(name)}", peer.document())

    def remove(self, name: str) -> None:
        """Forget a server."""
        self.known(name)
        self._call("DELETE", f"servers/{_word(name)}")

    @contextmanager
    def get(
        self, name: str, path: str, parameters: Mapping[str, str], headers: Mapping[str, str]
    ) -> Iterator[Response]:
        """What a server answers to a GET that Orthanc sends it."""
        document = {"Uri": path, "Arguments": dict(parameters), "HttpHeaders": dict(headers)}
        with self._client.transport.stream(self._request("POST", f"servers/{_word(name)}/get", document)) as response:
            yield response

    def known(self, name: str) -> None:
        """Raises AbsentError where Orthanc knows no server of that name; a job would only fail."""
        if name not in self.names():
            raise AbsentError(f"this Orthanc knows no server {name}", f"dw orthanc servers add {name} URL")

    def retrieve(self, name: str, refs: Sequence[Ref], **how: object) -> Mapping[str, Any]:
        """Orthanc fetches these from a server into itself; its account of it, or the job where `Synchronous` is off."""
        return self._run(name, "retrieve", [_uids(ref) for ref in refs], how)

    def stow(self, name: str, refs: Iterable[Ref], **how: object) -> Mapping[str, Any]:
        """Orthanc sends these of its own to a server; answers as `retrieve`. Raises AbsentError for what it lacks."""
        own = [one.name for ref in refs for one in ownname.find(self._client, ref)]
        return self._run(name, "stow", own, how)

    def delete(self, name: str, ref: Ref) -> None:
        """Orthanc sends a DELETE to a server that was added with `can_delete`."""
        keys = {"Study": "StudyInstanceUID", "Series": "SeriesInstanceUID", "Instance": "SOPInstanceUID"}
        uids = {keys[level]: uid for level, uid in _uids(ref).items()}
        self.known(name)
        self._told(name, "delete", {"Level": str(ref.level).capitalize(), **uids})

    def job(self, job: str) -> Job:
        """How a job stands."""
        url = removal.core(self._client.base, self._client.dialect, f"jobs/{_word(job)}")
        found = _object(ownname.call(self._client, Request("GET", url, {"Accept": "application/json"})))
        content = dict(found.get("Content") or {})
        words = content.get("FunctionErrorDescription") or found.get("ErrorDetails") or found.get("ErrorDescription")
        state = str(found.get("State", ""))
        return Job(job, state, int(found.get("Progress", 0)), str(words) if state == "Failure" else "", content)

    def follow(self, job: str, wait: Callable[[float], None] = time.sleep) -> Iterator[Job]:
        """A job at every look until it ends. Raises DwError where it failed."""
        pauses = iter(_PAUSES)
        while True:
            now = self.job(job)
            yield now
            if now.state == "Failure":
                raise DwError(f"Orthanc's job failed: {now.error}", "its log, and the other server's, say more")
            if now.ended:
                return
            wait(next(pauses, _PAUSES[-1]))

    def _run(self, name: str, verb: str, resources: Sequence[object], how: Mapping[str, object]) -> Mapping[str, Any]:
        said = {"Resources": list(resources), **{key: value for key, value in how.items() if value not in (None, {})}}
        self.known(name)
        return _object(self._told(name, verb, said))

    def _told(self, name: str, verb: str, said: Mapping[str, object]) -> bytes:
        """What Orthanc answers to an order that another server has to carry out."""
        try:
            return self._call("POST", f"servers/{_word(name)}/{verb}", said)
        except RefusedError as error:
            raise RefusedError(
                f"{name} did not do it: {error.message}", "Orthanc's log says why", status=error.status
            ) from error

    def _call(self, method: str, path: str, document: object = None) -> bytes:
        return ownname.call(self._client, self._request(method, path, document))

    def _request(self, method: str, path: str, document: object) -> Request:
        body = None if document is None else Bytes(json.dumps(document).encode())
        headers = {} if body is None else {"Content-Type": "application/json"}
        # A job that was started must not be started again because its answer was lost.
        return Request(method, f"{self._client.base}/{path}", headers, body, repeatable=method != "POST")


def _uids(ref: Ref) -> dict[str, str]:
    match ref:
        case InstanceRef(study, series, instance):
            return {"Study": study, "Series": series, "Instance": instance}
        case SeriesRef(study, series):
            return {"Study": study, "Series": series}
        case _:
            return {"Study": ref.study}


def _word(name: str) -> str:
    return quote(name, safe="")


def _object(answer: bytes) -> dict[str, Any]:
    try:
        found = json.loads(answer)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ProtocolError(f"this is not what Orthanc's DICOMweb plugin answers: {answer[:60]!r}")
    return found
