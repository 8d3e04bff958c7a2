"""The end of a DICOM file (PS3.10 7): a walk over its data elements (PS3.5 7) that reads their heads alone."""

import re
import struct
import zlib
from enum import Enum, auto
from struct import Struct
from typing import Literal

from dwcli.dicomweb import part10
from dwcli.dicomweb.walks import End, Passing, Walk, padding

_MOST_ELEMENTS = 1_000_000  # each takes about a microsecond
_MOST_OPEN = 10_000  # sequences and items inside each other
_MOST_INFLATED = 1 << 30  # bytes
_PIECE = 64 * 1024
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_RECORDS, _SERIES, _ROWS = 0x00041220, 0x0020000E, 0x00280010
_SOP_CLASS = 0x00080016
# The storage classes of images (PS3.4 B.5).
_IMAGE = re.compile(
    rb"1\.2\.840\.10008\.5\.1\.4\.1\.1\."
    rb"(?!4\.2)(?:[1-7]|1[234]|20|30|66\.4|77\.1\.[1-7]|128|130|481\.[12])(?:\.[\d.]*)?[\0 ]*\Z"
)
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_TELLING = frozenset({_SERIES, _RECORDS, _ROWS, _SOP_CLASS, *_PIXELS})
_SHORT, _LONG = part10.SHORT_VRS, part10.LONG_VRS
_VRS = _SHORT | _LONG
_EXPLICIT = {True: Struct("<HH2sHI"), False: Struct(">HH2sHI")}
_IMPLICIT = {True: Struct("<HHI"), False: Struct(">HHI")}


class Pixels:
    """Where the pixel data of a file that a walk has passed begins, where it is its last element."""

    at = -1
    head = b""


def part10_end(pixels: Pixels | None = None) -> Walk:
    """Walk over a DICOM file, with a preamble or without one."""
    block = yield 0
    at = 132 if block and block[128:132] == b"DICM" else 0
    syntax, stated_end, image = b"", -1, False
    while True:
        block = yield at
        if block is None:
            return End.TRUNCATED
        if not block:
            return End.UNPROVEN  # group 2 alone says of no data set that it has ended
        if len(block) < 8:
            return End.TRUNCATED
        little = block[:2] == b"\2\0"
        if (not little and block[:2] != b"\0\2") or (at == stated_end and block[4:6] not in _VRS):
            break
        element, length, value = _meta_element(block, little)
        if length == _UNDEFINED:
            return End.UNPROVEN
        if element == 0x10:
            syntax = block[value : value + min(length, 64)].strip(b"\0 ")
        elif element == 2:
            image = _IMAGE.match(block[value : value + min(length, 64)]) is not None
        elif element == 0 and length == 4:
            stated_end = at + value + 4 + int.from_bytes(block[value : value + 4], "little" if little else "big")
        at += value + length
    plain = block[4:6] in _VRS and block[:2] in (b"\x08\0", b"\0\x08")
    if syntax.decode("ascii", "replace") in part10.DEFLATED and not plain:
        return (yield from _deflated(at, image))
    return (yield from _data_set(at, syntax, image, pixels))


def _meta_element(block: bytes, little: bool) -> tuple[int, int, int]:
    """The number of an element of group 2, the length of its value, and the bytes before that (PS3.10 7.1)."""
    order: Literal["little", "big"] = "little" if little else "big"
    element, vr = int.from_bytes(block[2:4], order), block[4:6]
    if vr in _LONG:
        return element, int.from_bytes(block[8:12], order), 12
    return element, int.from_bytes(block[6:8] if vr in _SHORT else block[4:8], order), 8


