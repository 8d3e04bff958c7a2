"""Every fault that a store can meet, each with the outcome that the user is told."""

import json
import os
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from dwcli.client import Client
from dwcli.dicomweb.dialects import choose
from dwcli.files.scan import scan
from dwcli.jobs.store import Options, Storing
from dwcli.net.settings import Settings
from dwcli.net.transport import Transport
from servers import images, wire
from servers.dw import Dw, Run
from servers.fake import Answer, Fake, Request
from servers.faults import Answer as ProxyAnswer
from servers.faults import Cut, CutRequest, Faults, Hang, Pass, Rule, Seen, first
from servers.nginx import Nginx
from servers.orthanc import Orthanc
from servers.process import free_port
from servers.scripted import Instance, Scripted, is_retrieve, item, reply, study
from servers.tiny_pacs import TinyPacs

STUDY = "2.25.7"


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[list[Instance]], Path]:
    """`folder(instances)`: a folder of them as files, named by their numbers."""

    def write(instances: list[Instance]) -> Path:
        place = tmp_path / "in"
        place.mkdir(exist_ok=True)
        for number, one in enumerate(instances):
            (place / f"{number:03}.dcm").write_bytes(one.data)
        return place

    return write


def outcomes(run: Run) -> dict[str, list[str]]:
    """Outcome -> names of the files, from the rows of a pipe."""
    head, *rows = [line.split("\t") for line in run.lines] or [[]]
    found: dict[str, list[str]] = {}
    for row in rows:
        record = dict(zip(head, row, strict=True))
        found.setdefault(record["outcome"], []).append(Path(record["path"]).name)
    return {outcome: sorted(names) for outcome, names in found.items()}


def reasons(run: Run) -> str:
    """The reasons of all rows."""
    return "\n".join(line.rpartition("\t")[2] for line in run.lines[1:])


def posts(change: Callable[[Answer], Answer], *, times: int = 10**9) -> Callable[[Request, Answer], Answer]:
    """A bend that changes the first so many replies to a store."""
    turns = count()
    return lambda request, answer: change(answer) if request.method == "POST" and next(turns) < times else answer


def on_posts(rule: Rule, *, times: int = 10**9) -> Callable[[Seen], Rule]:
    """A rule of the fault proxy for the first so many stores."""
    turns = first(times, rule)
    return lambda seen: turns(seen) if seen.method == "POST" else Pass()


def held(orthanc: Orthanc, one: Instance) -> bytes:
    """The bytes that Orthanc holds of an instance, asked for without `dw`."""
    (found,) = orthanc.core("POST", "/tools/lookup", body=one.uid.encode()).json()
    return orthanc.core("GET", found["Path"] + "/file").body


# What the reply says


def test_200_with_failures_inside(run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake]) -> None:
    """As Orthanc up to 1.5 and XNAT answer."""
    sent = study(1, 3)
    said = reply(200, [item(sent[0].uid), item(sent[2].uid)], [item(sent[1].uid, failure=0xC122)])
    run = run_dw("store", folder(sent), env={"DW_URL": fake_server(Scripted(bend=posts(lambda _: said))).url})
    assert run.code == 3
    assert outcomes(run) == {"stored": ["000.dcm", "002.dcm"], "failed": ["001.dcm"]}
    assert "transfer syntax not supported (C122)" in reasons(run)


def test_409_with_some_stored(run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake]) -> None:
    sent = study(1, 3)
    said = reply(409, [item(sent[0].uid)], [item(one.uid, failure=0xA900) for one in sent[1:]])
    run = run_dw("store", folder(sent), env={"DW_URL": fake_server(Scripted(bend=posts(lambda _: said))).url})
    assert run.code == 3
    assert outcomes(run) == {"stored": ["000.dcm"], "failed": ["001.dcm", "002.dcm"]}
    assert reasons(run).count("(A900)") == 2


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(reply(200), id="empty-sequences"),
        pytest.param(Answer(200), id="empty-reply"),
        pytest.param(Answer(200, {"Content-Type": "text/plain"}, b"success"), id="words"),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_a_reply_that_names_nothing_is_looked_into(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake], answer: Answer, there: bool
) -> None:
    """Shanoir and dcmjs answer so to what they stored, Orthanc to parts that it does not like."""
    sent = study(1, 3)
    archive = Scripted(bend=posts(lambda _: answer))
    if not there:
        archive.bend = lambda r, a: Answer(404) if is_retrieve(r) else posts(lambda _: answer)(r, a)
    run = run_dw("store", folder(sent), env={"DW_URL": fake_server(archive).url})
    assert (run.code, list(outcomes(run))) == ((0, ["stored"]) if there else (1, ["failed"])), run.out
    # What was there was sent once, what was not once more by itself.
    assert len(archive.stored) == (3 if there else 6)


