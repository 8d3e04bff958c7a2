"""Reading Accept as a server does: which of the offered forms the client takes (PS3.18 8.7)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from dwcli.archive.reply import Refusal
from dwcli.dicomweb import media
from dwcli.dicomweb.media import DICOM, DICOM_JSON, JSON, OCTETS, MediaType

EXPLICIT = "1.2.840.10008.1.2.1"
_QUOTED = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One form that the client accepts. `transfer_syntax`: a UID, `*` for as stored, "" for the default."""

    kind: str
    multipart: bool
    transfer_syntax: str = ""


def ranges(header: str) -> list[MediaType]:
    """The media ranges of an Accept header, the most wanted first, those of weight 0 left out."""
    weighted = []
    # A quotation that does not end takes the rest with it.
    masked = _QUOTED.sub(lambda found: " " * len(found[0]), header)
    cuts = [-1, *(at for at, char in enumerate(masked) if char == ","), len(header)]
    for start, end in pairwise(cuts):
        piece = header[start + 1 : end]
        found = media.parse(piece.strip())
        try:
            weight = float(found.params.get("q", "1"))
        except ValueError:
            weight = 0.0
        if found.type and weight > 0:
            weighted.append((weight, found))
    return [found for _, found in sorted(weighted, key=lambda pair: -pair[0])]


def wants_json(header: str) -> str:
    """The media type of a JSON response. Raises Refusal 406 where the client takes none."""
    if not header.strip():
        return DICOM_JSON
    for found in ranges(header):
        if found.type in (DICOM_JSON, "*/*", "application/*"):
            return DICOM_JSON
        if found.type == JSON:
            return JSON
    raise Refusal(406, f"this archive responds with {DICOM_JSON} only")


def wanted(header: str) -> list[Wanted]:
    """How the client takes DICOM, frames or bulk data: multipart or in one, of which type, in which syntax."""
    found: list[Wanted] = []
    for one in ranges(header or "*/*"):
        syntax = one.params.get("transfer-syntax", "")
        if one.type in ("*/*", "multipart/*"):
            found.append(Wanted("*", True, syntax or "*"))
            if one.type == "*/*":
                found.append(Wanted("*", False, syntax or "*"))
        elif one.type == "multipart/related":
            # Some clients put the transfer syntax inside the quotes of `type`.
            inner = media.parse(one.params.get("type", "*"))
            kind = "*" if inner.type in ("*", "*/*") else inner.type
            inside = syntax or inner.params.get("transfer-syntax", "")
            found.append(Wanted(kind, True, inside or ("*" if kind == "*" else "")))
        else:
            found.append(Wanted(one.type, False, syntax))
    return found


def wants_dicom(header: str) -> list[Wanted]:
    """The ways in which the client takes DICOM files. Raises Refusal 406 where there is none."""
    ways = [way for way in wanted(header) if way.kind in (DICOM, "application/*", "*")]
    if not ways:
        raise Refusal(406, f'this archive sends {DICOM}, alone or as multipart/related; type="{DICOM}"')
    return ways


def wants_picture(header: str, offered: Sequence[str]) -> tuple[str, bool]:
    """The image type, and whether the client wants it as multipart. Raises Refusal 406."""
    if not header.strip():
        return offered[0], False
    for way in wanted(header):
        if way.kind == "*" or way.kind == "image/*":
            return offered[0], way.multipart and "multipart" in header
        if way.kind in offered:
            return way.kind, way.multipart
    raise Refusal(406, f"this archive renders {' and '.join(offered)} only")


def stored_type(syntax: str) -> str:
    """The media type of a frame as it is stored (PS3.18 table 8.7.3-5)."""
    return media.compressed_type(syntax) or OCTETS
