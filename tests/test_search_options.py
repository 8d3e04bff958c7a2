"""A query option is one row of KEYS: what is made of it, for each that there is."""

import inspect
from collections import Counter

import pytest

from dwcli.commands import retrieve, search
from dwcli.commands.search_options import KEYS, Key, MatchOptions, build
from dwcli.context.global_options import GlobalOptions
from dwcli.dicomweb import dictionary
from dwcli.dicomweb.query import Term
from dwcli.dicomweb.refs import Level
from dwcli.errors import UsageError

VALUES = {"--date": "20240301", "--birth-date": "19700101", "--time": "080000"}

EachKey = pytest.mark.parametrize("key", KEYS, ids=lambda key: key.option)


@EachKey
@pytest.mark.parametrize("level", Level)
def test_an_option_matches_its_attribute(key: Key, level: Level) -> None:
    value = VALUES.get(key.option, "A")
    [query] = build(level, MatchOptions({key.name: [value] if key.repeatable else value}))
    [term] = query.terms
    assert (term.path, term.value) == (key.path(level), value)
    assert dictionary.keyword(term.path) in (key.keyword, key.below)


@EachKey
def test_an_option_is_in_the_signature_of_every_command_that_searches(key: Key) -> None:
    for command in (search.search, retrieve.retrieve):
        annotation = inspect.signature(command).parameters[key.name].annotation
        [option] = annotation.__metadata__
        assert (option.metavar, option.help) == (key.metavar, key.help)


@EachKey
def test_an_empty_value_never_widens_a_search(key: Key) -> None:
    match = MatchOptions({key.name: [""] if key.repeatable else ""})
    assert match.given
    with pytest.raises(UsageError, match=f"{key.option} is empty"):
        build(Level.STUDY, match)


def test_no_two_options_share_a_name() -> None:
    names = Counter([key.name for key in KEYS] + [*MatchOptions._fields, *GlobalOptions._fields])
    for command in (search.SearchOptions, retrieve.RetrieveOptions):
        both = names + Counter(command._fields)
        assert [name for name, number in both.items() if number > 1] == []


def test_several_values_of_two_options_are_asked_in_every_combination() -> None:
    queries = build(Level.SERIES, MatchOptions({"modality": ["CT,MR", "CT"], "patient_id": ["1", "2"]}))
    assert {query.terms for query in queries} == {
        (Term("00100020", number), Term("00080060", modality)) for number in "12" for modality in ("CT", "MR")
    }
    assert len(queries) == 4


@pytest.mark.parametrize("typed", [[","], [" , "], [",", " "]])
def test_a_list_without_a_value_is_refused(typed: list[str]) -> None:
    with pytest.raises(UsageError, match="--modality needs a value"):
        build(Level.STUDY, MatchOptions({"modality": typed}))
