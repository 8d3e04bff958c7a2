"""The output folder: whole files under safe names or nothing, whatever comes and however a run ends."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwcli.dicomweb.part10 import NotDicom
from dwcli.errors import ExitCode, UsageError
from dwcli.files.draft import CollisionError, FolderError, Kept
from dwcli.files.layout import Layout
from dwcli.files.sink import Sink
from servers.images import instance, part10

FLAT = Layout("{SOPInstanceUID}.dcm")


def find(sink: Sink, study: str, series: str, instance: str) -> Path | None:
    """Where an instance is present."""
    return next((one.path for one in sink.instances(study, series) if one.instance == instance), None)


def write(sink: Sink, data: bytes, piece: int = 1 << 16) -> Kept:
    with sink.open() as draft:
        for at in range(0, len(data), piece):
            draft.write(data[at : at + piece])
        return draft.keep()


def names(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_instance_appears_whole_under_its_name(root: Path) -> None:
    data = instance("2.25.1", "2.25.2", "2.25.3")
    with Sink(root) as sink:
        kept = write(sink, data)
        path = root / "2.25.1/2.25.2/2.25.3.dcm"
        assert kept == Kept(str(path), "2.25.1", "2.25.2", "2.25.3", len(data), "written")
        assert path.read_bytes() == data
    assert names(root) == ["2.25.1/2.25.2/2.25.3.dcm"]
    assert [path.name for path in root.iterdir()] == ["2.25.1"]


@pytest.mark.parametrize("piece", [1, 7, 100, 1 << 16, 1 << 24])
@pytest.mark.parametrize("side", [1, 400])
def test_pieces_of_any_size_give_the_same_file(root: Path, piece: int, side: int) -> None:
    data = instance(side=side)
    with Sink(root) as sink:
        if piece == 1 and side == 400:
            data = data[: 1 << 17]
        assert Path(write(sink, data, piece).path).read_bytes() == data


def test_head_longer_than_all_buffers_is_found(root: Path) -> None:
    data = instance(t00090010=("UT", b"x" * 3_000_000))
    with Sink(root, Layout("{PatientID}/{SOPInstanceUID}")) as sink:
        kept = write(sink, data, 50_000)
        assert Path(kept.path).relative_to(root).as_posix() == "SYN1/2.25.3"
        assert Path(kept.path).read_bytes() == data


def test_tag_behind_megabytes_of_data_is_left_empty_in_the_name(root: Path) -> None:
    data = instance(t00210010=("UT", b"x" * 9_000_000), t00400254=("LO", "late"))
    layout = Layout("{PatientID}_{PerformedProcedureStepDescription}/{SOPInstanceUID}")
    with Sink(root, layout) as sink:
        assert Path(write(sink, data).path).relative_to(root).as_posix() == "SYN1__empty_/2.25.3"


def test_values_of_the_layout_are_read_in_their_character_set(root: Path) -> None:
    data = instance(t00080005=("CS", "ISO_IR 100"), t00100010=("PN", "M\xfcller^J\xf6rg ".encode("latin-1")))
    with Sink(root, Layout("{PatientName}/{SOPInstanceUID}.dcm")) as sink:
        assert Path(write(sink, data).path).parent.name == "Müller^Jörg"


def test_draft_tells_what_it_is_before_it_is_whole(root: Path) -> None:
    with Sink(root) as sink, sink.open() as draft:
        draft.write(instance(sop="2.25.77", side=64)[:4000])
        assert draft.head
        assert draft.head.instance == "2.25.77"
        assert draft.size == 4000


def test_nothing_is_named_before_keep_and_nothing_left_without_it(root: Path) -> None:
    data = instance(side=800)
    with Sink(root) as sink:
        with sink.open() as draft:
            draft.write(data)
            assert [path for path in names(root) if not path.startswith(".dw-")] == []
        assert [path for path in names(root) if not path.endswith(".lock")] == []
    assert names(root) == []


@pytest.mark.parametrize("data", [b"", b"<html>please log in</html>" * 100, bytes(600_000), instance()[:300]])
def test_part_that_is_not_dicom_is_refused_and_leaves_nothing(root: Path, data: bytes) -> None:
    with Sink(root) as sink:
        with pytest.raises(NotDicom):
            write(sink, data)
        assert write(sink, instance()).outcome == "written"
    assert names(root) == ["2.25.1/2.25.2/2.25.3.dcm"]


def test_endless_part_without_a_name_is_given_up(root: Path) -> None:
    with Sink(root) as sink, sink.open() as draft:
        draft.write(instance(t00080008=("UT", b"x" * 20_000_000))[:1000])
        for _ in range(20):
            draft.write(b"x" * 1_000_000)
        with pytest.raises(NotDicom, match="8 MiB"):
            draft.keep()


def test_hint_names_what_the_bytes_do_not_tell(root: Path) -> None:
    data = part10({"00080016": ("UI", "1.2"), "00080018": ("UI", "2.25.3"), "00080060": ("CS", "OT")})
    with Sink(root) as sink, sink.open() as draft:
        draft.write(data)
        kept = draft.keep(("2.25.1", "2.25.2", "2.25.99"))
    assert (kept.study, kept.series, kept.instance) == ("2.25.1", "2.25.2", "2.25.3")
    assert names(root) == ["2.25.1/2.25.2/2.25.3.dcm"]


@pytest.mark.parametrize(
    "uid", ["../../etc/x", "/etc/passwd", "1" * 300, "..", "a\0b", "CON", "\\\\host\\x", ".dw-index.jsonl"]
)
def test_hostile_uid_stays_inside_the_folder(tmp_path: Path, uid: str) -> None:
    root = tmp_path / "deep/er/out"
    data = instance(uid, uid, uid)
    with Sink(root) as sink:
        kept = write(sink, data)
        assert kept.instance == uid
        assert find(sink, uid, uid, uid) == Path(kept.path)
        assert [each.instance for each in sink.instances(uid)] == [uid]
    assert Path(kept.path).resolve().is_relative_to(root.resolve())
    assert Path(kept.path).read_bytes() == data
    assert len(Path(kept.path).relative_to(root).parts) == 3
    assert len(names(tmp_path)) == 1


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=6), st.booleans())
def test_what_is_there_is_the_first_of_the_run_and_whole(contents: list[str], overwrite: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, Sink(Path(folder), overwrite=overwrite) as sink:
        for number, content in enumerate(contents):
            kept = write(sink, instance(t00100020=("LO", content)))
            expected = "written" if number == 0 else "same" if content == contents[0] else "conflict"
            assert kept.outcome == expected
            assert Path(kept.path).read_bytes() == instance(t00100020=("LO", contents[0]))


def test_earlier_run_is_kept_unless_overwritten(root: Path) -> None:
    old, new = instance(t00100020=("LO", "old")), instance(t00100020=("LO", "new"))
    with Sink(root) as sink:
        write(sink, old)
    with Sink(root) as sink:
        assert write(sink, old).outcome == "same"
        kept = write(sink, new)
    assert (kept.outcome, Path(kept.path).read_bytes()) == ("conflict", old)
    with Sink(root, overwrite=True) as sink:
        assert write(sink, new).outcome == "replaced"
        assert write(sink, new).outcome == "same"
        assert write(sink, old).outcome == "conflict"
    assert Path(kept.path).read_bytes() == new


@pytest.mark.parametrize("overwrite", [False, True])
def test_two_instances_of_one_name_are_an_error_naming_both(root: Path, overwrite: bool) -> None:
    first, second = instance(sop="11.3", t00100020=("LO", "1")), instance(sop="1.3", t00100020=("LO", "11"))
    for same_run in (True, False):
        with Sink(root, Layout("{PatientID}{SOPInstanceUID}"), overwrite=overwrite) as sink:
            if same_run:
                write(sink, first)
            with pytest.raises(CollisionError) as caught:
                write(sink, second)
        assert "11.3, already stored, and 1.3" in caught.value.message
        assert (root / "111.3").read_bytes() == first
    assert names(root) == [".dw-index.jsonl", "111.3"]


def test_folder_where_a_file_should_be_and_the_reverse_are_collisions(root: Path) -> None:
    (root / "2.25.3.dcm").mkdir(parents=True)
    (root / "SYN1").write_text("a file")
    with Sink(root, FLAT) as sink, pytest.raises(CollisionError, match="it is a folder"):
        write(sink, instance())
    with (
        Sink(root, Layout("{PatientID}/{SOPInstanceUID}")) as sink,
        pytest.raises(CollisionError, match="SYN1"),
    ):
        write(sink, instance())


def test_folder_removed_meanwhile_is_made_again(root: Path) -> None:
    with Sink(root) as sink:
        path = Path(write(sink, instance(sop="2.25.4")).path)
        path.unlink()
        path.parent.rmdir()
        assert Path(write(sink, instance(sop="2.25.5")).path).exists()


def test_file_system_without_links_still_keeps_what_is_there(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(source: object, target: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with Sink(root) as sink:
        assert write(sink, instance()).outcome == "written"
        assert write(sink, instance()).outcome == "same"
        assert write(sink, instance(number=2)).outcome == "conflict"
    assert (root / "2.25.1/2.25.2/2.25.3.dcm").read_bytes() == instance()
    assert len(names(root)) == 1


def test_folder_is_made_only_when_it_is_needed(root: Path) -> None:
    sink = Sink(root / "a/b")
    assert find(sink, "1", "2", "3") is None
    assert list(sink.instances("1")) == []
    assert not root.exists()
    sink.prepare()
    assert (root / "a/b").is_dir()
    sink.close()


def test_folders_that_were_made_for_nothing_go_again(tmp_path: Path) -> None:
    with Sink(tmp_path / "new" / "deep") as sink:
        sink.prepare()
        assert (tmp_path / "new" / "deep").is_dir()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old").mkdir()
    with Sink(tmp_path / "old") as sink:
        sink.prepare()
    assert (tmp_path / "old").is_dir()


def test_a_folder_that_another_run_works_in_stays(tmp_path: Path) -> None:
    with Sink(tmp_path / "out") as first:
        first.prepare()
        with Sink(tmp_path / "out") as second:
            second.prepare()
            first.close()
            kept = write(second, instance())
        assert Path(kept.path).read_bytes() == instance()


def test_a_folder_that_goes_between_two_looks_at_it_is_no_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = Path.is_dir

    def is_dir(path: Path) -> bool:
        if path == root and path.exists():
            path.rmdir()  # as another run does that had made it
        return look(path)

    root.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_dir", is_dir)
        with Sink(root) as sink:
            sink.prepare()
            assert root.exists()


def test_runs_that_come_and_go_at_once_do_not_take_the_folder_from_each_other(tmp_path: Path) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            for _ in range(40):
                with Sink(tmp_path / "a" / "out") as sink:
                    sink.prepare()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_file_in_place_of_the_folder_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        Sink(tmp_path / "file")
    with pytest.raises(UsageError), Sink(tmp_path / "file/below") as sink:
        sink.prepare()


@contextmanager
def unprivileged() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_folder_that_cannot_be_written_is_named() -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o555)
        for root in (Path(name), Path(name) / "below"):
            with unprivileged(), pytest.raises(FolderError, match="Permission denied") as caught:
                Sink(root).prepare()
            assert str(root) in caught.value.message
            assert caught.value.exit_code is ExitCode.FAILED
        Path(name).chmod(0o700)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of 1 MB at `folder`, where this process may mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "dw-test", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if done.returncode:
        pytest.skip(f"may not mount a tmpfs: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("layout", [Layout(), FLAT])
def test_full_disk_is_named_and_leaves_whole_files_only(root: Path, layout: Layout) -> None:
    files = {f"2.25.{number}": instance(sop=f"2.25.{number}", side=300) for number in range(20)}
    kept = []
    with small_disk(root):
        with Sink(root, layout) as sink:
            with pytest.raises(FolderError, match="No space left on device") as caught:
                for data in files.values():
                    kept.append(write(sink, data))
            assert str(root) in caught.value.message
            assert "free space there" in caught.value.hint
            assert 3 <= len(kept) < 20
        left = [path for path in root.rglob("*") if path.is_file() and path.name != ".dw-index.jsonl"]
        assert {path.name for path in left} == {Path(each.path).name for each in kept}
        for each in kept:
            assert Path(each.path).read_bytes() == files[each.instance]


def test_file_over_the_allowed_size_leaves_nothing(root: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Sink(root) as sink:
        sink.prepare()
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
        try:
            with pytest.raises(FolderError, match="File too large"):
                write(sink, instance(side=800))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert write(sink, instance()).outcome == "written"
    assert names(root) == ["2.25.1/2.25.2/2.25.3.dcm"]


# Finding again


@pytest.mark.parametrize("layout", [Layout(), FLAT, Layout("{PatientName}/x{SOPInstanceUID}")])
def test_next_run_finds_what_is_complete(root: Path, layout: Layout) -> None:
    with Sink(root, layout) as sink:
        for series in ("2.25.20", "2.25.21"):
            for number in range(3):
                write(sink, instance("2.25.1", series, f"{series}.{number}"))
        write(sink, instance("2.25.2", "2.25.22", "2.25.99"))
    with Sink(root, layout) as sink:
        path = find(sink, "2.25.1", "2.25.20", "2.25.20.1")
        assert path
        assert path.read_bytes() == instance("2.25.1", "2.25.20", "2.25.20.1")
        assert find(sink, "2.25.1", "2.25.20", "2.25.21.1") is None
        assert find(sink, "2.25.7", "2.25.20", "2.25.20.1") is None
        assert sorted(each.instance for each in sink.instances("2.25.1", "2.25.21")) == [
            f"2.25.21.{number}" for number in range(3)
        ]
        assert {(each.series, each.path.exists()) for each in sink.instances("2.25.1")} == {
            ("2.25.20", True),
            ("2.25.21", True),
        }
        assert len(list(sink.instances("2.25.1"))) == 6


@pytest.mark.parametrize("layout", [Layout(), FLAT])
@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: bytes(len(data)), lambda data: data[:140]])
def test_what_is_no_dicom_file_any_more_is_not_there_and_gives_way(
    root: Path, layout: Layout, damage: Callable[[bytes], bytes]
) -> None:
    with Sink(root, layout) as sink:
        path = Path(write(sink, instance()).path)
    path.write_bytes(damage(instance()))
    with Sink(root, layout) as sink:
        assert find(sink, "2.25.1", "2.25.2", "2.25.3") is None
        assert list(sink.instances("2.25.1")) == []
        assert list(sink.instances("2.25.1", "2.25.2")) == []
        assert write(sink, instance()).outcome == "replaced"
        assert find(sink, "2.25.1", "2.25.2", "2.25.3") == path
    assert path.read_bytes() == instance()


def test_file_of_another_instance_under_the_name_is_not_the_instance(root: Path) -> None:
    with Sink(root) as sink:
        path = Path(write(sink, instance()).path)
    path.write_bytes(instance(sop="2.25.4"))
    with Sink(root) as sink:
        assert find(sink, "2.25.1", "2.25.2", "2.25.3") is None
        assert list(sink.instances("2.25.1", "2.25.2")) == []
        with pytest.raises(CollisionError, match=r"contains a different instance \(2\.25\.4\)"):
            write(sink, instance())
    assert path.read_bytes() == instance(sop="2.25.4")


def test_index_does_not_believe_in_a_file_that_changed_or_went(root: Path) -> None:
    with Sink(root, FLAT) as sink:
        first, second = (write(sink, instance(sop=f"2.25.{number}")) for number in (3, 4))
    Path(first.path).unlink()
    Path(second.path).write_bytes(Path(second.path).read_bytes()[:-1])
    with Sink(root, FLAT) as sink:
        assert find(sink, "2.25.1", "2.25.2", "2.25.3") is None
        assert find(sink, "2.25.1", "2.25.2", "2.25.4") is None
        assert list(sink.instances("2.25.1")) == []


def test_file_whose_index_line_was_lost_is_found_to_be_the_same_and_noted(root: Path) -> None:
    with Sink(root, FLAT) as sink:
        write(sink, instance())
    index = root / ".dw-index.jsonl"
    index.write_bytes(index.read_bytes()[:20])
    with Sink(root, FLAT) as sink:
        assert find(sink, "2.25.1", "2.25.2", "2.25.3") is None
        assert write(sink, instance()).outcome == "same"
    with Sink(root, FLAT) as sink:
        assert find(sink, "2.25.1", "2.25.2", "2.25.3")
    assert len(index.read_bytes().splitlines()) == 2


def test_index_that_points_out_of_the_folder_is_not_believed(root: Path) -> None:
    root.mkdir()
    (root.parent / "secret").write_bytes(b"x")
    for path in ("../secret", str(root.parent / "secret"), "a\0b"):
        line = {"study": "1", "series": "2", "instance": "3", "path": path, "size": 1}
        (root / ".dw-index.jsonl").write_text(json.dumps(line) + "\n")
        with Sink(root, FLAT) as sink:
            assert find(sink, "1", "2", "3") is None


# Several runs


def test_threads_share_a_sink(root: Path) -> None:
    outcomes: list[str] = []

    def work(seed: int) -> None:
        order = list(range(40))
        random.Random(seed).shuffle(order)
        for number in order:
            outcomes.append(write(sink, instance(sop=f"2.25.{number}"), 300).outcome)

    with Sink(root, FLAT) as sink:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(set(outcomes)) == ["same", "written"]
    assert outcomes.count("written") == 40
    assert len(names(root)) == 41


_CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from dwcli.files.layout import Layout
from dwcli.files.sink import Sink
from servers.images import instance
sink = Sink(Path(sys.argv[2]), Layout(sys.argv[3]))
draft = sink.open()
draft.write(instance(sop="2.25.100000", side=600))
print("started", flush=True)
for number in range(100_000):
    with sink.open() as each:
        data = instance(sop=f"2.25.{number}", side=300)
        each.write(data[:1000])
        each.write(data[1000:])
        each.keep()
"""