def test_a_reply_that_names_nothing_of_a_server_that_gives_nothing_back_is_unknown(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake]
) -> None:
    archive = Scripted(bend=lambda r, a: Answer(501) if r.method == "GET" else Answer(200))
    run = run_dw("store", folder(study(1, 2)), env={"DW_URL": fake_server(archive).url})
    assert (run.code, list(outcomes(run))) == (1, ["unknown"])
    assert "does not return it" in reasons(run)


def test_202_with_warnings_only(run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake]) -> None:
    sent = study(1, 2)
    said = reply(202, [item(one.uid, warning=0xB000) for one in sent])
    run = run_dw("store", folder(sent), env={"DW_URL": fake_server(Scripted(bend=posts(lambda _: said))).url})
    assert (run.code, list(outcomes(run))) == (0, ["warned"])
    assert "coerced (B000)" in reasons(run)
    assert "2 of these with warnings" in run.err


def _xml(sent: list[Instance]) -> bytes:
    items = "".join(
        f'<Item number="{n}"><DicomAttribute tag="00081155" vr="UI"><Value number="1">{one.uid}</Value>'
        "</DicomAttribute></Item>"
        for n, one in enumerate(sent, 1)
    )
    return (
        f'<NativeDicomModel><DicomAttribute tag="00081199" vr="SQ">{items}</DicomAttribute></NativeDicomModel>'.encode()
    )


@pytest.mark.parametrize("form", ["xml", "array", "array-per-study"])
def test_every_form_of_a_reply_is_read_alike(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake], form: str
) -> None:
    """Google answers in XML, XNAT with an array for each study."""
    sent = [*study(1, 2), *study(1, 2, name="2.25.8")]

    def bend(answer: Answer) -> Answer:
        if form == "xml":
            return Answer(200, {"Content-Type": "application/dicom+xml"}, _xml(sent))
        groups = [sent] if form == "array" else [sent[:2], sent[2:]]
        parts = [json.loads(_bytes(reply(200, [item(one.uid) for one in group]))) for group in groups]
        return Answer(200, {"Content-Type": "application/json"}, json.dumps(parts).encode())

    run = run_dw("store", folder(sent), env={"DW_URL": fake_server(Scripted(bend=posts(bend))).url})
    assert (run.code, {k: len(v) for k, v in outcomes(run).items()}) == (0, {"stored": 4}), run.err


def _bytes(answer: Answer) -> bytes:
    assert isinstance(answer.body, bytes)
    return answer.body


def test_a_store_address_that_is_absent_is_a_failure(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake]
) -> None:
    server = fake_server(lambda _: Answer(404, {"Content-Type": "text/plain"}, b"no such route"))
    run = run_dw("store", folder(study(1, 3)), env={"DW_URL": server.url})
    assert (run.code, outcomes(run)) == (1, {"failed": ["000.dcm", "001.dcm", "002.dcm"]})
    assert len(server.requests) == 1


def test_a_refusal_of_every_store_is_not_tried_file_by_file(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake]
) -> None:
    server = fake_server(lambda _: Answer(415, {"Content-Type": "text/plain"}, b"multipart/related; type missing"))
    run = run_dw("store", folder(study(1, 8)), env={"DW_URL": server.url})
    assert run.code == 1
    assert "type missing" in reasons(run)
    assert len(server.requests) == 1


# Too large


def test_413_halves_the_batches_and_remembers(
    run_dw: Dw, folder: Callable[..., Path], orthanc: Orthanc, tmp_path: Path
) -> None:
    sent = study(1, 12, side=256)  # 12 files of 132 kB
    with Nginx(tmp_path / "nginx", orthanc.url, server="client_max_body_size 500k;") as nginx:
        env = {**orthanc.environment, "DW_URL": nginx.url}
        run = run_dw("store", folder(sent), "-j", "1", "--batch-size", "800k", env=env)
        assert (run.code, {k: len(v) for k, v in outcomes(run).items()}) == (0, {"stored": 12}), run.err
        refused = nginx.access_log.count('" 413 ')
    assert orthanc.count() == 12
    # Two batches of six: the first is refused, the second is cut before it is sent.
    assert refused == 1


