"""What is put off while a library is imported is there as soon as it is used, and nobody else sees anything of it."""

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from dwcli import lean

_NAMES = ("lean_big", "lean_big.inner", "lean_extra", "lean_library")


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """`library(text)` makes a module `lean_library` beside a package `lean_big` and a module `lean_extra`."""
    (tmp_path / "lean_big").mkdir()
    (tmp_path / "lean_big" / "__init__.py").write_text("")
    (tmp_path / "lean_big" / "inner.py").write_text(
        "class Base:\n    real = True\n\n\ndef double(number):\n    return 2 * number\n"
    )
    (tmp_path / "lean_extra.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)

    def make(text: str) -> None:
        (tmp_path / "lean_library.py").write_text(textwrap.dedent(text))

    yield make
    for name in _NAMES:
        sys.modules.pop(name, None)


def _imported(**how: object) -> ModuleType:
    with lean.imports(("lean_big.inner",), **how):  # type: ignore[arg-type]
        return importlib.import_module("lean_library")


def test_a_function_taken_at_import_loads_its_module_when_it_is_called(library: Callable[[str], None]) -> None:
    library("from lean_big.inner import double")
    found = _imported()
    assert "lean_big.inner" not in sys.modules
    assert found.double(4) == 8
    assert "lean_big.inner" in sys.modules


def test_a_module_named_at_import_is_the_real_one_when_it_is_used(library: Callable[[str], None]) -> None:
    library("import lean_big.inner\n\n\ndef base():\n    return lean_big.inner.Base\n")
    importlib.import_module("lean_big")
    found = _imported()
    assert "lean_big.inner" not in sys.modules
    assert found.base().real


def test_another_importer_gets_the_real_module(library: Callable[[str], None]) -> None:
    library("from lean_big.inner import double")
    _imported()
    assert importlib.import_module("lean_big.inner").Base.real


def test_a_class_to_inherit_from_is_what_was_given_for_it(library: Callable[[str], None]) -> None:
    library("from lean_big.inner import Base\n\n\nclass Mine(Base):\n    pass\n")
    stand_in = type("StandIn", (), {})
    assert _imported(taken={"lean_big.inner": {"Base": stand_in}}).Mine.__bases__ == (stand_in,)


def test_what_is_loaded_already_is_not_touched(library: Callable[[str], None]) -> None:
    library("from lean_big.inner import Base")
    real = importlib.import_module("lean_big.inner")
    assert _imported(taken={"lean_big.inner": {"Base": object}}).Base is real.Base


def test_what_seems_absent_is_there_again_behind_the_block(library: Callable[[str], None]) -> None:
    library("try:\n    import lean_extra\nexcept ImportError:\n    lean_extra = None\n")
    assert _imported(absent=("lean_extra",)).lean_extra is None
    assert importlib.import_module("lean_extra")


def test_an_import_that_fails_leaves_nothing_behind(library: Callable[[str], None]) -> None:
    library("raise ValueError('no')")
    with pytest.raises(ValueError, match="no"):
        _imported(absent=("lean_extra",))
    assert {"lean_big.inner", "lean_extra"} & sys.modules.keys() == set()


def test_what_is_called_while_the_library_is_imported_is_the_real_one_from_then_on(
    library: Callable[[str], None],
) -> None:
    library("import lean_big.inner\nfrom lean_big.inner import double\n\nfour = double(2)\n")
    importlib.import_module("lean_big")
    assert _imported().four == 4
    assert sys.modules["lean_big.inner"].Base.real
