"""A content is told by its first bytes, and is whole only where its own end says so."""

import io
import json
import random
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from dwcli.dicomweb.content import End, Ends, Kind, Witness, end_of_bytes, kind_of
from servers import images


def _picture(name: str) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((24, 24)).save(out, name)
    return out.getvalue()


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a", b"x" * 100)
        archive.writestr("b", b"y")
    return out.getvalue()


CONTENTS = {
    Kind.PNG: _picture("PNG"),
    Kind.JPEG: _picture("JPEG"),
    Kind.GIF: _picture("GIF"),
    Kind.ZIP: _zip(),
    Kind.JSON: json.dumps([{"a": ['}"\\', {"b": []}]}] * 30).encode(),
    Kind.XML: b"<?xml version='1.0'?><a><b c='>'>text</b><!-- </a> --></a>",
    Kind.MP4: b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x0cmoov1234\0\0\0\x0cmdat5678",
    Kind.DICOM: images.instance(side=8),
}


def _fed(data: bytes, sizes: random.Random | int) -> End:
    witness = Witness()
    at = 0
    while at < len(data):
        many = sizes if isinstance(sizes, int) else sizes.randrange(1, 200)
        witness.feed(data[at : at + many])
        at += many
    return witness.end()


@pytest.mark.parametrize("kind", CONTENTS, ids=lambda kind: kind.name)
def test_only_the_whole_content_is_whole(kind: Kind) -> None:
    data = CONTENTS[kind]
    assert kind_of(data) is kind
    assert end_of_bytes(data) is End.WHOLE
    assert end_of_bytes(data + b"\1trailing bytes") is not End.WHOLE
    for length in range(len(data)):
        if data[length:].strip(b"\0"):
            assert end_of_bytes(data[:length], kind) is not End.WHOLE, length


@pytest.mark.parametrize("kind", CONTENTS, ids=lambda kind: kind.name)
def test_a_stream_says_what_a_file_says(kind: Kind) -> None:
    data, chance = CONTENTS[kind], random.Random(3)
    for length in [len(data), *(chance.randrange(len(data)) for _ in range(20))]:
        part = data[:length]
        assert {_fed(part, 1), _fed(part, chance), _fed(part, 1 << 20)} == {end_of_bytes(part)}, length


def test_a_file_that_ends_as_the_last_did_takes_one_short_read() -> None:
    data, reads, ends = images.instance(side=8), [], Ends()

    def look(data: bytes) -> End:
        def read(at: int, many: int) -> bytes:
            reads.append(many)
            return data[at : at + many]

        return ends.look(read, len(data))

    assert look(data) is End.WHOLE
    reads.clear()
    assert look(data) is End.WHOLE
    assert reads == [12]
    assert look(data[:-2]) is End.TRUNCATED


def test_of_the_truncated_files_of_pydicom_none_is_whole(pydicom_folder: Path) -> None:
    for name in ("CT_small.dcm", "JPEG2000.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm", "SC_rgb_rle.dcm"):
        data, chance = (pydicom_folder / name).read_bytes(), random.Random(name)
        assert end_of_bytes(data) is End.WHOLE, name
        for _ in range(200):
            length = chance.randrange(len(data))
            # The last element may be padding behind the pixels, which a file need not have.
            if data[length:].strip(b"\0") and length < len(data) - 150:
                assert end_of_bytes(data[:length]) is not End.WHOLE, (name, length)
