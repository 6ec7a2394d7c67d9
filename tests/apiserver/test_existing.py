"""A cluster that is there already, with things of others in it: what is left out, and that looking writes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from apiserver_fixture import ControlPlane
from arena_install import artifacts, stack
from arena_install.inventory.cluster import Cluster
from arena_install.inventory.config import Config
from arena_install.stack import foreign, ledger
from arena_install.stack.api import Api
from arena_install.stack.ledger import Entry, Ref

sys.path.append(str(Path(__file__).resolve().parents[1] / "e2e"))

import objects

CRD = "apiextensions.k8s.io/v1"
SCHEMA = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
SCHEDULER = "quay.example/mirror/vc-scheduler:v1.9.0"


def crd(group: str, kind: str) -> dict[str, Any]:
    plural = f"{kind.lower()}s"
    versions = [{"name": "v1", "served": True, "storage": True, "schema": SCHEMA}]
    spec = {"group": group, "names": {"kind": kind, "plural": plural}, "scope": "Namespaced", "versions": versions}
    meta = {"name": f"{plural}.{group}"}
    return {"apiVersion": CRD, "kind": "CustomResourceDefinition", "metadata": meta, "spec": spec}


def deployment(name: str, image: str) -> dict[str, Any]:
    labels = {"app": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod}
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def default_class() -> dict[str, Any]:
    notes = {"storageclass.kubernetes.io/is-default-class": "true"}
    meta = {"name": "theirs", "annotations": notes}
    return {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": meta, "provisioner": "example.com/x"}


@pytest.fixture
def has(api: Api) -> Iterator[Callable[..., None]]:
    """has(objects...): somebody else makes them; they go at the end."""
    made: list[dict[str, Any]] = []

    def make(*rows: dict[str, Any]) -> None:
        for row in rows:
            api.create(row)
            made.append(row)

    yield make
    for row in reversed(made):
        where = row["apiVersion"], row["kind"], row["metadata"]["name"], row["metadata"].get("namespace", "")
        api.delete(*where)
        api.wait_gone(*where)


def survey(api: Api) -> dict[str, str]:
    cluster = Cluster("theirs", (), Config(profile="full"), None)
    return foreign.survey(api, stack.wishes(cluster, stack.needed("full"), artifacts.load_lock().digest))


def test_a_bare_cluster_lacks_all_but_a_network(api: Api) -> None:
    assert survey(api) == {"flannel": "the pods have a network: 1 nodes are Ready"}


def test_what_others_run_or_own_is_left_out(api: Api, has: Callable[..., None]) -> None:
    has(crd("kubeflow.org", "PyTorchJob"), crd("batch.volcano.sh", "Job"))
    has(deployment("sched", SCHEDULER), default_class())
    found = survey(api)
    assert set(found) == {"flannel", "local-path-provisioner", "training-operator", "volcano"}
    assert found["training-operator"] == "CRD pytorchjobs.kubeflow.org is somebody else's"
    assert found["volcano"] == f"Deployment default/sched runs {SCHEDULER}"
    assert found["local-path-provisioner"] == "StorageClass theirs is the default"


def test_what_is_ours_is_never_foreign(api: Api, has: Callable[..., None]) -> None:
    has(deployment("sched", SCHEDULER), crd("batch.volcano.sh", "Job"))
    entry = Entry(
        status="done", inputs="x", chart="volcano", version="1", namespace="default", release="volcano", at="",
        objects=(Ref("apps/v1", "Deployment", "sched", "default"),),
    )  # fmt: skip
    ledger.prepare(api)
    ledger.write(api, "volcano", entry)
    assert "volcano" not in survey(api)


def installer(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ARENA_INSTALL_STATE": str(tmp_path / "state")}
    command = [sys.executable, "-m", "arena_install", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_a_plan_says_so_and_writes_nothing(
    api: Api, has: Callable[..., None], control_plane: ControlPlane, tmp_path: Path
) -> None:
    has(crd("kubeflow.org", "PyTorchJob"))
    file = str(control_plane.kubeconfig)
    kubectl = partial(_kubectl, file)
    before = objects.take(kubectl)
    done = installer(tmp_path, "plan", "--kubeconfig", file, "--profile", "full", "--json", "--detailed-exitcode")
    assert done.returncode == 4, done.stderr
    told = json.loads(done.stdout)
    assert set(told["left_out"]) == {"flannel", "training-operator"} and told["roles"] == []
    assert "kueue" in {row["component"] for row in told["components"]}
    assert not {"flannel", "training-operator"} & {row["component"] for row in told["components"]}
    assert objects.take(kubectl) == before and not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--kubeconfig", "missing.yaml"), 2, "can't be read"),
        (("--kubeconfig", __file__), 2, "no kubeconfig with a current context"),
        (("--kubeconfig", "x", "-i", "hosts.ini"), 2, "an inventory and a kubeconfig were given"),
    ],
)
def test_bad_input(tmp_path: Path, words: tuple[str, ...], code: int, says: str) -> None:
    done = installer(tmp_path, "plan", *words)
    assert done.returncode == code and says in done.stderr and "Traceback" not in done.stderr, done.stderr


def _kubectl(file: str, *words: str) -> str:
    tool = str(Path(sys.executable).parent / "kubectl")
    return subprocess.run([tool, "--kubeconfig", file, *words], capture_output=True, text=True, check=True).stdout
