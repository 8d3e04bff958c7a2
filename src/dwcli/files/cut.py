"""Whether a DICOM file lacks its end: a walk over its data elements (PS3.5 7) that reads their heads alone."""

from pathlib import Path
from typing import Literal

from dwcli.dicomweb import part10

_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_HEAD = 1 << 20  # bytes that group 2 takes at most
_MOST = 1_000_000  # elements that are looked at; each takes a microsecond or two
_UNDEFINED = 0xFFFFFFFF
_ENDS = (0xFFFEE00D, 0xFFFEE0DD)
# PS3.5 7.1.2: a 16-bit length behind the VR, or two reserved bytes and a 32-bit length.
_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())


def is_cut(path: Path, transfer_syntax: str) -> bool:
    """Whether the file ends inside a data element; False also where that cannot be told (deflated). Raises OSError."""
    if transfer_syntax == _DEFLATED:
        return False
    order: Literal["little", "big"] = "big" if transfer_syntax == _BIG_ENDIAN else "little"
    with path.open("rb") as opened:
        size = opened.seek(0, 2)
        opened.seek(0)
        at = part10.data_set_offset(opened.read(_HEAD))
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
                return True
            tag = int.from_bytes(head[0:2], order) << 16 | int.from_bytes(head[2:4], order)
            vr = head[4:6]
            if explicit is None:
                explicit = vr in _SHORT_VRS or vr in _LONG_VRS
            if explicit and vr in _SHORT_VRS:
                length, at = int.from_bytes(head[6:8], order), at + 8
            elif explicit and vr in _LONG_VRS:
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