def _deflated(at: int, image: bool) -> Walk:
    """Walk over a deflated data set (PS3.5 A.5): its stream must end, and the data set in it."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inside = Passing(_data_set(0, b"", image, None))
    inflated = checksum = 0
    while not inflater.eof:
        block = yield at
        if not block:
            return End.TRUNCATED
        at += len(block)
        try:
            while True:
                piece = inflater.decompress(block, _PIECE)
                inside.feed(piece)
                inflated += len(piece)
                checksum = zlib.crc32(piece, checksum)
                block = inflater.unconsumed_tail
                if inflater.eof or not (block or len(piece) == _PIECE):
                    break
                if inflated > _MOST_INFLATED:
                    return End.UNPROVEN
        except zlib.error:
            return End.UNPROVEN
    at -= len(inflater.unused_data)
    trailer = (yield at) or b""
    if trailer[:8] == struct.pack("<II", checksum, inflated & 0xFFFFFFFF):  # gzip's, which some writers leave on
        at += 8
    behind = yield from padding(at)
    if behind is not End.WHOLE:
        return behind
    return End.TRUNCATED if inside.end() is End.TRUNCATED else End.WHOLE


def _data_set(at: int, syntax: bytes, image: bool, pixels: Pixels | None) -> Walk:
    """Walk over the top-level elements and what lies in them, until the bytes end."""
    block = (yield at) or b""
    if len(block) < 8:
        return End.TRUNCATED
    walk = _DataSet(block, syntax, image)
    base = at
    for _ in range(_MOST_ELEMENTS):
        start = at - base
        if start > len(block) - 20:
            new = yield at
            if new is None:
                return End.UNPROVEN if walk.odd else End.TRUNCATED
            block, base, start = new, at, 0
            if len(block) < 8:
                return walk.end(block, pixels)
        step = walk.step(block, start, at)
        if isinstance(step, _Padding):
            behind = yield from padding(at)
            return walk.verdict() if behind is End.WHOLE else behind
        if isinstance(step, End):
            return step
        at = step
    return End.UNPROVEN


class _Padding(Enum):
    """Zero bytes follow, where an element would."""

    BEGINS = auto()


class _DataSet:
    """What a walk over a data set (PS3.5 7) knows at the place where it is.

    `stack`: the sequences and items of undefined length that are open: whether it is an item, and how the elements
    outside it are encoded. `odd`: the element before the place was read by guess.
    """

    __slots__ = ("explicit", "is_image", "last", "little", "odd", "place", "saw_pixels", "saw_series", "stack")

    def __init__(self, block: bytes, syntax: bytes, image: bool) -> None:
        # What the bytes say beats group 2: a first group is a low one, at least where a file can name itself.
        little = syntax != b"1.2.840.10008.1.2.2"
        low, high = (block[0], block[1]) if little else (block[1], block[0])
        self.little = little if high < 4 or low else not little
        vr = block[4:6]
        self.explicit = vr in _VRS or (_printable(vr) and syntax not in (b"", b"1.2.840.10008.1.2"))
        self.is_image = image
        self.saw_series = self.saw_pixels = self.odd = False
        self.last = -1
        self.place: tuple[int, bytes] | None = None
        self.stack: list[tuple[bool, bool, bool]] = []

    def step(self, block: bytes, start: int, at: int) -> "int | End | _Padding":
        """Read the element at `at`, which is `start` in the block: where the next one begins, or how the walk ends."""
        group: int
        length: int
        group, element, length = _IMPLICIT[self.little].unpack_from(block, start)
        tag = group << 16 | element
        self.odd = False
        if group == 0xFFFE:
            return self._delimiter(block, start, at, tag, length)
        if self.stack and not self.stack[-1][0]:
            return End.UNPROVEN  # what is neither item nor delimiter
        if not self.stack and not tag and not length:
            return _Padding.BEGINS
        head = 8
        if self.explicit:
            vr = block[start + 4 : start + 6]
            if vr in _SHORT:
                length = length >> 16 if self.little else length & 0xFFFF
            elif vr in _LONG and len(block) - start < 12:
                return End.TRUNCATED
            else:
                length, head = self._explicit(block, start, vr, tag)
        else:
            vr = b""
            self.odd = block[start + 4 : start + 6] in _VRS
        if not self.stack:
            if tag in _TELLING:
                self._note(block, start, at, tag, head, length)
            self.odd = self.odd or tag < self.last
            self.last = tag
        if length != _UNDEFINED:
            return at + head + length
        self.stack.append((False, self.explicit, self.little))
        self.little = self.little or vr == b"UN"  # PS3.5 6.2.2
        return End.UNPROVEN if len(self.stack) > _MOST_OPEN else at + head

    def _delimiter(self, block: bytes, start: int, at: int, tag: int, length: int) -> "int | End":
        """Read an item, or the end of one or of a sequence (PS3.5 7.5)."""
        stack = self.stack
        in_sequence = bool(stack) and not stack[-1][0]  # or among fragments
        if stack and tag == (_SEQUENCE_END if in_sequence else _ITEM_END):
            _, self.explicit, self.little = stack.pop()
            return at + 8
        if in_sequence:
            if tag != _ITEM:
                return End.UNPROVEN
            if length != _UNDEFINED:
                return at + 8 + length
            stack.append((True, self.explicit, self.little))
            self.explicit = block[start + 12 : start + 14] in _VRS
            return End.UNPROVEN if len(stack) > _MOST_OPEN else at + 8
        # At the top level it closes nothing.
        return at + 8 if not stack and tag in (_ITEM_END, _SEQUENCE_END) else End.UNPROVEN

    def _explicit(self, block: bytes, start: int, vr: bytes, tag: int) -> tuple[int, int]:
        """The length of a value with 32 bits of it, or of what is no VR, and the bytes before it (PS3.5 7.1.2)."""
        if vr in _LONG:
            return _long(block, start, self.little), 12
        self.odd = True
        if not _printable(vr):
            return int.from_bytes(block[start + 4 : start + 8], "little" if self.little else "big"), 8
        # A VR of the future has a 32-bit length by rule; those of some writers have not.
        length = _short(block, start, self.little)
        if length or _element_follows(block, start + 8, self.little, tag):
            return length, 8
        return _long(block, start, self.little), 12

    def _note(self, block: bytes, start: int, at: int, tag: int, head: int, length: int) -> None:
        """Remember what a top-level element says of the whole."""
        if tag in _PIXELS:
            self.saw_pixels = True
            self.place = at, block[start : start + head]
        elif tag in (_SERIES, _RECORDS):
            self.saw_series = True
        elif tag == _ROWS:
            self.is_image = True
        elif tag == _SOP_CLASS:
            value = block[start + head : start + head + min(length, 64)]
            self.is_image = self.is_image or _IMAGE.match(value) is not None

    def end(self, block: bytes, pixels: Pixels | None) -> End:
        """What it means that fewer than eight bytes are left."""
        left = len(block)
        if self.stack:
            return End.TRUNCATED
        if block.count(0) == left:  # nothing, or padding
            if not left and pixels is not None and self.place is not None and self.last in _PIXELS:
                pixels.at, pixels.head = self.place
            return self.verdict()
        group = int.from_bytes(block[:2], "little" if self.little else "big") if left > 1 else 0
        return End.TRUNCATED if group >= self.last >> 16 or not self.saw_pixels else End.UNPROVEN

    def verdict(self) -> End:
        """What a last element means that ends with the bytes: so does a file truncated between two elements."""
        if self.saw_pixels:
            return End.WHOLE
        return End.PLAUSIBLE if self.saw_series and not self.is_image else End.UNPROVEN


def _short(block: bytes, start: int, little: bool) -> int:
    return int.from_bytes(block[start + 6 : start + 8], "little" if little else "big")


def _long(block: bytes, start: int, little: bool) -> int:
    return int.from_bytes(block[start + 8 : start + 12], "little" if little else "big")


def _printable(vr: bytes) -> bool:
    return all(0x20 <= byte < 0x7F for byte in vr)


def _element_follows(block: bytes, start: int, little: bool, tag: int) -> bool:
    if len(block) - start < 8:
        return len(block) == start
    group, element, _ = _IMPLICIT[little].unpack_from(block, start)
    return block[start + 4 : start + 6] in _VRS and (group << 16 | element) > tag
