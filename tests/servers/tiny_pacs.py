"""tiny-pacs with its DICOMweb component: a strict server, in much the opposite of Orthanc."""

import importlib.util
import json
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from servers import require
from servers.process import Process, Server, answers, free_port


class TinyPacs(Server):
    """A running tiny-pacs of its own in `folder`, empty at first. `token=None` switches the login off."""

    name = "tiny-pacs"
    dialect = "tiny-pacs"

    def __init__(self, folder: Path, *, token: str | None = "tok123") -> None:
        found = importlib.util.find_spec("tiny_pacs") and importlib.util.find_spec("tiny_pacs_dicomweb")
        require("tiny-pacs-dicomweb", found, "pip install -e '.[dev]'")
        self.folder = folder
        self.token = token
        self.open()

    @property
    def url(self) -> str:
        """The DICOMweb base URL."""
        return f"http://127.0.0.1:{self.port}/dicomweb"

    @property
    def headers(self) -> dict[str, str]:
        """The request headers that log a raw request in."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point `dw` here."""
        return {"DW_URL": self.url, **({"DW_TOKEN": self.token} if self.token else {})}

    @property
    def _database(self) -> Path:
        return self.folder / "db.sqlite"

    def spawn(self) -> Process:
        (self.folder / "files").mkdir(parents=True, exist_ok=True)
        # Read as YAML, of which JSON is a part.
        config: dict[str, Any] = {
            "ae": {"ae_title": ["DWTEST"], "port": free_port(), "dump_ds": False},
            "log": {
                "version": 1,
                "disable_existing_loggers": False,
                "handlers": {"console": {"class": "logging.StreamHandler", "level": "WARNING"}},
                "root": {"level": "WARNING", "handlers": ["console"]},
            },
            "components": {
                "Database": {"on": True, "driver": "sqlite", "db_name": str(self._database), "mode": "rwc"},
                "InMemoryStorage": {"on": False},
                "FileStorage": {"on": True, "storage_dir": str(self.folder / "files")},
                "HttpServer": {"on": True, "host": "127.0.0.1", "port": self.port, "allow_remote": False},
                "DICOMWeb": {
                    "on": True,
                    "prefix": "/dicomweb",
                    **({"auth": "token", "tokens": [self.token]} if self.token else {"auth": "none"}),
                },
            },
        }
        file = self.folder / "tiny-pacs.yaml"
        file.write_text(json.dumps(config, indent=1))
        return Process(
            [sys.executable, "-m", "tiny_pacs", "run", "-c", file],
            log=self.folder / "tiny-pacs.log",
            ready=lambda: answers(self.port, "/dicomweb/studies"),
            cwd=self.folder,
        )

    def wipe(self) -> None:
        """Delete everything, behind its back: this server knows no DELETE, and a restart takes a second."""
        with closing(sqlite3.connect(self._database, timeout=20)) as database, database:
            for table in ("instance", "series", "study", "patient", "storagefiles"):
                database.execute(f"delete from {table}")
        shutil.rmtree(self.folder / "files")
        (self.folder / "files").mkdir()

    def count(self) -> int:
        """How many instances are stored."""
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as database:
            row = database.execute("select count(*) from instance").fetchone()
        return int(row[0])
