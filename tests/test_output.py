"""Out: formats, widths, cleaning and talk, on a pseudo-terminal and into a pipe."""

import csv
import io
import json
import math
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest

from dwcli.dicomweb import refs
from dwcli.errors import AuthError, DwError, TruncatedError, UsageError
from dwcli.output import FORMATS, Out, Progress, size, visible
from dwcli.output.columns import cut

pty = pytest.importorskip("pty", reason="needs a pseudo-terminal")

NAME, ID, DATE, MODALITIES, DESCRIPTION = "00100010", "00100020", "00080020", "00080061", "00081030"
COUNT, STUDY, SERIES, INSTANCE = "00201208", "0020000D", "0020000E", "00080018"
COLUMNS = [NAME, ID, DATE, MODALITIES, DESCRIPTION, COUNT, STUDY]
UID = "1.2.826.0.1.3680043.8.498.12345678901234567890123456789012345678"

Row = dict[str, Any]


def study(name: str = "Doe^Jane", uid: str = UID, **changes: Any) -> Row:
    row = {
        NAME: {"vr": "PN", "Value": [{"Alphabetic": name}]},
        ID: {"vr": "LO", "Value": ["P1"]},
        DATE: {"vr": "DA", "Value": ["20240301"]},
        MODALITIES: {"vr": "CS", "Value": ["CT", "MR"]},
        DESCRIPTION: {"vr": "LO", "Value": ["Abdomen"]},
        COUNT: {"vr": "IS", "Value": [300]},
        STUDY: {"vr": "UI", "Value": [uid]},
    }
    return row | {tag.removeprefix("t"): element for tag, element in changes.items()}


def piped(act: Callable[[Out], object], **options: Any) -> tuple[str, str]:
    stdout, stderr = io.StringIO(newline=""), io.StringIO()
    act(Out(stdout=stdout, stderr=stderr, **options))
    return stdout.getvalue(), stderr.getvalue()


def on_terminal(act: Callable[[Out], object], *, columns: int = 80, **options: Any) -> str:
    """What a terminal of that width receives from both streams, with \\n as line end."""
    master, slave = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    received: list[bytes] = []

    def read() -> None:
        try:
            while data := os.read(master, 65536):
                received.append(data)
        except OSError:
            pass

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with (
        os.fdopen(os.dup(slave), "w", encoding="utf-8") as stdout,
        os.fdopen(slave, "w", encoding="utf-8") as stderr,
    ):
        act(Out(stdout=stdout, stderr=stderr, **options))
    reader.join(5)
    os.close(master)
    return b"".join(received).decode().replace("\r\n", "\n")


def search(rows: list[Row], **options: Any) -> Callable[[Out], int]:
    return lambda out: out.rows(rows, **{"columns": COLUMNS, "uid_tag": STUDY, **options})


# Formats


def test_pipe_gets_tsv_with_keywords_and_full_raw_values() -> None:
    stdout, _ = piped(search([study()]))
    head, line = stdout.splitlines()
    assert head.split("\t")[:3] == ["PatientName", "PatientID", "StudyDate"]
    assert line.split("\t") == ["Doe^Jane", "P1", "20240301", "CT\\MR", "Abdomen", "300", UID]


def test_tsv_keeps_one_line_a_row_whatever_the_values_hold() -> None:
    stdout, _ = piped(search([study("Doe\tJ\nane\x1b[31m")]), format="tsv")
    assert stdout.splitlines()[1].split("\t")[0] == "Doe\\tJ\\nane\\x1b[31m"


def test_csv_is_read_back_exactly_by_a_csv_reader() -> None:
    description = 'a "quoted", text\r\nof two lines\tand =1+1'
    stdout, _ = piped(search([study(t00081030={"vr": "LT", "Value": [description]})]), format="csv")
    _, line = csv.reader(io.StringIO(stdout, newline=""), strict=True)
    assert line[4] == description
    assert stdout.endswith("\r\n")


