"""The end of a DICOM file (PS3.10 7): a walk over its data elements (PS3.5 7) that reads their heads alone."""

import zlib
from struct import Struct

from dwcli.dicomweb import part10
from dwcli.dicomweb.walks import End, Passing, Walk, padding

_MOST_ELEMENTS = 1_000_000  # each takes about a microsecond
_MOST_OPEN = 10_000  # sequences and items inside each other
_MOST_INFLATED = 1 << 30  # bytes
_PIECE = 64 * 1024
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_RECORDS, _SERIES, _ROWS = 0x00041220, 0x0020000E, 0x00280010
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
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
    syntax, stated_end = b"", -1
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
        _, element, vr, length = _EXPLICIT[little].unpack_from(block.ljust(12, b"\0"))[:4]
        value = 8
        if vr in _LONG:
            length, value = int.from_bytes(block[8:12], "little" if little else "big"), 12
        elif vr not in _SHORT:
            length = _IMPLICIT[little].unpack_from(block)[2]
        if length == _UNDEFINED:
            return End.UNPROVEN
        if element == 0x10:
            syntax = block[value : value + min(length, 64)].strip(b"\0 ")
        elif element == 0 and length == 4:
            stated_end = at + value + 4 + int.from_bytes(block[value : value + 4], "little" if little else "big")
        at += value + length
    plain = block[4:6] in _VRS and block[:2] in (b"\x08\0", b"\0\x08")
    if syntax.decode("ascii", "replace") in part10.DEFLATED and not plain:
        return (yield from _deflated(at))
    return (yield from _data_set(at, syntax, pixels))


def _deflated(at: int) -> Walk:
    """Walk over a deflated data set (PS3.5 A.5): its stream must end, and the data set in it."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inside = Passing(_data_set(0, b"", None))
    inflated = 0
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
                block = inflater.unconsumed_tail
                if inflater.eof or not (block or len(piece) == _PIECE):
                    break
                if inflated > _MOST_INFLATED:
                    return End.UNPROVEN
        except zlib.error:
            return End.UNPROVEN
    behind = yield from padding(at - len(inflater.unused_data))
    return inside.end() if behind is End.WHOLE else behind


def _data_set(at: int, syntax: bytes, pixels: Pixels | None) -> Walk:
    block = (yield at) or b""
    if len(block) < 8:
        return End.TRUNCATED
    # What the bytes say beats group 2: the groups at the beginning are low ones.
    little = int.from_bytes(block[:2], "little") <= int.from_bytes(block[:2], "big")
    explicit = block[4:6] in _VRS or (_printable(block[4:6]) and syntax not in (b"", b"1.2.840.10008.1.2"))
    base, last, saw_series, saw_rows, saw_pixels = at, -1, False, False, False
    ends_with: tuple[int, bytes] | None = None
    odd = False  # the element before the place was read by guess
    stack: list[tuple[bool, bool, bool]] = []  # of undefined length: item? and explicit? little? outside it
    for _ in range(_MOST_ELEMENTS):
        start = at - base
        if start > len(block) - 20:
            new = yield at
            if new is None:
                return End.UNPROVEN if odd else End.TRUNCATED
            block, base, start = new, at, 0
            left = len(block)
            if left < 8:
                if stack:
                    return End.TRUNCATED
                if not left:
                    break
                if block.count(0) == left:
                    return _verdict(saw_pixels, saw_series, saw_rows)
                group = int.from_bytes(block[:2], "little" if little else "big") if left > 1 else 0
                return End.TRUNCATED if group >= last >> 16 or not saw_pixels else End.UNPROVEN
        group, element, length = _IMPLICIT[little].unpack_from(block, start)
        tag, value, odd, vr = group << 16 | element, at + 8, False, b""
        if group == 0xFFFE:
            if stack and not stack[-1][0]:  # in a sequence, or among fragments
                if tag == _SEQUENCE_END:
                    _, explicit, little = stack.pop()
                    at = value
                    continue
                if tag != _ITEM:
                    return End.UNPROVEN
                if length == _UNDEFINED:
                    stack.append((True, explicit, little))
                    if len(stack) > _MOST_OPEN:
                        return End.UNPROVEN
                    explicit = block[start + 12 : start + 14] in _VRS
                    at = value
                else:
                    at = value + length
                continue
            if stack and tag == _ITEM_END:
                _, explicit, little = stack.pop()
                at = value
                continue
            if not stack and tag in (_ITEM_END, _SEQUENCE_END):  # closes nothing
                at = value
                continue
            return End.UNPROVEN
        if stack and not stack[-1][0]:
            return End.UNPROVEN  # what is neither item nor delimiter
        if not stack and not tag and not length:
            behind = yield from padding(at)
            return _verdict(saw_pixels, saw_series, saw_rows) if behind is End.WHOLE else behind
        if explicit:
            vr = block[start + 4 : start + 6]
            if vr in _SHORT:
                length = _short(block, start, little)
            elif vr in _LONG:
                if len(block) - start < 12:
                    return End.TRUNCATED
                length, value = _long(block, start, little), at + 12
            else:
                odd = True
                if _printable(vr):
                    # A VR of the future has a 32-bit length by rule; those of some writers have not.
                    length = _short(block, start, little)
                    if not length and not _element_follows(block, start + 8, little, tag):
                        length, value = _long(block, start, little), at + 12
        elif block[start + 4 : start + 6] in _VRS:
            odd = True
        if not stack:
            if tag == _SERIES or tag == _RECORDS:
                saw_series = True
            elif tag == _ROWS:
                saw_rows = True
            elif tag in _PIXELS:
                saw_pixels = True
                ends_with = at, block[start : start + value - at]
            odd = odd or tag < last
            last = tag
        if length == _UNDEFINED:
            stack.append((False, explicit, little))
            if len(stack) > _MOST_OPEN:
                return End.UNPROVEN
            little = little or vr == b"UN"  # PS3.5 6.2.2
            at = value
        else:
            at = value + length
    else:
        return End.UNPROVEN
    if pixels is not None and ends_with is not None and last in _PIXELS:
        pixels.at, pixels.head = ends_with
    return _verdict(saw_pixels, saw_series, saw_rows)


def _verdict(pixels: bool, series: bool, rows: bool) -> End:
    """What a last element means that ends where the bytes do: a file cut between two elements ends so, too."""
    return End.WHOLE if pixels or (series and not rows) else End.UNPROVEN


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