def test_one_file_alone_over_the_limit_is_named(
    run_dw: Dw, folder: Callable[..., Path], orthanc: Orthanc, tmp_path: Path
) -> None:
    sent = [*study(1, 4, side=64), *study(1, 1, name="2.25.9", side=400)]
    with Nginx(tmp_path / "nginx", orthanc.url, server="client_max_body_size 200k;") as nginx:
        run = run_dw("store", folder(sent), env={**orthanc.environment, "DW_URL": nginx.url})
    assert run.code == 3
    assert outcomes(run) == {"stored": [f"00{n}.dcm" for n in range(4)], "failed": ["004.dcm"]}
    assert "413" in reasons(run)
    assert "this file alone exceeds the server's request limit" in reasons(run)
    assert orthanc.count() == 4


def test_no_request_is_larger_than_the_dialect_allows(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake]
) -> None:
    server = fake_server(Scripted())
    run_dw("profile", "add", "small", server.url, "--set", "dialect.store_bytes=300000")
    sent = [*study(1, 4, side=256), *study(1, 1, name="2.25.9", side=400)]  # 132 kB each, and one of 320 kB
    run = run_dw("store", folder(sent), "-p", "small", "-j", "1")
    assert (run.code, outcomes(run)) == (3, {"stored": [f"00{n}.dcm" for n in range(4)], "failed": ["004.dcm"]})
    assert "too large: this server accepts 300000 bytes" in reasons(run)
    lengths = [len(request.body) for request in server.requests if request.method == "POST"]
    assert len(lengths) == 2
    assert all(200_000 < length <= 300_000 for length in lengths)
    planned = run_dw("store", folder(sent), "-p", "small", "--dry-run")
    assert (planned.code, len(outcomes(planned)["planned"]), outcomes(planned)["failed"]) == (3, 4, ["004.dcm"])


def test_a_file_over_the_presets_limit_is_refused_before_it_is_sent(
    run_dw: Dw, tmp_path: Path, fake_server: Callable[..., Fake]
) -> None:
    server = fake_server(lambda _: Answer(413))
    run_dw("profile", "add", "tiny", server.url, "--dialect", "tiny-pacs")
    (tmp_path / "large.dcm").write_bytes(images.instance())
    os.truncate(tmp_path / "large.dcm", 64 * 1024**2)
    run = run_dw("store", tmp_path / "large.dcm", "-p", "tiny")
    assert (run.code, server.requests) == (1, [])
    assert "67108864 bytes" in reasons(run)


# Cut connections


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(CutRequest(20_000), id="cut-in-the-body"),
        pytest.param(CutRequest(20_000, reset=True), id="reset-in-the-body"),
        pytest.param(Cut(0, of="whole"), id="no-reply"),
        pytest.param(Cut(0, of="whole", reset=True), id="reset-before-the-reply"),
        pytest.param(Cut(100), id="reply-cut"),
        pytest.param(Hang(0, of="whole"), id="reply-never-comes"),
        pytest.param(Hang(20), id="reply-stalls"),
    ],
)
def test_a_lost_reply_is_sent_again_or_found_there(
    run_dw: Dw, folder: Callable[..., Path], orthanc: Orthanc, faults: Callable[..., Faults], rule: Rule
) -> None:
    sent = study(1, 4, side=64)
    proxy = faults(orthanc.url, on_posts(rule, times=1))
    env = {**orthanc.environment, "DW_URL": proxy.url}
    run = run_dw("--timeout", "1", "store", folder(sent), env=env)
    assert (run.code, list(outcomes(run))) == (0, ["stored"]), run.out
    assert [held(orthanc, one) for one in sent] == [one.data for one in sent]


