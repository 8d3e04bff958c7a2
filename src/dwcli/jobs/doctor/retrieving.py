"""The doctor's look at retrieval (PS3.18 10.4 and chapter 9). Answers are begun, not read to the end."""

from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

from dwcli.dicomweb import media, multipart, part10, refs
from dwcli.dicomweb.multipart import PartData
from dwcli.dicomweb.refs import InstanceRef
from dwcli.errors import DwError
from dwcli.jobs.doctor.examination import Answer, Examination, Finding

_ANY = media.multipart(media.DICOM, "*")
_NOBODY = "2.25.17071979"


def metadata(patient: Examination) -> Iterator[Finding]:
    """Metadata, and where it says that bulk data is."""
    if not patient.sample:
        return
    path = f"{refs.path(patient.sample)}/metadata"
    answer = patient.get(path)
    good = answer.ok and answer.kind is media.Body.JSON
    yield Finding(
        "metadata",
        "200 application/dicom+json",
        answer.words,
        "" if good else "dw metadata cannot be used",
        not good,
        setting={} if good else {"missing": ["metadata"]},
    )
    uris = [
        str(element["BulkDataURI"]) for row in answer.rows() for element in row.values() if "BulkDataURI" in element
    ]
    if uris:
        away = urlsplit(uris[0]).netloc not in ("", urlsplit(patient.client.base).netloc)
        where = "on another host" if away else "absolute" if urlsplit(uris[0]).netloc else "relative"
        yield Finding("bulk data", "an address", where, "dw goes by the profile's address" if away else "", away)


def instances(patient: Examination) -> Iterator[Finding]:
    """One instance, in each of the ways that the standard has."""
    if not patient.sample:
        return
    path = refs.path(patient.sample)
    stored = patient.get(path, _ANY)
    yield Finding(
        "instance as stored",
        f"200 to {_ANY}",
        _came(stored),
        "" if stored.ok else "dw tries the other ways",
        not stored.ok,
        setting={} if stored.ok else {"transfer_syntax_any": False},
    )
    if stored.ok and stored.kind is media.Body.DICOM:
        yield Finding("parts", "multipart where multipart was asked", "one single body", "dw reads both", True)
    plain = patient.get(path, media.multipart(media.DICOM))
    before, after = _syntax(stored), _syntax(plain)
    if before and after and before != after:
        yield Finding(
            "transfer syntax",
            "Explicit VR Little Endian unless asked",
            f"{before} becomes {after}",
            "dw asks for what is stored",
        )
    elif not plain.ok:
        yield Finding("transfer syntax", "200 without one named", plain.words, "dw asks for what is stored", True)
    for name, accept in (("single part", media.single(media.DICOM, "*")), ("zip", "application/zip")):
        answer = patient.get(path, accept)
        right = answer.ok or answer.status == 406
        yield Finding(name, "200 or 406", _came(answer), "" if right else "dw takes this for a no", not right)


def studies(patient: Examination) -> Iterator[Finding]:
    """Does HTTP itself say where a study ends?"""
    if not patient.sample:
        return
    answer = patient.get(f"studies/{refs.segment(patient.sample.study)}", _ANY)
    if not answer.ok:
        yield Finding(
            "study in one answer",
            "200",
            answer.words,
            "dw fetches instance by instance",
            True,
            setting={"retrieves": ["instance"]},
        )
        return
    yield Finding(
        "length of a study",
        "Content-Length or chunks",
        "given" if answer.framed else "neither: a cut answer looks whole",
        "" if answer.framed else "dw wants the closing boundary",
        not answer.framed,
    )
    boundary = 'boundary="' in answer.content_type
    if boundary:
        yield Finding("boundary", "a token or quoted", "quoted", "dw reads both")


def pictures(patient: Examination) -> Iterator[Finding]:
    """Frames, rendered and thumbnail."""
    if not patient.sample:
        return
    path = refs.path(patient.sample)
    wanted = {
        "frames": (f"{path}/frames/1", media.multipart(media.OCTETS)),
        "rendered": (f"{path}/rendered", "image/jpeg"),
        "thumbnail": (f"{path}/thumbnail", "image/jpeg"),
    }
    for name, (where, accept) in wanted.items():
        answer = patient.get(where, accept)
        gone = answer.status in (404, 405, 501)
        yield Finding(
            name,
            f"200 {media.parse(accept).type}",
            _came(answer),
            ""
            if answer.ok
            else "dw render --local works without"
            if name != "frames"
            else "dw retrieves the whole instance",
            not answer.ok,
            setting={"missing": [name]} if gone else {},
        )
        if name == "frames" and answer.ok:
            for number in ("0", "999999"):
                none = patient.get(f"{path}/frames/{number}", accept)
                yield Finding(f"frame {number}", "400 or 404", none.words, differs=none.status not in (400, 404))
        if name == "rendered" and answer.ok:
            gif = patient.get(where, "image/gif")
            right = gif.ok or gif.status == 406
            yield Finding(
                "rendered as GIF", "200 or 406", _came(gif), "" if right else "dw takes this for a no", not right
            )


def wado_uri(patient: Examination) -> Iterator[Finding]:
    """WADO-URI, at the address of the dialect or where most servers have it."""
    if not patient.sample:
        return
    address = patient.client.dialect.wado_uri or "../wado"
    pairs = f"studyUID={patient.sample.study}&seriesUID={patient.sample.series}&objectUID={patient.sample.instance}"
    answers: dict[str, Answer] = {}
    for escaped in ("application/dicom", "application%2Fdicom", ""):
        url = (
            urljoin(f"{patient.client.base}/", address)
            + f"?requestType=WADO&{pairs}"
            + (f"&contentType={escaped}" if escaped else "")
        )
        answers[escaped] = patient.get(url, "*/*")
    plain = answers["application/dicom"]
    there = plain.ok and plain.kind is media.Body.DICOM
    yield Finding(
        "WADO-URI",
        "optional",
        f"at {address}" if there else f"none at {address} ({plain.words})",
        "" if there else "--wado-uri cannot be used",
        setting={"wado_uri": address} if there else {},
    )
    if there and not answers["application%2Fdicom"].ok:
        yield Finding(
            "WADO-URI encoding",
            "decoded",
            f"application%2Fdicom: {answers['application%2Fdicom'].words}",
            "dw leaves the slash as it is",
            True,
        )
    picture = answers[""]
    if picture.ok and picture.body.startswith(b"\xff\xd8") and "jpeg" not in picture.content_type:
        yield Finding(
            "WADO-URI picture",
            "image/jpeg",
            f"JPEG that says {media.parse(picture.content_type).type}",
            "dw goes by the bytes",
            True,
        )


def _came(answer: Answer) -> str:
    return answer.words


def _syntax(answer: Answer) -> str:
    """The transfer syntax of the first instance in an answer, empty where that cannot be read."""
    data = answer.body
    try:
        if answer.kind is media.Body.MULTIPART:
            events = multipart.Reader(media.parse(answer.content_type).boundary).feed(data)
            data = b"".join(event.data for event in events if isinstance(event, PartData))
        head = part10.read_head(data)
        return head.transfer_syntax if head else ""
    except DwError:
        return ""


def absent(patient: Examination) -> Iterator[Finding]:
    """An instance that nobody has."""
    answer = patient.get(refs.path(InstanceRef(_NOBODY, _NOBODY, _NOBODY)), _ANY)
    yield Finding(
        "unknown instance",
        "404",
        answer.words,
        "" if answer.status == 404 else "dw cannot tell absent from refused",
        answer.status not in (404, 410),
    )


CHECKS = (metadata, instances, studies, pictures, wado_uri, absent)
