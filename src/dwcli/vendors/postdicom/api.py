"""PostDICOM's thirteen verbs as values: the parameters of one call -> one complete request. No I/O.

Each is `GET base/{path}` without query or body; the parameters are one JSON object of strings in a request header. That
header may contain the password of a share, so it is as secret as Authorization, and `repr` shows no password.
"""
# ruff: noqa: RUF009  `_key` describes a field, it does not make a value

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from typing import Any, ClassVar
from unicodedata import category

from dwcli.dicomweb.request import Request
from dwcli.errors import UsageError

HEADER_BYTES = 8192
"""The maximum length of a header's name, colon and value; servers reject longer ones with unhelpful messages."""

# C0, C1, DEL, halves of surrogate pairs, line and paragraph separators
_HIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})

Value = str | bool | date | datetime | tuple[str, ...] | None


def _key(name: str, *, required: bool = False, secret: bool = False, wrap: str = "") -> Any:
    """Describe a parameter: the vendor's key; `wrap`: each item of the list is itself JSON, under this key."""
    metadata = {"key": name, "required": required, "secret": secret, "wrap": wrap}
    return field(default=None, repr=not secret, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One call. A field that is None, empty or () is sent as an empty string."""

    path: ClassVar[str]
    header: ClassVar[str]
    reads: ClassVar[bool] = False
    """Whether the call changes nothing, so that it may be repeated after a network failure."""

    def parameters(self) -> dict[str, str]:
        """Return the JSON object of strings. Raises UsageError on a missing required value, or a line break."""
        found = {}
        for one in fields(self):
            key = one.metadata["key"]
            text = _written(getattr(self, one.name), one.metadata["wrap"])
            if one.metadata["required"] and not text.strip():
                raise UsageError(f"{_words(key)} must not be empty", f"PostDICOM requires {key}")
            if any(category(character) in _HIDDEN for part in _parts(getattr(self, one.name)) for character in part):
                raise UsageError(
                    f"{_words(key)} contains a line break or another control character", "write one line of text"
                )
            found[key] = text
        return found

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secret values."""
        values = (getattr(self, one.name) for one in fields(self) if one.metadata["secret"])
        return tuple(value for value in values if value)

    def request(self, base: str) -> Request:
        """Return the request, its header in ASCII. Raises UsageError if parameters are invalid or too long."""
        value = _json(self.parameters())
        length = len(self.header) + 2 + len(value)
        if length > HEADER_BYTES:
            raise UsageError(
                f"the parameters are too long for a header: {length} bytes, at most {HEADER_BYTES}",
                "shorten the texts, or name fewer items",
            )
        return Request("GET", f"{base}/{self.path}", {self.header: value}, repeatable=self.reads)


def _written(value: Value, wrap: str) -> str:
    match value:
        case None | "" | ():
            return ""
        case bool():
            return str(value)
        case datetime():
            return f"{value:%Y-%m-%d %H:%M}"
        case date():
            return value.isoformat()
        case tuple():
            return _json([_json({wrap: item}) for item in value] if wrap else list(value))
    return value


def _parts(value: Value) -> tuple[str, ...]:
    """Return the texts that the user typed."""
    match value:
        case str():
            return (value,)
        case tuple():
            return value
    return ()


def _json(value: Mapping[str, str] | list[str]) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def _words(key: str) -> str:
    """Return `PatientOrderUuid` as `patient order uuid`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key).lower()


# Shares


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateShareLink(Verb):
    """A link to one or more orders."""

    path: ClassVar[str] = "createsharelink"
    header: ClassVar[str] = "ShareParameters"

    orders: tuple[str, ...] = _key("PatientOrderInfoList", required=True, wrap="PatientOrderUuid")
    expires: date = _key("ExpireDate", required=True)
    password: str | None = _key("SharePassword", secret=True)
    downloadable: bool | None = _key("Downloadable")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareOrders(Verb):
    """A URL of one or more orders."""

    path: ClassVar[str] = "sharepatientorderwithurl"
    header: ClassVar[str] = "SharePatientOrderParameters"

    orders: tuple[str, ...] = _key("OrderUuidList", required=True)
    expires: date = _key("ExpireDate", required=True)
    password: str | None = _key("SharePassword", secret=True)
    downloadable: bool | None = _key("UserCanDownloadStudies")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareFolder(Verb):
    """A URL of a folder and its contents."""

    path: ClassVar[str] = "sharefolderwithurl"
    header: ClassVar[str] = "ShareFolderParameters"

    folder: str = _key("FolderUuid", required=True)
    password: str | None = _key("SharePassword", secret=True)
    title: str | None = _key("ShareTitle")
    description: str | None = _key("ShareDescription")
    expires: date | None = _key("ExpireDate")
    downloadable: bool | None = _key("UserCanDownloadStudies")


# Folders


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateFolder(Verb):
    """A new folder, at the top or below another."""

    path: ClassVar[str] = "createfolder"
    header: ClassVar[str] = "CreateFolderParameters"

    name: str = _key("FolderName", required=True)
    description: str | None = _key("FolderDescription")
    parent: str | None = _key("ParentFolderUuid")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFolder(Verb):
    """Search for folders by part of their name, below a parent, with their orders."""

    path: ClassVar[str] = "searchfolder"
    header: ClassVar[str] = "SearchFolderParameters"
    reads: ClassVar[bool] = True

    parent: str | None = _key("ParentFolderUuid")
    name: str | None = _key("FolderName")
    orders: bool | None = _key("GetOrdersInFolder")


@dataclass(frozen=True, slots=True, kw_only=True)
class AddOrderToFolder(Verb):
    """Add an order to one or more folders; nothing is moved or copied."""

    path: ClassVar[str] = "addordertofolder"
    header: ClassVar[str] = "AddOrderToFolderParameters"

    order: str = _key("PatientOrderUuid", required=True)
    folders: tuple[str, ...] = _key("FolderUuidList", required=True)


# Orders


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignToUser(Verb):
    """Assign an order to a user."""

    path: ClassVar[str] = "assignordertouser"
    header: ClassVar[str] = "AssignOrderToUserParameters"

    order: str = _key("PatientOrderUuid", required=True)
    user: str = _key("AssignedUserUuid", required=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignToGroup(Verb):
    """Assign an order to a user group."""

    path: ClassVar[str] = "assignordertousergroup"
    header: ClassVar[str] = "AssignOrderToUserGroupParameters"

    order: str = _key("PatientOrderUuid", required=True)
    group: str = _key("AssignedUserGroupUuid", required=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOrder(Verb):
    """A new order for an examination."""

    path: ClassVar[str] = "createpatientorder"
    header: ClassVar[str] = "CreatePatientOrderParameters"

    institution: str = _key("InstitutionUuid", required=True)
    patient_name: str = _key("PatientName", required=True)
    patient_id: str = _key("PatientId", required=True)
    birth_date: date = _key("PatientBirthdate", required=True)
    modality: str = _key("Modality", required=True)
    other_patient_id: str | None = _key("OtherPatientId")
    sex: str | None = _key("PatientSex")
    description: str | None = _key("StudyDescription")
    accession: str | None = _key("AccessionNumber")
    complaints: str | None = _key("PatientComplaints")
    scheduled: datetime | None = _key("OrderScheduledDatetime")
    procedure_id: str | None = _key("RequestedProcedureId")
    procedure: str | None = _key("RequestedProcedureDescription")
    requesting: str | None = _key("RequestingPhysician")
    referring: str | None = _key("ReferringPhysiciansName")
    equipment: str | None = _key("ScheduledEquipmentUuid")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderProperties(Verb):
    """All properties of one order."""

    path: ClassVar[str] = "getpatientorderproperties"
    header: ClassVar[str] = "GetPatientOrderPropertiesParameters"
    reads: ClassVar[bool] = True

    institution: str = _key("PatientOrderInstitutionUuid", required=True)
    order: str = _key("PatientOrderUuid", required=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOrders(Verb):
    """Search for orders of one or more institutions. Date ranges include both ends; None is open."""

    path: ClassVar[str] = "getpatientorderlist"
    header: ClassVar[str] = "GetPatientOrderListParameters"
    reads: ClassVar[bool] = True

    institutions: tuple[str, ...] = _key("InstitutionUuidList", required=True)
    patient_name: str | None = _key("PatientName")
    patient_id: str | None = _key("PatientId")
    other_patient_id: str | None = _key("OtherPatientId")
    accession: str | None = _key("AccessionNumber")
    modalities: tuple[str, ...] = _key("ModalityList")
    study_from: date | None = _key("StudyDateFrom")
    study_to: date | None = _key("StudyDateTo")
    born_from: date | None = _key("PatientBirthdateFrom")
    born_to: date | None = _key("PatientBirthdateTo")


@dataclass(frozen=True, slots=True, kw_only=True)
class TagContent(Verb):
    """Values of DICOM attributes in an order's images; `tags`: 8 hex digits each. Only for permitted accounts."""

    path: ClassVar[str] = "getdicomtagcontent"
    header: ClassVar[str] = "GetDicomTagContentParameters"
    reads: ClassVar[bool] = True

    institution: str = _key("PatientOrderInstitutionUuid", required=True)
    order: str = _key("PatientOrderUuid", required=True)
    series: str | None = _key("PatientSeriesUuid")
    tags: tuple[str, ...] = _key("DicomTagIdList")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOrder(Verb):
    """Delete an order permanently."""

    path: ClassVar[str] = "deleteorder"
    header: ClassVar[str] = "DeleteOrderParameters"

    institution: str = _key("PatientOrderInstitutionUuid", required=True)
    order: str = _key("PatientOrderUuid", required=True)