def test_replies_that_are_lost_every_time_are_asked_for(
    run_dw: Dw, folder: Callable[..., Path], orthanc: Orthanc, faults: Callable[..., Faults]
) -> None:
    """Orthanc has stored what it was sent each time; no reply ever says so."""
    proxy = faults(orthanc.url, on_posts(Cut(0, of="whole", reset=True)))
    sent = study(1, 4, side=64)
    place = folder(sent)
    other = images.instance(STUDY, sent[0].series, "2.25.99", number=9, side=8)
    assert wire.stow(orthanc.url, [other], headers=orthanc.headers).status == 200
    (place / "other.dcm").write_bytes(images.instance(STUDY, sent[0].series, "2.25.99", number=7, side=8))
    run = run_dw("store", place, env={**orthanc.environment, "DW_URL": proxy.url})
    stored = [f"00{n}.dcm" for n in range(4)]
    assert (run.code, outcomes(run)) == (3, {"stored": stored, "conflict": ["other.dcm"]}), run.out
    assert "the server returns it" in reasons(run)


@pytest.mark.parametrize(
    ("found", "outcome"), [(404, "failed"), (501, "unknown"), (503, "unknown")], ids=["absent", "not-given", "busy"]
)
def test_a_lost_reply_that_asking_does_not_make_good_is_for_later(
    folder: Callable[..., Path],
    faults: Callable[..., Faults],
    fake_server: Callable[..., Fake],
    found: int,
    outcome: str,
) -> None:
    archive = Scripted(bend=lambda r, a: Answer(found, {"Retry-After": "0"}) if is_retrieve(r) else a)
    proxy = faults(fake_server(archive).url, on_posts(Cut(0, of="whole", reset=True)))
    transport = Transport(Settings(proxy.url, tries=2))
    job = Storing(Client(proxy.url, choose("standard"), transport), Options())
    items = list(job.run(scan([folder(study(1, 3))])))
    transport.close()
    assert [(item.outcome, int(item.code)) for item in items] == [(outcome, 75)] * 3
    # Where one question finds no server, the others are not put.
    asked = sum(seen.method == "GET" for seen in proxy.seen)
    assert asked == (2 if found == 503 else 3)


def test_what_was_refused_for_now_is_no_unknown(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake]
) -> None:
    archive = Scripted(bend=posts(lambda _: Answer(503, {"Retry-After": "0"})))
    run = run_dw("store", folder(study(1, 2)), env={"DW_URL": fake_server(archive).url})
    assert (run.code, list(outcomes(run))) == (75, ["failed"])
    assert "503" in reasons(run)


@pytest.mark.parametrize("answers", [True, False], ids=["cut-for-ever", "no-connection"])
def test_only_what_went_out_can_be_unknown(
    folder: Callable[..., Path], faults: Callable[..., Faults], fake_server: Callable[..., Fake], answers: bool
) -> None:
    proxy = faults(fake_server(Scripted()).url, CutRequest(500))
    url = proxy.url if answers else f"http://127.0.0.1:{free_port()}"
    transport = Transport(Settings(url, tries=2))
    items = list(Storing(Client(url, choose("standard"), transport), Options()).run(scan([folder(study(1, 2))])))
    transport.close()
    assert [item.outcome for item in items] == [("unknown" if answers else "failed")] * 2
    assert {int(item.code) for item in items} == {75}


# Files that change


def test_files_that_change_between_scan_and_send(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake]
) -> None:
    """The scan runs ahead of the sending: the first reply is held until the others have changed."""
    sent = study(1, 5)
    place = folder(sent)
    turns = count()
    archive = Scripted()

    def early(request: Request) -> Answer | None:
        if request.method == "POST" and next(turns) == 0:
            with (place / "001.dcm").open("r+b") as file:
                file.truncate(500)
            with (place / "002.dcm").open("ab") as file:
                file.write(b"more")
            (place / "003.dcm").unlink()
            return Answer(503, {"Retry-After": "0"})
        return None

    server = fake_server(archive, early=early)
    run = run_dw("store", place, "-j", "1", env={"DW_URL": server.url})
    assert run.code == 3, run.err
    assert outcomes(run) == {"stored": ["000.dcm", "004.dcm"], "failed": ["001.dcm", "002.dcm", "003.dcm"]}
    words = reasons(run)
    assert "shrank" in words
    assert "grew" in words
    assert "cannot be read: No such file" in words
    assert {one.uid for one in archive.instances} == {sent[0].uid, sent[4].uid}


