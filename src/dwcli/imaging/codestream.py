"""What the codestream of a compressed frame says about itself: it decides, not the header around it."""

from typing import NamedTuple

_JPEG_START, _JPEG_2000_START = b"\xff\xd8", b"\xff\x4f\xff\x51"
_FRAME_HEADERS = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7})
_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF, 0xF7})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_SCAN, _APP0, _APP14 = 0xDA, 0xE0, 0xEE
_CODING_STYLE, _TILE_PART = 0xFF52, 0xFF90
_RGB = (b"RGB", b"rgb")


class Codestream(NamedTuple):
    """`bits` of a sample, whether samples are `signed`, how many `components`; `colour`: "RGB" or "YBR" where the
    codestream says what decoding it, without any transformation but its own, gives; else "".
    """

    bits: int
    signed: bool
    components: int
    colour: str


def jpeg(data: bytes) -> Codestream:
    """JPEG (ISO 10918-1) or JPEG-LS (ISO 14495-1), by its markers. Raises ValueError.

    A JFIF marker beats an Adobe one, as in libjpeg, and that the components' identifiers; lossless codestreams carry
    a JFIF marker whatever their colours are.
    """
    at, jfif, adobe = data.find(_JPEG_START) + 2, False, -1
    if at < 2:
        raise ValueError("not a JPEG codestream")
    bits, identifiers, lossless = 0, b"", False
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise ValueError("a JPEG marker is misplaced")
        marker = data[at + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            at += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at + 4 : at + 2 + length]
        if marker == _SCAN:
            break
        if marker in _FRAME_HEADERS and len(segment) >= 6:
            bits, identifiers, lossless = segment[0], segment[6 : 6 + 3 * segment[5] : 3], marker in _LOSSLESS
        elif marker == _APP0 and segment.startswith(b"JFIF\0"):
            jfif = True
        elif marker == _APP14 and segment.startswith(b"Adobe") and len(segment) >= 12:
            adobe = segment[11]
        at += 2 + length
    if not bits:
        raise ValueError("a JPEG codestream without a frame header")
    colour = _colour(identifiers, jfif=jfif and not lossless, adobe=adobe) if len(identifiers) == 3 else ""
    return Codestream(bits, False, len(identifiers), colour)


def _colour(identifiers: bytes, *, jfif: bool, adobe: int) -> str:
    """What three components are; empty where nothing tells. `adobe`: the transform of its marker, -1 without one."""
    if jfif:
        return "YBR"
    if adobe >= 0:
        return "YBR" if adobe else "RGB"
    return "RGB" if identifiers in _RGB else ""


def jpeg_2000(data: bytes) -> Codestream:
    """JPEG 2000 (ISO 15444-1) or HTJ2K, bare or in a JP2 file, by its main header. Raises ValueError."""
    at = data.find(_JPEG_2000_START)
    if at < 0 or len(data) < at + 43:
        raise ValueError("not a JPEG 2000 codestream")
    components, depth = int.from_bytes(data[at + 40 : at + 42], "big"), data[at + 42]
    colour, at = "", at + 2
    while at + 4 <= len(data):
        marker = int.from_bytes(data[at : at + 2], "big")
        if marker == _TILE_PART or marker < 0xFF00:
            break
        if marker == _CODING_STYLE and len(data) > at + 8:
            # Its transformation leads back to RGB; without one, nothing is known.
            colour = "RGB" if data[at + 8] & 1 and components >= 3 else ""
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return Codestream((depth & 0x7F) + 1, depth > 0x7F, components, colour)
