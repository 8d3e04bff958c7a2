"""nanoidp, an OpenID provider in Python: every grant, tokens that live for whole minutes."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from servers import require
from servers.process import Process, Server, answers


class Nanoidp(Server):
    """A running nanoidp in `folder`, with a public client, one with a secret, and the person alice."""

    name = "nanoidp"
    public = "dw-public"
    machine = "dw-machine"
    machine_secret = "m+chine/secret=%40"
    form_encoded = False  # it takes the client's id and secret as they stand in the Basic header
    user = "alice"
    password = "pä%ss w:rd&+"

    def __init__(self, folder: Path) -> None:
        require("nanoidp", importlib.util.find_spec("nanoidp"), "pip install -e '.[dev]'")
        self.folder = folder
        self.open()

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def introspection(self) -> str:
        return self.issuer + "/introspect"

    def spawn(self) -> Process:
        (self.folder / "keys").mkdir(parents=True, exist_ok=True)
        # Read as YAML, of which JSON is a part.
        settings: dict[str, Any] = {
            "config_version": 1,
            "server": {"host": "127.0.0.1", "port": self.port},
            "device_flow": {"polling_interval": 1},
            "oauth": {
                "issuer": self.issuer,
                "audience": "dw",
                "token_expiry_minutes": 1,
                "clients": [
                    {
                        "client_id": self.public,
                        "token_endpoint_auth_method": "none",
                        "redirect_uris": ["http://127.0.0.1/"],
                    },
                    {"client_id": self.machine, "client_secret": self.machine_secret},
                ],
            },
        }
        users = {"config_version": 1, "users": {self.user: {"password": self.password, "email": "a@example.org"}}}
        (self.folder / "settings.yaml").write_text(json.dumps(settings, indent=1))
        (self.folder / "users.yaml").write_text(json.dumps(users, indent=1))
        return Process(
            [sys.executable, "-m", "nanoidp", "--config", self.folder],
            log=self.folder / "nanoidp.log",
            ready=lambda: answers(self.port, "/health"),
            cwd=self.folder,
        )