def test_what_is_no_instance_is_skipped_by_name(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake]
) -> None:
    import pydicom.data

    place = folder(study(1, 2))
    (place / "empty.dcm").write_bytes(b"")
    (place / "notes.txt").write_text("nothing")
    with zipfile.ZipFile(place / "all.zip", "w") as archive:
        archive.writestr("x", "y")
    found = Path(pydicom.data.__file__).parent / "test_files" / "dicomdirtests" / "DICOMDIR"
    (place / "DICOMDIR").write_bytes(found.read_bytes())
    url = fake_server(Scripted()).url
    run = run_dw("store", place, env={"DW_URL": url})
    skipped = ["DICOMDIR", "all.zip", "empty.dcm", "notes.txt"]
    assert (run.code, outcomes(run)) == (0, {"stored": ["000.dcm", "001.dcm"], "skipped": skipped})
    (place / "gone.dcm").symlink_to(place / "nowhere")
    run = run_dw("store", place, env={"DW_URL": url})
    assert run.code == 3
    assert outcomes(run)["failed"] == ["gone.dcm"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_fails_by_name(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake]
) -> None:
    place = folder(study(1, 2))
    (place / "001.dcm").chmod(0)
    run = run_dw("store", place, env={"DW_URL": fake_server(Scripted()).url})
    assert (run.code, outcomes(run)) == (3, {"stored": ["000.dcm"], "failed": ["001.dcm"]})


# Already there


def test_a_duplicate_on_tiny_pacs_is_present(run_dw: Dw, folder: Callable[..., Path], tiny_pacs: TinyPacs) -> None:
    """It answers 409 and 0110 to every instance that it has."""
    sent = study(1, 3)
    assert wire.stow(tiny_pacs.url, [one.data for one in sent[:2]], headers=tiny_pacs.headers).status == 200
    run = run_dw("store", folder(sent), env=tiny_pacs.environment)
    assert (run.code, outcomes(run)) == (0, {"present": ["000.dcm", "001.dcm"], "stored": ["002.dcm"]}), run.err
    assert "failure" not in reasons(run)
    assert reasons(run).count("already on the server and identical") == 2


def test_other_bytes_on_tiny_pacs_are_a_conflict(run_dw: Dw, folder: Callable[..., Path], tiny_pacs: TinyPacs) -> None:
    sent = study(1, 1)
    other = images.instance(sent[0].study, sent[0].series, sent[0].uid, number=9, side=8)
    assert wire.stow(tiny_pacs.url, [other], headers=tiny_pacs.headers).status == 200
    run = run_dw("store", folder(sent), env=tiny_pacs.environment)
    assert (run.code, outcomes(run)) == (1, {"conflict": ["000.dcm"]})


@pytest.mark.parametrize("code", [0x0110, 0x0111, 45070, None], ids=["0110", "0111", "45070", "409-without-a-body"])
@pytest.mark.parametrize("same", [True, False])
def test_a_duplicate_is_compared(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake], code: int | None, same: bool
) -> None:
    """Google says 0110, dcm4chee 0111, Azure 45070; some answer 409 and nothing more."""
    sent = study(1, 1)
    there = sent[0].data if same else images.instance(STUDY, sent[0].series, sent[0].uid, number=9, side=8)
    said = Answer(409) if code is None else reply(409, [], [item(sent[0].uid, failure=code)])
    archive = Scripted([replace(sent[0], data=there)], bend=posts(lambda _: said))
    run = run_dw("store", folder(sent), env={"DW_URL": fake_server(archive).url})
    assert (run.code, list(outcomes(run))) == ((0, ["present"]) if same else (1, ["conflict"]))


@pytest.mark.parametrize("same", [True, False])
def test_what_is_stored_with_the_word_that_it_was_there_is_compared(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake], same: bool
) -> None:
    """The archive of `dw serve` says so, of the same bytes only; whoever else says it may mean others."""
    sent = study(1, 1)
    there = sent[0].data if same else images.instance(STUDY, sent[0].series, sent[0].uid, number=9, side=8)
    said = reply(202, [item(sent[0].uid, warning=0xB00E)])
    archive = Scripted([replace(sent[0], data=there)], bend=posts(lambda _: said))
    run = run_dw("store", folder(sent), env={"DW_URL": fake_server(archive).url})
    assert (run.code, list(outcomes(run))) == ((0, ["present"]) if same else (1, ["conflict"]))


