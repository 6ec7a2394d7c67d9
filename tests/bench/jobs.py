"""`arena list`, `get` and `top node` on 1,000 jobs of three kinds and 2,000 pods on 50 nodes, in turns with upstream's.

The API server is a real one on loopback, without kubelets: what is listed are objects, and nothing runs. The jobs are
what `arena submit` renders; their pods and states are set as the operators would.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from measure import BIN, Row, median_seconds, peak_memory
from peer import upstream

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from apiserver_fixture import ControlPlane, apply_crds, artifacts_here
from arena_install.stack.api import Api

JOBS, NODES = 1000, 50
#: How many of ten -> type, its flags, the labels by which its operator marks pods.
_KINDS = (
    (5, "pytorchjob", ("--image", "train:1", "--workers", "2"), "training.kubeflow.org/job-name"),
    (3, "tfjob", ("--image", "train:1", "--workers", "2"), "training.kubeflow.org/job-name"),
    (2, "volcanojob", ("--task-images", "train:1", "--task-replicas", "2"), "volcano.sh/job-name"),
)
_SERVED = (("kubeflow.org/v1", "PyTorchJob"), ("kubeflow.org/v1", "TFJob"), ("batch.volcano.sh/v1alpha1", "Job"))
_RUNNING = {
    "conditions": [{"type": "Running", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    "startTime": "2026-01-01T00:00:00Z",
}
_AT_ONCE = 16
_ANY = "name-of-the-job"

Object = dict[str, Any]


def rows(rounds: int) -> list[Row]:
    theirs = upstream()
    found: list[Row] = []
    with ControlPlane() as plane:
        name = _fill(plane.kubeconfig)
        with tempfile.TemporaryDirectory() as home:
            env = {"KUBECONFIG": str(plane.kubeconfig), "HOME": home}
            for words in (("list",), ("get", name), ("top", "node")):
                commands = {"ours": [str(BIN / "arena"), *words], "theirs": [str(theirs), *words]}
                times = median_seconds(commands, 3 * rounds, env)
                bar = 0.5 if words == ("list",) else 1
                what = f"arena {words[0] if words[0] != 'top' else 'top node'}, {JOBS} jobs, against upstream's"
                found.append(Row(what, times["ours"], times["theirs"], "s", bar))
                if words == ("list",):
                    peaks = {who: peak_memory(command, env) / 2**20 for who, command in commands.items()}
                    found.append(Row(f"{what}: peak memory", peaks["ours"], peaks["theirs"], "MiB", 1))
    return found


def _fill(kubeconfig: Path) -> str:
    """Name of one of the jobs."""
    resolved = artifacts_here(["helm", "training-operator-crds", "volcano-crds"])
    if resolved is None:
        raise SystemExit("bench: no artifacts on this machine\n  fix: arena-install up --profile full")
    api = Api(kubeconfig)
    apply_crds(api, resolved, "training-operator-crds", "volcano-crds")
    for version, kind in _SERVED:
        while not api.knows(version, kind):
            time.sleep(0.2)
    for index in range(NODES):
        meta = {"name": f"node-{index}", "labels": {"kubernetes.io/hostname": f"node-{index}"}}
        api.create({"apiVersion": "v1", "kind": "Node", "metadata": meta})
        offered = {"cpu": "64", "memory": "256Gi", "pods": "200", "nvidia.com/gpu": "80"}
        status = {"capacity": offered, "allocatable": offered, "conditions": [{"type": "Ready", "status": "True"}]}
        _status(api, "v1", "Node", f"node-{index}", "", status)
    jobs = list(_jobs(kubeconfig, resolved.program("helm")))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda row: _make(api, *row), enumerate(jobs)))
    api.close()
    return str(jobs[0][0]["metadata"]["name"])


def _jobs(kubeconfig: Path, helm: Path) -> Iterator[tuple[Object, str]]:
    """(job, label of its pods), all of them."""
    env = {**os.environ, "KUBECONFIG": str(kubeconfig), "ARENA_HELM": str(helm)}
    for share, type_, flags, label in _KINDS:
        words = ["submit", type_, "--name", _ANY, "--gpus", "1", *flags, "--dry-run", "python train.py"]
        told = subprocess.run([str(BIN / "arena"), *words], stdout=subprocess.PIPE, text=True, check=True, env=env)
        (job,) = (row for row in yaml.safe_load_all(told.stdout) if row and row["kind"].endswith("Job"))
        for index in range(JOBS * share // 10):
            text = yaml.safe_dump(job).replace(_ANY, f"{type_}-{index}")
            yield yaml.safe_load(text), label


def _make(api: Api, index: int, row: tuple[Object, str]) -> None:
    job, label = row
    name = job["metadata"]["name"]
    job["metadata"]["namespace"] = "default"
    made = api.create(job)
    state = {"state": {"phase": "Running"}} if "volcano" in job["apiVersion"] else _RUNNING
    _status(api, job["apiVersion"], job["kind"], name, "default", state)
    owner = {"apiVersion": job["apiVersion"], "kind": job["kind"], "name": name, "uid": made["metadata"]["uid"]}
    for number in range(2):
        meta = {
            "name": f"{name}-worker-{number}",
            "namespace": "default",
            "labels": {**job["metadata"].get("labels", {}), label: name, "release": name},
            "ownerReferences": [{**owner, "controller": True}],
        }
        asks = {"limits": {"nvidia.com/gpu": "1"}}
        spec = {
            "nodeName": f"node-{(2 * index + number) % NODES}",
            "containers": [{"name": "main", "image": "train:1", "resources": asks}],
        }
        api.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        _status(api, "v1", "Pod", meta["name"], "default", {"phase": "Running", "startTime": "2026-01-01T00:00:00Z"})


def _status(api: Api, version: str, kind: str, name: str, namespace: str, status: Object) -> None:
    api.request(
        "PATCH",
        f"{api.path(version, kind, namespace, name)}/status",
        body={"status": status},
        content_type="application/merge-patch+json",
    )
