"""`dw serve` in a process of its own."""

import os
import sys
from pathlib import Path

from servers.process import Process, Server, answers
from servers.wire import request


class Serving(Server):
    """A running `dw serve` of the archive in `folder`, empty at first."""

    name = "serve"
    dialect = "archive"

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.root = folder / "archive"
        self._options = options
        self.open()

    @property
    def url(self) -> str:
        """The DICOMweb base URL."""
        return f"http://127.0.0.1:{self.port}/dicom-web"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point `dw` here."""
        return {"DW_URL": self.url}

    def spawn(self) -> Process:
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DW_")}
        return Process(
            [sys.executable, "-m", "dwcli", "serve", self.root, "--port", str(self.port), *self._options],
            log=self.folder / "serve.log",
            ready=lambda: answers(self.port),
            environment={**kept, "DW_CONFIG": str(self.folder / "none.toml")},
        )

    def count(self) -> int:
        """How many instances are stored."""
        return len(request("GET", f"{self.url}/instances").json() or [])