def test_an_unsettled_file_does_not_undo_what_is_settled(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake]
) -> None:
    """The comparison with a duplicate meets a busy server: only this file is left for later."""
    sent = study(1, 3)
    said = reply(409, [item(sent[0].uid), item(sent[2].uid)], [item(sent[1].uid, failure=0x0110)])
    archive = Scripted(sent)
    archive.bend = lambda r, a: said if r.method == "POST" else Answer(503, {"Retry-After": "0"})
    run = run_dw("store", folder(sent), env={"DW_URL": fake_server(archive).url})
    assert (run.code, outcomes(run)) == (75, {"stored": ["000.dcm", "002.dcm"], "failed": ["001.dcm"]})


def test_other_bytes_on_orthanc_are_seen_under_verify_only(
    run_dw: Dw, folder: Callable[..., Path], orthanc: Orthanc
) -> None:
    """It acknowledges a second file of one UID, and keeps the first."""
    sent = study(1, 2)
    other = images.instance(sent[0].study, sent[0].series, sent[0].uid, number=9, side=8)
    assert wire.stow(orthanc.url, [other], headers=orthanc.headers).status == 200
    place = folder(sent)
    assert run_dw("store", place, env=orthanc.environment).code == 0
    run = run_dw("store", place, "--verify", env=orthanc.environment)
    assert (run.code, outcomes(run)) == (3, {"conflict": ["000.dcm"], "stored": ["001.dcm"]})


def test_two_files_of_one_uid_are_not_both_stored(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake]
) -> None:
    sent = study(1, 1)
    place = folder([*sent, *sent])
    (place / "other.dcm").write_bytes(images.instance(STUDY, sent[0].series, sent[0].uid, number=9, side=8))
    run = run_dw("store", place, env={"DW_URL": fake_server(Scripted()).url})
    assert (run.code, outcomes(run)) == (
        3,
        {"stored": ["000.dcm"], "skipped": ["001.dcm"], "conflict": ["other.dcm"]},
    )


# Files that are cut short


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("alone", [True, False])
def test_a_file_that_is_cut_short_fails_alike_alone_and_among_others(
    run_dw: Dw, folder: Callable[..., Path], orthanc: Orthanc, there: bool, alone: bool
) -> None:
    """Orthanc refuses it (400) and does not name it, whether it holds the whole one or not."""
    sent = study(1, 3, side=64)
    if there:
        assert wire.stow(orthanc.url, [sent[1].data], headers=orthanc.headers).status == 200
    place = folder(sent)
    os.truncate(place / "001.dcm", 5000)
    run = run_dw("store", place / "001.dcm" if alone else place, env=orthanc.environment)
    found = outcomes(run)
    assert (run.code, found["failed"], "conflict" in found) == (1 if alone else 3, ["001.dcm"], False), run.out
    assert "the file is truncated" in reasons(run)
    assert "400" in reasons(run)


@pytest.mark.parametrize("alone", [True, False])
def test_a_refusal_of_what_differs_from_what_is_there_is_a_conflict_alone_and_among_others(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake], alone: bool
) -> None:
    sent = study(1, 2)
    there = replace(sent[0], data=images.instance(STUDY, sent[0].series, sent[0].uid, number=9, side=8))
    said = reply(400) if alone else reply(400, [item(sent[1].uid)])
    archive = Scripted([there], bend=posts(lambda _: said))
    place = folder(sent[:1] if alone else sent)
    run = run_dw("store", place, env={"DW_URL": fake_server(archive).url})
    assert outcomes(run)["conflict"] == ["000.dcm"], run.out
    assert "different content for this SOP Instance UID" in reasons(run)


# --verify


def test_verify_of_what_the_server_lost_or_does_not_give_back(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake]
) -> None:
    sent = study(1, 4)
    archive = Scripted()

    def bend(request: Request, answer: Answer) -> Answer:
        if is_retrieve(request, "instances"):
            if request.target.endswith(sent[1].uid):
                return Answer(404)
            if request.target.endswith(sent[2].uid):
                return Answer(500, {}, b"broken")
            if request.target.endswith(sent[3].uid):
                return replace(answer, body=_bytes(answer)[:600], framing="close", cut=True)
        return answer

    archive.bend = bend
    run = run_dw("store", folder(sent), "--verify", env={"DW_URL": fake_server(archive).url})
    assert run.code == 3
    assert outcomes(run) == {"stored": ["000.dcm", "002.dcm", "003.dcm"], "failed": ["001.dcm"]}
    assert reasons(run).count("not verified") == 2
    archive.bend = lambda r, a: Answer(501) if r.method == "GET" else a
    run = run_dw("store", folder(sent[:1]), "--verify", env={"DW_URL": fake_server(archive).url})
    assert run.code == 3
    assert "not verified" in reasons(run)


