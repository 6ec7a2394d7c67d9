"""The program as its image runs it: by HTTPS, asked by the payload of the checks, and cut off readers end what they
asked."""

from __future__ import annotations

import copy
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fakeapi import FakeApi
from world import EVENTS, JOBS, NODES, PODS

from arena_install.verify import records

ROOT = Path(__file__).resolve().parents[3]
PAYLOADS = ROOT / "installer/arena_install/verify/payloads"
RUN = "from arena_dashboard.main import run; run()"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate for localhost that is its own authority."""
    folder = tmp_path_factory.mktemp("tls")
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "tls.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "tls.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder


@pytest.fixture
def world() -> Iterator[FakeApi]:
    with FakeApi() as api:
        api.add(*copy.deepcopy([*JOBS, *PODS, *NODES, *EVENTS]))
        api.people = {"alice-token": "system:serviceaccount:default:dashboard", "t": "own"}
        api.logs["default/pt-run-master-0/"] = "a word of mine\n"
        yield api


def environment(world: FakeApi, folder: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if "proxy" not in key.lower() and "KUBE" not in key}
    return {
        **kept,
        "PYTHONPATH": str(ROOT / "installer"),
        "HOME": str(folder),
        "KUBECONFIG": str(world.kubeconfig(folder / "kubeconfig")),
    }


@pytest.fixture
def base(world: FakeApi, tls: Path, tmp_path: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    links = tmp_path / "links.json"
    links.write_text(json.dumps([{"title": "Elsewhere", "url": "https://elsewhere.example"}]))
    command = [sys.executable, "-c", RUN, f"--port={port}", f"--tls={tls}", "--title=lab", f"--links={links}"]
    program = subprocess.Popen(command, env=environment(world, tmp_path), stderr=subprocess.PIPE)
    context = ssl.create_default_context(cafile=str(tls / "tls.crt"))
    for _ in range(200):
        try:
            urllib.request.urlopen(f"https://localhost:{port}/healthz", context=context, timeout=5).close()
            break
        except OSError:
            assert program.poll() is None, program.stderr and program.stderr.read()
            time.sleep(0.1)
    yield f"https://localhost:{port}"
    program.terminate()
    program.wait(10)


def browse(base: str, token: str, ca: Path | None, *pages: str) -> dict[str, dict[str, Any]]:
    kept = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    done = subprocess.run(
        [sys.executable, str(PAYLOADS / "web_pages.py"), base, *pages],
        env={**kept, "TOKEN": token, "CA": ca.read_text() if ca else ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {str(row.get("path", "login")): row for row in records.records(done.stdout)}


def test_the_payload_of_the_checks_sees_what_there_is(base: str, tls: Path) -> None:
    pages = (
        "/=pt-run",
        "/?=Elsewhere",
        "/logs/default/pt-run-master-0/text=a word of mine",
        "/jobs/team/theirs=theirs-",
    )
    seen = browse(base, "alice-token", tls / "tls.crt", *pages)
    assert seen["login"] == {"kind": "login", "status": 200, "cookie": True, "checked": True}
    assert {path: (row["stranger"], row["status"], row["there"]) for path, row in seen.items() if path != "login"} == {
        "/": (401, 200, True),
        "/?": (401, 200, True),
        "/logs/default/pt-run-master-0/text": (401, 200, True),
        "/jobs/team/theirs": (401, 403, False),
    }
    assert not any(row.get("leaked") for row in seen.values())


def test_the_payload_tells_a_login_that_fails_and_a_certificate_of_others(base: str, tls: Path) -> None:
    seen = browse(base, "of-nobody", None, "/=pt-run")
    assert seen["login"] == {"kind": "login", "status": 401, "cookie": False, "checked": False}
    assert (seen["/"]["status"], seen["/"]["there"]) == (401, False)
    address = base.replace("localhost", "127.0.0.1")
    with pytest.raises(AssertionError, match="CERTIFICATE_VERIFY_FAILED"):
        browse(address, "alice-token", tls / "tls.crt", "/=x")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--tls=/nowhere"], "/nowhere: the certificate can't be used"),
        (["--links=/nowhere"], "/nowhere: the links can't be read"),
    ],
)
def test_what_it_can_not_begin_with_is_said(world: FakeApi, tmp_path: Path, options: list[str], says: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, *options],
        env=environment(world, tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr
