"""The ends of JSON, XML, PDF and zip."""

import re
from collections.abc import Callable

from dwcli.dicomweb.walks import End, Walk

_MOST_OPEN = 10_000
_MOST_TOKEN = 1 << 20  # bytes of one tag; text comes in pieces
_IN_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_STRUCTURE = re.compile(rb'"(?:[^"\\]*+(?:\\.[^"\\]*+)*+")?+|[\[\]{}]', re.DOTALL)
_CLOSES = {0x5D: 0x5B, 0x7D: 0x7B}
TAIL = 22 + 65_535 + 20 + 56  # bytes in which the end record of a zip file stands, and those before it


def json_end() -> Walk:
    """Scan an object or array (RFC 8259) until it closes; only white space may follow."""
    at, in_string, closed = 0, False, False
    stack = bytearray()
    while True:
        block = yield at
        if not block:
            return End.WHOLE if closed and block is not None else End.TRUNCATED
        start = len(b"\xef\xbb\xbf") if at == 0 and block.startswith(b"\xef\xbb\xbf") else 0
        at += len(block)
        while start < len(block):
            if in_string:
                found = _IN_STRING.match(block, start)
                start = found.end() if found else len(block)
                if start == len(block):
                    break
                if block[start] == 0x5C:  # a backslash, last in the block: what it stands before is skipped
                    at += 1
                    break
                in_string, start = False, start + 1
                continue
            if closed:
                if block[start:].strip(b" \t\r\n"):
                    return End.UNPROVEN
                break
            found = _STRUCTURE.search(block, start)
            if not stack and block[start : found.start() if found else None].strip(b" \t\r\n"):
                return End.UNPROVEN
            if not found:
                break
            start, token = found.end(), block[found.start()]
            if token == 0x22:
                if not stack:
                    return End.UNPROVEN
                in_string = found.end() - found.start() == 1
            elif token in _CLOSES:
                if not stack or stack.pop() != _CLOSES[token]:
                    return End.UNPROVEN
                closed = not stack
            else:
                stack.append(token)
                if len(stack) > _MOST_OPEN:
                    return End.UNPROVEN


class _Refused(Exception):
    """XML that is not read to its end."""


def xml_end() -> Walk:
    """Parse XML until its root closes; a DTD is not followed."""
    from xml.parsers import expat

    depth, fed, closed = 0, 0, False

    def started(_name: str, _attributes: object) -> None:
        nonlocal depth
        depth += 1
        if depth > _MOST_OPEN:
            raise _Refused

    def ended(_name: str) -> None:
        nonlocal depth, closed
        depth -= 1
        closed = not depth

    def refuse(*_: object) -> None:
        raise _Refused

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = started, ended
    parser.StartDoctypeDeclHandler = refuse
    try:
        while block := (yield fed):
            fed += len(block)
            parser.Parse(block, False)
            if fed - parser.CurrentByteIndex > _MOST_TOKEN:
                return End.UNPROVEN
    except (_Refused, expat.ExpatError):
        return End.UNPROVEN
    try:
        parser.Parse(b"", True)
    except (_Refused, expat.ExpatError):
        return End.UNPROVEN if closed else End.TRUNCATED
    return End.WHOLE if closed else End.TRUNCATED


def pdf_end(head: bytes, tail: bytes, size: int) -> End:
    """A PDF is whole for sure only where it is linearized (ISO 32000-1 F.3.3); `%%EOF` may be one of several."""
    if stated := re.search(rb"/Linearized.{0,200}?/L\s+(\d{1,15})\b", head, re.DOTALL):
        if size < int(stated[1]):
            return End.TRUNCATED
        if size == int(stated[1]):
            return End.WHOLE
    return End.UNPROVEN if b"%%EOF" in tail[-1024:] else End.TRUNCATED


def zip_end(_head: bytes, tail: bytes, size: int) -> End:
    """A zip file ends with a record (APPNOTE 4.3.16) that says where the directory before it begins and ends."""
    begin = size - len(tail)
    at = tail.rfind(b"PK\5\6")
    if at < 0:
        return End.TRUNCATED
    while at >= 0:
        record = tail[at : at + 22]
        if len(record) == 22 and at + 22 + int.from_bytes(record[20:22], "little") == len(tail):
            return End.WHOLE if _directory_fits(tail, at, begin, record) else End.UNPROVEN
        at = tail.rfind(b"PK\5\6", 0, at)
    return End.UNPROVEN


def _directory_fits(tail: bytes, at: int, begin: int, record: bytes) -> bool:
    count, length, offset = (int.from_bytes(record[a:b], "little") for a, b in ((10, 12), (12, 16), (16, 20)))
    place = begin + at
    if count == 0xFFFF or 0xFFFFFFFF in (length, offset):  # Zip64 (4.3.14, 4.3.15)
        locator = tail[max(at - 20, 0) : at]
        if locator[:4] == b"PK\6\7":
            place = int.from_bytes(locator[8:16], "little")
            wide = tail[place - begin : place - begin + 56] if place >= begin else b""
            if wide[:4] != b"PK\6\6" or len(wide) < 56:
                return False
            if place + 12 + int.from_bytes(wide[4:12], "little") != begin + at - 20:
                return False
            count, length, offset = (int.from_bytes(wide[a : a + 8], "little") for a in (32, 40, 48))
    return offset + length == place and count * 46 <= length and bool(count) == bool(length)


Ending = Callable[[bytes, bytes, int], End]
"""By the first bytes, the last `TAIL` ones and the size."""
