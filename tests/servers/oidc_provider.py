"""oidc-provider of npm, a certified OpenID provider: tokens of a few seconds, refresh tokens that are good once."""

from pathlib import Path

from servers import program, require
from servers.process import Process, Server, answers

_HERE = Path(__file__).resolve().parent
_MODULES = _HERE.parents[1] / ".cache" / "oidc-provider" / "node_modules"


class OidcProvider(Server):
    """A running oidc-provider whose access tokens live `life` seconds. Any user and password will do there."""

    name = "oidc-provider"
    public = "dw-public"
    machine = "dw-machine"
    machine_secret = "m+chine/secret=%40"
    form_encoded = True
    user = "alice"
    password = "pä%ss w:rd&+"

    def __init__(self, folder: Path, *, life: float = 4.0) -> None:
        self._node = require("node", program("node"), "apt-get install nodejs npm")
        there = _MODULES if (_MODULES / "oidc-provider").is_dir() else None
        self._modules = require("oidc-provider", there, "run `sh scripts/test --interop`, which fetches it")
        self.folder = folder
        self.life = life
        folder.mkdir(parents=True, exist_ok=True)
        self.open()

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def introspection(self) -> str:
        return self.issuer + "/token/introspection"

    def spawn(self) -> Process:
        return Process(
            [self._node, _HERE / "oidc_provider.mjs", self._modules, str(self.port), f"{self.life:g}"],
            log=self.folder / "oidc-provider.log",
            ready=lambda: answers(self.port, "/.well-known/openid-configuration"),
        )

    def granted(self, grant: str) -> int:
        """How often a grant brought a token."""
        return (self.folder / "oidc-provider.log").read_text().count(f"token {grant} 200\n")
