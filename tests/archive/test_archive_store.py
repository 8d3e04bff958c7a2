"""STOW-RS: what is acknowledged is there, and what is not whole leaves nothing."""

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dwcli.archive import index, storing
from dwcli.archive.app import INDEX, MARK
from servers import images
from servers.archive import DICOM, Asker, Open

ONE = images.instance("1.2.1", "1.2.1.1", "1.2.1.1.1")
TWO = images.instance("1.2.2", "1.2.2.1", "1.2.2.1.1")


def _files(root: Path) -> list[str]:
    """The files below `root` that are not `dw`'s own, and its drafts."""
    own = (MARK, INDEX, f"{INDEX}-wal", f"{INDEX}-shm", f"{INDEX}.guard")
    found = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return sorted(name for name in found if name not in own and not name.endswith(".lock"))


def _codes(reply: object, tag: str = "00081198") -> list[int]:
    return [item["00081197"]["Value"][0] for item in reply.json()[tag]["Value"]]  # type: ignore[attr-defined]


def test_what_is_stored_lies_under_its_uids_byte_for_byte(archive: Asker) -> None:
    reply = archive.stow(ONE, TWO)
    assert reply.status_code == 200
    assert [item["00081155"]["Value"] for item in reply.json()["00081199"]["Value"]] == [["1.2.1.1.1"], ["1.2.2.1.1"]]
    assert _files(archive.root) == ["1.2.1/1.2.1.1/1.2.1.1.1.dcm", "1.2.2/1.2.2.1/1.2.2.1.1.dcm"]
    assert (archive.root / "1.2.1/1.2.1.1/1.2.1.1.1.dcm").read_bytes() == ONE
    url = reply.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    assert archive(url.removeprefix("http://archive/"), "application/dicom; transfer-syntax=*").content == ONE


def test_the_same_bytes_again_are_there_already_and_others_are_a_duplicate(archive: Asker) -> None:
    archive.stow(ONE)
    again = archive.stow(ONE, TWO)
    assert again.status_code == 202
    told = [item.get("00081196", {}).get("Value") for item in again.json()["00081199"]["Value"]]
    assert told == [[0xB00E], None]
    assert "00081198" not in again.json()
    other = images.instance("1.2.1", "1.2.1.1", "1.2.1.1.1", number=9)
    reply = archive.stow(other, TWO)
    assert (reply.status_code, _codes(reply)) == (202, [0x0111])
    assert archive.stow(other).status_code == 409
    assert (archive.root / "1.2.1/1.2.1.1/1.2.1.1.1.dcm").read_bytes() == ONE


def test_an_instance_of_another_study_is_refused(archive: Asker) -> None:
    reply = archive.stow(ONE, path="studies/1.2.2")
    assert (reply.status_code, _codes(reply)) == (409, [0xA901])
    assert archive.stow(TWO, path="studies/1.2.2").status_code == 200
    assert _files(archive.root) == ["1.2.2/1.2.2.1/1.2.2.1.1.dcm"]


def test_parts_that_are_not_dicom_fail_and_the_others_are_stored(archive: Asker) -> None:
    reply = archive.stow(b"no DICOM", ONE)
    assert (reply.status_code, _codes(reply, "0008119A")) == (202, [0xC000])
    assert archive.stow(ONE, kind="application/pdf").status_code == 409
    nameless = images.instance(study="", series="1.2", sop="1.3")
    assert _codes(archive.stow(nameless)) == [0xC000]
    assert len(_files(archive.root)) == 1


@pytest.mark.parametrize("cut", [1, 3, 40, len(ONE) // 2, len(ONE) + 60])
@pytest.mark.parametrize("announced", [True, False])
def test_an_upload_that_ends_early_stores_nothing(archive: Asker, cut: int, announced: bool) -> None:
    head = b"--dwtest-61f0\r\nContent-Type: application/dicom\r\n\r\n"
    body = head + TWO + b"\r\n" + head + ONE + b"\r\n--dwtest-61f0--"
    reply = archive.send(body[:-cut], length=len(body) if announced else len(body) - cut)
    assert reply.status_code == 400
    assert _files(archive.root) == [] and archive.uids("studies") == []


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/dicom", 415),
        ('multipart/related; type="application/dicom+json"; boundary=x', 415),
        ("multipart/form-data; boundary=x", 415),
        ('multipart/related; type="application/dicom"', 400),
        ("multipart/related; type=application/dicom; boundary=x", 400),
    ],
)
def test_other_bodies_are_refused(archive: Asker, kind: str, status: int) -> None:
    reply = archive("studies", method="POST", body=b"--x--\r\n", Content_Type=kind, Content_Length="7")
    assert reply.status_code == status


def test_a_read_only_archive_refuses(opened: Open) -> None:
    opened().stow(ONE)
    archive = opened(read_only=True)
    assert archive.stow(TWO).status_code == 403
    assert archive.uids("studies") == ["1.2.1"]


