"""A real API server on loopback for tests: etcd, kube-apiserver and kube-controller-manager, no kubelet.

`ControlPlane.start()` takes some four seconds and needs no root; `HollowNode` plays the kubelet: it binds pods to a
node and reports them running (a Job's: succeeded), or failing when their image's name says so. The binaries come from
the artifacts' cache, or from the folder named by ARENA_TEST_BINARIES; where neither has them, tests that need them are
skipped and say so.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from arena_install.artifacts import Resolved, load_lock, missing, resolve
from arena_install.artifacts.charts import load_stream
from arena_install.errors import ArenaError
from arena_install.events import ignore
from arena_install.inventory.config import Config
from arena_install.stack.api import Api, ApiError

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_TOKEN = "loopback-test-token"  # of a server that lives as long as one test session


def artifacts_here(names: Iterable[str]) -> Resolved | None:
    """These artifacts out of the cache, None where one of them would have to be made first."""
    lock, config, names = load_lock(), Config(), sorted(names)
    return None if missing(lock, names, config) else resolve(lock, names, config, ignore)


def apply_crds(api: Api, resolved: Resolved, *names: str) -> None:
    """names: of artifacts, such as volcano-crds."""
    for name in names:
        for one in load_stream(resolved.file(name).read_bytes()):
            api.apply(one, force=True)


def binary(name: str) -> Path | None:
    """Path of etcd, kube-apiserver, kube-controller-manager or helm, None where it can't be had."""
    if folder := os.environ.get("ARENA_TEST_BINARIES"):
        path = Path(folder) / name
        return path if os.access(path, os.X_OK) else None
    found = artifacts_here([name])
    return found.program(name) if found else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class ControlPlane:
    """etcd, API server and controllers in one temporary folder; use as a context manager or start() and stop()."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="arena-apiserver-")))
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    def start(self, *, controllers: bool = True) -> ControlPlane:
        """Start and wait until it answers. Raises RuntimeError with the log's end when it does not in 180 s: a
        busy machine takes its time."""
        etcd_port, peer_port, port = _free_port(), _free_port(), _free_port()
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
        (self.folder / "sa.key").write_bytes(key.private_bytes(*private, serialization.NoEncryption()))
        self._make_authority()
        (self.folder / "tokens.csv").write_text(f"{_TOKEN},admin,admin,system:masters\n")
        certificates = self.folder / "certificates"
        self._write_kubeconfig(port, certificates / "apiserver.crt")
        etcd = f"http://127.0.0.1:{etcd_port}"
        self._run(
            "etcd", "--name=test", f"--data-dir={self.folder / 'etcd'}", "--unsafe-no-fsync", "--log-level=error",
            f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer_port}",
            f"--initial-cluster=test=http://127.0.0.1:{peer_port}",
        )
        self._run(
            "kube-apiserver", f"--etcd-servers={etcd}", "--bind-address=127.0.0.1", f"--secure-port={port}",
            f"--cert-dir={certificates}", f"--token-auth-file={self.folder / 'tokens.csv'}",
            f"--client-ca-file={self.folder / 'ca.crt'}",
            "--authorization-mode=RBAC",
            f"--service-account-key-file={self.folder / 'sa.key'}", "--allow-privileged=true",
            f"--service-account-signing-key-file={self.folder / 'sa.key'}",
            "--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.254.0.0/24",
            "--disable-admission-plugins=ServiceAccount", "--shutdown-delay-duration=0s",
        )
        self._await()
        if controllers:
            self._run(
                "kube-controller-manager", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false",
                f"--service-account-private-key-file={self.folder / 'sa.key'}", "--secure-port=0",
                "--controllers=namespace-controller,deployment-controller,replicaset-controller,daemonset-controller,"
                "statefulset-controller,job-controller,garbage-collector-controller,serviceaccount-controller,"
                "endpointslice-controller,disruption-controller,resourcequota-controller,"
                "persistentvolumeclaim-protection-controller,clusterrole-aggregation-controller,"
                "certificatesigningrequest-signing-controller",
                f"--cluster-signing-cert-file={self.folder / 'ca.crt'}",
                f"--cluster-signing-key-file={self.folder / 'ca.key'}",
            )
        return self

    def _make_authority(self) -> None:
        """Signs certificates of clients, as kubeadm's does."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-ca")]), datetime.now(UTC)
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        private = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
        (self.folder / "ca.key").write_bytes(key.private_bytes(*private, serialization.NoEncryption()))
        (self.folder / "ca.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def _write_kubeconfig(self, port: int, ca: Path) -> None:
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [
                {"name": "test", "cluster": {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(ca)}}
            ],
            "users": [{"name": "admin", "user": {"token": _TOKEN}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        }
        self.kubeconfig.write_text(yaml.safe_dump(config))

    def _run(self, name: str, *arguments: str) -> None:
        path = binary(name)
        assert path is not None, f"no {name} on this machine"
        log = (self.folder / f"{name}.log").open("wb")
        # Whatever ends the test ends these too: SIGKILL for them when their parent dies (PR_SET_PDEATHSIG).
        end = partial(_LIBC.prctl, 1, signal.SIGKILL) if _LIBC else None
        command = [str(path), *arguments]
        self.processes.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, preexec_fn=end))

    def _await(self) -> None:
        deadline = time.monotonic() + 180
        ca = self.folder / "certificates" / "apiserver.crt"
        while time.monotonic() < deadline:
            with contextlib.suppress(ArenaError, OSError):
                if ca.is_file():
                    api = Api(self.kubeconfig, timeout=10)
                    try:
                        api.request("GET", "/readyz", text=True)
                        if api.get("v1", "Namespace", "kube-system"):
                            return
                    finally:
                        api.close()
            if any(process.poll() is not None for process in self.processes[:2]):
                break
            time.sleep(0.25)
        logs = "\n".join(f"{log.name}: {log.read_text()[-1500:]}" for log in self.folder.glob("*.log"))
        self.stop()
        raise RuntimeError(f"the control plane did not come up\n{logs}")

    def stop(self) -> None:
        for process in reversed(self.processes):  # nothing to keep: an orderly end would take ten seconds
            process.kill()
            process.wait(10)
        self.processes.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> ControlPlane:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class HollowNode:
    """A node without a kubelet: pods run on it at once unless it is cordoned; those whose image contains "broken" never
    start.
    """

    def __init__(self, kubeconfig: Path, name: str = "hollow", allocatable: dict[str, str] | None = None) -> None:
        self.name, self._api = name, Api(kubeconfig)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        resources = {"cpu": "64", "memory": "256Gi", "pods": "200", **(allocatable or {})}
        labels = {"kubernetes.io/os": "linux", "kubernetes.io/hostname": name}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
        if self._api.get("v1", "Node", name) is None:
            self._api.create(node)
        conditions = [{"type": "Ready", "status": "True", "reason": "Hollow", "message": ""}]
        self._status("v1", "Node", name, {"capacity": resources, "allocatable": resources, "conditions": conditions})

    def __enter__(self) -> HollowNode:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)
        for pod in self._api.list_objects("v1", "Pod"):
            self._api.request("DELETE", self._path(pod), query={"gracePeriodSeconds": "0"})
        self._api.delete("v1", "Node", self.name)
        self._api.close()

    def _loop(self) -> None:
        while not self._stop.wait(0.1):
            with contextlib.suppress(ArenaError):
                node = self._api.get("v1", "Node", self.name) or {"spec": {}}
                for pod in self._api.list_objects("v1", "Pod"):
                    with contextlib.suppress(ApiError):
                        self._play(pod, bool(node["spec"].get("unschedulable")))

    def _play(self, pod: dict[str, Any], cordoned: bool) -> None:
        metadata = pod["metadata"]
        if metadata.get("deletionTimestamp"):
            self._api.request("DELETE", self._path(pod), query={"gracePeriodSeconds": "0"})
        elif not pod["spec"].get("nodeName"):
            if cordoned:
                return
            target = {"apiVersion": "v1", "kind": "Node", "name": self.name}
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": metadata["name"]}, "target": target}
            self._api.request("POST", self._path(pod) + "/binding", body=binding)
        elif not pod.get("status", {}).get("containerStatuses"):
            self._status("v1", "Pod", metadata["name"], self._pod_status(pod), metadata["namespace"])

    def _pod_status(self, pod: dict[str, Any]) -> dict[str, Any]:
        statuses, now = [], time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        for container in pod["spec"]["containers"]:
            broken = "broken" in container["image"]
            waiting = {"reason": "ImagePullBackOff", "message": f"no such image {container['image']}"}
            state = {"waiting": waiting} if broken else {"running": {"startedAt": now}}
            row = {"name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0}
            statuses.append({**row, "ready": not broken, "state": state})
        ready = all(row["ready"] for row in statuses)
        conditions = [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": now},
            {"type": "Ready", "status": str(ready), "lastTransitionTime": now},
        ]
        owners = {row["kind"] for row in pod["metadata"].get("ownerReferences") or ()}
        phase = "Pending" if not ready else "Succeeded" if "Job" in owners else "Running"
        if phase == "Succeeded":
            for row in statuses:
                row["state"] = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": now}}
        return {"phase": phase, "conditions": conditions, "containerStatuses": statuses, "podIP": "10.1.2.3"}

    def _path(self, pod: dict[str, Any]) -> str:
        return self._api.path("v1", "Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])

    def _status(self, api_version: str, kind: str, name: str, status: dict[str, Any], namespace: str = "") -> None:
        path = self._api.path(api_version, kind, namespace, name) + "/status"
        merge = "application/merge-patch+json"
        self._api.request("PATCH", path, body={"status": status}, content_type=merge)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """One API server for the whole session; tests use namespaces and names of their own."""
    lacking = [name for name in ("etcd", "kube-apiserver", "kube-controller-manager") if binary(name) is None]
    if lacking:
        pytest.skip(f"no {', '.join(lacking)}: set ARENA_TEST_BINARIES, or make artifacts first (`arena-install up`)")
    plane = ControlPlane()
    try:
        yield plane.start()
    finally:
        plane.stop()
