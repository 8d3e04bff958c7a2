"""Profiles: what beats what, how the file is written, and secrets that stay secret."""

import errno
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dwcli import config
from dwcli.config import Environment, File, Profile
from dwcli.errors import AuthError, TemporaryError, UsageError
from servers.dw import Dw

URL = "https://pacs.example.org/dicom-web"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def make(text: str, mode: int = 0o600) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path

    return make


def environment(path: Path, **changes: Any) -> Environment:
    values: dict[str, Any] = {
        "config": path, "profile": "", "url": "", "user": "", "password": None, "token": None,
        "no_color": False, "dumb": False, "columns": None,
    }  # fmt: skip
    return Environment(**{**values, **changes})


def nobody(question: str) -> str:
    raise AssertionError(f"asked: {question}")


def select(path: Path, env: dict[str, Any] | None = None, **options: Any) -> Profile:
    return config.select(environment(path, **(env or {})), ask=options.pop("ask", nobody), **options)


def secret(profile: Profile) -> str:
    assert profile.login.secret is not None
    return profile.login.secret()


TWO = f"""
default = "one"

[profiles.one]
url = "{URL}/"
auth = {{ kind = "basic", username = "alice", password = "s3cret" }}
headers = {{ "X-Site" = "north" }}
timeout = 5

[profiles.two]
url = "http://two.example:8042"
dialect = {{ name = "orthanc", page_size = 50 }}
"""


def test_the_default_profile_serves_where_none_is_named(write: Callable[..., Path]) -> None:
    found = select(write(TWO))
    assert (found.name, found.url, found.timeout, found.login.username) == ("one", URL, 5.0, "alice")
    assert secret(found) == "s3cret"
    assert found.dialect.name == "auto"


@pytest.mark.parametrize(
    ("flags", "env", "name", "url"),
    [
        ({"profile": "two"}, {"profile": "one"}, "two", "http://two.example:8042"),
        ({}, {"profile": "two"}, "two", "http://two.example:8042"),
        ({"url": "http://x.example/a/"}, {"profile": "two"}, "", "http://x.example/a"),
        ({"profile": "two"}, {"url": "http://x.example"}, "two", "http://two.example:8042"),
        ({}, {"url": "http://x.example"}, "", "http://x.example"),
        ({"profile": "two", "url": "http://TWO.example:8042/v2"}, {}, "two", "http://TWO.example:8042/v2"),
    ],
)
def test_a_flag_beats_a_variable_and_a_variable_the_file(
    write: Callable[..., Path], flags: dict[str, str], env: dict[str, str], name: str, url: str
) -> None:
    found = select(write(TWO), env, **flags)
    assert (found.name, found.url) == (name, url)


def test_a_url_alone_never_takes_a_profiles_login(write: Callable[..., Path]) -> None:
    found = select(write(TWO), url=URL)
    assert found.login.kind == "none"
    assert found.headers == {}


@pytest.mark.parametrize(
    "url", ["http://pacs.example.org/dicom-web", "https://pacs.example.org:444", "https://evil.example"]
)
def test_a_profile_with_a_url_of_another_origin_is_refused(write: Callable[..., Path], url: str) -> None:
    with pytest.raises(UsageError, match="not the server of profile one"):
        select(write(TWO), profile="one", url=url)


