"""The doctor's look at retrieval (PS3.18 10.4). Answers are begun, not read to the end."""

import re
from collections.abc import Iterator

from dwcli.dicomweb import media, multipart, part10, refs
from dwcli.dicomweb.multipart import PartData
from dwcli.doctor.finding import Answer, Finding, judged
from dwcli.doctor.probes.responses import ANY
from dwcli.doctor.session import NOBODY, Examination
from dwcli.errors import DwError

# A video: no server makes one of an image, and none is known to fall over it, as one does over JPEG-LS and JPEG 2000.
_IMPOSSIBLE = "1.2.840.10008.1.2.4.100"
_NO = "dw takes this for a no, as it would 406"


def metadata(patient: Examination) -> Iterator[Finding]:
    """Metadata of an instance."""
    if not patient.sample:
        return
    answer = patient.metadata(patient.sample)
    good = answer.full and answer.kind is media.Body.JSON
    yield judged(
        "metadata",
        "10.4.1.1.2",
        "200 application/dicom+json",
        answer.words,
        good,
        "dw metadata cannot be used",
        setting={"missing": ["metadata"]} if answer.absent else {},
    )


def instance(patient: Examination) -> Iterator[Finding]:
    """One instance as it is stored, and as the standard sends it when nothing is said."""
    if not patient.sample:
        return
    path = refs.path(patient.sample)
    stored, plain = patient.get(path, ANY), patient.get(path, media.multipart(media.DICOM))
    yield judged(
        "instance as stored",
        "8.7.3.5.2",
        f"200 to {ANY}",
        stored.words,
        stored.full,
        "dw tries the other ways",
        setting={"transfer_syntax_any": False} if plain.full else {},
        fine={"transfer_syntax_any": True},
    )
    if stored.full:
        yield judged(
            "instance in parts",
            "8.7.3.1",
            "multipart where multipart was asked",
            "one single body" if stored.kind is media.Body.DICOM else "multipart",
            stored.kind is not media.Body.DICOM,
            "dw reads both",
        )
    before, after = syntax(stored), syntax(plain)
    changed = f"{before} becomes {after}" if before and after and before != after else "as stored"
    yield judged(
        "default transfer syntax",
        "8.7.3.5.2",
        "Explicit VR Little Endian",
        changed if plain.full else plain.words,
        plain.full,
        "dw asks for what is stored, unless --transfer-syntax says otherwise",
    )
    free, single = patient.get(path, "*/*"), patient.get(path, media.single(media.DICOM, "*"))
    yield judged("instance of any type", "8.7.5", "200", free.words, free.full, "dw asks for DICOM by name")
    alone = single.full and not stored.full and not plain.full
    yield Finding(
        "single part",
        "8.7.3.1",
        "200 or 406",
        single.words,
        "dw asks for it first, as parts are not to be had" if alone else "" if _no_or_yes(single) else _NO,
        not _no_or_yes(single),
        {"single_part": True} if alone else {},
    )


def _no_or_yes(answer: Answer) -> bool:
    return answer.full or answer.status == 406


def other_syntaxes(patient: Examination) -> Iterator[Finding]:
    """Transfer syntaxes that cannot be had."""
    if not patient.sample:
        return
    for check, uid in (("impossible transfer syntax", _IMPOSSIBLE), ("unknown transfer syntax", NOBODY)):
        answer = patient.get(refs.path(patient.sample), media.multipart(media.DICOM, uid))
        changed = answer.full and syntax(answer) != uid
        yield judged(
            check,
            "8.7.5",
            "406",
            f"{answer.words}, another one" if changed else answer.words,
            answer.status == 406 or (answer.full and not changed),
            "dw keeps what comes"
            if changed
            else _NO
            if answer.status in (400, 415)
            else "dw retrieve --transfer-syntax fails with it",
        )


def other_types(patient: Examination) -> Iterator[Finding]:
    """An instance as its bulk data alone, and a study as one zip file."""
    if not patient.sample:
        return
    octets = patient.get(refs.path(patient.sample), media.multipart(media.OCTETS))
    yield judged("instance as octets", "8.7.3.3", "200 or 406", octets.words, _no_or_yes(octets), _NO)
    answer = patient.get(f"studies/{refs.segment(patient.sample.study)}", "application/zip")
    there = answer.ok and answer.body.startswith(b"PK")
    yield Finding(
        "zip",
        "8.7.3.3",
        "200 or 406",
        answer.words,
        "" if _no_or_yes(answer) else f"{_NO}; it makes the zip itself",
        not _no_or_yes(answer),
        {"zip": there},
    )


def study(patient: Examination) -> Iterator[Finding]:
    """A whole study: does HTTP itself say where it ends, and what does its head look like?"""
    if not patient.sample:
        return
    path = f"studies/{refs.segment(patient.sample.study)}"
    answer = patient.get(path, ANY)
    if not answer.full:
        series = patient.get(f"{path}/series/{refs.segment(patient.sample.series)}", ANY).full
        found = f"{answer.words}{', a series 200' if series else ''}"
        setting = {"retrieves": ["series", "instance"] if series else ["instance"]}
        how = "dw fetches instance by instance"
        yield Finding("study in one answer", "10.4.1.1.1", "200", found, how, True, setting)
        return
    whole = {"retrieves": ["study", "series", "instance"]}
    yield Finding("study in one answer", "10.4.1.1.1", "200", answer.words, setting=whole)
    check, section, standard, how = (
        "length of a study",
        "RFC 9112 6",
        "Content-Length or chunks",
        "dw wants the closing boundary",
    )
    if answer.framed and patient.count < 2:
        found = "given for one instance; not tried for several: no such study was at hand"
        yield Finding(check, section, standard, found, how)
    else:
        words = "given" if answer.framed else "neither: a cut answer looks whole"
        yield judged(check, section, standard, words, answer.framed, how)
    yield from multipart_head("head of a multipart answer", answer)


def multipart_head(check: str, answer: Answer) -> Iterator[Finding]:
    """The Content-Type of a multipart answer, and whether the body begins with its boundary."""
    if answer.kind is not media.Body.MULTIPART:
        return
    head = answer.content_type
    kind = media.parse(head).params.get("type", "")
    odd = [
        *(["no Content-Type"] if not head else []),
        *(["no type in it"] if head and not kind else []),
        *(["type without quotes"] if kind and not re.search(r'type\s*=\s*"', head) else []),
        *([f"{kind.partition(';')[2].strip()[:60]} inside the quotes"] if ";" in kind else []),
        *(["a line before the first boundary"] if not answer.body.startswith(b"--") else []),
    ]
    plain = "boundary in quotes" if 'boundary="' in head else "as it says"
    yield judged(
        check,
        "8.6.1.2, RFC 2387",
        'type="…"; boundary=…',
        ", ".join(odd) or plain,
        not odd,
        "dw reads it all the same",
    )


def first_part(answer: Answer) -> bytes:
    """The beginning of the first part, or of the body where there are no parts; b"" where it cannot be read."""
    if answer.kind is not media.Body.MULTIPART:
        return answer.body
    data = b""
    try:
        for event in multipart.Reader(media.parse(answer.content_type).boundary).feed(answer.body):
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


def syntax(answer: Answer) -> str:
    """The transfer syntax of the first instance in an answer, empty where that cannot be read."""
    try:
        head = part10.read_head(first_part(answer)) if answer.full else None
    except DwError:
        return ""
    return head.transfer_syntax if head else ""


CHECKS = (metadata, instance, other_syntaxes, other_types, study)
