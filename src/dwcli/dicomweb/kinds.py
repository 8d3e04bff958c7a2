"""What a content is, by its first bytes: servers mislabel, so no header says it for sure."""

from enum import Enum

HEAD = 1024  # bytes by which a kind is told where there are as many


class Kind(Enum):
    """What a content is; the value is what a message calls it."""

    DICOM = "a DICOM file"
    PNG = "a PNG image"
    JPEG = "a JPEG image"
    JPEG_LS = "a JPEG-LS image"
    JPEG_2000 = "a JPEG 2000 image"
    JPEG_XL = "a JPEG XL image"
    GIF = "a GIF image"
    WEBP = "a WebP image"
    MP4 = "an MP4 video"
    MPEG = "an MPEG video"
    PDF = "a PDF"
    ZIP = "a zip file"
    JSON = "JSON"
    XML = "XML"
    HTML = "an HTML page"
    TEXT = "text"
    EMPTY = "nothing"
    OTHER = "bytes of no known kind"


_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", Kind.PNG),
    (b"GIF87a", Kind.GIF),
    (b"GIF89a", Kind.GIF),
    (b"\xff\x4f\xff\x51", Kind.JPEG_2000),
    (b"\0\0\0\x0cjP  \r\n\x87\n", Kind.JPEG_2000),
    (b"\0\0\0\x0cJXL \r\n\x87\n", Kind.JPEG_XL),
    (b"%PDF-", Kind.PDF),
    (b"PK\3\4", Kind.ZIP),
    (b"PK\5\6", Kind.ZIP),
    (b"\0\0\1\xba", Kind.MPEG),
    (b"\0\0\1\xb3", Kind.MPEG),
)


def kind_of(head: bytes) -> Kind:
    """What begins with `head`, by that alone; a `head` of 132 bytes or more tells all kinds, `HEAD` for sure."""
    head = head[:HEAD]
    if not head:
        return Kind.EMPTY
    if head[128:132] == b"DICM":
        return Kind.DICOM
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if head[:2] == b"\2\0" and (head[4:6].isalpha() or head[2:8] == b"\0\0\4\0\0\0"):
        return Kind.DICOM
    if head.startswith(b"\xff\xd8\xff"):
        return _jpeg(head)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Kind.WEBP
    if head[4:8] in (b"ftyp", b"moov", b"mdat"):
        return Kind.MP4
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return Kind.MPEG
    return _text(head)


def _jpeg(head: bytes) -> Kind:
    """JPEG or JPEG-LS, by the frame header or the parameters (SOF55, LSE) that come first (T.87 C.1)."""
    at = 2
    while at + 4 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker in (0xF7, 0xF8):
            return Kind.JPEG_LS
        if marker == 0xFF:
            at += 1
            continue
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return Kind.JPEG


def _text(head: bytes) -> Kind:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    lower = text[:512].lower()
    if text[:1] == b"<":
        if b"<html" in lower or b"<!doctype html" in lower:
            return Kind.HTML
        return Kind.XML if text[1:2].isalpha() or text[1:2] in (b"?", b"!", b"_", b"") else Kind.OTHER
    if text[:1] in (b"[", b"{") and b"\0" not in head:
        return Kind.JSON
    return Kind.OTHER if head.translate(None, _NOT_CONTROLS) else _decoded(head)


_NOT_CONTROLS = bytes(byte for byte in range(256) if byte >= 0x20 or byte in b"\t\n\r\f")


def _decoded(head: bytes) -> Kind:
    for end in range(len(head), max(len(head) - 4, -1), -1):  # the last character may go on behind the head
        try:
            head[:end].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return Kind.TEXT
    return Kind.OTHER
