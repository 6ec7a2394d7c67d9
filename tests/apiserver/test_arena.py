"""The arena command on a real API server with the training operator's CRDs: what charts render is taken strictly, jobs
come and go whole, and of two that want one name one gets it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from apiserver_fixture import ControlPlane, artifacts_here, binary
from arena_cli.kube import config, resources
from arena_cli.kube.client import Client, at
from arena_install.inventory.cluster import Cluster
from arena_install.inventory.config import Config
from arena_install.stack import artifacts_of, needed

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "unit" / "arena_cli" / "golden"
Arena = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def client(control_plane: ControlPlane) -> Iterator[Client]:
    resolved = artifacts_here(artifacts_of(needed("minimal"), Cluster("test", (), Config(), None)))
    if resolved is None:
        pytest.skip("no artifacts on this machine: make them first (`arena-install up`)")
    client = Client(config.load(str(control_plane.kubeconfig)))
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    files = [resolved.file("training-operator-crds")]
    # Those of profile full are looked at where they were made.
    for name in ("mpi-operator-crds", "volcano-crds", "appwrapper-crds"):
        if (found := artifacts_here([name])) is not None:
            files.append(found.file(name))
    made = [obj for file in files for obj in yaml.safe_load_all(file.read_text()) if obj]
    for obj in made:
        if client.find(f"{crds}/{obj['metadata']['name']}") is None:
            client.create(crds, obj)
    _until(lambda: client.find(at("kubeflow.org/v1", "pytorchjobs", "default")) is not None)
    yield client
    for obj in made:
        client.delete(f"{crds}/{obj['metadata']['name']}")


@pytest.fixture
def namespace(client: Client, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"arena-{request.node.name.split('[')[0].replace('_', '-')}"[:63].strip("-")
    client.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    client.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def environment(control_plane: ControlPlane, tmp_path: Path) -> dict[str, str]:
    helm = binary("helm")
    assert helm is not None
    return {**os.environ, "KUBECONFIG": str(control_plane.kubeconfig), "ARENA_HELM": str(helm), "HOME": str(tmp_path),
            "PYTHONPATH": str(ROOT / "installer")}


@pytest.fixture
def arena(environment: dict[str, str], namespace: str) -> Arena:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "arena_cli", "-n", namespace, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)

    return call


def _until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.2)


def _served(client: Client, obj: dict[str, Any]) -> bool:
    api = str(obj["apiVersion"])
    listed = client.find(f"/apis/{api}" if "/" in api else f"/api/{api}") or {}
    return any(row["kind"] == obj["kind"] for row in listed.get("resources", ()))


def _left(client: Client, namespace: str) -> list[str]:
    paths = [at("v1", plural, namespace) for plural in ("configmaps", "services", "persistentvolumeclaims")]
    paths += [at("apps/v1", "deployments", namespace), at("kubeflow.org/v1", "tfjobs", namespace),
              at("kubeflow.org/v1", "pytorchjobs", namespace)]
    found = [obj["metadata"] for path in paths for obj in client.get(path)["items"]]
    # A claim that goes is kept back by a controller that this control plane lacks.
    return [meta["name"] for meta in found if not meta.get("deletionTimestamp")]


@pytest.mark.parametrize("path", sorted(path for path in GOLDEN.glob("*.yaml") if ".values." not in path.name),
                         ids=lambda path: path.stem)
def test_the_api_takes_what_charts_render_strictly(path: Path, client: Client) -> None:
    """Strictly: a field that the CRD lacks is an error and not dropped."""
    every = list(yaml.safe_load_all(path.read_text()))
    objects = [obj for obj in every if _served(client, obj)]
    for obj in objects:
        client.create(resources.collection(obj, "default"), obj, dryRun="All", fieldValidation="Strict")
    if not objects:
        pytest.skip("of kinds whose CRDs were not made on this machine")


def test_jobs_come_and_go_whole(arena: Arena, client: Client, namespace: str) -> None:
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": namespace},
             "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
    client.create(at("v1", "persistentvolumeclaims", namespace), claim)
    for words in (
        ("tf", "--name", "one", "--image", "i", "--tensorboard", "--data", "data:/data", "--workers", "2", "--ps", "1"),
        ("pytorch", "--name", "two", "--image", "i", "--config-file", f"{ROOT / 'README.md'}:/etc/readme"),
        ("etjob", "--name", "three", "--image", "i", "--max-workers", "3"),
    ):
        done = arena("submit", *words, "python train.py")
        assert done.returncode == 0, done.stderr
    listed = arena("list")
    assert [line.split()[:3] for line in listed.stdout.splitlines()[1:]] and listed.returncode == 0
    assert {tuple(line.split()[:3]) for line in listed.stdout.splitlines()[1:]} == {
        ("one", "PENDING", "TFJOB"), ("two", "PENDING", "PYTORCHJOB"), ("three", "PENDING", "ETJOB")}
    assert "waiting: its operator has made no pod yet" in arena("get", "two").stdout
    assert arena("scaleout", "etjob", "--name", "three", "-t", "1ms").returncode == 5
    assert arena("serve", "custom", "--name", "llm", "--version", "v1", "--image", "i", "--port", "80").returncode == 0
    assert "llm   Custom  v1" in arena("serve", "list").stdout
    assert arena("delete", "one", "two", "three").returncode == 0
    assert arena("serve", "delete", "llm").returncode == 0
    _until(lambda: _left(client, namespace) == ["data"])


def test_what_is_made_goes_with_the_job_whoever_deletes_it(arena: Arena, client: Client, namespace: str) -> None:
    assert arena("submit", "pytorch", "--name", "a", "--image", "i", "--tensorboard", "c").returncode == 0
    assert len(_left(client, namespace)) == 5
    client.delete(at("kubeflow.org/v1", "pytorchjobs", namespace, "a"))
    _until(lambda: _left(client, namespace) == [])


def test_of_two_with_one_name_one_is_made(environment: dict[str, str], client: Client, namespace: str) -> None:
    words = ("submit", "pytorch", "--name", "a", "--image", "i", "-n", namespace, "c")
    command = [sys.executable, "-m", "arena_cli", *words]
    pair = [subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
            for _ in range(2)]
    told: list[tuple[Any, Any]] = [one.communicate() for one in pair]
    assert sorted(one.returncode == 0 for one in pair) == [False, True], told
    assert sorted(_left(client, namespace)) == ["a", "a-pytorchjob"]


def test_a_job_that_the_api_refuses_leaves_nothing(
    arena: Arena, client: Client, namespace: str, tmp_path: Path
) -> None:
    mine = tmp_path / "values.yaml"
    mine.write_text('job: {labels: {"not a key": x}}\n')
    done = arena("submit", "pytorch", "--name", "a", "--image", "i", "--tensorboard", "--values", str(mine), "c")
    assert done.returncode == 1 and "not a key" in done.stderr, done.stderr
    assert _left(client, namespace) == []
