"""Raw requests, with nothing of `dw` in them: what a server holds is asked without the code under test."""

import http.client
import json
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP answer; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | Iterable[bytes] | None = None,
    tls: ssl.SSLContext | None = None,
    timeout: float = 60.0,
) -> Reply:
    """Send one request on a connection of its own; the target goes out exactly as written in `url`."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=tls)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        target = url[url.index(parts.netloc) + len(parts.netloc) :] or "/"
        connection.request(method, target, body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        return Reply(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read(),
        )
    finally:
        connection.close()


def stow(url: str, files: Iterable[Path | bytes], *, headers: Mapping[str, str] | None = None) -> Reply:
    """Store DICOM files by one STOW-RS request to `url`/studies (PS3.18 10.5), the body held in memory."""
    boundary = "dwtest-7c1c5f0d"
    chunks = []
    for file in files:
        data = file if isinstance(file, bytes) else file.read_bytes()
        chunks += [f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode(), data, b"\r\n"]
    chunks.append(f"--{boundary}--\r\n".encode())
    sent = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Accept": "application/dicom+json",
        **(headers or {}),
    }
    return request("POST", url + "/studies", headers=sent, body=b"".join(chunks))
