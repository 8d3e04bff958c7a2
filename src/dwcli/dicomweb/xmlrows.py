"""Rows of an XML response: one Native DICOM Model document a part, or a single one (PS3.18 8.7.3.4)."""

from dwcli.dicomweb import media, multipart, nativexml
from dwcli.dicomweb.dicomjson import Row
from dwcli.dicomweb.multipart import PartData, PartEnd, PartStart, Truncated
from dwcli.errors import ProtocolError, TruncatedError

LARGEST = 32 * 1024 * 1024  # bytes of one document, which is held whole, and read into as many again


class XmlRowReader:
    """Reads a response in chunks, as `dicomjson.RowReader` does; each row comes out with the chunk that ends its part.

    `content_type` is the response's header and `head` its first bytes, which tell a single document from parts.
    """

    def __init__(self, content_type: str, head: bytes) -> None:
        many = media.classify(content_type, head) is media.Body.MULTIPART
        self._parts = multipart.Reader(media.parse(content_type).boundary) if many else None
        self._document = bytearray()

    def feed(self, data: bytes) -> list[Row]:
        """The rows that `data` completes. Raises ProtocolError where this is no Native DICOM Model."""
        if self._parts is None:
            self._take(data)
            return []
        return self._read(self._parts.feed(data))

    def check(self) -> None:
        """Nothing is left to tell after `feed`."""

    def stop(self) -> None:
        """To be called where the body stops early: what is wrong is not told from what is missing."""

    def finish(self) -> list[Row]:
        """To be called at the end of the body. Raises TruncatedError where the closing boundary is missing."""
        if self._parts is not None:
            return self._read(self._parts.finish())
        return [nativexml.parse(bytes(self._document))] if self._document.strip() else []

    def _read(self, events: list[multipart.Event]) -> list[Row]:
        rows = []
        for event in events:
            match event:
                case PartStart():
                    self._document.clear()
                case PartData(data):
                    self._take(data)
                case PartEnd(proven=True):
                    rows.append(nativexml.parse(bytes(self._document)))
                case PartEnd():
                    pass  # Truncated follows
                case Truncated(reason):
                    raise TruncatedError(f"the response {reason}")
        return rows

    def _take(self, data: bytes | memoryview) -> None:
        self._document += data
        if len(self._document) > LARGEST:
            raise ProtocolError(f"one XML document has more than {LARGEST} bytes")
