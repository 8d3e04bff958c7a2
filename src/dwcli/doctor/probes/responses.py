"""The doctor's look at media types, methods and refusals (PS3.18 8.5, 8.7)."""

from collections.abc import Iterator

from dwcli.dicomweb import media, refs
from dwcli.dicomweb.refs import InstanceRef
from dwcli.doctor.finding import Answer, Finding, judged
from dwcli.doctor.session import NOBODY, Examination

ANY = media.multipart(media.DICOM, "*")
_BARE_XML = "application/dicom+xml"


def unknown_type(patient: Examination) -> Iterator[Finding]:
    """A media type that nobody has."""
    answer = patient.get("studies?limit=1", "application/x-unknown")
    yield judged(
        "unknown Accept",
        "8.7.5",
        "406",
        answer.words,
        answer.status == 406,
        "dw looks at what came, not at what it asked for",
    )


def xml(patient: Examination) -> Iterator[Finding]:
    """Rows in XML, by the standard's name for them and by a shorter one."""
    there = _is_xml(patient.get("studies?limit=1", media.DICOM_XML))
    bare = patient.get("studies?limit=1", _BARE_XML)
    found = {
        (True, True): "by either name",
        (True, False): "as the standard has it",
        (False, True): f"only as bare {_BARE_XML}",
    }.get((there, _is_xml(bare)), f"none ({bare.words})")
    yield judged(
        "XML of rows", "8.7.3.2", f"for {media.DICOM_XML}", found, there, "dw asks for JSON; -f xml works all the same"
    )


def xml_of_metadata(patient: Examination) -> Iterator[Finding]:
    """The same for metadata."""
    if not patient.sample:
        return
    path = f"{refs.path(patient.sample)}/metadata"
    answers = [patient.get(path, accept) for accept in (media.DICOM_XML, _BARE_XML)]
    if all(answer.absent for answer in answers):
        return
    there, bare = map(_is_xml, answers)
    found = "as the standard has it" if there else f"none ({answers[0].words})"
    if bare:
        found = "by either name" if there else f"only as bare {_BARE_XML}"
    yield judged(
        "XML of metadata",
        "8.7.3.2",
        f"for {media.DICOM_XML}",
        found,
        there,
        "dw asks for JSON; -f xml works all the same",
    )
    if there and not bare:
        yield judged(
            f"metadata as {_BARE_XML}",
            "8.7.5",
            "XML, or 406",
            answers[1].words,
            answers[1].status == 406,
            "dw never asks so",
        )


def _is_xml(answer: Answer) -> bool:
    return answer.ok and answer.kind in (media.Body.XML, media.Body.MULTIPART)


def head(patient: Examination) -> Iterator[Finding]:
    """HEAD, which HTTP wants wherever GET is."""
    answer = patient.get("studies?limit=1", method="HEAD")
    yield judged(
        "HEAD /studies", "RFC 9110 9.3.2", "as GET, without a body", answer.words, answer.ok, "dw does not need it"
    )


def options(patient: Examination) -> Iterator[Finding]:
    """OPTIONS, by which a server may tell what it can."""
    answer = patient.get("studies", method="OPTIONS")
    yield judged(
        "OPTIONS /studies",
        "8.9",
        "200, 204 or 405",
        answer.words,
        answer.ok or answer.status == 405,
        "dw does not need it",
    )


def unknown_path(patient: Examination) -> Iterator[Finding]:
    """An address that means nothing."""
    answer = patient.get("dw-doctor-no-such-resource")
    yield judged(
        "unknown path",
        "8.5",
        "400 or 404",
        answer.words,
        answer.status in (400, 404),
        "a wrong address looks like success; dw looks at what came, and tells a web page from DICOM",
    )


def unknown_study(patient: Examination) -> Iterator[Finding]:
    """A study that nobody has: its metadata, and itself."""
    error = patient.get(f"studies/{NOBODY}/metadata")
    clue = error.body.decode("utf-8", "replace")
    cannot = "dw cannot tell absent from refused"
    yield judged("unknown study", "8.5", "404", error.words, error.status in (404, 410), cannot, clue=clue)
    if error.body:
        yield judged(
            "body of an error",
            "8.4.3",
            "with a Content-Type",
            error.content_type[:60] or "without a Content-Type",
            bool(error.content_type),
            "dw reads it whatever its type",
        )
    whole = patient.get(f"studies/{NOBODY}", ANY)
    yield judged("unknown study, retrieved", "10.4.3.1", "404", whole.words, whole.status in (404, 410), cannot)


def unknown_instance(patient: Examination) -> Iterator[Finding]:
    """An instance that nobody has."""
    answer = patient.get(refs.path(InstanceRef(NOBODY, NOBODY, NOBODY)), ANY)
    yield judged(
        "unknown instance",
        "10.4.3.1",
        "404",
        answer.words,
        answer.status in (404, 410),
        "dw cannot tell absent from refused",
    )


CHECKS = (unknown_type, xml, xml_of_metadata, head, options, unknown_path, unknown_study, unknown_instance)
