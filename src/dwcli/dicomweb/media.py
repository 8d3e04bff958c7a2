"""Media types: what to ask for, what came, and what to ask for next (PS3.18 8.7)."""

import re
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from dwcli.dicomweb.dialects import Dialect
from dwcli.dicomweb.kinds import Kind, kind_of
from dwcli.dicomweb.refs import Level
from dwcli.errors import UsageError, did_you_mean

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
JSON = "application/json"
DICOM_XML = 'multipart/related; type="application/dicom+xml"'
OCTETS = "application/octet-stream"


class MediaType(NamedTuple):
    """A parsed Content-Type: `type` in lower case, parameter names in lower case, values unquoted."""

    type: str
    params: MappingProxyType[str, str] = MappingProxyType({})

    @property
    def boundary(self) -> str | None:
        """The multipart boundary, None where the header has none."""
        return self.params.get("boundary") or None


_NAME = re.compile(r';\s*([^\s=;"]+)\s*=\s*')
_QUOTED = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"')
_BARE = re.compile(r"[^;]*")


def parse(header: str) -> MediaType:
    """A Content-Type header, quoted or not, in any order and case; an empty one gives an empty type.

    It takes time in proportion to its length: a quotation that does not end is looked for once.
    """
    kind, _, _ = header.partition(";")
    params: dict[str, str] = {}
    ends = True
    at = 0
    while match := _NAME.search(header, at):
        at = match.end()
        quoted = _QUOTED.match(header, at) if ends and header[at : at + 1] == '"' else None
        if quoted:
            value, at = re.sub(r"\\(.)", r"\1", quoted[1]), quoted.end()
        else:
            ends = ends and header[at : at + 1] != '"'
            bare = _BARE.match(header, at)
            assert bare
            value, at = bare[0].strip(), bare.end()
        params.setdefault(match[1].lower(), value)
    return MediaType(kind.strip().lower(), MappingProxyType(params))


class Body(Enum):
    """What a response body really is."""

    MULTIPART = "multipart"
    DICOM = "DICOM"
    JSON = "JSON"
    XML = "XML"
    HTML = "HTML"
    PICTURE = "picture"
    EMPTY = "empty"
    OTHER = "other"


def classify(header: str, head: bytes) -> Body:
    """What a body is, by its first bytes before its Content-Type: servers mislabel (Orthanc calls JPEG image/png)."""
    media = parse(header)
    kind = kind_of(head)
    if kind is Kind.EMPTY:
        return Body.EMPTY
    if head[128:132] == b"DICM":
        return Body.DICOM
    if media.type.startswith("multipart/"):
        return Body.MULTIPART
    if kind is Kind.HTML:
        return Body.HTML
    if media.type == OCTETS:
        return Body.OTHER  # pixels may begin with any byte, `[`, `<` and the head of a JPEG among them
    if kind in (Kind.PNG, Kind.JPEG, Kind.JPEG_LS, Kind.GIF):
        return Body.PICTURE
    if kind is Kind.XML:
        return Body.XML
    if kind is Kind.JSON:
        return Body.JSON
    if not media.type and head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"--"):
        return Body.MULTIPART  # Shanoir relays bodies without a Content-Type
    if media.type == DICOM:
        return Body.DICOM
    if media.type.startswith(("image/", "video/")):
        return Body.PICTURE
    return Body.OTHER


def multipart(kind: str, transfer_syntax: str = "") -> str:
    """One media range for a multipart response; `type` is quoted, the transfer syntax is not (PS3.18 8.7.3.5.2)."""
    suffix = f"; transfer-syntax={transfer_syntax}" if transfer_syntax else ""
    return f'multipart/related; type="{kind}"{suffix}'


def unquoted(accept: str) -> str:
    """The same media range with its `type` bare."""
    return re.sub(r'type="([^"]*)"', r"type=\1", accept)


def single(kind: str, transfer_syntax: str = "") -> str:
    """One media range for a single-part response."""
    return f"{kind}; transfer-syntax={transfer_syntax}" if transfer_syntax else kind


