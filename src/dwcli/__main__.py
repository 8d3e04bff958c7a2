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
    # Start-up creates many objects but no garbage: collecting takes a tenth of its time.
    gc.set_threshold(100_000)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Nothing has started before `main` takes over, and a library may turn KeyboardInterrupt into an ImportError.
        signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(130))
    process.large_transfer = _keep_memory
    try:
        from dwcli.main import main

        main()
    except KeyboardInterrupt:
        # Raised before main could catch it: nothing has started.
        os._exit(130)
    except SystemExit as end:
        with suppress(OSError, ValueError):
            for stream in (sys.stdout, sys.stderr):
                if stream:
                    stream.flush()
            if isinstance(end.code, int):
                # Everything is written and closed: interpreter shutdown would only cost time, a fifth of a search.
                os._exit(end.code)
        raise


def _keep_memory() -> None:
    """Make the C library reuse memory for the next chunk: freeing and allocating each one costs a fifth of a large
    transfer. Has no effect without glibc.
    """
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            library.mallopt(_TRIM_THRESHOLD, 16 << 20)
            library.mallopt(_MMAP_THRESHOLD, 4 << 20)


if __name__ == "__main__":
    run()
