"""The golden requests: what each of PostDICOM's verbs looks like on the wire."""

import json
from datetime import date, datetime
from typing import Any

import pytest

from dwcli.errors import UsageError
from dwcli.vendors.postdicom import api
from dwcli.vendors.postdicom.api import Verb

BASE = "https://example.org/dicomweb"
DAY = date(2026, 12, 31)

GOLDEN: list[tuple[Verb, str, str, dict[str, str]]] = [
    (
        api.CreateShareLink(orders=("o1", "o2"), expires=DAY, password="geheim", downloadable=True),
        "createsharelink",
        "ShareParameters",
        {
            "PatientOrderInfoList": '["{\\"PatientOrderUuid\\":\\"o1\\"}","{\\"PatientOrderUuid\\":\\"o2\\"}"]',
            "ExpireDate": "2026-12-31",
            "SharePassword": "geheim",
            "Downloadable": "True",
        },
    ),
    (
        api.ShareOrders(orders=("o1", "o2"), expires=DAY, downloadable=False),
        "sharepatientorderwithurl",
        "SharePatientOrderParameters",
        {
            "OrderUuidList": '["o1","o2"]',
            "ExpireDate": "2026-12-31",
            "SharePassword": "",
            "UserCanDownloadStudies": "False",
        },
    ),
    (
        api.CreateFolder(name="Knee study"),
        "createfolder",
        "CreateFolderParameters",
        {"FolderName": "Knee study", "FolderDescription": "", "ParentFolderUuid": ""},
    ),
    (
        api.SearchFolder(parent="f0", name="knee", orders=True),
        "searchfolder",
        "SearchFolderParameters",
        {"ParentFolderUuid": "f0", "FolderName": "knee", "GetOrdersInFolder": "True"},
    ),
    (
        api.ShareFolder(folder="f1", title="Second opinion", description="Both knees", expires=DAY, downloadable=True),
        "sharefolderwithurl",
        "ShareFolderParameters",
        {
            "FolderUuid": "f1",
            "SharePassword": "",
            "ShareTitle": "Second opinion",
            "ShareDescription": "Both knees",
            "ExpireDate": "2026-12-31",
            "UserCanDownloadStudies": "True",
        },
    ),
    (
        api.AddOrderToFolder(order="o1", folders=("f1", "f2")),
        "addordertofolder",
        "AddOrderToFolderParameters",
        {"PatientOrderUuid": "o1", "FolderUuidList": '["f1","f2"]'},
    ),
    (
        api.AssignToUser(order="o1", user="u1"),
        "assignordertouser",
        "AssignOrderToUserParameters",
        {"PatientOrderUuid": "o1", "AssignedUserUuid": "u1"},
    ),
    (
        api.AssignToGroup(order="o1", group="g1"),
        "assignordertousergroup",
        "AssignOrderToUserGroupParameters",
        {"PatientOrderUuid": "o1", "AssignedUserGroupUuid": "g1"},
    ),
    (
        api.CreateOrder(
            institution="i1",
            patient_name="Łukasz^Żółć",
            patient_id="42",
            birth_date=date(1970, 1, 31),
            modality="CT",
            other_patient_id="43",
            sex="M",
            description="Head",
            accession="A1",
            complaints='says "it hurts" \\ at night',
            scheduled=datetime(2026, 12, 1, 9, 30),
            procedure_id="P1",
            procedure="CT head",
            requesting="Doe^Jane",
            referring="山田^太郎",
            equipment="e1",
        ),
        "createpatientorder",
        "CreatePatientOrderParameters",
        {
            "InstitutionUuid": "i1",
            "PatientName": "Łukasz^Żółć",
            "PatientId": "42",
            "PatientBirthdate": "1970-01-31",
            "Modality": "CT",
            "OtherPatientId": "43",
            "PatientSex": "M",
            "StudyDescription": "Head",
            "AccessionNumber": "A1",
            "PatientComplaints": 'says "it hurts" \\ at night',
            "OrderScheduledDatetime": "2026-12-01 09:30",
            "RequestedProcedureId": "P1",
            "RequestedProcedureDescription": "CT head",
            "RequestingPhysician": "Doe^Jane",
            "ReferringPhysiciansName": "山田^太郎",
            "ScheduledEquipmentUuid": "e1",
        },
    ),
    (
        api.OrderProperties(institution="i1", order="o1"),
        "getpatientorderproperties",
        "GetPatientOrderPropertiesParameters",
        {"PatientOrderInstitutionUuid": "i1", "PatientOrderUuid": "o1"},
    ),
    (
        api.SearchOrders(institutions=("i1",), modalities=("CT", "MR"), study_from=date(2026, 1, 1), study_to=DAY),
        "getpatientorderlist",
        "GetPatientOrderListParameters",
        {
            "InstitutionUuidList": '["i1"]',
            "PatientName": "",
            "PatientId": "",
            "OtherPatientId": "",
            "AccessionNumber": "",
            "ModalityList": '["CT","MR"]',
            "StudyDateFrom": "2026-01-01",
            "StudyDateTo": "2026-12-31",
            "PatientBirthdateFrom": "",
            "PatientBirthdateTo": "",
        },
    ),
    (
        api.TagContent(institution="i1", order="o1", series="s1", tags=("00100010", "00180050")),
        "getdicomtagcontent",
        "GetDicomTagContentParameters",
        {
            "PatientOrderInstitutionUuid": "i1",
            "PatientOrderUuid": "o1",
            "PatientSeriesUuid": "s1",
            "DicomTagIdList": '["00100010","00180050"]',
        },
    ),
    (
        api.DeleteOrder(institution="i1", order="o1"),
        "deleteorder",
        "DeleteOrderParameters",
        {"PatientOrderInstitutionUuid": "i1", "PatientOrderUuid": "o1"},
    ),
]


