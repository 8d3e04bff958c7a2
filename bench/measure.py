"""Whole processes, timed from outside: seconds, and the peak of their resident memory."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

# The kernel counts the memory of a process from before its exec as well, so a small one has to start what is measured.
_LAUNCH = """
import os, sys, time
told, *words = sys.argv[1:]
os.set_inheritable(int(told), False)
began = time.monotonic()
child = os.posix_spawnp(words[0], words, os.environ)
_, status, usage = os.wait4(child, 0)
seconds = time.monotonic() - began
os.write(int(told), f"{os.waitstatus_to_exitcode(status)} {seconds} {usage.ru_maxrss}".encode())
"""


class Broken(Exception):
    """A command of the bench ended with an error or did not do its work; a time of it would mean nothing."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: `seconds` by the clock, `peak` in bytes of the largest process among it and its children."""

    seconds: float
    peak: int


@dataclass(frozen=True, slots=True)
class Command:
    """What is run: words, or a line for sh. `before` prepares and `after` checks the work, both off the clock."""

    name: str
    line: Sequence[str] | str
    before: Callable[[], None] = lambda: None
    after: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Series:
    """All runs of one command."""

    name: str
    samples: Sequence[Sample]

    @property
    def seconds(self) -> float:
        """The median."""
        return median(sample.seconds for sample in self.samples)

    @property
    def peak(self) -> int:
        """The largest, in bytes."""
        return max(sample.peak for sample in self.samples)

    @property
    def spread(self) -> float:
        """How far the slowest run is above the fastest, as a share of the median."""
        times = [sample.seconds for sample in self.samples]
        return (max(times) - min(times)) / self.seconds


def interleaved(commands: Sequence[Command], runs: int, environment: Mapping[str, str], log: Path) -> list[Series]:
    """Run the commands in turn (A B A B), so that a slow minute of the machine hits all; each once more at first,
    unmeasured."""
    samples: list[list[Sample]] = [[] for _ in commands]
    for turn in range(runs + 1):
        for command, taken in zip(commands, samples, strict=True):
            sample = once(command, environment, log)
            if turn:
                taken.append(sample)
    return [Series(command.name, taken) for command, taken in zip(commands, samples, strict=True)]


def once(command: Command, environment: Mapping[str, str], log: Path) -> Sample:
    """Run a command; what it prints goes nowhere or to `log`. Raises Broken."""
    words = ["sh", "-c", command.line] if isinstance(command.line, str) else command.line
    command.before()
    with log.open("wb") as errors:
        reading, writing = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LAUNCH, str(writing), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=environment,
            pass_fds=[writing],
        )
        os.close(writing)
        with open(reading) as told:  # noqa: PTH123  a descriptor, not a path
            said = told.read().split()
        process.wait()
    if len(said) != 3 or said[0] != "0":
        raise Broken(f"{command.name} ended with {said[:1]}:\n{log.read_text(errors='replace')[-2000:]}")
    command.after()
    return Sample(float(said[1]), int(said[2]) * 1024)
