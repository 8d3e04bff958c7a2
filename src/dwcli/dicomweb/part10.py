"""The first bytes of a DICOM file (PS3.10 7): its UIDs and transfer syntax, and no more than that.

`read_head` names a file while it is still arriving, and tells DICOM from the rest in a folder. It walks
over data elements (PS3.5 7) without decoding them and stops behind the last one wanted, so it costs
microseconds. What it can't read it refuses; a full parser may still be able to.
"""

import re
import zlib
from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from typing import Literal, NamedTuple

from dwcli.dicomweb.head_cache import CachedHead, Span
from dwcli.errors import ProtocolError

DICOMDIR = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage

_META_LENGTH, _META_CLASS, _META_INSTANCE, _META_SYNTAX = 0x00020000, 0x00020002, 0x00020003, 0x00020010
_SOP_CLASS, _INSTANCE, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_PIXELS = 0x7FE00008  # Float Pixel Data, the first of the three tags that pixels may have
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF

BIG_ENDIAN = "1.2.840.10008.1.2.2"
# Deflated Explicit VR Little Endian and the two JPIP Referenced Deflate (PS3.5 A.5).
DEFLATED = frozenset({"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"})
_INFLATE_FIRST = 64 * 1024  # bytes
_INFLATE_LIMIT = 64 * 1024 * 1024  # bytes; more before the UIDs is a decompression bomb

# PS3.5 7.1.2: the first have a 16-bit length, the others two reserved bytes and a 32-bit length.
SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_VRS = SHORT_VRS | LONG_VRS

# What decides how the rest is read, or nearly always is the same in all files of a series.
_DECISIVE = frozenset({_META_LENGTH, _META_CLASS, _META_SYNTAX, _SOP_CLASS})
_MOST_CACHED, _MOST_PLANS, _MOST_ELEMENTS = 4, 16, 200
_CACHED: dict[tuple[frozenset[str], int], tuple[CachedHead, ...]] = {}
"""By what is wanted and where group 2 begins: heads that came twice running. UIDs of a series have few lengths."""
_LAST: dict[frozenset[str], list[Span]] = {}

_EXPLICIT = {True: Struct("<HH2sH"), False: Struct(">HH2sH")}  # by little endian: group, element, VR, length
_IMPLICIT = {True: Struct("<HHI"), False: Struct(">HHI")}
_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")
_EARLY = 0x0010  # the groups that data sets begin with; read in the wrong order, none of them is as small
_LENGTH = {True: Struct("<I"), False: Struct(">I")}


class Head(NamedTuple):
    """What a DICOM file says about itself.

    `study`, `series` and `sop_class` may be empty, and so is `transfer_syntax` where group 2 lacks it. UIDs
    come without padding and are otherwise opaque; a byte outside ASCII appears as `\\xNN`. `elements` maps
    each wanted tag that is there ("00100020") to its value as it stands in the file, padding included. Of a
    DICOMDIR (`sop_class` is `DICOMDIR`) only group 2 is read.
    """

    transfer_syntax: str
    sop_class: str
    study: str
    series: str
    instance: str
    elements: Mapping[str, bytes]


class NotDicom(ProtocolError):
    """These bytes are no DICOM file, or one too odd to be read from its first bytes alone."""


class EndsEarly(NotDicom):
    """These bytes may be the beginning of a DICOM file, and end before its first data elements do."""


class _Short(Exception):
    """The bytes end before the walk over them does."""


def read_head(data: bytes, *, final: bool = False, wanted: frozenset[str] = frozenset()) -> Head | None:
    """Read the head of the file that begins with `data`; None when more bytes are needed, never when `final`.

    `wanted` names further top-level elements ("00100020"); pixel data and values of undefined length never
    come back. A caller that reads a file in pieces retries with a longer prefix, up to its own limit.
    `final`: `data` is the whole file.

    Reads explicit and implicit VR little endian, big endian and deflated; with a preamble, or without one
    where group 2 comes first. `NotDicom` when `data` can't be the beginning of a DICOM file or names no SOP
    Instance UID and, when `final`, when the file ends inside what is wanted.
    """
    try:
        return _read(data, final, wanted)
    except _Short:
        if not final:
            return None
        raise EndsEarly("the file ends inside its first data elements") from None


