"""Probes of deletion, which PS3.18 does not define, and the clean-up of what the store probes stored."""

from collections.abc import Iterator

from dwcli.dicomweb.refs import StudyRef
from dwcli.doctor.finding import Finding
from dwcli.doctor.session import Session
from dwcli.doctor.synthetic import PATIENT_ID_PREFIX, new_uid
from dwcli.errors import AbsentError, DwError
from dwcli.jobs import delete

_OPEN = "not in the standard"


def method(session: Session) -> Iterator[Finding]:
    """Send DELETE for a study with a new UID, so that nothing can be lost."""
    response = session.get(f"studies/{new_uid()}", method="DELETE")
    allowed = response.headers.get("allow", "")[:60]
    found = response.summary + (f", Allow: {allowed}" if allowed else "")
    known = response.ok or response.status in (404, 410)
    yield Finding(
        "DELETE of an unknown study",
        "RFC 9110 9.3.5",
        "404, or 405 with Allow",
        found,
        "" if known else "dw delete needs another method here",
        not (known or (response.status in (405, 501) and allowed)),
    )


def clean_up(session: Session, studies: list[str]) -> Iterator[Finding]:
    """Delete the stored studies by the dialect's method, and name those that remain."""
    client = session.client
    remaining: list[str] = []
    reasons: list[str] = []
    deleted = False
    for study in studies:
        try:
            plan = delete.plan(client, StudyRef(study))
            if client.dialect.delete == "none":
                raise DwError("this server does not support deletion over the network")
            item = delete.delete(client, plan)
        except AbsentError:
            continue  # the server refused to store it
        except DwError as error:
            remaining.append(study)
            reasons.append(error.message)
            continue
        deleted = True
        if item.outcome != "deleted":
            remaining.append(study)
            reasons.append(item.reason)
    if not remaining:
        yield Finding("delete", "", _OPEN, "deleted" if deleted else "not tried: nothing was stored")
        return
    found = f"{reasons[0]}; still stored, PatientID {PATIENT_ID_PREFIX}-…: {', '.join(remaining)}"
    how = client.dialect.delete_otherwise or "set the dialect: dw delete then knows the method"
    yield Finding("delete", "", _OPEN, found, how, True)
