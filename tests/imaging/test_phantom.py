"""The made head: plausible values, one geometry, the same bytes each time."""

from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import FileDataset

from dwcli.imaging.phantom import make_phantom
from dwcli.imaging.render import Options, render


def read(slices: int, size: int) -> list[FileDataset]:
    return [dcmread(BytesIO(data)) for data in make_phantom(slices, size)]


def test_phantom_is_the_same_bytes_each_time_with_uids_of_its_own() -> None:
    first, second = list(make_phantom(3, 32)), list(make_phantom(3, 32))
    assert first == second
    uids = {ds.SOPInstanceUID for ds in read(3, 32)} | {ds.SOPInstanceUID for ds in read(4, 32)}
    assert len(uids) == 7
    assert all(uid.startswith("2.25.") and len(uid) <= 64 for uid in uids)


def test_phantom_is_one_series_of_evenly_spaced_slices() -> None:
    series = read(5, 32)
    assert len({(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID) for ds in series}) == 1
    assert [ds.InstanceNumber for ds in series] == [1, 2, 3, 4, 5]
    heights = [float(ds.ImagePositionPatient[2]) for ds in series]
    assert all(b - a == pytest.approx(float(series[0].SliceThickness)) for a, b in pairwise(heights))
    assert {str(ds.PatientName) for ds in series} == {"Bellona^Demo"}


def test_phantom_has_the_hounsfield_units_of_a_head_and_the_spacing_it_promises() -> None:
    ds = dcmread(BytesIO(list(make_phantom())[22]))
    assert (ds.Rows, ds.Columns, [float(x) for x in ds.PixelSpacing]) == (256, 256, [0.9, 0.9])
    assert float(ds.SliceThickness) == 4
    hounsfield = ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
    assert hounsfield[0, 0] == -1000
    assert hounsfield.max() == 1000
    brain = np.count_nonzero((hounsfield >= 28) & (hounsfield <= 40))
    assert brain > 10_000
    assert np.count_nonzero(hounsfield == 5) > 200


def test_phantom_renders_with_its_own_window() -> None:
    middle = list(make_phantom(3, 64))[1]
    shown = np.asarray(Image.open(BytesIO(render(middle, Options()))))
    assert shown.shape == (64, 64)
    assert shown[0, 0] == 0
    assert shown.max() == 255
    assert 110 < shown[40, 24] < 140


def test_phantom_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        next(make_phantom(0))
