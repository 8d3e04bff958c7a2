"""Orthanc's remote DICOMweb servers, and its requests to them (`/dicom-web/servers/…`).

Tested with Orthanc 1.10.1 and its plugin 1.7; the routes exist since plugin 1.0.
"""

import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from dwcli.client import Client
from dwcli.dicomweb import deletion, refs
from dwcli.dicomweb.dicomjson import text
from dwcli.dicomweb.refs import InstanceRef, Level, Ref, SeriesRef
from dwcli.dicomweb.request import Request
from dwcli.errors import AbsentError, AuthError, DwError, ProtocolError, RefusedError, UsageError
from dwcli.jobs import rest_lookup
from dwcli.net.body import Bytes
from dwcli.net.response import Response

_PAUSES = (0.1, 0.2, 0.5)
_ANSWER = 1 << 20
_ENDED = ("Success", "Failure")


@dataclass(frozen=True, slots=True)
class Peer:
    """A server to add. `certificate` and `key` are paths on Orthanc's machine."""

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
        """Return the JSON document that Orthanc accepts."""
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
    """An Orthanc job. `progress` in per cent; `content` as Orthanc describes it."""

    id: str
    state: str
    progress: int
    error: str
    content: Mapping[str, Any]

    @property
    def ended(self) -> bool:
        """Whether the job has ended."""
        return self.state in _ENDED


