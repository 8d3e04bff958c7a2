"""How a profile's login is written and read: options to table, table to login, what the environment adds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dwcli import config
from dwcli.commands.profile_options import LoginOptions, TlsOptions, auth_table, login_fields, tls_table
from dwcli.config import logins
from dwcli.config.logins import Login, read
from dwcli.config.secret_sources import Sources
from dwcli.context.connect import flow_of, login_hint
from dwcli.dicomweb.dialects import choose
from dwcli.errors import AuthError, UsageError
from dwcli.net import auth
from dwcli.net.registration import Registration

OIDC = {"kind": "oidc", "issuer": "https://id.example.org", "client_id": "dw"}


def never(_question: str) -> str:
    raise AssertionError("asked")


def understood(table: Mapping[str, Any], tmp_path: Path, **variables: str) -> Login:
    file = tmp_path / "config.toml"
    file.touch(0o600)
    sources = Sources(file, variables.get, never)
    return read(table, name="p", url="https://pacs", where="here", sources=sources, netrc=tmp_path / "netrc")


@pytest.mark.parametrize(
    ("options", "table"),
    [
        ({}, None),
        ({"user": "u"}, {"kind": "basic", "username": "u"}),
        ({"token_command": "c"}, {"kind": "bearer", "token_command": "c"}),
        ({"netrc": True}, {"kind": "netrc"}),
        ({"auth": "none"}, {"kind": "none"}),
        ({"issuer": "i", "client_id": "c"}, {"kind": "oidc", "issuer": "i", "client_id": "c"}),
        (
            {"auth": "oidc", "issuer": "i", "user": "u", "password_env": "P"},
            {"kind": "oidc", "issuer": "i", "username": "u", "password_env": "P"},
        ),
    ],
)
def test_the_options_tell_the_kind(options: dict[str, Any], table: dict[str, Any] | None) -> None:
    assert auth_table(LoginOptions(**options), {}) == table


@pytest.mark.parametrize(
    "options",
    [
        {"user": "u", "token_env": "T"},
        {"token_env": "T", "token_command": "c"},
        {"auth": "bearer", "user": "u"},
        {"auth": "basci"},
        {"password_env": "P"},
        {"issuer": "i", "token_env": "T"},
        {"issuer": "i", "grant": "implicit"},
        {"netrc": True, "user": "u"},
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        auth_table(LoginOptions(**options), {})


def test_an_edit_replaces_one_secret_and_keeps_the_rest() -> None:
    old = {**OIDC, "client_secret_env": "S", "username": "u", "password_env": "P"}
    table = auth_table(LoginOptions(client_secret_command="c"), old)
    assert table == {"kind": "oidc", "client_secret_env": None, "client_secret_command": "c"}
    assert auth_table(LoginOptions(user="v"), old) == {"kind": "oidc", "username": "v"}


def test_an_edit_to_another_kind_leaves_nothing_of_the_old_one() -> None:
    old = {**OIDC, "password_env": "P"}
    table = auth_table(LoginOptions(token_command="c"), old)
    assert table == {**dict.fromkeys(old), "kind": "bearer", "token_command": "c"}


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": ""},
        {"issuer": "id.example.org"},
        {"issuer": "https://u:p@id.example.org"},
        {"issuer": "http://id.example.org"},
        {"issuer": "http://127.0.0.1.example.org"},
        {"issuer": "https://id.example.org/?realm=main"},
        {"issuer": "https://[id"},
        {"client_id": ""},
        {"grant": "implicit"},
        {"grant": "client_credentials"},
        {"token": "t"},
    ],
)
def test_a_provider_that_cannot_be_meant_is_refused(tmp_path: Path, change: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="here"):
        understood({**OIDC, **change}, tmp_path)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "[::1]:80", "127.9.9.9"])
def test_a_provider_on_this_machine_needs_no_tls(tmp_path: Path, host: str) -> None:
    login = understood({**OIDC, "issuer": f"http://{host}/realms/main/"}, tmp_path)
    assert login.oidc is not None
    assert login.oidc.issuer == f"http://{host}/realms/main"


def test_a_provider_with_its_secrets_is_read(tmp_path: Path) -> None:
    table = {**OIDC, "client_secret_env": "S", "username": "u", "password_env": "P", "grant": "password"}
    login = understood(table, tmp_path, S="client", P="person")
    assert login.oidc is not None
    assert login.oidc.secret is not None
    assert login.oidc.secret() == "client"
    assert login.secret is not None
    assert login.secret() == "person"
    assert login.oidc.unattended


def test_no_error_about_netrc_quotes_it(tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine pacs login a passwrod s3cret\n")
    netrc.chmod(0o600)
    with pytest.raises(AuthError) as caught:
        understood({"kind": "netrc"}, tmp_path)
    assert "s3cret" not in caught.value.message


def selected(tmp_path: Path, text: str, **changed: Any) -> config.Profile:
    file = tmp_path / "config.toml"
    file.write_text(text)
    file.chmod(0o600)
    environment = config.Environment.read()._replace(
        config=file, profile="", url="", user="", password=None, token=None
    )
    return config.select(environment._replace(**changed), profile="p", ask=never)


def test_a_token_of_the_environment_beats_a_login_that_cannot_be_had(tmp_path: Path) -> None:
    text = '[profiles.p]\nurl = "https://pacs"\nauth = { kind = "netrc" }\n'
    assert selected(tmp_path, text, token="t").login.kind == "bearer"


def test_a_user_of_the_environment_is_the_providers(tmp_path: Path) -> None:
    text = '[profiles.p]\nurl = "https://pacs"\nauth = { kind = "oidc", issuer = "https://id", client_id = "dw" }\n'
    login = selected(tmp_path, text, user="u", password="s").login
    assert (login.kind, login.username) == ("oidc", "u")
    assert login.oidc == Registration("https://id", "dw", username="u", password=login.secret, unattended=True)


@pytest.mark.parametrize(
    "secret",
    [
        'headers = { Authorization = "Bearer x" }',
        'proxy = "http://pat:pw@proxy:3128"',
        "tls = { client_key_password = 'x' }",
    ],
)
def test_any_secret_in_a_file_that_others_can_read_is_refused(tmp_path: Path, secret: str) -> None:
    text = f'[profiles.p]\nurl = "https://pacs"\n{secret}\n'
    assert selected(tmp_path, text).name == "p"
    (tmp_path / "config.toml").chmod(0o644)
    environment = config.Environment.read()._replace(config=tmp_path / "config.toml", user="", token=None)
    with pytest.raises(UsageError, match="other users can read"):
        config.select(environment, profile="p", ask=never)


def test_a_new_kind_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = logins.Kind(
        "Keyring",
        keys=(logins.Key("service", "S", "Its name there."), logins.Key("pin", sources=("a,", "b,", "c,", "d."))),
        needs=("service",),
        read=lambda written: Login("keyring", source=str(written.auth["service"])),
        flow=lambda login, way: auth.basic(way.origin, "u", lambda: login.source),
        hint="ask {source} for {name}",
    )
    monkeypatch.setitem(logins.TABLE, "keyring", keyring)
    fields = login_fields()
    assert {"service", "pin_env", "pin_command", "pin_file", "pin_stdin"} <= set(fields)
    assert "pin" not in fields
    assert "pin" in logins.secret_words()
    with pytest.raises(UsageError, match="keyring requires service"):
        understood({"kind": "keyring"}, tmp_path)
    with pytest.raises(UsageError, match="unknown key 'servcie'"):
        understood({"kind": "keyring", "servcie": "x"}, tmp_path)
    login = understood({"kind": "keyring", "service": "vault", "pin_env": "P"}, tmp_path)
    profile = config.Profile("p", "https://pacs", choose("auto"), login=login)
    assert login_hint(profile) == "ask vault for p"
    flow = flow_of(profile, lambda: pytest.fail("asked a provider"), pytest.fail, lambda _level, _text: None)
    assert flow is not None
    assert flow.header() == "Basic dTp2YXVsdA=="


def test_a_home_that_does_not_exist_is_a_name_like_any_other() -> None:
    with pytest.raises(UsageError, match="file not found: ~nouser-here"):
        tls_table(TlsOptions(ca=Path("~nouser-here/ca.pem")), {})
    table = auth_table(LoginOptions(user="u", password_file=Path("~nouser-here/secret")), {})
    assert table is not None
    assert table["password_file"].endswith("~nouser-here/secret")
