"""Folders: DICOM is told by content, every oddity gets its reason, and nothing is offered twice."""

import os
import socket
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dwcli.dicomweb import part10
from dwcli.errors import UsageError
from dwcli.files.scan import DicomFile, Skipped, Unreadable, scan
from servers.images import element, instance
from servers.images import part10 as make_part10


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may do everything, so its tests of permissions run as nobody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def put(path: Path, data: bytes | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(instance(sop=f"2.25.{abs(hash(path))}") if data is None else data)
    return path


def found(*paths: Path, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> list[Path]:
    results = scan(paths, include=include, exclude=exclude)
    return [each.path for each in results if isinstance(each, DicomFile)]


def reasons(*paths: Path) -> dict[str, tuple[type, str]]:
    return {each.path.name: (type(each), each.reason) for each in scan(paths) if not isinstance(each, DicomFile)}


def test_dicom_is_told_by_content_and_described(tmp_path: Path) -> None:
    path = put(tmp_path / "no_ending", instance("2.25.10", "2.25.20", "2.25.30"))
    status = path.stat()
    assert list(scan([path])) == [
        DicomFile(
            path,
            status.st_size,
            status.st_mtime_ns,
            "2.25.10",
            "2.25.20",
            "2.25.30",
            "1.2.840.10008.5.1.4.1.1.7",
            "1.2.840.10008.1.2.1",
        )
    ]


def test_head_longer_than_the_first_look_is_read(tmp_path: Path) -> None:
    path = put(tmp_path / "long.dcm", instance(sop="2.25.9", t00090010=("UT", b"x" * 300_000)))
    assert found(path) == [path]


def test_every_other_file_is_named_with_its_reason(tmp_path: Path) -> None:
    put(tmp_path / "empty.dcm", b"")
    put(tmp_path / "notes.txt", b"hello, not an image")
    put(tmp_path / "fake.dcm", b"\x89PNG\r\n\x1a\n" + bytes(500))
    put(tmp_path / "html.dcm", b"<html><body>please log in</body></html>" * 20)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("a.dcm", instance())
    directory: dict[str, tuple[str, str | int | bytes]] = {
        "00080016": ("UI", part10.DICOMDIR),
        "00080018": ("UI", "2.25.1"),
    }
    put(tmp_path / "DICOMDIR", make_part10(directory))
    put(tmp_path / "cut.dcm", instance()[:200])
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "socket"))
        assert reasons(tmp_path) == {
            "empty.dcm": (Skipped, "empty file"),
            "notes.txt": (Skipped, "not DICOM"),
            "fake.dcm": (Skipped, "not DICOM"),
            "html.dcm": (Skipped, "not DICOM"),
            "all.zip": (Skipped, "zip archive"),
            "DICOMDIR": (Skipped, "DICOMDIR"),
            "cut.dcm": (Unreadable, "the file ends inside its first data elements"),
            "pipe": (Skipped, "not a regular file"),
            "socket": (Skipped, "not a regular file"),
            "gone": (Unreadable, "broken link"),
        }


def test_data_set_without_file_meta_information_is_a_failure_not_a_skip(tmp_path: Path) -> None:
    elements = (("00080016", "1.2.840.10008.5.1.4.1.1.7"), ("00080018", "2.25.1"), ("0020000D", "2.25.2"))
    path = put(tmp_path / "raw.dcm", b"".join(element(tag, "UI", value) for tag, value in elements))
    assert reasons(path) == {
        "raw.dcm": (
            Unreadable,
            "a DICOM data set without file meta information, which can't be sent as it is",
        )
    }


def test_text_that_begins_like_a_data_set_is_not_dicom(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "odd", b"\x08\x00\x16\x00 nothing that can be parsed" * 10)
    assert reasons(tmp_path) == {"odd": (Skipped, "not DICOM")}
    assert capfd.readouterr() == ("", "")


def test_unreadable_file_and_folder_are_failures_with_the_reason() -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        top.chmod(0o755)
        put(top / "secret.dcm").chmod(0)
        put(top / "locked/a.dcm")
        (top / "locked").chmod(0)
        put(top / "open.dcm").chmod(0o644)
        with unprivileged():
            results = {each.path.name: each for each in scan([top])}
        (top / "locked").chmod(0o700)
        assert isinstance(results["open.dcm"], DicomFile)
        for unreadable in ("secret.dcm", "locked"):
            assert results[unreadable] == Unreadable(top / unreadable, "cannot be read: Permission denied")


def test_absent_path_is_refused_before_the_first_result(tmp_path: Path) -> None:
    put(tmp_path / "a.dcm")
    with pytest.raises(UsageError, match=r"nope\.dcm does not exist"):
        scan([tmp_path / "a.dcm", tmp_path / "nope.dcm"])


def test_files_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    wanted = [put(tmp_path / name) for name in ("a.dcm", "b/a.dcm", "b/c/z.dcm", "b/d.dcm", "c.dcm")]
    assert found(tmp_path) == wanted


def test_first_result_comes_before_later_folders_are_read(tmp_path: Path) -> None:
    put(tmp_path / "a/1.dcm")
    put(tmp_path / "b/1.dcm")
    results = scan([tmp_path])
    assert next(results).path == tmp_path / "a/1.dcm"
    put(tmp_path / "b/0.dcm")
    assert next(results).path == tmp_path / "b/0.dcm"


def test_file_reached_twice_comes_once(tmp_path: Path) -> None:
    path = put(tmp_path / "a/1.dcm")
    put(tmp_path / "a/2.dcm")
    (tmp_path / "link.dcm").symlink_to(path)
    assert len(found(path, tmp_path / "a", tmp_path, tmp_path / "a/../a")) == 2


def test_linked_folder_is_followed_and_a_loop_ends(tmp_path: Path) -> None:
    put(tmp_path / "real/1.dcm")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link").symlink_to(tmp_path / "real")
    (tmp_path / "real/up").symlink_to(tmp_path / "in")
    assert found(tmp_path / "in") == [tmp_path / "in/link/1.dcm"]


def test_link_to_itself_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert reasons(tmp_path)["self"][0] is Unreadable


def test_patterns_choose_by_name_and_by_path(tmp_path: Path) -> None:
    wanted = put(tmp_path / "ct/1.dcm")
    other = put(tmp_path / "ct/1.ima")
    derived = put(tmp_path / "ct/derived/2.dcm")
    top = put(tmp_path / "0.dcm")
    assert found(tmp_path, include=("*.dcm",)) == [top, wanted, derived]
    assert found(tmp_path, include=("ct/*",), exclude=("derived/",)) == [wanted, other]
    assert found(tmp_path, exclude=("ct/derived", "0.*")) == [wanted, other]
    assert found(tmp_path / "ct", exclude=("ct", "*.ima", "derived/*")) == [wanted]


def test_own_drafts_and_index_are_never_offered(tmp_path: Path) -> None:
    put(tmp_path / ".dw-00000000.tmp/1")
    put(tmp_path / ".dw-index.jsonl", b"{}\n")
    hidden = put(tmp_path / ".hidden.dcm")
    assert [each.path for each in scan([tmp_path])] == [hidden]


def test_name_that_is_no_text_is_scanned(tmp_path: Path) -> None:
    path = put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.dcm")))
    assert found(tmp_path) == [path]
