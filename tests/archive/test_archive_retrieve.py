"""WADO-RS: as stored byte for byte, converted only where that is right, else 406."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
from PIL import Image

from dwcli.archive.app import open_archive
from dwcli.dicomweb import media, multipart
from servers import images
from servers.archive import DICOM, Asker, Open

ANY = f"{DICOM}; transfer-syntax=*"
OCTETS = 'multipart/related; type="application/octet-stream"'


def parts(reply: httpx.Response) -> list[tuple[str, bytes]]:
    """The parts of a multipart reply: Content-Type and bytes."""
    assert reply.status_code in (200, 206), reply.text
    reader = multipart.Reader(media.parse(reply.headers["Content-Type"]).boundary)
    found: list[tuple[str, bytes]] = []
    for event in [*reader.feed(reply.content), *reader.finish()]:
        match event:
            case multipart.PartStart(headers):
                found.append((headers["content-type"], b""))
            case multipart.PartData(data):
                kind, before = found.pop()
                found.append((kind, before + data))
            case multipart.Truncated(reason):
                pytest.fail(reason)
            case _:
                pass
    if "Content-Length" in reply.headers:
        assert int(reply.headers["Content-Length"]) == len(reply.content)
    return found


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, pydicom_folder: Path) -> Iterator[Asker]:
    """One file of pydicom's for each kind of pixel data, none of them with a UID that another has: read only."""
    archive = open_archive(tmp_path_factory.mktemp("stored") / "a")
    asker = Asker(archive)
    for name in NAMES:
        assert asker.stow((pydicom_folder / name).read_bytes()).status_code == 200, name
    yield asker
    archive.close()


NAMES = (
    "CT_small.dcm", "MR_small_implicit.dcm", "examples_ybr_color.dcm", "JPEG2000.dcm", "rtdose_expb.dcm",
    "image_dfl.dcm", "liver_1frame.dcm", "SC_rgb_rle_2frame.dcm", "test-SR.dcm", "waveform_ecg.dcm",
)  # fmt: skip


def path_of(folder: Path, name: str) -> tuple[str, pydicom.Dataset]:
    found = pydicom.dcmread(folder / name, force=True)
    return f"studies/{found.StudyInstanceUID}/series/{found.SeriesInstanceUID}/instances/{found.SOPInstanceUID}", found


@pytest.mark.parametrize("name", NAMES)
def test_an_instance_comes_as_stored(stored: Asker, pydicom_folder: Path, name: str) -> None:
    path, found = path_of(pydicom_folder, name)
    raw = (pydicom_folder / name).read_bytes()
    ((kind, data),) = parts(stored(path, ANY))
    assert data == raw
    assert kind == f"application/dicom; transfer-syntax={found.file_meta.TransferSyntaxUID}"
    assert stored(path, "application/dicom; transfer-syntax=*").content == raw
    assert parts(stored(path, "*/*"))[0][1] == raw
    assert parts(stored(path.partition("/series")[0], ANY))[0][1] == raw


@pytest.mark.parametrize("name", NAMES)
def test_an_instance_without_a_transfer_syntax_comes_explicit_and_little_endian(
    stored: Asker, pydicom_folder: Path, name: str
) -> None:
    path, found = path_of(pydicom_folder, name)
    reply = stored(path, DICOM)
    if name == "JPEG2000.dcm" and reply.status_code == 406:
        pytest.skip("no JPEG 2000 decoder here")
    ((kind, data),) = parts(reply)
    assert kind.endswith("transfer-syntax=1.2.840.10008.1.2.1")
    made = pydicom.dcmread(io.BytesIO(data))
    assert made.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert made.SOPInstanceUID == found.SOPInstanceUID and str(made.PatientName) == str(found.PatientName)
    if "PixelData" in found:
        before, after = found.pixel_array, made.pixel_array
        if str(found.PhotometricInterpretation).startswith("YBR"):
            assert made.PhotometricInterpretation == "RGB" and after.shape == before.shape
        else:
            assert np.array_equal(after, before)