def test_csv_shows_an_escape_sequence_and_on_a_terminal_also_line_ends() -> None:
    rows = [study("a\x1b[2Jb\nc")]
    assert '"a\\x1b[2Jb\nc"' in piped(search(rows), format="csv")[0]
    assert "a\\x1b[2Jb\\nc" in on_terminal(search(rows), format="csv")


def test_csv_of_one_empty_column_is_not_an_empty_line() -> None:
    stdout, _ = piped(search([study("")], columns=[NAME]), format="csv")
    assert [*csv.reader(stdout.splitlines())] == [["PatientName"], [""]]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_json_is_one_array_of_the_rows_as_received(count: int) -> None:
    rows = [study(f"山田^{i}", unknown={"deep": [1, None]}) for i in range(count)]
    stdout, _ = piped(search(rows), format="json")
    assert json.loads(stdout) == rows
    assert "\\u" not in stdout


def test_json_of_an_answer_that_breaks_off_does_not_parse_as_whole() -> None:
    def broken() -> Iterator[Row]:
        yield study()
        raise TruncatedError("cut")

    stdout = io.StringIO()
    with pytest.raises(TruncatedError):
        Out(format="json", stdout=stdout).rows(broken(), columns=COLUMNS, uid_tag=STUDY)
    assert UID in stdout.getvalue()
    with pytest.raises(json.JSONDecodeError):
        json.loads(stdout.getvalue())


def test_jsonl_writes_not_a_number_as_valid_json() -> None:
    row = {"00189306": {"vr": "FD", "Value": [math.nan, math.inf, -math.inf, 1.5]}}
    stdout, _ = piped(search([row]), format="jsonl")
    parsed = json.loads(stdout, parse_constant=pytest.fail)
    assert parsed["00189306"]["Value"] == ["NaN", "Infinity", "-Infinity", 1.5]


def test_json_escapes_what_could_steer_a_terminal_or_cannot_be_encoded() -> None:
    name = "a\x1b\x7f\x9b\u202e\u2066\u2028\ud800z"
    stdout, _ = piped(search([study(name)]), format="jsonl")
    assert json.loads(stdout)[NAME]["Value"] == [{"Alphabetic": name}]
    assert stdout.rstrip("\n").isascii()
    assert stdout.rstrip("\n").isprintable()


def test_flat_is_keyed_by_keyword_with_plain_values() -> None:
    row = json.loads(piped(search([study("山田^太郎")]), format="flat")[0])
    assert row["PatientName"] == "山田^太郎"
    assert row["ModalitiesInStudy"] == ["CT", "MR"]


def test_uids_are_single_words_that_can_be_decoded() -> None:
    odd = ["1.2.3", "../../etc/x", "a b\t\n%2f\x00", "-", "--all", "é*$(x)'\"\\z"]
    words = piped(search([study(uid=uid) for uid in odd]), format="uids")[0].splitlines()
    assert words[0] == "1.2.3"
    assert [unquote(word).strip("\0") for word in words] == [uid.strip("\0") for uid in odd]
    assert not any(set(word) & set("/ \t*$'\"\\") or word.startswith("-") for word in words)


def test_uids_names_rows_without_uid_on_stderr() -> None:
    stdout, stderr = piped(search([study(uid=""), study(uid="1.2")]), format="uids")
    assert stdout == "1.2\n"
    assert "without StudyInstanceUID: 1" in stderr


def test_refs_are_the_whole_way_down_as_the_next_command_takes_it() -> None:
    row = study(uid="1.2/3") | {SERIES: {"vr": "UI", "Value": ["4"]}, INSTANCE: {"vr": "UI", "Value": ["5 6"]}}
    for uid_tag, words in ((STUDY, "1.2%2F3"), (SERIES, "1.2%2F3/4"), (INSTANCE, "1.2%2F3/4/5%206")):
        assert piped(search([row], uid_tag=uid_tag), format="refs") == (f"{words}\n", "")
        assert refs.show(refs.parse(words)) == words
    assert piped(lambda out: out.metadata([row]), format="refs")[0] == "1.2%2F3/4/5%206\n"


