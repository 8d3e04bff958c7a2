"""What a provider may answer, and what becomes of it: discovery, grants, polling, refresh, secrets."""

import base64
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dwcli.errors import AuthError, DwError, ProtocolError, TemporaryError, UsageError
from dwcli.jobs import login as job
from dwcli.net.loopback import Listener
from dwcli.net.oidc import GrantError, Provider
from dwcli.net.registration import Registration
from dwcli.net.settings import Settings
from dwcli.net.tokens import SpentError, Token, TokenFile
from servers.fake import Answer, Fake
from servers.issuer import FakeIssuer
from servers.wire import request

DEVICE = {"device_code": "device-secret", "user_code": "ABCD", "verification_uri": "https://id/device"}


@pytest.fixture
def issuer() -> Iterator[FakeIssuer]:
    with FakeIssuer() as server:
        yield server


@pytest.fixture
def make(issuer: FakeIssuer) -> Iterator[Callable[..., Provider]]:
    made: list[Provider] = []

    def build(**changed: Any) -> Provider:
        registration = Registration(**{"issuer": issuer.issuer, "client_id": "dw", **changed})
        made.append(Provider(registration, Settings(base="http://pacs"), command="dw profile login p"))
        return made[-1]

    yield build
    for provider in made:
        provider.close()


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path, "p", ())


def nobody() -> tuple[str, str]:
    raise AuthError("nobody is there")


def run(provider: Provider, file: TokenFile, **changed: Any) -> list[Any]:
    return list(
        job.login(provider, file, **{"browser": False, "credentials": nobody, "pause": lambda _s: None, **changed})
    )


# Discovery


@pytest.mark.parametrize("written", ["", "/", "/.well-known/openid-configuration"])
def test_an_issuer_is_found_however_it_is_written(
    make: Callable[..., Provider], issuer: FakeIssuer, written: str
) -> None:
    assert make(issuer=issuer.issuer + written).endpoint("token") == f"{issuer.issuer}/token"


def test_another_issuers_document_is_refused(make: Callable[..., Provider], issuer: FakeIssuer) -> None:
    issuer.document["issuer"] = "https://other.example.org"
    with pytest.raises(ProtocolError, match="another issuer"):
        make().discovered()


def test_no_secret_goes_where_a_document_points_without_tls(make: Callable[..., Provider], issuer: FakeIssuer) -> None:
    with Fake(lambda _asked: Answer(200)) as other:
        issuer.document["token_endpoint"] = f"{other.origin}/token"
        with pytest.raises(ProtocolError, match="endpoint without TLS"):
            make(secret=lambda: "client-secret").with_credentials()
        assert not other.requests


def test_a_redirect_of_the_provider_is_not_followed(make: Callable[..., Provider]) -> None:
    with (
        Fake(lambda _asked: Answer(200)) as other,
        Fake(lambda _asked: Answer(302, {"Location": other.origin})) as moved,
    ):
        with pytest.raises(ProtocolError, match="redirects"):
            make(issuer=moved.origin).discovered()
        assert not other.requests


def test_an_address_without_a_document_says_so(make: Callable[..., Provider], issuer: FakeIssuer) -> None:
    with pytest.raises(ProtocolError, match="no discovery document: 404"):
        make(issuer=issuer.issuer + "/realms/none").discovered()


# Grants


def test_the_default_scope_brings_a_refresh_token_where_that_has_a_name(
    make: Callable[..., Provider], issuer: FakeIssuer
) -> None:
    assert make().scope("password") == "openid offline_access"
    assert make(scope="a b").scope("password") == "a b"
    assert make().scope("client_credentials") == ""
    issuer.document["scopes_supported"] = ["openid"]
    assert make().scope("device") == "openid"


def test_a_narrowed_scope_is_no_error(make: Callable[..., Provider], issuer: FakeIssuer) -> None:
    issuer.script = [(200, {"access_token": "a", "token_type": "bearer", "scope": "openid"})]
    assert make(scope="openid dicom").with_password("u", "p").access == "a"


