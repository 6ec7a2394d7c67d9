"""Somebody who trains on a cluster of ours: a user as `arena-install user add` makes them, and `arena`.

The cluster is a lab with profile full: the one that ARENA_E2E_LAB names (it is left as it was found), or one made and
removed by the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from arena_install import paths

PROGRAMS = Path(sys.executable).parent
PYTORCH = "arena-install.local/verify-pytorch:2.6.0"
MPI = "arena-install.local/verify-mpi:5.0.7"
BUSYBOX = "docker.io/library/busybox:1.37.0"
TOOLS = "arena-install.local/arena-tools:1.0"


@dataclass(frozen=True)
class Site:
    """A cluster, as its administrator has it."""

    name: str
    kubeconfig: Path

    def kubectl(self, *words: str, given: str | None = None) -> str:
        """Raises AssertionError with what kubectl said."""
        done = subprocess.run(
            [str(PROGRAMS / "kubectl"), "--kubeconfig", str(self.kubeconfig), *words],
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


@dataclass(frozen=True)
class User:
    site: Site
    namespace: str
    home: Path  # with .kube/config

    @property
    def environment(self) -> dict[str, str]:
        others = ("KUBE", "ARENA_", "PROMETHEUS_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(others)}
        made = sorted((paths.cache_dir() / "named").glob("*/helm"), key=lambda path: path.stat().st_mtime)
        return {**kept, "HOME": str(self.home), "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "ARENA_HELM": str(made[-1])}

    def shell(self, line: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return self._run(["bash", "-c", line], timeout)

    def arena(self, *words: str, timeout: float = 300) -> str:
        """Standard output. Raises AssertionError with what it said instead."""
        done = self._run([str(PROGRAMS / "arena"), *words], timeout)
        assert done.returncode == 0, f"arena {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def _run(self, command: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )


def eventually(look: Callable[[], Any], what: str, seconds: float, every: float = 2.0) -> Any:
    """What `look` gives once that is true. Raises AssertionError after `seconds`."""
    until = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < until, f"waited {seconds:.0f} s for {what}"
        time.sleep(every)
    return found


@contextmanager
def site() -> Iterator[Site]:
    if name := os.environ.get("ARENA_E2E_LAB"):
        kubeconfig = paths.state_dir(name) / "kubeconfig"
        assert kubeconfig.exists(), f"ARENA_E2E_LAB={name}: there is no {kubeconfig}; see ARENA_INSTALL_STATE"
        yield Site(name, kubeconfig)
        return
    from lab_fixture import require_lab

    require_lab()
    name = f"t-arena-{uuid.uuid4().hex[:4]}"
    try:
        install("up", "--name", name, "--profile", "full", "--verify", "none")
        yield Site(name, paths.state_dir(name) / "kubeconfig")
    finally:
        install("lab", "down", name, "--yes")


def installer(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "arena_install", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)


def install(*words: str) -> None:
    """Fails the test where the installer fails."""
    done = installer(*words)
    if done.returncode:
        pytest.fail(f"arena-install {' '.join(words)}: {done.stdout[-6000:]}{done.stderr[-4000:]}", pytrace=False)


@contextmanager
def user(site: Site, home: Path, name: str = "") -> Iterator[User]:
    """Made by `arena-install user add`, and removed with all that is theirs. name: of the user and the namespace."""
    name = name or f"arena-e2e-{uuid.uuid4().hex[:4]}"
    (home / ".kube").mkdir(parents=True, exist_ok=True)
    try:
        # more GPUs than there are: what waits for them is to wait, and not to be refused by the quota
        install("user", "add", name, "--name", site.name, "--gpus", "1000", "-o", str(home / ".kube/config"))
        yield User(site, name, home)
    finally:
        install("user", "remove", name, "--name", site.name, "--yes")


@contextmanager
def queue(site: Site, namespace: str, gpus: int, cpu: str = "8") -> Iterator[str]:
    """A LocalQueue of Kueue called `team`, with so many GPUs."""
    kueue = {"apiVersion": "kueue.x-k8s.io/v1beta2"}
    name = namespace
    quotas = [("cpu", cpu), ("memory", "16Gi"), ("nvidia.com/gpu", str(gpus)), ("pods", "100")]
    try:
        site.apply(
            {**kueue, "kind": "ResourceFlavor", "metadata": {"name": name}},
            {
                **kueue,
                "kind": "ClusterQueue",
                "metadata": {"name": name},
                "spec": {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                    "resourceGroups": [
                        {
                            "coveredResources": [key for key, _ in quotas],
                            "flavors": [
                                {
                                    "name": name,
                                    "resources": [{"name": key, "nominalQuota": amount} for key, amount in quotas],
                                }
                            ],
                        }
                    ],
                },
            },
            {
                **kueue,
                "kind": "LocalQueue",
                "metadata": {"name": "team", "namespace": namespace},
                "spec": {"clusterQueue": name},
            },
        )
        yield "team"
    finally:
        site.kubectl("delete", "localqueue", "team", "-n", namespace, "--ignore-not-found", "--wait=false")
        site.kubectl("delete", "clusterqueue", name, "--ignore-not-found", "--wait=false")
        site.kubectl("delete", "resourceflavor", name, "--ignore-not-found", "--wait=false")