class Peers:
    """One Orthanc's requests to other servers. Raises UsageError for a profile of another dialect."""

    def __init__(self, client: Client) -> None:
        name = client.dialect.name
        if name == "auto":
            client.learn(core="..")
        elif not name.startswith("orthanc"):
            raise UsageError(
                f"this profile's server is not an Orthanc (dialect {name})",
                "use -p NAME of an Orthanc, or dw profile edit NAME --dialect orthanc",
            )
        self._client = client

    def names(self) -> dict[str, dict[str, Any]]:
        """The servers that it knows, each with its settings; passwords are left out by Orthanc itself."""
        found = _object(answer := self._call("GET", "servers?expand"))
        if not all(isinstance(settings, dict) for settings in found.values()):
            raise _other(answer)
        return {str(name): dict(settings) for name, settings in found.items()}

    def add(self, name: str, peer: Peer) -> None:
        """Add or replace a server, until Orthanc restarts. Raises UsageError for a name that does not fit in Orthanc's
        paths."""
        if not name.strip() or "/" in name or name in (".", ".."):
            raise UsageError(f"not a server name for Orthanc: {name!r}", "use a name without a slash")
        self._call("PUT", f"servers/{_word(name)}", peer.document())

    def remove(self, name: str) -> None:
        """Remove a server."""
        self.known(name)
        self._call("DELETE", f"servers/{_word(name)}")

    @contextmanager
    def get(
        self, name: str, path: str, parameters: Mapping[str, str], headers: Mapping[str, str]
    ) -> Iterator[Response]:
        """Yield a server's response to a GET sent by Orthanc. Errors are those of the other server, and name it."""
        document = {"Uri": path, "Arguments": dict(parameters), "HttpHeaders": dict(headers)}
        # This also checks our own login at Orthanc.
        self.known(name)
        with ExitStack() as stack:
            try:
                asked = self._request("POST", f"servers/{_word(name)}/get", document)
                response = stack.enter_context(self._client.transport.stream(asked))
            except AuthError:
                raise _not_let_in(name) from None
            except AbsentError:
                raise AbsentError(f"{name}: not found: {path}") from None
            except RefusedError as error:
                raise _undone(name, error) from error
            yield response

    def known(self, name: str) -> None:
        """Raise AbsentError if Orthanc has no server of that name; a job would only fail."""
        if name not in self.names():
            raise AbsentError(
                f"server {name} is not configured in this Orthanc",
                "dw orthanc servers",
            )

    def retrieve(self, name: str, asked: Sequence[Ref], **how: object) -> str:
        """Make Orthanc retrieve these from a server; returns the job ID."""
        return self._begin(name, "retrieve", [_uids(ref) for ref in asked], how)

    def stow(self, name: str, asked: Sequence[Ref], **how: object) -> str:
        """Make Orthanc send its own instances to a server; returns the job ID. Raises AbsentError for missing ones."""
        own = [one.name for ref in asked for one in rest_lookup.find(self._client, ref)]
        return self._begin(name, "stow", own, how)

    def lists(self, name: str, ref: Ref) -> bool:
        """Return whether a server lists this, as far as Orthanc can query it: a failed job does not say why.

        Returns True if that is unknown."""
        above = refs.path(ref).rpartition("/")[0]
        key = {Level.STUDY: "StudyInstanceUID", Level.SERIES: "SeriesInstanceUID", Level.INSTANCE: "SOPInstanceUID"}
        try:
            with self.get(name, f"/{above}", {key[ref.level]: deletion.own_uid(ref)}, {}) as response:
                answer = response.read(_ANSWER)
            rows = json.loads(answer) if answer.strip() else []
        except AbsentError:
            return False
        except (DwError, ValueError):
            return True
        return not isinstance(rows, list) or any(
            isinstance(row, dict) and text(row, ref.level.uid_tag) == deletion.own_uid(ref) for row in rows
        )

    def delete(self, name: str, ref: Ref) -> None:
        """Make Orthanc send a DELETE to a server that was added with `can_delete`."""
        keys = {"Study": "StudyInstanceUID", "Series": "SeriesInstanceUID", "Instance": "SOPInstanceUID"}
        uids = {keys[level]: uid for level, uid in _uids(ref).items()}
        self.known(name)
        try:
            self._told(name, "delete", {"Level": str(ref.level).capitalize(), **uids})
        except RefusedError as error:
            if error.status == 500:
                hint = f"it does not support this DELETE, or rejects Orthanc's login; {error.hint}"
                raise error.worded(hint=hint) from error
            raise

    def job(self, job: str) -> Job:
        """Return the state of a job."""
        url = deletion.core(self._client.base, self._client.dialect, f"jobs/{_word(job)}")
        try:
            answer = self._client.call(Request("GET", url, {"Accept": "application/json"}))
        except AbsentError:
            raise AbsentError(f"job not found: {job}", "Orthanc forgets its oldest completed jobs") from None
        found = _object(answer)
        state, progress, content = found.get("State"), found.get("Progress", 0), found.get("Content") or {}
        if not (isinstance(state, str) and isinstance(progress, int) and isinstance(content, dict)):
            raise _other(answer)
        words = content.get("FunctionErrorDescription") or found.get("ErrorDetails") or found.get("ErrorDescription")
        return Job(job, state, progress, str(words) if state == "Failure" else "", content)

    def follow(self, job: str, name: str = "", wait: Callable[[float], None] = time.sleep) -> Iterator[Job]:
        """Poll a job and yield its states until it ends. Raises DwError if it failed, AuthError if the server `name`
        rejected the login."""
        pauses = iter(_PAUSES)
        while True:
            try:
                now = self.job(job)
            except AbsentError as error:
                if not name:
                    raise
                how = "check the target; Orthanc's JobsHistorySize limits how many jobs it keeps"
                raise DwError(f"Orthanc no longer has job {job}; its outcome is unknown", how) from error
            yield now
            if now.state == "Failure":
                if name and "bad credentials" in now.error.lower():
                    raise _not_let_in(name)
                raise DwError(f"the Orthanc job failed: {now.error}", "see Orthanc's log and the other server's")
            if now.ended:
                return
            wait(next(pauses, _PAUSES[-1]))

    def _begin(self, name: str, verb: str, resources: Sequence[object], how: Mapping[str, object]) -> str:
        said = {"Resources": list(resources), **{key: value for key, value in how.items() if value not in (None, {})}}
        self.known(name)
        # Always as a job: without one, Orthanc does not report why a request failed.
        job = _object(answer := self._told(name, verb, {**said, "Synchronous": False})).get("ID")
        if not isinstance(job, str) or not job:
            raise _other(answer)
        return job

    def _told(self, name: str, verb: str, said: Mapping[str, object]) -> bytes:
        """Return Orthanc's response to a request that another server must carry out."""
        try:
            return self._call("POST", f"servers/{_word(name)}/{verb}", said)
        except AuthError:
            raise _not_let_in(name) from None
        except RefusedError as error:
            raise _undone(name, error) from error

    def _call(self, method: str, path: str, document: object = None) -> bytes:
        return self._client.call(self._request(method, path, document))

    def _request(self, method: str, path: str, document: object) -> Request:
        body = None if document is None else Bytes(json.dumps(document).encode())
        headers = {} if body is None else {"Content-Type": "application/json"}
        # A job must not start twice because the first response was lost.
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


def _not_let_in(name: str) -> AuthError:
    again = f"dw orthanc servers add {shlex.quote(name)} URL --replace --user U --password-env VARIABLE"
    return AuthError(f"{name} rejects Orthanc's login", again)


def _undone(name: str, error: RefusedError) -> RefusedError:
    return RefusedError(f"{name} failed: {error.message}", "see Orthanc's log", status=error.status)


def _object(answer: bytes) -> dict[str, Any]:
    try:
        found = json.loads(answer)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _other(answer)
    return found


def _other(answer: bytes) -> ProtocolError:
    said = answer[:60].decode("utf-8", "replace")
    return ProtocolError(f"unexpected response from Orthanc's DICOMweb plugin: {said}")
