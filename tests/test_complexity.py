"""No function is a maze: cyclomatic complexity as radon counts it (A to F)."""

from pathlib import Path

import pytest
from radon.complexity import cc_rank, cc_visit  # type: ignore[import-untyped]

SOURCE = Path(__file__).resolve().parents[1] / "src" / "dwcli"


def ranked(room: str = "") -> dict[str, str]:
    """The rank of each function and method below `room`, as `file:name`."""
    found: dict[str, str] = {}
    for path in sorted((SOURCE / room).rglob("*.py")):
        for block in cc_visit(path.read_text(encoding="utf-8")):
            for one in [block, *getattr(block, "methods", ())]:
                found[f"{path.relative_to(SOURCE).as_posix()}:{one.name}"] = cc_rank(one.complexity)
    return found


def test_no_function_is_above_d_and_few_are_in_it() -> None:
    ranks = ranked()
    assert [name for name, rank in ranks.items() if rank > "D"] == []
    assert len([name for name, rank in ranks.items() if rank == "D"]) <= 4


@pytest.mark.parametrize("room", ["client", "doctor"])
def test_no_function_of_a_room_that_is_rebuilt_is_above_c(room: str) -> None:
    assert [name for name, rank in ranked(room).items() if rank > "C"] == []
