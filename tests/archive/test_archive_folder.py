"""Any folder of DICOM files, read only: what lies in it is found, whatever it is called and whenever it changed."""

import os
import shutil
from pathlib import Path

import pytest

from dwcli.archive import demo
from dwcli.archive.app import open_archive
from servers import images
from servers.archive import Asker, Open
from servers.dw import Dw

INSTANCE = "00080018"


def _write(path: Path, study: str, sop: str, name: str = "Doe^Jane", number: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(images.instance(study, f"{study}.1", sop, number=number, t00100010=("PN", name)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with two studies, a note, an empty file and one instance twice."""
    root = tmp_path / "f"
    _write(root / "b/x", "1.2.1", "1.2.1.1.1")
    _write(root / "a/IM 2 ü.img", "1.2.1", "1.2.1.1.2")
    _write(root / "c/other.dcm", "1.2.2", "1.2.2.1.1")
    shutil.copy(root / "b/x", root / "z copy")
    (root / "README.txt").write_text("not DICOM")
    (root / "empty").touch()
    return root


def test_a_folder_is_searched_and_read_whatever_its_names(opened: Open, root: Path) -> None:
    before = sorted(root.rglob("*"))
    folder = opened("f", folder=True)
    assert sorted(map(str, folder.uids("instances", INSTANCE))) == ["1.2.1.1.1", "1.2.1.1.2", "1.2.2.1.1"]
    reply = folder("studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.2", "application/dicom; transfer-syntax=*")
    assert reply.content == (root / "a/IM 2 ü.img").read_bytes()
    assert folder.stow(images.instance()).status_code == 403
    assert sorted(root.rglob("*")) == before, "nothing is written beside the files"


def test_what_is_new_changed_or_gone_is_seen_the_next_time(opened: Open, root: Path) -> None:
    opened("f", folder=True)
    _write(root / "c/new.dcm", "1.2.3", "1.2.3.1.1")
    (root / "a/IM 2 ü.img").unlink()
    _write(root / "c/other.dcm", "1.2.2", "1.2.2.1.1", name="Changed^Name")
    folder = opened("f", folder=True)
    assert sorted(map(str, folder.uids("instances", INSTANCE))) == ["1.2.1.1.1", "1.2.2.1.1", "1.2.3.1.1"]
    assert folder.uids("studies?PatientName=Changed*") == ["1.2.2"]
    assert folder.rows("studies?StudyInstanceUID=1.2.1")[0]["00201208"]["Value"] == [1]
    shutil.rmtree(root / "c")
    assert opened("f", folder=True).uids("studies") == ["1.2.1"]


def test_a_second_file_of_an_instance_speaks_when_the_first_is_gone(opened: Open, root: Path) -> None:
    assert len(opened("f", folder=True).uids("studies/1.2.1/instances", INSTANCE)) == 2
    (root / "b/x").unlink()
    folder = opened("f", folder=True)
    assert len(folder.uids("studies/1.2.1/instances", INSTANCE)) == 2
    reply = folder("studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.1", "application/dicom; transfer-syntax=*")
    assert reply.content == (root / "z copy").read_bytes()


def test_a_row_whose_file_is_gone_is_read_from_another(opened: Open, tmp_path: Path) -> None:
    root = tmp_path / "f"
    _write(root / "1", "1.2.1", "1.2.1.1.1", name="First^File")
    _write(root / "2", "1.2.1", "1.2.1.1.2", name="Second^File")
    assert opened("f", folder=True).uids("studies?PatientName=First*") == ["1.2.1"]
    (root / "1").unlink()
    folder = opened("f", folder=True)
    assert folder.uids("studies?PatientName=First*") == []
    assert folder.uids("studies?PatientName=Second*") == ["1.2.1"]


def test_a_refresh_without_changes_reads_no_file(opened: Open, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened("f", folder=True)
    monkeypatch.setattr("dwcli.archive.header.read", lambda _path: pytest.fail("read again"))
    assert len(opened("f", folder=True).uids("studies")) == 2


def test_links_lead_nowhere(opened: Open, root: Path, tmp_path: Path) -> None:
    _write(tmp_path / "outside/secret.dcm", "1.2.9", "1.2.9.1.1")
    (root / "link.dcm").symlink_to(tmp_path / "outside/secret.dcm")
    (root / "folder").symlink_to(tmp_path / "outside")
    os.mkfifo(root / "pipe")
    assert "1.2.9" not in opened("f", folder=True).uids("studies")


def test_the_demo_is_made_once_and_only_read(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    assert demo.make(root)
    assert not demo.make(root)
    archive = open_archive(root, read_only=True)
    try:
        asker = Asker(archive)
        (study,) = asker.rows("studies?PatientName=Bellona*&ModalitiesInStudy=CT")
        assert study["00201208"]["Value"] == [40]
        assert len(asker.rows("studies")) >= 8
        assert asker.stow(images.instance()).status_code == 403
    finally:
        archive.close()


def test_profiles_local_and_demo_and_a_folder_need_no_file(run_dw: Dw, root: Path) -> None:
    found = run_dw("-p", "demo", "search", "--patient", "Bellona*", "--modality", "CT")
    assert found.code == 0 and len(found.lines) == 2 and "dw profile add" in found.err
    assert "dw profile add" not in run_dw("-p", "demo", "search", "--count").err
    assert run_dw("--url", "./f", "search", "-f", "uids", cwd=root.parent).lines == ["1.2.1", "1.2.2"]
    stored = run_dw("-p", "local", "store", root)
    assert stored.code == 0, stored.err
    assert sorted(run_dw("-p", "local", "search", "-f", "uids").lines) == ["1.2.1", "1.2.2"]
    assert (run_dw.home / "data/dw/archive/1.2.1/1.2.1.1/1.2.1.1.2.dcm").is_file()
    refused = run_dw("--url", root, "store", root)
    assert refused.code == 4 and "read-only" in refused.out
    assert run_dw("--url", "./nothing-here", "search").code == 2


def test_a_profile_of_that_name_in_the_file_goes_before(run_dw: Dw) -> None:
    run_dw.config.write_text('[profiles.demo]\nurl = "http://127.0.0.1:9"\n')
    assert run_dw("-p", "demo", "--timeout", "1", "search").code == 75


def test_a_search_of_an_indexed_archive_loads_nothing_heavy(run_dw: Dw, root: Path) -> None:
    assert run_dw("-p", "local", "store", root).code == 0
    code = (
        "import sys\nfrom dwcli.main import main\nsys.argv = ['dw', '-p', 'local', 'search']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([name for name in ('pydicom', 'numpy', 'PIL') if name in sys.modules])"
    )
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", code], env=run_dw.environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_several_at_once_on_a_folder_that_nobody_has_read_yet_all_see_it_whole(run_dw: Dw, tmp_path: Path) -> None:
    root = run_dw.home / "data/dw/archive"
    for number in range(300):
        _write(root / f"{number}", "1.2.1", f"1.2.1.1.{number}")
    running = [run_dw.start("-p", "local", "search", "instances", "--count") for _ in range(3)]
    assert [process.communicate(timeout=60) for process in running] == [(b"300\n", b"")] * 3


def test_a_built_in_profile_is_not_edited(run_dw: Dw) -> None:
    run = run_dw("profile", "show", "local")
    assert run.code == 2 and "built in" in run.err
