"""What lies complete in a folder of retrieved files, and what a file says of itself and of its end (PS3.10 7)."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from dwcli.dicomweb import part10
from dwcli.dicomweb.content import End, Kind, end_of
from dwcli.files.layout import unescape

HEAD_LIMIT = 8 << 20  # bytes that may come before a file has named itself


class Present(NamedTuple):
    """An instance that is complete in the folder."""

    path: Path
    study: str
    series: str
    instance: str
    transfer_syntax: str


def entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """What is in a folder; nothing where it can't be listed."""
    try:
        with os.scandir(folder) as found:
            yield from found
    except OSError:
        return  # what can't be seen is fetched again, and then found to be the same or not


def list_series(folder: Path, study: str, series: str | None) -> Iterator[Present]:
    """The instances in the folder of a series; `series` None where the folder's name does not tell its UID."""
    for entry in entries(folder):
        if not entry.name.endswith(".dcm") or not entry.is_file():
            continue
        path = Path(entry.path)
        instance = unescape(entry.name.removesuffix(".dcm"))
        head = read_head(path)
        if head is None:
            continue
        if series is None or instance is None:  # a name was cut, so only the file itself tells
            yield Present(path, study, head.series, head.instance, head.transfer_syntax)
        elif is_of(head, instance):
            yield Present(path, study, series, instance, head.transfer_syntax)


def is_of(head: part10.Head | None, instance: str) -> bool:
    """Whether a file is there and is that instance, as far as its head tells."""
    return head is not None and head.instance in (instance, "")


def read_head(path: Path) -> part10.Head | None:
    """The head of a file that is there; None where it has none or can't be read."""
    try:
        return head_of(path)
    except (OSError, part10.NotDicom):
        return None


def head_of(path: Path) -> part10.Head:
    """The head of a file. Raises OSError, NotDicom."""
    with path.open("rb") as file:
        data = file.read(8192)
        while (head := part10.read_head(data)) is None and len(data) < HEAD_LIMIT:
            more = file.read(len(data))
            if not more:
                head = part10.read_head(data, final=True)
                break
            data += more
    if not head:
        raise part10.NotDicom("no SOP Instance UID in the first 8 MiB")
    return head


def end_of_opened(opened: BinaryIO) -> End:
    """What an open DICOM file says about its own end, wherever its bytes are. Raises OSError."""

    def read(at: int, many: int) -> bytes:
        opened.seek(at)
        return opened.read(many) or b""

    return end_of(read, opened.seek(0, 2), Kind.DICOM)


def is_truncated(path: Path) -> bool:
    """Whether the file ends inside a data element; False also where that cannot be told. Raises OSError."""
    with path.open("rb", buffering=0) as opened:
        return end_of_opened(opened) is End.TRUNCATED