def retrieve_ladder(level: Level, transfer_syntax: str, dialect: Dialect) -> list[str]:
    """What to ask for, one Accept at a time, until the server gives something (facts: one media range, no `q`).

    `transfer_syntax`: a UID, or `*` for as stored. A UID that the user chose has no rung that would bring another.
    """
    asked = transfer_syntax if dialect.transfer_syntax_any or transfer_syntax != "*" else ""
    rungs = [multipart(DICOM, asked)]
    if level is Level.INSTANCE:
        rungs.insert(0 if dialect.single_part else 1, single(DICOM, asked))
    if transfer_syntax == "*":
        rungs.append(multipart(DICOM))
        if level is Level.INSTANCE:
            rungs.append("*/*")
    return list(dict.fromkeys(rungs))


def rows_ladder(first: str) -> list[str]:
    """The same for searches and metadata: JSON by either of its names, then XML."""
    return list(dict.fromkeys([first, DICOM_JSON, JSON, DICOM_XML]))


def frames_ladder(transfer_syntax: str) -> list[str]:
    """The same for frames: raw little endian first, as it is by default; then as stored; then one part."""
    if transfer_syntax:
        kind = compressed_type(transfer_syntax)
        older = [multipart(_OLDER[kind], transfer_syntax)] if kind in _OLDER else []
        return [multipart(OCTETS, transfer_syntax), multipart(kind, transfer_syntax), *older]
    return [multipart(OCTETS), multipart(OCTETS, "*"), OCTETS]


def bulkdata_ladder() -> list[str]:
    """The same for bulk data."""
    return [multipart(OCTETS), OCTETS, "*/*"]


# What these types were called before 2015 (Orthanc's first plugins know no others).
_OLDER = {
    "image/jpeg": "image/dicom+jpeg",
    "image/dicom-rle": "image/x-dicom-rle",
    "image/jls": "image/x-jls",
    "image/jp2": "image/dicom+jp2",
    "image/jpx": "image/dicom+jpx",
}

_COMPRESSED = {
    "50": "image/jpeg",
    "51": "image/jpeg",
    "57": "image/jpeg",
    "70": "image/jpeg",
    "80": "image/jls",
    "81": "image/jls",
    "90": "image/jp2",
    "91": "image/jp2",
    "92": "image/jpx",
    "93": "image/jpx",
    "201": "image/jphc",
    "202": "image/jphc",
    "203": "image/jphc",
    "110": "image/jxl",
    "111": "image/jxl",
    "112": "image/jxl",
    **dict.fromkeys(("100", "101"), "video/mpeg"),
    **dict.fromkeys(("102", "103", "104", "105", "106"), "video/mp4"),
}


def compressed_type(transfer_syntax: str) -> str:
    """The media type of compressed pixel data (PS3.18 table 8.7.3-5); octets where the standard has none."""
    if transfer_syntax == "1.2.840.10008.1.2.5":
        return "image/dicom-rle"
    return _COMPRESSED.get(transfer_syntax.removeprefix("1.2.840.10008.1.2.4."), OCTETS)


TRANSFER_SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "deflated": "1.2.840.10008.1.2.1.99",
    "big-endian": "1.2.840.10008.1.2.2",
    "jpeg": "1.2.840.10008.1.2.4.50",
    "jpeg-extended": "1.2.840.10008.1.2.4.51",
    "jpeg-lossless": "1.2.840.10008.1.2.4.70",
    "jpeg-ls-lossless": "1.2.840.10008.1.2.4.80",
    "jpeg-ls": "1.2.840.10008.1.2.4.81",
    "jpeg2000-lossless": "1.2.840.10008.1.2.4.90",
    "jpeg2000": "1.2.840.10008.1.2.4.91",
    "htj2k-lossless": "1.2.840.10008.1.2.4.201",
    "htj2k-lossless-rpcl": "1.2.840.10008.1.2.4.202",
    "htj2k": "1.2.840.10008.1.2.4.203",
    "mpeg2": "1.2.840.10008.1.2.4.100",
    "mpeg4": "1.2.840.10008.1.2.4.102",
    "rle": "1.2.840.10008.1.2.5",
}


def parse_transfer_syntax(typed: str) -> str:
    """A transfer syntax by name or UID, or `*` for as stored -> UID or `*`. Raises UsageError with near names."""
    name = typed.strip().lower()
    if name in ("*", "as-stored"):
        return "*"
    if name in TRANSFER_SYNTAXES:
        return TRANSFER_SYNTAXES[name]
    if re.fullmatch(r"[0-9]+(\.[0-9]+)+", name):
        return name
    raise UsageError(f"unknown transfer syntax {typed!r}", did_you_mean(name, [*TRANSFER_SYNTAXES, "*"]))
