"""The command line as a process: options before and after, exit codes, suggestions, pipes, Ctrl-C, searches."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from servers import images
from servers.dw import Dw
from servers.fake import Answer, Fake, Request
from servers.machine import Clock, within
from servers.process import free_port

FakeServer = Callable[..., Fake]
JSON = {"Content-Type": "application/dicom+json"}


def element(vr: str, *values: object) -> dict[str, object]:
    return {"vr": vr, "Value": list(values)}


def study(n: int, name: str = "", /, **more: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"0020000D": element("UI", f"1.{n}"), **more}
    return row | ({"00100010": element("PN", {"Alphabetic": name})} if name else {})


def asked(request: Request) -> dict[str, list[str]]:
    return parse_qs(urlsplit(request.target).query)


def serving(*rows: dict[str, Any]) -> Callable[[Request], Answer]:
    """A server that knows offset and limit and ignores every key."""

    def handler(request: Request) -> Answer:
        query = asked(request)
        offset = int(query.get("offset", ["0"])[0])
        limit = int(query.get("limit", ["100000"])[0])
        return Answer(200, JSON, json.dumps(rows[offset : offset + limit]).encode())

    return handler


def profile(run_dw: Dw, server: Fake, name: str = "pacs", extra: str = "") -> None:
    run_dw.config.write_text(f'default = "{name}"\n[profiles.{name}]\nurl = "{server.url}"\n{extra}')
    run_dw.config.chmod(0o600)


# Options and profiles


def test_global_options_work_before_and_after_the_command_and_the_later_wins(
    run_dw: Dw, fake_server: FakeServer
) -> None:
    good, bad = fake_server(serving(study(1))), fake_server(lambda _: Answer(500))
    before = run_dw("--url", good.url, "-f", "uids", "-H", "X-A: 1", "search")
    after = run_dw("search", "--url", good.url, "-f", "uids")
    both = run_dw(
        "-f", "json", "--url", bad.url, "-H", "X-A: 1", "search", "--url", good.url, "-f", "uids", "-H", "x-a: 2"
    )
    assert [run.out for run in (before, after, both)] == ["1.1\n"] * 3
    assert bad.requests == []
    assert [value for name, value in good.requests[-1].headers if name.lower() == "x-a"] == ["2"]


def test_no_profile_is_exit_2_and_names_the_next_command(run_dw: Dw) -> None:
    run = run_dw("search")
    assert run.code == 2
    assert "dw profile add" in run.err
    assert run.out == ""


def test_a_hint_names_the_profile_that_was_spoken_to(run_dw: Dw, fake_server: FakeServer) -> None:
    server = fake_server(lambda _: Answer(400, {"Server": "Orthanc"}, b"no"))
    profile(run_dw, server, "my-pacs")
    assert "dw profile edit my-pacs --dialect orthanc" in run_dw("search").err
    run_dw.config.write_text(f'[profiles.two]\nurl = "{server.url}"\ndialect = "dcm4chee"\n')
    assert "dw profile edit two --dialect orthanc" in run_dw("-p", "two", "orthanc", "servers").err
    assert "dw profile edit NAME --dialect orthanc" in run_dw("search", "--url", server.url).err


def test_an_unset_variable_of_a_script_leads_nowhere(run_dw: Dw, fake_server: FakeServer) -> None:
    server = fake_server(serving(study(1)))
    profile(run_dw, server)
    for words in (("-p", ""), ("--url", ""), ("--patient", ""), ("--study", ""), ("--date", "")):
        run = run_dw("search", *words)
        assert run.code == 2
        assert words[0] in run.err or "--profile" in run.err
    assert server.requests == []


def test_flags_beat_variables_and_variables_the_file(run_dw: Dw, fake_server: FakeServer) -> None:
    one, two, three = (fake_server(serving(study(n))) for n in (1, 2, 3))
    profile(run_dw, one)
    assert run_dw("search", "-f", "uids").out == "1.1\n"
    assert run_dw("search", "-f", "uids", env={"DW_URL": two.url}).out == "1.2\n"
    assert run_dw("search", "-f", "uids", "--url", three.url, env={"DW_URL": two.url}).out == "1.3\n"
    assert run_dw("search", "-f", "uids", "-p", "pacs", env={"DW_URL": two.url}).out == "1.1\n"


def test_a_profile_with_a_url_of_another_origin_is_exit_2_and_sends_nothing(
    run_dw: Dw, fake_server: FakeServer
) -> None:
    home, other = fake_server(serving(study(1))), fake_server(serving(study(2)))
    profile(run_dw, home, extra='auth = { kind = "basic", username = "u", password = "s3cret" }')
    run = run_dw("search", "-p", "pacs", "--url", other.url)
    assert run.code == 2
    assert "is not the server of profile" in run.err
    assert home.requests == other.requests == []
    assert run_dw("search", "-p", "pacs", "--url", f"{home.url}/v2").code == 0
    assert home.requests[0].target.startswith("/v2/studies")


def test_a_world_readable_configuration_with_a_password_is_refused(run_dw: Dw, fake_server: FakeServer) -> None:
    server = fake_server(serving())
    profile(run_dw, server, extra='auth = { kind = "basic", username = "u", password = "s3cret" }')
    run_dw.config.chmod(0o644)
    run = run_dw("search")
    assert run.code == 2
    assert "chmod 600" in run.err
    assert "s3cret" not in run.err
    assert server.requests == []


def test_a_password_command_leaves_stdin_to_the_references(run_dw: Dw, fake_server: FakeServer) -> None:
    server = fake_server(lambda _: Answer(404))
    command = "cat >/dev/null; echo pw"
    profile(run_dw, server, extra=f'auth = {{ kind = "basic", username = "u", password_command = "{command}" }}')
    run = run_dw("retrieve", "study", "-", "-o", "out", stdin="1.2\n1.3\n")
    assert run.code == 5
    assert {request.target.split("/")[2] for request in server.requests} == {"1.2", "1.3"}


def test_secrets_are_not_in_the_loudest_log(run_dw: Dw, fake_server: FakeServer) -> None:
    server = fake_server(serving(study(1)))
    run = run_dw("-vv", "search", "--url", server.url, env={"DW_USER": "u", "DW_PASSWORD": "s3cret"})
    assert run.code == 0
    assert "GET" in run.err
    assert "s3cret" not in run.err + run.out
    assert "dTpzM2NyZXQ" not in run.err + run.out  # u:s3cret in base64
    assert server.requests[0].header("Authorization")


# Exit codes


@pytest.mark.parametrize(
    ("status", "code"), [(200, 0), (204, 0), (400, 1), (401, 4), (403, 4), (404, 1), (410, 1), (500, 1)]
)
def test_exit_codes_follow_the_answer(run_dw: Dw, fake_server: FakeServer, status: int, code: int) -> None:
    server = fake_server(lambda _: Answer(status, JSON))
    run = run_dw("search", "--url", server.url)
    assert run.code == code
    assert bool(code) == ("error" in run.err.lower())
    assert "Traceback" not in run.err


def test_temporary_failures_are_exit_75(run_dw: Dw, fake_server: FakeServer) -> None:
    server = fake_server(lambda _: Answer(503, {"Retry-After": "9999"}))
    assert run_dw("search", "--url", server.url).code == 75
    run = run_dw("search", "--url", f"http://127.0.0.1:{free_port()}")
    assert run.code == 75
    assert "cannot connect" in run.err


def test_timeout_ends_a_silent_server(run_dw: Dw, fake_server: FakeServer) -> None:
    over = threading.Event()
    server = fake_server(lambda _: (over.wait(20), Answer())[1])
    run = run_dw("search", "--url", server.url, "--timeout", "0.3")
    over.set()
    assert run.code == 75
    assert run.seconds < within(8)


@pytest.mark.parametrize(
    "words",
    [
        ("search", "--timeout", "nan"),
        ("search", "--timeout", "0"),
        ("search", "--limit", "0"),
        ("search", "-H", "no colon"),
        ("search", "--date", "soon"),
        ("search", "--modality", ","),
        ("search", "PatientID=1", "--patient-id", "2"),
        ("search", "--url", "http://[::1"),
        ("search", "--url", "http://u:p@127.0.0.1"),
        ("search", "--columns", "RequestAttributesSequence.ScheduledProcedureStepID"),
        ("search", "--sort", "RequestAttributesSequence.ScheduledProcedureStepID"),
        ("retrieve", "study", "http://[::1/studies/1"),
        ("retrieve", "studies/1.2/sereis/1.3"),
        ("search", b"PatientID=\xff".decode("utf-8", "surrogateescape")),
    ],
)
def test_wrong_usage_is_exit_2_before_anything_is_sent(
    run_dw: Dw, fake_server: FakeServer, words: tuple[str, ...]
) -> None:
    server = fake_server(serving(study(1)))
    run = run_dw(*words, env={"DW_URL": server.url})
    assert run.code == 2, run.err
    assert "Traceback" not in run.err
    assert server.requests == []


@pytest.mark.parametrize("part", [("frames", "1/2/3", "1"), ("bulkdata", "1/2/3", "7FE00010")])
@pytest.mark.parametrize(
    "option",
    [
        ("--jobs", "4"),  # as it is by default: it was typed nevertheless
        ("--report", "report.jsonl"),
        ("--layout", "{SOPInstanceUID}"),
        ("--zip", "x.zip"),
        ("--max-errors", "1"),
        ("--patient", "Bellona*"),
        ("--study", "1"),
        ("--limit", "1"),
        ("--offset", "0"),
        ("--wado-uri",),
        ("--anonymize",),
        ("--overwrite",),
        ("--dry-run",),
        ("--fuzzy",),
    ],
)
def test_parts_refuse_by_name_an_option_that_would_be_ignored(
    run_dw: Dw, fake_server: FakeServer, tmp_path: Path, part: tuple[str, ...], option: tuple[str, ...]
) -> None:
    server = fake_server(serving())
    run = run_dw("retrieve", "--url", server.url, *part, "--verify", "-o", "x", *option, cwd=tmp_path)
    assert run.code == 2
    said, hint = run.err.splitlines()
    assert said.endswith(f"{part[0]} does not accept {option[0]}")
    assert hint.count("--") == (2 if part[0] == "frames" else 1)
    assert server.requests == []
    assert {path.name for path in tmp_path.iterdir()} <= {"home", "report.jsonl"}


def test_bulk_data_refuses_a_transfer_syntax(run_dw: Dw, fake_server: FakeServer) -> None:
    server = fake_server(serving())
    words = ("bulkdata", "1/2/3", "7FE00010", "--transfer-syntax", "*", "-j", "2", "-o", "x")
    run = run_dw("retrieve", "--url", server.url, *words)
    assert run.code == 2
    assert "bulkdata does not accept --transfer-syntax, --jobs" in run.err
    assert server.requests == []


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (("serach",), "search"),
        (("search", "--modalty", "CT"), "--modality"),
        (("search", "PatientNane=x"), "PatientName"),
        (("search", "studeis"), "studies"),
        (("-p", "pascs", "search"), "pacs"),
        (("search", "--columns", "PatientNam"), "PatientName"),
        (("search", "-f", "jsonn"), "json"),
    ],
)
def test_a_mistyped_word_suggests_the_near_one(
    run_dw: Dw, fake_server: FakeServer, words: tuple[str, ...], near: str
) -> None:
    profile(run_dw, fake_server(serving()))
    run = run_dw(*words)
    assert run.code == 2
    assert near in run.err


# Pipes and signals


def test_a_reader_that_has_seen_enough_is_no_failure(run_dw: Dw, fake_server: FakeServer) -> None:
    server = fake_server(serving(*(study(n, "A" * 200) for n in range(5000))))
    process = run_dw.start("search", "--url", server.url, "-f", "jsonl")
    assert process.stdout and process.stderr and process.stdin
    process.stdin.close()
    assert process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 0
    assert err == b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_exit_130_at_once_and_says_no_traceback(
    run_dw: Dw, fake_server: FakeServer, number: signal.Signals
) -> None:
    over = threading.Event()
    server = fake_server(lambda _: (over.wait(60), Answer())[1])
    process = run_dw.start("search", "--url", server.url)
    until = time.monotonic() + 40
    while not server.requests and time.monotonic() < until:
        time.sleep(0.01)
    clock = Clock()
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=40)
    soon = clock.within(2)
    over.set()
    assert process.returncode == 130
    assert soon, clock
    assert out == b""
    assert b"Traceback" not in err


def test_help_and_search_load_no_pixels(run_dw: Dw) -> None:
    code = "import sys, dwcli.main; print(sorted({'pydicom', 'numpy', 'PIL', 'tomlkit'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Searches


def test_several_modalities_are_asked_one_by_one_and_merged(run_dw: Dw, fake_server: FakeServer) -> None:
    held = {"CT": [study(1), study(2)], "MR": [study(2), study(3)]}

    def handler(request: Request) -> Answer:
        query = asked(request)
        return Answer(200, JSON, json.dumps([] if "offset" in query else held[query["ModalitiesInStudy"][0]]).encode())

    server = fake_server(handler)
    run = run_dw("search", "--url", server.url, "--modality", "CT, MR,CT", "-f", "uids")
    assert run.lines == ["1.1", "1.2", "1.3"]
    assert run_dw("search", "--url", server.url, "--modality", "CT,MR", "--count").out == "3\n"
    assert run_dw("search", "--url", server.url, "--modality", "CT,MR", "--limit", "2", "-f", "uids").lines == [
        "1.1",
        "1.2",
    ]
    assert run_dw("search", "--url", server.url, "--modality", "CT,MR", "--offset", "2").code == 2


def test_options_become_the_keys_of_the_level(run_dw: Dw, fake_server: FakeServer) -> None:
    server = fake_server(serving())
    env = {"DW_URL": server.url}
    run_dw("search", "--patient", "Bellona*", "--patient-id", "7", "--date", "2024-03", "--time", "08:00..12:00",
           "--accession", "A1", "--description", "Head", "--birth-date", "1970", "--study", "1.2,1.3", "--fuzzy",
           env=env)  # fmt: skip
    run_dw("search", "series", "--modality", "CT", "--study", "1.2", "--series", "1.2.3", "--description", "x", env=env)
    run_dw("search", "instances", "--study", "1.2", "--series", "1.2.3", "0008,0008=ORIGINAL", "00091010=x", env=env)
    # What is asked with a limit, or for one study of two, only finds out why the server has nothing.
    later = ("limit=", "StudyInstanceUID=1.2&", "StudyInstanceUID=1.3&")
    asked = [r.target for r in server.requests if "?" in r.target and not any(word in r.target for word in later)]
    first, second, third = (target.partition("&includefield")[0] for target in asked)
    assert first == (
        "/studies?PatientName=Bellona*&PatientID=7&StudyDate=20240301-20240331&StudyTime=080000-120000"
        "&AccessionNumber=A1&StudyDescription=Head&PatientBirthDate=19700101-19701231&StudyInstanceUID=1.2,1.3"
    )
    assert server.requests[0].target.endswith("&fuzzymatching=true")
    assert second == "/studies/1.2/series?Modality=CT&SeriesDescription=x&SeriesInstanceUID=1.2.3"
    assert third == "/studies/1.2/series/1.2.3/instances?ImageType=ORIGINAL&00091010=x"


@pytest.mark.parametrize(
    ("words", "included"),
    [
        ((), ["StudyDescription", "NumberOfStudyRelatedInstances"]),
        (("--include", "patientsex,00101010"), ["PatientSex", "PatientAge"]),
        (("--include", "PatientSex", "--include", "all"), ["all"]),
        (("--include", "00400275.00400009"), ["RequestAttributesSequence.ScheduledProcedureStepID"]),
        (("--columns", "patientname,00101010"), ["PatientName", "PatientAge"]),
        (("--include", "PatientSex", "--columns", "PatientAge"), ["PatientSex", "PatientAge"]),
        (("--sort", "-PatientAge"), ["StudyDescription", "NumberOfStudyRelatedInstances", "PatientAge"]),
    ],
)
def test_what_is_shown_and_sorted_by_is_asked_for_by_keyword(
    run_dw: Dw, fake_server: FakeServer, words: tuple[str, ...], included: list[str]
) -> None:
    server = fake_server(serving())
    assert run_dw("search", "--url", server.url, *words).code == 0
    assert asked(server.requests[0]).get("includefield", []) == included


def test_sort_limit_and_offset_count_in_the_order_that_is_shown(run_dw: Dw, fake_server: FakeServer) -> None:
    ages = [30, None, 9, 100, 20]
    server = fake_server(
        serving(*(study(n, "", **({"00201208": element("IS", age)} if age else {})) for n, age in enumerate(ages)))
    )
    key = "NumberOfStudyRelatedInstances"

    def found(*words: str) -> list[str]:
        return run_dw("search", "--url", server.url, "-f", "uids", *words).lines

    assert found("--sort", key) == ["1.2", "1.4", "1.0", "1.3", "1.1"]
    assert found("--sort", f"-{key}") == ["1.3", "1.0", "1.4", "1.2", "1.1"]
    assert found("--sort", key, "--limit", "2", "--offset", "1") == ["1.4", "1.0"]
    assert found("--limit", "2", "--offset", "1") == ["1.1", "1.2"]
    assert run_dw("search", "--url", server.url, "--count").out == "5\n"
    assert run_dw("search", "--url", server.url, "--count", "--limit", "3").out == "3\n"


def test_references_are_whole_where_rows_do_not_name_what_was_asked_within(run_dw: Dw, fake_server: FakeServer) -> None:
    server = fake_server(serving({"0020000E": {"vr": "UI", "Value": ["5"]}}))
    run = run_dw("--url", server.url, "search", "series", "--study", "1.2%2F3", "-f", "refs")
    assert (run.code, run.out) == (0, "1.2%2F3/5\n")


def test_a_terminal_is_told_that_there_are_more(run_dw: Dw, fake_server: FakeServer) -> None:
    server = fake_server(serving(*(study(n, f"N{n}") for n in range(150))))
    run = run_dw("search", "--url", server.url, tty=120)
    assert "N99" in run.out
    assert "N100" not in run.out
    assert "--offset 100" in run.out + run.err
    assert "N149" in run_dw("search", "--url", server.url, "--all", tty=120).out
    assert len(run_dw("search", "--url", server.url, "-f", "uids").lines) == 150


NAMES = {
    "Yamada^Tarou=山田^太郎=やまだ^たろう": ("Yamada^Tarou", "山田^太郎", "やまだ^たろう"),
    "Hong^Gildong=洪^吉洞=홍^길동": ("Hong^Gildong", "洪^吉洞", "홍^길동"),
    "قباني^لنزار": ("قباني^لنزار", "", ""),
    "Müller^Ångström": ("Müller^Ångström", "", ""),
    "==やまだ": ("", "", "やまだ"),
}


def test_names_of_three_groups_and_every_script_come_through(run_dw: Dw, fake_server: FakeServer) -> None:
    groups = ("Alphabetic", "Ideographic", "Phonetic")
    rows = [
        study(n, "", **{"00100010": element("PN", {g: v for g, v in zip(groups, parts, strict=True) if v})})
        for n, parts in enumerate(NAMES.values())
    ]
    server = fake_server(serving(*rows))
    words = ("search", "--url", server.url, "--columns", "PatientName,StudyInstanceUID")
    piped = run_dw(*words)
    assert [line.split("\t")[0] for line in piped.lines if "1." in line] == list(NAMES)
    flat = [json.loads(line) for line in run_dw(*words, "-f", "flat").lines]
    assert [row["PatientName"] for row in flat] == list(NAMES)
    received = [json.loads(line) for line in run_dw(*words, "-f", "jsonl").lines]
    assert received == rows
    shown = run_dw(*words, tty=120).out
    for name in ("山田^太郎", "홍^길동", "قباني^لنزار"):
        assert name in shown


def test_control_characters_of_a_server_are_never_sent_to_a_terminal(run_dw: Dw, fake_server: FakeServer) -> None:
    server = fake_server(serving(study(1, "\x1b]0;owned\x07\x1b[31mred")))
    run = run_dw("search", "--url", server.url, "-f", "table", env={"NO_COLOR": "1"}, tty=120)
    assert "\x1b]0;" not in run.out
    assert "\x07" not in run.out
    angry = fake_server(lambda _: Answer(400, {"Content-Type": "text/plain"}, b"\x1b]0;owned\x07 bad"))
    run = run_dw("search", "--url", angry.url, tty=120)
    assert "\x1b]0;" not in run.err
    assert "bad" in run.err


def test_a_hundred_thousand_rows_need_little_memory(run_dw: Dw, fake_server: FakeServer, tmp_path: Path) -> None:
    total = 100_000

    def body() -> Iterator[bytes]:
        yield b"["
        for start in range(0, total, 1000):
            rows = (json.dumps(study(n, f"Patient^{n}", **{"00081030": element("LO", "x" * 100)})) for n in
                    range(start, start + 1000))  # fmt: skip
            yield (b"," if start else b"") + ",".join(rows).encode()
        yield b"]"

    server = fake_server(
        lambda r: Answer(200, JSON, b"[]") if "offset" in r.target else Answer(200, JSON, body(), framing="chunked")
    )
    measured = tmp_path / "rss"
    code = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[2:], stdout=subprocess.PIPE, text=False)\n"
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
        "open(sys.argv[1], 'w').write(f'{done.returncode} {done.stdout.count(bytes([10]))} {peak}')\n"
    )
    words = [sys.executable, "-m", "dwcli", "search", "--url", server.url, "-f", "jsonl"]
    subprocess.run([sys.executable, "-c", code, str(measured), *words], env=run_dw.environment, check=True, timeout=120)
    returned, lines, peak = map(int, measured.read_text().split())
    assert (returned, lines) == (0, total)
    assert peak < 100_000, f"{peak / 1000:.0f} MB"


def test_an_interrupt_while_it_loads_is_130_without_a_traceback() -> None:
    script = (
        "import sys, types\n"
        "class Main(types.ModuleType):\n"
        "    def __getattr__(self, name): raise KeyboardInterrupt\n"
        "sys.modules['dwcli.main'] = Main('dwcli.main')\n"
        "from dwcli.__main__ import run\n"
        "run()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (130, b"")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("-p", "local", "delete", "2.25.1", "--yes"), 1),
        (("retrieve",), 2),
        (("-p", "local", "check", "2.25.1", "no-folder"), 2),
        (("-p", "local", "copy", "2.25.1", "--to", ""), 2),
        (("-p", "nobody", "store", "."), 2),
        (("-p", "local", "delete", "--dry-run", "2.25.1"), 1),
    ],
)
def test_an_old_report_does_not_outlive_a_run_that_stops_early(
    words: tuple[str, ...], code: int, run_dw: Dw, tmp_path: Path
) -> None:
    report = tmp_path / "run.jsonl"
    report.write_text('{"summary": {"deleted": 9}, "exit": 0}\n')
    assert run_dw(*words, "--report", report).code == code
    [line] = report.read_text().splitlines()
    said = json.loads(line)
    assert (said["summary"], said["exit"]) == ({}, code)


def test_a_report_says_how_a_lost_output_ended(dw_process: Dw, tmp_path: Path) -> None:
    report = tmp_path / "run.jsonl"
    images.big_study(tmp_path / "files", 1000)
    words = ("-p", "local", "store", str(tmp_path / "files"), "--report", str(report))
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "dwcli", *words]
        code = subprocess.run(command, env=dw_process.environment, stdout=full, stderr=subprocess.PIPE).returncode
    assert (code, json.loads(report.read_text().splitlines()[-1])["exit"]) == (1, 1)
