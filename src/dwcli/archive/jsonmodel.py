"""A pydicom data set as the DICOM JSON Model (PS3.18 annex F), element by element, without ever failing as a whole."""

import base64
import math
from array import array
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Json = dict[str, Any]
BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_WIDTHS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
_CODES = {2: "H", 4: "I", 8: "Q"}
_INLINE = 1024  # bytes of a binary value that still stands in the metadata
_INTEGERS = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
_REALS = frozenset({"DS", "FD", "FL"})


def data_set(found: "Dataset", bulk: Callable[[str], str], *, little: bool, path: str = "") -> Json:
    """All elements but group 2 and group lengths. `bulk(path)` gives the URI of the value at a path of tags and item
    numbers (from 1) joined by slashes; `little`: the byte order the values were read in.
    """
    made: Json = {}
    for tag in sorted(found.keys()):
        if tag.group == 2 or tag.element == 0:
            continue
        name = f"{int(tag):08X}"
        made[name] = element(found, int(tag), bulk, little=little, path=f"{path}{name}")
    return made


def element(
    found: "Dataset", tag: int, bulk: Callable[[str], str] | None = None, *, little: bool = True, path: str = ""
) -> Json:
    """One element. A value that does not fit its VR is given as its bytes (UN), never as something else."""
    raw = found.get_item(tag)
    assert raw is not None
    stored = getattr(raw, "value", None)
    try:
        one = found[tag]
        vr = str(one.VR)
        if vr == "SQ":
            items = [
                data_set(item, bulk or (lambda _path: ""), little=little, path=f"{path}/{number}/")
                for number, item in enumerate(one.value or [], 1)
            ]
            return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        if vr in BINARY or isinstance(one.value, bytes):
            return _binary(one.value or b"", vr if vr in BINARY else "UN", bulk, little=little, path=path)
        values = list(_values(one.value, vr))
        return {"vr": vr, "Value": values} if any(value is not None for value in values) else {"vr": vr}
    except Exception:  # pydicom raises whatever it meets in bytes that break the rules
        return _binary(stored if isinstance(stored, bytes) else b"", "UN", bulk, little=True, path=path)


def _binary(value: bytes, vr: str, bulk: Callable[[str], str] | None, *, little: bool, path: str) -> Json:
    if not value:
        return {"vr": vr}
    if bulk and len(value) > _INLINE:
        return {"vr": vr, "BulkDataURI": bulk(path)}
    return {"vr": vr, "InlineBinary": base64.b64encode(value if little else swapped(value, vr)).decode()}


def swapped(value: bytes, vr: str) -> bytes:
    """A binary value in the other byte order (PS3.5 7.3)."""
    width = _WIDTHS.get(vr)
    if not width or len(value) % width:
        return value
    words = array(_CODES[width], value)
    words.byteswap()
    return words.tobytes()


def _values(value: Any, vr: str) -> Iterator[Any]:
    if value is None or value == "":
        return
    many = list(value) if isinstance(value, list | tuple) or _is_multiple(value) else [value]
    for one in many:
        yield _value(one, vr)


def _is_multiple(value: Any) -> bool:
    from pydicom.multival import MultiValue

    return isinstance(value, MultiValue)


def _value(one: Any, vr: str) -> Any:
    if one is None or one == "":
        return None
    if vr == "PN":
        groups = {"Alphabetic": one.alphabetic, "Ideographic": one.ideographic, "Phonetic": one.phonetic}
        return {name: group for name, group in groups.items() if group} or None
    if vr == "AT":
        return f"{int(one):08X}"
    if vr in _INTEGERS:
        return int(one)
    if vr in _REALS:
        number = float(one)
        if math.isnan(number):
            return "NaN"
        if math.isinf(number):
            return "Infinity" if number > 0 else "-Infinity"
        return int(number) if vr == "DS" and number.is_integer() and abs(number) < 1e15 else number
    return str(one)