@contextmanager
def other_run(root: Path, layout: Layout) -> Iterator[subprocess.Popen[str]]:
    """Another process that fills `root` until it is killed, with one draft open all the time."""
    tests = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", _CHILD, tests, str(root), layout.template]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "started\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("layout", [Layout(), FLAT])
def test_killed_run_leaves_whole_files_and_the_next_clears_its_drafts(root: Path, layout: Layout) -> None:
    with other_run(root, layout) as process:
        # The first is in the index before the second is begun.
        while sum(1 for _ in root.rglob("*.dcm")) < 2:
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(random.uniform(0.0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert any(name.startswith(".dw-") and ".tmp/" in name for name in names(root))
    with Sink(root, layout) as sink:
        sink.prepare()
        own = [path.name for path in root.glob(".dw-*") if path.suffix in (".tmp", ".lock")]
        assert len(own) == 2
        present = list(sink.instances("2.25.1"))
        whole = [path for path in root.rglob("*.dcm") if path.is_file()]
        assert present
        # With an index, the very last file may be there without its line.
        assert len(whole) - len(present) in ((0,) if layout == Layout() else (0, 1))
        for path in whole:
            assert path.read_bytes() == instance(sop=path.stem, side=300)
    assert not [name for name in names(root) if name.startswith(".dw-") and "index" not in name]


def test_drafts_of_a_living_run_are_left_alone(root: Path) -> None:
    with other_run(root, FLAT):
        before = [name for name in names(root) if name.endswith(".tmp/1")]
        assert len(before) == 1
        with Sink(root, FLAT) as sink:
            write(sink, instance(sop="2.25.7777777"))
        assert [name for name in names(root) if name.endswith(".tmp/1")] == before


def test_two_runs_into_one_folder_do_no_harm(root: Path) -> None:
    with other_run(root, FLAT), Sink(root, FLAT) as sink:
        outcomes = [write(sink, instance(sop=f"2.25.{number}", side=300)).outcome for number in reversed(range(60))]
        deadline = time.monotonic() + 5
        while sum(1 for _ in root.glob("*.dcm")) < 61 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert set(outcomes) <= {"written", "same"}
    for number in range(60):
        data = (root / f"2.25.{number}.dcm").read_bytes()
        assert hashlib.sha256(data).digest() == hashlib.sha256(instance(sop=f"2.25.{number}", side=300)).digest()
    lines = (root / ".dw-index.jsonl").read_bytes().splitlines()
    for line in lines[:-1]:
        json.loads(line)
