"""TLS contexts (trusted authorities, client certificate) and messages for their failures."""

import re
import ssl
from collections.abc import Callable
from pathlib import Path

from dwcli.errors import AuthError, DwError, UsageError

# X509_V_ERR_* of OpenSSL
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_ISSUER = frozenset({2, 18, 19, 20, 21})
_OTHER_NAME = frozenset({62, 64})
_ASKS_FOR_CERTIFICATE = "dw profile edit NAME --client-cert FILE"


def context(
    *,
    ca: Path | None = None,
    client_cert: Path | None = None,
    client_key: Path | None = None,
    passphrase: Callable[[], str] | None = None,
    insecure: bool = False,
) -> ssl.SSLContext:
    """A context that trusts the system's store and `ca`, and shows `client_cert` where a server asks for one.

    `passphrase` is asked for only where the key is encrypted. Raises UsageError where a file cannot be used, AuthError
    where the passphrase is wrong or there is none.
    """
    import truststore

    made: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if insecure:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if ca:
        try:
            made.load_verify_locations(cafile=str(ca))
        except (OSError, ssl.SSLError) as error:
            raise _unusable(ca, error) from error
    if client_cert:
        _show(made, client_cert, client_key, passphrase)
    return made


def _show(made: ssl.SSLContext, cert: Path, key: Path | None, passphrase: Callable[[], str] | None) -> None:
    asked = False

    def answer() -> str:
        nonlocal asked
        asked = True
        if passphrase is None:
            raise AuthError(f"the key in {key or cert} is encrypted", "--client-key-password-command C")
        return passphrase()

    try:
        made.load_cert_chain(str(cert), str(key) if key else None, password=answer)
    except (OSError, ssl.SSLError) as error:
        if asked and isinstance(error, ssl.SSLError):
            raise AuthError(f"the passphrase does not open the key in {key or cert}", "check the passphrase") from None
        missing = key if key and not key.is_file() else cert
        raise _unusable(missing, error) from error


def _unusable(file: Path, error: Exception) -> UsageError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror and error.errno else str(error)
    return UsageError(f"the certificate file {file} cannot be used: {reason}", "use a PEM file")


def is_alert(cause: BaseException | None) -> bool:
    """Whether the peer gave a reason for ending TLS, which under TLS 1.3 may come with the first read."""
    return isinstance(cause, ssl.SSLError) and "ALERT" in (cause.reason or "")


def failure(cause: ssl.SSLError, host: str) -> DwError:
    """A TLS failure in words, with what to do."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _distrusted(cause, host)
    reason = (cause.reason or str(cause)).replace("_", " ").lower()
    match reason:
        case _ if "certificate required" in reason:
            return AuthError(f"{host} requires a client certificate ({reason})", _ASKS_FOR_CERTIFICATE)
        case _ if "handshake failure" in reason:
            return AuthError(
                f"{host} aborted the TLS handshake; it may require a client certificate ({reason})",
                _ASKS_FOR_CERTIFICATE,
            )
        case _ if "alert" in reason and re.search(r"unknown ca|bad certificate|certificate \w+|access denied", reason):
            return AuthError(f"{host} does not accept this client certificate ({reason})", _ASKS_FOR_CERTIFICATE)
        case _ if "wrong version number" in reason or "http request" in reason:
            return DwError(f"{host} does not speak TLS on this port", "use http:// instead of https:// in the URL")
        case _ if "eof" in reason:
            return DwError(
                f"{host} ended the TLS connection",
                "check that the port uses https; it may require a client certificate",
            )
    return DwError(
        f"TLS with {host} failed: {reason}", "check that the port uses https; it may require a client certificate"
    )


def _distrusted(cause: ssl.SSLCertVerificationError, host: str) -> DwError:
    code: int = getattr(cause, "verify_code", 0)
    said: str = getattr(cause, "verify_message", "") or str(cause)
    match code:
        case _ if code == _EXPIRED:
            return DwError(
                f"the certificate of {host} has expired",
                "ask its administrator to renew it; check this machine's clock",
            )
        case _ if code == _NOT_YET_VALID:
            return DwError(f"the certificate of {host} is not valid yet", "check this machine's clock")
        case _ if code in _OTHER_NAME or "doesn't match" in said or "mismatch" in said:
            return DwError(
                f"the certificate of {host} is for another name: {said}",
                "use the name it was issued for in the profile's URL",
            )
        case _ if code in _UNKNOWN_ISSUER:
            return DwError(
                f"the certificate of {host} is not trusted: {said}",
                "if you trust this server, add its certificate authority: dw profile edit NAME --ca FILE",
            )
    return DwError(f"the certificate of {host} is not trusted: {said}", "dw profile edit NAME --ca FILE")


def refusal(status: int, words: str, host: str) -> DwError | None:
    """What a response of 400 or above says about TLS, in the wording of nginx and the like; None if nothing."""
    lower = words.lower()
    if status in (400, 403, 495, 496) and "certificate" in lower and ("ssl" in lower or "client" in lower):
        refused = "error" in lower or "invalid" in lower
        what = "does not accept this client certificate" if refused else "requires a client certificate"
        return AuthError(f"{host} {what} ({status}): {words}", _ASKS_FOR_CERTIFICATE)
    if status == 400 and "plain http request" in lower:
        return DwError(f"{host} speaks TLS on this port", "use https:// in the profile's URL")
    return None
