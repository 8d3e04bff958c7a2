"""An archive of `dw`, asked in process."""

import json
from collections.abc import Callable

import httpx

from dwcli.archive.app import Archive
from dwcli.net.inprocess import InProcess

BASE = "http://archive"
DICOM = 'multipart/related; type="application/dicom"'


class Asker:
    """Sends requests to one archive, the target exactly as it is written."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.root = archive.folder.root
        self._transport = InProcess(archive)

    def __call__(
        self, target: str, accept: str = "", method: str = "GET", body: bytes = b"", **headers: str
    ) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if accept:
            sent["Accept"] = accept
        request = httpx.Request(
            method, BASE, headers=sent, content=body or None, extensions={"target": f"/{target}".encode()}
        )
        response = self._transport.handle_request(request)
        response.read()
        return response

    def rows(self, target: str) -> list[dict[str, dict[str, object]]]:
        """The rows of a search; 204 is none."""
        reply = self(target)
        assert reply.status_code in (200, 204), reply.text
        found: list[dict[str, dict[str, object]]] = json.loads(reply.content) if reply.status_code == 200 else []
        return found

    def uids(self, target: str, tag: str = "0020000D") -> list[object]:
        """The UIDs that a search finds."""
        return [row[tag]["Value"][0] for row in self.rows(target)]  # type: ignore[index]

    def stow(self, *files: bytes, path: str = "studies", kind: str = "application/dicom") -> httpx.Response:
        """Store files in one request."""
        boundary = "dwtest-61f0"
        body = b"".join(f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode() + data + b"\r\n" for data in files)
        return self.send(body + f"--{boundary}--\r\n".encode(), path=path)

    def send(self, body: bytes, *, path: str = "studies", length: int | None = None) -> httpx.Response:
        """Send a multipart body as it is; `length` overrides Content-Length."""
        return self(
            path,
            method="POST",
            body=body,
            Content_Type='multipart/related; type="application/dicom"; boundary=dwtest-61f0',
            Content_Length=str(len(body) if length is None else length),
        )


Open = Callable[..., Asker]
