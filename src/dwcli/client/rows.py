"""The rows of one answer to a search or to a request for metadata, in JSON or in XML."""

import re
from collections.abc import Generator, Iterator
from contextlib import suppress
from itertools import chain

from dwcli.client.connection import NOT_THIS_WAY, Connection
from dwcli.dicomweb import media
from dwcli.dicomweb.dicomjson import Row, RowReader
from dwcli.dicomweb.request import Request
from dwcli.errors import ProtocolError, RefusedError, TemporaryError, TruncatedError
from dwcli.net.response import Response


class Page:
    """What one answer held: its rows, and how many there are in all where the server says so."""

    def __init__(self) -> None:
        self.rows = 0
        self.total: int | None = None

    def note(self, response: Response) -> None:
        total = response.headers.get("X-Total-Count", "")
        self.total = int(total) if total.isdecimal() else None


class Tally:
    """Counts what one study lists, which its readers collect: a list that never ends must not fill the memory."""

    def __init__(self, most: int = 300_000) -> None:
        self._most = most
        self._rows = 0
        self._text = 0

    def add(self, uid: str) -> None:
        """Count a row. Raises ProtocolError where there are more than any study has."""
        self._rows += 1
        self._text += len(uid)
        if self._rows > self._most or self._text > 64 * self._most:
            raise ProtocolError(
                f"the server lists more than {self._most:,} in one study, and no end", "dw doctor looks at its lists"
            )


class _OtherTypeError(Exception):
    """XML came where JSON was asked for."""


class Rows(Connection):
    """Reads rows as they come, and learns which media type the server has for them."""

    def prefer_xml(self) -> None:
        """Ask for XML in searches and metadata from now on; a server that has none is asked for JSON as ever."""
        self.dialect = self.dialect._replace(json_type=media.DICOM_XML)

    def _rows(self, asked: Request, page: Page | None = None) -> Generator[Row, None, None]:
        """The rows of an answer; 204, `[]` and an empty body are none. The media type that brings some is kept."""
        ladder = media.rows_ladder(asked.headers["Accept"])
        for accept in ladder:
            try:
                yield from self._rows_as(asked._replace(headers={**asked.headers, "Accept": accept}), page)
            except RefusedError as error:
                if error.status != 406 and not (error.status in NOT_THIS_WAY and accept == media.DICOM_XML):
                    raise
                if accept == ladder[-1]:
                    raise
            except _OtherTypeError:
                pass
            else:
                if accept != ladder[0]:
                    self.dialect = self.dialect._replace(json_type=accept)
                return

    def _rows_as(self, asked: Request, page: Page | None) -> Iterator[Row]:
        """The rows of one answer in JSON or XML. Raises _OtherTypeError where XML came and may be avoided."""
        with self._opened(asked) as (response, head, chunks):
            if page is not None:
                page.note(response)
                self._relay(response.headers.get("Warning", ""))
            kind = media.classify(response.content_type, head)
            if kind not in (media.Body.XML, media.Body.MULTIPART):
                yield from self._read_rows(response, kind, head, chunks)
                return
            if asked.headers["Accept"] == media.DICOM_JSON:
                raise _OtherTypeError
            from dwcli.dicomweb.xmlrows import XmlRowReader

            documents = XmlRowReader(response.content_type, head)
            for chunk in chain([head], chunks):
                yield from documents.feed(chunk)
            yield from documents.finish()

    def _read_rows(self, response: Response, kind: media.Body, head: bytes, chunks: Iterator[bytes]) -> Iterator[Row]:
        if response.status == 204:
            return
        # OTHER may be JSON labelled as octets, or white space so far: the reader tells.
        self._expect(response, kind, head, media.Body.JSON, media.Body.OTHER)
        reader = RowReader()
        try:
            for chunk in chain([head], chunks):
                yield from reader.feed(chunk)
                reader.check()
        except (TruncatedError, TemporaryError):
            # What is wrong already is so wherever it stops.
            with suppress(TruncatedError):
                reader.finish()
            raise
        yield from reader.finish()

    def _relay(self, warning: str) -> None:
        """Tell what a server warns of (299), but for the rows that the next pages bring."""
        if warning and not re.search(r"\d+ additional", warning):
            self.warn(f"the server warns: {warning}")