def data_set_offset(data: bytes) -> int | None:
    """Where the data set begins, behind preamble and group 2 (PS3.10 7.1); None where `data` does not reach it."""
    try:
        return _read_meta(data, _find_meta(data, final=False), False, {}, {}, [])
    except (_Short, NotDicom):
        return None


class Encoding(NamedTuple):
    """How the elements of a data set are written (PS3.5 7.1): with VR or without, in which byte order."""

    explicit: bool
    little: bool


def encoding(data: bytes, at: int, syntax: str) -> Encoding:
    """How the data set that begins at `at` is written, as its first element shows: that beats what group 2 says.

    `syntax`, group 2's ("" where it names none), counts only where a first element fits both byte orders.
    """
    explicit = data[at + 4 : at + 6] in _VRS or re.fullmatch(b"[A-Z]{2}", data[at + 4 : at + 6]) is not None
    first, swapped = (int.from_bytes(data[at : at + 2], order) for order in _ORDERS)
    if first <= _EARLY or swapped <= _EARLY:
        return Encoding(explicit, first <= _EARLY)
    return Encoding(explicit, syntax != BIG_ENDIAN if syntax else first < 0x0400)


def _read(data: bytes, final: bool, wanted: frozenset[str]) -> Head:
    keys, last = _plan(wanted)
    # Not left to the cached heads, which know nothing of what is before the first element.
    begin = _find_meta(data, final)
    cached = _CACHED.get((wanted, begin), ())
    for head in cached:
        if values := head.values(data):
            return _head(values, keys, wanted)
    found: dict[int, bytes] = {}
    passed: list[Span] = []
    start = _read_meta(data, begin, final, keys, found, passed)
    syntax, sop_class = _shared_uid(found.get(_META_SYNTAX, b"")), _shared_uid(found.get(_META_CLASS, b""))
    if sop_class != DICOMDIR:
        if syntax in DEFLATED:
            _inflate_and_walk(data[start:], keys, last, found)
        else:
            plain = _walk(data, start, final, syntax, keys, last, found, passed)
            if plain and passed == _LAST.get(wanted):
                _CACHED[wanted, begin] = (CachedHead(data, passed, found, _DECISIVE), *cached[: _MOST_CACHED - 1])
            if len(passed) <= _MOST_ELEMENTS and (wanted in _LAST or len(_LAST) < _MOST_PLANS):
                _LAST[wanted] = passed
    return _head(found, keys, wanted)


def _head(found: Mapping[int, bytes], keys: Mapping[int, str], wanted: frozenset[str]) -> Head:
    uid = found.get
    sop_class = _shared_uid(uid(_META_CLASS, b""))
    instance = _uid(uid(_INSTANCE, b"")) or _uid(uid(_META_INSTANCE, b""))
    if not instance and sop_class != DICOMDIR:
        raise NotDicom("the file has no SOP Instance UID")
    return Head(
        transfer_syntax=_shared_uid(uid(_META_SYNTAX, b"")),
        sop_class=_shared_uid(uid(_SOP_CLASS, b"")) or sop_class,
        study=_shared_uid(uid(_STUDY, b"")),
        series=_shared_uid(uid(_SERIES, b"")),
        instance=instance,
        elements={keys[tag]: value for tag, value in found.items() if keys[tag] in wanted} if wanted else {},
    )


@lru_cache(maxsize=16)
def _plan(wanted: frozenset[str]) -> tuple[Mapping[int, str], int]:
    """The tags to keep with their names as in `wanted`, and the last of them."""
    keys = {
        tag: f"{tag:08X}" for tag in (_META_CLASS, _META_INSTANCE, _META_SYNTAX, _SOP_CLASS, _INSTANCE, _STUDY, _SERIES)
    }
    keys |= {int(key, 16): key for key in wanted}
    keys = {tag: key for tag, key in keys.items() if tag < _PIXELS}
    return keys, max(keys)


def _uid(value: bytes) -> str:
    # Not "replace": two UIDs that differ only in odd bytes must not become one.
    return value.strip(b"\0 ").decode("ascii", "backslashreplace")


# Those that whole series share.
_shared_uid = lru_cache(maxsize=256)(_uid)


