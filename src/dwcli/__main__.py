"""The command `dw`, and `python -m dwcli`."""

import gc
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module

from dwcli import lean

_UNPACKING = ("bz2", "lzma")  # shutil unpacks archives with these where they are there
# Typer opens pages, completes words in a shell, translates and suggests with these; most runs do none of it.
_RARE = ("difflib", "gettext", "platform", "subprocess", "traceback", "uuid")


def run() -> None:
    """Load `dw`, run it and end the process."""
    # To start makes many objects and no garbage: looking for some takes a tenth of it.
    gc.set_threshold(100_000)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until `main` takes over nothing is begun, and a library may turn KeyboardInterrupt into an ImportError.
        signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(130))
    try:
        with lean.imports(_RARE, absent=_UNPACKING):
            import_module("typer")
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


if __name__ == "__main__":
    run()
