"""control_plane: a whole control plane, nodes that are Ready, secrets encrypted at rest, requests logged."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://control_plane"]

# Without a cache: the host is compared with what it was, after a reset.
KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf --cache-dir /dev/null"
FOLDER = "/etc/arena-install/kubernetes"


@pytest.fixture(scope="module")
def nodes(host: Host) -> dict[str, Any]:
    host.check_output(f"{KUBECTL} wait node --all --for=condition=Ready --timeout=90s")
    items = json.loads(host.check_output(f"{KUBECTL} get nodes -o json"))["items"]
    return {node["metadata"]["name"]: node for node in items}


def test_every_part_runs_from_its_manifest(host: Host) -> None:
    parts = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    assert set(host.file("/etc/kubernetes/manifests").listdir()) == {f"{part}.yaml" for part in parts}
    assert host.socket("tcp://6443").is_listening
    assert host.check_output(f"{KUBECTL} get --raw /readyz") == "ok"


def test_all_hosts_are_nodes_and_ready(host: Host, nodes: dict[str, Any]) -> None:
    assert set(nodes) == set(host.ansible.get_variables()["groups"]["all"])


def test_only_the_control_plane_takes_no_jobs(host: Host, nodes: dict[str, Any]) -> None:
    taints = {name: [taint["key"] for taint in node["spec"].get("taints", [])] for name, node in nodes.items()}
    groups = host.ansible.get_variables()["groups"]
    assert taints == {
        **{name: ["node-role.kubernetes.io/control-plane"] for name in groups["control_plane"]},
        **{name: [] for name in groups["worker"]},
    }


def test_keys_are_private(host: Host) -> None:
    assert host.file(FOLDER).mode == 0o700
    for path in (f"{FOLDER}/encryption.yaml", "/etc/kubernetes/admin.conf", "/etc/kubernetes/pki/ca.key"):
        assert (host.file(path).user, host.file(path).mode) == ("root", 0o600), path


def test_secrets_are_encrypted_at_rest_and_requests_are_logged(host: Host) -> None:
    name, word = f"proof-{uuid.uuid4().hex[:8]}", "plaintext-proof"
    host.check_output(f"{KUBECTL} create secret generic {name} --from-literal=word={word}")
    try:
        stored = "grep -lr %s /var/lib/etcd/member || true"
        assert host.check_output(stored, name) != ""
        assert host.check_output(stored, word) == ""
        audit = host.check_output(f"grep '\"name\":\"{name}\"' /var/log/kubernetes/audit/audit.log | head -1")
        assert json.loads(audit)["verb"] == "create"
        assert word not in audit
    finally:
        host.check_output(f"{KUBECTL} delete secret {name}")
