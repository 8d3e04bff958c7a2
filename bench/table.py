"""The bench's command: runs the works that were asked for and prints one table of ratios in Markdown."""

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from measure import Broken, Series, interleaved
from works import WORKS, Bench, Target, Trial

_MB = 1_000_000
_HEADS = ("", "work", "against", "dw", "peer", "ratio", "must reach", "", "spread")


def main() -> int:
    """0: all reached; 1: something not."""
    parser = argparse.ArgumentParser(prog="sh bench/run", description="Compares dw with its peers, as ratios.")
    parser.add_argument("works", nargs="*", metavar="B1", help=f"{', '.join(WORKS)}; all by default")
    parser.add_argument("--runs", type=int, metavar="N", help="measured runs of each command (7; with --quick 3)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the data: only to see that the bench runs")
    asked = parser.parse_args()
    unknown = set(asked.works) - set(WORKS)
    if unknown:
        parser.error(f"no such work: {', '.join(sorted(unknown))}")
    runs = max(1, asked.runs or (3 if asked.quick else 7))
    place = Path(os.environ.get("BENCH_DATA") or Path(__file__).parent / "data").resolve()
    reached = True
    rows: list[tuple[str, ...]] = []
    with Bench(place / ("quick" if asked.quick else "full"), quick=asked.quick) as bench:
        for key in asked.works or WORKS:
            for trial in WORKS[key](bench):
                print(f"{key}: {trial.text}", file=sys.stderr)
                try:
                    measured = interleaved(trial.commands, runs, _environment(bench.folder), bench.folder / "errors")
                except Broken as error:
                    print(error, file=sys.stderr)
                    rows.append((key, trial.text, *["–"] * (len(_HEADS) - 4), "**broken**", "–"))
                    reached = False
                    continue
                for row, good in _judged(key, trial, measured):
                    rows.append(row)
                    reached = reached and good
    print(_machine(runs))
    print()
    for row in (_HEADS, ("---",) * len(_HEADS), *rows):
        print(f"| {' | '.join(row)} |")
    return 0 if reached else 1


def _judged(key: str, trial: Trial, measured: list[Series]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """A row of the table for each target, and whether it was reached."""
    ours, *peers = measured
    for target in trial.targets:
        match target:
            case Target(most, ""):
                good = ours.peak <= most
                others = [f"{peer.name}: {peer.peak / _MB:.0f} MB" for peer in peers]
                cells = ("peak memory", f"{ours.peak / _MB:.0f} MB", ", ".join(others) or "–", "–")
                wanted, noise = f"≤ {most / _MB:.0f} MB", "–"
            case Target(most, against):
                peer = next(peer for peer in peers if peer.name == against)
                ratio = ours.seconds / peer.seconds
                good = ratio <= most
                cells = (against, f"{ours.seconds:.2f} s", f"{peer.seconds:.2f} s", f"{ratio:.2f}")
                wanted, noise = f"≤ {most:.2f}", f"{ours.spread:.0%}, {peer.spread:.0%}"
        yield (key, trial.text, *cells, wanted, "yes" if good else "**no**", noise), good


def _environment(folder: Path) -> dict[str, str]:
    """No profile, proxy or setting of the user's."""
    kept = ("LANG", "LC_ALL", "PATH", "TMPDIR")
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return {**{name: os.environ[name] for name in kept if name in os.environ}, "HOME": str(home)}


def _machine(runs: int) -> str:
    """What the numbers were taken on."""
    words = [
        f"{os.cpu_count()} cores",
        f"{platform.system()} {platform.machine()}",
        f"Python {platform.python_version()}",
        f"dw {version('dwcli')}",
        f"httpx {version('httpx')}",
        f"dicomweb-client {version('dicomweb-client')}",
    ]
    load = f"load {os.getloadavg()[0]:.1f} at the end"
    spread = "Spread: the slowest run less the fastest, of the median."
    return f"{', '.join(words)}; medians of {runs} interleaved runs; {load}. {spread}"


if __name__ == "__main__":
    sys.exit(main())