def test_refs_names_rows_that_do_not_say_what_they_belong_to() -> None:
    stdout, stderr = piped(
        search([study() | {INSTANCE: {"vr": "UI", "Value": ["5"]}}], uid_tag=INSTANCE), format="refs"
    )
    assert stdout == ""
    assert "without SeriesInstanceUID: 1" in stderr


def test_unknown_format_names_those_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        Out(format="yaml")
    assert "jsonl" in caught.value.hint


def test_rows_returns_the_count_and_says_what_more_there_is() -> None:
    counts: list[int] = []
    _, stderr = piped(lambda out: counts.append(search([study()] * 3, more=lambda: "7 more: --all")(out)))
    assert counts == [3]
    assert stderr == "7 more: --all\n"


def test_no_rows_leave_the_head_in_a_pipe_and_a_word_on_a_terminal() -> None:
    assert piped(search([])) == (
        "PatientName\tPatientID\tStudyDate\tModalitiesInStudy\tStudyDescription"
        "\tNumberOfStudyRelatedInstances\tStudyInstanceUID\n",
        "",
    )
    assert on_terminal(search([])) == "no match\n"
    assert piped(search([]), format="table") == ("", "no match\n")


# The table


def positions(text: str, *needles: str) -> list[int]:
    """The screen column at which each needle stands, as a terminal without reordering shows it."""
    from rich.cells import cell_len

    return [cell_len(text[: text.index(needle)]) for needle in needles]


@pytest.mark.parametrize("columns", [80, 200])
def test_table_stays_straight_with_names_of_every_script(columns: int) -> None:
    names = [
        "Doe^Jane",
        "山田^太郎=ヤマダ^タロウ",
        "Mu\u0308ller^Zoe\u0308",
        "כהן^דוד",
        "عمر^أحمد",
        "สมชาย^ใจดี",
        "김^희중",
    ]
    shown = [STUDY, NAME, DATE, COUNT]
    screen = on_terminal(
        search([study(name, uid="1.2") for name in names], columns=shown), columns=columns, color=False
    )
    head, *lines = screen.splitlines()
    assert len(lines) == len(names)
    assert {tuple(positions(line, "2024-03-01", "300")) for line in lines} == {
        (positions(head, "Date")[0], positions(head, "Inst.")[0] + len("Inst.") - 3)
    }


def test_table_keeps_a_right_to_left_name_from_moving_the_next_column() -> None:
    screen = on_terminal(search([study("כהן^דוד")]), columns=200, color=False)
    assert "\u200eכהן^דוד\u200e" in screen
    assert "\u200e" not in on_terminal(search([study("Doe")]), columns=200)
    assert "\u200e" not in piped(search([study("כהן^דוד")]))[0]


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 120, 200])
def test_table_lines_never_exceed_the_terminal(columns: int) -> None:
    from rich.cells import cell_len

    rows = [study("山田^太郎" * 4), study("Doe^Jane", t00081030={"vr": "LO", "Value": ["x" * 64]})]
    screen = on_terminal(search(rows), columns=columns, color=False, verbosity=-1)
    assert len(screen.splitlines()) == 3
    assert max(map(cell_len, screen.splitlines())) <= columns


def test_narrow_table_cuts_the_middle_of_a_uid_and_keeps_dates_and_counts() -> None:
    screen = on_terminal(search([study(t00081030={"vr": "LO", "Value": ["Abdomen native"]})]), color=False)
    line = screen.splitlines()[1]
    assert "2024-03-01" in line
    assert " 300 " in line
    cut = line.split()[-1]
    head, tail = cut.split("…")
    assert UID.startswith(head)
    assert UID.endswith(tail)
    assert len(tail) > len(head) > 3


def test_too_narrow_table_drops_columns_from_the_right_but_not_the_uid_and_says_so() -> None:
    screen = on_terminal(search([study()]), columns=40, color=False)
    assert "Study UID" in screen.splitlines()[0]
    assert "Abdomen" not in screen
    assert "too narrow for: " in screen
    assert "Description" in screen.splitlines()[-1]


