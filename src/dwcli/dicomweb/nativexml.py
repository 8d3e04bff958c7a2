"""The Native DICOM Model (PS3.19 annex A.1): XML read into the model of DICOM JSON (PS3.18 annex F), and written."""

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from dwcli.dicomweb import dictionary, tags
from dwcli.dicomweb.dicomjson import Row, excerpt, number, text, values, vr_of
from dwcli.errors import ProtocolError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# Where white space at the ends is part of the value; everywhere else an XML writer may have indented it.
_VERBATIM = frozenset({"LT", "ST", "UC", "UT"})
NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"

_TAG = re.compile(r"[0-9A-F]{8}")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_NAME_PARTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_MOST_GAPS = 100_000  # in a document; a few attributes have some, where values are empty
_MARKUP = 2_000_000  # elements with their ends, and XML attributes, of a document
_PIECE = 1 << 16  # bytes read at a time


def parse(data: bytes) -> Row:
    """One NativeDicomModel document as a row of DICOM JSON; namespaces are ignored.

    Gaps in the numbering are None, numeric VRs are numbers where they can be, names lose trailing carets. A
    private attribute written without its block (`00090002` with a privateCreator) gets the block of its
    creator (`00091002`), and the creator's attribute where there was none.

    Raises:
        ProtocolError: not well-formed, not a NativeDicomModel, or with a DTD, which is never read.
    """
    from xml.etree.ElementTree import ParseError, TreeBuilder

    from defusedxml import DTDForbidden
    from defusedxml.ElementTree import DefusedXMLParser

    if data.count(b"<") + data.count(b"=") > _MARKUP:
        raise _not_model(data[:_PIECE], "it has millions of elements")
    try:
        parser = DefusedXMLParser(target=TreeBuilder(), forbid_dtd=True)
        start = len(data) - len(data.lstrip())
        for at in range(start, len(data), _PIECE):
            parser.feed(data[at : at + _PIECE])
        root: Element = parser.close()
        if _local(root) != "NativeDicomModel":
            raise _not_model(data, f"its root is {_local(root)}")
        return _Reader().data_set(root)
    except DTDForbidden:
        raise _not_model(data, "it has a DTD, which dw does not read") from None
    except (ParseError, ValueError, LookupError, RecursionError) as error:
        raise _not_model(data, str(error)) from None


def _not_model(data: bytes, why: str) -> ProtocolError:
    return ProtocolError(f"the response is not DICOM XML ({excerpt(why)}): {excerpt(data)}")


class _Reader:
    """Reads the elements of one document."""

    def __init__(self) -> None:
        self._gaps = 0

    def data_set(self, parent: "Element") -> Row:
        row: Row = {}
        for attribute in _children(parent, "DicomAttribute"):
            tag = attribute.get("tag", "").strip().upper()
            if not _TAG.fullmatch(tag):
                raise ValueError(f"an attribute has the tag {tag!r}")
            vr = attribute.get("vr", "").strip().upper() or dictionary.vr(tag)
            if creator := attribute.get("privateCreator", "").strip():
                tag = _with_block(row, tag, creator)
            row[tag] = {"vr": vr} | self._content(attribute, vr)
        return row

    def _content(self, attribute: "Element", vr: str) -> Row:
        for child in attribute:
            match _local(child):
                case "InlineBinary":
                    return {"InlineBinary": "".join((child.text or "").split())}
                case "BulkData":
                    uuid = child.get("uuid", "").strip()
                    return {"BulkDataURI": child.get("uri", "").strip() or (uuid and f"urn:uuid:{uuid}")}
        values = [
            *self._numbered(_children(attribute, "Value"), lambda value: _value(value, vr), None),
            *self._numbered(_children(attribute, "PersonName"), _person_name, None),
            *self._numbered(_children(attribute, "Item"), self.data_set, {}),
        ]
        return {"Value": values} if any(value is not None for value in values) else {}

    def _numbered(self, elements: Iterator["Element"], read: Callable[["Element"], Any], gap: Any) -> list[Any]:
        """The values in the places that their `number` names, counted from 1; without one, the next place."""
        places: dict[int, Any] = {}
        last = 0
        for element in elements:
            last = int(element.get("number") or last + 1)
            if last < 1:
                raise ValueError(f"a value has the number {last}")
            places[last] = read(element)
        length = max(places, default=0)
        self._gaps += length - len(places)
        if self._gaps > _MOST_GAPS:
            raise ValueError(f"a value has the number {length}, and those before it are missing")
        return [places.get(place, gap) for place in range(1, length + 1)]