def test_no_profile_at_all_names_the_next_command(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no server") as caught:
        select(tmp_path / "none.toml")
    assert "dw profile add" in caught.value.hint


def test_a_mistyped_profile_suggests_the_near_one(write: Callable[..., Path]) -> None:
    with pytest.raises(UsageError) as caught:
        select(write(TWO), profile="onee")
    assert "one" in caught.value.hint


def test_variables_beat_the_login_of_the_file(write: Callable[..., Path]) -> None:
    path = write(TWO)
    assert secret(select(path, {"password": "other"})) == "other"
    assert select(path, {"password": "other"}).login.username == "alice"
    both = select(path, {"user": "bob", "password": "b"})
    assert (both.login.kind, both.login.username, secret(both)) == ("basic", "bob", "b")
    token = select(path, {"token": "t", "user": "bob"})
    assert (token.login.kind, secret(token)) == ("bearer", "t")
    asked = select(path, {"user": "bob"}, ask=lambda question: f"typed for {question}")
    assert "bob" in secret(asked)


def test_headers_and_timeout_of_the_command_line_win(write: Callable[..., Path]) -> None:
    found = select(write(TWO), headers={"x-site": "south"}, timeout=2.0)
    assert (dict(found.headers), found.timeout) == ({"x-site": "south"}, 2.0)


@pytest.mark.parametrize("timeout", [float("nan"), float("inf"), 0.0, -1.0, 1e9])
def test_a_timeout_that_is_none_is_refused(write: Callable[..., Path], timeout: float) -> None:
    with pytest.raises(UsageError, match="time-out"):
        select(write(TWO), timeout=timeout)


@pytest.mark.parametrize(
    "url",
    [
        "", "pacs", "ftp://h/x", "http://", "http://h:x/", "http://h:99999/", "http://[::1", "http://a b/", "http://h/?q=1",
        "http://h/#f", "http://h/a b", "http://h:0/",
    ],
)  # fmt: skip
def test_what_is_no_base_url_is_refused(write: Callable[..., Path], url: str) -> None:
    with pytest.raises(UsageError):
        File.load(write("")).put("new", {"url": url})
    if url:
        with pytest.raises(UsageError):
            select(write(TWO), profile="one", url=url)


@pytest.mark.parametrize("url", ["https://alice:s3cret@h/x", "ftp://alice:s3cret@h/x", "https://s3cret@h:x/"])
def test_a_login_in_a_url_is_refused_and_not_repeated(write: Callable[..., Path], url: str) -> None:
    for profile in ("", "one"):
        with pytest.raises(UsageError) as caught:
            select(write(TWO), profile=profile, url=url)
        assert "s3cret" not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("x = = 1", "line"),
        ("profile = 1", "profiles"),
        ("profiles = 3", "table"),
        ("[profiles]\na = 'x'", "table"),
        ("[profiles.a]\nurl = 'http://h'\ntimout = 3", "timeout"),
        ("[profiles.a]\nurl = 'http://h'\ntimeout = 'soon'", "seconds"),
        ("[profiles.a]\nurl = 'http://h'\ntimeout = 0", "seconds"),
        ("[profiles.a]\nurl = 'http://h'\nheaders = 'X: y'", "table"),
        ("[profiles.a]\nurl = 'http://h'\nheaders = { X = 'ü' }", "ASCII"),
        ("[profiles.a]\nurl = 'http://h'\nheaders = { X = \"a\\nY: b\" }", "ASCII"),
        ("[profiles.a]\nurl = 'http://h'\ntls = true", "table"),
        ("[profiles.a]\nurl = 'http://h'\ntls = { client_certificate = 'x' }", "client_cert"),
        ("[profiles.a]\nurl = 'http://h'\nauth = { kind = 'basik' }", "basic"),
        ("[profiles.a]\nurl = 'http://h'\nauth = { kind = 'basic', pasword_env = 'X' }", "password_env"),
        ("[profiles.a]\nurl = 'http://h'\nauth = { kind = 'bearer', password = 'X' }", "token"),
        ("[profiles.a]\nurl = 'http://h'\ndialect = 'orthank'", "orthanc"),
        ("[profiles.a]\nurl = 'http://h'\ndialect = { page_sise = 3 }", "page_size"),
    ],
)
def test_a_fault_in_the_file_is_named_with_the_file_and_a_remedy(
    write: Callable[..., Path], text: str, word: str
) -> None:
    path = write(text)
    with pytest.raises(UsageError) as caught:
        select(path, profile="a")
    assert word in f"{caught.value.message} {caught.value.hint}"
    assert str(path) in caught.value.message


def test_a_file_that_others_can_read_may_not_hold_a_password(write: Callable[..., Path]) -> None:
    for mode in (0o644, 0o640, 0o604):
        with pytest.raises(UsageError, match="other users can read") as caught:
            select(write(TWO, mode))
        assert "chmod 600" in caught.value.hint
        assert "s3cret" not in f"{caught.value.message} {caught.value.hint}"
    # A profile without a secret in it is nobody's secret.
    assert select(write(TWO, 0o644), profile="two").name == "two"


def _with(auth: str) -> str:
    return f"[profiles.a]\nurl = '{URL}'\nauth = {{ kind = 'basic', username = 'u', {auth} }}"


def test_a_secret_by_command_is_its_first_line(write: Callable[..., Path]) -> None:
    found = select(write(_with("""password_command = "printf 'pw \\\\nmore\\\\n'" """)), profile="a")
    assert secret(found) == "pw "
    assert found.login.renewable


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("exit 3", "exited with status 3"),
        ("echo s3cret; exit 1", "exited with status 1"),
        ("true", "printed nothing"),
        ("printf '\\\\377'", "UTF-8"),
        ("no-such-program-at-all 2>/dev/null", "exited with status 127"),
    ],
)
def test_a_command_that_fails_is_a_login_error(write: Callable[..., Path], command: str, why: str) -> None:
    found = select(write(_with(f'password_command = "{command}"')), profile="a")
    with pytest.raises(AuthError, match=why) as caught:
        secret(found)
    assert "s3cret" not in f"{caught.value.message} {caught.value.hint}"


