"""The data elements of an instance, as lines of a tree or a table."""

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from dwcli.dicomweb import dicomjson, dictionary
from dwcli.dicomweb.dicomjson import Row
from dwcli.output.text import visible


def _elements(row: Row) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """Yield (tag as received, VR, keyword or "", element) in tag order."""
    for tag in sorted(row, key=str.upper):
        element = row[tag] if isinstance(row[tag], dict) else {}
        number = tag.upper()
        yield tag, str(element.get("vr") or dictionary.vr(number)), dictionary.keyword(number), element


def _value(row: Row, tag: str, element: Mapping[str, Any]) -> str:
    if "BulkDataURI" in element:
        return f"<bulk {element['BulkDataURI']}>"
    if "InlineBinary" in element:
        coded = "".join(str(element["InlineBinary"]).split())
        return f"<{len(coded) * 3 // 4 - coded[-2:].count('=')} bytes>"
    return dicomjson.text(row, tag)


def _items(row: Row, tag: str) -> list[Row]:
    return [item if isinstance(item, dict) else {} for item in dicomjson.values(row, tag)]


def leaves_of(row: Row, path: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield (path of tags, VR, keyword, value) of every element except sequences with items."""
    for tag, vr, keyword, element in _elements(row):
        here = path + tag.upper()
        items = _items(row, tag) if vr == "SQ" else []
        if not items:
            yield here, vr, keyword, "" if vr == "SQ" else _value(row, tag, element)
        for number, item in enumerate(items, 1):
            yield from leaves_of(item, f"{here}[{number}].")


def branches_of(row: Row, depth: int) -> Iterator[tuple[int, str, str, str]]:
    """Yield (depth, tag as dcmdump writes it, VR and keyword, value) of every line of the tree, escaped."""
    for tag, vr, keyword, element in _elements(row):
        number = tag.upper()
        shown = f"({number[:4]},{number[4:]})" if len(number) == 8 else number
        about = visible(f"{vr} {keyword or _nameless(number)}")
        if vr != "SQ":
            yield depth, visible(shown), about, visible(_value(row, tag, element))
            continue
        items = _items(row, tag)
        yield depth, visible(shown), about, f"{len(items)} item{'' if len(items) == 1 else 's'}"
        for count, item in enumerate(items, 1):
            yield from chain([(depth + 1, f"Item {count}", "", "")], branches_of(item, depth + 2))


def _nameless(tag: str) -> str:
    """Return a substitute for a keyword. Private creators: elements 0010 to 00FF of an odd group (PS3.5 7.8.1)."""
    if not re.fullmatch("[0-9A-F]{3}[13579BDF][0-9A-F]{4}", tag):
        return "Unknown"
    return "PrivateCreator" if "0010" <= tag[4:] <= "00FF" else "Private"