# --journal


def journal_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_journal_keeps_what_was_stored(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake], tmp_path: Path
) -> None:
    sent = study(1, 3)
    place = folder(sent)
    said = reply(200, [item(sent[0].uid), item(sent[1].uid)], [item(sent[2].uid, failure=0xA700)])
    archive = Scripted(bend=posts(lambda _: said, times=1))
    env = {"DW_URL": fake_server(archive).url}
    book = tmp_path / "night.jsonl"
    line = ("store", place, "--journal", book)
    assert run_dw(*line, env=env).code == 3
    assert {entry["outcome"] for entry in journal_lines(book)} == {"stored", "failed"}
    assert set(journal_lines(book)[0]) == {"path", "size", "mtime_ns", "instance", "server", "outcome", "reason"}
    # Torn by a kill in the middle of a line.
    with book.open("ab") as file:
        file.write(b'{"path":"/x","si')
    dry = run_dw(*line, "--dry-run", env=env)
    assert outcomes(dry) == {"present": ["000.dcm", "001.dcm"], "planned": ["002.dcm"]}
    archive.stored.clear()
    run = run_dw(*line, env=env)
    assert (run.code, outcomes(run)) == (0, {"present": ["000.dcm", "001.dcm"], "stored": ["002.dcm"]})
    assert [one.uid for one in archive.stored] == [sent[2].uid]
    # A file that changed is sent again; without the journal all are.
    os.utime(place / "000.dcm", (1, 1))
    archive.stored.clear()
    assert run_dw(*line, env=env).code == 0
    assert [one.uid for one in archive.stored] == [sent[0].uid]
    archive.stored.clear()
    assert run_dw("store", place, env=env).code == 0
    assert len(archive.stored) == 3


def test_verify_does_not_believe_the_journal(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake], tmp_path: Path
) -> None:
    sent = study(1, 3)
    archive = Scripted()
    env = {"DW_URL": fake_server(archive).url}
    line = ("store", folder(sent), "--journal", tmp_path / "night.jsonl")
    assert run_dw(*line, env=env).code == 0
    archive.stored.clear()
    del archive.instances[0]
    archive.instances[0] = replace(archive.instances[0], data=images.instance(STUDY, sent[1].series, sent[1].uid))
    run = run_dw(*line, "--verify", env=env)
    assert run.code == 3
    assert outcomes(run) == {"stored": ["000.dcm"], "conflict": ["001.dcm"], "present": ["002.dcm"]}
    assert "1 already there" in run.err
    assert "journal" not in run.err.splitlines()[-1]
    assert [one.uid for one in archive.stored] == [sent[0].uid]


# The run as a whole


def test_max_errors_stops_the_run(run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake]) -> None:
    server = fake_server(lambda _: Answer(500, {}, b"disk full"))
    line = ("store", folder(study(1, 20)), "-j", "1", "--batch-size", "1", "--max-errors", "4")
    run = run_dw(*line, env={"DW_URL": server.url})
    assert (run.code, len(server.requests)) == (1, 4)
    assert outcomes(run) == {"failed": [f"00{n}.dcm" for n in range(4)]}
    assert "stopped after 4 failures" in run.err


def test_the_report_of_a_store(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake], tmp_path: Path
) -> None:
    sent = study(1, 2)
    said = reply(200, [item(sent[0].uid)], [item(sent[1].uid, failure=0xA700)])
    place = folder(sent)
    (place / "notes.txt").write_text("nothing")
    report = tmp_path / "run.jsonl"
    url = fake_server(Scripted(bend=posts(lambda _: said))).url
    assert run_dw("store", place, "--report", report, env={"DW_URL": url}).code == 3
    *lines, summary = journal_lines(report)
    assert all(set(line) == {"outcome", "study", "series", "instance", "path", "size", "reason"} for line in lines)
    assert summary["summary"] == {"skipped": 1, "stored": 1, "failed": 1}
    assert (summary["exit"], summary["bytes"]) == (3, len(sent[0].data))
    assert summary["seconds"] > 0


