"""Probes of frames, rendered images, thumbnails and bulkdata (PS3.18 10.4.1.1)."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from dwcli.dicomweb import media, refs, request
from dwcli.dicomweb.dicomjson import Row
from dwcli.doctor.finding import Finding, assess
from dwcli.doctor.probes.retrieve import first_part, multipart_head
from dwcli.doctor.session import Response, Session

_OCTETS = media.multipart(media.OCTETS)


def frames(session: Session) -> Iterator[Finding]:
    """Request one frame, and frames that do not exist."""
    if not session.sample:
        return
    path = f"{refs.path(session.sample)}/frames"
    response = session.get(f"{path}/1", _OCTETS)
    yield assess(
        "frames",
        "10.4.1.1.1",
        "200 multipart/related",
        response.summary,
        response.delivered,
        "dw retrieve frames does not work; use dw retrieve instance",
        setting={"missing": ["frames"]} if response.absent else {},
    )
    if not response.delivered:
        return
    yield from multipart_head("multipart header of frames", response)
    whole = first_part(response)[128:132] == b"DICM"
    yield assess(
        "content of a frame",
        "8.7.3.3",
        "its pixel data",
        "a whole DICOM file" if whole else "not a DICOM file",
        not whole,
        "dw retrieve frames would save DICOM files as pixel data; use dw retrieve instance",
        setting={"missing": ["frames"]},
    )
    for number in ("0", "999999", "abc"):
        none = session.get(f"{path}/{number}", _OCTETS)
        yield assess(
            f"frame {number}",
            "10.4.3.1",
            "400 or 404",
            none.summary,
            none.status in (400, 404),
            "dw never requests it" if number != "999999" else "dw cannot tell that the frame does not exist",
        )


def rendered_instance(session: Session) -> Iterator[Finding]:
    """Request a rendered instance, as JPEG and as GIF."""
    if not session.sample:
        return
    path = f"{refs.path(session.sample)}/rendered"
    response = session.get(path, "image/jpeg")
    yield assess(
        "rendered",
        "10.4.1.1.3",
        "200 image/jpeg",
        response.summary,
        response.delivered,
        "dw render renders the image itself",
        setting={"missing": ["rendered"]} if response.absent else {},
    )
    if response.delivered:
        gif = session.get(path, "image/gif")
        yield assess(
            "rendered as GIF",
            "8.7.4",
            "200 or 406",
            gif.summary,
            gif.delivered or gif.status == 406,
            "dw requests PNG or JPEG only",
        )


def rendered_study(session: Session) -> Iterator[Finding]:
    """Request a rendered study of several instances, for which one image is not enough (PS3.18 8.7.4)."""
    if not session.sample or session.count < 2:
        return
    response = session.get(f"studies/{refs.segment(session.sample.study)}/rendered", "image/jpeg")
    single = response.delivered and response.kind is media.Body.PICTURE
    yield assess(
        "rendered study",
        "8.7.4",
        "an image of each instance, or 406",
        f"one image of {session.count} instances" if single else response.summary,
        not single and (response.delivered or response.status in (404, 406)),
        "dw render of a study shows only one of its instances" if single else "dw render of a study fails",
    )


def thumbnail(session: Session) -> Iterator[Finding]:
    """Request a thumbnail."""
    if not session.sample:
        return
    response = session.get(f"{refs.path(session.sample)}/thumbnail", "image/jpeg")
    yield assess(
        "thumbnail",
        "10.4.1.1.4",
        "200 image/jpeg",
        response.summary,
        response.delivered,
        "dw render --thumbnail requests a small rendered image instead",
        setting={"missing": ["thumbnail"]} if response.absent else {},
    )


def bulkdata(session: Session) -> Iterator[Finding]:
    """Request bulkdata by a BulkDataURI of the metadata."""
    if not session.sample:
        return
    path = f"{refs.path(session.sample)}/metadata"
    rows = session.get(path).rows()
    uri = next((str(element["BulkDataURI"]) for row in rows for element in row.values() if _has_uri(element)), "")
    if not uri:
        yield from _without_uri(session, rows)
        return
    away = urlsplit(uri).netloc not in ("", urlsplit(session.client.base).netloc)
    where = "on another host" if away else "absolute" if urlsplit(uri).netloc else "relative"
    yield assess("BulkDataURI", "F.2.2", "a URI on this server", where, not away, "dw uses its own base URL")
    url = request.rebase(uri, session.client.base, f"{session.client.base}/{path}")
    if refs.origin(url) != refs.origin(session.client.base):
        return
    parts, single = (session.get(url, accept, Accept_Encoding="identity") for accept in (_OCTETS, media.OCTETS))
    there = parts.delivered or single.delivered
    yield assess(
        "bulkdata",
        "10.4.1.1.5",
        "200 multipart/related",
        parts.summary,
        there,
        "dw retrieve bulkdata does not work",
        setting={"missing": ["bulkdata"]} if parts.absent and single.absent else {},
    )
    if not there:
        return
    yield assess(
        "single-part bulkdata",
        "8.7.3.3",
        "200 or 406",
        single.summary,
        single.delivered or single.status == 406,
        "dw requests multipart first",
    )
    yield _range(session, url, _OCTETS if parts.delivered else media.OCTETS)


def _has_uri(element: object) -> bool:
    return isinstance(element, dict) and bool(element.get("BulkDataURI"))


def _range(session: Session, url: str, accept: str) -> Finding:
    partial: Response = session.get(url, accept, Accept_Encoding="identity", Range="bytes=0-9")
    ranged = partial.status == 206
    found = (
        "206 with that range"
        if ranged
        else f"ignored ({partial.status}): sends everything"
        if partial.ok
        else partial.summary
    )
    consequence = "" if ranged else "interrupted transfers start over; dw requests no ranges anyway"
    return Finding("Range of bulkdata", "RFC 9110 14.2", "optional", found, consequence)


def _without_uri(session: Session, rows: list[Row]) -> Iterator[Finding]:
    """Request all bulkdata of the instance where no metadata could name any."""
    assert session.sample
    if rows:
        yield Finding("bulkdata", "10.4.1.1.5", "optional", "no BulkDataURI in the metadata of this instance")
        return
    response = session.get(f"{refs.path(session.sample)}/bulkdata", _OCTETS)
    yield assess(
        "bulkdata",
        "10.4.1.1.5",
        "200 multipart/related",
        f"no metadata to name any; {response.summary} for /bulkdata",
        response.delivered,
        "dw retrieve bulkdata does not work",
        setting={"missing": ["bulkdata"]} if response.absent else {},
    )


PROBES = (frames, rendered_instance, rendered_study, thumbnail, bulkdata)
