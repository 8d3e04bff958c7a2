"""Errors in other words are new ones of the same kind."""

from dwcli.errors import ExitCode, RefusedError


def test_an_error_in_other_words_keeps_its_kind_and_leaves_the_old_one_alone() -> None:
    old = RefusedError("no", "ask", status=409)
    old.clue = "Server: x"
    new = old.worded("pacs said no")
    assert (type(new), new.message, str(new), new.hint) == (RefusedError, "pacs said no", "pacs said no", "ask")
    assert (new.status, new.clue, new.exit_code) == (409, "Server: x", ExitCode.FAILED)
    assert (old.message, str(old)) == ("no", "no")


def test_an_error_with_another_hint_keeps_its_message() -> None:
    new = RefusedError("no", "ask", status=500).worded(hint="wait")
    assert (new.message, new.hint, new.status) == ("no", "wait", 500)
