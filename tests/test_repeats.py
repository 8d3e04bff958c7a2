"""A repeated option is a list or an error, and never the last one alone."""

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from servers.dw import Dw
from servers.fake import Answer, Fake, Request
from servers.scripted import JSON, Scripted, study

Serve = Callable[..., Fake]
SCALARS = [
    ["search", "--date", "2024", "--date", "2025"],
    ["search", "--patient", "A", "--patient=B"],
    ["search", "--limit", "1", "--limit", "1"],
    ["search", "--columns", "PatientID", "--columns", "PatientName"],
    ["search", "-p", "a", "--profile", "b"],
    ["-p", "a", "-p", "b", "search"],
    ["--url", "http://a", "--url", "http://b", "search"],
    ["search", "-f", "json", "-fcsv"],
    ["search", "-pa", "-pb"],
    ["retrieve", "1.2", "-o", "a", "-o", "b"],
    ["retrieve", "1.2", "--layout", "a", "--layout", "b"],
    ["store", "a", "--study", "1.2", "--study", "1.3"],
    ["copy", "1.2", "--to", "a", "--to", "b"],
    ["delete", "1.2", "--report", "a", "--report", "b"],
    ["check", "1.2", ".", "-j", "1", "-j", "2"],
    ["render", "1.2", "--frame", "1", "--frame", "2"],
    ["profile", "add", "a", "http://a", "--user", "a", "--user", "b"],
    ["profile", "add", "a", "http://a", "--insecure", "--secure"],
    ["metadata", "1.2", "--bulkdata", "a", "--bulkdata", "b"],
    ["serve", "--port", "1", "--port", "2"],
]


@pytest.mark.parametrize("words", SCALARS, ids=" ".join)
@pytest.mark.parametrize("tty", [None, 100])
def test_an_option_of_one_value_is_not_given_twice(run_dw: Dw, words: list[str], tty: int | None) -> None:
    if tty and words not in SCALARS[:2]:
        pytest.skip("the same on every terminal")
    run = run_dw(*words, tty=tty)
    assert run.code == 2, run.err
    assert "given twice" in run.err or "contradict each other" in run.err
    assert "error: --" in run.err or "error: \x1b" in run.err or tty


def test_flags_may_be_repeated_and_globals_stand_on_both_sides(run_dw: Dw, fake_server: Serve) -> None:
    server = fake_server(Scripted(study(1, 1)))
    run = run_dw("-p", "none", "--url", "http://x", "search", "--url", server.url, "-p", "", "--count", "--count")
    assert "given twice" not in run.err
    run = run_dw(
        "--url", "http://127.0.0.1:9", "-q", "-q", "search", "--url", server.url, "--count", "--count", "-v", "-v"
    )
    assert (run.code, run.out) == (0, "1\n"), run.err
    run = run_dw("search", "--url", server.url, "-H", "A: 1", "-H", "B: 2", "--all", "--all")
    assert run.code == 0 and {"A", "B"} <= {name for name, _ in server.requests[-1].headers}
    # What stands behind `--`, or is another option's value, is no option.
    assert "given twice" not in run_dw("search", "--url", server.url, "--patient", "--date", "--", "--date").err


def row(number: int, **more: object) -> dict[str, object]:
    return {
        "0020000D": {"vr": "UI", "Value": [f"1.{number}"]},
        "00100020": {"vr": "LO", "Value": [f"P{number}"]},
        "00080020": {"vr": "DA", "Value": [f"2024010{9 - number}"]},
    }


