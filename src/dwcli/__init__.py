"""DICOMweb: the command `dw`, and the same for Python programs (`dwcli.api`).

Public names are loaded when they are first used (PEP 562): the command line pays nothing for them.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from dwcli.api import DicomwebWarning, Pacs, Row, Transfer, connect
    from dwcli.errors import (
        AbsentError,
        AuthError,
        DwError,
        ExitCode,
        ProtocolError,
        RefusedError,
        TemporaryError,
        TruncatedError,
        UsageError,
    )

__all__ = [
    "AbsentError",
    "AuthError",
    "DicomwebWarning",
    "DwError",
    "ExitCode",
    "Pacs",
    "ProtocolError",
    "RefusedError",
    "Row",
    "TemporaryError",
    "Transfer",
    "TruncatedError",
    "UsageError",
    "__version__",
    "connect",
]

_OF_API = frozenset({"DicomwebWarning", "Pacs", "Row", "Transfer", "connect"})


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("dwcli.api" if name in _OF_API else "dwcli.errors"), name)


def __dir__() -> list[str]:
    return __all__
