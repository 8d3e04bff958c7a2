"""How much memory a `dw` command takes at its most."""

import subprocess
import sys
from pathlib import Path

from servers.dw import Dw

# A process forked from the tests would count their own memory as its peak; this small one between them does not.
_MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def peak(dw: Dw, *arguments: str | Path, timeout: float = 120.0, code: int = 0) -> int:
    """Run `dw ARGUMENTS`, which must end with exit `code`, and return its largest resident size in bytes."""
    argv = [sys.executable, "-I", "-S", "-c", _MEASURE, sys.executable, "-m", "dwcli", *arguments]
    done = subprocess.run(argv, env=dw.environment, cwd=dw.home, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == code, done.stderr
    return int(done.stdout) * 1024
