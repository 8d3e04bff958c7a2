"""Bodies cut or spoilt by a byte while HTTP's own framing is sound: what is called received is what was sent."""

import contextlib
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dwcli.client import Client
from dwcli.dicomweb.dialects import choose
from dwcli.dicomweb.refs import InstanceRef, Ref, StudyRef
from dwcli.files.sink import Sink
from dwcli.jobs.result import Item, Tally
from dwcli.jobs.retrieve import Options, Retrieval
from dwcli.net.settings import Settings
from dwcli.net.transport import Transport
from servers.fake import Answer, Fake, Request
from servers.images import instance as image
from servers.scripted import Instance, Scripted, is_retrieve, multipart, related, study

STUDY = "2.25.7"
ONE = InstanceRef(STUDY, f"{STUDY}.1", f"{STUDY}.1.1")
ROUNDS = [pytest.param(150, id="some"), pytest.param(5000, id="many", marks=pytest.mark.interop)]


def retrieve(url: str, folder: Path, asked: Ref, *, verify: bool = False) -> tuple[list[Item], int]:
    """Retrieve with the job itself; the items and the exit code."""
    transport = Transport(Settings(url, silence=5, first_byte=5, tries=1))
    tally = Tally()
    with contextlib.closing(transport), Sink(folder) as sink:
        client = Client(url, choose("standard"), transport)
        items = list(Retrieval(client, sink, Options(verify=verify)).run([asked]))
    for item in items:
        tally.add(item)
    return items, int(tally.code)


def kept(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def single(data: bytes) -> Answer:
    return Answer(200, {"Content-Type": "application/dicom"}, data)


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("form", ["multipart", "single part"])
def test_a_cut_body_in_good_order_is_never_received(
    tmp_path: Path, fake_server: Callable[..., Fake], form: str, rounds: int
) -> None:
    instances = study(1, 3, side=12)
    sent = {one.uid: one.data for one in instances}
    chance = random.Random(form)
    archive = Scripted(instances)
    cut = 0

    def bend(request: Request, answer: Answer) -> Answer:
        """Every response with images, cut once in a while or always."""
        if not is_retrieve(request):
            return answer
        body = b"".join(answer.body) if not isinstance(answer.body, bytes) else answer.body  # type: ignore[arg-type]
        if form == "single part" and is_retrieve(request, "instances"):
            uid = request.target.rpartition("/")[2]
            return single(sent[uid][:cut]) if uid == ONE.instance else single(sent[uid])
        return replace(answer, body=body[:cut])

    archive.bend = bend
    server = fake_server(archive)
    for turn in range(rounds):
        whole = len(sent[ONE.instance])
        cut = chance.randrange(whole if form == "single part" else len(multipart(sent.values())) - 4)
        folder = tmp_path / str(turn)
        items, code = retrieve(server.url, folder, ONE if form == "single part" else StudyRef(STUDY))
        found = kept(folder)
        received = {item.instance for item in items if item.outcome == "received"}
        assert {uid: found[uid] for uid in received} == {uid: sent[uid] for uid in received}, cut
        # What is kept besides is said to be unverified, and only a file that stops between two elements is.
        unverified = {item.instance for item in items if item.outcome == "unverified"}
        assert set(found) == received | unverified, cut
        assert unverified <= ({ONE.instance} if form == "single part" else set()), cut
        assert code == 0 if unverified or len(received) == len(sent) else code in (1, 3), cut


@pytest.mark.parametrize("rounds", ROUNDS)
def test_a_spoilt_byte_stays_the_byte_that_was_sent(
    tmp_path: Path, fake_server: Callable[..., Fake], rounds: int
) -> None:
    instances = study(1, 1, side=12)
    data = instances[0].data
    chance = random.Random(2)
    archive = Scripted(instances)
    server = fake_server(archive)
    for turn in range(rounds):
        at = chance.randrange(len(data))
        sent = data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
        closed = chance.random() < 0.5

        def bend(request: Request, answer: Answer, sent: bytes = sent, closed: bool = closed) -> Answer:
            return related(multipart([sent], closed=closed)) if is_retrieve(request) else answer

        archive.bend = bend
        folder = tmp_path / str(turn)
        items, _ = retrieve(server.url, folder, StudyRef(STUDY))
        for item in items:
            if item.path:
                assert Path(item.path).read_bytes() == sent, at
        assert set(kept(folder).values()) <= {sent}, at


def test_a_file_that_is_truncated_on_the_server_is_its_truth_and_told(
    tmp_path: Path, fake_server: Callable[..., Fake]
) -> None:
    short = image(STUDY, f"{STUDY}.1", f"{STUDY}.1.1")[:-20]
    archive = Scripted([Instance(STUDY, f"{STUDY}.1", f"{STUDY}.1.1", short)])
    server = fake_server(archive)
    items, code = retrieve(server.url, tmp_path / "out", StudyRef(STUDY))
    assert [(item.outcome, item.reason) for item in items] == [("warned", "truncated on the server")]
    assert (code, kept(tmp_path / "out")) == (0, {f"{STUDY}.1.1": short})


def test_a_single_part_that_ends_early_twice_fails_and_says_how(
    tmp_path: Path, fake_server: Callable[..., Fake]
) -> None:
    data = image(STUDY, f"{STUDY}.1", f"{STUDY}.1.1")
    archive = Scripted([Instance(STUDY, f"{STUDY}.1", f"{STUDY}.1.1", data)])
    archive.bend = lambda request, answer: single(data[:-1]) if is_retrieve(request) else answer
    server = fake_server(archive)
    items, code = retrieve(server.url, tmp_path / "out", ONE)
    assert [item.outcome for item in items] == ["failed"] and "truncated" in items[0].reason
    assert (code, kept(tmp_path / "out")) == (1, {})
    assert len(archive.retrieved("instances")) == 2


@pytest.mark.parametrize(("verify", "code"), [(False, 0), (True, 3)])
def test_what_can_prove_nothing_is_unverified(
    tmp_path: Path, fake_server: Callable[..., Fake], verify: bool, code: int
) -> None:
    # An image without pixels may have lost them.
    data = image(STUDY, f"{STUDY}.1", f"{STUDY}.1.1")
    data = data[: data.rindex(b"\xe0\x7f\x10\x00")]
    archive = Scripted([Instance(STUDY, f"{STUDY}.1", f"{STUDY}.1.1", data)])
    archive.bend = lambda request, answer: single(data) if is_retrieve(request) else answer
    items, done = retrieve(fake_server(archive).url, tmp_path / "out", ONE, verify=verify)
    assert [(item.outcome, item.size) for item in items] == [("unverified", len(data))]
    assert done == code
