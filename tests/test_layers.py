"""The arrows between rooms, and between files: imports point one way only, function-level imports included."""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from dwcli import errors

PACKAGE = "dwcli"
SOURCE = Path(__file__).resolve().parents[1] / "src" / PACKAGE

CORE = {"errors", "dicomweb"}
SHARED = {*CORE, "help", "net", "client", "files", "imaging", "jobs", "config", "output", "context", "options"}

# room -> the rooms it may see, besides itself
LAYERS = {
    "__init__": {"api", "errors"},  # names that are loaded when they are used
    "api": {*CORE, "net", "client", "files", "jobs", "config", "output", "context"},
    "process": set(),
    "lock": {"errors"},
    "help": {"errors"},
    "errors": set(),
    "dicomweb": {"errors"},
    "net": {*CORE, "process", "lock"},
    "client": {*CORE, "net"},
    "files": CORE,
    "imaging": CORE,
    "archive": {*CORE, "files", "imaging"},
    "jobs": {*CORE, "net", "client", "files", "imaging"},
    "doctor": {*CORE, "net", "client", "jobs"},
    "config": {*CORE, "lock", "net"},
    "output": CORE,
    "context": {*CORE, "net", "client", "files", "archive", "config", "output"},
    "options": {*CORE, "config", "output", "context"},
    "commands": {*SHARED, "doctor"},
    "vendors": {*SHARED, "doctor", "commands"},
    "main": {*SHARED, "doctor", "commands", "vendors"},
    "__main__": {"main", "process"},
}

# a package from outside -> the only rooms that import it
OWNED = {
    "httpx": {"net"},
    "httpcore": {"net"},
    "rich": {"output"},
    "tomlkit": {"config"},
    "platformdirs": {"config"},
    "oauthlib": {"net", "jobs"},
    "truststore": {"net"},
    "typer": {"help", "options", "context", "commands", "vendors", "main"},
    "pydicom": {"files", "imaging", "archive", "jobs"},
    "numpy": {"imaging"},
    "PIL": {"imaging"},
    "click": set(),
    "requests": set(),
}
HEAVY = {"pydicom", "numpy", "PIL"}
PURE_ALLOWS = sys.stdlib_module_names | {"defusedxml"}
IO = {
    "asyncio",
    "http",
    "multiprocessing",
    "selectors",
    "shutil",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "tempfile",
}


def violations(source: Path) -> Iterator[str]:
    """Every import or call below `source` that the tables above do not allow, as `file:line: why`."""
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        room = parts[0]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for line, why in _of_module(tree, room, parts, is_package=path.name == "__init__.py"):
            yield f"{path.relative_to(source)}:{line}: {why}"


def circles(source: Path) -> list[str]:
    """The files below `source` that import each other in a circle, or lie between two circles, wherever the imports
    stand."""
    files = {_module(path.relative_to(source).with_suffix("").parts): path for path in sorted(source.rglob("*.py"))}
    sees = {module: set(_seen(files, module)) - {module} for module in files}
    # What sees nothing that is left, or is seen by nothing that is left, is in no circle.
    while loose := [one for one in sees if not sees[one] or not any(one in seen for seen in sees.values())]:
        sees = {one: seen - set(loose) for one, seen in sees.items() if one not in loose}
    return [f"{'.'.join(one)} sees {', '.join(sorted(map('.'.join, seen)))}" for one, seen in sees.items()]


def _module(parts: tuple[str, ...]) -> tuple[str, ...]:
    return parts[:-1] if parts[-1] == "__init__" else parts


def _seen(files: Mapping[tuple[str, ...], Path], module: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The files that a file imports, or imports from."""
    path = files[module]
    is_package = path.name == "__init__.py"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for name in _imported(node, (*module, "__init__") if is_package else module, is_package):
            package, *inner = name.split(".")
            while package == PACKAGE and tuple(inner) not in files and inner:
                inner.pop()
            if package == PACKAGE and inner:  # the package itself has names for those outside alone
                yield tuple(inner)


def _of_module(tree: ast.Module, room: str, parts: tuple[str, ...], *, is_package: bool) -> Iterator[tuple[int, str]]:
    if room not in LAYERS:
        yield 1, f"{room} has no place in LAYERS"
        return
    deferred = set(_deferred(tree))
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        for name in _imported(node, parts, is_package):
            outside = name.split(".")[0]
            if outside == PACKAGE:
                # What is no room there is a name in the package's __init__, such as __version__.
                seen = [*name.split("."), "__init__"][1]
                if seen in LAYERS and seen not in {room, "__init__", *LAYERS[room]}:
                    yield line, f"{room} must not see {seen}"
            elif room not in OWNED.get(outside, {room}):
                yield line, f"{room} must not import {outside}"
            elif outside in HEAVY and node not in deferred:
                yield line, f"{outside} is imported at start-up, not inside the function that needs it"
            elif room == "dicomweb" and (outside not in PURE_ALLOWS or outside in IO):
                yield line, f"dicomweb is pure and must not import {outside}"
        if room != "config" and _reads_environment(node):
            yield line, "only config reads the environment"
        if room == "commands" and _catches_everything(node):
            yield line, "a command lets errors rise to main"


def _imported(node: ast.AST, parts: tuple[str, ...], is_package: bool) -> list[str]:
    """The absolute dotted names that an import statement reaches: modules, or things in them."""
    match node:
        case ast.Import(names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module, names, level):
            base = module or ""
            if level:
                package = (PACKAGE, *parts) if is_package is False else (PACKAGE, *parts[:-1], "_")
                base = ".".join([*package[: len(package) - level], *([module] if module else [])])
            return [f"{base}.{alias.name}" for alias in names]
    return []


def _deferred(tree: ast.Module) -> Iterator[ast.AST]:
    """What does not run when the module is imported: function bodies, and blocks for type checkers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from ast.walk(node)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for statement in node.body:
                yield from ast.walk(statement)


def _reads_environment(node: ast.AST) -> bool:
    names = {"environ", "environb", "getenv", "getenvb"}
    match node:
        case ast.Attribute(ast.Name("os"), attribute):
            return attribute in names
        case ast.ImportFrom("os", imported):
            return any(alias.name in names for alias in imported)
    return False


def _catches_everything(node: ast.AST) -> bool:
    """Whether an `except` holds back an error that is main's to show; saying it better is fine."""
    if not isinstance(node, ast.ExceptHandler) or any(isinstance(n, ast.Raise) for n in ast.walk(node)):
        return False
    caught = {"BaseException"} if node.type is None else {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)}
    return any(name in {"BaseException", "Exception"} or name in vars(errors) for name in caught)