def people(request: Request) -> Answer:
    """Four studies of a patient each, and one accession number for two of them; heeds what it is asked."""
    query = {key: values[0] for key, values in parse_qs(urlsplit(request.target).query).items()}
    held = {
        "PatientID": {f"P{n}": [n] for n in range(1, 5)},
        "AccessionNumber": {"A": [1, 2], "B": [2, 3]},
        "ModalitiesInStudy": {"CT": [1, 2, 3], "MR": [2, 4]},
        "StudyInstanceUID": {f"1.{n}": [n] for n in range(1, 5)},
    }
    chosen = [1, 2, 3, 4]
    for key, values in held.items():
        if key in query:
            wanted = query[key].split(",") if key == "StudyInstanceUID" else [query[key]]
            chosen = [n for n in chosen if any(n in values.get(value, []) for value in wanted)]
    first = int(query.get("offset", "0"))
    last = first + int(query.get("limit", "100"))
    return Answer(200, JSON, json.dumps([row(n) for n in chosen[first:last]]).encode())


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--patient-id", "P1", "--patient-id", "P3"], "1 3"),
        (["--patient-id", "P1", "--patient-id", "P1"], "1"),
        (["--accession", "A", "--accession", "B"], "1 2 3"),
        (["--modality", "CT", "--modality", "MR"], "1 2 3 4"),
        (["--modality", "CT,MR", "--modality", "CT"], "1 2 3 4"),
        (["--modality", "MR", "--accession", "A", "--accession", "B"], "2"),
        (["--study", "1.4", "--study", "1.2"], "2 4"),
        (["--study", "1.4", "--study", "1.2", "--modality", "CT", "--modality", "MR"], "2 4"),
        (["--accession", "A", "--accession", "B", "--limit", "2"], "1 2"),
        (["--accession", "B", "--accession", "A", "--limit", "3"], "2 3 1"),
        (["--modality", "CT", "--modality", "MR", "--sort", "StudyDate"], "4 3 2 1"),
        (["--modality", "CT", "--modality", "MR", "--sort", "StudyDate", "--limit", "2"], "4 3"),
        (["--patient-id", "P1", "--patient-id", "GONE"], "1"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_repeated_options_are_all_asked_for(run_dw: Dw, fake_server: Serve, words: list[str], found: str) -> None:
    server = fake_server(people)
    env = {"DW_URL": server.url}
    run = run_dw("search", *words, "-f", "uids", env=env)
    assert (run.code, [line.removeprefix("1.") for line in run.lines]) == (0, found.split()), run.err
    if "--sort" not in words:
        assert run_dw("search", *words, "--count", env=env).out == f"{len(found.split())}\n"
    shown = run_dw("search", *words, env=env, tty=200)
    assert shown.code == 0 and all(f"1.{n}" in shown.out for n in found.split())
    plan = run_dw(
        "retrieve", *[word for word in words if word != "--sort" and word != "StudyDate"], "--dry-run", env=env
    )
    assert plan.code == 0 or "--sort" in words, plan.err


def test_series_of_several_studies_and_instances_of_several_series(run_dw: Dw, fake_server: Serve) -> None:
    held = [*study(2, 2, name="2.25.7"), *study(2, 1, name="2.25.8")]
    server = fake_server(Scripted(held))
    env = {"DW_URL": server.url}
    run = run_dw("search", "series", "--study", "2.25.7", "--study", "2.25.8", "-f", "refs", env=env)
    assert run.lines == ["2.25.7/2.25.7.1", "2.25.7/2.25.7.2", "2.25.8/2.25.8.1", "2.25.8/2.25.8.2"], run.err
    run = run_dw("search", "instances", "--study", "2.25.7", "--series", "2.25.7.1", "--series", "2.25.7.2",
                 "-f", "uids", env=env)  # fmt: skip
    assert run.lines == [one.uid for one in held[:4]], run.err


def test_an_absent_study_of_several_is_told_and_all_absent_are_exit_5(run_dw: Dw, fake_server: Serve) -> None:
    archive = Scripted(study(1, 1))
    archive.bend = lambda request, answer: Answer(404) if "/9.9" in request.target else answer
    env = {"DW_URL": fake_server(archive).url}
    run = run_dw("search", "series", "--study", "9.9", "--study", "2.25.7", "-f", "uids", env=env)
    assert (run.code, run.lines) == (0, ["2.25.7.1"]) and "404" in run.err
    assert run_dw("search", "series", "--study", "9.9", "--study", "9.99", env=env).code == 5


def test_retrieve_by_repeated_options_fetches_each_once(run_dw: Dw, fake_server: Serve, tmp_path: Path) -> None:
    archive = Scripted([*study(1, 1, name="2.25.7"), *study(1, 1, name="2.25.8")])
    env = {"DW_URL": fake_server(archive).url}
    run = run_dw("retrieve", "series", "--study", "2.25.7", "--study", "2.25.8", "-o", tmp_path / "o", env=env)
    assert run.code == 0, run.err
    assert len(list((tmp_path / "o").rglob("*.dcm"))) == 2
    run = run_dw("retrieve", "series", "--study", "2.25.7", "--study", "2.25.8", "--limit", "1", "--dry-run", env=env)
    assert "in 1 series" in run.err


@pytest.mark.parametrize("option", ["patient-id", "modality", "accession", "study", "series"])
def test_an_empty_value_among_several_is_refused(run_dw: Dw, option: str) -> None:
    run = run_dw("search", "series", f"--{option}", "1.2", f"--{option}", "", "--url", "http://127.0.0.1:9")
    assert run.code == 2 and f"--{option}" in run.err
