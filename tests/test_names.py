"""No room asks which server it talks to: a server's name stands in dialects.py and vendors/ only, as code.

Comments and docstrings are documentation, and may say whose fault something is. main.py knows the vendors' rooms.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src" / "dwcli"
NAMES = re.compile(
    r"orthanc|dcm4che|postdicom|shanoir|google|healthcare\.|azure|amazon|\baws\b|xnat|kheops|tiny.?pacs", re.IGNORECASE
)
# What logs in at one vendor's cloud is that vendor's, wherever it has to stand: kinds of login, not of server.
LOGINS = ("net/auth.py", "commands/profile.py")


def named(tree: ast.Module) -> Iterator[tuple[int, str]]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    documentation = {
        id(statement.value)
        for node in ast.walk(tree)
        for statement in (node.body if isinstance(node, documented) else [])
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in documentation:
                words = text
            case ast.Name(id=words) | ast.Attribute(attr=words) | ast.arg(arg=words):
                pass
            case ast.FunctionDef(name=words) | ast.ClassDef(name=words):
                pass
            case _:
                continue
        if found := NAMES.search(words):
            yield node.lineno, found[0]


def test_only_dialects_and_vendors_name_a_server() -> None:
    exempt = {"main.py", "dicomweb/dialects.py"}
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {word}"
        for path in sorted(SOURCE.rglob("*.py"))
        if (where := path.relative_to(SOURCE).as_posix()) not in exempt and not where.startswith("vendors/")
        for line, word in named(ast.parse(path.read_text(encoding="utf-8")))
        if not (where in LOGINS and word.lower() in ("google", "aws", "postdicom"))
    ]
    assert found == []


def test_the_search_for_names_finds_them() -> None:
    code = 'def f(x):\n    """Orthanc may be named here."""\n    if "orthanc" in x:\n        return is_azure(x)\n'
    assert [word for _, word in named(ast.parse(code))] == ["orthanc", "azure"]
