"""What a person sees: start-up, tables at two widths, progress, errors; and what a pipe gets instead."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from servers import images, wire
from servers.dw import Dw
from servers.fake import Answer, Fake, Request
from servers.orthanc import Orthanc

NAMES = (
    "Doe^Jane",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "Hong^Gildong=洪^吉洞=홍^길동",
    "קבני^נזאר",
    "Very^Long^Name^That^No^Column^Can^Hold^Whole",
    "Nul\x1b[31mRed\x07",
)
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def _people(request: Request) -> Answer:
    """One study for each name; whatever is asked."""
    rows = []
    for number, name in enumerate(NAMES):
        groups = dict(zip(("Alphabetic", "Ideographic", "Phonetic"), name.split("="), strict=False))
        rows.append(
            {
                "00080020": {"vr": "DA", "Value": ["20240315"]},
                "00100010": {"vr": "PN", "Value": [groups]},
                "00100020": {"vr": "LO", "Value": [f"ID{number}"]},
                "0020000D": {"vr": "UI", "Value": [f"2.25.1234567890123456789012345678901234567.{number}"]},
            }
        )
    body = [] if "offset" in request.target else rows
    return Answer(200, {"Content-Type": "application/dicom+json"}, json.dumps(body).encode())


@pytest.fixture
def people(fake_server: Callable[..., Fake], run_dw: Dw) -> Dw:
    run_dw.environment["DW_URL"] = fake_server(_people, path="/rs").url
    return run_dw


def _screen(written: str, columns: int) -> list[str]:
    """What a terminal of that width shows in the end: lines, after cursor movements, without colour."""
    lines: list[str] = [""]
    row = column = 0
    for piece in re.split(r"(\x1b\[[0-9;?]*[a-zA-Z]|[\r\n])", written):
        if piece == "\r":
            column = 0
        elif piece == "\n":
            row += 1
        elif up := re.fullmatch(r"\x1b\[(\d*)A", piece):
            row = max(0, row - int(up[1] or 1))
        elif piece == "\x1b[2K":
            lines[row] = ""
        elif not piece.startswith("\x1b"):
            for start in range(0, len(piece), columns):
                lines += [""] * (row + 1 - len(lines))
                text = piece[start : start + columns]
                lines[row] = lines[row].ljust(column)[:column] + text + lines[row][column + len(text) :]
                column += len(text)
        lines += [""] * (row + 1 - len(lines))
    return [line.rstrip() for line in lines if line.strip()]


def _cells(line: str) -> int:
    """How many columns of a terminal a line takes."""
    from rich.cells import cell_len

    return cell_len(line)


@pytest.mark.parametrize("command", ["search", "store"])
def test_help_loads_nothing_heavy(command: str, run_dw: Dw) -> None:
    argv = [sys.executable, "-X", "importtime", "-m", "dwcli", command, "--help"]
    run = subprocess.run(argv, env=run_dw.environment, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in run.stderr.splitlines()}
    assert "typer" in loaded
    assert not loaded & {"pydicom", "numpy", "PIL"}


def test_a_search_loads_nothing_heavy(people: Dw) -> None:
    argv = [sys.executable, "-X", "importtime", "-m", "dwcli", "search"]
    run = subprocess.run(argv, env=people.environment, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0 and len(run.stdout.splitlines()) == 1 + len(NAMES)
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in run.stderr.splitlines()}
    assert "httpx" in loaded
    assert not loaded & {"pydicom", "numpy", "PIL"}


@pytest.mark.parametrize("form", ["tsv", "jsonl", "uids"])
def test_a_reader_that_leaves_early_is_no_failure(form: str, fake_server: Callable[..., Fake], run_dw: Dw) -> None:
    rows = [{"0020000D": {"vr": "UI", "Value": [f"2.25.{number}"]}} for number in range(20_000)]
    body = json.dumps(rows).encode()
    server = fake_server(lambda _: Answer(200, {"Content-Type": "application/dicom+json"}, body))
    line = f"{sys.executable} -m dwcli --url {server.url} search -f {form} | head -1; echo ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", line], env=run_dw.environment, capture_output=True, text=True, timeout=60)
    assert run.stderr == ""
    assert run.stdout.splitlines()[-1] == "0"


@pytest.mark.parametrize("columns", [80, 200])
def test_a_table_fits_its_terminal_and_stays_straight(columns: int, people: Dw) -> None:
    run = people("search", tty=columns)
    assert run.code == 0, run.err
    assert ("UIDs are shortened to fit" in run.err) == (columns == 80)
    assert "\x07" not in run.out and "\x1b[31m" not in run.out
    head, *lines = [ESCAPE.sub("", line) for line in run.lines]
    assert len(lines) == len(NAMES)
    assert all(_cells(line) <= columns for line in lines)
    # The columns begin at the same cell in each row, however wide the names are.
    assert {_cells(line[: line.index(f"ID{number}")]) for number, line in enumerate(lines)} == {
        _cells(head[: head.index("ID")])
    }
    if columns == 200:
        assert all(f"2.25.1234567890123456789012345678901234567.{n}" in line for n, line in enumerate(lines))
        assert "Yamada^Tarou=山田^太郎=やまだ^たろう" in lines[1]


def test_a_pipe_gets_whole_values_and_no_colour(people: Dw) -> None:
    run = people("search")
    assert (run.code, run.err) == (0, "")
    assert "\x1b" not in run.out
    head, *lines = [line.split("\t") for line in run.lines]
    assert head[:3] == ["StudyDate", "PatientName", "PatientID"]
    assert [line[1] for line in lines][:5] == list(NAMES[:5])
    assert [line[-1] for line in lines] == [f"2.25.1234567890123456789012345678901234567.{n}" for n in range(6)]


def test_plain_terminals_get_no_colour(people: Dw) -> None:
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        run = people("search", "--limit", "2", tty=80, env=environment)
        assert (run.code, len(run.lines)) == (0, 3)
        assert "only the first 2 are shown" in run.err
        assert "\x1b" not in run.err + run.out


@pytest.mark.parametrize("columns", [80, 200])
def test_progress_appears_and_leaves_one_line(
    columns: int, orthanc: Orthanc, run_dw: Dw, cranium: list[Path], tmp_path: Path
) -> None:
    run_dw.environment |= orthanc.environment
    stored = run_dw("store", cranium[0].parent, tty=columns)
    assert stored.code == 0
    assert "storing" in stored.err and "/108" in stored.err
    (line,) = _screen(stored.err, columns)
    assert "108 stored" in line and line.startswith("http://127.0.0.1:")
    assert stored.out == ""

    fetched = run_dw("retrieve", "study", images.CRANIUM_STUDY, "-o", tmp_path / "out", tty=columns)
    assert fetched.code == 0
    assert "retrieving" in fetched.err and "108/108" in fetched.err and "MB/s" in fetched.err
    assert "108 retrieved" in _screen(fetched.err, columns)[-1]
    assert not [line for line in _screen(fetched.err, columns) if "retrieving" in line]
    assert fetched.err.count("\x1b[?25l") == fetched.err.count("\x1b[?25h"), "the cursor comes back"
    assert fetched.out == ""

    quiet = run_dw("retrieve", "study", images.CRANIUM_STUDY, "-o", tmp_path / "quiet", "-q", tty=columns)
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_a_failure_on_a_terminal_names_what_failed_and_why_in_full(
    orthanc: Orthanc, run_dw: Dw, tmp_path: Path
) -> None:
    run_dw.environment |= orthanc.environment
    run = run_dw("retrieve", "1.2.3.4.5", "1.2.3.4.6", "-o", tmp_path / "out", tty=80)
    assert run.code == 5
    # The whole sentence, however many lines of the terminal it takes.
    said = "".join(_screen(run.out + run.err, 80))
    for uid in ("1.2.3.4.5", "1.2.3.4.6"):
        assert f"failed {uid}: 127.0.0.1:" in said
        assert f"inexistent study with WADO-RS: {uid}" in said
    for form in ("jsonl", "tsv"):
        run = run_dw("retrieve", "1.2.3.4.5", "-o", tmp_path / "out", "-f", form, tty=80)
        assert "1.2.3.4.5" in run.out + run.err and "Accessing an inexistent study" in run.out + run.err


def test_a_conflict_on_a_terminal_names_both_files(orthanc: Orthanc, run_dw: Dw, tmp_path: Path) -> None:
    run_dw.environment |= orthanc.environment
    (tmp_path / "a.dcm").write_bytes(images.instance(number=1))
    (tmp_path / "b.dcm").write_bytes(images.instance(number=2))
    run = run_dw("store", tmp_path / "a.dcm", tmp_path / "b.dcm", tty=80)
    assert run.code == 3
    said = "".join(_screen(run.out + run.err, 80))
    assert f"conflict {tmp_path}/b.dcm: {tmp_path}/a.dcm has the same SOP Instance UID but different content" in said


def test_errors_come_with_a_hint(orthanc: Orthanc, run_dw: Dw) -> None:
    cases: tuple[tuple[list[str], dict[str, str], int, str, str], ...] = (
        (["search"], {"DW_PASSWORD": "wrong"}, 4, "refuses the login (401)", "DW_USER"),
        (["search", "PatientNam=x"], {}, 2, "'PatientNam'", "did you mean PatientName"),
        (["search"], {"DW_URL": ""}, 2, "no server chosen", "dw profile add"),
        (["retrieve", "bulkdata", "1/2/3", "7FE00010"], {}, 2, "cannot be shown on a terminal", "-o FILE"),
        (["render", "1/2/3"], {}, 2, "cannot be shown on a terminal", "-o FILE"),
        (["store", "nowhere"], {}, 2, "nowhere does not exist", "nothing was sent"),
    )
    for words, environment, code, message, hint in cases:
        run = run_dw(*words, tty=80, env={**orthanc.environment, **environment})
        assert run.code == code, (words, run.err)
        error, hinted = _screen(run.err, 80)[:2]
        assert error.startswith("error: ") and message in error, words
        assert hinted.startswith("hint: ") and hint in hinted, words
        assert run.out == ""


def test_the_password_is_asked_for_and_never_shown(orthanc: Orthanc, run_dw: Dw) -> None:
    added = run_dw("profile", "add", "pacs", orthanc.url, "--dialect", "orthanc", "--user", "alice", tty=80)
    assert added.code == 0
    run = run_dw("search", "--count", tty=80, stdin="secret\n")
    assert run.code == 0, run.err
    assert run.out.strip() == "0"
    assert "assword" in run.err and "secret" not in run.err.replace("secret\r\n", "", 1)
    piped = run_dw("search", "--count", stdin="secret\n")
    assert piped.code == 4
    assert "DW_PASSWORD" in piped.err


def test_a_hundred_rows_are_shown_and_more_are_named(orthanc: Orthanc, run_dw: Dw) -> None:
    run_dw.environment |= orthanc.environment
    wire.stow(orthanc.url, (images.instance(sop=f"2.25.7.{n}", number=n) for n in range(120)), headers=orthanc.headers)
    run = run_dw("search", "instances", "--study", "2.25.1", "--series", "2.25.2", tty=120)
    assert (run.code, len(run.lines)) == (0, 101)
    assert "only the first 100 are shown" in run.err
    assert len(run_dw("search", "instances", "--study", "2.25.1", "--series", "2.25.2").lines) == 121
    assert len(run_dw("search", "instances", "--study", "2.25.1", "--all", tty=120).lines) == 121


def test_a_whole_line_can_be_typed_from_one_command_to_the_next(orthanc: Orthanc, run_dw: Dw, tmp_path: Path) -> None:
    """`dw search … -f uids | dw retrieve study - -o out`, through a real pipe."""
    wire.stow(orthanc.url, [images.instance(), images.instance("2.25.4", "2.25.5", "2.25.6")], headers=orthanc.headers)
    dw = f"{sys.executable} -m dwcli"
    line = f"{dw} search --modality OT -f uids | {dw} retrieve study - -o {tmp_path}/out"
    environment = {**run_dw.environment, **orthanc.environment}
    run = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert {path.stem for path in (tmp_path / "out").rglob("*.dcm")} == {"2.25.3", "2.25.6"}
    assert len(list(io.StringIO(run.stdout))) == 3


def test_a_transfer_goes_on_when_nobody_reads_its_rows(
    orthanc: Orthanc, run_dw: Dw, cranium: list[Path], tmp_path: Path
) -> None:
    """`dw store … | head` has to store everything all the same, and exit codes are about the transfer."""
    run_dw.environment |= orthanc.environment
    dw, out = f"{sys.executable} -m dwcli", tmp_path / "out"

    def into_nothing(command: str) -> tuple[str, str]:
        line = f"{dw} {command} | exec true; echo ${{PIPESTATUS[0]}}"
        run = subprocess.run(["bash", "-c", line], env=run_dw.environment, capture_output=True, text=True, timeout=60)
        return run.stdout.strip(), run.stderr

    code, err = into_nothing(f"store {cranium[0].parent} --batch-size 1M")
    assert code == "0" and "108 stored" in err
    assert orthanc.count() == 108
    code, err = into_nothing(f"retrieve study {images.CRANIUM_STUDY} -o {out}")
    assert code == "0" and "108 retrieved" in err
    assert len(list(out.rglob("*.dcm"))) == 108
    code, err = into_nothing(f"retrieve {images.CRANIUM_STUDY} 1.2.3.4 -o {tmp_path / 'more'}")
    assert code == "3" and "108 retrieved" in err and "1 failed" in err
