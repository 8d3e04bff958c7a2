"""The journal: a killed run is taken up where it was, and nothing unchanged is sent twice."""

import json
import os
import tracemalloc
from pathlib import Path

import pytest

from dwcli.errors import DwError, TemporaryError, UsageError
from dwcli.files.journal import Journal
from dwcli.files.scan import DicomFile

SERVER = "http://127.0.0.1:8042/dicom-web"


def file(name: str = "a.dcm", *, size: int = 10, mtime_ns: int = 7, uid: str = "2.25.1") -> DicomFile:
    return DicomFile(Path(name), size, mtime_ns, "2.25.8", "2.25.9", uid, "c", "t")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "night.jsonl"


def is_done(path: Path, asked: DicomFile, server: str = SERVER) -> bool:
    with Journal(path, server) as journal:
        return journal.done(asked)


@pytest.mark.parametrize("outcome", ["stored", "warned", "present"])
def test_accepted_file_is_done_for_the_next_run(path: Path, outcome: str) -> None:
    with Journal(path, SERVER) as journal:
        assert not journal.done(file())
        journal.record(file(), outcome)
        assert journal.done(file())
    assert is_done(path, file())


@pytest.mark.parametrize("outcome", ["failed", "conflict", "unknown"])
def test_file_that_was_not_accepted_is_sent_again(path: Path, outcome: str) -> None:
    with Journal(path, SERVER) as journal:
        journal.record(file(), outcome, "C000")
    assert not is_done(path, file())


def test_later_line_beats_an_earlier_one(path: Path) -> None:
    with Journal(path, SERVER) as journal:
        journal.record(file(), "stored")
        journal.record(file(), "unknown", "deleted there")
    assert not is_done(path, file())


@pytest.mark.parametrize("changed", [file(size=11), file(mtime_ns=8), file(uid="2.25.2"), file("b.dcm")])
def test_changed_file_is_sent_again(path: Path, changed: DicomFile) -> None:
    with Journal(path, SERVER) as journal:
        journal.record(file(), "stored")
    assert not is_done(path, changed)


def test_journal_counts_only_for_its_server(path: Path) -> None:
    with Journal(path, SERVER) as journal:
        journal.record(file(), "stored")
    assert not is_done(path, file(), "http://127.0.0.1:9999")
    assert is_done(path, file())


def test_file_is_the_same_from_another_working_folder(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Journal(path, SERVER) as journal:
        journal.record(file("sub/a.dcm"), "stored")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert is_done(path, file("a.dcm"))


def test_lines_have_the_documented_keys(path: Path) -> None:
    odd = os.fsdecode(b"/x/\xff\n\xe2\x80\xa8.dcm")
    with Journal(path, SERVER) as journal:
        journal.record(file(odd), "failed", "cannot understand (C000)")
    line = json.loads(path.read_text())
    assert line == {
        "path": odd,
        "size": 10,
        "mtime_ns": 7,
        "instance": "2.25.1",
        "server": SERVER,
        "outcome": "failed",
        "reason": "cannot understand (C000)",
    }


def test_journal_cut_at_any_byte_keeps_its_whole_lines_and_goes_on(path: Path) -> None:
    files = [file(f"/x/{number}.dcm", uid=f"2.25.{number}") for number in range(3)]
    with Journal(path, SERVER) as journal:
        for each in files[:2]:
            journal.record(each, "stored")
    whole = path.read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == 10]
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with Journal(path, SERVER) as journal:
            # A line that lacks only its newline is whole.
            assert [journal.done(each) for each in files[:2]] == [cut >= end - 1 for end in ends]
            journal.record(files[2], "stored")
        with Journal(path, SERVER) as journal:
            assert [journal.done(each) for each in files] == [*(cut >= end - 1 for end in ends), True]


def test_nuls_of_a_power_cut_are_passed_over(path: Path) -> None:
    with Journal(path, SERVER) as journal:
        journal.record(file(), "stored")
    with path.open("ab") as out:
        out.write(bytes(100))
    with Journal(path, SERVER) as journal:
        journal.record(file("b.dcm"), "stored")
    assert is_done(path, file())
    assert is_done(path, file("b.dcm"))


@pytest.mark.parametrize(
    "content", [b"\0" * 128 + b"DICM...", b'{\n "a": 1\n}\n', b'{"00080018": {}}\n', b"hello\n", b"[]"]
)
def test_other_file_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is not a journal"):
        Journal(path, SERVER)
    assert path.read_bytes() == content


def test_what_cannot_be_read_behind_whole_lines_is_passed_over(path: Path) -> None:
    with Journal(path, SERVER) as journal:
        journal.record(file(), "stored")
    with path.open("ab") as out:
        out.write(b'\0\0garbage\n[]\n{"a":1}\n\xff\xfe\n')
    with Journal(path, SERVER) as journal:
        journal.record(file("b.dcm"), "stored")
    assert is_done(path, file())
    assert is_done(path, file("b.dcm"))


def test_a_device_is_no_journal() -> None:
    """Its first read would be without end."""
    for device in (Path("/dev/full"), Path("/dev/zero")):
        if not device.exists():
            pytest.skip("no such devices here")
        with pytest.raises(UsageError, match="is not a journal"):
            Journal(device, SERVER)


def test_a_line_without_end_is_passed_over_in_little_memory(path: Path) -> None:
    with Journal(path, SERVER) as journal:
        journal.record(file(), "stored")
    with path.open("ab") as out:
        out.write(b'{"path":"')
        out.truncate(path.stat().st_size + 200_000_000)
    tracemalloc.start()
    try:
        with Journal(path, SERVER) as journal:
            assert journal.done(file())
            journal.record(file("b.dcm"), "stored")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert is_done(path, file("b.dcm"))


def test_second_run_is_told_to_wait(path: Path) -> None:
    with Journal(path, SERVER):
        with pytest.raises(TemporaryError, match="another run"):
            Journal(path, SERVER)
        path.touch()
    with Journal(path, SERVER):
        pass


def test_journal_in_the_wrong_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        Journal(tmp_path, SERVER)
    with pytest.raises(UsageError, match=r"absent/night\.jsonl can't be opened: No such file") as raised:
        Journal(tmp_path / "absent/night.jsonl", SERVER)
    assert raised.value.hint == f"mkdir -p {tmp_path / 'absent'}"
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="can't be opened: Not a directory") as raised:
        Journal(tmp_path / "file/night.jsonl", SERVER)
    assert raised.value.hint


def test_full_disk_is_named_and_the_torn_line_is_passed_over(path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(path, SERVER) as journal:
        journal.record(file(), "stored")
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, hard))
            with pytest.raises(DwError, match=r"night\.jsonl can't be written: File too large"):
                journal.record(file("b.dcm"), "stored")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert not journal.done(file("b.dcm"))
        journal.record(file("c.dcm"), "stored")
    with Journal(path, SERVER) as journal:
        assert [journal.done(file(name)) for name in ("a.dcm", "b.dcm", "c.dcm")] == [True, False, True]