def test_the_clients_secret_goes_form_encoded_in_the_header(make: Callable[..., Provider], issuer: FakeIssuer) -> None:
    make(client_id="d w", secret=lambda: "s:ä+%").with_credentials()
    sent = issuer.fake.requests[-1].header("Authorization") or ""
    assert base64.b64decode(sent.removeprefix("Basic ")).decode() == "d+w:s%3A%C3%A4%2B%25"
    assert "client_secret" not in issuer.forms[-1]


def test_the_clients_secret_goes_in_the_body_where_only_that_is_taken(
    make: Callable[..., Provider], issuer: FakeIssuer
) -> None:
    issuer.document["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    make(secret=lambda: "s").with_credentials()
    assert issuer.forms[-1]["client_secret"] == "s"
    assert issuer.fake.requests[-1].header("Authorization") is None


def test_a_client_registered_for_the_other_way_is_tried_by_it(
    make: Callable[..., Provider], issuer: FakeIssuer
) -> None:
    issuer.document["token_endpoint_auth_methods_supported"] = ["client_secret_basic", "client_secret_post"]
    issuer.script = [(401, {"error": "invalid_client"})]
    assert make(secret=lambda: "s").with_credentials().access == "access-1"
    assert [form.get("client_secret") for form in issuer.forms] == [None, "s"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((400, {"error": "invalid_grant"}), GrantError),
        ((400, {"error": "invalid_scope"}), GrantError),
        ((503, {"error": "temporarily_unavailable"}), TemporaryError),
        ((500, {}), TemporaryError),
        ((429, {}), TemporaryError),
        ((200, {}), ProtocolError),
        ((200, {"access_token": ""}), ProtocolError),
        ((200, {"access_token": 7}), ProtocolError),
        ((200, {"access_token": "a", "token_type": "mac"}), ProtocolError),
        ((200, {"error": "invalid_grant"}), GrantError),  # some providers fail with 200
    ],
)
def test_what_is_no_token_is_an_error_of_its_kind(
    make: Callable[..., Provider], issuer: FakeIssuer, answer: tuple[int, dict[str, Any]], error: type[DwError]
) -> None:
    issuer.script = [answer]
    with pytest.raises(error):
        make().with_password("u", "p")


@pytest.mark.parametrize(("life", "given"), [("900", 900.0), (60, 60.0), (None, None), ("soon", None), (-1, None)])
def test_a_life_is_read_however_it_is_written(
    make: Callable[..., Provider], issuer: FakeIssuer, life: object, given: float | None
) -> None:
    issuer.script = [(200, {"access_token": "a", "expires_in": life})]
    token = make().with_password("u", "p")
    assert (None if token.expires is None else token.expires - token.issued) == given


def test_no_error_repeats_what_was_sent(make: Callable[..., Provider], issuer: FakeIssuer) -> None:
    said = {"error": "invalid_grant", "error_description": "wrong: pa:ss-wörd and cl-secret"}
    issuer.script = [(400, said)]
    with pytest.raises(GrantError) as caught:
        make(secret=lambda: "cl-secret").with_password("u", "pa:ss-wörd")
    assert "pa:ss" not in caught.value.message
    assert "cl-secret" not in caught.value.message


# Refresh


def test_a_rotated_refresh_token_is_kept_and_an_old_one_where_none_comes(
    make: Callable[..., Provider], issuer: FakeIssuer
) -> None:
    provider = make()
    assert provider.refresh(Token("a", "refresh-0")).refresh == "refresh-1"
    issuer.script = [(200, {"access_token": "b"})]
    assert provider.refresh(Token("a", "refresh-1")).refresh == "refresh-1"


def test_a_reused_refresh_token_asks_for_a_new_login(make: Callable[..., Provider]) -> None:
    with pytest.raises(SpentError) as caught:
        make().renew(Token("a", "stolen-refresh"))
    assert caught.value.hint == "dw profile login p"
    assert "stolen-refresh" not in caught.value.message