def test_a_secret_by_variable_and_by_file(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_PASSWORD", "from env")
    assert secret(select(write(_with("password_env = 'THE_PASSWORD'")), profile="a")) == "from env"
    monkeypatch.delenv("THE_PASSWORD")
    with pytest.raises(AuthError, match="THE_PASSWORD"):
        secret(select(write(_with("password_env = 'THE_PASSWORD'")), profile="a"))
    file = tmp_path / "pw"
    file.write_text("from file\n")
    file.chmod(0o600)
    assert secret(select(write(_with("password_file = 'pw'")), profile="a")) == "from file"
    file.chmod(0o604)
    with pytest.raises(AuthError, match="all users"):
        secret(select(write(_with("password_file = 'pw'")), profile="a"))
    file.unlink()
    with pytest.raises(AuthError, match="cannot read"):
        secret(select(write(_with("password_file = 'pw'")), profile="a"))


def test_a_prompt_comes_only_when_the_secret_is_needed(write: Callable[..., Path]) -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return "typed"

    found = select(
        write(f"[profiles.a]\nurl = '{URL}'\nauth = {{ kind = 'basic', username = 'u' }}"), profile="a", ask=ask
    )
    assert asked == []
    assert secret(found) == "typed"
    assert "u" in asked[0]
    assert "a" in asked[0]


def test_a_secret_is_in_no_repr(write: Callable[..., Path]) -> None:
    path = write(TWO)
    assert "s3cret" not in repr(select(path))
    assert "t0ken" not in repr(select(path, {"token": "t0ken"}).login)
    assert "t0ken" not in repr(environment(path, token="t0ken", password="t0ken"))


def test_a_certificate_file_that_cannot_be_used_is_named(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    for name in ("bad.pem", "gone.pem"):
        found = select(write(f"[profiles.a]\nurl = '{URL}'\ntls = {{ ca = '{name}' }}"), profile="a")
        with pytest.raises(UsageError, match=name):
            found.tls()


def test_the_first_profile_becomes_the_default_and_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.toml"
    File.load(path).put("pacs", {"url": URL})
    File.load(path).put("other", {"url": "http://other.example"})
    assert File.load(path).default == "pacs"
    assert File.load(path).names == ["pacs", "other"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_comments_and_what_is_not_touched_survive_edits(write: Callable[..., Path]) -> None:
    text = f"""# my servers
default = "a"  # the usual

[profiles.a]  # at home
url = "{URL}"   # odd   spacing
# a remark
dialect = "orthanc"

[profiles.b]
url = "http://b.example"

[profiles.a.auth]
kind = "none"
"""
    path = write(text, 0o644)
    file = File.load(path)
    file.put("c", {"url": "http://c.example"})
    file.use("c")
    file.remove("b")
    after = path.read_text()
    for kept in ("# my servers", "# the usual", "# at home", "# odd   spacing", "# a remark", 'kind = "none"'):
        assert kept in after
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = File.load(path)
    assert (again.default, again.names) == ("c", ["a", "c"])
    again.remove("c")
    assert File.load(path).default == ""
    assert "# my servers" in path.read_text()


@pytest.mark.parametrize("name", ["", "a b", "../x", "-a", 'a"b', "a/b"])
def test_a_name_that_would_be_a_nuisance_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not a profile name"):
        File.load(tmp_path / "c.toml").put(name, {"url": URL})


def test_a_dialect_becomes_a_table_when_one_of_its_fields_is_set(write: Callable[..., Path]) -> None:
    path = write(f'[profiles.a]\nurl = "{URL}"\ndialect = "orthanc"\n')
    File.load(path).put("a", {"url": URL, "dialect": {"name": "orthanc", "page_size": 100}}, replace=True)
    dialect = select(path, profile="a").dialect
    assert (dialect.name, dialect.page_size, dialect.escaping) == ("orthanc", 100, "raw")


def test_a_profile_is_not_overwritten_by_accident(write: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="already") as caught:
        File.load(write(TWO)).put("one", {"url": URL})
    assert "edit" in caught.value.hint


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "dw.toml"
    real.parent.mkdir()
    real.write_text("")
    link = tmp_path / "config.toml"
    link.symlink_to(real)
    File.load(link).put("a", {"url": URL})
    assert link.is_symlink()
    assert "pacs.example.org" in real.read_text()


def test_the_environment_is_read_as_documented(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DW_PROFILE", "DW_URL", "DW_USER", "DW_PASSWORD", "DW_CONFIG", "NO_COLOR", "TERM", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DW_TOKEN", "")  # as an unset variable of a script leaves it
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    read = Environment.read()
    assert (read.config, read.token, read.password) == (tmp_path / "dw" / "config.toml", None, None)
    monkeypatch.setenv("DW_CONFIG", str(tmp_path / "x.toml"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "wide")
    read = Environment.read()
    assert (read.config, read.no_color, read.dumb, read.columns) == (tmp_path / "x.toml", True, True, None)


def dw_at_once(dw: Dw, *lines: list[str]) -> list[tuple[int, str]]:
    """Exit code and stderr of commands that run at the same time."""
    running = [dw.start("profile", *line) for line in lines]
    return [(process.wait(60), process.communicate()[1].decode()) for process in running]


def test_profiles_added_at_once_are_all_there(dw_process: Dw) -> None:
    for round_ in range(3):
        names = [f"p{round_}{number}" for number in range(8)]
        ends = dw_at_once(dw_process, *(["add", name, f"http://127.0.0.1:9/{name}"] for name in names))
        assert [code for code, _ in ends] == [0] * 8, ends
        file = File.load(dw_process.config)
        assert set(names) <= set(file.names)
        if not round_:
            # One of them was the first, and it alone says so.
            assert [name for name, (_, err) in zip(names, ends, strict=True) if "as the default" in err] == [
                file.default
            ]


def test_of_one_name_added_at_once_one_is_told(dw_process: Dw) -> None:
    ends = dw_at_once(dw_process, *(["add", "pacs", f"http://127.0.0.1:9/{number}"] for number in range(6)))
    assert sorted(code for code, _ in ends) == [0, 2, 2, 2, 2, 2], ends
    assert all("profile pacs already exists" in err for code, err in ends if code)


def test_edits_and_removals_at_once_keep_each_other(dw_process: Dw) -> None:
    for name in "abcdef":
        assert dw_process("profile", "add", name, f"http://127.0.0.1:9/{name}").code == 0
    lines = [
        ["edit", "a", "--set", "timeout=7"],
        ["edit", "a", "--user", "alice"],
        ["edit", "a", "--dialect", "orthanc"],
        ["remove", "b"],
        ["remove", "c"],
        ["use", "d"],
        ["add", "g", "http://127.0.0.1:9/g"],
    ]
    ends = dw_at_once(dw_process, *lines)
    assert [code for code, _ in ends] == [0] * len(lines), ends
    file = File.load(dw_process.config)
    assert (file.names, file.default) == (["a", "d", "e", "f", "g"], "d")
    table = file.table("a")
    assert (table["timeout"], table["auth"]["username"], table["dialect"]) == (7, "alice", "orthanc")


def test_a_held_lock_ends_with_its_process(dw_process: Dw) -> None:
    lock = dw_process.config.with_name(".config.toml.lock")
    code = f"import fcntl, os, time; fcntl.flock(os.open({str(lock)!r}, os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX)"
    code += "; print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        waiting = dw_process.start("profile", "add", "pacs", URL)
        time.sleep(1)
        assert waiting.poll() is None
        holder.kill()
        assert waiting.wait(20) == 0
        waiting.communicate()
    assert File.load(dw_process.config).names == ["pacs"]


def test_a_lock_that_is_never_let_go_is_a_temporary_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dwcli.config.file._LOCK_SECONDS", 0.2)
    file = File.load(tmp_path / "config.toml")
    with (
        File.load(tmp_path / "config.toml").locked(),
        pytest.raises(TemporaryError, match="another dw process is changing"),
    ):
        file.put("pacs", {"url": URL})


@pytest.mark.parametrize("lacks", ["locks", "lock file"])
def test_a_file_system_without_locks_does_not_hang(lacks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_words: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    if lacks == "locks":
        monkeypatch.setattr("fcntl.flock", refuse)
    else:
        (tmp_path / ".config.toml.lock").mkdir()
    file = File.load(tmp_path / "config.toml")
    file.put("pacs", {"url": URL})
    assert File.load(tmp_path / "config.toml").names == ["pacs"]


def test_a_pipe_under_the_name_of_the_lock_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".config.toml.lock")
    File.load(tmp_path / "config.toml").put("pacs", {"url": URL})
    assert File.load(tmp_path / "config.toml").names == ["pacs"]


def test_a_profile_that_was_removed_meanwhile_is_not_made_again(tmp_path: Path) -> None:
    file = File.load(tmp_path / "config.toml")
    file.put("pacs", {"url": URL})
    File.load(tmp_path / "config.toml").remove("pacs")
    with pytest.raises(UsageError, match="unknown profile"):
        file.put("pacs", {"url": URL, "dialect": "orthanc"}, replace=True)
