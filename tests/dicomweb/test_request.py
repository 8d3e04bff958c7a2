"""Requests as values: finished URLs, one media range, exact parameters."""

import pytest

from dwcli.dicomweb import request
from dwcli.dicomweb.dialects import PRESETS, Dialect
from dwcli.dicomweb.refs import FrameRef, InstanceRef, StudyRef
from dwcli.dicomweb.request import Rendering
from dwcli.errors import ProtocolError, UsageError

BASE = "https://pacs.example.org/dicom-web"
REF = InstanceRef("1.2", "1.3", "1.4")


class Body:
    length = 3

    def __iter__(self):  # type: ignore[no-untyped-def]
        yield b"abc"


@pytest.mark.parametrize(
    ("wanted", "parameters"),
    [
        (Rendering(), ""),
        (Rendering(window=(40, 400, "linear")), "window=40,400,linear"),
        (Rendering(window=(-600.5, 1500, "sigmoid")), "window=-600.5,1500,sigmoid"),
        (Rendering(window=(1234567.25, 1e6, "linear")), "window=1234567.25,1000000,linear"),
        (Rendering(window=(0.00001, 1e20, "linear")), "window=0.00001,100000000000000000000,linear"),
        (
            Rendering(viewport=(512, 256), quality=90, annotation=("patient", "technique")),
            "annotation=patient,technique&quality=90&viewport=512,256",
        ),
    ],
)
def test_rendering_parameters_are_those_of_the_standard(wanted: Rendering, parameters: str) -> None:
    assert wanted.parameters == parameters


def test_rendered_asks_for_one_picture_type() -> None:
    asked = request.rendered(BASE, FrameRef(REF, (2,)), Rendering("image/jpeg", quality=50))
    assert asked.url == f"{BASE}/studies/1.2/series/1.3/instances/1.4/frames/2/rendered?quality=50"
    assert asked.headers["Accept"] == "image/jpeg"


def test_pixels_are_asked_for_uncompressed_by_http() -> None:
    assert request.resource(BASE, StudyRef("1.2"), "x/y").headers["Accept-Encoding"] == "identity"
    assert "Accept-Encoding" not in request.metadata(BASE, StudyRef("1.2"), Dialect()).headers


def test_wado_uri_is_beside_the_base_and_holds_a_hostile_uid() -> None:
    ref = InstanceRef("1.2", "a&b", "../x")
    asked = request.wado_uri(BASE, ref, PRESETS["orthanc"], "*")
    assert asked.url == (
        "https://pacs.example.org/wado?requestType=WADO&studyUID=1.2&seriesUID=a%26b&objectUID=../x"
        "&contentType=application/dicom"
    )
    decoding = request.wado_uri(BASE, ref, PRESETS["dcm4chee"], "*").url
    assert "objectUID=..%2Fx&" in decoding
    assert decoding.endswith("&transferSyntax=*")
    with pytest.raises(UsageError, match="WADO-URI"):
        request.wado_uri(BASE, ref, PRESETS["standard"], "*")


def test_store_names_the_boundary_bare_and_the_type_as_the_dialect_says() -> None:
    asked = request.store(BASE, "a/b", "xyz", Body(), Dialect())
    assert asked.url == f"{BASE}/studies/a%2Fb"
    assert asked.headers["Content-Type"] == 'multipart/related; type="application/dicom"; boundary=xyz'
    bare = request.store(BASE, "", "xyz", Body(), Dialect(store_type_quoted=False))
    assert bare.url == f"{BASE}/studies"
    assert bare.headers["Content-Type"] == "multipart/related; type=application/dicom; boundary=xyz"


@pytest.mark.parametrize(
    ("named", "found"),
    [
        (f"{BASE}/studies/1.2/bulk/1", f"{BASE}/studies/1.2/bulk/1"),
        (f" {BASE}/studies/1.2/\n bulk/1 ", f"{BASE}/studies/1.2/bulk/1"),
        ("bulk/1", f"{BASE}/studies/1.2/bulk/1"),
        ("../bulk/1", f"{BASE}/studies/bulk/1"),
        ("/dicom-web/x/1", f"{BASE}/x/1"),
        ("http://127.0.0.1:8042/dicom-web/studies/1.2/b?k=v", f"{BASE}/studies/1.2/b?k=v"),
        ("http://h/projects/studies/web/studies/1.2/b", f"{BASE}/studies/1.2/b"),
        ("http://10.9.9.9:1234/dicom-web/bulk/1?k=v", f"{BASE}/bulk/1?k=v"),
        ("http://10.9.9.9/dicom-webs/bulk/1", "http://10.9.9.9/dicom-webs/bulk/1"),
        ("https://elsewhere.example/blob/1", "https://elsewhere.example/blob/1"),
        (f"{BASE}.evil.example/x", f"{BASE}.evil.example/x"),
    ],
)
def test_a_url_that_the_server_named_is_put_on_the_profiles_address(named: str, found: str) -> None:
    assert request.rebase(named, BASE, f"{BASE}/studies/1.2/metadata") == found


def test_a_url_that_cannot_be_read_is_an_error_of_the_server() -> None:
    with pytest.raises(ProtocolError):
        request.rebase("http://[::1/studies/1", BASE, f"{BASE}/studies")
