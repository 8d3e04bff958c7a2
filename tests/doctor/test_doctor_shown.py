"""The doctor's report as people and programs read it: on terminals of any width, in a pipe, as JSON."""

import csv
import io
import tomllib
from collections.abc import Callable

import pytest

from dwcli.commands import doctor_table
from dwcli.doctor import Finding
from dwcli.errors import ExitCode
from servers.dw import Dw
from servers.fake import Fake
from servers.quirks import Quirky

FOUND = [
    Finding("as it should be", "8.5", "200", "200", group="search"),
    Finding(
        "unknown keyword",
        "8.3.4.1",
        "ignored with a Warning, or 400",
        "ignored silently",
        "dw " * 40,
        True,
        group="search",
    ),
    Finding("Range", "RFC 9110 14.2", "optional", "ignored", "it comes again", group="pixels"),
    Finding("zip", "", "an answer", "none", "", failure=ExitCode.TEMPORARY, group="pixels"),
    Finding("WADO-URI", "9.3", "optional", "there", group="WADO-URI"),
]


def shown(width: int, *, everything: bool = False) -> list[str]:
    lines: list[str] = []
    doctor_table.tell(FOUND, width, lines.append, everything=everything)
    return lines


@pytest.mark.parametrize("width", [40, 80, 139, 140, 200])
def test_lines_wrap_at_the_width_and_lose_no_word(width: int) -> None:
    lines = shown(width)
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    assert words.count("dw") == 40
    assert "PS3.18" in words and "8.3.4.1:" in words


def test_what_is_as_the_standard_says_is_counted_and_with_all_shown() -> None:
    short = shown(80)
    assert short[0] == "search (1 more conform to the standard)"
    assert not any("as it should be" in line for line in short)
    assert "WADO-URI (all 1 conform to the standard)" in short
    assert any("as it should be" in line for line in shown(80, everything=True))


def test_marks_tell_what_differs_what_is_unknown_and_what_is_good_to_know() -> None:
    marks = {line[2:].split("  ")[0]: line[0] for line in shown(200) if line[1:2] == " " and line[0] in "!?-"}
    assert marks == {"unknown keyword": "!", "Range": "-", "zip": "?"}


def test_side_by_side_where_there_is_room() -> None:
    (line,) = [line for line in shown(200) if "unknown keyword" in line]
    assert "ignored silently" in line and "PS3.18 8.3.4.1" in line and line.rstrip().endswith("dw")


@pytest.mark.parametrize("width", [80, 200])
def test_a_terminal_gets_what_differs_and_what_to_type(
    width: int, fake_server: Callable[..., Fake], run_dw: Dw
) -> None:
    server = fake_server(Quirky(3), path="/rs")
    run_dw("profile", "add", "p", server.url)
    run = run_dw("doctor", tty=width)
    assert run.code == 0
    assert "percent-encoding" not in run.out  # which is as it should be
    assert "! thumbnail" in run.out
    assert "limit=abc" in run.out
    assert "differ from the standard" in run.err
    assert "dialect: standard" in run.err
    assert "dw doctor p --save" in run.err.replace("\r\n", " ")
    assert max(len(line.rstrip("\r")) for line in run.lines) <= width


def test_a_pipe_gets_every_finding_in_columns(fake_server: Callable[..., Fake], run_dw: Dw) -> None:
    server = fake_server(Quirky(3), path="/rs")
    run = run_dw("doctor", "--url", server.url)
    rows = list(csv.DictReader(io.StringIO(run.out), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert {"ok", "differs", "suggested"} <= {row["result"] for row in rows}
    assert rows[-1]["check"] == "dialect"
    assert all(len(row) == 8 and None not in row for row in rows)


def test_saving_wants_a_profile_and_large_wants_write(fake_server: Callable[..., Fake], run_dw: Dw) -> None:
    server = fake_server(Quirky(3), path="/rs")
    for options in (("--save",), ("--large",)):
        run = run_dw("doctor", "--url", server.url, *options)
        assert run.code == 2
    assert server.requests == []


@pytest.mark.parametrize("words", [("local",), ("demo",), ("--url", ".")])
def test_nothing_is_saved_of_what_is_no_server(words: tuple[str, ...], run_dw: Dw) -> None:
    run = run_dw("doctor", *words, "--save")
    assert run.code == 2, run.err
    assert "cannot be changed" in run.err
    assert not run_dw.config.exists()


def test_saving_keeps_the_address_that_the_profile_has(fake_server: Callable[..., Fake], run_dw: Dw) -> None:
    server = fake_server(Quirky(3), path="/rs")
    run_dw("profile", "add", "p", server.url)
    elsewhere = server.url.removesuffix("/rs") + "/other"
    assert run_dw("doctor", "-p", "p", "--url", elsewhere, "--save").code == 2
    assert server.requests == []
    assert tomllib.loads(run_dw.config.read_text())["profiles"]["p"]["url"] == server.url
