"""How busy this machine is, for tests that hold a clock to something."""

import os
import re
import time
from pathlib import Path

_MOST = 8  # times what is allowed, whatever the machine took: what hangs is found on a busy one, too


class Clock:
    """Runs from its making. What it says of `dw` leaves out what the machine took: the time in which somebody here
    waited for a core or a disk, as the kernel counts it."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lost = _lost()
        self.seconds = self.lost = 0.0

    def within(self, seconds: float) -> bool:
        """Whether no more than that has passed. False ends a test: `assert clock.within(1.0), clock`."""
        self.seconds = time.monotonic() - self._began
        self.lost = _lost() - self._lost
        return self.seconds < max(within(seconds), min(seconds + self.lost, _MOST * seconds))

    def __repr__(self) -> str:
        return f"{self.seconds:.2f} s, of which {self.lost:.2f} s waiting for the machine"


def within(seconds: float) -> float:
    """What may take `seconds` at most: more where more runs here than there are cores, such as a second test run."""
    return seconds * max(1.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))


def _lost() -> float:
    """Seconds since this machine began in which a process waited for a core or a disk; 0 where no kernel tells."""
    total = 0.0
    for kind in ("cpu", "io"):
        try:
            said = Path(f"/proc/pressure/{kind}").read_text()
        except OSError:
            continue
        if found := re.search(r"some .*total=(\d+)", said):
            total += int(found[1]) / 1e6
    return total
