"""The transport: finished URLs, retries, redirects, time-outs, and every failure as a DwError."""

import inspect
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Literal

import httpx
import pytest

from dwcli.dicomweb.request import Request
from dwcli.errors import (
    AbsentError,
    AuthError,
    DwError,
    ExitCode,
    ProtocolError,
    RefusedError,
    TemporaryError,
    TruncatedError,
    UsageError,
)
from dwcli.net import auth
from dwcli.net.body import Bytes
from dwcli.net.failures import translate
from dwcli.net.settings import Settings, origin_of_url
from dwcli.net.transport import Transport, retry_after
from servers.certificates import Certificates
from servers.fake import Answer, Fake
from servers.fake import Request as Asked
from servers.machine import Clock
from servers.process import free_port

FakeServer = Callable[..., Fake]


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Transport]]:
    """`transport(base, **settings)`; pauses between tries are counted, not slept."""
    opened: list[Transport] = []

    def make(base: str, **settings: object) -> Transport:
        made = Transport(Settings(base, trust_env=False)._replace(**settings))  # type: ignore[arg-type]
        made.pauses = []  # type: ignore[attr-defined]

        def wait(seconds: float | None = None) -> bool:
            made.pauses.append(seconds)  # type: ignore[attr-defined]
            return made._stopped.is_set()

        monkeypatch.setattr(made._stopped, "wait", wait)
        opened.append(made)
        return made

    yield make
    for each in opened:
        each.close()


def fetch(transport: Transport, url: str, **options: object) -> bytes:
    with transport.stream(Request("GET", url, **options)) as response:  # type: ignore[arg-type]
        return response.read()


def _classes() -> list[type[Exception]]:
    found = [c for _, c in inspect.getmembers(httpx, inspect.isclass) if issubclass(c, Exception)]
    # Base classes that httpx itself never raises.
    bases = {httpx.HTTPError, httpx.RequestError, httpx.TransportError, httpx.NetworkError, httpx.ProtocolError}
    return [c for c in found if c not in bases | {httpx.TimeoutException, httpx.StreamError}]


def _make(kind: type[Exception]) -> Exception:
    match kind:
        case httpx.HTTPStatusError:
            request = httpx.Request("GET", "http://h/")
            return httpx.HTTPStatusError("x", request=request, response=httpx.Response(500, request=request))
        case httpx.RequestNotRead | httpx.ResponseNotRead | httpx.StreamClosed | httpx.StreamConsumed:
            return kind()
        case _:
            return kind("the reason")


@pytest.mark.parametrize("reading", [False, True])
@pytest.mark.parametrize("kind", _classes(), ids=lambda kind: kind.__name__)
def test_every_httpx_error_becomes_an_error_with_a_hint_of_its_own(kind: type[Exception], reading: bool) -> None:
    error = translate(_make(kind), "pacs:8042", reading=reading)
    assert isinstance(error, DwError)
    assert "pacs:8042" in error.message
    assert error.hint
    assert "please report it" not in error.hint, "an unmapped error"