def test_wide_characters_are_cut_whole() -> None:
    from rich.cells import cell_len

    for width in range(2, 12):
        shown = cut("山田太郎e\u0301e\u0301e\u0301", width, "…")
        assert cell_len(shown) <= width
        assert not shown.endswith("e…")


def test_table_shows_what_came_before_an_error() -> None:
    def broken() -> Iterator[Row]:
        yield study()
        raise TruncatedError("cut")

    def act(out: Out) -> None:
        with pytest.raises(TruncatedError):
            out.rows(broken(), columns=COLUMNS, uid_tag=STUDY)

    assert "Doe^Jane" in on_terminal(act)


def test_table_in_a_pipe_is_never_cut() -> None:
    stdout, _ = piped(search([study("Doe^" + "x" * 60)]), format="table", width=40)
    assert UID in stdout
    assert "…" not in stdout


def test_dates_are_spelt_on_the_table_only_when_they_are_dates() -> None:
    rows = [study(t00080020={"vr": "DA", "Value": [value]}) for value in ("20240301", "1999.1.2", "")]
    screen = on_terminal(search(rows, columns=[DATE, ID]), color=False)
    assert [line.split()[0] for line in screen.splitlines()[1:]] == ["2024-03-01", "1999.1.2", "P1"]


def test_records_print_as_table_tsv_and_json() -> None:
    records: list[dict[str, object]] = [
        {"name": "pacs", "default": True, "count": 7, "note": None, "extra": [1]},
        {"name": "a\x1b", "default": False, "count": 1234, "note": "x"},
    ]

    def act(out: Out) -> int:
        return out.table(records, columns=["name", "default", "count", "note"], titles={"name": "Profile"})

    assert on_terminal(act, color=False) == (
        "Profile  default  count  note\npacs     yes          7\na\\x1b    no        1234  x\n"
    )
    assert piped(act)[0].splitlines()[1] == "pacs\tyes\t7\t"
    assert json.loads(piped(act, format="json")[0]) == records
    with pytest.raises(UsageError):
        piped(act, format="uids")


# The tree


