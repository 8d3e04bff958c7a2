"""An address names its server: what changes something refuses another one's, what reads says once what it does."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from servers.dw import Dw, Run
from servers.fake import Fake
from servers.scripted import Scripted, study

STUDY = "2.25.7"
Serve = Callable[..., Fake]


@pytest.fixture
def servers(run_dw: Dw, fake_server: Serve) -> dict[str, Fake]:
    """Two archives of the same study: `pacs`, the default, and `archive`."""
    made = {name: fake_server(Scripted(study(1, 2)), path=f"/{name}/rs") for name in ("pacs", "archive")}
    for name, server in made.items():
        inner = server.handler
        server.handler = lambda request, inner=inner, name=name: inner(  # type: ignore[misc]
            request.__class__(request.method, request.target.removeprefix(f"/{name}/rs"), *_rest(request))
        )
        assert run_dw("profile", "add", name, server.url).code == 0
    return made


def _rest(request: object) -> tuple[object, ...]:
    return request.headers, request.body, request.size  # type: ignore[attr-defined]


def refused(run: Run, servers: dict[str, Fake], *hints: str) -> None:
    assert run.code == 2, run.err + run.out
    assert "Traceback" not in run.err
    for hint in hints:
        assert hint in run.err, run.err
    assert [request.target for server in servers.values() for request in server.requests] == []


def forms(base: str) -> list[str]:
    return [
        f"{base}/studies/{STUDY}",
        f"{base}/studies/{STUDY}/series/{STUDY}.1",
        f"{base}//studies//{STUDY}",
        base.replace("http", "HTTP", 1) + f"/studies/{STUDY}",
        base.partition("://")[2] + f"/studies/{STUDY}",
    ]


@pytest.mark.parametrize("number", range(5))
def test_delete_refuses_another_profiles_address_and_names_it(
    run_dw: Dw, servers: dict[str, Fake], number: int
) -> None:
    foreign = forms(servers["archive"].url)[number]
    for words in ([foreign], ["-"], [f"{STUDY}", foreign]):
        run = run_dw("delete", *words, "--yes", stdin=f"{foreign}\n")
        refused(run, servers, "that is profile 'archive': dw -p archive delete")
    run = run_dw("delete", forms(servers["pacs"].url)[number], "--dry-run")
    assert run.code == 0, run.err


@pytest.mark.parametrize(
    "address",
    ["https://127.0.0.1:{port}/pacs/rs", "http://localhost:{port}/pacs/rs", "http://127.0.0.1:{port}/rs",
     "http://127.0.0.1:{port}/pacs/rs/v2", "http://127.0.0.1:{port}", "http://127.0.0.1:1/pacs/rs", "/other/rs"],
)  # fmt: skip
def test_another_origin_or_base_path_is_another_server(run_dw: Dw, servers: dict[str, Fake], address: str) -> None:
    url = f"{address.format(port=servers['pacs'].port)}/studies/{STUDY}"
    row = json.dumps({"StudyInstanceUID": STUDY, "RetrieveURL": url})
    for words in (["delete", url, "--yes"], ["copy", url, "--to", "archive"], ["delete", "-", "--yes"],
                  ["copy", "-", "--to", "archive"]):  # fmt: skip
        refused(run_dw(*words, stdin=row), servers, "no profile has that address")


def test_rows_of_another_profile_are_refused_and_uids_go(run_dw: Dw, servers: dict[str, Fake]) -> None:
    element = {"vr": "UR", "Value": [f"{servers['archive'].url}/studies/{STUDY}"]}
    row = {"0020000D": {"vr": "UI", "Value": [STUDY]}, "00081190": element}
    good = {**row, "00081190": {"vr": "UR", "Value": [f"{servers['pacs'].url}/studies/{STUDY}"]}}
    lines = "\n".join(map(json.dumps, (good, row)))
    refused(run_dw("delete", "-", "--yes", stdin=lines), servers, "line 2", "dw -p archive delete", "-f uids")
    refused(run_dw("copy", "-", "--to", "archive", stdin=lines), servers, "dw -p archive copy")
    assert run_dw("delete", "-", "--dry-run", stdin=json.dumps(good)).code == 0
    assert run_dw("delete", "-", "--dry-run", stdin=STUDY).code == 0
    assert run_dw("delete", "-", "--dry-run", stdin=json.dumps({"StudyInstanceUID": STUDY})).code == 0


def test_store_into_a_study_of_another_server_is_refused(run_dw: Dw, servers: dict[str, Fake], tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(study(1, 1)[0].data)
    foreign = f"{servers['archive'].url}/studies/{STUDY}"
    run = run_dw("store", tmp_path / "a.dcm", "--study", foreign)
    refused(run, servers, "dw -p archive store")
    refused(run_dw("store", tmp_path / "a.dcm", "--study", "*"), servers)
    run = run_dw("store", tmp_path / "a.dcm", "--study", f"{servers['pacs'].url}/studies/{STUDY}")
    assert run.code == 0, run.err
    assert servers["pacs"].requests[-1].target == f"/pacs/rs/studies/{STUDY}"


@pytest.mark.parametrize("word", ["*", "2.25.*", "2.25.?", "1.2,2.25.7", "1.2\\2.25.7", "%2A", "2.25.7/*"])
def test_wildcards_and_lists_are_not_deleted_by(run_dw: Dw, servers: dict[str, Fake], word: str) -> None:
    for words in (["delete", word, "--yes"], ["delete", "study", "-", "--yes"], ["copy", word, "--to", "archive"]):
        refused(run_dw(*words, stdin="*"), servers)


@pytest.mark.parametrize("place", ["local", "demo"])
def test_the_built_in_profiles_have_addresses(run_dw: Dw, servers: dict[str, Fake], place: str) -> None:
    run = run_dw("delete", f"http://{place}/studies/{STUDY}", "--yes")
    refused(run, servers, f"that is profile '{place}': dw -p {place} delete")
    assert run_dw("-p", "local", "delete", f"{servers['pacs'].url}/studies/{STUDY}", "--yes").code == 2


def test_two_folders_are_two_addresses(run_dw: Dw, servers: dict[str, Fake], tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.dcm").write_bytes(study(1, 1)[0].data)
    rows = run_dw("--url", tmp_path / "a", "search", "-f", "jsonl").out
    assert "http://folder-" in rows
    run = run_dw("--url", tmp_path / "b", "copy", "-", "--to", "archive", stdin=rows)
    refused(run, servers, "does not belong to")
    run = run_dw("--url", tmp_path / "a", "copy", "-", "--to", "archive", stdin=rows)
    assert run.code == 0, run.err


def test_reads_go_on_and_say_so_once(run_dw: Dw, servers: dict[str, Fake], tmp_path: Path) -> None:
    told = f"using {servers['pacs'].url} instead of http://127.0.0.1/dicom-web"
    rows = "".join(
        json.dumps({"StudyInstanceUID": STUDY, "SeriesInstanceUID": f"{STUDY}.{n}",
                    "RetrieveURL": f"http://127.0.0.1/dicom-web/studies/{STUDY}/series/{STUDY}.{n}"}) + "\n"
        for n in range(1, 4)
    )  # fmt: skip
    urls = "".join(f"http://127.0.0.1/dicom-web/studies/{STUDY}/series/{STUDY}.{n}\n" for n in range(1, 4))
    for lines in (rows, urls):
        for quiet in ([], ["-q"]):
            run = run_dw("retrieve", "-", "-o", tmp_path / "out", *quiet, stdin=lines)
            assert run.err.count(" instead of ") == (0 if quiet else 1), run.err
            assert quiet or told in run.err
    assert servers["archive"].requests == []


def test_search_reads_urls_of_studies_and_series(run_dw: Dw, servers: dict[str, Fake]) -> None:
    base = "http://127.0.0.1/dicom-web"
    run = run_dw("search", "instances", "--series", f"{base}/studies/{STUDY}/series/{STUDY}.1", "-f", "uids")
    assert (run.code, run.lines) == (0, [f"{STUDY}.1.1", f"{STUDY}.1.2"]), run.err
    assert run.err.count(" instead of ") == 1
    run = run_dw("search", "series", "--study", f"{servers['pacs'].url}/studies/{STUDY}", "-f", "uids")
    assert (run.lines, run.err) == ([f"{STUDY}.1"], "")


def test_a_target_is_named_not_addressed(run_dw: Dw, servers: dict[str, Fake]) -> None:
    refused(run_dw("copy", STUDY, "--to", servers["archive"].url), servers, "hint: --to archive")
    refused(run_dw("copy", STUDY, "--to", "http://127.0.0.1:1/rs"), servers, "dw profile add NAME URL, then --to NAME")
