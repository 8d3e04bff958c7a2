"""A certificate authority of the tests' own, with a server and a client certificate as PEM files."""

import ssl
from pathlib import Path

import trustme


class Certificates:
    """PEM files in `folder`, for 127.0.0.1 and localhost, and a client called alice.

    `other_ca` is an authority that signed none of them.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = folder / "ca.pem"
        self.other_ca = folder / "other-ca.pem"
        self.server = folder / "server.pem"  # certificate chain
        self.server_key = folder / "server.key"
        self.client = folder / "alice.pem"  # certificate chain and key in one file
        self.client_certificate = folder / "alice.crt"
        self.client_key = folder / "alice.key"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca))
        trustme.CA().cert_pem.write_to_path(str(self.other_ca))
        server = authority.issue_cert("127.0.0.1", "localhost")
        self.server.write_bytes(b"".join(pem.bytes() for pem in server.cert_chain_pems))
        server.private_key_pem.write_to_path(str(self.server_key))
        client = authority.issue_cert("alice@example.org", common_name="alice")
        client.private_key_and_cert_chain_pem.write_to_path(str(self.client))
        client.private_key_pem.write_to_path(str(self.client_key))
        self.client_certificate.write_bytes(b"".join(pem.bytes() for pem in client.cert_chain_pems))

    def server_context(self) -> ssl.SSLContext:
        """For a TLS server inside the test run."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server, self.server_key)
        return context

    def client_context(self, *, alice: bool = False) -> ssl.SSLContext:
        """For raw requests: trusts `ca`; shows alice's certificate where asked to."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if alice:
            context.load_cert_chain(self.client)
        return context
