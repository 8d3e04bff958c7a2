"""Traps that a first user walked into: empty names, dead servers, things that are not there, questions under a bar."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from servers.dw import Dw
from servers.fake import Answer, Fake
from servers.images import instance
from servers.orthanc import Orthanc
from servers.process import free_port

STUDY, SERIES = "2.25.7001", "2.25.7002"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    for number in range(3):
        (made / f"{number}.dcm").write_bytes(instance(STUDY, SERIES, f"2.25.70030{number}"))
    return made


@pytest.mark.parametrize("line", [("store", ""), ("retrieve", "1.2", "-o", ""), ("check", "1.2", "")])
def test_an_empty_name_is_not_this_folder(run_dw: Dw, folder: Path, line: tuple[str, ...]) -> None:
    run = run_dw("--url", f"http://127.0.0.1:{free_port()}", *line, cwd=folder)
    assert run.code == 2
    assert "empty" in run.err


def test_a_report_may_not_overwrite_the_journal(run_dw: Dw, folder: Path, tmp_path: Path) -> None:
    book = tmp_path / "book.jsonl"
    book.write_text("precious")
    run = run_dw("--url", f"http://127.0.0.1:{free_port()}", "store", folder, "--journal", book, "--report", book)
    assert run.code == 2
    assert book.read_text() == "precious"


def test_check_asks_the_server_about_a_single_instance_too(run_dw: Dw, folder: Path, orthanc: Orthanc) -> None:
    dead = run_dw("--url", f"http://127.0.0.1:{free_port()}", "check", f"{STUDY}/{SERIES}/2.25.700300", folder)
    assert dead.code == 75
    run_dw.environment |= orthanc.environment
    for absent in (f"{STUDY}/{SERIES}/2.25.700300", f"{STUDY}/2.25.404", "2.25.404"):
        run = run_dw("check", absent, folder)
        assert run.code == 5, (absent, run.err)


def test_check_goes_on_after_a_study_that_is_not_there(run_dw: Dw, folder: Path, orthanc: Orthanc) -> None:
    run_dw.environment |= orthanc.environment
    assert run_dw("store", folder, "-q").code == 0
    report = folder.parent / "report.jsonl"
    run = run_dw("check", "-", folder, "--report", report, stdin=f"2.25.404\n{STUDY}\n")
    assert run.code == 3
    assert json.loads(report.read_text().splitlines()[-1])["summary"] == {"present": 3, "failed": 1}


def test_a_wrong_base_url_is_no_empty_archive(run_dw: Dw, orthanc: Orthanc) -> None:
    run_dw.environment |= {**orthanc.environment, "DW_URL": f"{orthanc.url}/nowhere"}
    run = run_dw("search")
    assert run.code == 1
    assert "check that the URL is the DICOMweb root" in run.err


def test_a_base_url_ends_before_studies(run_dw: Dw) -> None:
    run = run_dw("profile", "add", "p", "http://pacs.example.org/dicom-web/studies")
    assert run.code == 2
    assert "http://pacs.example.org/dicom-web" in run.err


def test_a_dry_run_with_a_bad_file_is_as_partial_as_the_real_one(run_dw: Dw, folder: Path, orthanc: Orthanc) -> None:
    (folder / "cut.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\2\0")
    run_dw.environment |= orthanc.environment
    assert run_dw("store", folder, "--dry-run").code == run_dw("store", folder).code == 3


def test_a_picture_of_what_is_not_there_is_absent(run_dw: Dw, orthanc: Orthanc, tmp_path: Path) -> None:
    run_dw.environment |= orthanc.environment
    assert run_dw("render", "2.25.404", "-o", tmp_path / "p.png").code == 5
    missing = run_dw("render", "nowhere.dcm", "-o", tmp_path / "p.png")
    assert missing.code == 2
    assert "file not found: nowhere.dcm" in missing.err


def test_options_that_frames_do_not_know_are_refused(run_dw: Dw, tmp_path: Path) -> None:
    line = ("retrieve", "frames", "1/2/3", "1", "--report", tmp_path / "r.jsonl")
    assert run_dw("--url", f"http://127.0.0.1:{free_port()}", *line).code == 2


def test_a_reply_that_is_no_dicom_is_no_conflict(run_dw: Dw, folder: Path, fake_server: Callable[..., Fake]) -> None:
    """As a server does that answers everything with its own text (knopkem/dicomweb-pacs does so with HTML)."""
    server = fake_server(lambda _request: Answer(200, {"Content-Type": "application/octet-stream"}, [b"welcome" * 50]))
    run = run_dw("--url", server.url, "store", folder / "0.dcm")
    assert run.code != 0
    assert "conflict" not in run.out


def test_the_password_can_be_read_under_a_progress_bar(run_dw: Dw, folder: Path, orthanc: Orthanc) -> None:
    run_dw.environment |= {"DW_URL": orthanc.url, "DW_USER": "alice"}
    run = run_dw("store", folder, tty=80, answers={"Password of alice": "secret\n"})
    assert run.code == 0, run.err
    assert "Password of alice" in run.err
    assert "3 stored" in run.err


def test_what_was_done_before_an_interrupt_is_in_the_report(tmp_path: Path) -> None:
    from dwcli.jobs.pool import Pool

    pool: Pool[int] = Pool(1, abort=lambda: None)

    def task() -> None:
        for number in range(50):
            pool.emit(number)
        raise KeyboardInterrupt

    taken: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        taken.extend(pool.run([task]))
    assert taken == list(range(50))


def test_a_huge_limit_and_a_full_disk_give_no_traceback(run_dw: Dw) -> None:
    run = run_dw("--url", f"http://127.0.0.1:{free_port()}", "search", "--limit", "99999999999999999999", "--count")
    assert run.code == 2
    assert "Traceback" not in run.err


def test_the_variables_login_stays_with_the_source_of_a_copy(
    run_dw: Dw, folder: Path, fake_server: Callable[..., Fake]
) -> None:
    target = fake_server(lambda _request: Answer(500))
    assert run_dw("profile", "add", "target", target.url).code == 0
    login = {"DW_USER": "alice", "DW_PASSWORD": "secret"}
    run = run_dw("--url", folder, "copy", STUDY, "--to", "target", env=login)
    assert run.code != 0
    assert target.requests
    assert not any(request.header("Authorization") for request in target.requests)


@pytest.fixture
def described(orthanc: Orthanc, run_dw: Dw, tmp_path: Path) -> Dw:
    """An Orthanc with studies whose texts it cannot be asked for: it never decodes a query."""
    run_dw.environment |= orthanc.environment
    texts = ("Testing File-set", "Müller^Jörg"), ("TestingXFile-set", "Meller^Jarg"), ("Testing  File-set", "Muller^J")
    for number, (description, patient) in enumerate(texts):
        study = f"2.25.71{number}"
        tags = {"t00081030": ("LO", description), "t00100010": ("PN", patient), "t00080005": ("CS", "ISO_IR 192")}
        (tmp_path / f"{number}.dcm").write_bytes(instance(study, f"{study}.1", f"{study}.2", **tags))  # type: ignore[arg-type]
    assert run_dw("store", *tmp_path.glob("*.dcm"), "-q").code == 0
    return run_dw


@pytest.mark.parametrize("dialect", ["auto", "orthanc"])
def test_a_value_with_a_space_is_found_where_the_server_decodes_nothing(described: Dw, dialect: str) -> None:
    assert described("profile", "add", "o", described.environment["DW_URL"], "--dialect", dialect, "--user", "alice",
                     "--password-env", "DW_PASSWORD").code == 0  # fmt: skip
    for line in (["--description", "Testing File-set"], ["StudyDescription=Testing File*", "--limit", "1"]):
        found = described("-p", "o", "search", *line, "-f", "uids")
        assert (found.code, found.lines) == (0, ["2.25.710"]), (line, found.err)
        assert "matched locally" in found.err
    none = described("-p", "o", "search", "--description", "No such thing", "-f", "uids")
    assert (none.code, none.lines) == (0, [])


def test_a_name_beyond_ascii_is_found_where_the_server_decodes_nothing(described: Dw) -> None:
    assert described("profile", "add", "o", described.environment["DW_URL"], "--dialect", "orthanc", "--user", "alice",
                     "--password-env", "DW_PASSWORD").code == 0  # fmt: skip
    assert described("-p", "o", "search", "--patient", "Müller*", "-f", "uids").lines == ["2.25.710"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["search", "-H", "Content-Length: 5"], "cannot be set"),
        (["search", "-H", "transfer-encoding: chunked"], "cannot be set"),
        (["render", "1/2/3", "-o", "x.png", "--window", "nan,inf"], "not a window"),
        (["render", "1/2/3", "-o", "x.png", "--window", "40,inf"], "not a window"),
        (["store", ".", "--study", ""], "--study is empty"),
        (["metadata", "1/2/3", "--bulkdata", ""], "empty"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(run_dw: Dw, tmp_path: Path, line: list[str], said: str) -> None:
    run = run_dw("--url", f"http://127.0.0.1:{free_port()}", *line, cwd=tmp_path)
    assert run.code == 2 and said in run.err, run.err
    assert list(tmp_path.glob("*.png")) == []


def test_a_file_is_not_served(run_dw: Dw, tmp_path: Path) -> None:
    (tmp_path / "x.sh").write_text("")
    run = run_dw("serve", tmp_path / "x.sh", "--port", "0")
    assert run.code == 2 and "is not a folder" in run.err


def test_a_setting_of_a_profile_that_no_run_could_use_is_refused(run_dw: Dw) -> None:
    assert run_dw("profile", "add", "p", "http://127.0.0.1:9").code == 0
    for value in ("abc", "-1", "0", "true"):
        assert run_dw("profile", "edit", "p", "--set", f"timeout={value}").code == 2
    assert run_dw("profile", "edit", "p", "--set", "timeout=5").code == 0
    assert run_dw("profile", "show", "p").code == 0


def test_references_that_begin_with_a_byte_order_mark_are_read(described: Dw) -> None:
    run = described("check", "-", described.home, stdin="\ufeff2.25.710\n2.25.711\n")
    assert run.code == 1 and "2.25.710" in run.out and "\ufeff" not in run.out