def _find_meta(data: bytes, final: bool) -> int:
    """Where group 2 begins: behind the preamble, or at 0."""
    if data[128:132] == b"DICM":
        return 132
    if len(data) < 132 and not final:
        raise _Short
    # Without VR, 4 bytes of group length are the only sure sign.
    if data[:2] == b"\2\0" and (data[4:6] in _VRS or data[2:8] == b"\0\0\4\0\0\0"):
        return 0
    refusal = NotDicom if data.strip(b"\0") or len(data) >= 132 else EndsEarly  # zeros may be half a preamble
    raise refusal("not a DICOM file: neither a preamble nor File Meta Information")


def _read_meta(
    data: bytes, at: int, final: bool, keys: Mapping[int, str], found: dict[int, bytes], passed: list[Span]
) -> int:
    """Read group 2 (PS3.10 7.1) into `found`, and each element into `passed`; where the data set begins."""
    stated_end = -1
    end = len(data)
    unpack = _EXPLICIT[True].unpack_from
    while True:
        if end - at < 8:
            if final and at == end:
                raise EndsEarly("the file has no data set")
            raise _Short
        group, element, vr, length = unpack(data, at)
        if group != 2:
            return at
        # The group length is often wrong: believed only where deflated bytes could be taken for group 2.
        if at == stated_end and vr not in _VRS:
            return at
        tag, value = 0x00020000 | element, at + 8
        if vr not in SHORT_VRS:
            tag, _, length, value = _element(data, at, explicit=True, little=True)
        passed.append((tag, at, value, value + length))
        at = value + length
        if at > end:
            raise _Short
        if tag in keys:
            found[tag] = data[value:at]
        if tag == _META_LENGTH and length == 4:
            stated_end = at + int.from_bytes(data[value:at], "little")


def _inflate_and_walk(deflated: bytes, keys: Mapping[int, str], last: int, found: dict[int, bytes]) -> None:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data, size = b"", _INFLATE_FIRST
    while True:
        try:
            data += inflater.decompress(inflater.unconsumed_tail or deflated, size - len(data))
        except zlib.error as error:
            raise NotDicom(f"the deflated data set is damaged: {error}") from None
        deflated = b""
        full = len(data) == size
        try:
            _walk(data, 0, inflater.eof and not full, "", keys, last, found, [])
            return
        except _Short:
            if not full:
                raise
        size *= 4
        if size > _INFLATE_LIMIT:
            raise NotDicom("no SOP Instance UID in the first 64 MiB of the deflated data set")


def _walk(
    data: bytes,
    at: int,
    final: bool,
    syntax: str,
    keys: Mapping[int, str],
    last: int,
    found: dict[int, bytes],
    passed: list[Span],
) -> bool:
    """Read the data set (PS3.5 7) that begins at `at` into `found`, up to the tag `last`, each element into `passed`.

    Whether these headers, where others have them too, say of those all that a walk would find.
    """
    end = len(data)
    if end - at < 8:
        raise _Short
    explicit, little = encoding(data, at, syntax)
    if int.from_bytes(data[at : at + 2], "little" if little else "big") >= 0x0400:
        raise NotDicom("the data set begins with an unexpected group")
    unpack = (_EXPLICIT if explicit else _IMPLICIT)[little].unpack_from
    plain = True
    while at < end:
        if end - at < 8:
            raise _Short
        if explicit:
            group, element, vr, length = unpack(data, at)
            tag = group << 16 | element
            value = at + 8
            if vr not in SHORT_VRS:
                tag, vr, length, value = _element(data, at, explicit=True, little=little)
        else:
            group, element, length = unpack(data, at)
            tag, vr, value = group << 16 | element, b"", at + 8
        if tag > last:
            passed.append((tag, at, value, value))
            return plain
        if length == _UNDEFINED:
            plain = False
            at = _skip(data, value, explicit=explicit, little=little or vr == b"UN")
            continue
        passed.append((tag, at, value, value + length))
        at = value + length
        if at > end:
            raise _Short
        if tag in keys:
            found[tag] = data[value:at]
            if tag == last:
                return plain
    if not final:
        raise _Short
    return False


def _element(data: bytes, at: int, *, explicit: bool, little: bool) -> tuple[int, bytes, int, int]:
    """Tag, VR (b"" if implicit), length and start of the value of the element at `at`; 8 bytes are there."""
    if explicit:
        group, element, vr, length = _EXPLICIT[little].unpack_from(data, at)
        # A VR of the future has a 32-bit length by rule; those of some writers have not.
        if vr in SHORT_VRS or (vr not in LONG_VRS and length and vr.isalpha() and vr.isupper()):
            return group << 16 | element, vr, length, at + 8
        if vr.isalpha() and vr.isupper():
            if len(data) - at < 12:
                raise _Short
            return group << 16 | element, vr, _LENGTH[little].unpack_from(data, at + 8)[0], at + 12
        # Some writers slip into implicit VR for an element or an item.
    group, element, length = _IMPLICIT[little].unpack_from(data, at)
    return group << 16 | element, b"", length, at + 8


