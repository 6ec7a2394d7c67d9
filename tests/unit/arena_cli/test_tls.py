"""TLS to the API server: its certificate by the kubeconfig's authority, ours to it, what is said when one is wrong."""

from __future__ import annotations

import base64
import datetime
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from arena_cli.kube import config
from arena_cli.kube.client import Client
from arena_install.errors import UnreachableError


@dataclass(frozen=True)
class Pair:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def make(name: str, signer: Pair | None = None, names: tuple[str, ...] = ()) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .issuer_name(signer.certificate.subject if signer else subject)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False
        )
    return Pair(builder.sign(signer.key if signer else key, hashes.SHA256()), key)


@dataclass(frozen=True)
class Server:
    url: str
    ca: Pair


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It is called kubernetes and answers whoever shows a certificate of its authority with that certificate's name."""
    folder = tmp_path_factory.mktemp("tls")
    ca = make("authority")
    mine = make("server", ca, ("kubernetes",))
    (folder / "pair.pem").write_bytes(mine.pem + mine.key_pem)
    (folder / "ca.pem").write_bytes(ca.pem)

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            peer = self.connection.getpeercert() or {}  # type: ignore[attr-defined]
            name = dict(part[0] for part in peer.get("subject", ())).get("commonName", "")
            data = json.dumps({"who": name}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pair.pem")
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.socket = context.wrap_socket(found.socket, server_side=True)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield Server(f"https://127.0.0.1:{found.server_address[1]}", ca)
    found.shutdown()


def ask(server: Server, tmp_path: Path, user: dict[str, Any], **cluster: Any) -> str:
    file = tmp_path / "kubeconfig"
    file.write_text(
        json.dumps(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": server.url, **cluster}}],
                "users": [{"name": "u", "user": user}],
            }
        )
    )
    return str(Client(config.load(str(file))).get("/version")["who"])


def data(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


def test_both_know_each_other(server: Server, tmp_path: Path) -> None:
    me = make("alice", server.ca)
    user = {"client-certificate-data": data(me.pem), "client-key-data": data(me.key_pem)}
    ca = {"certificate-authority-data": data(server.ca.pem)}
    assert ask(server, tmp_path, user, **ca, **{"tls-server-name": "kubernetes"}) == "alice"
    assert ask(server, tmp_path, {}, **{"insecure-skip-tls-verify": True}) == ""


@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_another_server_is_not_talked_to(wrong: str, server: Server, tmp_path: Path) -> None:
    ca = make("another") if wrong == "authority" else server.ca
    name = {} if wrong == "name" else {"tls-server-name": "kubernetes"}
    with pytest.raises(UnreachableError, match="certificate is not trusted"):
        ask(server, tmp_path, {}, **{"certificate-authority-data": data(ca.pem)}, **name)


def test_the_key_does_not_stay_on_disk(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    me = make("alice", server.ca)
    user = {"client-certificate-data": data(me.pem), "client-key-data": data(me.key_pem)}
    ask(server, tmp_path, user, **{"insecure-skip-tls-verify": True})
    assert [path.name for path in tmp_path.iterdir()] == ["kubeconfig"]
