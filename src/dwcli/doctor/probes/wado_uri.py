"""The doctor's look at WADO-URI (PS3.18 chapter 9), at the address of the dialect or where most servers have it."""

from collections.abc import Iterator
from urllib.parse import quote, urljoin

from dwcli.dicomweb import media
from dwcli.dicomweb.refs import InstanceRef
from dwcli.doctor.finding import Answer, Finding, judged
from dwcli.doctor.probes.retrieve import syntax
from dwcli.doctor.session import NOBODY, Examination

_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_DICOM = "&contentType=application/dicom"


def wado_uri(patient: Examination) -> Iterator[Finding]:
    """Is there one? Then everything else about it."""
    if not patient.sample:
        return
    address = patient.client.dialect.wado_uri or "../wado"
    plain = _asked(patient, address, _DICOM)
    there = plain.full and plain.kind is media.Body.DICOM
    yield Finding(
        "WADO-URI",
        "9.3",
        "optional",
        f"at {address}" if there else f"none at {address} ({plain.words})",
        "" if there else "--wado-uri cannot be used",
        setting={"wado_uri": address} if there else {},
    )
    if not there:
        return
    encoded = _asked(patient, address, "&contentType=application%2Fdicom")
    yield judged(
        "WADO-URI encoding",
        "8.3.1",
        "percent-decoded",
        f"application%2Fdicom: {encoded.words}",
        encoded.full,
        "dw leaves the slash as it is",
    )
    yield from _converted(patient, address, plain)
    yield from _pictured(patient, address)
    unknown = _asked(patient, address, _DICOM, InstanceRef(NOBODY, NOBODY, NOBODY))
    yield judged(
        "WADO-URI of an unknown instance",
        "8.5",
        "404",
        unknown.words,
        unknown.status in (404, 410),
        "dw cannot tell absent from refused",
    )


def _converted(patient: Examination, address: str, plain: Answer) -> Iterator[Finding]:
    """Another transfer syntax, and no patient in it."""
    stored = syntax(plain)
    other = _EXPLICIT if stored == _IMPLICIT else _IMPLICIT
    changed = _asked(patient, address, f"{_DICOM}&transferSyntax={other}")
    ignored = changed.full and syntax(changed) == stored
    yield judged(
        "WADO-URI transferSyntax",
        "9.4.1.2",
        "converted, or refused",
        "ignored: it comes as stored" if ignored else changed.words,
        not ignored,
        "--wado-uri --transfer-syntax brings what is stored",
    )
    anonymous = _asked(patient, address, f"{_DICOM}&anonymize=yes")
    same = anonymous.full and anonymous.body == plain.body
    yield judged(
        "WADO-URI anonymize",
        "9.4.1.2.1",
        "without the patient, or refused",
        "ignored: it comes as stored" if same else anonymous.words,
        not same,
        "dw retrieve --anonymize looks at what comes, and does not keep it",
    )


def _pictured(patient: Examination, address: str) -> Iterator[Finding]:
    """What comes where no type is said: a JPEG."""
    picture = _asked(patient, address, "")
    jpeg = picture.full and picture.body.startswith(b"\xff\xd8")
    honest = "jpeg" in picture.content_type or not jpeg
    yield judged(
        "WADO-URI picture",
        "9.3",
        "image/jpeg",
        picture.words if honest else f"a JPEG that says {media.parse(picture.content_type).type[:60]}",
        jpeg and honest,
        "dw asks for DICOM here, never for pictures",
    )
    if not jpeg:
        return
    small = _asked(patient, address, "&rows=4&columns=4")
    ignored = small.full and small.body == picture.body
    yield judged(
        "WADO-URI rows and columns",
        "9.5.1.2",
        "a picture of that size",
        "ignored: it comes as large as ever" if ignored else small.words,
        not ignored,
        "dw asks for DICOM here, never for pictures",
    )


def _asked(patient: Examination, address: str, more: str, ref: InstanceRef | None = None) -> Answer:
    ref = ref or patient.sample
    assert ref
    names = zip(("studyUID", "seriesUID", "objectUID"), (ref.study, ref.series, ref.instance), strict=True)
    pairs = "&".join(f"{name}={quote(uid, safe='')}" for name, uid in names)
    url = urljoin(f"{patient.client.base}/", address)
    return patient.get(f"{url}?requestType=WADO&{pairs}{more}", "*/*", Accept_Encoding="identity")


CHECKS = (wado_uri,)
