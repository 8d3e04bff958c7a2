"""Read files with pydicom in the encoding that their bytes show."""

import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

from dwcli.dicomweb import part10

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

_HEAD = 4096
_LONGEST_HEAD = 4 << 20
_LARGEST_INFLATED = 1 << 30
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_IMPLICIT, _EXPLICIT, _BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", part10.BIG_ENDIAN
_PLAIN = {(False, True): _IMPLICIT, (True, True): _EXPLICIT, (True, False): _BIG}


def read(stream: BinaryIO, *, pixels: bool = False, tags: list[int] | None = None) -> "FileDataset":
    """The data set of the file at `stream`, up to its pixel data, at which `stream` then stands.

    Its `original_encoding` is that of its bytes, whatever group 2 says (PS3.10 7.1). `pixels`: to the end of the file;
    `tags`: of all elements only these.
    Raises ValueError, and what pydicom raises where the bytes break the rules.
    """
    from pydicom import dcmread
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.filereader import read_dataset

    origin = stream.tell()
    head = _head(stream)
    start = part10.data_set_offset(head)
    meta = FileMetaDataset()
    if start is None:
        if _may_begin_with_meta(head):
            stream.seek(origin)
            return dcmread(stream, force=True, stop_before_pixels=not pixels, specific_tags=tags)
        start = 0
    begin = 132 if head[128:132] == b"DICM" else 0
    if start > begin:
        meta = FileMetaDataset(read_dataset(BytesIO(head[begin:start]), is_implicit_VR=False, is_little_endian=True))
    stated = meta.get("TransferSyntaxUID") or ""
    if not isinstance(stated, str):
        raise ValueError("Transfer Syntax UID (0002,0010) is not one UID")
    syntax = str(stated)
    stream.seek(origin + start)
    source, first = stream, head[start : start + 8]
    if syntax in part10.DEFLATED:
        inflated = _inflated(stream.read())
        source, first = BytesIO(inflated), inflated[:8]
    explicit, little = part10.encoding(first, 0, syntax)
    if (explicit, little) not in _PLAIN:
        if syntax:
            raise ValueError("it is big endian with implicit VRs, which matches no transfer syntax")
        little = True

    def at_pixels(tag: int, _vr: Any, _length: int) -> bool:
        return tag in _PIXELS

    data = read_dataset(
        source,
        is_implicit_VR=not explicit,
        is_little_endian=little,
        stop_when=None if pixels else at_pixels,
        specific_tags=tags,
    )
    found = FileDataset(stream, data, head[:128] if begin else None, meta, not explicit, little)
    found.set_original_encoding(not explicit, little, data.original_character_set)
    return found


def syntax_of(found: "Dataset") -> str:
    """The transfer syntax of a data set from `read`: its bytes', unless group 2 names one that compresses."""
    stated = str(found.file_meta.get("TransferSyntaxUID") or "")
    implicit, little = found.original_encoding
    return _PLAIN[not implicit, bool(little)] if not stated or stated in _PLAIN.values() else stated


def _head(stream: BinaryIO) -> bytes:
    """The beginning of the file, so long that group 2 and the first element behind it are in it."""
    head = stream.read(_HEAD)
    while _may_begin_with_meta(head) and part10.data_set_offset(head) is None and len(head) < _LONGEST_HEAD:
        more = stream.read(3 * len(head))
        if not more:
            break
        head += more
    return head


def _may_begin_with_meta(head: bytes) -> bool:
    return head[128:132] == b"DICM" or head[:2] == b"\2\0"


def _inflated(data: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        made = inflater.decompress(data, _LARGEST_INFLATED)
    except zlib.error as error:
        raise ValueError(f"the deflated data set is damaged: {error}") from None
    if not inflater.eof:
        what = "too large" if inflater.unconsumed_tail else "truncated"
        raise ValueError(f"the deflated data set is {what}")
    return made
