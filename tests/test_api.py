"""`import dwcli`: what README shows of it runs, its types hold from outside, and its errors speak of Python."""

import re
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import dwcli
from servers import wire
from servers.fake import Answer, Fake
from servers.orthanc import Orthanc
from servers.scripted import Scripted, is_retrieve, study

README = Path(__file__).resolve().parents[1] / "README.md"
STUDY = "2.25.7"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of the one who runs the tests."""
    for word in ("CONFIG", "DATA", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{word}_HOME", str(tmp_path / word))
    monkeypatch.setenv("DW_CONFIG", str(tmp_path / "config.toml"))


def example() -> str:
    """The first Python in README."""
    found = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return textwrap.dedent(found[1])


def test_what_readme_shows_runs_against_the_demo_archive(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", example()], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert list(tmp_path.rglob("*.dcm"))


def test_what_readme_shows_has_types_from_outside(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(example())
    line = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "program.py"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


def test_every_public_name_is_there() -> None:
    for name in dwcli.__all__:
        assert getattr(dwcli, name) is not None
    assert set(dir(dwcli)) == set(dwcli.__all__)
    with pytest.raises(AttributeError):
        dwcli.nonsense  # noqa: B018


def test_importing_loads_no_command_line() -> None:
    script = "import sys, dwcli; assert not {'typer', 'httpx', 'dwcli.api', 'dwcli.main'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=30).returncode == 0


@pytest.fixture
def pacs(orthanc: Orthanc) -> Iterator[dwcli.Pacs]:
    sent = study(2, 2)
    assert wire.stow(orthanc.url, [one.data for one in sent], headers=orthanc.headers).status == 200
    assert orthanc.auth
    with dwcli.connect(orthanc.url, user=orthanc.auth[0], password=orthanc.auth[1]) as found:
        yield found


def test_a_study_goes_there_and_back(pacs: dwcli.Pacs, tmp_path: Path) -> None:
    (row,) = pacs.search(StudyInstanceUID=STUDY)
    assert row.StudyInstanceUID == STUDY and row["0020000D"]["Value"] == [STUDY]
    with pytest.raises(AttributeError):
        row.NoSuchKeyword  # noqa: B018
    came = pacs.retrieve(row, tmp_path / "out").check()
    assert came.ok and [item.outcome for item in came.items] == ["received"] * 4
    assert pacs.store(tmp_path / "out").ok
    series = list(pacs.search("series", study=STUDY))
    assert {found.SeriesInstanceUID for found in series} == {f"{STUDY}.1", f"{STUDY}.2"}
    instances = list(pacs.metadata(f"{STUDY}/{STUDY}.1"))
    assert len(instances) == 2 and instances[0].Modality
    one = f"{STUDY}/{STUDY}.1/{STUDY}.1.1"
    first, again = pacs.frames(one, [1, 1])
    assert first == again and len(first) == 8 * 8 * 2


def test_values_in_a_list_are_asked_for_each_and_merged(pacs: dwcli.Pacs) -> None:
    rows = list(pacs.search("instances", study=STUDY, SOPInstanceUID=[f"{STUDY}.1.1", f"{STUDY}.2.2", "2.25.404"]))
    assert sorted(row.SOPInstanceUID for row in rows) == [f"{STUDY}.1.1", f"{STUDY}.2.2"]


def test_threads_share_one_server(pacs: dwcli.Pacs, tmp_path: Path) -> None:
    results: list[object] = []

    def work(number: int) -> None:
        results.append(
            (len(list(pacs.search("instances", study=STUDY))), pacs.retrieve(STUDY, tmp_path / str(number)).ok)
        )

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(4, True)] * 4


def test_what_failed_is_in_the_transfer_and_raised_by_check(fake_server: Callable[..., Fake], tmp_path: Path) -> None:
    archive = Scripted(study(1, 2))
    archive.bend = lambda request, answer: replace(answer, body=b"") if is_retrieve(request) else answer
    with dwcli.connect(fake_server(archive).url) as pacs:
        came = pacs.retrieve(STUDY, tmp_path / "out")
        assert not came.ok and came.code == 1
        with pytest.raises(dwcli.DwError, match="failed"):
            came.check()


def test_hints_are_of_python(orthanc: Orthanc, tmp_path: Path) -> None:
    with dwcli.connect(orthanc.url, user="alice", password="wrong") as pacs:
        with pytest.raises(dwcli.AuthError) as caught:
            list(pacs.search())
        assert "connect()" in caught.value.hint
    with pytest.raises(dwcli.UsageError) as refused:
        dwcli.connect("nowhere")
    assert "dw " not in refused.value.hint
    with dwcli.connect("demo") as demo, pytest.raises(dwcli.UsageError):
        demo.search("patients")


def test_warnings_are_warnings(fake_server: Callable[..., Fake]) -> None:
    json = {"Content-Type": "application/dicom+json", "Warning": '299 pacs "fuzzy matching is not supported"'}
    server = fake_server(lambda _request: Answer(200, json, b"[]"))
    with dwcli.connect(server.url) as pacs, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        list(pacs.search(PatientName="x"))
    assert any("fuzzy" in str(one.message) for one in said)