def test_another_transfer_syntax_is_406(stored: Asker, pydicom_folder: Path) -> None:
    path, _ = path_of(pydicom_folder, "CT_small.dcm")
    for accept in (f"{DICOM}; transfer-syntax=1.2.840.10008.1.2.4.90", "application/zip", "text/html"):
        assert stored(path, accept).status_code == 406
    weighted = f"application/zip, {DICOM};transfer-syntax=1.2.840.10008.1.2.4.90;q=0.9, {DICOM};q=0.5"
    assert len(parts(stored(path, weighted))) == 1


def test_a_study_is_multipart_of_known_length_in_order(archive: Asker) -> None:
    files = [images.instance("1.2", "1.2.1", f"1.2.1.{number}", number=number) for number in (3, 1, 2)]
    archive.stow(*files)
    reply = archive("studies/1.2", ANY)
    assert [data for _, data in parts(reply)] == [files[1], files[2], files[0]]
    assert "Content-Length" in reply.headers
    assert archive("studies/1.2", "application/dicom").status_code == 406
    assert archive("studies/1.2", method="HEAD", accept=ANY).content == b""


def test_files_that_are_gone_make_the_answer_partial(archive: Asker) -> None:
    files = [images.instance("1.2", "1.2.1", f"1.2.1.{number}", number=number) for number in (1, 2)]
    archive.stow(*files)
    (archive.root / "1.2/1.2.1/1.2.1.1.dcm").unlink()
    reply = archive("studies/1.2", ANY)
    assert reply.status_code == 206 and "1 files are missing" in reply.headers["Warning"]
    assert [data for _, data in parts(reply)] == [files[1]]
    assert archive("studies/1.2/series/1.2.1/instances/1.2.1.1", ANY).status_code == 404


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small_implicit.dcm", "test-SR.dcm", "waveform_ecg.dcm", "image_dfl.dcm"]
)
def test_metadata_is_what_pydicom_makes_of_the_file(stored: Asker, pydicom_folder: Path, name: str) -> None:
    path, found = path_of(pydicom_folder, name)
    (row,) = stored(f"{path}/metadata").json()
    wanted = found.to_json_dict(bulk_data_threshold=1024, bulk_data_element_handler=lambda _: "bulk")
    for tag, element in wanted.items():
        if tag > "7FE00010":  # padding, and whatever else follows the pixels
            continue
        if tag == "00080005":  # of the JSON, which is UTF-8 whatever the file is in
            assert row[tag] == {"vr": "CS", "Value": ["ISO_IR 192"]}
            continue
        if "BulkDataURI" in element or tag == "7FE00010":
            assert row[tag].get("BulkDataURI") or row[tag].get("InlineBinary"), tag
            continue
        assert _plain(row[tag]) == _plain(element), tag
    assert row["00083002"]["Value"] == [str(found.file_meta.TransferSyntaxUID)]


def _plain(value: object) -> object:
    """DICOM JSON without the differences that mean nothing: absent values, 1 or 1.0, how bulk data is pointed to."""
    if isinstance(value, dict):
        if "BulkDataURI" in value:
            return {"vr": value["vr"]}
        return {
            key: _plain(one)
            for key, one in value.items()
            if not (key == "Value" and not any(_plain(v) not in (None, {}) for v in one))
        }
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def test_metadata_of_many_is_one_array(archive: Asker) -> None:
    archive.stow(*(images.instance("1.2", "1.2.1", f"1.2.1.{number}", number=number) for number in range(1, 4)))
    rows = archive("studies/1.2/metadata").json()
    assert [row["00200013"]["Value"] for row in rows] == [[1], [2], [3]]
    assert rows[0]["7FE00010"] == {
        "vr": "OW",
        "BulkDataURI": "http://archive/studies/1.2/series/1.2.1/instances/1.2.1.1/bulk/7FE00010",
    }


def test_a_value_that_breaks_its_vr_is_given_as_bytes(archive: Asker) -> None:
    archive.stow(images.instance("1.2", "1.2.1", "1.2.1.1", t00280030=("DS", "wide\\0.5"), t00181063=("DS", "")))
    (row,) = archive("studies/1.2/metadata").json()
    assert base64.b64decode(row["00280030"]["InlineBinary"]).startswith(b"wide")
    assert row["00280030"]["vr"] == "UN" and row["00181063"] == {"vr": "DS"}


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "liver_1frame.dcm", "SC_rgb_rle_2frame.dcm", "rtdose_expb.dcm", "image_dfl.dcm"]
)
def test_frames_are_plain_samples(stored: Asker, pydicom_folder: Path, name: str) -> None:
    path, found = path_of(pydicom_folder, name)
    samples = found.pixel_array
    frame = samples[0] if int(found.get("NumberOfFrames", 1)) > 1 else samples
    ((kind, data),) = parts(stored(f"{path}/frames/1", OCTETS))
    assert kind == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    if found.BitsAllocated == 1:
        expected = np.packbits(frame.astype(np.uint8).reshape(-1), bitorder="little").tobytes()
    else:
        planar = frame.ndim == 3 and int(found.get("PlanarConfiguration", 0)) == 1
        frame = frame.transpose(2, 0, 1) if planar else frame
        expected = frame.astype(frame.dtype.newbyteorder("<")).tobytes()
    assert data[: len(expected)] == expected


def test_frames_of_several_come_in_the_order_asked_for(archive: Asker) -> None:
    whole = images.instance("1.2", "1.2.1", "1.2.1.1", frames=3)
    archive.stow(whole)
    size = 16 * 16 * 2
    pixels = whole[-3 * size :]
    path = "studies/1.2/series/1.2.1/instances/1.2.1.1"
    assert [data for _, data in parts(archive(f"{path}/frames/3,1", OCTETS))] == [pixels[2 * size :], pixels[:size]]
    assert archive(f"{path}/frames/2", "application/octet-stream").content == pixels[size : 2 * size]
    assert archive(f"{path}/frames/1,2", "application/octet-stream").status_code == 406
    assert archive(f"{path}/frames/4", OCTETS).status_code == 404
    assert archive(f"{path}/frames/0", OCTETS).status_code == 400
    assert archive(f"{path}/bulk/7FE00010", OCTETS).status_code == 200
    assert parts(archive(f"{path}/bulk/7FE00010", OCTETS))[0][1] == pixels
    assert archive(f"{path}/bulk/00420011", OCTETS).status_code == 404


def test_compressed_frames_come_as_stored_and_never_in_the_wrong_colours(stored: Asker, pydicom_folder: Path) -> None:
    path, found = path_of(pydicom_folder, "examples_ybr_color.dcm")
    ((kind, data),) = parts(stored(f"{path}/frames/2", 'multipart/related; type="image/jpeg"'))
    assert kind == "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"
    assert Image.open(io.BytesIO(data)).size == (found.Columns, found.Rows)
    assert parts(stored(f"{path}/frames/2", f"{OCTETS}; transfer-syntax=*")) == [(kind, data)]
    reply = stored(f"{path}/frames/2", OCTETS)
    assert reply.status_code == 406 and "RGB" in reply.text
    assert stored(f"{path}/frames/2", 'multipart/related; type="image/jp2"').status_code == 406


def test_bulk_data_of_a_waveform_is_found_by_the_uri_in_the_metadata(stored: Asker, pydicom_folder: Path) -> None:
    path, found = path_of(pydicom_folder, "waveform_ecg.dcm")
    (row,) = stored(f"{path}/metadata").json()
    uri = row["54000100"]["Value"][0]["54001010"]["BulkDataURI"]
    reply = stored(uri.removeprefix("http://archive/"), OCTETS)
    assert parts(reply)[0][1] == found.WaveformSequence[0].WaveformData


@pytest.mark.parametrize(
    ("accept", "kind"), [("image/png", "PNG"), ("image/jpeg", "JPEG"), ("", "JPEG"), ("image/*", "JPEG")]
)
def test_pictures(stored: Asker, pydicom_folder: Path, accept: str, kind: str) -> None:
    path, _ = path_of(pydicom_folder, "CT_small.dcm")
    reply = stored(f"{path}/rendered?viewport=64,64&window=40,400,linear&quality=80", accept)
    picture = Image.open(io.BytesIO(reply.content))
    assert (picture.format, picture.size) == (kind, (64, 64))