def test_an_error_that_is_new_in_httpx_is_still_a_dw_error() -> None:
    class NewError(httpx.TransportError):
        pass

    error = translate(NewError("what"), "pacs")
    assert "what" in error.message
    assert "please report it" in error.hint


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, RefusedError, ExitCode.FAILED),
        (401, AuthError, ExitCode.AUTH),
        (403, AuthError, ExitCode.AUTH),
        (404, AbsentError, ExitCode.ABSENT),
        (407, AuthError, ExitCode.AUTH),
        (408, TemporaryError, ExitCode.TEMPORARY),
        (410, AbsentError, ExitCode.ABSENT),
        (500, RefusedError, ExitCode.FAILED),
        (501, RefusedError, ExitCode.FAILED),
        (503, TemporaryError, ExitCode.TEMPORARY),
    ],
)
def test_a_status_means_an_error_with_the_servers_words(
    status: int, kind: type[DwError], code: ExitCode, fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    server = fake_server(lambda _: Answer(status, {}, b'{"Message": "no", "Details": "Bad tag"}'))
    with pytest.raises(kind, match="Bad tag") as caught:
        fetch(transport(server.url, tries=1), server.url)
    assert caught.value.exit_code is code
    assert str(status) in caught.value.message


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("text/html", b"<html><head><title>502\n Bad Gateway</title>", "502 Bad Gateway"),
        ("text/plain", b"  no such\n study ", "no such study"),
        ("application/xml", b"<e><m>No such</m><d>study</d></e>", "No such study"),
        ("application/json", b'{"error": {"message": "quota"}}', "quota"),
        ("application/json", b'{"error": "x", "errorMessage": "dcm4chee says"}', "dcm4chee says"),
        ("application/octet-stream", b"\0\1\2", ""),
    ],
)
def test_a_refusal_is_told_in_one_line(
    kind: str, body: bytes, words: str, fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    server = fake_server(lambda _: Answer(400, {"Content-Type": kind}, body))
    with pytest.raises(RefusedError) as caught:
        fetch(transport(server.url), server.url)
    assert caught.value.message.endswith(f": {words}" if words else "(400)")


def test_a_status_counts_although_its_words_were_cut(
    fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    server = fake_server(lambda _: Answer(404, {"Content-Type": "text/plain"}, b"no su", length=900, cut=True))
    with pytest.raises(AbsentError):
        fetch(transport(server.url), server.url)


@pytest.mark.parametrize(
    "target",
    [
        "/a/studies/%2E%2E/series/..%2F..%2Fx",
        "/a/studies/../x/./y//z",
        "/a/studies/4300",
        "/a/studies?PatientName=Buc^*,a/b-[1]|2&limit=1",
        "/a/studies?PatientName=%5E%2A+%20",
        "/a//studies/1.2;v=1",
    ],
)
def test_the_url_is_sent_exactly_as_built(
    target: str, fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    server = fake_server(lambda _: Answer())
    fetch(transport(server.url), server.origin + target)
    assert server.requests[0].target == target
    assert server.requests[0].header("Host") == server.origin.removeprefix("http://")


@pytest.mark.parametrize("bad", ["/a b", "/é", "/a\r\nX: y"])
def test_a_url_that_http_cannot_carry_is_an_error_and_no_crash(
    bad: str, fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    server = fake_server(lambda _: Answer())
    with pytest.raises(DwError):
        fetch(transport(server.url), server.origin + bad)
    assert not any("X" in name for r in server.requests for name, _ in r.headers if name == "X")


def test_headers_of_the_profile_yield_to_those_of_the_request(
    fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    server = fake_server(lambda _: Answer())
    made = transport(server.url, headers={"X-Site": "north", "user-agent": "me"})
    fetch(made, server.url, headers={"Accept": "a/b", "Accept-Encoding": "identity"})
    got = server.requests[0]
    assert [v for k, v in got.headers if k.lower() == "user-agent"] == ["me"]
    assert [v for k, v in got.headers if k.lower() == "accept-encoding"] == ["identity"]
    assert (got.header("X-Site"), got.header("Accept")) == ("north", "a/b")


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_a_status_that_may_pass_is_tried_again(
    status: int, fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    answers = iter([Answer(status), Answer(status), Answer(200, {}, b"ok")])
    server = fake_server(lambda _: next(answers))
    made = transport(server.url)
    assert fetch(made, server.url) == b"ok"
    first, second = made.pauses  # type: ignore[attr-defined]
    assert 0.2 <= first <= 0.5 <= second <= 1.0
    assert made.throttled == (2 if status in (429, 503) else 0)


@pytest.mark.parametrize("status", [400, 401, 404, 409, 500, 501])
def test_any_other_status_is_not_tried_again(
    status: int, fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    server = fake_server(lambda _: Answer(status))
    with pytest.raises(DwError):
        fetch(transport(server.url), server.url)
    assert len(server.requests) == 1


def test_tries_end_with_the_servers_own_answer(fake_server: FakeServer, transport: Callable[..., Transport]) -> None:
    server = fake_server(lambda _: Answer(503, {"Content-Type": "text/plain"}, b"maintenance"))
    with pytest.raises(TemporaryError, match="maintenance"):
        fetch(transport(server.url, tries=3), server.url)
    assert len(server.requests) == 3


def test_what_must_not_be_repeated_is_sent_once(fake_server: FakeServer, transport: Callable[..., Transport]) -> None:
    server = fake_server(lambda _: Answer(503))
    with pytest.raises(TemporaryError):
        fetch(transport(server.url), server.url, repeatable=False)
    with pytest.raises(TemporaryError):
        fetch(transport(f"http://127.0.0.1:{free_port()}", tries=3), server.url, repeatable=False)
    assert len(server.requests) == 2


def test_a_connection_that_ends_before_an_answer_is_tried_again(
    fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    server = fake_server(lambda _: Answer(200, {}, b"ok"))
    drops = [True, True]

    def early(_: object) -> None:
        if drops:
            drops.pop()
            raise ConnectionResetError

    server.early = early
    assert fetch(transport(server.url), server.url) == b"ok"
    assert not drops


def test_nobody_there_is_temporary_and_says_so(transport: Callable[..., Transport]) -> None:
    base = f"http://127.0.0.1:{free_port()}"
    made = transport(base, tries=3)
    with pytest.raises(TemporaryError, match="cannot connect") as caught:
        fetch(made, base)
    assert caught.value.hint
    assert len(made.pauses) == 2  # type: ignore[attr-defined]
    hasty = transport(base, patience=0.1)
    with pytest.raises(TemporaryError, match="cannot connect") as caught:
        fetch(hasty, base)
    assert caught.value.hint
    assert hasty.pauses == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "base", ["http://a..b/x", "http://no-such-host.invalid/x", "http://bücher.invalid/x", f"http://{'a' * 70}.example/"]
)
def test_a_host_without_an_address_is_an_error_with_a_hint(base: str, transport: Callable[..., Transport]) -> None:
    with pytest.raises(DwError) as caught:
        fetch(transport(base, tries=1), base)
    assert caught.value.hint


@pytest.mark.parametrize("url", ["http://[::1/x", "http://exa mple/", "http://h:99999999/x"])
def test_an_address_that_is_none_is_wrong_usage(url: str) -> None:
    with pytest.raises(UsageError):
        origin_of_url(url)


@pytest.mark.parametrize("proxy", ["proxy:3128x", "gopher://h", "socks5://127.0.0.1:1"])
def test_a_proxy_that_cannot_be_used_is_wrong_usage(proxy: str) -> None:
    with pytest.raises(UsageError, match="proxy"):
        Transport(Settings("http://127.0.0.1", proxy=proxy, trust_env=False)).close()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Fri, 20 Nov 2026 10:00:30 GMT", 30.0),
        ("Fri, 20 Nov 2026 09:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("Fri, 20 Nov 99999 10:00:30 GMT", None),
        ("Fri, 20 Nov 2026 10:00:30 +99999999", None),
    ],
)
def test_retry_after_is_read_in_both_forms(header: str, seconds: float | None) -> None:
    assert retry_after(header, 1795168800.0) == seconds


def test_retry_after_is_obeyed_up_to_the_patience(fake_server: FakeServer, transport: Callable[..., Transport]) -> None:
    answers = iter([Answer(429, {"Retry-After": "7"}), Answer(200)] + [Answer(503, {"Retry-After": "9999"})] * 2)
    server = fake_server(lambda _: next(answers))
    made = transport(server.url)
    fetch(made, server.url)
    assert made.pauses == [7.0]  # type: ignore[attr-defined]
    with pytest.raises(TemporaryError):
        fetch(made, server.url)
    assert len(server.requests) == 3


def test_redirects_within_the_origin_are_followed_for_reads(
    fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    def handler(request: object) -> Answer:
        match request.target:  # type: ignore[attr-defined]
            case "/a/b":
                return Answer(302, {"Location": "../c?x=^"})
            case "/c?x=^":
                return Answer(307, {"Location": f"{server.origin}/d"})
            case _:
                return Answer(200, {}, b"here")

    server = fake_server(handler)
    made = transport(server.url, auth=auth.basic(server.origin, "alice", lambda: "secret"))
    assert fetch(made, server.origin + "/a/b") == b"here"
    assert all(r.header("Authorization") for r in server.requests)


def test_credentials_never_go_to_another_origin(fake_server: FakeServer, transport: Callable[..., Transport]) -> None:
    other = fake_server(lambda _: Answer(200, {}, b"stolen"))
    server = fake_server(lambda _: Answer(302, {"Location": f"{other.url}/login", "Set-Cookie": "s=1"}))
    made = transport(server.url, auth=auth.basic(server.origin, "alice", lambda: "secret"), headers={"X-Api-Key": "k"})
    with pytest.raises(AuthError, match="redirect"):
        fetch(made, server.url)
    assert other.requests == []
    # An absolute URL that someone hands in: no login, no header of the profile.
    assert fetch(made, f"{other.url}/x") == b"stolen"
    names = {name.lower() for name, _ in other.requests[0].headers}
    assert not names & {"authorization", "x-api-key"}


@pytest.mark.parametrize(
    "location", ["http://[::1/x", "//[", "http://u:p@127.0.0.1:1/é", "mailto:a@b", "http://" + "a" * 70000]
)
def test_a_hostile_redirect_is_an_error_and_no_crash(
    location: str, fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    server = fake_server(lambda _: Answer(302, {"Location": location.encode().decode("latin-1")}))
    with pytest.raises(DwError):
        fetch(transport(server.url, tries=1), server.url)


def test_redirects_in_a_circle_end(fake_server: FakeServer, transport: Callable[..., Transport]) -> None:
    server = fake_server(lambda _: Answer(302, {"Location": "/"}))
    with pytest.raises(ProtocolError, match="redirects in a loop"):
        fetch(transport(server.url), server.url)
    assert len(server.requests) < 10


def test_an_upload_is_not_redirected(fake_server: FakeServer, transport: Callable[..., Transport]) -> None:
    server = fake_server(lambda _: Answer(307, {"Location": "/elsewhere"}))
    upload = Request("POST", server.url, {}, Bytes(b"x"))
    with pytest.raises(AuthError, match="not followed"), transport(server.url).stream(upload):
        pass
    assert len(server.requests) == 1


def test_silence_before_an_answer_counts_as_patience(
    fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    over = threading.Event()
    server = fake_server(lambda _: (over.wait(60), Answer())[1])
    clock = Clock()
    try:
        with pytest.raises(TemporaryError, match="accepted the request but sent no response in time") as caught:
            fetch(transport(server.url, first_byte=0.2, patience=0.3), server.url)
        soon = clock.within(2)
    finally:
        over.set()
    assert "--timeout" in caught.value.hint
    assert soon, clock
    assert len(server.requests) <= 2


def test_silence_within_an_answer_has_a_limit_of_its_own(
    fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    body: list[bytes | float] = [b"a" * 10, 1.5, b"b" * 10]
    server = fake_server(lambda _: Answer(200, {}, body, framing="chunked"))
    with pytest.raises(TemporaryError, match="stopped sending in the middle of its response"):
        fetch(transport(server.url, silence=0.2, first_byte=30.0), server.url)
    # In all more than the limit, and no pause near it.
    slow: list[bytes | float] = [b"a", 0.2] * 6
    server = fake_server(lambda _: Answer(200, {}, slow, framing="chunked"))
    assert fetch(transport(server.url, silence=1.0, first_byte=10.0), server.url) == b"aaaaaa"


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_answer_is_truncated(
    framing: Literal["length", "chunked"], reset: bool, fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    server = fake_server(
        lambda _: Answer(
            200, {}, b"abc", framing=framing, length=100 if framing == "length" else None, cut=True, reset=reset
        )
    )
    with pytest.raises(TruncatedError) as caught:
        fetch(transport(server.url), server.url)
    assert caught.value.hint


def test_an_answer_says_whether_http_proves_its_end(
    fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    framings = iter(["length", "chunked", "close"])
    server = fake_server(lambda _: Answer(200, {}, b"abc", framing=next(framings)))  # type: ignore[arg-type]
    found = []
    for _ in range(3):
        with transport(server.url).stream(Request("GET", server.url)) as response:
            found.append((response.framed, response.length))
            assert response.read() == b"abc"
    assert found == [(True, 3), (True, None), (False, None)]


def test_a_body_that_cannot_be_decompressed_is_an_error(
    fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    server = fake_server(lambda _: Answer(200, {"Content-Encoding": "gzip"}, b"not gzip"))
    with pytest.raises(ProtocolError, match="damaged gzip body"):
        fetch(transport(server.url), server.url)


def test_an_untrusted_certificate_names_the_remedy(
    fake_server: FakeServer, transport: Callable[..., Transport], certificates: Certificates
) -> None:
    server = fake_server(lambda _: Answer(200, {}, b"ok"), tls=certificates.server_context())
    with pytest.raises(DwError, match="not trusted") as caught:
        fetch(transport(server.url), server.url)
    assert "--ca" in caught.value.hint
    assert caught.value.exit_code is ExitCode.FAILED
    trusting = ssl.create_default_context(cafile=str(certificates.ca))
    assert fetch(transport(server.url, verify=trusting), server.url) == b"ok"


def test_http_spoken_to_a_tls_port_and_the_reverse_are_errors_with_a_hint(
    fake_server: FakeServer, transport: Callable[..., Transport], certificates: Certificates
) -> None:
    plain = fake_server(lambda _: Answer())
    with pytest.raises(DwError) as caught:
        fetch(transport(f"https://127.0.0.1:{plain.port}", tries=1), f"https://127.0.0.1:{plain.port}/")
    assert "https" in caught.value.hint


def test_stop_wakes_a_reader_and_refuses_what_follows(
    fake_server: FakeServer, transport: Callable[..., Transport]
) -> None:
    over = threading.Event()

    def body() -> Iterator[bytes]:
        yield b"a"
        over.wait(60)

    server = fake_server(lambda _: Answer(200, {}, body(), framing="chunked"))
    made = transport(server.url)
    ended: list[bool] = []

    def read() -> None:
        try:
            fetch(made, server.url)
        except DwError:
            ended.append(clock.within(0.5))

    reader = threading.Thread(target=read)
    reader.start()
    while not server.requests:
        time.sleep(0.005)
    time.sleep(0.05)
    clock = Clock()
    made.stop()
    reader.join(30)
    over.set()
    assert ended == [True], clock
    with pytest.raises(TemporaryError, match="stopped"):
        fetch(made, server.url)


def test_an_address_that_never_answered_is_given_up_soon(transport: Callable[..., Transport]) -> None:
    made = transport(f"http://127.0.0.1:{free_port()}")
    clock = Clock()
    with pytest.raises(TemporaryError), made.exchange(Request("GET", f"{made._settings.base}/studies")):
        pass
    assert clock.within(4), clock


def test_the_log_names_requests_and_retries_and_no_secret(fake_server: FakeServer) -> None:
    answers = iter([Answer(503, {"Retry-After": "0"}), Answer(200)])
    server = fake_server(lambda _: next(answers))
    said: list[tuple[int, str]] = []
    made = Transport(
        Settings(server.url, auth=auth.bearer(server.origin, lambda: "t0ken", renewable=False), trust_env=False),
        log=lambda level, text: said.append((level, text)),
    )
    fetch(made, server.url)
    made.close()
    assert any(level == 1 and "503" in text for level, text in said)
    assert sum(level == 2 and text.startswith("> GET") for level, text in said) == 2
    assert "t0ken" not in str(said)


def test_a_name_without_an_address_points_at_the_profile(
    transport: Callable[..., Transport], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(TemporaryError, match=r"cannot resolve pacs\.example\.org") as caught:
        fetch(transport("http://pacs.example.org", tries=1), "http://pacs.example.org/")
    assert "profile show" in caught.value.hint


def test_somebody_who_watches_is_told_once_that_an_answer_is_long_in_coming(
    fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    slow = threading.Event()
    monkeypatch.setattr("dwcli.net.transport._SLOW", 0.05)

    def answer(asked: Asked) -> Answer:
        if asked.target.startswith("/slow"):
            slow.wait(30)
        return Answer(200, {}, b"ok")

    def tell(text: str) -> None:
        told.append(text)
        slow.set()

    server = fake_server(answer)
    with closing(Transport(Settings(server.url, trust_env=False), slow=tell)) as made:
        assert fetch(made, f"{server.url}/slow") == b"ok"
        slow.clear()
        threading.Timer(0.3, slow.set).start()
        assert fetch(made, f"{server.url}/slow") == b"ok"
    assert len(told) == 1 and "--timeout" in told[0]


def test_an_error_that_quotes_the_credential_is_raised_anew_without_it(fake_server: FakeServer) -> None:
    server = fake_server(lambda _: Answer(200))
    login = auth.bearer(server.origin, lambda: "s3cret-token", renewable=False)
    quoted = TemporaryError("the server said s3cret-token", "later")
    with (
        closing(Transport(Settings(server.url, auth=login, trust_env=False))) as made,
        pytest.raises(TemporaryError) as caught,
        made.exchange(Request("GET", f"{server.url}/studies")),
    ):
        raise quoted
    assert (caught.value.message, caught.value.hint) == ("the server said (hidden)", "later")
    assert caught.value.__suppress_context__
    assert quoted.message == "the server said s3cret-token"
