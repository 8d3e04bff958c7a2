"""A listing that breaks off: what came is shown, and the exit code says to try again."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from servers.fake import Answer, Fake
from servers.inside import Inside

JSON = {"Content-Type": "application/dicom+json"}
ROWS = json.dumps([{"0020000D": {"vr": "UI", "Value": [uid]}} for uid in ("2.25.1", "2.25.2", "2.25.3")]).encode()
HALF = ROWS[: ROWS.index(b"2.25.3")]


@pytest.mark.parametrize(
    "cut",
    [
        Answer(200, JSON, HALF, length=len(ROWS), cut=True),
        Answer(200, JSON, HALF, framing="chunked", cut=True),
        Answer(200, JSON, HALF, framing="chunked", reset=True),
        Answer(200, JSON, HALF, framing="close"),
        Answer(200, JSON, HALF),
    ],
    ids=["length", "chunk", "reset", "close", "clean"],
)
@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["search", "-f", "uids"], "2.25.1\n2.25.2\n"),
        (["search", "--sort", "StudyDate", "-f", "uids"], ""),
        (["search", "--count"], ""),
        # These rows do not show the key, and what would tell whether the server heeds it is cut as well.
        (["search", "--modality", "CT,MR", "-f", "uids"], ""),
        (["metadata", "2.25.9", "-f", "flat"], '{"StudyInstanceUID":"2.25.1"}\n{"StudyInstanceUID":"2.25.2"}\n'),
    ],
    ids=lambda words: "-".join(words) if isinstance(words, list) else "",
)
def test_a_cut_listing_is_exit_75(
    tmp_path: Path, fake_server: Callable[..., Fake], cut: Answer, words: list[str], shown: str
) -> None:
    server = fake_server(lambda _request: cut)
    run = Inside(tmp_path)("--url", server.url, *words)
    assert run.code == 75, run.err
    if not cut.reset:  # which throws away what was not read yet
        assert run.out == shown
    assert "the same command again" in run.err


def test_a_retrieve_of_a_cut_search_is_exit_75(tmp_path: Path, fake_server: Callable[..., Fake]) -> None:
    server = fake_server(lambda asked: Answer(200, JSON, HALF) if asked.target.startswith("/studies?") else Answer(404))
    run = Inside(tmp_path)("--url", server.url, "retrieve", "--modality", "CT", "-o", tmp_path / "out")
    assert run.code == 75, run.err
