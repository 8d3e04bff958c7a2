"""An imitation of PostDICOM's service for the tests, written from its public documentation and example clients.

What it imitates: the paths, the headers with JSON parameters, Basic login, `X-Error-Reason`, DICOM that is stored,
found and retrieved, folders, orders and shares that are remembered. It is stricter than any server: a wrong path,
header, key, type or encoding is refused, so a request that it takes is the documented one.

What it does not know, since nobody has published it: the shape of any answer (here each verb has another: objects,
lists, JSON in JSON, text, nothing), the reply to a store, which search keys can be combined (here none), whether rows
name the UIDs above them (`parents`), and whether the paths by an object's own UID really answer (`own`).
"""

import base64
import io
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from servers.dw import Dw
from servers.fake import Answer, Fake, Request

BOUNDARY = "DICOM DATA BOUNDARY"
_KEY = re.compile(r"(\w+)(\*?)(?::(\w+))?")

# path -> header, then its keys; `*` required, `:` the type where it is not text
VERBS = {
    "createsharelink": "ShareParameters PatientOrderInfoList*:orders ExpireDate*:day SharePassword Downloadable:bool",
    "sharepatientorderwithurl": "SharePatientOrderParameters OrderUuidList*:list ExpireDate*:day SharePassword "
    "UserCanDownloadStudies:bool",
    "createfolder": "CreateFolderParameters FolderName* FolderDescription ParentFolderUuid",
    "searchfolder": "SearchFolderParameters ParentFolderUuid FolderName GetOrdersInFolder:bool",
    "sharefolderwithurl": "ShareFolderParameters FolderUuid* SharePassword ShareTitle ShareDescription ExpireDate:day "
    "UserCanDownloadStudies:bool",
    "addordertofolder": "AddOrderToFolderParameters PatientOrderUuid* FolderUuidList*:list",
    "assignordertouser": "AssignOrderToUserParameters PatientOrderUuid* AssignedUserUuid*",
    "assignordertousergroup": "AssignOrderToUserGroupParameters PatientOrderUuid* AssignedUserGroupUuid*",
    "createpatientorder": "CreatePatientOrderParameters InstitutionUuid* PatientName* PatientId* PatientBirthdate*:day "
    "Modality* OtherPatientId PatientSex StudyDescription AccessionNumber PatientComplaints "
    "OrderScheduledDatetime:moment RequestedProcedureId RequestedProcedureDescription RequestingPhysician "
    "ReferringPhysiciansName ScheduledEquipmentUuid",
    "getpatientorderproperties": "GetPatientOrderPropertiesParameters PatientOrderInstitutionUuid* PatientOrderUuid*",
    "getpatientorderlist": "GetPatientOrderListParameters InstitutionUuidList*:list PatientName PatientId "
    "OtherPatientId AccessionNumber ModalityList:list StudyDateFrom:day StudyDateTo:day PatientBirthdateFrom:day "
    "PatientBirthdateTo:day",
    "getdicomtagcontent": "GetDicomTagContentParameters PatientOrderInstitutionUuid* PatientOrderUuid* "
    "PatientSeriesUuid DicomTagIdList:list",
    "deleteorder": "DeleteOrderParameters PatientOrderInstitutionUuid* PatientOrderUuid*",
}