def test_a_file_with_a_name_but_no_row_is_taken_in_at_the_next_start(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = opened()
    archive.stow(TWO)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(index, "add", die)
        with pytest.raises(KeyboardInterrupt):
            archive.stow(ONE)
    assert len(_files(archive.root)) == 2 and archive.uids("studies") == ["1.2.2"]
    assert opened().uids("studies") == ["1.2.2", "1.2.1"]


def test_the_index_is_built_again_from_the_files(opened: Open) -> None:
    first = opened()
    first.stow(ONE, TWO)
    before = first.rows("instances?includefield=all")
    first.archive.close()
    for path in first.root.glob(f"{INDEX}*"):
        path.write_bytes(b"no database at all" * 100) if path.name == INDEX else path.unlink()
    assert opened().rows("instances?includefield=all") == before


def test_an_index_that_was_half_built_is_built_again(opened: Open) -> None:
    first = opened()
    first.stow(ONE, TWO)
    first.archive.close()
    with sqlite3.connect(first.root / INDEX) as db:
        db.execute("PRAGMA user_version = 0")
        db.execute("DELETE FROM file")
        db.execute("DELETE FROM instance")
    db.close()
    assert opened().uids("studies") == ["1.2.1", "1.2.2"]


_STORE_FIFTY = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from dwcli.archive.app import open_archive
from servers.archive import Asker
from servers import images
asker = Asker(open_archive(Path({root!r})))
print("ready", flush=True)
for number in range(50):
    files = [images.instance("1.2.1", f"1.2.1.{{number % 5}}", f"1.2.1.{{number}}.{{part}}") for part in range(3)]
    reply = asker.stow(*files)
    assert reply.status_code == 200, reply.text
    print(number, flush=True)
"""


@pytest.mark.parametrize("wait", [0.0, 0.05, 0.15, 0.3, 0.5])
def test_kill_9_loses_nothing_acknowledged_and_leaves_nothing_half(opened: Open, tmp_path: Path, wait: float) -> None:
    root = tmp_path / "a"
    tests = str(Path(__file__).parents[1])
    code = _STORE_FIFTY.format(tests=tests, root=str(root))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "ready\n"
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    acknowledged = [int(line) for line in process.stdout.read().split()]
    process.stdout.close()
    process.wait()
    archive = opened()
    found = set(archive.uids("instances", "00080018"))
    assert archive.stow(TWO).status_code == 200
    found.add("1.2.2.1.1")
    assert {f"1.2.1.{number}.{part}" for number in acknowledged for part in range(3)} <= found
    assert not [name for name in _files(root) if ".tmp/" in name], "drafts of the dead are cleared"
    names = {Path(name).stem for name in _files(root)}
    assert names == found, "index and files agree"
    size = len(images.instance("1.2.1", "1.2.1.1", "1.2.1.1.1"))
    assert all((root / name).stat().st_size in range(size - 4, size + 5) for name in _files(root)), "none is half"


def test_stores_at_once_do_not_get_in_each_others_way(archive: Asker) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def store(number: int) -> int:
        return archive.stow(
            *(images.instance("1.2.1", "1.2.1.1", f"1.2.1.1.{number}.{part}") for part in range(3)), ONE
        ).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(store, range(24))) == [200] + [202] * 23
    assert len(archive.uids("instances", "00080018")) == 24 * 3 + 1


def test_memory_does_not_grow_with_the_upload(archive: Asker) -> None:
    class Body:
        def __init__(self) -> None:
            head = images._head("1.2.7", "1.2.7.1", "1.2.7.1.1", 1, 512, 200)
            pixels = 512 * 512 * 2 * 200
            opening = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + head
            closing = b"\r\n--x--\r\n"
            self.length = len(opening) + pixels + len(closing)
            self._pieces: Iterator[bytes] = iter([opening, *([bytes(1 << 20)] * (pixels >> 20)), closing])
            self._rest = b""

        def read(self, size: int = -1, /) -> bytes:
            if not self._rest:
                self._rest = next(self._pieces, b"")
            data, self._rest = self._rest[:size], self._rest[size:]
            return data

    import tracemalloc

    store = archive.archive.store
    assert isinstance(store, storing.Store)
    body = Body()
    tracemalloc.start()
    try:
        kind = 'multipart/related; type="application/dicom"; boundary=x'
        reply = store.store(body, body.length, kind, "", "http://archive", "application/dicom+json")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reply.status == 200 and peak < 16 << 20


def test_what_lies_behind_a_link_out_of_the_archive_is_not_given(archive: Asker, tmp_path: Path) -> None:
    archive.stow(ONE)
    path = archive.root / "1.2.1/1.2.1.1/1.2.1.1.1.dcm"
    outside = tmp_path / "secret.dcm"
    path.rename(outside)
    path.symlink_to(outside)
    reply = archive("studies/1.2.1", DICOM)
    assert reply.status_code == 404
