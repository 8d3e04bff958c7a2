"""Clients that others wrote, against `dw serve`: dicomweb_client, dicomtrolley, and Orthanc as a DICOMweb client."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from servers import images
from servers.orthanc import Orthanc
from servers.serving import Serving
from servers.wire import request, stow

STUDY, SERIES = "1.2.840.1", "1.2.840.1.1"


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """An archive with one study of three instances of two frames each."""
    with Serving(tmp_path_factory.mktemp("serving")) as server:
        assert stow(server.url, [_instance(number) for number in (1, 2, 3)]).status == 200
        yield server


def _instance(number: int) -> bytes:
    return images.instance(STUDY, SERIES, f"{SERIES}.{number}", number=number, frames=2)


def _bytes(found: pydicom.Dataset) -> bytes:
    return bytes(found.PixelData)


def test_dicomweb_client_searches_fetches_and_stores(serving: Serving) -> None:
    from dicomweb_client.api import DICOMwebClient

    client = DICOMwebClient(serving.url)
    (row,) = client.search_for_studies(search_filters={"PatientName": "Synth*"}, fields=["StudyDescription"])
    assert row["0020000D"]["Value"] == [STUDY] and row["00081030"]["Value"] == ["Synthetic"]
    assert client.search_for_studies(search_filters={"PatientID": "nobody"}) == []
    assert len(client.search_for_series(STUDY)) == 1
    assert len(client.search_for_instances(STUDY, SERIES, limit=2)) == 2
    assert len(client.search_for_instances(get_remaining=True, limit=2)) == 3
    assert [len(found) for found in (client.retrieve_study_metadata(STUDY), client.retrieve_study(STUDY))] == [3, 3]
    one = STUDY, SERIES, f"{SERIES}.2"
    original = _instance(2)
    fetched = client.retrieve_instance(*one)
    assert fetched.SOPInstanceUID == one[2] and original.endswith(_bytes(fetched))
    frames = client.retrieve_instance_frames(*one, frame_numbers=[1, 2])
    assert b"".join(frames) == _bytes(fetched)
    assert client.retrieve_instance_frames_rendered(*one, frame_numbers=[1], media_types=("image/png",))[1:4] == b"PNG"
    meta = client.retrieve_instance_metadata(*one)
    assert client.retrieve_bulkdata(meta["7FE00010"]["BulkDataURI"]) == [_bytes(fetched)]
    fetched.SOPInstanceUID = "1.2.840.2.1.1"
    fetched.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.UID("1.2.840.2.1.1")
    fetched.StudyInstanceUID, fetched.SeriesInstanceUID = "1.2.840.2", "1.2.840.2.1"
    reply = client.store_instances([fetched])
    assert reply.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.840.2.1.1"
    again = client.retrieve_instance("1.2.840.2", "1.2.840.2.1", "1.2.840.2.1.1")
    assert np.array_equal(again.pixel_array, fetched.pixel_array)


def test_dicomtrolley_finds_and_downloads(serving: Serving, tmp_path: Path) -> None:
    import requests
    from dicomtrolley.core import QueryLevels
    from dicomtrolley.qido_rs import HierarchicalQuery, QidoRS
    from dicomtrolley.trolley import Trolley
    from dicomtrolley.wado_rs import WadoRS

    with requests.Session() as session:
        trolley = Trolley(searcher=QidoRS(session, serving.url), downloader=WadoRS(session, serving.url))
        studies = trolley.find_studies(HierarchicalQuery(StudyInstanceUID=STUDY, query_level=QueryLevels.STUDY))
        assert [study.uid for study in studies] == [STUDY]
        trolley.download(studies, tmp_path)
    found = [pydicom.dcmread(path) for path in tmp_path.rglob("*") if path.is_file()]
    assert {one.SOPInstanceUID for one in found} == {f"{SERIES}.{number}" for number in (1, 2, 3)}


def test_orthanc_retrieves_from_it_and_stores_into_it(tmp_path: Path) -> None:
    files = [_instance(number) for number in (1, 2, 3)]
    with Serving(tmp_path / "serving") as serving:
        servers = {"DicomWeb": {"Servers": {"dw": [f"{serving.url}/"]}}}
        with Orthanc(tmp_path / "orthanc", user=None, config=servers) as orthanc:
            assert stow(orthanc.url, files).status == 200
            (resource,) = orthanc.core("GET", "/studies").json()
            sent = _ask(orthanc, "stow", {"Resources": [resource], "Synchronous": True})
            assert sent and serving.count() == 3
            orthanc.wipe()
            assert orthanc.count() == 0
            _ask(orthanc, "retrieve", {"Resources": [{"Study": STUDY}], "Synchronous": True})
            assert orthanc.count() == 3
            rows = _ask(orthanc, "qido", {"Uri": "/studies", "Arguments": {"PatientID": "SYN1"}})
            assert len(rows) == 1


def _ask(orthanc: Orthanc, verb: str, body: dict[str, Any]) -> Any:
    reply = request(
        "POST",
        f"{orthanc.url}/servers/dw/{verb}",
        headers={"Content-Type": "application/json"},
        body=json.dumps(body).encode(),
    )
    assert reply.status == 200, reply.body
    return reply.json()
