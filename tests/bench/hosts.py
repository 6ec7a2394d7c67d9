"""Bare hosts to Ready nodes: `up` against a shell script that reaches the same end, on the same hosts.

The script has nothing to find out: it unpacks onto each host what the roles of an earlier `up` left there (packages and
all), host beside host, starts the units, runs kubeadm init and join with the same configuration, and installs the same
pod network. It goes into the hosts by podman, which costs less than SSH. Hosts are made anew before each measurement;
artifacts are there.
"""

from __future__ import annotations

import shlex
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import whole
from measure import BIN, Row

from arena_install import lab
from arena_install.artifacts import Resolved
from arena_install.events import ignore
from arena_install.inventory.config import Lab
from arena_install.lab import podman
from arena_install.lab.provider import find
from arena_install.pipeline import components
from arena_install.pipeline.reach import reachable
from arena_install.pipeline.setting import Wishes, prepare
from arena_install.stack.values import inputs_of

NAME = "benchhost"
NETWORK = "flannel"
#: What a host has of its own, what Kubernetes makes, and what is written while it runs.
_OWN = (
    "/dev", "/etc/cni", "/etc/hostname", "/etc/hosts", "/etc/kubernetes", "/etc/machine-id", "/etc/resolv.conf",
    "/etc/ssh", "/proc", "/root", "/run", "/sys", "/tmp", "/var/cache", "/var/lib/arena-install", "/var/lib/cni",
    "/var/lib/containerd", "/var/lib/etcd", "/var/lib/kubelet", "/var/lib/systemd", "/var/log", "/var/tmp",
)  # fmt: skip
#: Its units are enabled by what was unpacked.
_START = "ldconfig; sysctl -q --system >/dev/null; systemctl daemon-reload;" \
    " systemctl start $(ls /etc/systemd/system/multi-user.target.wants)"
_CONFIG = (
    ("kubeadm-config", "ClusterConfiguration"), ("kubelet-config", "kubelet"), ("kube-proxy", "config.conf"),
)  # fmt: skip
_INIT = """apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {{advertiseAddress: {address}}}
nodeRegistration: {{name: {name}, imagePullSerial: false}}
patches: {{directory: /etc/arena-install/kubeadm-patches}}
"""


def rows(rounds: int) -> list[Row]:
    try:
        _anew()
        _up()
        with tempfile.TemporaryDirectory() as folder:
            command = ["bash", "-eu", str(_script(Path(folder)))]
            works: dict[str, Callable[[], None]] = {"ours": _up, "theirs": lambda: whole.run(command)}
            taken: dict[str, list[float]] = {name: [] for name in works}
            for turn in range(rounds):
                for name in list(works) if turn % 2 == 0 else [*works][::-1]:
                    taken[name].append(_measured(works[name]))
    finally:
        lab.down(NAME, ignore)
    what = "up, bare hosts to Ready nodes, against a parallel script that reaches the same end"
    return [Row(what, *(statistics.median(taken[name]) for name in ("ours", "theirs")), "s", 3)]


def _measured(work: Callable[[], None]) -> float:
    _anew()
    started = time.monotonic()
    work()
    return time.monotonic() - started


def _anew() -> None:
    lab.down(NAME, ignore)
    lab.up(NAME, Lab(), ignore)


def _up() -> None:
    whole.run([str(BIN / "arena-install"), "up", "--name", NAME, "--only", NETWORK, "--verify", "none"])


def _script(folder: Path) -> Path:
    """Written by what the lab is after `up`."""
    setting = prepare(Wishes(lab=NAME, only=(NETWORK,)))
    resolved = Resolved.load(setting.resolved_file)
    with reachable(setting, must=True) as kubeconfig:
        wish = components.wanted(setting)[NETWORK]
        network, _ = whole.scripts(setting, resolved, [inputs_of(wish, resolved)], folder)
        documents = [_read(kubeconfig, name, key) for name, key in _CONFIG]
    made = find(NAME)
    first, *others = made.hosts
    documents.insert(0, _INIT.format(address=first.address, name=first.name))
    (folder / "kubeadm.yaml").write_text("---\n".join(documents))
    kubectl = shlex.quote(str(resolved.program("kubectl")))
    init = f"podman exec {first.name} kubeadm init --config /run/kubeadm.yaml --ignore-preflight-errors=all"
    lines = [
        f"cd {shlex.quote(str(folder))}",
        *(_unpacked(host.name, folder) for host in made.hosts),
        "wait -n; " * len(made.hosts),
        f"podman exec -i {first.name} sh -c 'cat >/run/kubeadm.yaml' <kubeadm.yaml",
        f"{init} >/dev/null 2>&1",
        f"podman exec {first.name} cat /etc/kubernetes/admin.conf >kubeconfig",
        f"join=$(podman exec {first.name} kubeadm token create --print-join-command)",
        *(f"podman exec {one.name} sh -c \"$join --ignore-preflight-errors=all\" >/dev/null 2>&1 &" for one in others),
        "wait -n; " * len(others),
        "export KUBECONFIG=$PWD/kubeconfig HOME=$PWD",
        f"sh -eu {shlex.quote(str(network))}",
        f"{kubectl} wait --for condition=Ready node --all --timeout 120s >/dev/null",
    ]
    script = folder / "all.sh"
    script.write_text("\n".join(lines) + "\n")
    return script


def _unpacked(host: str, folder: Path) -> str:
    """Packs what is on the host beside its image; the line that puts it onto a new one."""
    changed = [line.split(" ", 1) for line in podman.run("diff", host).splitlines()]
    paths = [path for kind, path in changed if kind in "AC" and not path.startswith(_OWN)]
    listing = "".join(f".{path}\0" for path in paths)
    with (folder / f"{host}.tar").open("wb") as out:
        command = ["podman", "exec", "-i", host, "tar", "-C", "/", "--null", "--no-recursion", "-cf", "-", "-T", "-"]
        subprocess.run(command, input=listing.encode(), stdout=out, check=True)
    return f"{{ podman exec -i {host} tar -C / -xf - <{host}.tar; podman exec {host} sh -c {shlex.quote(_START)}; }} &"


def _read(kubeconfig: Path, name: str, key: str) -> str:
    command = [str(BIN / "kubectl"), "--kubeconfig", str(kubeconfig), "-n", "kube-system", "get", "configmap", name]
    path = key.replace(".", "\\.")
    command += ["-o", f"jsonpath={{.data.{path}}}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout

