"""Fixtures around upstream_fixture.py."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from upstream_fixture import HOSTS, LOCK, Authority, Handler, Proxy, Upstream


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("ca")
    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])

    def certificate(subject: x509.Name, public: Any) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
        )

    ca = certificate(ca_name, ca_key.public_key()).add_extension(x509.BasicConstraints(True, None), critical=True)
    names = [x509.DNSName(name) for name in HOSTS] + [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    server = certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "upstream")]), key.public_key())
    server = server.add_extension(x509.SubjectAlternativeName(names), critical=False)
    made = Authority(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    pem = serialization.Encoding.PEM
    made.file.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    made.certificate.write_bytes(server.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    made.key.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )  # fmt: skip
    return made


@pytest.fixture
def serve(authority: Authority) -> Iterator[Callable[[], Upstream]]:
    servers: list[ThreadingHTTPServer] = []

    def start() -> Upstream:
        upstream = Upstream()
        handler = type("Handler", (Handler,), {"upstream": upstream})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.certificate, authority.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        upstream.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return upstream

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def upstream(serve: Callable[[], Upstream]) -> Upstream:
    return serve()


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[Proxy]:
    listener = socket.create_server(("127.0.0.1", 0))
    made = Proxy(listener.getsockname()[1], upstream.port)

    def serve_one(client: socket.socket) -> None:
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                if not (data := client.recv(4096)):
                    return
                head += data
            made.asked.append(head.split(b" ")[1].decode())
            word = base64.b64encode(b"user:p@ss word")
            if b"proxy-authorization: basic " + word.lower() not in head.lower():
                made.refused += 1
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            with socket.create_connection(("127.0.0.1", made.target)) as server:
                pair = {client: server, server: client}
                while True:
                    for ready in select.select(list(pair), [], [], 10)[0]:
                        if not (data := ready.recv(65536)):
                            return
                        pair[ready].sendall(data)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve_one, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield made
    listener.close()


@pytest.fixture
def write_lock(tmp_path: Path) -> Callable[[str], Path]:
    """A lock with these components (indented by two) and nothing else."""

    def write(components: str) -> Path:
        path = tmp_path / "components.lock.yaml"
        path.write_text(LOCK.format(components=components))
        return path

    return write
