"""Identify content by its first bytes, and check by its end whether it is complete.

No header says either for sure: servers mislabel, and a proxy ends a truncated response in good order.
"""

from collections.abc import Callable, Mapping
from enum import Enum

from dwcli.dicomweb import part10, pictures, texts
from dwcli.dicomweb.elements import Pixels, part10_end
from dwcli.dicomweb.walks import End, Passing, Read, Walk, run

__all__ = ["HEAD", "End", "Ends", "Kind", "Read", "Witness", "end_of", "end_of_bytes", "kind_of"]

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
_VRS = part10.SHORT_VRS | part10.LONG_VRS


def kind_of(head: bytes) -> Kind:
    """Identify content by its first bytes; 132 bytes suffice for all kinds, `HEAD` bytes certainly do."""
    head = head[:HEAD]
    if not head:
        return Kind.EMPTY
    if head[128:132] == b"DICM":
        return Kind.DICOM
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if head[:2] == b"\2\0" and (head[4:6] in _VRS or head[2:8] == b"\0\0\4\0\0\0"):
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


_WALKS: Mapping[Kind, Callable[[], Walk]] = {
    Kind.DICOM: part10_end,
    Kind.PNG: pictures.png_end,
    Kind.JPEG: pictures.jpeg_end,
    Kind.JPEG_LS: pictures.jpeg_end,
    Kind.JPEG_2000: pictures.jpeg_2000_end,
    Kind.GIF: pictures.gif_end,
    Kind.WEBP: pictures.webp_end,
    Kind.MP4: pictures.mp4_end,
    Kind.JSON: texts.json_end,
    Kind.XML: texts.xml_end,
}
_ENDINGS: Mapping[Kind, texts.Ending] = {Kind.PDF: texts.pdf_end, Kind.ZIP: texts.zip_end}


def end_of(read: Read, size: int, kind: Kind | None = None) -> End:
    """What the content says about its own end; `read(at, n)` gives its bytes. Raises what `read` raises."""
    if kind is None:
        kind = kind_of(read(0, min(HEAD, size)))
    if walk := _WALKS.get(kind):
        return run(walk(), read, size)
    if ending := _ENDINGS.get(kind):
        many = min(texts.TAIL, size)
        return ending(read(0, min(HEAD, size)), read(size - many, many), size)
    return End.UNPROVEN


def end_of_bytes(data: bytes, kind: Kind | None = None) -> End:
    """The same of bytes in memory."""
    return end_of(lambda at, n: data[at : at + n], len(data), kind)


class _Tail:
    """Keep the first and the last bytes of what passes."""

    def __init__(self, ending: texts.Ending) -> None:
        self._ending = ending
        self._head, self._tail, self._size = b"", bytearray(), 0

    def feed(self, chunk: bytes) -> None:
        if len(self._head) < HEAD:
            self._head += chunk[: HEAD - len(self._head)]
        self._size += len(chunk)
        self._tail += chunk[-texts.TAIL :]
        if len(self._tail) > 2 * texts.TAIL:
            del self._tail[: -texts.TAIL]

    def end(self) -> End:
        return self._ending(self._head, bytes(self._tail[-texts.TAIL :]), self._size)


class Witness:
    """`end_of` for a content that streams past, in constant memory; `kind` once `HEAD` bytes or the end came."""

    def __init__(self, kind: Kind | None = None) -> None:
        self.kind = kind
        self._head = b""
        self._inner: Passing | _Tail | None = None
        if kind is not None:
            self._begin(kind)

    def _begin(self, kind: Kind) -> None:
        self.kind = kind
        if walk := _WALKS.get(kind):
            self._inner = Passing(walk())
        elif ending := _ENDINGS.get(kind):
            self._inner = _Tail(ending)
        if self._inner is not None:
            self._inner.feed(self._head)
        self._head = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        if self.kind is None:
            self._head += chunk
            if len(self._head) >= HEAD:
                self._begin(kind_of(self._head))
        elif self._inner is not None:
            self._inner.feed(chunk)

    def end(self) -> End:
        """What the bytes that came say about their end."""
        if self.kind is None:
            self._begin(kind_of(self._head))
        return End.UNPROVEN if self._inner is None else self._inner.end()


_DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"


class Ends:
    """`end_of` for the DICOM files of a series one after another: two short reads where a file ends as the last did.

    Sound: only where the head of the pixel data stands at the very place that makes it end with the file.
    Threads may share one.
    """

    def __init__(self) -> None:
        self._last: tuple[int, bytes] | None = None

    def look(self, read: Read, size: int) -> End:
        """What the file says about its own end. Raises what `read` raises."""
        if self._last is not None:
            at, head = self._last
            order = "big" if head[:2] == b"\x7f\xe0" else "little"
            length = int.from_bytes(head[-4:], order)  # type: ignore[arg-type]
            if length == 0xFFFFFFFF:
                if read(size - 8, 8) == _DELIMITER and read(at, len(head)) == head:
                    return End.WHOLE
            elif size > length + len(head) and read(size - length - len(head), len(head)) == head:
                return End.WHOLE
        pixels = Pixels()
        end = run(part10_end(pixels), read, size)
        if end is End.WHOLE and pixels.head:
            self._last = pixels.at, pixels.head
        return end
