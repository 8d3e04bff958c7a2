"""What is compared: eight pieces of work, the commands that do them, and what `dw` has to reach."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from measure import Broken, Command
from recordings import Recordings, Study

from servers.orthanc import Orthanc
from servers.process import Process, Server, answers, listens
from servers.wire import stow

_BIN = Path(sys.executable).parent
_HERE = Path(__file__).resolve().parent
DW, PEER = str(_BIN / "dw"), str(_BIN / "dicomweb_client")
_MB = 1_000_000
_TRIP, _RATE = 0.040, 20 * _MB  # seconds, bytes a second


@dataclass(frozen=True, slots=True)
class Target:
    """`most`: a ratio of `dw`'s seconds to those of the command `against`; where that is empty, a peak in bytes."""

    most: float
    against: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """Commands that do the same work, `dw`'s first, and what it has to reach."""

    text: str
    commands: Sequence[Command]
    targets: Sequence[Target]


class _Script(Server):
    """One of the bench's own servers as a process of its own; `before` the port, `after` it."""

    def __init__(self, log: Path, script: str, before: Sequence[str], after: Sequence[str], *, speaks: bool) -> None:
        self._words = [sys.executable, str(_HERE / script), *before], [*after]
        self._log, self._speaks = log, speaks
        self.open()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def spawn(self) -> Process:
        before, after = self._words
        ready = answers if self._speaks else listens
        return Process([*before, str(self.port), *after], log=self._log, ready=lambda: ready(self.port))


