"""Content codings (RFC 9110 8.4): a coded body read as a stream, in little memory, to the coding's proven end."""

import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping

from dwcli.dicomweb.dicomjson import excerpt
from dwcli.errors import ProtocolError, TruncatedError

ACCEPTED = "gzip, deflate"
"""What requests ask for (Accept-Encoding)."""

_READ = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
_HINT = "dw decodes one gzip or deflate coding; try -H 'Accept-Encoding: identity'"
_AGAIN = "run the same command again; complete instances are kept"
_OUT = 1 << 20  # bytes of one decoded piece at most
_IN = 1 << 14  # bytes unpacked at a time; zlib copies what it leaves of them at every step
_GZIP, _ZLIB, _RAW = 31, 15, -15  # zlib's `wbits`


def named(headers: Mapping[str, str], host: str) -> str:
    """The coding that a response declares: "gzip", "deflate" or "".

    Raises:
        ProtocolError: a coding that was not requested, or one inside another.
    """
    header = headers.get("Content-Encoding", "")
    if not header:
        return ""
    names = [name for word in header.split(",") if (name := word.strip().lower()) not in ("", "identity")]
    for name in names:
        if name not in _READ:
            raise ProtocolError(f"{host} sent Content-Encoding: {excerpt(name)}, which was not requested", _HINT)
    if len(names) > 1:
        raise ProtocolError(f"{host} sent Content-Encoding: {excerpt(header)} (nested codings)", _HINT)
    return _READ[names[0]] if names else ""


def decoded(pieces: Iterable[bytes], coding: str, host: str, *, empty: bool) -> Generator[bytes, None, None]:
    """The content of a coded body, in pieces of at most a megabyte, whatever it unpacks to.

    gzip of any number of members (RFC 1952 2.2), deflate with zlib's head (RFC 1950) and without (RFC 1951); zeros
    after the end are padding. `empty`: a body of no bytes is no content.

    Raises:
        TruncatedError: the body ended before its coding did.
        ProtocolError: the body is damaged, or something else follows the end of its coding.
    """
    inflating: zlib._Decompress | None = None
    members = 0
    head = b""
    for piece in pieces:
        for at in range(0, len(piece), _IN):
            data = head + piece[at : at + _IN]
            head = b""
            while data:
                if inflating is None:
                    if members and not (data := data.lstrip(b"\0")):
                        break
                    if members and (coding != "gzip" or data[0] != 0x1F):
                        raise ProtocolError(f"{host} sent {len(data)} or more bytes after the end of its {coding}")
                    if coding == "deflate" and len(data) < 2:
                        head = data
                        break
                    inflating = zlib.decompressobj(_GZIP if coding == "gzip" else _form(data))
                try:
                    yield from _inflated(inflating, data)
                except zlib.error as error:
                    raise ProtocolError(f"{host} sent a damaged {coding} body: {error}", _AGAIN) from error
                data = b""
                if inflating.eof:
                    data = inflating.unused_data
                    inflating = None
                    members += 1
    if inflating is not None or head or not (members or empty):
        raise TruncatedError(f"{host} sent a response truncated inside its {coding} coding", _AGAIN)


def _inflated(inflating: "zlib._Decompress", data: bytes) -> Iterator[bytes]:
    """What the bytes unpack to, in pieces of at most a megabyte, up to the end of the member. Raises zlib.error."""
    while True:
        out = inflating.decompress(data, _OUT)
        data = inflating.unconsumed_tail
        if out:
            yield out
        if inflating.eof or (not data and len(out) < _OUT):
            return


def _form(head: bytes) -> int:
    """Whether a deflate body begins with zlib's head (RFC 1950 2.2); many servers leave it out."""
    return _ZLIB if head[0] & 0x0F == 8 and int.from_bytes(head[:2], "big") % 31 == 0 else _RAW