def test_a_profile_that_needs_no_person_logs_in_again_by_itself(
    make: Callable[..., Provider], issuer: FakeIssuer
) -> None:
    by_password = make(username="u", password=lambda: "p", unattended=True)
    assert by_password.renew(Token("a", "spent")).access == "access-1"
    assert [form["grant_type"] for form in issuer.forms] == ["refresh_token", "password"]
    machine = make(secret=lambda: "s", grant="client_credentials")
    assert machine.renew(None).access == "access-2"


def test_a_prompt_never_comes_up_in_the_middle_of_a_run(make: Callable[..., Provider]) -> None:
    def prompt() -> str:
        raise AssertionError("asked")

    with pytest.raises(AuthError, match="not logged in"):
        make(username="u", password=prompt).renew(None)


# Device codes


@pytest.mark.parametrize(("said", "first"), [({"interval": 2}, 2.0), ({}, 5.0), ({"interval": 0}, 5.0)])
def test_polling_keeps_to_the_interval_and_slows_down_when_told(
    make: Callable[..., Provider], issuer: FakeIssuer, file: TokenFile, said: dict[str, int], first: float
) -> None:
    issuer.device = (200, {**DEVICE, **said, "expires_in": 600})
    issuer.script = [
        (400, {"error": "authorization_pending"}),
        (400, {"error": "slow_down"}),
        (400, {"error": "authorization_pending"}),
        (503, {}),
    ]
    waits: list[float] = []
    events = run(make(grant="device"), file, pause=waits.append)
    assert waits == [first, first, first + 5, first + 5, 2 * (first + 5)]
    assert isinstance(events[0], job.TypeCode)
    assert events[0].code == "ABCD"
    assert isinstance(events[-1], job.LoggedIn)
    assert events[-1].renewable
    kept = file.load()
    assert kept is not None
    assert kept.access == "access-1"


def test_googles_spelling_of_the_address_is_known(
    make: Callable[..., Provider], issuer: FakeIssuer, file: TokenFile
) -> None:
    device = {key: value for key, value in DEVICE.items() if key != "verification_uri"}
    issuer.device = (200, {**device, "verification_url": "https://google/device"})
    assert run(make(grant="device"), file)[0].url == "https://google/device"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"error": "access_denied"}, "denied"),
        ({"error": "expired_token"}, "expired before it was used"),
        ({"error": "odd"}, "odd"),
    ],
)
def test_a_denied_or_late_code_ends_the_wait(
    make: Callable[..., Provider], issuer: FakeIssuer, file: TokenFile, answer: dict[str, str], words: str
) -> None:
    issuer.device = (200, DEVICE)
    issuer.script = [(400, answer)]
    with pytest.raises(AuthError, match=words):
        run(make(grant="device"), file)
    assert file.load() is None


def test_a_code_that_nobody_uses_ends_with_its_life(
    make: Callable[..., Provider], issuer: FakeIssuer, file: TokenFile
) -> None:
    issuer.device = (200, {**DEVICE, "expires_in": 12, "interval": 5})
    issuer.script = [(400, {"error": "authorization_pending"})] * 9
    with pytest.raises(AuthError, match="expired before it was used"):
        run(make(grant="device"), file)
    assert len(issuer.forms) == 3


# The browser


def back(event: job.OpenPage, **answer: str) -> threading.Thread:
    """A browser that comes back with `answer`; first it asks for its little icon."""
    asked = {key: values[0] for key, values in parse_qs(urlsplit(event.url).query).items()}

    def visit() -> None:
        home = asked["redirect_uri"]
        with suppress(OSError):
            request("GET", home.rstrip("/") + "/favicon.ico")
            request("GET", f"{home}?code=evil&state=guessed")
            query = "&".join(f"{key}={value}" for key, value in {"state": asked["state"], **answer}.items())
            request("GET", f"{home}?{query}")

    thread = threading.Thread(target=visit)
    thread.start()
    return thread


