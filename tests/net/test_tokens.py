"""Tokens: renewed early and once, kept for their owner only, bound to what they were issued for."""

import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dwcli.errors import AuthError, DwError, TemporaryError
from dwcli.net.tokens import SpentError, Token, TokenFile, Tokens


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "state" / "tokens", "p", ("https://pacs", "https://id", "dw"))


def living(seconds: float, *, age: float = 0.0, access: str = "old", refresh: str = "r") -> Token:
    now = time.time()
    return Token(access, refresh, now - age, now - age + seconds)


def fresh_each_time() -> tuple[Callable[[Token | None], Token], list[Token | None]]:
    asked: list[Token | None] = []

    def renew(token: Token | None) -> Token:
        asked.append(token)
        return living(3600, access=f"new-{len(asked)}")

    return renew, asked


@pytest.mark.parametrize(
    ("life", "age", "due"),
    [(3600, 3539, False), (3600, 3541, True), (40, 29, False), (40, 31, True), (4, 2.9, False), (4, 3.1, True)],
)
def test_a_token_is_due_60_seconds_or_a_quarter_of_its_life_before_its_end(life: float, age: float, due: bool) -> None:
    assert Token("a", "", 1000.0, 1000.0 + life).due(1000.0 + age) is due


def test_a_token_without_an_end_is_used_until_it_is_refused(file: TokenFile) -> None:
    renew, asked = fresh_each_time()
    file.save(Token("old", "r", 0.0, None))
    tokens = Tokens(file, renew)
    assert tokens.current() == "old"
    assert not asked
    assert tokens.current("old") == "new-1"


def test_a_login_serves_who_names_no_user_and_no_other_user(tmp_path: Path) -> None:
    folder, bound = tmp_path / "tokens", ("https://pacs",)
    TokenFile(folder, "p", bound, "alice").save(living(60))
    assert TokenFile(folder, "p", bound).load() is not None
    assert TokenFile(folder, "p", bound, "alice").load() is not None
    assert TokenFile(folder, "p", bound, "bob").load() is None
    TokenFile(folder, "p", bound).save(living(60))  # renewed by a run that names nobody
    assert TokenFile(folder, "p", bound, "bob").load() is None


def test_a_token_is_kept_for_its_owner_only_and_says_nothing_when_shown(file: TokenFile) -> None:
    token = living(60, access="secret-access", refresh="secret-refresh")
    file.save(token)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    assert "secret" not in repr(token)
    assert file.load() == token


def test_a_token_of_another_server_issuer_or_client_is_not_seen(file: TokenFile) -> None:
    file.save(living(60))
    other = TokenFile(file.path.parent, "p", ("https://elsewhere", "https://id", "dw"))
    assert other.path == file.path
    assert other.load() is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"bound": 1}', "\udcff"])
def test_a_broken_file_counts_as_no_login(file: TokenFile, content: str) -> None:
    file.save(living(60))
    file.path.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert file.load() is None


def test_many_threads_renew_once(file: TokenFile) -> None:
    renew, asked = fresh_each_time()
    file.save(living(4, age=4))

    def slow(token: Token | None) -> Token:
        time.sleep(0.05)
        return renew(token)

    tokens = Tokens(file, slow)
    got: list[str] = []
    threads = [threading.Thread(target=lambda: got.append(tokens.current())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == ["new-1"] * 16
    assert len(asked) == 1


def test_a_refused_token_is_renewed_once_for_all_that_were_refused_with_it(file: TokenFile) -> None:
    renew, asked = fresh_each_time()
    file.save(living(3600))
    tokens = Tokens(file, renew)
    assert tokens.current() == "old"
    assert [tokens.current("old") for _ in range(4)] == ["new-1"] * 4
    assert len(asked) == 1


def test_what_another_process_renewed_meanwhile_is_taken_over(file: TokenFile) -> None:
    renew, asked = fresh_each_time()
    file.save(living(3600))
    tokens = Tokens(file, renew)
    tokens.current()
    file.save(living(3600, access="theirs"))
    assert tokens.current("old") == "theirs"
    assert not asked


def test_a_token_that_is_due_but_alive_serves_while_the_provider_is_away(file: TokenFile) -> None:
    def away(_token: Token | None) -> Token:
        raise TemporaryError("away")

    file.save(living(100, age=90))
    assert Tokens(file, away).current() == "old"
    with pytest.raises(TemporaryError):
        Tokens(file, away).current("old")
    file.save(living(100, age=101))
    with pytest.raises(TemporaryError):
        Tokens(file, away).current()
    assert file.load() is not None


def test_a_spent_login_is_deleted_and_any_other_failure_keeps_it(file: TokenFile) -> None:
    def failing(error: DwError) -> Callable[[Token | None], Token]:
        def renew(_token: Token | None) -> Token:
            raise error

        return renew

    file.save(living(100, age=101))
    with pytest.raises(AuthError):
        Tokens(file, failing(AuthError("the variable with the client's secret is not set"))).current()
    assert file.load() is not None
    with pytest.raises(SpentError):
        Tokens(file, failing(SpentError("invalid_grant"))).current()
    assert file.load() is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_costs_a_warning_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    renew, _asked = fresh_each_time()
    said: list[str] = []
    tokens = Tokens(TokenFile(tmp_path / "tokens", "p", ()), renew, warn=said.append)
    assert tokens.current() == "new-1"
    assert len(said) == 1


def test_a_file_in_the_folders_place_costs_a_warning_only(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("")
    renew, _asked = fresh_each_time()
    said: list[str] = []
    tokens = Tokens(TokenFile(tmp_path / "tokens", "p", ()), renew, warn=said.append)
    assert tokens.current() == "new-1"
    assert tokens.current() == "new-1"
    assert len(said) == 1
