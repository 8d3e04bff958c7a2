"""The browser's way back: a listener on this machine that takes one authorization response (RFC 8252 7.3)."""

import html
import secrets
import socket
import time
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from dwcli.errors import AuthError, UsageError

_HOSTS = {"127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1", "::1": "::1"}
_HEAD_BYTES = 16 * 1024
_CLIENT_SECONDS = 5.0


class Listener:
    """Listens from the start at `url`: `redirect` with its port, or a free one where it has none.

    Raises UsageError where `redirect` is no http address of this machine, or its port is taken.
    """

    def __init__(self, redirect: str) -> None:
        try:
            split = urlsplit(redirect)
            host, port = split.hostname or "", split.port or 0
        except ValueError:
            split, host, port = urlsplit(""), "", 0
        if split.scheme != "http" or host not in _HOSTS or split.query or split.fragment:
            raise UsageError(
                f"the redirect URI does not point to this machine: {redirect}",
                "use http://127.0.0.1/PATH or http://localhost/PATH",
            )
        self._path = split.path or "/"
        family = socket.AF_INET6 if host == "::1" else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.bind((_HOSTS[host], port))
            self._socket.listen(8)
        except OSError as error:
            self._socket.close()
            raise UsageError(
                f"cannot listen at {redirect}: {error.strerror}", "check whether another login is waiting"
            ) from None
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._socket.getsockname()[1]}{split.path}"

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def wait(self, state: str, issuer: str, seconds: float) -> str:
        """Return the code that a browser delivers with this `state`; other requests do not end the wait.

        Raises AuthError after `seconds`, if the provider refuses, or if another issuer responds (RFC 9207).
        """
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(min(left, 1.0))
            try:
                client, _address = self._socket.accept()
            except TimeoutError:
                continue
            with client:
                asked = self._question(client)
                if asked is None or not secrets.compare_digest(asked.get("state", "").encode(), state.encode()):
                    _answer(client, 404, "This page is not part of the login.")
                    continue
                error = asked.get("error", "")
                if not error and asked.get("iss", issuer).rstrip("/") != issuer:
                    error = "the response came from another provider"
                if not error and not asked.get("code"):
                    error = "the response contains no code"
                if error:
                    said = f"{error}: {asked['error_description']}" if asked.get("error_description") else error
                    _answer(client, 400, f"The login failed ({error}). You can close this page.")
                    raise AuthError(f"the login in the browser failed ({said})", "try again")
                _answer(client, 200, "dw continues in the terminal. You can close this page.")
                return asked["code"]
        raise AuthError(f"no login within {seconds:.0f} s", "run the same command to start again")

    def _question(self, client: socket.socket) -> Mapping[str, str] | None:
        """Return the query of one GET of our path; None for anything else."""
        client.settimeout(_CLIENT_SECONDS)
        head = b""
        try:
            while b"\r\n\r\n" not in head and len(head) < _HEAD_BYTES:
                data = client.recv(4096)
                if not data:
                    return None
                head += data
        except OSError:
            return None
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(words) != 3 or words[0] != "GET":
            return None
        path, _, query = words[1].partition("?")
        if path != self._path:
            return None
        found = parse_qs(query)
        # A parameter given twice is an attack or a mistake (RFC 6749 3.1)
        return {key: values[0] for key, values in found.items() if len(values) == 1}


def _answer(client: socket.socket, status: int, text: str) -> None:
    body = f"<!doctype html><meta charset=utf-8><title>dw</title><p>{html.escape(text)}</p>".encode()
    head = (
        f"HTTP/1.1 {status} dw\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n"
    )
    try:
        client.sendall(head.encode() + body)
    except OSError:
        pass
