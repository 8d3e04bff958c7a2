"""README's first commands, as a newcomer types them."""

import subprocess
import sys
from pathlib import Path

from servers.dw import Dw

README = Path(__file__).resolve().parents[1] / "README.md"
MARK = "<!-- run by tests/test_readme.py -->\n```\n"


def test_the_five_commands_work_in_their_order(run_dw: Dw, tmp_path: Path) -> None:
    lines = README.read_text(encoding="utf-8").partition(MARK)[2].partition("```")[0].splitlines()
    assert len(lines) == 5
    work = tmp_path / "work"
    work.mkdir()
    # By the name that is typed, whatever else is on the PATH.
    program = tmp_path / "bin" / "dw"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m dwcli "$@"\n')
    program.chmod(0o755)
    environment = {**run_dw.environment, "PATH": f"{program.parent}:{run_dw.environment['PATH']}"}
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {line}"],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (line, done.stderr)
    assert len(list((work / "head").rglob("*.dcm"))) == 40
    assert (work / "slice.png").read_bytes().startswith(b"\x89PNG")
