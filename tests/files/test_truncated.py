"""Files without their end are told from whole ones."""

from pathlib import Path

import pytest

from dwcli.files.existing import is_truncated
from dwcli.files.scan import DicomFile, scan
from servers import images


def cut(path: Path) -> bool:
    (found,) = scan([path])
    assert isinstance(found, DicomFile)
    return is_truncated(found.path)


def test_a_file_cut_anywhere_in_its_pixels_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    whole = images.instance(side=16)
    path.write_bytes(whole)
    assert not cut(path)
    for length in range(len(whole) - 500, len(whole)):
        path.write_bytes(whole[:length])
        assert cut(path), length


WHOLE = "CT_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "JPEG2000.dcm", "rtplan.dcm"


@pytest.mark.parametrize("name", WHOLE)
def test_every_encoding_is_walked(pydicom_folder: Path, tmp_path: Path, name: str) -> None:
    whole = (pydicom_folder / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole)
    assert not cut(path)
    path.write_bytes(whole[:-9])
    assert cut(path)


def test_of_all_of_pydicoms_files_only_the_cut_ones_are_cut(pydicom_folder: Path) -> None:
    files = (found for found in scan([pydicom_folder]) if isinstance(found, DicomFile))
    cut = {file.path.name for file in files if is_truncated(file.path)}
    assert cut == {
        "MR_truncated.dcm",
        "rtplan_truncated.dcm",
    }


def test_a_file_with_zeros_behind_its_end_is_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    for length in (1, 7, 8, 13, 512):
        path.write_bytes(images.instance() + bytes(length))
        assert not cut(path), length
