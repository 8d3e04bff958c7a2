"""Whether a DICOM file is truncated (PS3.10 7)."""

from pathlib import Path
from typing import BinaryIO

from dwcli.dicomweb.content import End, Kind, end_of


def end_of_opened(opened: BinaryIO) -> End:
    """What an open DICOM file says about its own end, wherever its bytes are. Raises OSError."""

    def read(at: int, many: int) -> bytes:
        opened.seek(at)
        return opened.read(many) or b""

    return end_of(read, opened.seek(0, 2), Kind.DICOM)


def is_cut(path: Path) -> bool:
    """Whether the file ends inside a data element; False also where that cannot be told. Raises OSError."""
    with path.open("rb", buffering=0) as opened:
        return end_of_opened(opened) is End.TRUNCATED
