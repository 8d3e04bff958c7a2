"""The doctor's look at frames, pictures and bulk data (PS3.18 10.4.1.1)."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from dwcli.dicomweb import media, refs, request
from dwcli.dicomweb.dicomjson import Row
from dwcli.doctor.finding import Answer, Finding, judged
from dwcli.doctor.probes.retrieve import first_part, multipart_head
from dwcli.doctor.session import Examination

_OCTETS = media.multipart(media.OCTETS)


def frames(patient: Examination) -> Iterator[Finding]:
    """The pixels of one frame."""
    if not patient.sample:
        return
    path = f"{refs.path(patient.sample)}/frames"
    answer = patient.get(f"{path}/1", _OCTETS)
    yield judged(
        "frames",
        "10.4.1.1.1",
        "200 multipart/related",
        answer.words,
        answer.full,
        "dw retrieve frames cannot be used; dw retrieve instance brings the whole",
        setting={"missing": ["frames"]} if answer.absent else {},
    )
    if not answer.full:
        return
    yield from multipart_head("head of frames", answer)
    whole = first_part(answer)[128:132] == b"DICM"
    yield judged(
        "content of a frame",
        "8.7.3.3",
        "its pixels",
        "a whole DICOM file" if whole else "no DICOM file",
        not whole,
        "dw retrieve frames would write files for pixels: dw retrieve instance is what to use",
        setting={"missing": ["frames"]},
    )
    for number in ("0", "999999", "abc"):
        none = patient.get(f"{path}/{number}", _OCTETS)
        yield judged(
            f"frame {number}",
            "10.4.3.1",
            "400 or 404",
            none.words,
            none.status in (400, 404),
            "dw never asks for it" if number != "999999" else "dw cannot tell that there is no such frame",
        )


def pictures(patient: Examination) -> Iterator[Finding]:
    """An instance rendered, as JPEG and as GIF."""
    if not patient.sample:
        return
    path = f"{refs.path(patient.sample)}/rendered"
    answer = patient.get(path, "image/jpeg")
    yield judged(
        "rendered",
        "10.4.1.1.3",
        "200 image/jpeg",
        answer.words,
        answer.full,
        "dw render makes the picture itself",
        setting={"missing": ["rendered"]} if answer.absent else {},
    )
    if answer.full:
        gif = patient.get(path, "image/gif")
        yield judged(
            "rendered as GIF",
            "8.7.4",
            "200 or 406",
            gif.words,
            gif.full or gif.status == 406,
            "dw asks for PNG or JPEG only",
        )


def pictures_of_study(patient: Examination) -> Iterator[Finding]:
    """A study of several instances rendered: one picture is no answer to that (PS3.18 8.7.4)."""
    if not patient.sample or patient.count < 2:
        return
    answer = patient.get(f"studies/{refs.segment(patient.sample.study)}/rendered", "image/jpeg")
    single = answer.full and answer.kind is media.Body.PICTURE
    yield judged(
        "study rendered",
        "8.7.4",
        "a picture of each instance, or 406",
        f"one picture of {patient.count} instances" if single else answer.words,
        not single and (answer.full or answer.status in (404, 406)),
        "dw render of a study shows one of its instances" if single else "dw render of a study fails",
    )


def thumbnail(patient: Examination) -> Iterator[Finding]:
    """A small picture."""
    if not patient.sample:
        return
    answer = patient.get(f"{refs.path(patient.sample)}/thumbnail", "image/jpeg")
    yield judged(
        "thumbnail",
        "10.4.1.1.4",
        "200 image/jpeg",
        answer.words,
        answer.full,
        "dw render --thumbnail takes a small rendered picture",
        setting={"missing": ["thumbnail"]} if answer.absent else {},
    )


def bulk_data(patient: Examination) -> Iterator[Finding]:
    """Where metadata says that bulk data is, and whether it is there."""
    if not patient.sample:
        return
    asked = f"{refs.path(patient.sample)}/metadata"
    rows = patient.get(asked).rows()
    uri = next((str(element["BulkDataURI"]) for row in rows for element in row.values() if _names(element)), "")
    if not uri:
        yield from _none_named(patient, rows)
        return
    away = urlsplit(uri).netloc not in ("", urlsplit(patient.client.base).netloc)
    where = "on another host" if away else "absolute" if urlsplit(uri).netloc else "relative"
    yield judged("address of bulk data", "F.2.2", "one on this server", where, not away, "dw goes by its own address")
    url = request.rebase(uri, patient.client.base, f"{patient.client.base}/{asked}")
    if refs.origin(url) != refs.origin(patient.client.base):
        return
    parts, single = (patient.get(url, accept, Accept_Encoding="identity") for accept in (_OCTETS, media.OCTETS))
    there = parts.full or single.full
    yield judged(
        "bulk data",
        "10.4.1.1.5",
        "200 multipart/related",
        parts.words,
        there,
        "dw retrieve bulkdata cannot be used",
        setting={"missing": ["bulkdata"]} if parts.absent and single.absent else {},
    )
    if not there:
        return
    yield judged(
        "bulk data in one part",
        "8.7.3.3",
        "200 or 406",
        single.words,
        single.full or single.status == 406,
        "dw asks for parts first",
    )
    yield _range(patient, url, _OCTETS if parts.full else media.OCTETS)


def _names(element: object) -> bool:
    return isinstance(element, dict) and bool(element.get("BulkDataURI"))


def _range(patient: Examination, url: str, accept: str) -> Finding:
    cut: Answer = patient.get(url, accept, Accept_Encoding="identity", Range="bytes=0-9")
    partly = cut.status == 206
    found = "206, those bytes" if partly else f"ignored ({cut.status}): everything comes" if cut.ok else cut.words
    consequence = "" if partly else "what broke off comes again from its beginning; dw asks for no ranges anyway"
    return Finding("Range of bulk data", "RFC 9110 14.2", "optional", found, consequence)


def _none_named(patient: Examination, rows: list[Row]) -> Iterator[Finding]:
    """Nothing names any: what the standard calls all of an instance's bulk data may be there all the same."""
    assert patient.sample
    if rows:
        yield Finding("bulk data", "10.4.1.1.5", "optional", "none named in the metadata of this instance")
        return
    answer = patient.get(f"{refs.path(patient.sample)}/bulkdata", _OCTETS)
    yield judged(
        "bulk data",
        "10.4.1.1.5",
        "200 multipart/related",
        f"none named, as there is no metadata; {answer.words} to /bulkdata",
        answer.full,
        "dw retrieve bulkdata cannot be used",
        setting={"missing": ["bulkdata"]} if answer.absent else {},
    )


CHECKS = (frames, pictures, pictures_of_study, thumbnail, bulk_data)
