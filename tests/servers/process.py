"""Server processes: started in a group of their own, ready when their port answers, gone with the tests."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

# Asks the kernel to end this process with its parent (1: PR_SET_PDEATHSIG), so that a killed test run leaves
# no server behind; then becomes the program. A preexec_fn would fork while threads are running.
_BECOME = """
import ctypes, os, signal, sys
parent, terminal, *argv = sys.argv[1:]
try:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
except AttributeError:
    pass
if os.getppid() != int(parent):
    sys.exit(1)
if terminal == "yes":
    import fcntl, termios
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(argv[0], argv)
"""


class StartError(Exception):
    """A server ended or kept silent while it was being started; the text ends with its log."""


def tethered(argv: Sequence[str | Path], *, terminal: bool = False) -> list[str]:
    """The command line that runs `argv` and dies with this process; `terminal`: stdin is its controlling one.

    The process has to be started with `start_new_session=True` for the latter.
    """
    words = [str(word) for word in argv]
    return [
        sys.executable,
        "-I",
        "-S",
        "-c",
        _BECOME,
        str(os.getpid()),
        "yes" if terminal else "no",
        *words,
    ]


def free_port() -> int:
    """A TCP port on 127.0.0.1 on which nothing listens, and which this process keeps for itself to its end.

    Whoever sets SO_REUSEADDR, as servers do, can listen there; the kernel gives it to no other, such as a test run
    beside this one.
    """
    reservation = socket.socket()
    reservation.bind(("127.0.0.1", 0))
    # Not before: two sockets that have it may bind the same port.
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    port: int = reservation.getsockname()[1]
    reservation.detach()  # left open
    return port


def answers(port: int, path: str = "/") -> bool:
    """Whether something on this port speaks HTTP, whatever the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def listens(port: int) -> bool:
    """Whether something accepts connections on this port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


class Process:
    """One server process with its log file. `stop` ends it and whatever it started."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        ready: Callable[[], bool],
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        patience: float = 60.0,
    ) -> None:
        """Start `argv` and wait until `ready()`, at most `patience` seconds; StartError if that fails."""
        self.log = log
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                tethered(argv),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        deadline = time.monotonic() + patience
        try:
            # Asked twice: the port may answer for another process that took it while this one failed to bind.
            while not (ready() and self.alive and ready()):
                if not self.alive:
                    raise StartError(f"{argv[0]} ended with {self._process.returncode}:\n{self.tail()}")
                if time.monotonic() > deadline:
                    raise StartError(f"{argv[0]} kept silent for {patience:g} s:\n{self.tail()}")
                time.sleep(0.02)
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def tail(self, size: int = 2000) -> str:
        """The last bytes of the log, as text."""
        return self.log.read_bytes()[-size:].decode("utf-8", "replace")

    def stop(self, *, patience: float = 5.0) -> None:
        """End the process group: asked first, killed after `patience` seconds. Twice does no harm."""
        if self.alive:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Server:
    """A port, start, stop and `with`, for servers that say how to `spawn`."""

    port: int
    patience: float = 5.0  # seconds to end by itself, after which it is killed
    _process: Process

    def open(self) -> None:
        """Take a free port and start there; another one where something else took it meanwhile."""
        for attempt in range(3):
            self.port = free_port()
            try:
                self._process = self.spawn()
            except StartError:
                if attempt == 2:
                    raise
            else:
                return

    def spawn(self) -> Process:
        """Write the configuration and start on `self.port`, with whatever the folder already holds."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        """Start again after `stop`, on the same port."""
        self._process = self.spawn()

    def stop(self) -> None:
        self._process.stop()

    def restart(self) -> None:
        """Stop and start on the same port, keeping what is stored."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.stop(patience=self.patience)