def test_the_browser_brings_a_code_and_strangers_are_turned_away(
    make: Callable[..., Provider], issuer: FakeIssuer, file: TokenFile
) -> None:
    steps = job.login(make(grant="code"), file, browser=True, credentials=nobody)
    event = next(steps)
    assert isinstance(event, job.OpenPage)
    asked = parse_qs(urlsplit(event.url).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["prompt"] == ["consent"]
    thread = back(event, code="c-1", iss=issuer.issuer)
    assert isinstance(next(steps), job.LoggedIn)
    thread.join()
    assert issuer.forms[-1]["code"] == "c-1"
    assert len(issuer.forms[-1]["code_verifier"]) >= 43
    assert issuer.forms[-1]["redirect_uri"] == asked["redirect_uri"][0]


@pytest.mark.parametrize("answer", [{"error": "access_denied"}, {"code": "c", "iss": "https://other"}, {}])
def test_a_no_or_another_issuers_answer_brings_no_token(
    make: Callable[..., Provider], issuer: FakeIssuer, file: TokenFile, answer: dict[str, str]
) -> None:
    steps = job.login(make(grant="code"), file, browser=True, credentials=nobody)
    event = next(steps)
    assert isinstance(event, job.OpenPage)
    thread = back(event, **answer)
    with pytest.raises(AuthError):
        next(steps)
    thread.join()
    assert not issuer.forms


@pytest.mark.parametrize("redirect", ["https://127.0.0.1/", "http://example.org/", "http://0.0.0.0/", "http://[::1"])
def test_a_way_back_to_another_machine_is_refused(redirect: str) -> None:
    with pytest.raises(UsageError):
        Listener(redirect)


def test_the_way_back_is_as_it_was_registered() -> None:
    for redirect in ("http://localhost", "http://127.0.0.1/", "http://localhost/cb"):
        listener = Listener(redirect)
        listener.close()
        written, port = urlsplit(redirect), urlsplit(listener.url).port
        assert listener.url == f"http://{written.hostname}:{port}{written.path}"


# The choice


def test_a_client_that_may_not_use_device_codes_gets_in_by_password(
    make: Callable[..., Provider], issuer: FakeIssuer, file: TokenFile
) -> None:
    issuer.device = (401, {"error": "unauthorized_client"})
    events = run(make(), file, credentials=lambda: ("u", "p"))
    assert [type(event) for event in events] == [job.Passed, job.LoggedIn]
    assert events[-1].grant == "password"


def test_a_browser_comes_first_where_there_is_one(make: Callable[..., Provider], file: TokenFile) -> None:
    steps = job.login(make(), file, browser=True, credentials=nobody)
    assert isinstance(next(steps), job.OpenPage)
    steps.close()  # type: ignore[attr-defined]


def test_a_wrong_password_is_not_tried_in_other_ways(
    make: Callable[..., Provider], issuer: FakeIssuer, file: TokenFile
) -> None:
    issuer.script = [(400, {"error": "invalid_grant"})]
    with pytest.raises(GrantError):
        run(make(username="u", password=lambda: "p", unattended=True), file, credentials=lambda: ("u", "p"))
    assert len(issuer.forms) == 1


def test_logging_out_revokes_the_refresh_token_and_forgets_it_in_any_case(
    make: Callable[..., Provider], issuer: FakeIssuer, file: TokenFile
) -> None:
    file.save(Token("a", "r"))
    assert job.logout(make(), file) == job.LoggedOut(True, True)
    assert issuer.revoked == ["r"]
    assert job.logout(make(), file) == job.LoggedOut(False, False)
    file.save(Token("a", "r"))
    issuer.fake.close()
    done = job.logout(make(), file)
    assert done.there
    assert not done.revoked
    assert file.load() is None
