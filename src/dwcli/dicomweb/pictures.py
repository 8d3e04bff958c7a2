"""The ends of images and videos: walks over their chunks, markers, blocks and boxes."""

from collections.abc import Generator

from dwcli.dicomweb.walks import LEAST, End, Walk, nothing, padding

_IEND = b"\0\0\0\0IEND\xaeB`\x82"


def png_end() -> Walk:
    """Walk over the chunks of a PNG (PNG 5.3) to IEND."""
    at, base, block, pixels = 8, 0, b"", False
    while True:
        start = at - base
        if start > len(block) - 12:
            new = yield at
            if new is None or len(new) < 12:
                return End.TRUNCATED
            block, base, start = new, at, 0
        kind = block[start + 4 : start + 8]
        if block[start : start + 12] == _IEND:
            return (yield from nothing(at + 12)) if pixels else End.UNPROVEN
        if not kind.isalpha() or kind == b"IEND":
            return End.UNPROVEN
        pixels = pixels or kind == b"IDAT"
        at += 12 + int.from_bytes(block[start : start + 4], "big")


def jpeg_end() -> Walk:
    """Walk over the markers of a JPEG or JPEG-LS (T.81 B.1, T.87 C.1) to EOI; padding may follow."""
    at, base, block, scanned = 2, 0, b"", False
    while True:
        start = at - base
        if start > len(block) - 4:
            new = yield at
            if new is None or len(new) < 2:
                return End.TRUNCATED
            block, base, start = new, at, 0
        marker = block[start + 1]
        if block[start] != 0xFF:
            return End.UNPROVEN
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0xD9:
            return (yield from padding(at + 2)) if scanned else End.UNPROVEN
        if marker == 1 or 0xD0 <= marker < 0xD8:
            at += 2
            continue
        if marker < 0xC0 or marker == 0xD8:
            return End.UNPROVEN
        if len(block) - start < 4:
            return End.TRUNCATED
        at += 2 + int.from_bytes(block[start + 2 : start + 4], "big")
        if marker != 0xDA:
            continue
        scanned = True
        while True:  # entropy-coded data: to the next marker that is no restart
            if at - base > len(block) - 2:
                new = yield at
                if new is None or len(new) < 2:
                    return End.TRUNCATED
                block, base = new, at
            found = block.find(b"\xff", at - base)
            if found < 0:
                at = base + len(block)
            elif found + 1 == len(block):
                at = base + found
            elif (follows := block[found + 1]) >= 0x80 and not 0xD0 <= follows < 0xD8 and follows != 0xFF:
                at = base + found
                break
            else:
                at = base + found + (1 if follows == 0xFF else 2)


def jpeg_2000_end() -> Walk:
    """Walk over a JP2 file (T.800 I) or a bare codestream (T.800 A) to EOC; padding may follow the codestream."""
    first = (yield 0) or b""
    if first[:2] == b"\xff\x4f":
        end = yield from _codestream(0)
        return end if isinstance(end, End) else (yield from padding(end))
    at, found = 0, False
    while True:
        block = (yield at) if at else first
        if block is None:
            return End.TRUNCATED
        if not block:
            return End.WHOLE if found else End.TRUNCATED
        if found and not any(block[:8]):
            return (yield from padding(at))
        box = _box(block)
        if isinstance(box, End):
            return box
        kind, head, length = box
        if kind == b"jp2c":
            found = True
            end = yield from _codestream(at + head)
            if isinstance(end, End):
                return end
            if not length:
                return (yield from padding(end))
            if end > at + length:
                return End.UNPROVEN
        elif not length:
            return End.UNPROVEN
        at += length


