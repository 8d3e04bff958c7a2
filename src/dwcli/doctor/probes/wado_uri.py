"""Probes of WADO-URI (PS3.18 chapter 9), at the URL of the dialect or where most servers have it."""

from collections.abc import Iterator
from urllib.parse import quote, urljoin

from dwcli.dicomweb import media
from dwcli.dicomweb.refs import InstanceRef
from dwcli.doctor.finding import Finding, assess
from dwcli.doctor.probes.retrieve import transfer_syntax
from dwcli.doctor.session import NOBODY, Response, Session

_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_DICOM = "&contentType=application/dicom"


def wado_uri(session: Session) -> Iterator[Finding]:
    """Check whether WADO-URI is supported, and if so, how."""
    if not session.sample:
        return
    address = session.client.dialect.wado_uri or "../wado"
    plain = _get(session, address, _DICOM)
    there = plain.delivered and plain.kind is media.Body.DICOM
    yield Finding(
        "WADO-URI",
        "9.3",
        "optional",
        f"at {address}" if there else f"none at {address} ({plain.summary})",
        "" if there else "--wado-uri does not work",
        setting={"wado_uri": address} if there else {},
    )
    if not there:
        return
    encoded = _get(session, address, "&contentType=application%2Fdicom")
    yield assess(
        "WADO-URI encoding",
        "8.3.1",
        "percent-decoded",
        f"application%2Fdicom: {encoded.summary}",
        encoded.delivered,
        "dw does not encode the slash",
    )
    yield from _converted(session, address, plain)
    yield from _rendered(session, address)
    unknown = _get(session, address, _DICOM, InstanceRef(NOBODY, NOBODY, NOBODY))
    yield assess(
        "WADO-URI of an unknown instance",
        "8.5",
        "404",
        unknown.summary,
        unknown.status in (404, 410),
        "dw cannot distinguish absent from refused",
    )


def _converted(session: Session, address: str, plain: Response) -> Iterator[Finding]:
    """Request another transfer syntax, and a de-identified instance."""
    stored = transfer_syntax(plain)
    other = _EXPLICIT if stored == _IMPLICIT else _IMPLICIT
    changed = _get(session, address, f"{_DICOM}&transferSyntax={other}")
    ignored = changed.delivered and transfer_syntax(changed) == stored
    yield assess(
        "WADO-URI transferSyntax",
        "9.4.1.2",
        "converted, or refused",
        "ignored: sent as stored" if ignored else changed.summary,
        not ignored,
        "--wado-uri --transfer-syntax retrieves the stored transfer syntax",
    )
    anonymous = _get(session, address, f"{_DICOM}&anonymize=yes")
    same = anonymous.delivered and anonymous.body == plain.body
    yield assess(
        "WADO-URI anonymize",
        "9.4.1.2.1",
        "de-identified, or refused",
        "ignored: sent as stored" if same else anonymous.summary,
        not same,
        "dw retrieve --anonymize checks each instance and discards identified ones",
    )


def _rendered(session: Session, address: str) -> Iterator[Finding]:
    """Request the default type, a JPEG, and a smaller one."""
    image = _get(session, address, "")
    jpeg = image.delivered and image.body.startswith(b"\xff\xd8")
    honest = "jpeg" in image.content_type or not jpeg
    yield assess(
        "WADO-URI image",
        "9.3",
        "image/jpeg",
        image.summary if honest else f"a JPEG labelled {media.parse(image.content_type).type[:60]}",
        jpeg and honest,
        "dw requests only DICOM here, never images",
    )
    if not jpeg:
        return
    small = _get(session, address, "&rows=4&columns=4")
    ignored = small.delivered and small.body == image.body
    yield assess(
        "WADO-URI rows and columns",
        "9.5.1.2",
        "an image of that size",
        "ignored: sent at full size" if ignored else small.summary,
        not ignored,
        "dw requests only DICOM here, never images",
    )


def _get(session: Session, address: str, more: str, ref: InstanceRef | None = None) -> Response:
    ref = ref or session.sample
    assert ref
    names = zip(("studyUID", "seriesUID", "objectUID"), (ref.study, ref.series, ref.instance), strict=True)
    pairs = "&".join(f"{name}={quote(uid, safe='')}" for name, uid in names)
    url = urljoin(f"{session.client.base}/", address)
    return session.get(f"{url}?requestType=WADO&{pairs}{more}", "*/*", Accept_Encoding="identity")


PROBES = (wado_uri,)
