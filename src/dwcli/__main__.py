"""The command `dw`, and `python -m dwcli`."""

import gc
import os
import signal
import sys
from contextlib import suppress

from dwcli import process

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)


def run() -> None:
    """Load `dw`, run it and end the process."""
    # Starting makes many objects and no garbage: looking for some takes a tenth of it.
    gc.set_threshold(100_000)
    process.large_transfer = _keep_memory
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until `main` takes over nothing is begun, and a library may turn KeyboardInterrupt into an ImportError.
        signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(130))
    try:
        from dwcli.main import main

        main()
    except KeyboardInterrupt:
        # Before main could catch it: nothing was begun.
        os._exit(130)
    except SystemExit as end:
        with suppress(OSError, ValueError):
            for stream in (sys.stdout, sys.stderr):
                if stream:
                    stream.flush()
            if isinstance(end.code, int):
                # All is written and closed: to take the interpreter apart would only cost time, a fifth of a search.
                os._exit(end.code)
        raise


def _keep_memory() -> None:
    """Let the C library keep the memory of a piece for the next one: giving each back and taking it anew costs a fifth
    of a large transfer. Elsewhere than on glibc nothing happens.
    """
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            library.mallopt(_TRIM_THRESHOLD, 16 << 20)
            library.mallopt(_MMAP_THRESHOLD, 4 << 20)


if __name__ == "__main__":
    run()
