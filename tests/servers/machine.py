"""How busy this machine is, for tests that hold a clock to something."""

import os


def within(seconds: float) -> float:
    """What may take `seconds` at most: more where more runs here than there are cores, such as a second test run."""
    return seconds * max(1.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))