def _with_block(row: Row, tag: str, creator: str) -> str:
    if tag[4:6] != "00":
        return tag
    for block in range(0x10, 0x100):
        reserved = row.setdefault(f"{tag[:4]}00{block:02X}", {"vr": "LO", "Value": [creator]})
        if reserved.get("Value") == [creator]:
            return f"{tag[:4]}{block:02X}{tag[6:]}"
    return tag


def _value(element: "Element", vr: str) -> Any:
    words = element.text or ""
    if vr not in _VERBATIM:
        words = words.strip()
    return number(words, vr) if words else None


def _person_name(element: "Element") -> dict[str, str] | None:
    name: dict[str, str] = {}
    for group in element:
        if _local(group) in _GROUPS:
            parts = {_local(part): (part.text or "").strip() for part in group}
            if joined := "^".join(parts.get(part, "") for part in _NAME_PARTS).rstrip("^"):
                name[_local(group)] = joined
    return name or None


def _children(parent: "Element", name: str) -> Iterator["Element"]:
    return (child for child in parent if _local(child) == name)


def _local(element: "Element") -> str:
    return str(element.tag).rpartition("}")[2]


def write(row: Row) -> str:
    """A row of DICOM JSON as one NativeDicomModel document on one line; `parse` reads it back.

    A private attribute is written without its block and names its creator (PS3.19 A.1.5). Characters that XML cannot
    hold become U+FFFD; line ends and tabs within a value stay, as character references.
    """
    return f'<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">{_attributes(row)}</NativeDicomModel>'


def _attributes(row: Row) -> str:
    return "".join(_attribute(row, tag, row[tag]) for tag in sorted(row, key=str.upper))


def _attribute(row: Row, tag: str, element: Any) -> str:
    vr = vr_of(tag, element)
    written, about = tag.upper(), ""
    if keyword := dictionary.keyword(written):
        about = f" keyword={_quoted(keyword)}"
    elif creator := _creator(row, written):
        written, about = f"{written[:4]}00{written[6:]}", f" privateCreator={_quoted(creator)}"
    start = f"<DicomAttribute tag={_quoted(written)} vr={_quoted(vr)}{about}"
    content = _written(row, tag, element, vr)
    return f"{start}>{content}</DicomAttribute>" if content else f"{start}/>"


def _creator(row: Row, tag: str) -> str:
    """The creator that reserved a private attribute's block (PS3.5 7.8.1), empty where none did."""
    private = re.fullmatch("[0-9A-F]{3}[13579BDF][0-9A-F]{4}", tag)
    return text(row, f"{tag[:4]}00{tag[4:6]}") if private and tag[4:6] != "00" else ""


def _written(row: Row, tag: str, element: Any, vr: str) -> str:
    if isinstance(element, dict):
        if "InlineBinary" in element:
            return f"<InlineBinary>{_escaped(str(element['InlineBinary']))}</InlineBinary>"
        if "BulkDataURI" in element:
            return f"<BulkData uri={_quoted(str(element['BulkDataURI']))}/>"
    return "".join(_one(value, place, vr) for place, value in enumerate(values(row, tag), 1))


def _one(value: Any, place: int, vr: str) -> str:
    if vr == "SQ":
        return f'<Item number="{place}">{_attributes(value if isinstance(value, dict) else {})}</Item>'
    if value is None or value == "":
        return ""
    if vr == "PN":
        return f'<PersonName number="{place}">{_name(value)}</PersonName>'
    words = value if isinstance(value, str) else text({"x": {"vr": vr, "Value": [value]}}, "x")
    return f'<Value number="{place}">{_escaped(words)}</Value>'


def _name(value: Any) -> str:
    spelt = text({tags.PatientName: {"vr": "PN", "Value": [value]}}, tags.PatientName).split("=")
    groups = []
    for group, name in zip(_GROUPS, spelt, strict=False):
        # A sixth part, which no name may have, stays with the fifth rather than be lost.
        parts = zip(_NAME_PARTS, name.split("^", len(_NAME_PARTS) - 1), strict=False)
        if inner := "".join(f"<{part}>{_escaped(words)}</{part}>" for part, words in parts if words):
            groups.append(f"<{group}>{inner}</{group}>")
    return "".join(groups)


def _escaped(words: str) -> str:
    clean = _NOT_XML.sub("\ufffd", words).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return clean.replace("\r", "&#13;").replace("\n", "&#10;").replace("\t", "&#9;")


def _quoted(words: str) -> str:
    return '"' + _escaped(words).replace('"', "&quot;") + '"'
