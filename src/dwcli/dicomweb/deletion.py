"""PS3.18 does not define deletion: requests for each server's own mechanism, and their responses."""

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin

from dwcli.dicomweb import refs
from dwcli.dicomweb.dialects import Dialect
from dwcli.dicomweb.dicomjson import excerpt
from dwcli.dicomweb.refs import Level, Ref
from dwcli.dicomweb.request import Body, Request
from dwcli.errors import ProtocolError, UsageError

QUALITY = "113001^DCM"
"""The reason that is given where the user gives none: rejected for quality reasons (PS3.16 CID 7011)."""

_ACCEPT = {"Accept": "application/json"}
_TYPES = {"Study": Level.STUDY, "Series": Level.SERIES, "Instance": Level.INSTANCE}


def plain(base: str, ref: Ref) -> Request:
    """DELETE on the resource itself. Safe to repeat: a second one finds nothing."""
    return Request("DELETE", f"{base}/{refs.path(ref)}", _ACCEPT)


def parse_reason(typed: str) -> str:
    """A coded reason, `CODE^SCHEME`. Raises UsageError."""
    if not re.fullmatch(r"[^^\s]+\^[^^\s]+", typed):
        raise UsageError(f"not a coded reason: {typed}", f"write CODE^SCHEME, as in {QUALITY}")
    return typed


def reject(base: str, ref: Ref, reason: str) -> Request:
    """Reject with a coded reason (`CODE^SCHEME`), which hides the objects."""
    return Request("POST", f"{base}/{refs.path(ref)}/reject/{quote(reason, safe='')}", _ACCEPT)


def core(base: str, dialect: Dialect, path: str) -> str:
    """An address in the server's own REST interface, which lies beside its DICOMweb one."""
    return urljoin(f"{base}/", f"{dialect.core}/{path}" if dialect.core else path)


def lookup(base: str, dialect: Dialect, body: Body) -> Request:
    """What the server calls the objects of a UID; `body` holds the UID in plain text."""
    return Request("POST", core(base, dialect, "tools/lookup"), {"Content-Type": "text/plain"}, body)


@dataclass(frozen=True, slots=True)
class Known:
    """An object by the server's own name: `path` below its REST interface, such as `studies/0a1b…`."""

    level: Level
    path: str
    name: str


def known(answer: bytes, level: Level) -> list[Known]:
    """The objects of one level in the response to `lookup`. Raises ProtocolError."""
    found = _json(answer)
    try:
        return [
            Known(level, f"{level.resource}/{quote(entry['ID'], safe='')}", entry["ID"])
            for entry in found
            if _TYPES.get(entry["Type"]) is level
        ]
    except (KeyError, TypeError):
        raise ProtocolError(f"the server's lookup sent an unexpected response: {excerpt(answer, 60)}") from None


def own_uid(ref: Ref) -> str:
    """The UID of the object itself."""
    return ref.instance or ref.series or ref.study


@dataclass(frozen=True, slots=True)
class Operation:
    """A long-running operation: `url` is where to ask again, `done` whether it ended, `error` why it failed."""

    url: str
    done: bool
    error: str


def operation(base: str, answer: bytes) -> Operation | None:
    """The operation that a response names; None if the deletion has already finished.

    Its name, `projects/P/…/operations/N`, is a path below the API's root, which is where the base URL has its first
    segment: `https://host/v1/projects/P/…`.
    """
    try:
        found = json.loads(answer)
    except ValueError:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        return None
    name = found["name"]
    first = name.partition("/")[0]
    root, below, _ = base.partition(f"/{first}/")
    error = found.get("error")
    words = str(error.get("message") or error) if isinstance(error, dict) else str(error or "")
    return Operation(
        f"{root}/{quote(name)}" if below else urljoin(f"{base}/", quote(name)), bool(found.get("done")), words
    )


def _json(answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except ValueError:
        raise ProtocolError(f"the response is not JSON: {excerpt(answer, 60)}") from None
