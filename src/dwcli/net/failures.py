"""Network failures as messages: httpx errors and refusals as DwError, with the next command to type."""

import json
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import httpx

from dwcli.dicomweb import media
from dwcli.errors import (
    AbsentError,
    AuthError,
    DwError,
    ProtocolError,
    RefusedError,
    TemporaryError,
    TruncatedError,
    UsageError,
)
from dwcli.net import tls

_PROXY = "check --proxy, HTTP_PROXY and NO_PROXY"
_PROXY_LOGIN = "HTTP_PROXY=http://USER:PASSWORD@HOST:PORT, or the key `proxy` of the profile in the configuration file"


@contextmanager
def failures(host: str, *, reading: bool = False, proxy: Callable[[], str] = str) -> Iterator[None]:
    """Turn every httpx error into a DwError with a hint. `proxy()`: the proxy in use, or empty."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict) as error:
        raise translate(error, host, reading=reading, proxy=proxy()) from error
    except UnicodeError as error:
        raise UsageError(
            f"{host} is not a valid host name: {error}", "check the profile's URL with `dw profile show`"
        ) from error


def translate(error: Exception, host: str, *, reading: bool = False, proxy: str = "") -> DwError:
    """Describe an httpx error. `reading`: the response had begun, so an early end is a truncation."""
    reason = str(error) or type(error).__name__
    cause = _cause(error)
    match error:
        case httpx.ConnectTimeout() | httpx.ConnectError() if proxy and not isinstance(cause, ssl.SSLError):
            return TemporaryError(f"cannot reach the proxy {proxy} for {host}: {_os_reason(cause) or reason}", _PROXY)
        case httpx.ConnectTimeout():
            return TemporaryError(f"{host} does not respond", "check the URL, and that the server is running")
        case httpx.ReadTimeout() if reading:
            return TemporaryError(
                f"{host} stopped sending in the middle of its response", "run the same command later to continue"
            )
        case httpx.ReadTimeout():
            return TemporaryError(
                f"{host} accepted the request but sent no response in time", "--timeout S waits longer"
            )
        case httpx.WriteTimeout():
            return TemporaryError(f"{host} stopped reading the request", "run the same command later to continue")
        case httpx.PoolTimeout():
            return TemporaryError(f"no free connection to {host}", "use fewer connections: -j 2")
        case httpx.NetworkError() if isinstance(cause, ssl.SSLError) and (
            isinstance(error, httpx.ConnectError) or tls.is_alert(cause)
        ):
            return tls.failure(cause, host)
        case httpx.ConnectError() if isinstance(cause, socket.gaierror):
            return TemporaryError(
                f"cannot resolve {host}: {cause.strerror}", "check the profile's URL with `dw profile show`"
            )
        case httpx.ConnectError():
            return TemporaryError(
                f"cannot connect to {host}: {_os_reason(cause) or reason}", "check that the server is running"
            )
        case httpx.ProxyError() if reason.startswith("407"):
            return AuthError(f"the proxy for {host} requires a login ({reason})", _PROXY_LOGIN)
        case httpx.ProxyError():
            return DwError(f"the proxy for {host} refused: {reason}", _PROXY)
        case httpx.RemoteProtocolError() if "Transfer-Encoding" in reason:
            return ProtocolError(
                f"{host} sent an unsupported Transfer-Encoding: {reason}", "check for a proxy that adds it"
            )
        case httpx.RemoteProtocolError() | httpx.ReadError() if reading:
            return TruncatedError(
                f"{host} ended its response early: {_os_reason(cause) or reason}",
                "run the same command again; complete instances are kept",
            )
        case httpx.RemoteProtocolError() | httpx.ReadError() | httpx.WriteError() | httpx.CloseError():
            return TemporaryError(
                f"{host} closed the connection: {_os_reason(cause) or reason}",
                "check the URL scheme (http or https) and the server's log",
            )
        case httpx.UnsupportedProtocol() | httpx.InvalidURL():
            return UsageError(f"{host}: not an HTTP URL: {reason}", "a URL begins with http:// or https://")
        case httpx.DecodingError():
            return ProtocolError(
                f"{host} sent a body that cannot be decompressed: {reason}", "-H 'Accept-Encoding: identity'"
            )
        case httpx.LocalProtocolError():
            return ProtocolError(
                f"the request to {host} cannot be sent: {reason}", "check the path and the headers for white space"
            )
        case httpx.TooManyRedirects():
            return ProtocolError(f"{host} redirects in a loop", "check the profile's URL with `dw profile show`")
        case httpx.HTTPStatusError() | httpx.CookieConflict() | httpx.StreamError():
            # Nothing here makes httpx raise these; where one comes, it is a fault of dw's own.
            return ProtocolError(f"{host}: {reason}", "this is a bug in dw: run it again with -vv and report it")
        case _:
            return ProtocolError(f"{host}: {reason}", f"this is a bug in dw ({type(error).__name__}): please report it")


def _cause(error: BaseException) -> BaseException | None:
    """The OSError or SSLError at the bottom of a chain of exceptions."""
    found: BaseException | None = None
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError):
            found = seen
        seen = seen.__cause__ or seen.__context__
    return found


def _os_reason(cause: BaseException | None) -> str:
    return (cause.strerror or "") if isinstance(cause, OSError) else ""


def refusal(
    status: int, headers: Mapping[str, str], body: bytes, host: str, *, logged_in: bool, login_hint: str
) -> DwError:
    """A response of 400 or above as an error whose message has the server's own words.

    `logged_in`: a credential was sent; `login_hint`: what to do after a 401.
    """
    words = server_message(headers, body)
    said = f": {words}" if words else ""
    if about_tls := tls.refusal(status, words, host):
        return about_tls
    match status:
        case 401:
            what = "refuses the login" if logged_in else "requires a login"
            return AuthError(f"{host} {what} (401){said}", login_hint)
        case 403:
            return AuthError(
                f"{host}: forbidden (403){said}",
                "this user may lack permission; ask the server's administrator",
            )
        case 407:
            return AuthError(f"the proxy for {host} requires a login (407){said}", _PROXY_LOGIN)
        case 404 | 410:
            return AbsentError(f"{host}: not found ({status}){said}")
        case 408 | 429 | 502 | 503 | 504:
            return TemporaryError(
                f"{host} is temporarily unavailable ({status}){said}", "try the same command again later"
            )
        case _:
            return RefusedError(f"{host} refused ({status}){said}", status=status)


def server_message(headers: Mapping[str, str], body: bytes) -> str:
    """What a server says about its refusal, in one line: JSON, XML, HTML title or text; a Warning header as well.

    Where it has the header X-Error-Reason (PostDICOM), that alone is the message.
    """
    parts: list[str] = []
    kind = media.classify(headers.get("Content-Type", ""), body)
    text = body.decode("utf-8", "replace")
    match kind:
        case media.Body.JSON:
            parts += _json_words(body)
        case media.Body.HTML:
            title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
            parts.append(title[1] if title else "")
        case media.Body.XML:
            parts.append(re.sub(r"<[^>]+>", " ", text))
        case media.Body.OTHER:
            parts.append("" if "\0" in text or "\ufffd" in text else text)
        case _:
            pass
    parts.append(headers.get("Warning", ""))
    if reason := headers.get("X-Error-Reason", ""):
        parts = [reason]
    line = " ".join(" ".join(parts).split())
    return line[:300] + ("…" if len(line) > 300 else "")


def _json_words(body: bytes) -> list[str]:
    """The words in an error object: Orthanc's Details and Message, Azure's and Google's error.message, and the like."""
    try:
        found = json.loads(body)
    except ValueError:
        return []
    if isinstance(found, dict) and isinstance(found.get("error"), dict):
        found = found["error"]
    if not isinstance(found, dict):
        return []
    lower = {str(key).lower(): value for key, value in found.items()}
    words = [lower.get(key) for key in ("details", "message", "errormessage", "error", "error_description", "title")]
    texts = [word for word in words if isinstance(word, str) and word]
    return texts[:1]
