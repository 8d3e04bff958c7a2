"""Probes of retrieval (PS3.18 10.4). Only the beginning of each response is read."""

import re
from collections.abc import Iterator

from dwcli.dicomweb import media, multipart, part10, refs
from dwcli.dicomweb.multipart import PartData
from dwcli.doctor.finding import Finding, assess
from dwcli.doctor.probes.responses import ANY
from dwcli.doctor.session import NOBODY, Response, Session
from dwcli.errors import DwError

# A video: no server encodes an image as one, and none is known to crash on it, as one does on JPEG-LS and JPEG 2000.
_IMPOSSIBLE = "1.2.840.10008.1.2.4.100"
_NO = "dw treats this like 406"


def metadata(session: Session) -> Iterator[Finding]:
    """Request the metadata of an instance."""
    if not session.sample:
        return
    response = session.metadata(session.sample)
    good = response.delivered and response.kind is media.Body.JSON
    yield assess(
        "metadata",
        "10.4.1.1.2",
        "200 application/dicom+json",
        response.summary,
        good,
        "dw metadata does not work",
        setting={"missing": ["metadata"]} if response.absent else {},
    )


def instance(session: Session) -> Iterator[Finding]:
    """Request one instance as stored, in the default transfer syntax, and as a single part."""
    if not session.sample:
        return
    path = refs.path(session.sample)
    stored, plain = session.get(path, ANY), session.get(path, media.multipart(media.DICOM))
    yield assess(
        "instance as stored",
        "8.7.3.5.2",
        f"200 to {ANY}",
        stored.summary,
        stored.delivered,
        "dw tries other Accept headers",
        setting={"transfer_syntax_any": False} if plain.delivered else {},
        setting_if_ok={"transfer_syntax_any": True},
    )
    if stored.delivered:
        yield assess(
            "multipart instance",
            "8.7.3.1",
            "multipart where multipart was requested",
            "a single part" if stored.kind is media.Body.DICOM else "multipart",
            stored.kind is not media.Body.DICOM,
            "dw reads both",
        )
    before, after = transfer_syntax(stored), transfer_syntax(plain)
    changed = f"{before} becomes {after}" if before and after and before != after else "as stored"
    yield assess(
        "default transfer syntax",
        "8.7.3.5.2",
        "Explicit VR Little Endian",
        changed if plain.delivered else plain.summary,
        plain.delivered,
        "dw requests the stored transfer syntax unless --transfer-syntax is given",
    )
    free, single = session.get(path, "*/*"), session.get(path, media.single(media.DICOM, "*"))
    yield assess(
        "instance with Accept: */*", "8.7.5", "200", free.summary, free.delivered, "dw requests application/dicom"
    )
    alone = single.delivered and not stored.delivered and not plain.delivered
    yield Finding(
        "single part",
        "8.7.3.1",
        "200 or 406",
        single.summary,
        "dw requests it first, as multipart is refused" if alone else "" if _sent_or_406(single) else _NO,
        not _sent_or_406(single),
        {"single_part": True} if alone else {},
    )


def _sent_or_406(response: Response) -> bool:
    return response.delivered or response.status == 406


def other_syntaxes(session: Session) -> Iterator[Finding]:
    """Request transfer syntaxes that the server cannot produce."""
    if not session.sample:
        return
    for check, uid in (("impossible transfer syntax", _IMPOSSIBLE), ("unknown transfer syntax", NOBODY)):
        response = session.get(refs.path(session.sample), media.multipart(media.DICOM, uid))
        changed = response.delivered and transfer_syntax(response) != uid
        yield assess(
            check,
            "8.7.5",
            "406",
            f"{response.summary}, in another transfer syntax" if changed else response.summary,
            response.status == 406 or (response.delivered and not changed),
            "dw saves the instance as sent"
            if changed
            else _NO
            if response.status in (400, 415)
            else "dw retrieve --transfer-syntax fails with this response",
        )


