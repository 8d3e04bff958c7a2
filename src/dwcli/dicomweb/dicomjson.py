"""The DICOM JSON Model (PS3.18 annex F): rows read as they come, and their values read leniently.

A row is one data set as received: a dict from tag ("00100020") to `{"vr": …, "Value": […]}`.
"""

import codecs
import json
import math
import re
import sys
from contextlib import suppress
from typing import Any

from dwcli.dicomweb import dictionary
from dwcli.errors import ProtocolError, TruncatedError

Row = dict[str, Any]

INTEGERS = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
_WORDS = frozenset({"AE", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"})
NUMBERS = INTEGERS | {"DS", "FD", "FL"}

_decode = json.JSONDecoder(strict=False).raw_decode
_BETWEEN = re.compile("[ \t\r\n,\ufeff]*")
_STRUCTURE = re.compile(r'["{}]')
_IN_STRING = re.compile(r'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_TAG_KEY = re.compile(r"[0-9A-Fa-f]{8}")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_CONTROL = r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"

# Possessive, and an open string matches to its end: linear, and in no more memory than the text.
_TRAILING = re.compile(r'("[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z))|,(?=[ \t\r\n]*+[}\]])', re.DOTALL)

LARGEST = 64 << 20
"""Bytes that the text of one row may take in memory."""
_STRUCTURES = 4 << 20  # objects, lists and commas of one row, for each of which Python takes up to a hundred bytes
_PIECE = 1 << 20  # bytes read at a time

_LITERALS = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
_ESCAPE_BEGINNING = re.compile(r"\\?u?[0-9A-Fa-f]{0,4}")
_NUMBER_BEGINNING = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.|(?:\.[0-9]+)?[eE][+-]?)")
_LAST_NUMBER = re.compile(r"[-+.0-9eE]{1,400}\Z")


class RowReader:
    """Reads a JSON array of data sets in chunks; each row comes out with the chunk that completes it.

    Holds one unfinished row, of 64 MB at most, and reads every byte a few times at most, whatever the chunks. Also
    read: white space, byte order marks and trailing commas (in rows too), several arrays one after the other, single
    objects without an array, an empty body (no rows), and NaN and Infinity as bare words. Rows are as received, but
    for lower-case tags, which come in upper case.

    What is wrong is ProtocolError and what is only not all TruncatedError, wherever the chunks are cut.
    """

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._arrays = 0  # how many are open
        self._row: list[str] = []  # the pieces of a row that goes on
        self._size = self._structures = 0  # of these
        self._braces = 0  # how many of its braces are open
        self._in_string = False
        self._escaped = False
        self._error: ProtocolError | None = None

    def feed(self, data: bytes) -> list[Row]:
        """The rows that `data` completes, in order.

        Raises:
            ProtocolError: this is not DICOM JSON. Rows before it are given first; the error then comes with
                the next call of `feed` or `finish`.
        """
        self.check()
        rows: list[Row] = []
        try:
            for at in range(0, len(data), _PIECE):
                self._read(self._utf8.decode(data[at : at + _PIECE]), rows)
        except ProtocolError as error:
            self._error = error
            if not rows:
                raise
        return rows

    def check(self) -> None:
        """Raises the ProtocolError that comes after the rows that `feed` gave last, where there is one."""
        if self._error:
            raise self._error

    def stop(self) -> None:
        """To be called where the body stops early. Raises the ProtocolError of what is wrong wherever it stops."""
        with suppress(TruncatedError):
            self.finish()

    def finish(self) -> list[Row]:
        """To be called at the end of the body; gives what rows are left, if any.

        Raises:
            TruncatedError: the body ended inside a row or before its array did. Rows given stay good.
            ProtocolError: as for `feed`.
        """
        self.check()
        if self._row:
            _refuse_broken("".join(self._row))
            raise TruncatedError("the response ended inside a row")
        if self._arrays:
            raise TruncatedError("the response ended inside its list")
        rows: list[Row] = []
        self._read(self._utf8.decode(b"", final=True), rows)
        return rows

    def _read(self, text: str, rows: list[Row]) -> None:
        if self._row:
            end = self._row_end(text, 0)
            self._hold(text, end)
            if end < 0:
                return
            text = "".join(self._row)
            self._row.clear()
        self._walk(text, rows)

    def _hold(self, text: str, end: int = -1) -> None:
        """Keep a piece of the open row, which ends at `end` of it. Raises ProtocolError where the row is too large."""
        if not self._row:
            self._size = self._structures = 0
        self._row.append(text)
        mine = text if end < 0 else text[:end]
        self._size += sys.getsizeof(mine)
        self._structures += mine.count("{") + mine.count("[") + mine.count(",")
        if self._size > LARGEST or self._structures > _STRUCTURES:
            self._row.clear()
            raise ProtocolError(
                f"the response contains a row of more than {LARGEST >> 20} MB, or of millions of values"
            )

    def _walk(self, text: str, rows: list[Row]) -> None:
        at = 0
        while (at := _skip(text, at)) < len(text):
            match text[at]:
                case "{":
                    if (end := self._take_row(text, at, rows)) < 0:
                        return
                    at = end
                case "[":
                    self._arrays += 1
                    at += 1
                case "]" if self._arrays:
                    self._arrays -= 1
                    at += 1
                case _:
                    raise _not_rows(text[at:])

    def _take_row(self, text: str, start: int, rows: list[Row]) -> int:
        """Appends the row at `start` and returns where it ends; -1 when it goes on in the next chunk."""
        try:
            row, end = _decoded(text, start)
        except json.JSONDecodeError as error:
            self._braces, self._in_string, self._escaped = 0, False, False
            end = self._row_end(text, start)
            if end < 0:
                piece = text[start:]
                if error.pos < len(text) and not error.msg.startswith("Unterminated string"):
                    _refuse_broken(piece)
                self._hold(piece)
                return -1
            try:
                row, _ = _decoded(_tidied(text[start:end]), 0)
            except json.JSONDecodeError:
                raise _not_rows(text[max(start, error.pos - 20) :]) from None
        if row and not any(map(_TAG_KEY.fullmatch, row)):
            raise _not_rows(text[start:])
        rows.append(row)
        return end

    def _row_end(self, text: str, at: int) -> int:
        """Where the open row ends in `text`, searched from `at` on; -1 when it goes on."""
        if self._escaped and text:
            self._escaped = False
            at += 1
        while at < len(text):
            if self._in_string:
                found = _IN_STRING.match(text, at)
                at = found.end() if found else len(text)
                if at < len(text):
                    self._in_string = text[at] != '"'
                    self._escaped = self._in_string  # a backslash that ends the piece
                    at += 1
                continue
            found = _STRUCTURE.search(text, at)
            if not found:
                break
            at = found.end()
            match found[0]:
                case '"':
                    self._in_string = True
                case "{":
                    self._braces += 1
                case _:
                    self._braces -= 1
                    if not self._braces:
                        return at
        return -1


def values(row: Row, tag: str) -> list[Any]:
    """The values of an attribute as received; None for a gap, [] when it is absent, empty or bulk data.

    They are strings, numbers, or dicts for names and items. Read leniently: a value outside a list, an
    element that is the value itself, lower-case tags, and `[""]`, `[null]` or an empty name for an empty
    attribute.
    """
    element = _element(row, tag)
    found = element.get("Value") if isinstance(element, dict) else element
    if not isinstance(found, list):
        found = [found]
    vr = vr_of(tag, element)
    return [] if all(_is_blank(value, vr) for value in found) else found


def text(row: Row, tag: str) -> str:
    r"""The values of an attribute as DICOM writes them: `A\B\C`, names as `Alphabetic=Ideographic=Phonetic`.

    "" for absent and empty attributes and for bulk data; a sequence says how many items it has. White space
    and NUL around a value are padding and dropped. Control characters inside, line breaks among them, stay.
    """
    found = values(row, tag)
    vr = vr_of(tag, _element(row, tag))
    if vr == "SQ":
        return f"({len(found)} item{'' if len(found) == 1 else 's'})" if found else ""
    return "\\".join(_value_text(value, vr) for value in found)


def flat(row: Row) -> dict[str, Any]:
    """A row as one would write it by hand: keyword -> plain value; fit for JSON.

    The key is the tag where there is no keyword (private, unknown) and for all but the first of repeating
    groups. One value is given as itself, several as a list, none as None. Names are as in `text`; numbers are
    numbers where they can be (NaN and infinities are strings, as JSON has none), sequences lists of such
    dicts, InlineBinary its base64 string, and bulk data its URI.

    Raises:
        ProtocolError: sequences within sequences, hundreds of levels deep.
    """
    try:
        return {_flat_key(key): _flat_element(row, key.upper(), element) for key, element in row.items()}
    except RecursionError:
        raise ProtocolError("sequences are nested too deeply to be read") from None


def number(word: str, vr: str) -> int | float | str:
    """The number that a string of a numeric VR stands for; the string itself where it is not a finite one."""
    digits = word.strip(" \0")
    if vr in NUMBERS and _INTEGER.fullmatch(digits) and len(digits) < 400:
        return int(digits)
    if vr in NUMBERS and _DECIMAL.fullmatch(digits) and math.isfinite(value := float(digits)):
        return value
    return word


def excerpt(text: str | bytes, length: int = 80) -> str:
    """The beginning of a response on one line, with every control character made visible, for messages."""
    if isinstance(text, bytes):
        text = text[: 4 * length].decode("utf-8", "replace")
    words = " ".join(text[: 4 * length].split())
    short = words if len(words) <= length else words[: length - 1] + "…"
    return re.sub(_CONTROL, lambda found: f"\\u{ord(found[0]):04x}", short)


def _decoded(text: str, start: int) -> tuple[Row, int]:
    """The object at `start` as a row, and where it ends. Raises JSONDecodeError, and ProtocolError beyond mending."""
    try:
        row, end = _decode(text, start)
        return (_upper(row) if any(key != key.upper() for key in row) else row), end
    except json.JSONDecodeError:
        raise
    except ValueError:
        raise ProtocolError("the response is not DICOM JSON: a number in it has thousands of digits") from None
    except RecursionError:
        raise ProtocolError("the response is not DICOM JSON: it is nested thousands of levels deep") from None


def _tidied(text: str) -> str:
    """The same without trailing commas."""
    return _TRAILING.sub(lambda found: found[1] or "", text)


def _refuse_broken(beginning: str) -> None:
    """Raises ProtocolError where the beginning of a row is wrong already: nothing that follows makes it one."""
    text = _tidied(beginning)
    try:
        _decoded(text, 0)
    except json.JSONDecodeError as error:
        rest = text[error.pos :]
        what = error.msg
        if what.startswith("Unterminated string") or not rest.lstrip(" \t\r\n,"):
            return
        if what.startswith("Invalid \\u"):
            cut = bool(_ESCAPE_BEGINNING.fullmatch(rest))
        elif what.startswith("Expecting value"):
            cut = any(word.startswith(rest) for word in _LITERALS)
        else:
            last = _LAST_NUMBER.search(text, max(0, len(text) - 400))
            cut = last is not None and error.pos > last.start() and bool(_NUMBER_BEGINNING.fullmatch(last[0]))
        if not cut:
            raise _not_rows(text[max(0, error.pos - 20) :]) from None


def _skip(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    return found.end() if found else at


def _not_rows(text: str) -> ProtocolError:
    what = "a web page" if text.startswith("<") else "not DICOM JSON"
    return ProtocolError(
        f"the response is {what}: {excerpt(text)}",
        hint="check that this is the server's DICOMweb URL: dw profile test",
    )


def _upper(row: Row) -> Row:
    """The same with tags in upper case, items of sequences included."""

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(item) for item in value]
        if isinstance(value, dict):
            return {key.upper() if _TAG_KEY.fullmatch(key) else key: walk(item) for key, item in value.items()}
        return value

    return {key.upper() if _TAG_KEY.fullmatch(key) else key: walk(element) for key, element in row.items()}


def _element(row: Row, tag: str) -> Any:
    element = row.get(tag)
    return row.get(tag.lower()) if element is None else element


def vr_of(tag: str, element: Any) -> str:
    """The VR that an element names, or the dictionary's where it names none."""
    vr = element.get("vr") if isinstance(element, dict) else None
    return vr if isinstance(vr, str) and vr else dictionary.vr(tag)


def _is_blank(value: Any, vr: str) -> bool:
    empty_name = isinstance(value, dict) and vr != "SQ" and not any(value.values())
    return value is None or value == "" or empty_name


def _value_text(value: Any, vr: str) -> str:
    match value:
        case None:
            return ""
        case dict():
            groups = [value.get(group) for group in ("Alphabetic", "Ideographic", "Phonetic")]
            return _name_text("=".join("" if group is None else str(group) for group in groups))
        case str() if vr == "PN":
            return _name_text(value)
        case str():
            return value.strip(" \0\t\r\n")
        case float() if math.isnan(value):
            return "NaN"
        case float() if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        case _:
            return str(value)


def _name_text(name: str) -> str:
    # Some servers write "^" for a group that is not there.
    groups = [group.strip(" \0\t\r\n") if group.strip("^ \0\t\r\n") else "" for group in name.split("=")]
    return "=".join(groups).rstrip("=")


def _flat_key(key: str) -> str:
    keyword = dictionary.keyword(key)
    return keyword if keyword and dictionary.parse_tag(keyword) == key.upper() else key.upper()


def _flat_element(row: Row, tag: str, element: Any) -> Any:
    if isinstance(element, dict):
        for binary in ("BulkDataURI", "InlineBinary"):
            if binary in element:
                return element[binary]
    vr = vr_of(tag, element)
    found = [_flat_value(value, vr) for value in values(row, tag)]
    if vr == "SQ":
        return found
    return found[0] if len(found) == 1 else found or None


def _flat_value(value: Any, vr: str) -> Any:
    match value:
        case dict() if vr == "SQ" or any(map(_TAG_KEY.fullmatch, value)):
            return flat(value)
        case str():
            return number(_value_text(value, vr), vr)
        case int() if vr in _WORDS:
            return str(value)
        case float() if math.isfinite(value) and vr not in _WORDS:
            return value
        case dict() | float():
            return _value_text(value, vr)
        case _:
            return value
