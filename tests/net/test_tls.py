"""TLS: each thing that can be wrong with it says what it is; proxies; what they get to see."""

import datetime
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from dwcli.dicomweb.request import Request
from dwcli.errors import AuthError, DwError, TemporaryError, UsageError
from dwcli.net import auth, tls
from dwcli.net.settings import Settings, origin_of_url
from dwcli.net.transport import Transport
from servers.certificates import Certificates
from servers.fake import Answer, Fake
from servers.nginx import Nginx
from servers.tinyproxy import Tinyproxy


def hello(_asked: object) -> Answer:
    return Answer(200, {"Content-Type": "text/plain"}, b"hello")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def serving(certificate: trustme.LeafCert, *, wants: trustme.CA | None = None, version: str = "") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if wants:
        wants.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    if version:
        context.maximum_version = getattr(ssl.TLSVersion, version)
    return context


def get(url: str, verify: ssl.SSLContext | None, **changed: object) -> bytes:
    settings = Settings(base=url, verify=verify, tries=1, trust_env=False, **changed)  # type: ignore[arg-type]
    transport = Transport(settings)
    try:
        with transport.stream(Request("GET", url + "/studies")) as response:
            return response.read()
    finally:
        transport.close()


@pytest.fixture
def tls_server() -> Iterator[Callable[[ssl.SSLContext], Fake]]:
    opened: list[Fake] = []

    def make(context: ssl.SSLContext) -> Fake:
        opened.append(Fake(hello, tls=context))
        return opened[-1]

    yield make
    for server in opened:
        server.close()


def test_the_named_authority_is_trusted_and_the_systems_alone_is_not_enough(
    tls_server: Callable[[ssl.SSLContext], Fake], authority: trustme.CA, ca: Path
) -> None:
    server = tls_server(serving(authority.issue_cert("127.0.0.1")))
    assert get(server.url, tls.context(ca=ca)) == b"hello"
    with pytest.raises(DwError, match=r"is not trusted") as caught:
        get(server.url, tls.context())
    assert "--ca FILE" in caught.value.hint


def test_a_wrong_authority_says_so(
    tls_server: Callable[[ssl.SSLContext], Fake], authority: trustme.CA, certificates: Certificates
) -> None:
    server = tls_server(serving(authority.issue_cert("127.0.0.1")))
    with pytest.raises(DwError, match="is not trusted"):
        get(server.url, tls.context(ca=certificates.other_ca))


@pytest.mark.parametrize(
    ("days", "words"), [(-1, "has expired"), (400, "not valid yet")], ids=["expired", "not yet valid"]
)
def test_a_certificate_out_of_its_time_says_so(
    tls_server: Callable[[ssl.SSLContext], Fake], authority: trustme.CA, ca: Path, days: int, words: str
) -> None:
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    start = end - datetime.timedelta(days=10)
    server = tls_server(serving(authority.issue_cert("127.0.0.1", not_before=start, not_after=end)))
    with pytest.raises(DwError, match=words):
        get(server.url, tls.context(ca=ca))


@pytest.mark.parametrize("name", ["pacs.example.org", "127.0.0.2"])
def test_a_certificate_for_another_name_says_so(
    tls_server: Callable[[ssl.SSLContext], Fake], authority: trustme.CA, ca: Path, name: str
) -> None:
    server = tls_server(serving(authority.issue_cert(name)))
    with pytest.raises(DwError, match="is for another name"):
        get(server.url, tls.context(ca=ca))


def test_insecure_asks_for_no_certificate(tls_server: Callable[[ssl.SSLContext], Fake], authority: trustme.CA) -> None:
    server = tls_server(serving(authority.issue_cert("elsewhere.example.org")))
    assert get(server.url, tls.context(insecure=True)) == b"hello"


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_missing_and_a_strange_client_certificate_say_so(
    tls_server: Callable[[ssl.SSLContext], Fake],
    authority: trustme.CA,
    ca: Path,
    certificates: Certificates,
    version: str,
) -> None:
    server = tls_server(serving(authority.issue_cert("127.0.0.1"), wants=authority, version=version))
    with pytest.raises(DwError) as caught:
        get(server.url, tls.context(ca=ca))
    if not isinstance(caught.value, TemporaryError):  # the alert may be lost to the reset that follows it
        assert isinstance(caught.value, AuthError)
        assert "require" in caught.value.message
        assert "--client-cert" in caught.value.hint
    with pytest.raises(DwError) as caught:
        get(server.url, tls.context(ca=ca, client_cert=certificates.client))
    if not isinstance(caught.value, TemporaryError):
        assert "client certificate" in caught.value.message


