"""`up --kubeconfig`: a cluster of others, with a Volcano and a PyTorchJob CRD that are theirs too, gets the rest; `down
--kubeconfig` takes exactly that away.

The cluster is a lab whose books were burnt, so that nothing in it counts as ours.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import objects
import pytest
import yaml

from arena_install.artifacts import Resolved
from arena_install.paths import state_dir
from arena_install.stack import catalogue, ledger, needed
from lab_fixture import require_lab

pytestmark = [pytest.mark.e2e, pytest.mark.lab]

THEIRS = ("flannel", "local-path-provisioner")
LEFT_OUT = {*THEIRS, "volcano", "training-operator"}
JOB = {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": {"name": "theirs", "namespace": "default"},
       "spec": {"pytorchReplicaSpecs": {"Master": {"template": {"spec": {"containers": [
           {"name": "pytorch", "image": "theirs"}]}}}}}}  # fmt: skip


@dataclass(frozen=True)
class Existing:
    kubeconfig: Path  # a copy, as its owner would hand it over
    state: Path  # of the installer, which never saw this cluster
    config: Path

    def installer(self, *words: str) -> subprocess.CompletedProcess[str]:
        given = ("--kubeconfig", str(self.kubeconfig), "-c", str(self.config))
        environment = {**os.environ, "ARENA_INSTALL_STATE": str(self.state)}
        return _run([sys.executable, "-m", "arena_install", *words, *given], env=environment)

    def done(self, *words: str) -> str:
        found = self.installer(*words)
        assert found.returncode == 0, f"{words}\n{found.stdout[-6000:]}{found.stderr[-3000:]}"
        return found.stdout

    def kubectl(self, *words: str, given: str | None = None) -> str:
        tool = str(Path(sys.executable).parent / "kubectl")
        found = _run([tool, "--kubeconfig", str(self.kubeconfig), *words], stdin=given)
        assert found.returncode == 0, f"{words}: {found.stderr}"
        return found.stdout

    def objects(self) -> set[str]:
        return objects.take(partial(self.kubectl))


def _run(
    command: list[str], env: dict[str, str] | None = None, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env, input=stdin, timeout=3600)


@pytest.fixture(scope="module")
def existing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Existing]:
    require_lab()
    name, folder = f"t-ext-{uuid.uuid4().hex[:4]}", tmp_path_factory.mktemp("existing")
    made = [sys.executable, "-m", "arena_install"]
    try:
        up = _run([*made, "up", "--name", name, "--profile", "full", "--verify", "none"])
        assert up.returncode == 0, up.stdout[-6000:] + up.stderr[-3000:]
        gone = [f"--component={one}" for one in needed("full") if one not in THEIRS]
        down = _run([*made, "down", "--name", name, *gone, "--yes"])
        assert down.returncode == 0, down.stdout[-6000:] + down.stderr[-3000:]
        (folder / "cluster.yaml").write_text("name: theirs\nprofile: full\ngpu: {driver: simulated}\n")
        shutil.copy(state_dir(name) / "kubeconfig", folder / "kubeconfig")
        found = Existing(folder / "kubeconfig", folder / "state", folder / "cluster.yaml")
        _inhabit(found, Resolved.load(state_dir(name) / "resolved.lock.json"))
        yield found
    finally:
        _run([*made, "lab", "down", name, "--yes"])


def _inhabit(cluster: Existing, resolved: Resolved) -> None:
    """Volcano by Helm, as its makers say; the training operator's CRDs alone, with a job that nobody runs."""
    cluster.kubectl("delete", "namespace", ledger.NAMESPACE, "--ignore-not-found")
    for crds in ("volcano-crds", "training-operator-crds"):
        cluster.kubectl("create", "-f", "-", given=resolved.file(crds).read_text())
    cluster.kubectl("wait", "--for=condition=Established", "crd/pytorchjobs.kubeflow.org", "--timeout=60s")
    cluster.kubectl("create", "-f", "-", given=json.dumps(JOB))
    helm = [str(resolved.program("helm")), "--kubeconfig", str(cluster.kubeconfig)]
    values = cluster.state.parent / "volcano.yaml"
    values.write_text(yaml.safe_dump(_values("volcano")))
    words = ("install", "theirs", str(resolved.chart("volcano")), "--namespace", "their-volcano", "--create-namespace")
    found = _run([*helm, *words, "--values", str(values), "--skip-crds", "--wait", "--timeout", "5m"])
    assert found.returncode == 0, found.stderr


def _values(name: str) -> dict[str, Any]:
    from arena_install.inventory.cluster import Cluster
    from arena_install.inventory.config import Config
    from arena_install.stack.values import values_of

    cluster = Cluster("theirs", (), Config.model_validate({"gpu": {"driver": "simulated"}}), None)
    return values_of(catalogue()[name], cluster)


@pytest.fixture(scope="module")
def before(existing: Existing) -> set[str]:
    return existing.objects()


@pytest.fixture(scope="module")
def installed(existing: Existing, before: set[str]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(existing.done("up", "--verify", "none", "--json").splitlines()[-1])
    return told


def test_what_is_theirs_is_left_out_and_untouched(
    existing: Existing, before: set[str], installed: dict[str, Any]
) -> None:
    assert set(installed["plan"]["left_out"]) == LEFT_OUT
    assert set(installed["components"]) == {*needed("full")} - LEFT_OUT
    nodes = {line for line in before if line.startswith("Node ")}  # what GPUs are found is noted on them
    assert sorted(before - nodes - existing.objects()) == []


def test_again_changes_nothing(existing: Existing, installed: dict[str, Any]) -> None:
    existing.done("plan", "--detailed-exitcode")
    there = existing.objects()
    told = json.loads(existing.done("up", "--verify", "none", "--json").splitlines()[-1])
    assert told["components"] == [] and existing.objects() == there


def test_theirs_and_ours_work_together(existing: Existing, installed: dict[str, Any]) -> None:
    """Their Volcano, our device plugin and JobSet; who may only look sees that all is well."""
    wanted = ("scheduling.gang", "scheduling.jobset", "gpu.one-gpu", "observability.gpu-metrics")
    done = existing.installer("verify", "--json", *(part for id in wanted for part in ("--check", id)))
    rows = {row["name"]: row for row in json.loads(done.stdout)["results"]["tests"]}
    assert {id: rows[id]["status"] for id in wanted} == dict.fromkeys(wanted, "passed"), done.stdout[-3000:]


def test_down_leaves_what_was_there_before(existing: Existing, before: set[str], installed: dict[str, Any]) -> None:
    existing.done("down", "--yes")
    assert sorted(existing.objects() ^ before) == []
    assert not existing.state.exists() or not list(existing.state.rglob("*"))
