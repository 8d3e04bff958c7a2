"""Whether a DICOM file lacks its end: a walk over its data elements (PS3.5 7) that reads their heads alone."""

from pathlib import Path
from typing import BinaryIO, Literal

from dwcli.dicomweb import part10

_HEAD_FIRST = 4096  # bytes in which group 2 nearly always ends
_HEAD = 1 << 20  # bytes that it takes at most
_MOST = 1_000_000  # elements that are looked at; each takes a microsecond or two
_UNDEFINED = 0xFFFFFFFF
_ENDS = (0xFFFEE00D, 0xFFFEE0DD)


def is_cut(path: Path, transfer_syntax: str) -> bool:
    """Whether the file ends inside a data element; False also where that cannot be told (deflated). Raises OSError."""
    with path.open("rb") as opened:
        return lacks_end(opened, transfer_syntax)


def lacks_end(opened: BinaryIO, transfer_syntax: str) -> bool:
    """The same of an open file, wherever its bytes are. Raises OSError."""
    if transfer_syntax in part10.DEFLATED:
        return False
    order: Literal["little", "big"] = "big" if transfer_syntax == part10.BIG_ENDIAN else "little"
    size = opened.seek(0, 2)
    opened.seek(0)
    head = opened.read(_HEAD_FIRST)
    at = part10.data_set_offset(head)
    if at is None:
        at = part10.data_set_offset(head + opened.read(_HEAD - len(head)))
    if at is None:
        return False
    explicit: bool | None = None
    depth = 0  # of sequences and items whose end a delimiter marks
    for _ in range(_MOST):
        if at >= size:
            return at > size or depth > 0
        opened.seek(at)
        head = opened.read(12)
        if len(head) < 8:
            return head.strip(b"\0") != b""  # some writers pad the file
        tag = int.from_bytes(head[0:2], order) << 16 | int.from_bytes(head[2:4], order)
        vr = head[4:6]
        if explicit is None:
            explicit = vr in part10.SHORT_VRS or vr in part10.LONG_VRS
        if explicit and vr in part10.SHORT_VRS:
            length, at = int.from_bytes(head[6:8], order), at + 8
        elif explicit and vr in part10.LONG_VRS:
            length, at = int.from_bytes(head[8:12], order), at + 12
        else:
            length, at = int.from_bytes(head[4:8], order), at + 8
        if tag in _ENDS:
            depth -= 1
        elif length == _UNDEFINED:
            depth += 1
        else:
            at += length
    return False