def test_nginx_says_in_html_that_it_wants_a_client_certificate(tmp_path: Path, certificates: Certificates) -> None:
    with (
        Fake(hello) as behind,
        Nginx(tmp_path, behind.url, certificates=certificates, client_certificate=True) as nginx,
    ):
        with pytest.raises(AuthError, match="requires a client certificate") as caught:
            get(nginx.url, tls.context(ca=certificates.ca))
        assert "--client-cert" in caught.value.hint
        shown = tls.context(ca=certificates.ca, client_cert=certificates.client)
        assert get(nginx.url, shown) == b"hello"
        two = tls.context(
            ca=certificates.ca, client_cert=certificates.client_certificate, client_key=certificates.client_key
        )
        assert get(nginx.url, two) == b"hello"
        with pytest.raises(DwError, match="speaks TLS") as plain:
            get(nginx.url.replace("https", "http"), None)
        assert "https://" in plain.value.hint


def test_https_to_a_port_without_tls_says_so() -> None:
    with Fake(hello) as server, pytest.raises(DwError, match=r"does not speak TLS|ended the TLS"):
        get(server.url.replace("http", "https"), tls.context())


@pytest.fixture
def encrypted(tmp_path: Path, certificates: Certificates) -> Path:
    key = serialization.load_pem_private_key(certificates.client_key.read_bytes(), None)
    path = tmp_path / "encrypted.key"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption("geheim-ä".encode()),
        )
    )
    return path


def test_an_encrypted_key_opens_with_its_passphrase(
    tmp_path: Path, certificates: Certificates, encrypted: Path
) -> None:
    def context(passphrase: Callable[[], str] | None) -> ssl.SSLContext:
        return tls.context(
            ca=certificates.ca,
            client_cert=certificates.client_certificate,
            client_key=encrypted,
            passphrase=passphrase,
        )

    with (
        Fake(hello) as behind,
        Nginx(tmp_path, behind.url, certificates=certificates, client_certificate=True) as nginx,
    ):
        assert get(nginx.url, context(lambda: "geheim-ä")) == b"hello"
    with pytest.raises(AuthError, match="passphrase does not open") as caught:
        context(lambda: "wrong-one")
    assert "wrong-one" not in str(caught.value)
    with pytest.raises(AuthError, match="is encrypted"):
        context(None)


def test_no_passphrase_is_asked_for_where_the_key_is_plain(certificates: Certificates) -> None:
    def asked() -> str:
        raise AssertionError("asked")

    tls.context(client_cert=certificates.client, passphrase=asked)


@pytest.mark.parametrize("what", ["ca", "client_cert"])
@pytest.mark.parametrize("content", [None, b"no PEM\n"])
def test_a_file_that_is_no_certificate_is_named(tmp_path: Path, what: str, content: bytes | None) -> None:
    path = tmp_path / "odd.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"odd\.pem"):
        tls.context(**{what: path})  # type: ignore[arg-type]


# Proxies


def test_a_proxy_carries_http_and_https(
    tmp_path: Path, tls_server: Callable[[ssl.SSLContext], Fake], authority: trustme.CA, ca: Path
) -> None:
    with Tinyproxy(tmp_path) as proxy, Fake(hello) as plain:
        assert get(plain.url, None, proxy=proxy.url) == b"hello"
        secure = tls_server(serving(authority.issue_cert("127.0.0.1")))
        assert get(secure.url, tls.context(ca=ca), proxy=proxy.url) == b"hello"
        assert f"CONNECT 127.0.0.1:{secure.port}" in proxy.log


@pytest.mark.parametrize("secure", [False, True])
def test_a_proxy_that_wants_a_login_is_not_mistaken_for_the_server(
    tmp_path: Path, tls_server: Callable[[ssl.SSLContext], Fake], authority: trustme.CA, ca: Path, secure: bool
) -> None:
    with Tinyproxy(tmp_path, login=("pat", "proxy-pass")) as proxy, Fake(hello) as plain:
        server = tls_server(serving(authority.issue_cert("127.0.0.1"))) if secure else plain
        verify = tls.context(ca=ca) if secure else None
        with pytest.raises(AuthError, match=r"the proxy for .* requires a login") as caught:
            get(server.url, verify, proxy=proxy.url)
        assert "HTTP_PROXY" in caught.value.hint
        assert get(server.url, verify, proxy=proxy.url_with_login) == b"hello"


def test_a_proxy_never_sees_the_credential_of_an_https_server() -> None:
    with Fake(lambda _asked: Answer(502)) as proxy:
        url = "https://pacs.example.org"
        login = auth.basic(origin_of_url(url), "alice", lambda: "secret")
        with pytest.raises(DwError):
            get(url, tls.context(), proxy=proxy.url, auth=login)
        assert [asked.method for asked in proxy.requests] == ["CONNECT"]
        assert proxy.requests[0].header("Authorization") is None
