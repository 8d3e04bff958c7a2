"""What a store run did with each file, kept so that the next run sends only the rest."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from dwcli.errors import DwError, TemporaryError, UsageError
from dwcli.files import jsonl
from dwcli.files.scan import DicomFile

DONE = frozenset({"stored", "warned", "present"})
"""The outcomes after which a file is not sent again."""

_START = b'{"path":'
_LOOK = 65536


class Journal:
    """A file of JSON lines, one per instance, for the files sent to one server.

    Keys: `path` (absolute), `size` (bytes), `mtime_ns`, `instance` (SOP Instance UID), `server`, `outcome`,
    `reason`; of several lines for one path and server the last one counts. Lines are added with one write
    each, so a kill leaves at most one torn line, which the next run passes over. Only one run at a time has a
    journal.

    Raises TemporaryError while another run has it, UsageError where `path` is some other file or can't be opened,
    DwError where it can't be read or written.
    """

    def __init__(self, path: Path, server: str) -> None:
        self.path = path
        self.server = server
        self._known: dict[str, tuple[int, int, str]] = {}
        self._guard = threading.Lock()
        try:
            if path.is_dir():
                raise UsageError(f"the journal {path} is a folder", hint="--journal FILE.jsonl")
            if path.exists() and not path.is_file():  # to open a device may do something
                raise self._foreign()
            self._appender = jsonl.Appender(path)
        except OSError as error:
            # A folder is not made: in one that is mistyped nothing would be known of what was stored.
            hint = f"mkdir -p {path.parent}" if not path.parent.exists() else "name another file: --journal FILE.jsonl"
            raise UsageError(f"the journal {path} can't be opened: {error.strerror or error}", hint) from error
        try:
            self._load()
        except OSError as error:
            self.close()
            raise self._failed("read", error) from error
        except BaseException:
            self.close()
            raise

    def done(self, file: DicomFile) -> bool:
        """Whether this server accepted this file: same path, size, time of change and SOP Instance UID."""
        return self._known.get(str(file.path.absolute())) == (file.size, file.mtime_ns, file.instance)

    def record(self, file: DicomFile, outcome: str, reason: str = "") -> None:
        """Add what became of a file; the outcomes in DONE keep it from being sent again."""
        path = str(file.path.absolute())
        with self._guard:
            try:
                self._appender.append(
                    {
                        "path": path,
                        "size": file.size,
                        "mtime_ns": file.mtime_ns,
                        "instance": file.instance,
                        "server": self.server,
                        "outcome": outcome,
                        "reason": reason,
                    }
                )
            except OSError as error:
                raise self._failed("written", error) from error
            self._remember(path, (file.size, file.mtime_ns, file.instance), outcome)

    def close(self) -> None:
        """Close the file and let another run have it."""
        self._appender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _load(self) -> None:
        if jsonl.hold(self._appender.fd) is False:
            raise TemporaryError(f"another run is writing the journal {self.path}", hint="wait until it has ended")
        if not self._is_journal():
            raise self._foreign()
        for line in jsonl.read(self.path):
            match line:
                case {
                    "path": str(path),
                    "size": int(size),
                    "mtime_ns": int(mtime_ns),
                    "instance": str(instance),
                    "server": self.server,
                    "outcome": str(outcome),
                }:
                    self._remember(path, (size, mtime_ns, instance), outcome)

    def _is_journal(self) -> bool:
        # Runs killed while writing their first line leave beginnings of it, and a power cut may leave NULs. Whatever
        # cannot be read behind a whole line is passed over: those files are sent again.
        with self.path.open("rb") as file:
            for line in file.read(_LOOK).split(b"\n"):
                begun = line.strip(b"\0\n")
                if begun.startswith(_START):
                    return True
                if not _START.startswith(begun):
                    return False
        return True

    def _remember(self, path: str, state: tuple[int, int, str], outcome: str) -> None:
        if outcome in DONE:
            self._known[path] = state
        else:
            self._known.pop(path, None)

    def _foreign(self) -> UsageError:
        return UsageError(
            f"{self.path} is not a journal; left unchanged", hint="name another file: --journal FILE.jsonl"
        )

    def _failed(self, verb: str, error: OSError) -> DwError:
        return DwError(f"the journal {self.path} can't be {verb}: {error.strerror or error}")