def _skip(data: bytes, at: int, *, explicit: bool, little: bool) -> int:
    """Where the value of undefined length that begins at `at` ends (PS3.5 7.5): behind its delimiter."""
    open_ones: list[tuple[bool, bool, bool]] = [(False, explicit, little)]  # item? explicit? little?
    while open_ones:
        if len(data) - at < 8:
            raise _Short
        in_item, explicit, little = open_ones[-1]
        tag, vr, length, value = _element(data, at, explicit=False, little=little)
        if tag == (_ITEM_END if in_item else _SEQUENCE_END):
            open_ones.pop()
            at = value
            continue
        if in_item:
            if tag >> 16 == _ITEM >> 16:
                raise NotDicom("an item ends in the wrong place")
            tag, vr, length, value = _element(data, at, explicit=explicit, little=little)
            explicit_inside, little_inside = explicit, little or vr == b"UN"  # PS3.5 6.2.2
        elif tag == _ITEM:
            if len(data) - value < 8:
                raise _Short
            explicit_inside, little_inside = data[value + 4 : value + 6] in _VRS, little
        else:
            raise NotDicom("a sequence contains something other than an item")
        if length == _UNDEFINED:
            open_ones.append((not in_item, explicit_inside, little_inside))
            at = value
        else:
            at = value + length
    return at


# Specific Character Set (PS3.3 C.12.1.1.2) by its ISO-IR number.
_CODECS = {
    6: "ascii", 100: "latin-1", 101: "iso8859-2", 109: "iso8859-3", 110: "iso8859-4", 144: "iso8859-5",
    127: "iso8859-6", 126: "iso8859-7", 138: "iso8859-8", 148: "iso8859-9", 203: "iso8859-15",
    13: "shift_jis", 166: "iso8859-11", 192: "utf-8", 149: "euc_kr", 58: "gb2312",
}  # fmt: skip
# What an escape sequence switches to (PS3.5 6.1.2.5); any other, "(B" among them, goes back to the first set.
_ESCAPES = {
    b"-A": "latin-1", b"-B": "iso8859-2", b"-C": "iso8859-3", b"-D": "iso8859-4",
    b"-L": "iso8859-5", b"-G": "iso8859-6", b"-F": "iso8859-7", b"-H": "iso8859-8", b"-M": "iso8859-9",
    b"-b": "iso8859-15", b"-T": "iso8859-11", b"(J": "shift_jis", b")I": "shift_jis", b"$)C": "euc_kr",
    b"$)A": "gb2312", b"$B": "iso2022_jp_2", b"$(D": "iso2022_jp_2",
}  # fmt: skip
_ESCAPE = rb"\x1b([\x20-\x2f]+[\x30-\x7e])"


def decode_text(raw: bytes, charset: bytes) -> str:
    """The text of one value, written as `charset` (the value of (0008,0005)) says, without padding.

    Good enough for the name of a file. Never raises: what can't be decoded becomes U+FFFD, and an absent or
    unknown character set is taken for UTF-8, else Latin-1.
    """
    term = charset.split(b"\\")[0].strip(b"\0 ").upper().decode("ascii", "replace")
    number = re.search(r"IR\D?(\d+)$", term)
    first = _CODECS.get(int(number[1]), "") if number else term.lower()
    if first not in ("gb18030", "gbk", *_CODECS.values()):
        try:
            raw.decode("utf-8")
            first = "utf-8"
        except UnicodeDecodeError:
            first = "latin-1"
    start, *switched = re.split(_ESCAPE, raw)
    text = start.decode(first, "replace")
    for escape, part in zip(switched[::2], switched[1::2], strict=True):
        codec = _ESCAPES.get(escape, first)
        # The Japanese two-byte sets are codecs that want to see the escape sequence itself.
        prefix = b"\x1b" + escape if codec == "iso2022_jp_2" else b""
        text += (prefix + part).decode(codec, "replace")
    return text.strip("\0 ")
