"""Which instance lies under which name, for folders whose layout doesn't tell it by itself."""

import threading
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import NamedTuple

from dwcli.files import jsonl
from dwcli.files.layout import OWN_PREFIX

NAME = f"{OWN_PREFIX}index.jsonl"


class Entry(NamedTuple):
    """A file of `size` bytes at `path`, which is below the folder."""

    path: Path
    study: str
    series: str
    instance: str
    size: int

    def is_complete(self) -> bool:
        """Whether the file is still there, with the size it was kept with."""
        try:
            return self.path.stat().st_size == self.size
        except OSError:
            return False


class Index:
    """The file `.dw-index.jsonl` in the root of an output folder, one line per instance kept.

    Keys: `study`, `series`, `instance` (UIDs), `path` (relative to the root, with `/`), `size` (bytes). The
    last line of an instance counts. It is read on first use; several runs may add to it at once.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._entries: dict[str, Entry] | None = None
        self._appender: jsonl.Appender | None = None
        self._guard = threading.Lock()

    def find(self, instance: str) -> Entry | None:
        """The entry of an instance whose file is complete."""
        with self._guard:
            entry = self._load().get(instance)
        return entry if entry and entry.is_complete() else None

    def entries(self) -> Iterator[Entry]:
        """Every entry whose file is complete."""
        with self._guard:
            entries = list(self._load().values())
        return (entry for entry in entries if entry.is_complete())

    def add(self, entry: Entry) -> None:
        """Write an entry down, unless the same is there. Raises OSError."""
        with self._guard:
            if self._load().get(entry.instance) == entry:
                return
            if not self._appender:
                self._appender = jsonl.Appender(self._root / NAME)
            jsonl.hold(self._appender.fd, wait=True)
            try:
                self._appender.append(
                    {
                        "study": entry.study,
                        "series": entry.series,
                        "instance": entry.instance,
                        "path": entry.path.relative_to(self._root).as_posix(),
                        "size": entry.size,
                    }
                )
            finally:
                jsonl.release(self._appender.fd)
            self._load()[entry.instance] = entry

    def close(self) -> None:
        """Close the file."""
        with self._guard:
            if self._appender:
                self._appender.close()
                self._appender = None

    def _load(self) -> dict[str, Entry]:
        if self._entries is None:
            self._entries = {}
            try:
                for line in jsonl.read(self._root / NAME):
                    match line:
                        case {
                            "study": str(study),
                            "series": str(series),
                            "instance": str(instance),
                            "path": str(path),
                            "size": int(size),
                        } if _stays_below(path):
                            self._entries[instance] = Entry(self._root / path, study, series, instance, size)
            except OSError:
                pass  # without an index all is fetched again, found to be the same, and written down
        return self._entries


def _stays_below(path: str) -> bool:
    pure = PurePath(path)
    return not pure.is_absolute() and ".." not in pure.parts and "\0" not in path