def test_a_reader_that_goes_away_is_no_failure_of_the_report(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake], tmp_path: Path
) -> None:
    place = folder(study(1, 3, side=4))
    process = run_dw.start(
        "store", place, "--report", tmp_path / "r.jsonl", env={"DW_URL": fake_server(Scripted()).url}
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert b"report" not in err
    assert process.returncode == 0


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_tried_again(
    run_dw: Dw, folder: Callable[..., Path], orthanc: Orthanc, faults: Callable[..., Faults], status: int
) -> None:
    sent = study(1, 3)
    proxy = faults(orthanc.url, on_posts(ProxyAnswer(status, {"Retry-After": "0"}), times=3))
    run = run_dw("-v", "store", folder(sent), env={**orthanc.environment, "DW_URL": proxy.url})
    assert (run.code, list(outcomes(run))) == (0, ["stored"])
    # A whole word: the port of the server may have the same digits.
    assert len(re.findall(rf"\b{status}\b", run.err)) == 3, run.err


def test_a_login_that_fails_ends_the_run(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake]
) -> None:
    sent = study(1, 6)
    turns = count()
    archive = Scripted(bend=lambda r, a: Answer(403, {}, b"quota") if next(turns) else a)
    server = fake_server(archive)
    run = run_dw("store", folder(sent), "-j", "1", "--batch-size", "1", env={"DW_URL": server.url})
    assert run.code == 4
    assert outcomes(run) == {"stored": ["000.dcm"], "failed": ["001.dcm"]}
    assert len(server.requests) == 2
    assert run.err.count("may lack permission") == 1


def test_after_a_login_that_fails_the_next_step_is_named(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake]
) -> None:
    server = fake_server(lambda _: Answer(401))
    run_dw("profile", "add", "ward", server.url, "--user", "alice", "--password-env", "P")
    run = run_dw("-p", "ward", "store", folder(study(1, 2)), env={"P": "wrong"})
    assert (run.code, list(outcomes(run))) == (4, ["failed"]), run.err
    assert run.err.count("dw profile edit ward") == 1


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_folder_with_nothing_to_send_is_told_of(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake], options: tuple[str, ...]
) -> None:
    place = folder([])
    env = {"DW_URL": fake_server(Scripted()).url}
    run = run_dw("store", place, *options, env=env)
    assert (run.code, run.lines[1:]) == (0, [])
    assert f"no DICOM files found in {place}" in run.err
    (place / "notes.txt").write_text("nothing")
    assert f"no DICOM files found in {place}" in run_dw("store", place, *options, env=env).err
    folder(study(1, 1))
    run = run_dw("store", place, "--include", "*.xyz", *options, env=env)
    assert (run.code, f"no DICOM files found in {place} that match" in run.err) == (0, True)
    run = run_dw("store", place, *options, env=env)
    assert "found" not in run.err
    if not options:
        assert re.search(r"1 stored \([\d.]+ k?B in [\d.]+ s, [\d.]+ [kM]?B/s\)", run.err), run.err


def test_the_summary_of_no_bytes_has_no_rate(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake]
) -> None:
    run = run_dw("store", folder(study(1, 1)), env={"DW_URL": fake_server(lambda _: Answer(415)).url})
    assert "0 stored, 1 failed" in run.err


def test_a_report_in_a_new_folder_makes_it(
    run_dw: Dw, folder: Callable[..., Path], fake_server: Callable[..., Fake], tmp_path: Path
) -> None:
    env = {"DW_URL": fake_server(Scripted()).url}
    assert run_dw("store", folder(study(1, 1)), env=env).code == 0
    report = tmp_path / "out/new/rep.jsonl"
    run = run_dw("retrieve", "study", STUDY, "-o", tmp_path / "out", "--report", report, env=env)
    assert (run.code, journal_lines(report)[-1]["exit"]) == (0, 0), run.err
    run = run_dw("store", folder(study(1, 1)), "--report", report / "file", env=env)
    assert run.code == 2
    assert "another" in run.err
