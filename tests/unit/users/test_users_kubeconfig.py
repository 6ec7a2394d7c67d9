"""The file that is handed over: whole, private, and never over somebody else's."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from arena_install.errors import ConfigError
from arena_install.users import kubeconfig
from arena_install.users.certificate import Certificate
from arena_install.users.kubeconfig import Door
from arena_install.users.names import identity

ALICE = identity("alice", "0a1b2c")
DOOR = Door("lab", {"server": "https://192.0.2.1:6443", "certificate-authority-data": "Q0E="})


def signed(user: str = ALICE, days: float = 30) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user)]), datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Certificate(private, made.public_bytes(pem))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "new" / "alice.kubeconfig"
    kubeconfig.write(path, DOOR, "alice", "space", signed())
    return path


def test_it_is_private_and_whole(file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600 and [entry.name for entry in file.parent.iterdir()] == [file.name]
    found = yaml.safe_load(file.read_text())
    assert found["contexts"][0]["context"] == {"cluster": "lab", "user": "alice", "namespace": "space"}
    assert b"PRIVATE KEY" in base64.b64decode(found["users"][0]["user"]["client-key-data"])


def test_one_that_is_good_is_kept_and_made_private_again(file: Path) -> None:
    file.chmod(0o644)
    until = kubeconfig.usable_until(file, DOOR, ALICE, "space")
    assert until is not None and until > datetime.now(UTC) + timedelta(days=29)
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("door", "user", "space"),
    [
        (Door("lab", {"server": "https://192.0.2.2:6443"}), ALICE, "space"),
        (DOOR, identity("alice", "ffffff"), "space"),
        (DOOR, ALICE, "other"),
    ],
)
def test_one_for_something_else_is_made_anew(file: Path, door: Door, user: str, space: str) -> None:
    assert kubeconfig.usable_until(file, door, user, space) is None


def test_one_that_ends_is_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "k"
    kubeconfig.write(file, DOOR, "alice", "space", signed(days=0.5))
    assert kubeconfig.usable_until(file, DOOR, ALICE, "space") is None
    assert kubeconfig.usable_until(tmp_path / "none", DOOR, ALICE, "space") is None


@pytest.mark.parametrize(
    "text", ["", "x", "[1]", "users: []", "a: [", "users: [{user: {client-certificate-data: eA==}}]"]
)
def test_what_is_no_kubeconfig_of_the_users_is_not_overwritten(tmp_path: Path, text: str) -> None:
    file = tmp_path / "k"
    file.write_text(text)
    with pytest.raises(ConfigError, match="no kubeconfig of alice's"):
        kubeconfig.check_free(file, "alice")
    assert kubeconfig.usable_until(file, DOOR, ALICE, "space") is None


def test_another_users_file_is_not_overwritten(file: Path, tmp_path: Path) -> None:
    kubeconfig.check_free(file, "alice")
    kubeconfig.check_free(tmp_path / "free", "alice")
    for path, name in ((file, "bob"), (tmp_path, "alice")):
        with pytest.raises(ConfigError):
            kubeconfig.check_free(path, name)


def test_the_way_in_is_the_administrators_with_the_ca_inside(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("CA")
    admin = tmp_path / "admin"
    admin.write_text(
        yaml.safe_dump(
            {
                "current-context": "b",
                "contexts": [{"name": "b", "context": {"cluster": "two"}}],
                "clusters": [
                    {"name": "one", "cluster": {"server": "x"}},
                    {"name": "two", "cluster": {"server": "https://192.0.2.1:6443", "certificate-authority": "ca.crt"}},
                ],
            }
        )
    )
    assert kubeconfig.door(admin, "lab") == DOOR


@pytest.mark.parametrize("text", ["", "x", "contexts: []", "current-context: a\ncontexts: []\n"])
def test_a_broken_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    admin = tmp_path / "admin"
    admin.write_text(text)
    with pytest.raises(ConfigError) as caught:
        kubeconfig.door(admin, "lab")
    assert caught.value.where == str(admin)
