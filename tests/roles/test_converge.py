"""site.yml and reset.yml on container hosts: nodes become Ready, nothing changes twice, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from arena_install import artifacts
from arena_install.events import ignore
from arena_install.inventory.config import Config
from arena_install.lab import Access, LabInfo
from arena_install.pipeline.setting import Wishes, lab_names
from host_snapshot import differences, take
from lab_fixture import REPOSITORY, MakeLab, recap, run_on

pytestmark = pytest.mark.lab

@dataclass(frozen=True)
class Site:
    lab: LabInfo
    folder: Path

    def start(self, playbook: str, **extra: Any) -> subprocess.Popen[str]:
        given = {
            "arena_cluster_name": self.lab.name,
            "arena_resolved_file": str(self.folder / "resolved.lock.json"),
            "arena_kubeconfig": str(self.folder / "kubeconfig"),
            **extra,
        }
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(self.lab.inventory)]
        return subprocess.Popen(
            [*command, "-e", json.dumps(given), f"playbooks/{playbook}.yml"],
            cwd=REPOSITORY,
            env={**os.environ, "ANSIBLE_CONFIG": "playbooks/ansible.cfg", "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, playbook: str, **extra: Any) -> dict[str, dict[str, int]]:
        process = self.start(playbook, **extra)
        output, _ = process.communicate(timeout=1500)
        if process.returncode != 0:
            pytest.fail(output[-8000:], pytrace=False)
        return recap(output)

    def changed(self, playbook: str, **extra: Any) -> dict[str, int]:
        return {host: row["changed"] for host, row in self.run(playbook, **extra).items()}

    def on(self, host: str, command: str) -> str:
        done = run_on(self.lab, host, command)
        assert done.returncode == 0, f"{host}: {command}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def kubectl(self, *arguments: str) -> str:
        command = ["kubectl", "--kubeconfig", str(self.folder / "kubeconfig"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout

    def snapshot(self) -> dict[str, list[str]]:
        return {host.name: take(host.name) for host in self.lab.hosts}


def prepare(lab: LabInfo, folder: Path) -> Site:
    names = lab_names(Config(), Wishes(), ignore)
    artifacts.resolve(artifacts.load_lock(), names, Config(), ignore).save(folder / "resolved.lock.json")
    return Site(lab, folder)


@pytest.fixture(scope="module")
def bare(lab_hosts: MakeLab, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return prepare(lab_hosts("roles", workers=1), tmp_path_factory.mktemp("roles"))


@pytest.fixture(scope="module")
def before(bare: Site) -> dict[str, list[str]]:
    return bare.snapshot()


@pytest.fixture(scope="module")
def converged(bare: Site, before: dict[str, list[str]]) -> Site:
    assert all(bare.changed("site").values())
    return bare


def test_a_second_run_changes_nothing(converged: Site) -> None:
    assert set(converged.changed("site").values()) == {0}


def test_all_nodes_are_ready(converged: Site) -> None:
    converged.kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=90s")
    nodes = json.loads(converged.kubectl("get", "nodes", "-o", "json"))["items"]
    assert {node["metadata"]["name"] for node in nodes} == {host.name for host in converged.lab.hosts}
    taints = {node["metadata"]["name"]: node["spec"].get("taints", []) for node in nodes}
    assert [taint["key"] for taint in taints[f"{converged.lab.name}-cp1"]] == ["node-role.kubernetes.io/control-plane"]
    assert taints[f"{converged.lab.name}-w1"] == []


def test_the_kubeconfig_is_private_and_names_the_nodes_address(converged: Site) -> None:
    path = converged.folder / "kubeconfig"
    assert path.stat().st_mode & 0o777 == 0o600
    assert f"server: https://{converged.lab.hosts[0].address}:6443" in path.read_text()


def test_services_run_with_systemd(converged: Site) -> None:
    assert converged.on("cp1", "systemctl is-active docker-registry containerd kubelet").split() == ["active"] * 3
    assert converged.on("w1", "systemctl is-active containerd kubelet").split() == ["active"] * 2
    assert converged.on("cp1", "systemctl is-system-running") == "running"


def test_every_image_came_from_the_registry(converged: Site) -> None:
    log = converged.on("cp1", "journalctl -u docker-registry -o cat")
    running = json.loads(converged.kubectl("get", "pods", "-A", "-o", "json"))["items"]
    images = {container["image"] for pod in running for container in pod["spec"]["containers"]}
    for reference in images:
        name = reference.rsplit(":", 1)[0]
        assert f"GET /v2/{name}/blobs/" in log or f"/v2/{name}/manifests/" in log, reference


def test_nobody_can_push_over_the_network(converged: Site) -> None:
    address = converged.lab.hosts[0].address
    curl = "curl -s -o /dev/null -w '%{http_code}' --cacert /etc/arena-install/registry-ca.crt"
    assert converged.on("w1", f"{curl} https://{address}:5000/v2/") == "200"
    assert converged.on("w1", f"{curl} -X POST https://{address}:5000/v2/x/blobs/uploads/") == "405"
    assert converged.on("cp1", "systemctl is-active arena-registry-push || true") == "inactive"


def test_secrets_are_encrypted_at_rest_and_requests_are_logged(converged: Site) -> None:
    converged.kubectl("create", "secret", "generic", "proof", "--from-literal=word=plaintext-proof")
    assert converged.on("cp1", "grep -lr plaintext-proof /var/lib/etcd/member || true") == ""
    audit = converged.on("cp1", 'grep \'"name":"proof"\' /var/log/kubernetes/audit/audit.log | tail -1')
    assert json.loads(audit)["verb"] == "create"
    assert "plaintext-proof" not in audit
    assert converged.on("cp1", "stat -c '%a %U' /etc/arena-install/kubernetes/encryption.yaml") == "600 root"


def test_the_ledger_tells_drift(converged: Site) -> None:
    converged.on("w1", "echo '# drifted' >> /etc/containerd/config.toml")
    observe = (REPOSITORY / "roles/ledger/files/observe.sh").read_text()
    folder = "/var/lib/arena-install/roles/container_runtime"
    look = f"sed 's/|[^|]*$//' {folder}/items | sh -c '{observe.replace(chr(39), chr(39) + chr(92) + chr(39) * 2)}'"
    assert converged.on("w1", f"{look} | diff {folder}/items - || true").count("config.toml") == 2
    changed = converged.changed("site")
    assert changed[f"{converged.lab.name}-w1"] > 0 and changed[f"{converged.lab.name}-cp1"] == 0
    assert converged.on("w1", f"{look} | diff {folder}/items - || true") == ""


def test_a_lost_static_pod_and_a_stopped_kubelet_come_back(converged: Site) -> None:
    converged.on("cp1", "rm /etc/kubernetes/manifests/kube-scheduler.yaml; systemctl stop kubelet")
    only = {"control_plane": [f"{converged.lab.name}-cp1"]}
    roles = [path.parent.name for path in (REPOSITORY / "roles").glob("*/component.yaml")]
    converged.run("site", arena_hosts={name: only.get(name, []) for name in roles})
    converged.on("cp1", "test -e /etc/kubernetes/manifests/kube-scheduler.yaml && systemctl is-active kubelet")


def test_a_killed_run_is_taken_up_again(converged: Site) -> None:
    converged.on("w1", "rm /usr/local/bin/kubelet")
    process = converged.start("site")
    assert process.stdout
    for line in process.stdout:
        if "Fetch programs" in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    time.sleep(2)  # modules already on the hosts end by themselves
    converged.run("site")
    assert set(converged.changed("site").values()) == {0}


def test_reset_leaves_the_hosts_as_found(converged: Site, before: dict[str, list[str]]) -> None:
    converged.run("reset")
    after = converged.snapshot()
    assert after.keys() == before.keys()
    for host, lines in before.items():
        assert differences(lines, after[host]) == []
    assert set(converged.changed("reset").values()) == {0}  # without a record nothing is touched


def test_a_foreign_cluster_is_never_touched(converged: Site) -> None:
    """Runs after the reset: the hosts are bare again."""
    converged.on("w1", "mkdir -p /etc/kubernetes && touch /etc/kubernetes/kubelet.conf")
    before = converged.snapshot()[f"{converged.lab.name}-w1"]
    process = converged.start("site")
    output, _ = process.communicate(timeout=600)
    assert process.returncode != 0 and "did not make" in output
    assert differences(before, converged.snapshot()[f"{converged.lab.name}-w1"]) == []


def test_through_a_jump_host_with_a_sudo_password(lab_hosts: MakeLab, tmp_path: Path) -> None:
    lab = lab_hosts("jump", workers=1, access=Access(user="arena", sudo_password=True, port=2222, jump=True))
    site = prepare(lab, tmp_path)
    site.run("site")
    site.kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=90s")
    assert set(site.changed("site").values()) == {0}


def test_three_control_planes(lab_hosts: MakeLab, tmp_path: Path) -> None:
    site = prepare(lab_hosts("ha", control_planes=3), tmp_path)
    site.run("site")
    site.kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=120s")
    assert site.on("cp3", "ls /etc/kubernetes/manifests").split() == [
        "etcd.yaml",
        "kube-apiserver.yaml",
        "kube-controller-manager.yaml",
        "kube-scheduler.yaml",
    ]
    assert set(site.changed("site").values()) == {0}
    site.on("cp3", "systemctl stop kubelet")
    site.run("site")
    assert site.on("cp3", "systemctl is-active kubelet") == "active"
