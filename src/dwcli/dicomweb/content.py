"""Whether a content is whole, by its own end: a proxy ends a truncated response in good order."""

from collections.abc import Callable, Mapping

from dwcli.dicomweb import pictures, texts
from dwcli.dicomweb.elements import Pixels, part10_end
from dwcli.dicomweb.kinds import HEAD, Kind, kind_of
from dwcli.dicomweb.walks import End, Passing, Read, Walk, run

__all__ = ["HEAD", "End", "Ends", "Kind", "Read", "Witness", "end_of", "end_of_bytes", "kind_of"]

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
