"""Whether a DICOM file lacks its end."""

from pathlib import Path

from dwcli.dicomweb.content import End, Kind, end_of


def end_of_file(path: Path) -> End:
    """What a DICOM file says about its own end (PS3.10 7). Raises OSError."""
    with path.open("rb", buffering=0) as opened:

        def read(at: int, many: int) -> bytes:
            opened.seek(at)
            return opened.read(many) or b""

        return end_of(read, opened.seek(0, 2), Kind.DICOM)


def is_cut(path: Path) -> bool:
    """Whether the file ends inside a data element; False also where that cannot be told. Raises OSError."""
    return end_of_file(path) is End.TRUNCATED
