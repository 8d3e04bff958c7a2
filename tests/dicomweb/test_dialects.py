"""Dialects: presets, and single differences as a configuration file writes them."""

from typing import Any

import pytest

from dwcli.dicomweb.dialects import PRESETS, Dialect, choose
from dwcli.errors import UsageError


def test_a_preset_with_single_fields_changed() -> None:
    dialect = choose("orthanc", {"page_size": 100, "missing": ["rendered", "frames"], "escaping": "standard"})
    assert (dialect.page_size, dialect.missing, dialect.escaping) == (100, ("rendered", "frames"), "standard")
    assert dialect.wado_uri == PRESETS["orthanc"].wado_uri
    assert PRESETS["orthanc"].page_size == 0


@pytest.mark.parametrize(
    ("name", "differences", "hint"),
    [
        ("orthnac", {}, "orthanc"),
        ("auto", {"page_sise": 1}, "page_size"),
        ("auto", {"name": "x"}, ""),
        ("auto", {"page_size": "100"}, "int"),
        ("auto", {"page_size": True}, "int"),
        ("auto", {"page_size": -1}, "0"),
        ("auto", {"store_files": -1}, "0"),
        ("auto", {"relational": 1}, "bool"),
        ("auto", {"escaping": "both"}, "raw"),
        ("auto", {"escaping": ["raw"]}, "raw"),
        ("auto", {"missing": ["renderd"]}, "rendered"),
        ("auto", {"missing": [["rendered"]]}, "rendered"),
        ("auto", {"missing": "rendered"}, "list"),
    ],
)
def test_what_is_no_dialect_is_refused_with_a_hint(name: str, differences: dict[str, Any], hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose(name, differences)
    assert hint in caught.value.hint


@pytest.mark.parametrize("field", [name for name in Dialect._fields if name != "name"])
def test_every_field_can_be_set_in_a_configuration_file(field: str) -> None:
    value = getattr(Dialect(), field)
    written = list(value) if isinstance(value, tuple) else value
    assert choose("auto", {field: written}) is not None
