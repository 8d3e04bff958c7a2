"""ARCHITECTURE.md says where a change goes; what it names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def test_every_room_that_a_change_goes_to_exists() -> None:
    table = TEXT.partition("## Where a change goes")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and "`" in line]
    assert len(rows) >= 10
    for row in rows:
        named = re.findall(r"`(src/[^`]+)`", row)
        assert named, row
        for path in named:
            assert (ROOT / path).is_file(), row


def test_every_room_of_the_tree_is_in_the_picture() -> None:
    tree = TEXT.partition("```\n")[2].partition("```")[0]
    for folder in (ROOT / "src/dwcli").iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            assert f"  {folder.name}/" in tree, folder.name
    for room in re.findall(r"`(\w+(?:/\w+)+)\.", TEXT):
        places = [ROOT / "src/dwcli" / room, ROOT / room]
        assert any(place.with_suffix(".py").is_file() or place.is_dir() for place in places), room


def test_the_papers_name_what_is_there() -> None:
    for paper in ("ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"):
        for path in re.findall(r"`((?:src|tests|scripts|bench)/[\w./-]+)`", (ROOT / paper).read_text(encoding="utf-8")):
            assert (ROOT / path).exists(), (paper, path)
