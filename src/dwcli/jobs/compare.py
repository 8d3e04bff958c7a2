"""Whether a server holds the same instance as a file: byte for byte, or at least data set for data set."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from enum import Enum
from typing import BinaryIO

from dwcli.client import Client
from dwcli.dicomweb import part10
from dwcli.dicomweb.content import End
from dwcli.dicomweb.multipart import PartData, PartEnd, PartStart
from dwcli.dicomweb.refs import InstanceRef
from dwcli.errors import AbsentError, AuthError, DwError, TemporaryError, TruncatedError
from dwcli.files.existing import end_of_opened

_CHUNK = 1 << 20


class Verdict(Enum):
    """What a comparison showed."""

    EQUAL = "equal"
    DIFFERENT = "different"
    ABSENT = "absent"
    UNKNOWN = "unknown"


Open = Callable[[], AbstractContextManager[BinaryIO]]


def with_server(client: Client, ref: InstanceRef, opened: Open) -> Verdict:
    """Fetch an instance and compare it with a file while it comes; nothing is kept.

    The file meta information (group 2) may differ, since servers write their own name into it; the data set may not.
    UNKNOWN where the server does not give it out. Raises AuthError, TemporaryError (also where the response is
    truncated twice in succession), or OSError of the file.
    """
    for last in (False, True):
        try:
            return _compare(_Incoming(client, ref), opened)
        except AbsentError:
            return Verdict.ABSENT
        except TruncatedError as error:
            if last:
                raise TemporaryError(error.message) from error
        except (AuthError, TemporaryError):
            raise
        except DwError:
            break
    return Verdict.UNKNOWN


class _Incoming:
    """The bytes of the first part of a response; `proven` afterwards: whether the transport proved that all came."""

    def __init__(self, client: Client, ref: InstanceRef) -> None:
        self._events = client.retrieve(ref)
        self.proven = False

    def __iter__(self) -> Iterator[bytes]:
        parts = ended = 0
        for event in self._events:
            match event:
                case PartStart():
                    parts += 1
                case PartData(data) if parts == 1:
                    yield bytes(data)
                case PartEnd(proven):
                    ended += 1
                    self.proven = proven if ended == 1 else self.proven
                case _:
                    pass
        if not parts:
            raise AbsentError("the response is empty")
        if not ended:
            raise TruncatedError("the response is truncated")


def _compare(incoming: _Incoming, opened: Open) -> Verdict:
    """Skip group 2 on both sides, then compare as the bytes come."""
    head = b""
    start: int | None = None
    chunks = iter(incoming)
    for chunk in chunks:
        head += chunk
        start = part10.data_set_offset(head)
        if start is not None or len(head) > _CHUNK:
            break
    with opened() as file:
        own = part10.data_set_offset(file.read(_CHUNK))
        if start is None or own is None:
            for _ in chunks:
                pass
            return Verdict.UNKNOWN  # no DICOM file, so nothing to compare with
        file.seek(own)
        equal = file.read(len(head) - start) == head[start:]
        for chunk in chunks:  # read to the end even after a difference: only a whole response proves one
            equal = equal and file.read(len(chunk)) == chunk
        more = equal and bool(file.read(1))
        if incoming.proven:
            return Verdict.EQUAL if equal and not more else Verdict.DIFFERENT
        if more or (equal and end_of_opened(file) not in (End.WHOLE, End.PLAUSIBLE)):
            # What came begins like the file, and nothing proves that all came.
            raise TruncatedError("the response is truncated")
        return Verdict.EQUAL if equal else Verdict.DIFFERENT
