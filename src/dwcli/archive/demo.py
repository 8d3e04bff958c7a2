"""The demo archive: a made CT of a head, and a few of the real images that pydicom brings along."""

import shutil
from pathlib import Path

from dwcli.archive import header
from dwcli.errors import DwError
from dwcli.files.layout import Layout
from dwcli.files.spool import Spool
from dwcli.imaging.phantom import make_phantom

# An MR, a CT, a film, an ultrasound clip in colour, a dose, a plan, a report, an electrocardiogram.
_IMAGES = (
    "MR_small.dcm", "CT_small.dcm", "JPEG2000.dcm", "examples_ybr_color.dcm", "examples_palette.dcm",
    "examples_rgb_color.dcm", "examples_overlay.dcm", "rtdose.dcm", "rtplan.dcm", "test-SR.dcm", "waveform_ecg.dcm",
)  # fmt: skip
_VERSION = "1"


def make(root: Path) -> bool:
    """Make the demo archive's files in `root`; False where they are there already. Raises DwError."""
    mark = root / ".dw-demo"
    if mark.is_file() and mark.read_text() == _VERSION:
        return False
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with Spool(root.parent) as spool:
            made = Path(spool.name())
            made.mkdir(mode=0o700)
            _fill(made)
            (made / mark.name).write_text(_VERSION)
            if root.exists():
                shutil.rmtree(root)
            made.rename(root)
    except OSError as error:
        if mark.is_file():  # another process was faster
            return False
        raise DwError(f"cannot make the demo archive in {root}: {error.strerror or error}") from error
    return True


def _fill(root: Path) -> None:
    import pydicom.data

    waiting = root / ".dw-new"
    for data in make_phantom():
        waiting.write_bytes(data)
        _place(root, waiting)
    images = Path(pydicom.data.__file__).parent / "test_files"
    for name in _IMAGES:
        if (images / name).is_file():
            shutil.copyfile(images / name, waiting)
            _place(root, waiting)


def _place(root: Path, file: Path) -> None:
    try:
        head = header.read(file)
    except header.Unfit:
        file.unlink()
        return
    uids = {"StudyInstanceUID": head.study, "SeriesInstanceUID": head.series, "SOPInstanceUID": head.instance}
    final = root / Layout().relative(uids)
    final.parent.mkdir(parents=True, exist_ok=True)
    file.replace(final)
