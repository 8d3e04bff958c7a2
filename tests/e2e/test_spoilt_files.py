"""Files that somebody cut or emptied after they were retrieved."""

from pathlib import Path

import pytest

from servers.images import instance
from servers.inside import Inside


@pytest.mark.parametrize("options", [[], ["--layout", "{SOPInstanceUID}.dcm"]])
def test_the_same_line_fetches_an_emptied_file_again(tmp_path: Path, options: list[str]) -> None:
    dw = Inside(tmp_path / "home")
    server, out = tmp_path / "server", tmp_path / "out"
    server.mkdir()
    for number in (3, 4, 5):
        (server / f"{number}.dcm").write_bytes(instance(sop=f"2.25.{number}"))
    line: list[str | Path] = ["--url", server, "retrieve", "study", "2.25.1", "-o", out, *options]
    assert dw(*line).code == 0
    spoilt = next(out.rglob("2.25.4.dcm"))
    spoilt.write_bytes(b"")
    again = dw(*line)
    assert again.code == 0, again.err
    assert "1 retrieved" in again.err
    assert "2 already there" in again.err
    assert spoilt.read_bytes() == instance(sop="2.25.4")
