"""`dw` as a process of its own, in a pipe or on a terminal."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from servers.process import tethered


@dataclass(frozen=True, slots=True)
class Run:
    """How a `dw` command ended: `out` and `err` as text, `raw` the bytes of stdout."""

    code: int
    raw: bytes
    err: str
    seconds: float

    @property
    def out(self) -> str:
        return self.raw.decode("utf-8", "surrogateescape")

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Dw:
    """Runs `dw` with a home of its own: no profile, no DW_ variable, no terminal unless asked for."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.config = home / "config.toml"
        home.mkdir(parents=True, exist_ok=True)
        kept = ("LANG", "LC_ALL", "PATH", "TMPDIR", "VIRTUAL_ENV", "CI")
        self.environment = {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "HOME": str(home),
            "DW_CONFIG": str(self.config),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_DATA_HOME": str(home / "data"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "PYTHONUTF8": "1",
            "TERM": "xterm-256color",
        }

    def __call__(
        self,
        *arguments: str | Path,
        stdin: str | bytes | None = None,
        tty: int | None = None,
        answers: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = 60.0,
    ) -> Run:
        """Run `dw ARGUMENTS` to its end.

        `stdin` is piped in. With `tty=COLUMNS` all three are terminals of that width, stdout one of its own
        to be told apart, and `stdin` is typed as soon as something is shown; `answers` are typed each when its question
        is. Fails the test after `timeout` seconds.
        """
        typed = stdin.encode() if isinstance(stdin, str) else stdin
        began = time.monotonic()
        if tty is not None:
            code, out, err = self._on_terminal(arguments, typed or b"", tty, answers or {}, env, cwd, timeout)
        else:
            process = self.start(*arguments, env=env, cwd=cwd)
            try:
                out, err = process.communicate(typed, timeout)
            except subprocess.TimeoutExpired:
                _kill(process)
                out, err = process.communicate()
                pytest.fail(f"dw {arguments} ran for {timeout:g} s\n{out!r}\n{err.decode(errors='replace')}")
            code = process.returncode
        return Run(code, out, err.decode("utf-8", "replace"), time.monotonic() - began)

    def start(
        self, *arguments: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start `dw ARGUMENTS` with three pipes and leave it running, for tests that interrupt it."""
        return subprocess.Popen(
            tethered(self._command(arguments)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**self.environment, **(env or {})},
            cwd=cwd or self.home,
            start_new_session=True,
        )

    def _command(self, arguments: tuple[str | Path, ...]) -> list[str | Path]:
        return [sys.executable, "-m", "dwcli", *arguments]

    def _on_terminal(
        self,
        arguments: tuple[str | Path, ...],
        typed: bytes,
        columns: int,
        answers: Mapping[str, str],
        env: Mapping[str, str] | None,
        cwd: Path | None,
        timeout: float,
    ) -> tuple[int, bytes, bytes]:
        (out, out_end), (err, err_end) = pty.openpty(), pty.openpty()
        for end in (out_end, err_end):
            fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        # stderr's terminal is the controlling one: a password is asked for and typed there.
        process = subprocess.Popen(
            tethered(self._command(arguments), terminal=True),
            stdin=err_end,
            stdout=out_end,
            stderr=err_end,
            env={**self.environment, **(env or {})},
            cwd=cwd or self.home,
            start_new_session=True,
        )
        os.close(out_end)
        os.close(err_end)
        read: dict[int, bytearray] = {out: bytearray(), err: bytearray()}
        waiting, deadline = {out, err}, time.monotonic() + timeout
        unasked = {question.encode(): answer.encode() for question, answer in answers.items()}
        try:
            while waiting and time.monotonic() < deadline:
                # Not before a prompt: what is typed ahead of one for a password is thrown away.
                if typed and any(read.values()):
                    os.write(err, typed)
                    typed = b""
                for ready in select.select(list(waiting), [], [], 0.1)[0]:
                    try:
                        data = os.read(ready, 1 << 16)
                    except OSError:  # Linux ends a terminal by EIO
                        data = b""
                    read[ready] += data
                    for question in [question for question in unasked if question in read[err]]:
                        os.write(err, unasked.pop(question))
                    if not data:
                        waiting.discard(ready)
            if waiting:
                _kill(process)
                pytest.fail(f"dw {arguments} ran for {timeout:g} s\n{bytes(read[out])!r}\n{bytes(read[err])!r}")
            code = process.wait(max(1.0, deadline - time.monotonic()))
        finally:
            os.close(out)
            os.close(err)
        return code, bytes(read[out]), bytes(read[err])


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
