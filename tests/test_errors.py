"""What an error says, and where it is said in other words."""

from dwcli.errors import ExitCode, RefusedError, TemporaryError


def test_an_error_in_other_words_is_a_new_one_of_the_same_kind() -> None:
    first = RefusedError("the server said no to hunter2", "dw profile edit NAME", status=409)
    first.clue = "a page"
    other = first.but(message="the server said no", hint="dw profile edit pacs")
    assert (first.message, first.hint) == ("the server said no to hunter2", "dw profile edit NAME")
    assert (type(other), other.status, other.clue) == (RefusedError, 409, "a page")
    assert (str(other), other.message, other.hint) == (
        "the server said no",
        "the server said no",
        "dw profile edit pacs",
    )
    assert "hunter2" not in repr(vars(other)) + repr(other)


def test_what_is_not_said_otherwise_stays() -> None:
    first = TemporaryError("the server is busy", "again later", ExitCode.FAILED)
    other = first.but(hint="")
    assert (str(other), other.message, other.hint, other.exit_code) == (
        "the server is busy",
        "the server is busy",
        "",
        ExitCode.FAILED,
    )
