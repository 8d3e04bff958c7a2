"""Bulk data that metadata names by URL, brought into a folder: rows with files in place of the URLs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dwcli.client import Client
from dwcli.dicomweb import refs
from dwcli.dicomweb.dicomjson import Row, text
from dwcli.dicomweb.multipart import PartData, PartEnd, PartStart, Truncated
from dwcli.dicomweb.refs import Ref
from dwcli.dicomweb.request import rebase
from dwcli.errors import AuthError, DwError, ExitCode, TruncatedError
from dwcli.files.layout import Layout
from dwcli.files.whole import WholeFile

_NAMED = Layout("{SOPInstanceUID}")


class Fetching:
    """Fetches into `folder`, a folder for each instance and a file for each attribute: `1.2.3/7FE00010.bin`.

    Of several parts (frames) each gets a number: `7FE00010.1.bin`. What fails keeps its URL and is counted in `codes`.
    """

    def __init__(
        self, client: Client, folder: Path, *, on_bytes: Callable[[int], None], on_error: Callable[[str], None]
    ) -> None:
        self._client = client
        self._folder = folder
        self._on_bytes = on_bytes
        self._on_error = on_error
        self.files = 0
        self.codes: list[ExitCode] = []

    def row(self, ref: Ref, row: Row) -> Row:
        """The row with every BulkDataURI a path here; `ref` is what its metadata was asked for."""
        own = self._folder / _NAMED.relative({"SOPInstanceUID": text(row, refs.INSTANCE_UID)})
        return self._data_set(row, f"{self._client.base}/{refs.path(ref)}/metadata", own, "")

    def _data_set(self, row: Row, asked: str, own: Path, path: str) -> Row:
        return {tag: self._element(element, asked, own, f"{path}{tag.upper()}") for tag, element in row.items()}

    def _element(self, element: Any, asked: str, own: Path, path: str) -> Any:
        if not isinstance(element, dict):
            return element
        if uri := element.get("BulkDataURI"):
            return {**element, "BulkDataURI": self._fetched(str(uri), asked, own, path) or uri}
        items = element.get("Value")
        if element.get("vr") != "SQ" or not isinstance(items, list):
            return element
        inner = [
            self._data_set(item, asked, own, f"{path}.{place}.") if isinstance(item, dict) else item
            for place, item in enumerate(items, 1)
        ]
        return {**element, "Value": inner}

    def _fetched(self, uri: str, asked: str, own: Path, path: str) -> str:
        """Where the value lies now: a file, or its folder where it came in several; empty where it did not come."""
        try:
            own.mkdir(parents=True, exist_ok=True)
            written = [self._written(part, own / f"{path}.bin", number) for number, part in self._parts(uri, asked)]
            if not written:
                raise TruncatedError("the answer is empty")
        except AuthError:
            raise
        except OSError as error:
            raise DwError(f"cannot make {own}: {error.strerror or error}") from error
        except DwError as error:
            self._on_error(f"{path}: {error.message}")
            self.codes.append(error.exit_code)
            return ""
        self.files += len(written)
        if len(written) > 1:
            written[0] = written[0].replace(own / f"{path}.1.bin")
        return str(written[0])

    def _parts(self, uri: str, asked: str) -> Iterator[tuple[int, Iterator[bytes]]]:
        events = self._client.bulkdata(rebase(uri, self._client.base, asked))
        number = 0

        def data() -> Iterator[bytes]:
            for event in events:
                match event:
                    case PartData(chunk):
                        self._on_bytes(len(chunk))
                        yield bytes(chunk)
                    case PartEnd():
                        return
                    case _:
                        break
            raise TruncatedError("the answer is not complete")

        for event in events:
            match event:
                case PartStart():
                    number += 1
                    yield number, data()
                case Truncated(reason):
                    raise TruncatedError(f"the answer is not complete: {reason}")
                case _:
                    pass

    def _written(self, chunks: Iterator[bytes], path: Path, number: int) -> Path:
        if number > 1:
            path = path.with_suffix(f".{number}.bin")
        with WholeFile(path) as file:
            for chunk in chunks:
                file.write(chunk)
        return path
