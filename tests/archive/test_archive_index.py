"""The archive's index is only an index: whatever becomes of it, the files are what counts."""

import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dwcli.archive.app import INDEX, is_archive
from servers import images
from servers.archive import Asker, Open
from servers.dw import Dw

FILES = [images.instance("1.2.1", f"1.2.1.{n % 3}", f"1.2.1.{n}.1", number=n) for n in range(40)]


def _filled(opened: Open) -> Path:
    first = opened()
    first.stow(*FILES)
    first.archive.close()
    return first.root


def _found(archive: Asker) -> list[str]:
    return sorted(map(str, archive.uids("instances", "00080018")))


EXPECTED = sorted(f"1.2.1.{n}.1" for n in range(40))


def _settled(index: Path) -> None:
    """Bring all of it into the one file."""
    db = sqlite3.connect(index)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def _page(number: int) -> Callable[[Path], None]:
    def damage(index: Path) -> None:
        with index.open("r+b") as file:
            file.seek(4096 * number)
            file.write(random.Random(number).randbytes(4096))

    return damage


def _pages(index: Path) -> None:
    for number in range(1, index.stat().st_size // 4096):
        _page(number)(index)


def _truncate(index: Path) -> None:
    with index.open("r+b") as file:
        file.truncate(9000)


def _folder(name: Path) -> None:
    name.unlink(missing_ok=True)
    name.mkdir()
    (name / "note").write_text("mine")


def _without_tables(index: Path) -> None:
    db = sqlite3.connect(index, isolation_level=None)
    db.execute("DROP TABLE file")
    db.execute("DROP TABLE instance")
    db.close()


def _version(index: Path) -> None:
    db = sqlite3.connect(index, isolation_level=None)
    db.execute("PRAGMA user_version = 99")
    db.close()


def _rows(index: Path) -> None:
    db = sqlite3.connect(index, isolation_level=None)
    db.execute("UPDATE study SET row = '{\"torn'")
    db.close()


def _wal(suffix: str, damage: Callable[[Path], object]) -> Callable[[Path], None]:
    def beside(index: Path) -> None:
        damage(index.with_name(index.name + suffix))

    return beside


def _rubbish(name: Path) -> None:
    name.write_bytes(random.Random(1).randbytes(40_000))


DAMAGES = {
    "first-page": _page(0),
    "all-other-pages": _pages,
    "truncated": _truncate,
    "empty": lambda index: index.write_bytes(b"") and None,
    "rubbish": _rubbish,
    "gone": lambda index: index.unlink(),
    "a-folder": _folder,
    "tables-gone": _without_tables,
    "a-later-version": _version,
    "a-row-torn": _rows,
    "wal-rubbish": _wal("-wal", _rubbish),
    "shm-rubbish": _wal("-shm", _rubbish),
    "wal-a-folder": _wal("-wal", _folder),
    "shm-a-folder": _wal("-shm", _folder),
    **{f"page-{number}": _page(number) for number in range(1, 12)},
}
damaged = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())


@damaged
def test_a_damaged_index_is_built_again_when_it_is_opened(opened: Open, damage: Callable[[Path], None]) -> None:
    root = _filled(opened)
    _settled(root / INDEX)
    damage(root / INDEX)
    assert _found(opened()) == EXPECTED
    again = opened()
    assert again.uids("studies") == ["1.2.1"]
    assert again.stow(images.instance("1.2.9")).status_code == 200
    assert again.uids("studies") == ["1.2.1", "1.2.9"]


@pytest.mark.parametrize(
    "name", sorted(DAMAGES.keys() - {"wal-rubbish", "shm-rubbish", "wal-a-folder", "shm-a-folder"})
)
def test_a_damaged_index_is_built_again_under_a_running_archive(opened: Open, name: str) -> None:
    archive = opened()
    archive.stow(*FILES)
    _settled(archive.root / INDEX)
    DAMAGES[name](archive.root / INDEX)
    replies: list[list[str]] = []

    def search() -> None:
        replies.append(_found(archive))

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == [EXPECTED] * 4
    assert archive.stow(images.instance("1.2.9")).status_code == 200
    assert archive.uids("studies") == ["1.2.1", "1.2.9"]


def test_what_is_stored_as_the_index_is_lost_is_found(opened: Open) -> None:
    archive = opened()
    archive.stow(*FILES)
    (archive.root / INDEX).unlink()
    assert archive.stow(images.instance("1.2.9")).status_code == 200
    assert archive.uids("studies") == ["1.2.1", "1.2.9"]
    other = opened()
    assert other.stow(images.instance("1.2.8")).status_code == 200
    assert sorted(map(str, archive.uids("studies"))) == ["1.2.1", "1.2.8", "1.2.9"]


def test_an_archive_is_known_without_its_index(opened: Open) -> None:
    root = _filled(opened)
    for path in root.glob(f"{INDEX}*"):
        path.unlink()
    assert is_archive(root)
    assert _found(opened()) == EXPECTED


def test_two_processes_that_find_it_damaged_both_see_all(opened: Open, dw_process: Dw) -> None:
    root = _filled(opened)
    _settled(root / INDEX)
    _pages(root / INDEX)
    code = (
        "import sys; from pathlib import Path; sys.path[:0] = [sys.argv[2]]\n"
        "from dwcli.archive.app import open_archive; from servers.archive import Asker\n"
        "print(len(Asker(open_archive(Path(sys.argv[1]))).uids('instances', '00080018')))"
    )
    line = [sys.executable, "-c", code, str(root), str(Path(__file__).parents[1])]
    both = [subprocess.Popen(line, stdout=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate(timeout=40)[0] for process in both] == [b"40\n"] * 2


def test_the_user_is_told_that_the_index_was_rebuilt(run_dw: Dw, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.dcm").write_bytes(FILES[0])
    assert run_dw("-p", "local", "store", folder).code == 0
    index = next(tmp_path.rglob(INDEX))
    _settled(index)
    index.write_bytes(b"no database" * 1000)
    run = run_dw("-p", "local", "search", "studies", "--count")
    assert (run.code, run.out) == (0, "1\n")
    assert run.err == "warning: the index was damaged; it was rebuilt from the files\n"
    again = run_dw("-p", "local", "search", "studies", "--count")
    assert (again.code, again.err) == (0, "")