@pytest.mark.parametrize(("verb", "path", "header", "parameters"), GOLDEN, ids=[row[1] for row in GOLDEN])
def test_a_verb_is_one_get_with_its_parameters_in_a_header(
    verb: Verb, path: str, header: str, parameters: dict[str, str]
) -> None:
    request = verb.request(BASE)
    assert (request.method, request.url, request.body) == ("GET", f"{BASE}/{path}", None)
    assert list(request.headers) == [header]
    value = request.headers[header]
    assert value.isascii() and value.isprintable()
    assert json.loads(value) == parameters


def test_every_verb_has_its_golden_request() -> None:
    assert sorted(row[0].path for row in GOLDEN) == sorted({verb.path for verb in Verb.__subclasses__()})
    assert len(GOLDEN) == 13


def test_the_header_is_written_with_escapes() -> None:
    request = api.CreateFolder(name='"Ł\\山"', description="😀").request(BASE)
    assert request.headers["CreateFolderParameters"] == (
        '{"FolderName":"\\"\\u0141\\\\\\u5c71\\"","FolderDescription":"\\ud83d\\ude00","ParentFolderUuid":""}'
    )


@pytest.mark.parametrize("verb", [row[0] for row in GOLDEN], ids=[row[1] for row in GOLDEN])
def test_only_what_changes_nothing_is_sent_twice(verb: Verb) -> None:
    reading = verb.path.startswith(("get", "search"))
    assert verb.request(BASE).repeatable is reading


@pytest.mark.parametrize(
    ("verb", "says"),
    [
        (api.CreateFolder(name=""), "folder name must not be empty"),
        (api.CreateFolder(name=" "), "folder name must not be empty"),
        (api.CreateShareLink(orders=(), expires=DAY), "patient order info list must not be empty"),
        (api.ShareFolder(folder="f", title="two\nlines"), "share title contains a line break"),
        (api.ShareFolder(folder="f", title="two\r\nlines"), "share title contains a line break"),
        (api.ShareFolder(folder="f", title="two\u2028lines"), "share title contains a line break"),
        (api.ShareFolder(folder="f\0"), "folder uuid contains a line break or another control character"),
        (api.ShareOrders(orders=("o", "p\n"), expires=DAY), "order uuid list contains a line break"),
        (api.CreateFolder(name="\udcff"), "folder name contains a line break or another control"),
        (api.ShareFolder(folder="f", description="ż" * 1400), "too long for a header: 8"),
    ],
)
def test_what_cannot_be_sent_is_refused(verb: Verb, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        verb.request(BASE)


def test_the_header_may_have_8192_bytes_with_its_name() -> None:
    def padded(length: int) -> Any:
        return api.CreateFolder(name="x" * length).request(BASE).headers["CreateFolderParameters"]

    spare = 8192 - len("CreateFolderParameters: ") - len(padded(1)) + 1
    assert len(padded(spare)) + len("CreateFolderParameters: ") == 8192
    with pytest.raises(UsageError, match="8193 bytes"):
        padded(spare + 1)


@pytest.mark.parametrize("password", ["geheim\n", "geheim" * 2000])
def test_no_error_and_no_repr_shows_a_password(password: str) -> None:
    verb = api.ShareFolder(folder="f", password=password)
    with pytest.raises(UsageError) as raised:
        verb.request(BASE)
    assert "geheim" not in raised.value.message + raised.value.hint + repr(verb)