class Refusal(Exception):
    """An answer with a reason in X-Error-Reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Image:
    """One stored instance: its bytes, and the values of its attributes by tag."""

    data: bytes
    tags: dict[str, str]


@dataclass(slots=True)
class State:
    """What the account holds."""

    images: dict[str, Image] = field(default_factory=dict)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    folders: dict[str, dict[str, Any]] = field(default_factory=dict)
    shares: dict[str, dict[str, Any]] = field(default_factory=dict)


class PostDicom:
    """A server with one account. `own=False`: the vendor's DICOM paths answer 404, those of PS3.18 work.

    `parents=False`: rows do not name the UIDs above them. `store_reply`: the body of a reply to a store, None for
    PS3.18's.
    """

    user = "me@example.org"
    password = "pass:wort ż"

    def __init__(
        self, *, own: bool = True, parents: bool = True, store_reply: bytes | None = None, path: str = "/dicomweb"
    ) -> None:
        self.state = State()
        self.own = own
        self.parents = parents
        self.store_reply = store_reply
        self.calls: list[tuple[str, dict[str, str]]] = []
        """(path, parameters) of the verbs that were taken."""
        self._path = path
        self._lock = threading.Lock()
        self._fake = Fake(self._answer, path=path)

    @property
    def url(self) -> str:
        return self._fake.url

    @property
    def requests(self) -> list[Request]:
        return self._fake.requests

    @property
    def targets(self) -> list[str]:
        """Method and target below the base of every request so far."""
        return [f"{request.method} {request.target.removeprefix(self._path)}" for request in self.requests]

    def profile(self, dw: Dw) -> Dw:
        """Give `dw` a profile `post` of this account, its password in the configuration, as the default."""
        dw.config.write_text(
            f'default = "post"\n[profiles.post]\nurl = "{self.url}"\ndialect = "postdicom"\n'
            f'[profiles.post.auth]\nkind = "basic"\nusername = "{self.user}"\npassword = "{self.password}"\n'
        )
        dw.config.chmod(0o600)
        return dw

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._fake.close()

    def _answer(self, request: Request) -> Answer:
        with self._lock:
            try:
                self._log_in(request)
                return self._routed(request)
            except Refusal as refusal:
                headers = {"X-Error-Reason": refusal.reason}
                if refusal.status == 401:
                    headers["WWW-Authenticate"] = 'Basic realm="PostDICOM"'
                return Answer(refusal.status, headers)

    def _log_in(self, request: Request) -> None:
        scheme, _, coded = (request.header("Authorization") or "").partition(" ")
        expected = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if scheme != "Basic" or coded != expected:
            raise Refusal(401, "Wrong user name or password")

    def _routed(self, request: Request) -> Answer:
        path, _, query = request.target.partition("?")
        if not path.startswith(f"{self._path}/"):
            raise Refusal(404, "No such address")
        path = path.removeprefix(f"{self._path}/")
        if request.method == "POST":
            return self._store(request, path, query)
        if request.method != "GET" or request.size:
            raise Refusal(405, "Only GET without a body")
        if path in VERBS:
            return self._verb(path, query, request)
        levels = [unquote(part) for part in path.split("/")]
        if not all(levels):
            raise Refusal(404, "No such address")
        return self._own(levels, query) if self.own else self._standard(levels, query)

    # The vendor's verbs

    def _verb(self, path: str, query: str, request: Request) -> Answer:
        if query:
            raise Refusal(400, "No query is taken")
        given = _parameters(path, request)
        values: dict[str, Any] = {}
        for written in VERBS[path].split()[1:]:
            match = _KEY.fullmatch(written)
            assert match
            key, required, kind = match.groups()
            if required and not given[key]:
                raise Refusal(400, f"{key} is required")
            values[key] = _typed(key, given[key], kind) if given[key] else None
        self.calls.append((path, given))
        handler: Callable[[dict[str, Any]], Answer] = getattr(self, f"_{path}")
        return handler(values)

    def _createsharelink(self, given: dict[str, Any]) -> Answer:
        for order in given["PatientOrderInfoList"]:
            self._order(order)
        url = self._shared("link", given["PatientOrderInfoList"], given, "Downloadable")
        return _json({"Result": {"ShareLink": url, "ExpireDate": given["ExpireDate"].isoformat()}})

    def _sharepatientorderwithurl(self, given: dict[str, Any]) -> Answer:
        for order in given["OrderUuidList"]:
            self._order(order)
        return _text(self._shared("order", given["OrderUuidList"], given, "UserCanDownloadStudies"))

    def _sharefolderwithurl(self, given: dict[str, Any]) -> Answer:
        self._folder(given["FolderUuid"])
        url = self._shared("folder", [given["FolderUuid"]], given, "UserCanDownloadStudies")
        return _json(json.dumps({"Url": url}))

    def _createfolder(self, given: dict[str, Any]) -> Answer:
        if given["ParentFolderUuid"]:
            self._folder(given["ParentFolderUuid"])
        new = str(uuid.uuid4())
        self.state.folders[new] = {"FolderUuid": new, **given, "orders": []}
        return _json({"FolderUuid": new})

    def _searchfolder(self, given: dict[str, Any]) -> Answer:
        found = []
        for folder in self.state.folders.values():
            if given["ParentFolderUuid"] not in (None, folder["ParentFolderUuid"]):
                continue
            if (given["FolderName"] or "").lower() in folder["FolderName"].lower():
                row = {key: folder[key] or "" for key in ("FolderUuid", "FolderName", "FolderDescription")}
                if given["GetOrdersInFolder"]:
                    row["Orders"] = [{"PatientOrderUuid": order} for order in folder["orders"]]
                found.append(row)
        return _json(found)

    def _addordertofolder(self, given: dict[str, Any]) -> Answer:
        self._order(given["PatientOrderUuid"])
        for folder in [self._folder(name) for name in given["FolderUuidList"]]:
            folder["orders"].append(given["PatientOrderUuid"])
        return _text("Order was added to the folder.")

    def _assignordertouser(self, given: dict[str, Any]) -> Answer:
        self._order(given["PatientOrderUuid"])["user"] = given["AssignedUserUuid"]
        return Answer(200)

    def _assignordertousergroup(self, given: dict[str, Any]) -> Answer:
        self._order(given["PatientOrderUuid"])["group"] = given["AssignedUserGroupUuid"]
        return Answer(200)

    def _createpatientorder(self, given: dict[str, Any]) -> Answer:
        new = str(uuid.uuid4())
        self.state.orders[new] = {"PatientOrderUuid": new, **{key: value or "" for key, value in given.items()}}
        return _json({"PatientOrderUuid": new})

    def _getpatientorderproperties(self, given: dict[str, Any]) -> Answer:
        order = self._order(given["PatientOrderUuid"], given["PatientOrderInstitutionUuid"])
        return _json({key: str(value) for key, value in order.items()})

    def _getpatientorderlist(self, given: dict[str, Any]) -> Answer:
        same = ("PatientName", "PatientId", "OtherPatientId", "AccessionNumber")
        found = [
            {key: order[key] for key in ("PatientOrderUuid", "PatientName", "PatientId", "Modality")}
            for order in self.state.orders.values()
            if order["InstitutionUuid"] in given["InstitutionUuidList"]
            and all(given[key] in (None, order[key]) for key in same)
            and (not given["ModalityList"] or order["Modality"] in given["ModalityList"])
            and (given["PatientBirthdateFrom"] or date.min)
            <= order["PatientBirthdate"]
            <= (given["PatientBirthdateTo"] or date.max)
        ]
        return _json({"PatientOrders": found})

    def _getdicomtagcontent(self, given: dict[str, Any]) -> Answer:
        order = self._order(given["PatientOrderUuid"], given["PatientOrderInstitutionUuid"])
        wanted = given["DicomTagIdList"] or ["00100010"]
        if not all(re.fullmatch("[0-9A-F]{8}", tag) for tag in wanted):
            raise Refusal(400, "A tag has eight hexadecimal digits")
        images = [image for image in self.state.images.values() if image.tags["00100020"] == order["PatientId"]]
        return _json([{tag: image.tags.get(tag, "") for tag in wanted} for image in images])

    def _deleteorder(self, given: dict[str, Any]) -> Answer:
        self._order(given["PatientOrderUuid"], given["PatientOrderInstitutionUuid"])
        del self.state.orders[given["PatientOrderUuid"]]
        return _text("Order was deleted.")

    def _order(self, name: str, institution: str | None = None) -> dict[str, Any]:
        order = self.state.orders.get(name)
        if order is None or institution not in (None, order["InstitutionUuid"]):
            raise Refusal(400, "There is no such order")
        return order

    def _folder(self, name: str) -> dict[str, Any]:
        if name not in self.state.folders:
            raise Refusal(400, "There is no such folder")
        return self.state.folders[name]

    def _shared(self, kind: str, things: list[str], given: dict[str, Any], downloadable: str) -> str:
        url = f"https://share.example.org/{kind}/{len(self.state.shares) + 1}"
        self.state.shares[url] = {
            "things": things,
            "expires": given["ExpireDate"],
            "password": given["SharePassword"],
            "downloadable": given[downloadable],
            "title": given.get("ShareTitle"),
        }
        return url

    # DICOM

    def _store(self, request: Request, path: str, query: str) -> Answer:
        if path != ("" if self.own else "studies") or query:
            raise Refusal(404, "Nothing is stored here")
        kind = request.header("Content-Type") or ""
        match = re.fullmatch(r'multipart/related; type="application/dicom"; boundary="([^"]+)"', kind)
        if not match:
            raise Refusal(400, "Content-Type must be multipart/related of application/dicom, its boundary quoted")
        start, end = f"--{match[1]}\r\n".encode(), f"\r\n--{match[1]}--\r\n".encode()
        if not request.body.startswith(start) or not request.body.endswith(end) or request.body.count(start) != 1:
            raise Refusal(400, "One file in one request")
        head, _, data = request.body[len(start) : -len(end)].partition(b"\r\n\r\n")
        if b"content-type: application/dicom" not in head.lower():
            raise Refusal(400, "The part must be application/dicom")
        image = _read(data)
        self.state.images[image.tags["00080018"]] = image
        if self.store_reply is not None:
            return Answer(200, {}, self.store_reply)
        item = {"00081150": ("00080016"), "00081155": ("00080018")}
        stored = {tag: {"vr": "UI", "Value": [image.tags[source]]} for tag, source in item.items()}
        return _json({"00081199": {"vr": "SQ", "Value": [stored]}}, "application/dicom+json")

    def _own(self, levels: list[str], query: str) -> Answer:
        """The paths with the object's own UID; a search has exactly one key, a tag of eight digits."""
        above = {
            ("studies",): ("0020000D", {"00100020", "0020000D"}),
            ("studies", "series"): ("0020000E", {"0020000D"}),
            ("studies", "series", "instances"): ("00080018", {"0020000E"}),
        }
        if tuple(levels) in above:
            level, keys = above[tuple(levels)]
            tag, _, value = query.partition("=")
            if tag not in keys or "&" in value:
                raise Refusal(400, "This search is not known")
            return self._found(level, {tag: unquote(value)})
        match levels if not query else []:
            case ["studies", study]:
                return self._retrieved("0020000D", study)
            case ["studies", "series", series]:
                return self._retrieved("0020000E", series)
            case ["studies", "series", "instances", instance]:
                return self._retrieved("00080018", instance)
        raise Refusal(404, "No such address")

    def _standard(self, levels: list[str], query: str) -> Answer:
        """The paths of PS3.18."""
        given = {tag: unquote(value) for tag, _, value in (pair.partition("=") for pair in query.split("&") if pair)}
        match levels:
            case ["studies"]:
                return self._found("0020000D", given)
            case ["instances"]:
                return self._found("00080018", given)
            case ["studies", study, "series"] if study != "series":
                return self._found("0020000E", {**given, "0020000D": study})
            case ["studies", study, "series", series, "instances"]:
                return self._found("00080018", {**given, "0020000D": study, "0020000E": series})
            case ["studies", study] if study != "series":
                return self._retrieved("0020000D", study)
            case ["studies", _, "series", series] if series != "instances":
                return self._retrieved("0020000E", series)
            case ["studies", _, "series", _, "instances", instance]:
                return self._retrieved("00080018", instance)
        raise Refusal(404, "No such address")

    def _images(self, keys: dict[str, str]) -> Iterator[Image]:
        for image in self.state.images.values():
            if all(image.tags.get(tag) == value for tag, value in keys.items()):
                yield image

    def _found(self, level: str, keys: dict[str, str]) -> Answer:
        rows: dict[str, dict[str, Any]] = {}
        uids = ("0020000D", "0020000E", "00080018")
        below = uids[uids.index(level) + 1 :]
        hidden = below if self.parents else tuple(tag for tag in uids if tag != level)
        for image in self._images(keys):
            rows[image.tags[level]] = {
                tag: {"vr": "UI" if tag in uids else "LO", "Value": [value]}
                for tag, value in image.tags.items()
                if tag not in hidden and value
            }
        return _json(list(rows.values()), "application/dicom+json")

    def _retrieved(self, tag: str, uid: str) -> Answer:
        body = b"".join(
            f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode() + image.data + b"\r\n"
            for image in self._images({tag: uid})
        )
        if not body:
            raise Refusal(404, "There are no such images")
        kind = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'
        return Answer(200, {"Content-Type": kind}, body + f"--{BOUNDARY}--\r\n".encode())


