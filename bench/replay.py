"""A server that answers from files with sendfile, and takes any store in without keeping it: `replay.py ROUTES PORT`.

The bench compares clients, so its server must cost as little as a server can.
"""

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_CHUNK = 1 << 20
_UID = re.compile(rb"\x08\x00\x18\x00UI(..)([0-9.]+)", re.DOTALL)  # (0008,0018) in explicit VR little endian


class Handler(BaseHTTPRequestHandler):
    """Routes are read anew for each request, so that recordings may be added while the server runs."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    routes: Path

    def do_GET(self) -> None:
        """The recorded answer of a path; a search from an offset finds nothing more."""
        split = urlsplit(self.path)
        known = json.loads(self.routes.read_text()).get(split.path)
        if known is None:
            self._answer(404, "text/plain", b"not recorded")
        elif parse_qs(split.query).get("offset", ["0"]) != ["0"]:
            self._answer(200, known[1], b"[]")
        else:
            with (self.routes.parent / known[0]).open("rb") as body:
                self._head(200, known[1], body.seek(0, 2))
                self.wfile.flush()
                self.connection.sendfile(body, 0)

    def do_POST(self) -> None:
        """Read a body away and say that its first instance is stored."""
        left = int(self.headers["Content-Length"])
        buffer = memoryview(bytearray(_CHUNK))
        uid = ""
        while left:
            got = self.rfile.readinto(buffer[: min(left, _CHUNK)])
            if not got:
                return
            if not uid and (found := _UID.search(bytes(buffer[: min(got, 65536)]))):
                uid = found[2].decode()
            left -= got
        item = {"00081155": {"vr": "UI", "Value": [uid]}}
        reply = {"00081199": {"vr": "SQ", "Value": [item]}}
        self._answer(200, "application/dicom+json", json.dumps(reply).encode())

    def _answer(self, status: int, media_type: str, body: bytes) -> None:
        self._head(status, media_type, len(body))
        self.wfile.write(body)

    def _head(self, status: int, media_type: str, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class Server(ThreadingHTTPServer):
    """A thread a connection; connections stay open."""

    daemon_threads = True
    request_queue_size = 64


def main() -> None:
    """Serve until the process is ended."""
    routes, port = sys.argv[1:]
    Handler.routes = Path(routes)
    Server(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
