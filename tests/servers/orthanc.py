"""Orthanc with its DICOMweb plugin, as Debian packages them."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from servers import program, require
from servers.process import Process, Server, answers
from servers.wire import Reply, request

_PLUGINS = (
    Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so"),
    Path("/usr/lib/orthanc/libOrthancDicomWeb.so"),
)


class Orthanc(Server):
    """A running Orthanc of its own in `folder`, empty at first, answering this machine only.

    `user=None` switches the login off. `config` is merged over the configuration, the `DicomWeb` section
    key by key.
    """

    name = "orthanc"
    dialect = "orthanc"
    patience = 0.0  # it takes two seconds to end in order, and what it holds is thrown away

    def __init__(
        self,
        folder: Path,
        *,
        user: str | None = "alice",
        password: str = "secret",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        remedy = "apt-get install orthanc orthanc-dicomweb"
        self._program = require("Orthanc", program("Orthanc"), remedy)
        plugin = next((path for path in _PLUGINS if path.exists()), None)
        self._plugin = require("Orthanc's DICOMweb plugin", plugin, remedy)
        self.folder = folder
        self.user = user
        self.password = password if user is not None else None
        self._config = dict(config or {})
        self.open()

    @property
    def rest(self) -> str:
        """The base URL of Orthanc's own REST interface."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The DICOMweb base URL."""
        return self.rest + "/dicom-web"

    @property
    def wado(self) -> str:
        """The WADO-URI address."""
        return self.rest + "/wado"

    @property
    def auth(self) -> tuple[str, str] | None:
        """User and password, or None where no login is wanted."""
        return (self.user, self.password) if self.user is not None and self.password is not None else None

    @property
    def headers(self) -> dict[str, str]:
        """The request headers that log a raw request in."""
        if self.auth is None:
            return {}
        return {"Authorization": "Basic " + base64.b64encode(":".join(self.auth).encode()).decode()}

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point `dw` here."""
        login = {} if self.auth is None else {"DW_USER": self.auth[0], "DW_PASSWORD": self.auth[1]}
        return {"DW_URL": self.url, **login}

    def spawn(self) -> Process:
        store = self.folder / "db"
        store.mkdir(parents=True, exist_ok=True)
        # RemoteAccessAllowed false: this Orthanc can't bind one address, it refuses the others instead.
        config: dict[str, Any] = {
            "Name": "dw-test",
            "StorageDirectory": str(store),
            "IndexDirectory": str(store),
            "Plugins": [str(self._plugin)],
            "HttpPort": self.port,
            "DicomServerEnabled": False,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": self.auth is not None,
            "RegisteredUsers": dict([self.auth]) if self.auth else {},
            "DefaultEncoding": "Utf8",
            "DicomWeb": {
                "Enable": True,
                "Root": "/dicom-web/",
                "EnableWado": True,
                "WadoRoot": "/wado",
                **self._config.get("DicomWeb", {}),
            },
        }
        config |= {key: value for key, value in self._config.items() if key != "DicomWeb"}
        file = self.folder / "orthanc.json"
        file.write_text(json.dumps(config, indent=1))
        return Process([self._program, file], log=self.folder / "orthanc.log", ready=lambda: answers(self.port))

    def core(self, method: str, path: str, *, body: bytes | None = None) -> Reply:
        """One request to Orthanc's own REST interface, e.g. `core("GET", "/statistics")`."""
        return request(method, self.rest + path, headers=self.headers, body=body)

    def wipe(self) -> None:
        """Delete every study."""
        for study in self.core("GET", "/studies").json():
            self.core("DELETE", f"/studies/{study}")

    def count(self) -> int:
        """How many instances are stored."""
        return int(self.core("GET", "/statistics").json()["CountInstances"])