def _parameters(path: str, request: Request) -> dict[str, str]:
    """The JSON object of a verb's header, each of its keys there and a string."""
    name, *keys = VERBS[path].split()
    found = [(key, value) for key, value in request.headers if key.lower().endswith("parameters")]
    if [key for key, _ in found] != [name]:
        raise Refusal(400, f"The header {name} must be there, and no other")
    text = found[0][1]
    if not text.isascii() or not text.isprintable():
        raise Refusal(400, f"{name} is not ASCII")
    try:
        given = json.loads(text)
    except ValueError:
        raise Refusal(400, f"{name} is not JSON") from None
    if not isinstance(given, dict) or set(given) != {key.partition(":")[0].rstrip("*") for key in keys}:
        raise Refusal(400, f"{name} has wrong keys")
    if not all(isinstance(value, str) for value in given.values()):
        raise Refusal(400, f"{name} has a value that is no string")
    return given


def _typed(key: str, text: str, kind: str | None) -> Any:
    try:
        match kind:
            case "bool":
                return {"True": True, "False": False}[text]
            case "day" if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
                return date.fromisoformat(text)
            case "moment":
                return datetime.strptime(text, "%Y-%m-%d %H:%M")
            case "list" | "orders":
                items = json.loads(text)
                if not isinstance(items, list) or not items or not all(isinstance(item, str) for item in items):
                    raise ValueError
                return [_info(item) for item in items] if kind == "orders" else items
            case None:
                return text
        raise ValueError
    except (KeyError, ValueError):
        raise Refusal(400, f"{key} is written wrongly") from None


def _info(item: str) -> str:
    found = json.loads(item)
    if not isinstance(found, dict) or list(found) != ["PatientOrderUuid"]:
        raise ValueError
    return str(found["PatientOrderUuid"])


def _read(data: bytes) -> Image:
    import pydicom

    try:
        dataset = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
    except Exception:
        raise Refusal(400, "This is no DICOM file") from None
    wanted = ("00080016", "00080018", "00080020", "00080060", "00100010", "00100020", "0020000D", "0020000E")
    return Image(data, {tag: str(dataset[tag].value) if tag in dataset else "" for tag in wanted})


def _json(value: Any, kind: str = "application/json") -> Answer:
    return Answer(200, {"Content-Type": kind}, json.dumps(value).encode())


def _text(text: str) -> Answer:
    return Answer(200, {"Content-Type": "text/plain; charset=utf-8"}, text.encode())
