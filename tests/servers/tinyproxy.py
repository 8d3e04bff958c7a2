"""tinyproxy, a forward proxy, as Debian packages it."""

from pathlib import Path

from servers import program, require
from servers.process import Process, Server, listens


class Tinyproxy(Server):
    """A running tinyproxy in `folder`; `login` is the user and password that it wants, if any."""

    def __init__(self, folder: Path, *, login: tuple[str, str] | None = None) -> None:
        self._program = require("tinyproxy", program("tinyproxy"), "apt-get install tinyproxy-bin")
        self.folder = folder
        self.login = login
        folder.mkdir(parents=True, exist_ok=True)
        self.open()

    @property
    def url(self) -> str:
        """Its address, without the login."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url_with_login(self) -> str:
        assert self.login is not None
        return f"http://{self.login[0]}:{self.login[1]}@127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it was asked for so far."""
        return (self.folder / "tinyproxy.log").read_text()

    def spawn(self) -> Process:
        lines = [f"Port {self.port}", "Listen 127.0.0.1", "Timeout 60", "LogLevel Connect", "MaxClients 50"]
        if self.login:
            lines.append(f"BasicAuth {self.login[0]} {self.login[1]}")
        config = self.folder / "tinyproxy.conf"
        config.write_text("\n".join(lines) + "\n")
        return Process(
            [self._program, "-d", "-c", config],
            log=self.folder / "tinyproxy.log",
            ready=lambda: listens(self.port),
        )
