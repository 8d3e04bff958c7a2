"""What a server with a REST interface of its own calls the objects that DICOM names by UID."""

from dwcli.client import Client
from dwcli.dicomweb import deletion, refs
from dwcli.dicomweb.refs import Ref, StudyRef
from dwcli.dicomweb.request import Request
from dwcli.errors import AbsentError
from dwcli.net.body import Bytes


def find(client: Client, ref: Ref) -> list[deletion.Known]:
    """The objects of a reference. Raises AbsentError where there is none in the study that it names."""
    ref = client.resolve(ref)
    uid = deletion.own_uid(ref)
    answer = client.call(deletion.lookup(client.base, client.dialect, Bytes(uid.encode())))
    found = [one for one in deletion.known(answer, ref.level) if _is_below(client, one, ref)]
    if not found:
        raise AbsentError(f"the server has no {ref.level} {refs.show(ref)}", f"dw search {ref.level.resource}")
    return found


def _is_below(client: Client, one: deletion.Known, ref: Ref) -> bool:
    """Whether an object is of the study that was named: a UID that two studies share must not stand for both."""
    if isinstance(ref, StudyRef):
        return True
    answer = client.call(Request("GET", deletion.core(client.base, client.dialect, f"{one.path}/study")))
    return f'"{ref.study}"'.encode() in answer