def other_types(session: Session) -> Iterator[Finding]:
    """Request an instance as application/octet-stream, and a study as a zip file."""
    if not session.sample:
        return
    octets = session.get(refs.path(session.sample), media.multipart(media.OCTETS))
    yield assess("instance as octet-stream", "8.7.3.3", "200 or 406", octets.summary, _sent_or_406(octets), _NO)
    response = session.get(f"studies/{refs.segment(session.sample.study)}", "application/zip")
    there = response.ok and response.body.startswith(b"PK")
    yield Finding(
        "zip",
        "8.7.3.3",
        "200 or 406",
        response.summary,
        "" if _sent_or_406(response) else f"{_NO}; it creates the zip itself",
        not _sent_or_406(response),
        {"zip": there},
    )


def study(session: Session) -> Iterator[Finding]:
    """Request a whole study, and check its length and its multipart header."""
    if not session.sample:
        return
    path = f"studies/{refs.segment(session.sample.study)}"
    response = session.get(path, ANY)
    if not response.delivered:
        series = session.get(f"{path}/series/{refs.segment(session.sample.series)}", ANY).delivered
        found = f"{response.summary}{'; a series: 200' if series else ''}"
        setting = {"retrieves": ["series", "instance"] if series else ["instance"]}
        how = "dw retrieves one instance at a time"
        yield Finding("study in one response", "10.4.1.1.1", "200", found, how, True, setting)
        return
    whole = {"retrieves": ["study", "series", "instance"]}
    yield Finding("study in one response", "10.4.1.1.1", "200", response.summary, setting=whole)
    check, section, standard, how = (
        "length of a study",
        "RFC 9112 6",
        "Content-Length or chunks",
        "dw requires the closing boundary",
    )
    if response.framed and session.count < 2:
        found = "given for one instance; not tried for several: no study with several instances found"
        yield Finding(check, section, standard, found, how)
    else:
        words = "given" if response.framed else "neither: a truncated response looks complete"
        yield assess(check, section, standard, words, response.framed, how)
    yield from multipart_head("multipart header of a study", response)


def multipart_head(check: str, response: Response) -> Iterator[Finding]:
    """Check the Content-Type of a multipart response, and that the body begins with its boundary."""
    if response.kind is not media.Body.MULTIPART:
        return
    head = response.content_type
    kind = media.parse(head).params.get("type", "")
    odd = [
        *(["no Content-Type"] if not head else []),
        *(["no type parameter"] if head and not kind else []),
        *(["type without quotes"] if kind and not re.search(r'type\s*=\s*"', head) else []),
        *([f"{kind.partition(';')[2].strip()[:60]} inside the quotes"] if ";" in kind else []),
        *(["a line before the first boundary"] if not response.body.startswith(b"--") else []),
    ]
    plain = "boundary in quotes" if 'boundary="' in head else "as required"
    yield assess(
        check,
        "8.6.1.2, RFC 2387",
        'type="…"; boundary=…',
        ", ".join(odd) or plain,
        not odd,
        "dw reads it anyway",
    )


def first_part(response: Response) -> bytes:
    """Return the beginning of the first part, or of the body where it is not multipart; b"" where it is unreadable."""
    if response.kind is not media.Body.MULTIPART:
        return response.body
    data = b""
    try:
        for event in multipart.Reader(media.parse(response.content_type).boundary).feed(response.body):
            match event:
                case PartData(chunk):
                    data += chunk
                case multipart.PartEnd():
                    break
                case _:
                    pass
    except DwError:
        pass
    return data


def transfer_syntax(response: Response) -> str:
    """Return the transfer syntax of the first instance in a response, empty where it is unreadable."""
    try:
        head = part10.read_head(first_part(response)) if response.delivered else None
    except DwError:
        return ""
    return head.transfer_syntax if head else ""


PROBES = (metadata, instance, other_syntaxes, other_types, study)
