"""Importing dwcli changes no other package: cookies, asynchronous clients and loggers of httpx work as ever."""

import subprocess
import sys

SCRIPT = """
import asyncio, logging, threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import dwcli, dwcli.client, dwcli.jobs.retrieve, dwcli.context, dwcli.main
import httpx

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.send_header("Set-Cookie", "b=2")
        self.end_headers()
    def log_message(self, *_):
        pass

server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/"

said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("httpx").addHandler(handler)
logging.getLogger("httpx").setLevel(logging.INFO)

assert httpx.Cookies({"a": "b"})["a"] == "b"
with httpx.Client(cookies={"a": "b"}) as client:
    client.get(url)
    assert client.cookies["b"] == "2"
async def ask():
    async with httpx.AsyncClient() as client:
        return (await client.get(url)).status_code
assert asyncio.run(ask()) == 204
assert len(said) == 2, said
"""


def test_httpx_is_whole_beside_dwcli() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_importing_sets_nothing_for_the_process() -> None:
    script = (
        "import gc, os, signal, threading\n"
        "def state():\n"
        "    mask = os.umask(0)\n"
        "    os.umask(mask)\n"
        "    signals = {number: signal.getsignal(number) for number in signal.valid_signals()}\n"
        "    return gc.get_threshold(), mask, signals, threading.stack_size()\n"
        "before = state()\n"
        "import dwcli.client, dwcli.main, dwcli.jobs.retrieve, dwcli.jobs.store, dwcli.archive.app, dwcli.net.oidc\n"
        "assert state() == before\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
