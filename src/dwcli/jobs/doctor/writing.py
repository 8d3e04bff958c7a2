"""The doctor's look at storing and deleting: a made instance of nobody goes up, and down again."""

import struct
from collections.abc import Iterator
from uuid import uuid4

from dwcli.dicomweb import refs
from dwcli.dicomweb.refs import StudyRef
from dwcli.dicomweb.stow import Reply, Stored, Warned
from dwcli.dicomweb.stow import read as read_reply
from dwcli.jobs import delete
from dwcli.jobs.doctor.examination import Answer, Examination, Finding
from dwcli.net.body import Bytes

_BOUNDARY = "dw-doctor-6b1f"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_EXPLICIT = "1.2.840.10008.1.2.1"


def examine(patient: Examination) -> Iterator[Finding]:
    """Store, store again, store in ways that some servers swallow, and delete."""
    study, series, instance = (f"2.25.{uuid4().int}" for _ in range(3))
    file = specimen(study, series, instance)
    first, reply = _store(patient, file, instance)
    good = _taken(reply, instance)
    yield Finding(
        "store", "200, and the instance in 00081199", _said(first, good), "" if good else "dw store tells why", not good
    )
    if not good:
        return
    again, reply = _store(patient, file, instance)
    yield Finding(
        "store again",
        "200, 202 or 409",
        _said(again, _taken(reply, instance)),
        "dw compares the bytes, where it is asked to --verify",
        again.status not in (200, 202, 409),
    )
    other = f"2.25.{uuid4().int}"
    odd, reply = _store(
        patient, specimen(study, series, other), other, f"application/dicom; transfer-syntax={_EXPLICIT}"
    )
    swallowed = odd.status < 300 and not _taken(reply, other)
    yield Finding(
        "store with a transfer syntax in the part",
        "200, and the instance in 00081199",
        _said(odd, _taken(reply, other)),
        "dw leaves it out, and counts what the reply names" if swallowed else "",
        swallowed,
    )
    raw = patient.get("studies", method="POST", body=Bytes(file), Content_Type="application/dicom")
    yield Finding("store a bare body", "200 or 415", raw.words, differs=raw.status not in (200, 202, 409, 415))
    wrong, _ = _store(patient, specimen(f"{study}.1", series, instance), instance, path=f"studies/{study}")
    yield Finding(
        "store into another study",
        "409",
        wrong.words,
        "dw reads the reply's body" if wrong.status != 409 else "",
        wrong.status != 409,
    )
    yield from _deleted(patient, study)


def _deleted(patient: Examination, study: str) -> Iterator[Finding]:
    left = f"study {study} of PatientID DW-DOCTOR is still there"
    if patient.client.dialect.delete == "none":
        yield Finding(
            "delete", "not in the standard", f"not tried; {left}", patient.client.dialect.delete_otherwise, True
        )
        return
    item = delete.delete(patient.client, delete.plan(patient.client, StudyRef(study)))
    gone = item.outcome == "deleted"
    yield Finding(
        "delete",
        "not in the standard",
        "gone" if gone else f"{item.reason}; {left}",
        "" if gone else "name the dialect, and dw delete knows the way",
        not gone,
    )


def _store(
    patient: Examination, file: bytes, instance: str, kind: str = "application/dicom", path: str = "studies"
) -> tuple[Answer, Reply]:
    head = f"--{_BOUNDARY}\r\nContent-Type: {kind}\r\n\r\n".encode()
    body = Bytes(head + file + f"\r\n--{_BOUNDARY}--\r\n".encode())
    about = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
    answer = patient.get(path, method="POST", body=body, Content_Type=about)
    return answer, read_reply(answer.status, answer.content_type, answer.body, [instance])


def _taken(reply: Reply, instance: str) -> bool:
    return isinstance(reply.outcomes.get(instance), Stored | Warned)


def _said(answer: Answer, taken: bool) -> str:
    return f"{answer.words}, {'stored' if taken else 'not stored'}"


def specimen(study: str, series: str, instance: str) -> bytes:
    """A picture of 4 × 4 grey pixels, of nobody, as a DICOM file (PS3.10 7.1)."""
    meta = b"".join(
        [
            _element("00020001", "OB", b"\0\1"),
            _element("00020002", "UI", _SECONDARY_CAPTURE),
            _element("00020003", "UI", instance),
            _element("00020010", "UI", _EXPLICIT),
            _element("00020012", "UI", "2.25.172911390829"),
        ]
    )
    words: dict[str, tuple[str, str | int | bytes]] = {
        "00080016": ("UI", _SECONDARY_CAPTURE),
        "00080018": ("UI", instance),
        "00080020": ("DA", "20260101"),
        "00080060": ("CS", "OT"),
        "00080064": ("CS", "SYN"),
        "00100010": ("PN", "DW^DOCTOR"),
        "00100020": ("LO", "DW-DOCTOR"),
        refs.STUDY_UID: ("UI", study),
        refs.SERIES_UID: ("UI", series),
        "00200013": ("IS", "1"),
        "00280002": ("US", 1),
        "00280004": ("CS", "MONOCHROME2"),
        "00280010": ("US", 4),
        "00280011": ("US", 4),
        "00280100": ("US", 8),
        "00280101": ("US", 8),
        "00280102": ("US", 7),
        "00280103": ("US", 0),
        "7FE00010": ("OB", bytes(range(0, 256, 16))),
    }
    data = b"".join(_element(tag, vr, value) for tag, (vr, value) in sorted(words.items()))
    return bytes(128) + b"DICM" + _element("00020000", "UL", struct.pack("<I", len(meta))) + meta + data


def _element(tag: str, vr: str, value: str | int | bytes) -> bytes:
    data = struct.pack("<H", value) if isinstance(value, int) else value.encode() if isinstance(value, str) else value
    if len(data) % 2:
        data += b"\0" if vr in ("UI", "OB") else b" "
    head = struct.pack("<HH", int(tag[:4], 16), int(tag[4:], 16)) + vr.encode()
    return head + (struct.pack("<HI", 0, len(data)) if vr == "OB" else struct.pack("<H", len(data))) + data
