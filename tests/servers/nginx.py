"""nginx in front of another server: TLS, client certificates, limits, redirects, errors."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from servers import program, require
from servers.certificates import Certificates
from servers.process import Process, Server, listens

_CONFIG = """\
daemon off;
{user}
worker_processes 1;
pid "{folder}/nginx.pid";
error_log "{folder}/error.log";
events {{ worker_connections 256; }}
http {{
  access_log "{folder}/access.log";
  client_body_temp_path "{folder}/body";
  proxy_temp_path "{folder}/proxy";
  fastcgi_temp_path "{folder}/fastcgi";
  uwsgi_temp_path "{folder}/uwsgi";
  scgi_temp_path "{folder}/scgi";
  client_max_body_size 0;
  proxy_request_buffering off;
  proxy_http_version 1.1;
  {http}
  server {{
    listen 127.0.0.1:{port}{ssl};
    {tls}
    {server}
    location / {{
      proxy_pass {upstream};
      proxy_set_header Host $http_host;
      proxy_set_header Forwarded "host=$http_host;proto=$scheme";
      proxy_set_header Connection "";
      {location}
    }}
  }}
}}
"""


class Nginx(Server):
    """A running nginx that passes `upstream` (a URL; its path is kept) on.

    `http`, `server` and `location` are configuration text put inside those blocks, e.g.
    `server="client_max_body_size 10m;"` or `server="location = /login { return 200 hello; }"`.
    With `certificates` it speaks TLS only; with `client_certificate` it asks for alice's as well.
    """

    def __init__(
        self,
        folder: Path,
        upstream: str,
        *,
        http: str = "",
        server: str = "",
        location: str = "",
        certificates: Certificates | None = None,
        client_certificate: bool = False,
    ) -> None:
        self._program = require("nginx", program("nginx"), "apt-get install nginx-light")
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        parts = urlsplit(upstream)
        self._upstream = f"{parts.scheme}://{parts.netloc}"
        self._path = parts.path
        self._scheme = "https" if certificates else "http"
        self._snippets = {"http": http, "server": server, "location": location}
        tls = []
        if certificates:
            tls += [f'ssl_certificate "{certificates.server}";']
            tls += [f'ssl_certificate_key "{certificates.server_key}";']
        if certificates and client_certificate:
            tls += [f'ssl_client_certificate "{certificates.ca}";', "ssl_verify_client on;"]
        self._tls = "\n    ".join(tls)
        self.open()

    @property
    def origin(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The upstream's URL as seen through here."""
        return self.origin + self._path

    @property
    def access_log(self) -> str:
        """One line for each request answered so far."""
        log = self.folder / "access.log"
        return log.read_text() if log.exists() else ""

    def spawn(self) -> Process:
        config = self.folder / "nginx.conf"
        config.write_text(
            _CONFIG.format(
                # Workers of a master run by root become another user, who can't enter the tests' folders.
                user="user root;" if os.geteuid() == 0 else "",
                folder=self.folder,
                port=self.port,
                ssl=" ssl" if self._tls else "",
                tls=self._tls,
                upstream=self._upstream,
                **self._snippets,
            )
        )
        return Process(
            [self._program, "-p", self.folder, "-e", self.folder / "error.log", "-c", config],
            log=self.folder / "nginx.log",
            ready=lambda: listens(self.port),
        )
