"""Probes of media types, methods and error responses (PS3.18 8.5, 8.7)."""

from collections.abc import Iterator

from dwcli.dicomweb import media, refs
from dwcli.dicomweb.refs import InstanceRef
from dwcli.doctor.finding import Finding, assess
from dwcli.doctor.session import NOBODY, Response, Session

ANY = media.multipart(media.DICOM, "*")
_BARE_XML = "application/dicom+xml"


def unknown_type(session: Session) -> Iterator[Finding]:
    """Request a media type that does not exist."""
    response = session.get("studies?limit=1", "application/x-unknown")
    yield assess(
        "unknown Accept",
        "8.7.5",
        "406",
        response.summary,
        response.status == 406,
        "dw goes by the response, not by what it requested",
    )


def rows_as_xml(session: Session) -> Iterator[Finding]:
    """Request rows as XML, by the media type of the standard and by its bare form."""
    there = _is_xml(session.get("studies?limit=1", media.DICOM_XML))
    bare = session.get("studies?limit=1", _BARE_XML)
    found = {
        (True, True): "by either type",
        (True, False): "by the type of the standard",
        (False, True): f"only as bare {_BARE_XML}",
    }.get((there, _is_xml(bare)), f"none ({bare.summary})")
    yield assess(
        "rows as XML", "8.7.3.2", f"for {media.DICOM_XML}", found, there, "dw requests JSON; -f xml still works"
    )


def metadata_as_xml(session: Session) -> Iterator[Finding]:
    """Request metadata as XML, by both media types."""
    if not session.sample:
        return
    path = f"{refs.path(session.sample)}/metadata"
    responses = [session.get(path, accept) for accept in (media.DICOM_XML, _BARE_XML)]
    if all(response.absent for response in responses):
        return
    there, bare = map(_is_xml, responses)
    found = "by the type of the standard" if there else f"none ({responses[0].summary})"
    if bare:
        found = "by either type" if there else f"only as bare {_BARE_XML}"
    yield assess(
        "metadata as XML",
        "8.7.3.2",
        f"for {media.DICOM_XML}",
        found,
        there,
        "dw requests JSON; -f xml still works",
    )
    if there and not bare:
        yield assess(
            f"metadata as {_BARE_XML}",
            "8.7.5",
            "XML, or 406",
            responses[1].summary,
            responses[1].status == 406,
            "dw never requests this type",
        )


def _is_xml(response: Response) -> bool:
    return response.ok and response.kind in (media.Body.XML, media.Body.MULTIPART)


def head(session: Session) -> Iterator[Finding]:
    """Send HEAD, which HTTP requires wherever GET is supported."""
    response = session.get("studies?limit=1", method="HEAD")
    yield assess(
        "HEAD /studies",
        "RFC 9110 9.3.2",
        "as GET, without a body",
        response.summary,
        response.ok,
        "dw does not need it",
    )


def options(session: Session) -> Iterator[Finding]:
    """Send OPTIONS, by which a server may list its capabilities."""
    response = session.get("studies", method="OPTIONS")
    yield assess(
        "OPTIONS /studies",
        "8.9",
        "200, 204 or 405",
        response.summary,
        response.ok or response.status == 405,
        "dw does not need it",
    )


def unknown_path(session: Session) -> Iterator[Finding]:
    """Request a path that does not exist."""
    response = session.get("dw-doctor-no-such-resource")
    yield assess(
        "unknown path",
        "8.5",
        "400 or 404",
        response.summary,
        response.status in (400, 404),
        "a wrong URL looks like success; dw tells a web page from DICOM",
    )


def unknown_study(session: Session) -> Iterator[Finding]:
    """Request the metadata of an unknown study, and the study itself."""
    error = session.get(f"studies/{NOBODY}/metadata")
    clue = error.body.decode("utf-8", "replace")
    cannot = "dw cannot distinguish absent from refused"
    yield assess("unknown study", "8.5", "404", error.summary, error.status in (404, 410), cannot, clue=clue)
    if error.body:
        yield assess(
            "body of an error",
            "8.4.3",
            "with a Content-Type",
            error.content_type[:60] or "without a Content-Type",
            bool(error.content_type),
            "dw reads it without one",
        )
    whole = session.get(f"studies/{NOBODY}", ANY)
    yield assess("retrieving an unknown study", "10.4.3.1", "404", whole.summary, whole.status in (404, 410), cannot)


def unknown_instance(session: Session) -> Iterator[Finding]:
    """Request an unknown instance."""
    response = session.get(refs.path(InstanceRef(NOBODY, NOBODY, NOBODY)), ANY)
    yield assess(
        "unknown instance",
        "10.4.3.1",
        "404",
        response.summary,
        response.status in (404, 410),
        "dw cannot distinguish absent from refused",
    )


PROBES = (unknown_type, rows_as_xml, metadata_as_xml, head, options, unknown_path, unknown_study, unknown_instance)