def test_imports_point_one_way_only() -> None:
    assert list(violations(SOURCE)) == []


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles(SOURCE) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("from dwcli.net.b import B", "from dwcli.net.a import A"),
        ("from dwcli.net import b", "def f():\n    from dwcli.net.a import A"),
        ("import dwcli.net.b", "if TYPE_CHECKING:\n    from dwcli.net.a import A"),
        ("from dwcli.net.c import C", "from .a import A"),
    ],
)
def test_a_circle_between_files_is_found(tmp_path: Path, one: str, other: str) -> None:
    (tmp_path / "net").mkdir()
    files = {"__init__": "", "a": one, "b": other, "c": "from dwcli.net import b", "d": "from dwcli.net import a"}
    for name, code in files.items():
        (tmp_path / "net" / f"{name}.py").write_text(code)
    found = {line.split(" sees ")[0] for line in circles(tmp_path)}
    assert {"net.a", "net.b"} <= found <= {"net.a", "net.b", "net.c"}


def test_a_package_and_its_files_may_see_each_other_one_way(tmp_path: Path) -> None:
    (tmp_path / "client").mkdir()
    (tmp_path / "client" / "__init__.py").write_text("from dwcli.client.a import A")
    (tmp_path / "client" / "a.py").write_text("from dwcli.client import b")
    (tmp_path / "client" / "b.py").write_text("import os")
    assert circles(tmp_path) == []
    (tmp_path / "client" / "b.py").write_text("from dwcli.client import A")
    assert circles(tmp_path) != []


@pytest.mark.parametrize(
    ("file", "code", "why"),
    [
        ("net/a.py", "from dwcli.client import Client", "net must not see client"),
        ("net/a.py", "from .. import client", "net must not see client"),
        ("net/__init__.py", "from ..client import Client", "net must not see client"),
        ("jobs/a.py", "def f():\n    import dwcli.commands.search", "jobs must not see commands"),
        ("jobs/a.py", "from dwcli import doctor", "jobs must not see doctor"),
        ("doctor/a.py", "from dwcli.commands import search", "doctor must not see commands"),
        ("files/a.py", "from dwcli import net", "files must not see net"),
        ("commands/a.py", "from dwcli.archive import app", "commands must not see archive"),
        ("commands/a.py", "from dwcli.main import app", "commands must not see main"),
        ("commands/a.py", "try:\n    pass\nexcept DwError:\n    pass", "a command lets errors rise to main"),
        ("client/a.py", "import httpx", "client must not import httpx"),
        ("main.py", "from rich.table import Table", "main must not import rich"),
        ("main.py", "import click", "main must not import click"),
        ("commands/a.py", "try:\n    pass\nexcept:\n    pass", "a command lets errors rise to main"),
        ("jobs/a.py", "import typer", "jobs must not import typer"),
        ("jobs/a.py", "from os import environ", "only config reads the environment"),
        ("jobs/a.py", "import os\nprint(os.getenv('HOME'))", "only config reads the environment"),
        ("imaging/a.py", "import numpy as np", "numpy is imported at start-up"),
        ("dicomweb/a.py", "def f():\n    import pydicom", "dicomweb must not import pydicom"),
        ("dicomweb/a.py", "import typing_extensions", "dicomweb is pure"),
        ("dicomweb/a.py", "from http.client import HTTPConnection", "dicomweb is pure"),
        ("attic.py", "", "attic has no place in LAYERS"),
    ],
)
def test_a_wrong_arrow_is_found(tmp_path: Path, file: str, code: str, why: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(code)
    found = list(violations(tmp_path))
    assert len(found) == 1
    assert why in found[0]


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (
            "jobs/a.py",
            "from dwcli.client import Client\nfrom .pool import run\nfrom dwcli import __version__",
        ),
        ("imaging/a.py", "def f():\n    import numpy"),
        ("imaging/a.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy"),
        ("net/a.py", "import httpx\nfrom ..dicomweb import media"),
        ("config.py", "import os\nprint(os.environ)"),
        ("dicomweb/a.py", "import json\nimport defusedxml.ElementTree\nfrom dwcli.errors import DwError"),
        ("commands/a.py", "try:\n    float('x')\nexcept ValueError:\n    pass"),
        (
            "commands/a.py",
            "try:\n    pass\nexcept DwError as e:\n    raise DwError(f'line 1: {e}') from None",
        ),
        ("main.py", "import typer\nfrom dwcli.vendors import postdicom"),
    ],
)
def test_a_right_arrow_is_allowed(tmp_path: Path, file: str, code: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(code)
    assert list(violations(tmp_path)) == []