def _codestream(at: int) -> Generator[int, bytes | None, int | End]:
    """Walk over a codestream; where it ends, or what is wrong."""
    block = yield at
    if block is None or len(block) < 2:
        return End.TRUNCATED
    if block[:2] != b"\xff\x4f":
        return End.UNPROVEN
    at += 2
    tiles = False
    while True:
        block = yield at
        if block is None or len(block) < 2:
            return End.TRUNCATED
        if block[:2] == b"\xff\xd9":
            return at + 2 if tiles else End.UNPROVEN
        if block[0] != 0xFF:
            return End.UNPROVEN
        if len(block) < 12:
            return End.TRUNCATED
        if block[1] != 0x90:  # SOT
            if tiles:
                return End.UNPROVEN
            at += 2 + int.from_bytes(block[2:4], "big")
            continue
        tiles = True
        length = int.from_bytes(block[6:10], "big")
        if 0 < length < 14:
            return End.UNPROVEN
        if length:
            at += length
            continue
        at += 12
        while True:  # the last tile-part goes on to EOC; FF90 and above stand nowhere else
            block = yield at
            if block is None or len(block) < 2:
                return End.TRUNCATED
            place = block.find(b"\xff\xd9")
            if place >= 0:
                at += place
                break
            at += len(block) - 1


def gif_end() -> Walk:
    """Walk over the blocks of a GIF (GIF89a) to its trailer."""
    block = (yield 0) or b""
    if len(block) < 13:
        return End.TRUNCATED
    at = 13 + (3 << (block[10] & 7) + 1 if block[10] & 0x80 else 0)
    base, pixels, inside = 0, False, False
    while True:
        start = at - base
        if start > len(block) - 11:
            new = yield at
            if not new:
                return End.TRUNCATED
            block, base, start = new, at, 0
        if inside:
            inside = block[start] != 0
            at += 1 + block[start]
        elif block[start] == 0x3B:
            return (yield from nothing(at + 1)) if pixels else End.UNPROVEN
        elif block[start] == 0x21:
            at, inside = at + 2, True
        elif block[start] == 0x2C:
            if len(block) - start < 11:
                return End.TRUNCATED
            packed = block[start + 9]
            at += 11 + (3 << (packed & 7) + 1 if packed & 0x80 else 0)
            pixels = inside = True
        else:
            return End.UNPROVEN


def webp_end() -> Walk:
    """Hold the size of a WebP against that in its RIFF head."""
    block = (yield 0) or b""
    if len(block) < 12:
        return End.TRUNCATED
    length = int.from_bytes(block[4:8], "little")
    return (yield from nothing(8 + length + length % 2)) if length > 12 else End.UNPROVEN


def mp4_end() -> Walk:
    """Walk over the boxes of an MP4 (ISO 14496-12 4.2); one in fragments ends with its index (mfra) only."""
    at, base, block = 0, 0, b""
    seen: set[bytes] = set()
    kind = b""
    while True:
        if at - base > len(block) - LEAST:
            new = yield at
            if new is None:
                return End.TRUNCATED
            block, base = new, at
        start = at - base
        if start == len(block):
            whole = kind == b"mfra" if b"moof" in seen else {b"moov", b"mdat"} <= seen
            return End.WHOLE if whole else End.UNPROVEN
        box = _box(block[start : start + 16])
        if isinstance(box, End):
            return box
        kind, _, length = box
        if not length:
            return End.UNPROVEN
        if kind in (b"moov", b"mdat", b"moof"):
            seen.add(kind)
        at += length


def _box(block: bytes) -> tuple[bytes, int, int] | End:
    """Type, length of the head and of the whole of the box that `block` begins with; 0: to the end."""
    if len(block) < 8:
        return End.TRUNCATED
    length, kind = int.from_bytes(block[:4], "big"), block[4:8]
    if any(not 0x20 <= byte < 0x7F and byte != 0xA9 for byte in kind):
        return End.UNPROVEN
    head = 8
    if length == 1:
        if len(block) < 16:
            return End.TRUNCATED
        length, head = int.from_bytes(block[8:16], "big"), 16
    if length and length < head:
        return End.UNPROVEN
    return kind, head, length