NESTED: Row = {
    "00080018": {"vr": "UI", "Value": ["1.2.3.4"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^John"}]},
    "00400275": {
        "vr": "SQ",
        "Value": [
            {"00400007": {"vr": "LO", "Value": ["one"]}},
            {"00400007": {"vr": "LO", "Value": ["t\x07wo"]}},
        ],
    },
    "00081140": {"vr": "SQ"},
    "00090010": {"vr": "LO", "Value": ["ACME"]},
    "00091001": {"vr": "OB", "InlineBinary": "AAECAw=="},
    "7FE00010": {"vr": "OW", "BulkDataURI": "http://127.0.0.1/b\x1b"},
    "60000010": "not an element",
}


def test_metadata_is_a_tree_in_the_order_of_tags_on_a_terminal() -> None:
    screen = on_terminal(lambda out: out.metadata([NESTED]), color=False)
    assert screen.splitlines() == [
        "# 1.2.3.4",
        "(0008,0018) UI SOPInstanceUID  1.2.3.4",
        "(0008,1140) SQ ReferencedImageSequence  0 items",
        "(0009,0010) LO PrivateCreator  ACME",
        "(0009,1001) OB Private  <4 bytes>",
        "(0010,0010) PN PatientName  Doe^John",
        "(0040,0275) SQ RequestAttributesSequence  2 items",
        "  Item 1",
        "    (0040,0007) LO ScheduledProcedureStepDescription  one",
        "  Item 2",
        "    (0040,0007) LO ScheduledProcedureStepDescription  t\\x07wo",
        "(6000,0010) US OverlayRows  not an element",
        "(7FE0,0010) OW PixelData  <bulk http://127.0.0.1/b\\x1b>",
    ]


def test_tree_is_cut_to_the_terminal_but_not_in_a_pipe() -> None:
    row = {"00104000": {"vr": "LT", "Value": ["山" * 400]}}
    screen = on_terminal(lambda out: out.metadata([row]), color=False)
    assert positions(screen.rstrip("\n"), "…")[0] <= 79
    assert "山" * 400 in piped(lambda out: out.metadata([row]), format="table")[0]


def test_metadata_in_a_pipe_is_one_line_an_element_with_the_path_of_items() -> None:
    stdout, _ = piped(lambda out: out.metadata([NESTED]))
    lines = [line.split("\t") for line in stdout.splitlines()]
    assert {len(line) for line in lines} == {5}
    assert ["1.2.3.4", "00400275[2].00400007", "LO", "ScheduledProcedureStepDescription", "t\\x07wo"] in lines


def test_metadata_tags_choose_elements_in_every_format() -> None:
    def act(out: Out) -> int:
        return out.metadata([NESTED], tags=["00100010"])

    assert piped(act)[0] == "1.2.3.4\t00100010\tPN\tPatientName\tDoe^John\n"
    assert json.loads(piped(act, format="jsonl")[0]) == {"00100010": NESTED["00100010"]}
    assert json.loads(piped(act, format="flat")[0]) == {"PatientName": "Doe^John"}
    assert piped(act, format="csv")[0] == "SOPInstanceUID,PatientName\r\n1.2.3.4,Doe^John\r\n"


def test_metadata_counts_instances_not_elements() -> None:
    for form in (*FORMATS, None):
        out = Out(format=form, stdout=io.StringIO(), stderr=io.StringIO())
        assert out.metadata([NESTED, NESTED]) == 2


# Cleaning


def test_every_format_keeps_control_characters_of_a_server_off_a_terminal() -> None:
    evil = "\x1b]0;owned\x07\x9b31m\x08\r\x7f\u202etxt\u2029\x85"
    row = {tag: {"vr": "LO", "Value": [evil]} for tag in (*COLUMNS, INSTANCE)}
    row |= {evil: {"vr": evil, "Value": [evil]}, "00081190": {"vr": "UR", "BulkDataURI": evil}}
    for form in FORMATS:
        for act in (search([row]), lambda out: out.metadata([row])):
            screen = on_terminal(act, format=form, color=False)
            separators = {"tsv": "\t", "csv": "\r\n"}.get(form, "\n")
            assert screen.replace(separators, "").replace("\n", "").isprintable()


def test_visible_leaves_every_script_and_backslash_alone() -> None:
    for text in ("山田 太郎\u3000", "ه\u200cای", "e\u0301 👩‍⚕️", "CT\\MR", ""):
        assert visible(text) == text


def test_talk_and_errors_are_cleaned_too() -> None:
    def act(out: Out) -> None:
        out.info("a\x1b[1m")
        out.warn("b\nerror: forged")
        out.error(DwError("c\x9b", "d\r"))
        out.line("e\x1b")

    stdout, stderr = piped(act)
    assert stdout == "e\\x1b\n"
    assert stderr == "a\\x1b[1m\nwarning: b\\nerror: forged\nerror: c\\x9b\nhint: d\\r\n"


# Talk


@pytest.mark.parametrize(("verbosity", "said"), [(-1, "e"), (0, "iwe"), (1, "idwe"), (2, "idDwe")])
def test_verbosity_chooses_what_is_said(verbosity: int, said: str) -> None:
    def act(out: Out) -> None:
        out.info("i")
        out.detail("d")
        out.debug("D")
        out.warn("w")
        out.error(DwError("e"))

    stderr = piped(act, verbosity=verbosity)[1]
    assert "".join(line.removeprefix("warning: ").removeprefix("error: ") for line in stderr.splitlines()) == said


def test_a_hint_that_is_a_command_is_offered_to_try() -> None:
    _, stderr = piped(lambda out: out.error(AuthError("401 from pacs", "dw profile login pacs")))
    assert stderr == "error: 401 from pacs\nhint: dw profile login pacs\n"


def test_colour_is_on_terminals_only_and_never_against_the_will() -> None:
    def act(out: Out) -> None:
        search([study()])(out)
        out.warn("w")

    assert "\x1b[" in on_terminal(act)
    assert "\x1b" not in on_terminal(act, color=False)
    assert "\x1b" not in "".join(piped(act, color=True))


def test_data_in_a_pipe_is_utf8_whatever_the_locale() -> None:
    raw = io.BytesIO()
    stdout = io.TextIOWrapper(raw, encoding="latin-1")
    Out(stdout=stdout, stderr=io.StringIO()).rows([study("山\ud800")], columns=[NAME], uid_tag=STUDY)
    assert raw.getvalue().decode("utf-8").splitlines()[1] == "山\\ud800"


def test_binary_and_text_keep_their_order() -> None:
    raw = io.BytesIO()
    out = Out(stdout=io.TextIOWrapper(raw), stderr=io.StringIO())
    out.line("a")
    out.write(b"\x00\xff\r\n")
    out.line("b")
    out.flush()
    assert raw.getvalue() == b"a\n\x00\xff\r\nb\n"


def test_stderr_that_is_gone_does_not_stop_the_work() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    out = Out(stdout=io.StringIO(), stderr=Gone())
    out.warn("nobody listens")
    out.line("data")


@pytest.mark.parametrize(("answer", "agreed"), [("y\n", True), ("YES\n", True), ("\n", False), ("n\n", False)])
def test_confirm_takes_only_a_yes_typed_on_a_terminal(answer: str, agreed: bool) -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave, "r") as stdin:
        os.write(master, answer.encode())
        stderr = io.StringIO()
        assert Out(stdout=io.StringIO(), stderr=stderr, stdin=stdin).confirm("delete 3 studies?") is agreed
    os.close(master)
    assert stderr.getvalue() == "delete 3 studies? [y/N] "


def test_confirm_without_a_terminal_is_no() -> None:
    assert not Out(stdout=io.StringIO(), stderr=io.StringIO(), stdin=io.StringIO("y\n")).confirm("sure?")


# Streaming


class Flushes(io.StringIO):
    """A pipe that notes how many lines were out at each flush."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[int] = []

    def flush(self) -> None:
        self.lines.append(self.getvalue().count("\n"))


def test_first_row_goes_out_at_once_then_what_comes_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(i / 10 for i in range(100))
    monkeypatch.setattr("dwcli.output.streams.time", SimpleNamespace(monotonic=lambda: next(clock)))
    stdout = Flushes()
    Out(format="jsonl", stdout=stdout, stderr=io.StringIO()).rows([study()] * 25, columns=[], uid_tag=STUDY)
    assert stdout.lines == [1, 11, 21, 25]


def run(code: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=30, **options
    )


def test_a_pipe_loads_no_rich() -> None:
    done = run(
        """
        import sys
        from dwcli.output import Out
        out = Out()
        out.rows([{"00100010": {"vr": "PN", "Value": ["山田"]}}], columns=["00100010"], uid_tag="0020000D")
        with out.progress("x") as progress:
            progress.add(1)
        print([name for name in sys.modules if name.startswith(("rich", "pydicom", "numpy"))])
        """
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_closed_pipe_rises_and_then_ends_without_a_word() -> None:
    done = run(
        """
        import itertools, os, sys
        from dwcli.output import Out
        read, write = os.pipe()
        os.close(read)
        os.dup2(write, 1)
        out = Out(format="jsonl")
        try:
            out.rows(({"00100010": {}} for _ in itertools.count()), columns=[], uid_tag="0020000D")
        except BrokenPipeError:
            out.close_quietly()
            sys.exit(7)
        """
    )
    assert (done.returncode, done.stderr) == (7, "")


# Progress


def test_progress_draws_bytes_items_and_rate_and_leaves_nothing_behind() -> None:
    def act(out: Out) -> None:
        with out.progress("retrieving\x1b", total_bytes=2_000_000, total_items=4) as progress:
            for _ in range(3):
                progress.add(500_000)
                progress.item()
                time.sleep(0.15)
        out.info("done")

    screen = on_terminal(act, columns=100)
    assert "retrieving\\x1b" in screen
    assert "3/4" in screen
    assert "1.5 MB of 2.0 MB" in screen
    assert "/s" in screen
    assert screen.endswith("\x1b[2Kdone\n"), screen[-80:]


def test_lines_said_while_progress_is_drawn_stand_alone() -> None:
    def act(out: Out) -> None:
        with out.progress("sending", total_items=2) as progress:
            time.sleep(0.2)
            out.warn("odd [bold]file[/bold] :smile: " + "x" * 100)
            out.line("some\ttext")
            progress.item()

    screen = on_terminal(act, color=False)
    assert "\x1b[2Kwarning: odd [bold]file[/bold] :smile: " + "x" * 100 + "\n" in screen
    assert "\x1b[2Ksome\\ttext\n" in screen


@pytest.mark.parametrize("options", [{"verbosity": -1}, {}])
def test_progress_is_silent_when_quiet_or_piped_but_counts(options: dict[str, Any]) -> None:
    def act(out: Out) -> None:
        with out.progress("x", total_items=1) as progress:
            progress.add(5)
            time.sleep(0.15)
            assert progress.done_bytes == 5

    assert (on_terminal(act, **options) if options else "".join(piped(act))) == ""


def test_progress_within_progress_only_counts() -> None:
    def act(out: Out) -> None:
        with out.progress("outer"), out.progress("inner") as inner:
            inner.item()
            time.sleep(0.15)

    screen = on_terminal(act)
    assert "outer" in screen
    assert "inner" not in screen


def test_progress_counts_from_many_threads() -> None:
    progress = Progress("x", None, None)

    def add() -> None:
        for _ in range(5000):
            progress.add(1)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert progress.done_bytes == 40_000


def test_progress_tells_rate_of_the_last_seconds_and_time_left() -> None:
    progress = Progress("x", None, None)
    start = time.monotonic()
    progress.total(bytes=100_000_000, items=10)
    for second in range(1, 21):
        progress.add(4_000_000 if second <= 10 else 1_000_000)
        status = progress.status(start + second)
    assert status == "0/10  50.0 MB of 100.0 MB  1.0 MB/s  0:00:50"


def test_progress_by_items_where_bytes_have_no_total(monkeypatch: pytest.MonkeyPatch) -> None:
    start = 1000.0
    monkeypatch.setattr("dwcli.output.progress.time", SimpleNamespace(monotonic=lambda: start))
    progress = Progress("x", None, 4)
    progress.item()
    assert progress.fraction() == (1, 4)
    assert progress.status(start + 2).endswith("0:00:06")


def test_progress_that_exceeds_its_total_stays_full() -> None:
    progress = Progress("x", 10, None)
    progress.add(25)
    assert progress.fraction() == (10, 10)
    assert "25 B of 10 B" in progress.status(time.monotonic() + 1)


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_960, "1.0 MB"), (64e6, "64.0 MB"), (5e12, "5.0 TB")],
)
def test_size_in_words(count: float, words: str) -> None:
    assert size(count) == words


def test_terminal_is_told_per_stream() -> None:
    seen: list[tuple[bool, bool]] = []
    on_terminal(lambda out: seen.append((out.terminal, out.stderr_terminal)))
    piped(lambda out: seen.append((out.terminal, out.stderr_terminal)))
    assert seen == [(True, True), (False, False)]


def test_width_of_a_terminal_that_does_not_say_is_80() -> None:
    widths: list[int] = []
    on_terminal(lambda out: widths.append(out.width), columns=0)
    on_terminal(lambda out: widths.append(out.width), columns=132)
    on_terminal(lambda out: widths.append(out.width), columns=132, width=50)
    assert widths == [80, 132, 50]
