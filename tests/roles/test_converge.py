"""site.yml and reset.yml on container hosts: nodes become Ready, nothing changes twice, and nothing is left behind.

The first lab is molecule's: what a developer of a role runs by hand (docs/development.md) is what runs here. What each
role leaves on its hosts is tested in molecule/default/tests.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from arena_install import lab as labs
from arena_install import paths
from arena_install.events import ignore
from arena_install.lab import Access, LabInfo
from host_snapshot import differences, take
from lab_fixture import REPOSITORY, MakeLab, recap, require_lab, run_on
from resolve import resolve

pytestmark = pytest.mark.lab

PROGRAMS = Path(sys.executable).parent


@dataclass(frozen=True)
class Site:
    lab: LabInfo

    @property
    def kubeconfig(self) -> Path:
        return paths.state_dir(self.lab.name) / "kubeconfig"

    def start(self, playbook: str, **extra: Any) -> subprocess.Popen[str]:
        command = [str(PROGRAMS / "ansible-playbook"), "-i", str(self.lab.inventory)]
        return subprocess.Popen(
            [*command, "-e", json.dumps({"arena_cluster_name": self.lab.name, **extra}), f"playbooks/{playbook}.yml"],
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
        command = ["kubectl", "--kubeconfig", str(self.kubeconfig), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout

    def snapshot(self) -> dict[str, list[str]]:
        return {host.name: take(host.name) for host in self.lab.hosts}


@dataclass(frozen=True)
class Molecule:
    """The scenario molecule/default, with a lab and a folder of this module's own."""

    lab: str
    folder: Path

    def __call__(self, *arguments: str) -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        done = subprocess.run(
            [str(PROGRAMS / "molecule"), *arguments],
            cwd=REPOSITORY / "tests/roles",
            env={
                **environment,
                "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",  # it calls Ansible and pytest by their names
                "MOLECULE_EPHEMERAL_DIRECTORY": str(self.folder),
                "MOLECULE_COMMAND_BORDERS": "0",
                "ARENA_MOLECULE_LAB": self.lab,
                "ANSIBLE_NOCOLOR": "1",
                "NO_COLOR": "1",
                "LC_ALL": "C.UTF-8",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1500,
            check=False,
        )
        if done.returncode != 0:
            pytest.fail(f"molecule {' '.join(arguments)}\n{done.stdout[-12000:]}", pytrace=False)
        return done.stdout

    def changed(self, *arguments: str) -> dict[str, int]:
        return {host: row["changed"] for host, row in recap(self(*arguments)).items() if host != "localhost"}


def prepare(lab: LabInfo) -> Site:
    resolve(lab.name)
    return Site(lab)


@pytest.fixture(scope="module")
def molecule(lab_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Molecule]:
    require_lab()
    scenario = Molecule(f"t-molecule-{uuid.uuid4().hex[:4]}", tmp_path_factory.mktemp("molecule"))
    try:
        yield scenario
        scenario("destroy")
        assert labs.belongings(scenario.lab) == []
    finally:
        labs.down(scenario.lab, ignore)


@pytest.fixture(scope="module")
def bare(molecule: Molecule) -> Site:
    molecule("create")
    return Site(labs.find(molecule.lab))


@pytest.fixture(scope="module")
def before(bare: Site) -> dict[str, list[str]]:
    return bare.snapshot()


@pytest.fixture(scope="module")
def converged(bare: Site, before: dict[str, list[str]], molecule: Molecule) -> Site:
    changed = molecule.changed("converge")
    assert changed.keys() == before.keys() and all(changed.values())
    return bare


def test_a_second_run_changes_nothing(converged: Site, molecule: Molecule) -> None:
    changed = molecule.changed("idempotence")
    assert changed == {host.name: 0 for host in converged.lab.hosts}


def test_each_role_leaves_its_hosts_as_it_should(converged: Site, molecule: Molecule) -> None:
    molecule("verify")


def test_the_kubeconfig_is_private_and_names_the_nodes_address(converged: Site) -> None:
    assert converged.kubeconfig.stat().st_mode & 0o777 == 0o600
    assert f"server: https://{converged.lab.hosts[0].address}:6443" in converged.kubeconfig.read_text()


def test_every_image_came_from_the_registry(converged: Site) -> None:
    log = converged.on("cp1", "journalctl -u docker-registry -o cat")
    running = json.loads(converged.kubectl("get", "pods", "-A", "-o", "json"))["items"]
    images = {container["image"] for pod in running for container in pod["spec"]["containers"]}
    assert images
    for reference in images:
        name = reference.rsplit(":", 1)[0]
        assert f"GET /v2/{name}/blobs/" in log or f"/v2/{name}/manifests/" in log, reference


def test_the_ledger_tells_drift_and_the_role_alone_mends_it(converged: Site, molecule: Molecule) -> None:
    converged.on("w1", "echo '# drifted' >> /etc/containerd/config.toml")
    observe = (REPOSITORY / "roles/ledger/files/observe.sh").read_text()
    folder = "/var/lib/arena-install/roles/container_runtime"
    look = f"sed 's/|[^|]*$//' {folder}/items | sh -c '{observe.replace(chr(39), chr(39) + chr(92) + chr(39) * 2)}'"
    assert converged.on("w1", f"{look} | diff {folder}/items - || true").count("config.toml") == 2
    output = molecule("converge", "--", "--tags", "container_runtime")
    changed = {host: row["changed"] for host, row in recap(output).items()}
    assert changed[f"{converged.lab.name}-w1"] > 0 and changed[f"{converged.lab.name}-cp1"] == 0
    ran = re.findall(r"^TASK \[(\w+) : (?!Validating arguments)", output, re.MULTILINE)
    assert set(ran) == {"container_runtime", "ledger"}
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


def test_reset_leaves_the_hosts_as_found(
    converged: Site, before: dict[str, list[str]], molecule: Molecule
) -> None:
    molecule("cleanup")
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


def test_through_a_jump_host_with_a_sudo_password(lab_hosts: MakeLab) -> None:
    lab = lab_hosts("jump", workers=1, access=Access(user="arena", sudo_password=True, port=2222, jump=True))
    site = prepare(lab)
    site.run("site")
    site.kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=90s")
    assert set(site.changed("site").values()) == {0}


def test_three_control_planes(lab_hosts: MakeLab) -> None:
    site = prepare(lab_hosts("ha", control_planes=3))
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
