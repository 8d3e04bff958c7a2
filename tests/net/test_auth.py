"""Logins: for one origin only, asked for once, renewed once, uploads replayed whole."""

import base64
import threading
import time
from collections.abc import Callable

import pytest

from dwcli.dicomweb.request import Request
from dwcli.errors import AuthError
from dwcli.net import auth
from dwcli.net.body import Multipart, Part
from dwcli.net.settings import Settings, origin_of_url
from dwcli.net.transport import Transport
from servers.fake import Answer, Fake
from servers.fake import Request as Seen

FakeServer = Callable[..., Fake]


def ask(server: Fake, login: auth.Login, request: Request | None = None) -> int:
    transport = Transport(Settings(server.url, auth=login, trust_env=False))
    try:
        with transport.exchange(request or Request("GET", server.url)) as response:
            response.read()
            return response.status
    finally:
        transport.close()


def guard(*good: str) -> Callable[[Seen], Answer]:
    return lambda seen: Answer(200 if seen.header("Authorization") in good else 401)


def test_basic_sends_the_pair_as_utf8_and_asks_once(fake_server: FakeServer) -> None:
    server = fake_server(lambda _: Answer())
    asked: list[str] = []

    def password() -> str:
        asked.append("x")
        return "pä:ss"

    login = auth.basic(server.origin, "alice", password)
    assert asked == []
    ask(server, login)
    ask(server, login)
    sent = server.requests[1].header("Authorization") or ""
    assert base64.b64decode(sent.removeprefix("Basic ")).decode() == "alice:pä:ss"
    assert asked == ["x"]


def test_a_refused_password_is_sent_once(fake_server: FakeServer) -> None:
    server = fake_server(lambda _: Answer(401))
    assert ask(server, auth.basic(server.origin, "alice", lambda: "wrong")) == 401
    assert len(server.requests) == 1


def test_a_token_that_expired_is_asked_for_again_once(fake_server: FakeServer) -> None:
    tokens = iter(["old", "new"])
    server = fake_server(guard("Bearer new"))
    login = auth.bearer(server.origin, lambda: next(tokens), renewable=True)
    assert ask(server, login) == 200
    assert ask(server, login) == 200
    assert [r.header("Authorization") for r in server.requests] == ["Bearer old", "Bearer new", "Bearer new"]
    refusing = fake_server(lambda _: Answer(401))
    others = iter(["a", "b", "c"])
    assert ask(refusing, auth.bearer(refusing.origin, lambda: next(others), renewable=True)) == 401
    assert len(refusing.requests) == 2
    # The same token once more would only send an upload twice.
    assert ask(refusing, auth.bearer(refusing.origin, lambda: "t", renewable=True)) == 401
    assert len(refusing.requests) == 3


def test_a_token_that_cannot_change_is_not_asked_for_again(fake_server: FakeServer) -> None:
    server = fake_server(lambda _: Answer(401))
    assert ask(server, auth.bearer(server.origin, lambda: "t", renewable=False)) == 401
    assert len(server.requests) == 1


def test_threads_ask_for_one_token_together(fake_server: FakeServer) -> None:
    asked: list[int] = []

    def token() -> str:
        asked.append(1)
        time.sleep(0.05)
        return "old" if len(asked) == 1 else "new"

    gate = threading.Barrier(4)

    def handler(seen: Seen) -> Answer:
        if seen.header("Authorization") == "Bearer old":
            gate.wait(60)  # all four have sent the old token before one is told so
            return Answer(401)
        return Answer(200)

    server = fake_server(handler)
    login = auth.bearer(server.origin, token, renewable=True)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(ask(server, login))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [200] * 4
    assert len(asked) == 2


def test_an_upload_is_replayed_whole_after_a_401(fake_server: FakeServer) -> None:
    tokens = iter(["old", "new"])
    server = fake_server(guard("Bearer new"))
    files = [b"a" * 300_000, b"b"]
    body = Multipart([Part(len(data), lambda data=data: [data]) for data in files])  # type: ignore[misc]
    login = auth.bearer(server.origin, lambda: next(tokens), renewable=True)
    assert ask(server, login, Request("POST", server.url, {}, body)) == 200
    first, second = server.requests
    assert first.body == second.body
    assert second.size == body.length == int(second.header("Content-Length") or 0)
    assert second.header("Transfer-Encoding") is None


@pytest.mark.parametrize("token", ["", "a b", "a\nb", "a\x7fb"])
def test_a_token_that_would_break_the_header_is_a_login_error(token: str, fake_server: FakeServer) -> None:
    server = fake_server(lambda _: Answer())
    with pytest.raises(AuthError) as caught:
        ask(server, auth.bearer(server.origin, lambda: token, renewable=False))
    assert caught.value.hint
    assert server.requests == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://h/x", "http://H:80", True),
        ("https://h", "https://h:443/y", True),
        ("http://h", "https://h", False),
        ("http://h:80", "http://h:8080", False),
        ("http://h", "http://h.evil", False),
        ("http://u@h", "http://h", True),
    ],
)
def test_origins(one: str, other: str, same: bool) -> None:
    assert (origin_of_url(one) == origin_of_url(other)) is same