def test_a_picture_of_many_frames_names_one_or_takes_all(stored: Asker, pydicom_folder: Path) -> None:
    path, _ = path_of(pydicom_folder, "examples_ybr_color.dcm")
    assert stored(f"{path}/rendered", "image/png").status_code == 406
    assert stored(f"{path}/frames/3/rendered", "image/png").status_code == 200
    assert stored(f"{path}/frames/31/rendered", "image/png").status_code == 404
    found = parts(stored(f"{path}/frames/1,2/rendered", 'multipart/related; type="image/jpeg"'))
    assert [kind for kind, _ in found] == ["image/jpeg", "image/jpeg"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("window=40", 400), ("window=40,400", 400), ("window=40,400,cubic", 400), ("viewport=0,5", 400),
        ("quality=0", 400), ("annotation=patient", 501), ("iccprofile=srgb", 501), ("viewport=10,10,,,5,5", 501),
    ],
)  # fmt: skip
def test_a_rendering_that_cannot_be_is_refused(stored: Asker, pydicom_folder: Path, query: str, status: int) -> None:
    path, _ = path_of(pydicom_folder, "CT_small.dcm")
    assert stored(f"{path}/rendered?{query}", "image/png").status_code == status


def test_what_has_no_pixels_says_so(stored: Asker, pydicom_folder: Path) -> None:
    path, _ = path_of(pydicom_folder, "test-SR.dcm")
    assert stored(f"{path}/frames/1", OCTETS).status_code == 404
    reply = stored(f"{path}/rendered", "image/png")
    assert reply.status_code == 406 and "report" in reply.text


def test_every_file_of_pydicom_is_answered_for(opened: Open, pydicom_folder: Path, tmp_path: Path) -> None:
    """Whatever lies in a folder: each instance found there has metadata and comes as it lies there."""
    (tmp_path / "all").symlink_to(pydicom_folder)
    folder = opened("all", folder=True)
    rows = folder.rows("instances")
    assert len(rows) > 60
    for row in rows:
        url = str(row["00081190"]["Value"][0]).removeprefix("http://archive/")  # type: ignore[index]
        meta = folder(f"{url}/metadata")
        assert meta.status_code == 200, (url, meta.text)
        json.loads(meta.content)
        assert len(parts(folder(url, ANY))) == 1
        for resource in ("frames/1", "rendered", "bulk/7FE00010"):
            reply = folder(f"{url}/{resource}", "image/png" if resource == "rendered" else OCTETS)
            assert reply.status_code in (200, 404, 406), (url, resource, reply.text)


@pytest.mark.parametrize("stated", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"])
@pytest.mark.parametrize("written", ["implicit", "explicit", "big"])
def test_the_bytes_of_a_file_beat_the_transfer_syntax_in_group_2(archive: Asker, written: str, stated: str) -> None:
    cells = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    made = pydicom.dcmread(io.BytesIO(images.instance("1.2", "1.2.1", "1.2.1.1")))
    made.Rows = made.Columns = 64
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 0
    made.PixelData = cells.astype(">u2" if written == "big" else "<u2").tobytes()
    made["PixelData"].VR = "OW"
    out, body = io.BytesIO(), io.BytesIO()
    new = pydicom.Dataset()
    new.update({element.tag: element for element in made})
    pydicom.dcmwrite(body, new, implicit_vr=written == "implicit", little_endian=written != "big")
    made.file_meta.TransferSyntaxUID = pydicom.uid.UID(stated)
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    out.write(b"\0" * 128 + b"DICM")
    pydicom.filewriter.write_file_meta_info(pydicom.filebase.DicomFileLike(out), made.file_meta, enforce_standard=True)
    raw = out.getvalue() + body.getvalue()
    assert archive.stow(raw).status_code == 200

    path = "studies/1.2/series/1.2.1/instances/1.2.1.1"
    assert parts(archive(path, ANY))[0][1] == raw
    (row,) = json.loads(archive(f"{path}/metadata", "application/dicom+json").content)
    assert row["00280010"] == {"vr": "US", "Value": [64]} and row["7FE00010"]["vr"] == "OW"
    little = cells.astype("<u2").tobytes()
    assert parts(archive(f"{path}/bulk/7FE00010", OCTETS))[0][1] == little
    assert parts(archive(f"{path}/frames/1", OCTETS))[0][1] == little
    explicit = pydicom.dcmread(io.BytesIO(parts(archive(path, DICOM))[0][1]))
    assert explicit.original_encoding == (False, True) and explicit.PixelData == little
    shown = np.asarray(Image.open(io.BytesIO(archive(f"{path}/rendered", "image/png").content)))
    assert np.array_equal(shown, np.rint(cells / cells.max() * 255).astype(np.uint8))
