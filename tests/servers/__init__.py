"""Real servers, proxies and images that the tests start, and one rule for what is not on this machine."""

import os
import shutil
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")


def require(name: str, found: T | None, remedy: str) -> T:
    """Return `found`, or end the test: skipped with the reason here, failed where `CI=true`."""
    if found is not None:
        return found
    reason = f"{name} is not on this machine: {remedy}"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def program(name: str) -> Path | None:
    """Where an executable is; the folders for administrators count, which a user's PATH often lacks."""
    places = [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    found = shutil.which(name, path=os.pathsep.join(places))
    return Path(found) if found else None
