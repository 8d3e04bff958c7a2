"""The local archive: reading 10,000 files in, searching them, and searching an index of 100,000 generated rows.

Run alone: .venv/bin/python bench/archive.py [--files N] [--rows N]. Exit 1 where a limit is broken.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from dwcli.archive import index, searching
from dwcli.archive.app import open_archive
from dwcli.archive.header import Header
from dwcli.archive.index import Index, Seen
from dwcli.dicomweb.refs import Level
from servers import images

BUILD_LIMIT = 60.0  # seconds for 10,000 files
SEARCH_LIMIT = 0.05  # seconds that a search may take over dw's own start-up, which is a search in an empty archive
RUNS = 7


def main() -> int:
    """Run all, print a line each; 1 where a limit is broken."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dw-bench-") as name:
        folder = Path(name)
        results = [*of_files(folder, given.files), *of_rows(folder, given.rows)]
    for label, seconds, limit in results:
        verdict = "" if limit is None else f"   limit {limit:g} s   {'ok' if seconds <= limit else 'TOO SLOW'}"
        print(f"{label:<64} {seconds:8.3f} s{verdict}")
    return int(any(limit is not None and seconds > limit for _, seconds, limit in results))


Result = tuple[str, float, float | None]


def of_files(folder: Path, count: int) -> list[Result]:
    """Reading `count` files in, with `dw` as people run it."""
    root = folder / "data/dw/archive"
    for number in range(count):
        study, series = f"1.2.{number // 100}", f"1.2.{number // 100}.{number // 25 % 4}"
        path = root / study / series / f"{series}.{number}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        name = ("PN", f"Patient^{number // 100:04}")
        path.write_bytes(images.instance(study, series, path.stem, number=number % 25, t00100010=name))
    began = time.perf_counter()
    dw(folder, "-p", "local", "search", "--count")
    built = time.perf_counter() - began
    start = middle(lambda: dw(folder / "empty", "-p", "local", "search"))
    results: list[Result] = [(f"index of {count} files, built by the first search", built, BUILD_LIMIT)]
    dw(folder, "--url", str(root), "search", "--count")
    for label, *arguments in (
        ("a patient in the archive", "-p", "local", "search", "--patient", "Patient^0042"),
        ("all studies in the archive", "-p", "local", "search"),
        ("one study's instances", "-p", "local", "search", "instances", "--study", "1.2.42"),
        ("a patient in a folder (every file is looked at)", "--url", str(root), "search", "--patient", "Patient^0042"),
    ):
        taken = middle(partial(dw, folder, *arguments))
        limit = None if "--url" in arguments else SEARCH_LIMIT
        results.append((f"{label}: over a start-up of {start:.3f} s", taken - start, limit))
    return results


def of_rows(folder: Path, count: int) -> list[Result]:
    """Searches in process over `count` generated instances: 100 in a study, 25 in a series."""
    (folder / "rows").mkdir()
    database = Index(folder / "rows/.dw-archive.sqlite")
    began = time.perf_counter()
    with database.writing() as db:
        index.add(db, (generated(number) for number in range(count)))
    database.built()
    database.close()
    results: list[Result] = [(f"{count} rows written into an index", time.perf_counter() - began, None)]
    archive = open_archive(folder / "rows", read_only=True)
    db = archive.folder.index.connection()
    for level, query in (
        (Level.STUDY, "PatientName=patient%5E0042"),
        (Level.STUDY, "PatientName=*42*"),
        (Level.STUDY, "StudyDate=20240101-20240107&ModalitiesInStudy=CT"),
        (Level.STUDY, "limit=100"),
        (Level.SERIES, "Modality=MR&limit=100"),
        (Level.INSTANCE, "SOPInstanceUID=1.2.42.1.4242"),
        (Level.INSTANCE, "PatientName=patient%5E0042"),
        (Level.INSTANCE, "limit=100&offset=50000"),
    ):

        def ask(level: Level = level, query: str = query) -> float:
            began = time.process_time()
            asked = searching.read(level, "", "", query)
            searching.count(db, asked)
            list(searching.rows(db, asked, "http://local", lambda _path, _tags: {}))
            return time.process_time() - began

        results.append((f"{count} rows: {level.resource}?{query}", middle(ask), SEARCH_LIMIT))
    archive.close()
    return results


def generated(number: int) -> Seen:
    """One instance that no file holds."""
    patient, part = number // 100, number // 25 % 4
    study, series = f"1.2.{patient}", f"1.2.{patient}.{part}"
    day = f"2024{patient % 12 + 1:02}{patient % 28 + 1:02}"
    head = Header(
        study=study,
        series=series,
        instance=f"{series}.{number}",
        sop_class=images.CT_IMAGE,
        syntax=images.EXPLICIT_LITTLE,
        study_row=f'{{"00100010":{{"vr":"PN","Value":[{{"Alphabetic":"Patient^{patient:04}"}}]}}}}',
        series_row="{}",
        study_keys=frozenset({("00100010", f"patient^{patient:04}"), ("00100020", f"ID{patient}")}),
        series_keys=frozenset({("0008103E", f"part {part}")}),
        dates=dict.fromkeys(("00080020", "00080021", "00100030", "00400244"), day)
        | dict.fromkeys(("00080030", "00080031", "00400245"), "120000.000000"),
        modality=("CT", "MR")[part % 2],
        series_number=part,
        number=number % 25,
        rows=512,
        columns=512,
        bits=16,
        frames=None,
    )
    return Seen(f"{study}/{series}/{number}.dcm", 1000, number, head)


def dw(folder: Path, *arguments: str) -> float:
    """Run `dw` with a home of its own; the processor time it took in seconds, as clocks lie on a busy machine."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("DW_")},
        "DW_CONFIG": str(folder / "none.toml"),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "dwcli", *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def middle(action: Callable[[], float]) -> float:
    """The median of what an action returns, over several runs."""
    return statistics.median(action() for _ in range(RUNS))


if __name__ == "__main__":
    sys.exit(main())
