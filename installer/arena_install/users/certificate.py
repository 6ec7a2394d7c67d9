"""A client certificate by Kubernetes' own authority: a request, approved here, signed there, and cleared away.

No certificate can be called back: Kubernetes knows no list of revoked ones. What ends a user's rights is that the
bindings of this identity go.
"""

from __future__ import annotations

import base64
import contextlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from arena_install.errors import ArenaError, StepError, TimedOutError
from arena_install.stack.api import Api
from arena_install.users.names import USER_LABEL

API = "certificates.k8s.io/v1"
_SIGNER = "kubernetes.io/kube-apiserver-client"
_PATIENCE = 60.0  # seconds for the controller manager to sign
_DAY = 86400


@dataclass(frozen=True)
class Certificate:
    """PEM; until: when it ends, by the certificate itself."""

    key: bytes
    certificate: bytes

    @property
    def until(self) -> datetime:
        return end(self.certificate)


def end(pem: bytes) -> datetime:
    """Raises ValueError for what is no certificate."""
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc


def owner(pem: bytes) -> str:
    """The common name: who the API server takes its owner for. Raises ValueError."""
    names = x509.load_pem_x509_certificate(pem).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def issue(api: Api, name: str, identity: str, days: int, labels: Mapping[str, str]) -> Certificate:
    """Raises TimedOutError where nobody signs, StepError where it is refused."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = request.public_bytes(serialization.Encoding.PEM)
    called = f"arena-user-{name}-{secrets.token_hex(3)}"
    body = {
        "apiVersion": API,
        "kind": "CertificateSigningRequest",
        "metadata": {"name": called, "labels": dict(labels)},
        "spec": {
            "request": base64.b64encode(pem).decode(),
            "signerName": _SIGNER,
            "usages": ["client auth"],
            "expirationSeconds": days * _DAY,
        },
    }
    try:
        made = api.create(body)
        condition = {
            "type": "Approved",
            "status": "True",
            "reason": "UserAdded",
            "message": f"arena-install user add {name}",
        }
        made["status"] = {"conditions": [condition]}
        path = api.path(API, "CertificateSigningRequest", name=called)
        api.request("PUT", f"{path}/approval", body=made)
        signed = _signed(api, called)
    finally:
        with contextlib.suppress(ArenaError):  # what stays, the next `user add` or `user remove` clears away
            api.delete(API, "CertificateSigningRequest", called)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Certificate(private, signed)


def _signed(api: Api, called: str) -> bytes:
    deadline = time.monotonic() + _PATIENCE
    while True:
        found = api.get(API, "CertificateSigningRequest", called) or {}
        status = found.get("status") or {}
        if text := status.get("certificate"):
            return base64.b64decode(text)
        for row in status.get("conditions") or ():
            if row["type"] in ("Denied", "Failed"):
                raise StepError("the cluster signs no certificate", why=str(row.get("message", row["type"])))
        if time.monotonic() > deadline:
            raise TimedOutError(
                f"no certificate after {_PATIENCE:.0f} s",
                why="the controller manager signs requests for kubernetes.io/kube-apiserver-client; it did not",
                fix="kubectl -n kube-system get pods -l component=kube-controller-manager, then the same command again",
            )
        time.sleep(0.3)


def clear(api: Api, name: str) -> int:
    """Remove requests that killed runs left; how many there were."""
    left = api.list_metadata(API, "CertificateSigningRequest", labelSelector=f"{USER_LABEL}={name}")
    return sum(api.delete(API, "CertificateSigningRequest", row["metadata"]["name"]) for row in left)


def written(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