class Bench:
    """The servers and files of one run, each made when the first work needs it; a context manager that ends them."""

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.folder = folder
        self.shrink = 10 if quick else 1
        self.out = _output(folder)
        self.recordings = Recordings(folder / "recordings")
        self._stack = ExitStack()
        folder.mkdir(parents=True, exist_ok=True)

    @cached_property
    def replay(self) -> _Script:
        """The replay server."""
        log, routes = self.folder / "replay.log", str(self.recordings.routes)
        return self._stack.enter_context(_Script(log, "replay.py", [routes], [], speaks=True))

    @cached_property
    def slow(self) -> _Script:
        """The replay server behind a long line."""
        upstream, line = str(self.replay.port), [str(_TRIP), str(_RATE)]
        log = self.folder / "proxy.log"
        return self._stack.enter_context(_Script(log, "proxy.py", [upstream], line, speaks=False))

    @cached_property
    def orthanc(self) -> Orthanc:
        """An empty Orthanc."""
        place = self.folder / "orthanc"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        return self._stack.enter_context(Orthanc(place, user=None))

    def study(self, size: int, count: int, series: int = 1) -> Study:
        """A recorded study."""
        study = self.recordings.study(size, count, series)
        self.recordings.record(study)
        return study

    def retrieval(self, name: str, line: Sequence[str], count: int) -> Command:
        """A command that fills the empty folder `out` with so many files."""

        def check() -> None:
            found = sum(path.is_file() for path in self.out.rglob("*"))
            if found != count:
                raise Broken(f"{name} left {found} files instead of {count}")

        return Command(name, line, before=self.empty, after=check)

    def empty(self) -> None:
        """Make `out` an empty folder."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()
        for place in (self.out, self.folder / "orthanc"):
            shutil.rmtree(place, ignore_errors=True)


def _output(folder: Path) -> Path:
    """Where the clients write: into memory where 8 GB of it are to spare, for it is not the disk that is compared."""
    try:
        if shutil.disk_usage("/dev/shm").free > 8_000 * _MB:
            return Path(tempfile.mkdtemp(prefix="dw-bench-", dir="/dev/shm"))
    except OSError:
        pass
    return folder / "out"


def _dw_retrieve(bench: Bench, url: str, study: Study, *more: str) -> Command:
    words = [DW, "--url", url, "retrieve", "study", study.uid, "-o", str(bench.out), *more]
    return bench.retrieval("dw", words, study.count)


def _peer_retrieve(bench: Bench, url: str, study: Study) -> Command:
    words = [PEER, "--url", url, "retrieve", "studies", "--study", study.uid, "full", "--save"]
    return bench.retrieval("dicomweb_client", [*words, "--output-dir", str(bench.out)], study.count)


def _curl_retrieve(bench: Bench, url: str, study: Study) -> Command:
    words = ["curl", "-sSf", "-o", str(bench.out / "one-file"), f"{url}/studies/{study.uid}"]
    return bench.retrieval("curl", words, 1)


def slices(bench: Bench) -> Iterator[Trial]:
    """B1"""
    study = bench.study(500 * 530_000 // bench.shrink, 500 // bench.shrink)
    url = bench.replay.url
    commands = [_dw_retrieve(bench, url, study), _curl_retrieve(bench, url, study)]
    yield Trial(f"retrieve {study.count} × 0.53 MB, replay", commands, [Target(1.5, "curl")])


def small(bench: Bench) -> Iterator[Trial]:
    """B2"""
    study = bench.study(2000 * 39_000 // bench.shrink, 2000 // bench.shrink)
    url = bench.replay.url
    commands = [
        _dw_retrieve(bench, url, study),
        _curl_retrieve(bench, url, study),
        _peer_retrieve(bench, url, study),
    ]
    targets = [Target(4, "curl"), Target(0.2, "dicomweb_client")]
    yield Trial(f"retrieve {study.count} × 39 KB, replay", commands, targets)


def from_orthanc(bench: Bench) -> Iterator[Trial]:
    """B3"""
    study = bench.study(500 * 530_000 // bench.shrink, 500 // bench.shrink)
    orthanc = bench.orthanc
    orthanc.wipe()
    for start in range(0, study.count, 50):
        stow(orthanc.url, study.files[start : start + 50])
    commands = [_dw_retrieve(bench, orthanc.url, study), _peer_retrieve(bench, orthanc.url, study)]
    yield Trial(f"retrieve {study.count} × 0.53 MB, Orthanc", commands, [Target(0.45, "dicomweb_client")])


def to_orthanc(bench: Bench) -> Iterator[Trial]:
    """B4"""
    study = bench.study(500 * 530_000 // bench.shrink, 500 // bench.shrink)
    orthanc = bench.orthanc

    def check() -> None:
        if orthanc.count() != study.count:
            raise Broken(f"Orthanc has {orthanc.count()} instances instead of {study.count}")

    def storing(name: str, line: list[str]) -> Command:
        return Command(name, line, before=orthanc.wipe, after=check)

    folder = study.files[0].parent
    commands = [
        storing("dw", [DW, "--url", orthanc.url, "store", str(folder)]),
        storing("dicomweb_client", [PEER, "--url", orthanc.url, "store", "instances", *map(str, study.files)]),
    ]
    targets = [Target(1 / 1.7, "dicomweb_client"), Target(80 * _MB)]
    yield Trial(f"store {study.count} × 0.53 MB, Orthanc", commands, targets)


def start_up(bench: Bench) -> Iterator[Trial]:
    """B5"""
    helps = [Command("dw", [DW, "--help"]), Command("dicomweb_client", [PEER, "--help"])]
    yield Trial("dw --help", helps, [Target(0.25, "dicomweb_client")])
    bench.recordings.record_search("/few", 10)
    url = f"{bench.replay.url}/few"
    searches = [
        Command("dw", [DW, "--url", url, "search"]),
        Command("dicomweb_client", [PEER, "--url", url, "search", "studies"]),
    ]
    yield Trial("dw search, 10 rows", searches, [Target(0.5, "dicomweb_client")])


def far_away(bench: Bench) -> Iterator[Trial]:
    """B6"""
    count = 256 // bench.shrink // 8 * 8
    study = bench.study(count * 530_000, count, 8)
    url = bench.slow.url
    commands = [_dw_retrieve(bench, url, study, "-j", "8"), _curl_retrieve(bench, url, study)]
    yield Trial("retrieve 8 series, -j 8, 40 ms and 20 MB/s a connection", commands, [Target(1 / 3, "curl")])


def large(bench: Bench) -> Iterator[Trial]:
    """B7"""
    study = bench.study(2_000 * _MB // bench.shrink, 1)
    url = bench.replay.url
    text = f"one instance of {2 / bench.shrink:g} GB"
    yield Trial(f"retrieve {text}", [_dw_retrieve(bench, url, study)], [Target(80 * _MB)])
    bench.empty()
    yield Trial(f"store {text}", [Command("dw", [DW, "--url", url, "store", str(study.files[0])])], [Target(80 * _MB)])


def many_rows(bench: Bench) -> Iterator[Trial]:
    """B8"""
    count = 100_000 // bench.shrink
    bench.recordings.record_search("/many", count)
    url = f"{bench.replay.url}/many"
    rows = bench.out / "rows"

    def check() -> None:
        with rows.open("rb") as lines:
            found = sum(line.count(b'"0020000D":') for line in lines)
        if found != count:
            raise Broken(f"{found} rows came instead of {count}")

    commands = [
        Command("dw", f"'{DW}' --url {url} -f jsonl search >'{rows}'", bench.empty, check),
        Command(
            "curl + json.tool",
            f"curl -sSf {url}/studies | '{sys.executable}' -m json.tool >'{rows}'",
            bench.empty,
            check,
        ),
    ]
    yield Trial(f"search, {count} rows to jsonl", commands, [Target(100 * _MB), Target(1.5, "curl + json.tool")])


WORKS: dict[str, Callable[[Bench], Iterator[Trial]]] = {
    "B1": slices,
    "B2": small,
    "B3": from_orthanc,
    "B4": to_orthanc,
    "B5": start_up,
    "B6": far_away,
    "B7": large,
    "B8": many_rows,
}
