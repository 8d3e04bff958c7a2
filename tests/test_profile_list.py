"""`dw profile list`: what is written, and what is built in."""

import json
from pathlib import Path

from servers.inside import Inside


def test_built_in_profiles_are_listed_as_such(tmp_path: Path) -> None:
    dw = Inside(tmp_path)
    first = dw("profile", "list")
    assert "dw profile add NAME URL" in first.err
    assert dw("profile", "add", "pacs", "http://pacs/dicom-web").code == 0
    assert dw("profile", "add", "demo", "http://demo/dicom-web").code == 0
    listed = dw("profile", "list", "-f", "json")
    assert listed.err == ""
    own, demo, local = json.loads(listed.out)
    assert (own["name"], own["default"], own["note"]) == ("pacs", "*", "")
    # One of the same name in the file goes before.
    assert (demo["name"], demo["url"], demo["note"]) == ("demo", "http://demo/dicom-web", "")
    assert (local["name"], local["default"], local["note"]) == ("local", "", "built in: your local archive")
    assert local["url"] == str(tmp_path / "data" / "dw" / "archive")
