"""What a command loads before it works: start-up is most of the time of a short one."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from servers.dw import Dw
from servers.fake import Answer, Fake

_HEAVY = {"PIL", "numpy", "pydicom", "pydantic", "rich", "tomlkit"}
_NETWORK = {"httpx", "httpcore", "ssl", "dwcli.client"}


def _loaded(dw: Dw, *arguments: str) -> set[str]:
    """The names of all modules that a command has imported at its end."""
    script = (
        "import os, sys\n"
        "sys.modules['click'] = None\n"  # httpx loads rich where it finds click, which dwcli does not bring
        "def end(code, last=os._exit):\n"
        "    print(*sys.modules, file=sys.stderr, flush=True)\n"
        "    last(code)\n"
        "os._exit = end\n"
        "from dwcli.__main__ import run\n"
        "run()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=dw.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["search", "--help"], ["retrieve", "--help"], ["profile", "list"]])
def test_what_needs_no_server_loads_nothing_for_one(run_dw: Dw, arguments: list[str]) -> None:
    assert _loaded(run_dw, *arguments) & (_HEAVY | _NETWORK) == set()


def test_the_help_page_says_of_each_command_what_the_command_says() -> None:
    import typer.main

    from dwcli import main

    root = typer.main.get_command(main.app)
    for name, (_room, summary) in main._ROOMS.items():
        command = root.get_command(None, name)  # type: ignore[attr-defined]
        assert summary == (command.help or "").partition("\n")[0], name


def test_search_into_a_pipe_loads_no_heavy_library(run_dw: Dw, fake_server: Callable[..., Fake]) -> None:
    server = fake_server(lambda _request: Answer(204))
    loaded = _loaded(run_dw, "--url", server.url, "search")
    assert "httpx" in loaded
    assert loaded & _HEAVY == set()
