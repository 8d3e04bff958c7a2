"""The doctor's look at deleting, of which PS3.18 says nothing: what it has stored goes again, where it can."""

from collections.abc import Iterator

from dwcli.dicomweb.refs import StudyRef
from dwcli.doctor.finding import Finding
from dwcli.doctor.session import Examination
from dwcli.doctor.synthetic import PATIENT, made_uid
from dwcli.errors import AbsentError, DwError
from dwcli.jobs import delete

_OPEN = "not in the standard"


def method(patient: Examination) -> Iterator[Finding]:
    """DELETE of a study that was never there, its UID made just now: there is nothing that it could take away."""
    answer = patient.get(f"studies/{made_uid()}", method="DELETE")
    allowed = answer.headers.get("allow", "")[:60]
    found = answer.words + (f", Allow: {allowed}" if allowed else "")
    knows = answer.ok or answer.status in (404, 410)
    yield Finding(
        "DELETE of an unknown study",
        "RFC 9110 9.3.5",
        "404, or 405 with Allow",
        found,
        "" if knows else "dw delete needs another way here",
        not (knows or (answer.status in (405, 501) and allowed)),
    )


def made(patient: Examination, studies: list[str]) -> Iterator[Finding]:
    """Whatever was stored, in the dialect's own way. What stays is named."""
    client = patient.client
    left_over: list[str] = []
    reasons: list[str] = []
    gone = False
    for study in studies:
        try:
            doomed = delete.plan(client, StudyRef(study))
            if client.dialect.delete == "none":
                raise DwError("this server deletes nothing over the network")
            item = delete.delete(client, doomed)
        except AbsentError:
            continue  # what was refused is not there
        except DwError as error:
            left_over.append(study)
            reasons.append(error.message)
            continue
        gone = True
        if item.outcome != "deleted":
            left_over.append(study)
            reasons.append(item.reason)
    if not left_over:
        yield Finding("delete", "", _OPEN, "gone" if gone else "not tried: nothing was stored")
        return
    found = f"{reasons[0]}; still there, of PatientID {PATIENT}-…: {', '.join(left_over)}"
    how = client.dialect.delete_otherwise or "name the dialect, and dw delete knows the way"
    yield Finding("delete", "", _OPEN, found, how, True)
