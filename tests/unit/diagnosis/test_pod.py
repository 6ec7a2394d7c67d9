"""Why a pod does not run, from pods as a real cluster had them (made broken on purpose, trimmed, see pods/)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arena_install.diagnosis.pod import diagnose_pod, never_made
from arena_install.diagnosis.pod_view import PodView

PODS = Path(__file__).parent / "pods"
REGISTRY = frozenset({"docker.io/library/busybox:1.37.0", "registry.k8s.io/pause:3.10.2"})

#: pod -> (words of the cause, words of what was seen, words of the last line)
BROKEN = {
    "affinity": ("no node is as it wants: no=such", "node affinity/selector", "kubectl label node NODE no=such"),
    "bad-command": ("its command /no/such/program can't be started: no such file", "exec:", "kubectl replace"),
    "cpu-too-much": ("no node has enough cpu left: it wants 100 cpu", "w1 has 2", "kubectl replace"),
    "crashes": ("container main crashes by itself with exit code 3", "no such column: label", "--previous"),
    "env-missing": ("the configmap absent that it takes variables from", "not found", "create configmap absent"),
    "failed": ("container main has failed by itself with exit code 7", "done badly", "logs failed -c main"),
    "gpus-too-many": ("it wants 5 GPUs, and no node has so many", "w2: 4 of 4 GPUs held by", "kubectl replace"),
    "hunger-2": ("it wants 1 on one node, 0 of 8 are free", "held by doctor-cases/hunger (4)", "delete pod hunger"),
    "image-unknown": ("docker.io/library/nosuch:1.0 is not in this cluster's registry", "pull", "kubectl replace"),
    "image-unknown-registry": ("registry.nowhere.example/a/b:1 is not in this", "no such host", "kubectl replace"),
    "init-crashes": ("init container fetch (2 of 2) crashes", "cannot reach the store", "-c fetch --previous"),
    "init-waits": ("wait-for-master (1 of 1) has not ended yet", "waiting for master", "-c wait-for-master"),
    "no-network": ("its sandbox gets no network: the pod network (CNI) of w2", 'find plugin "bridge"', "doctor"),
    "not-ready": ("container main runs and is not ready", "Readiness probe failed", "logs not-ready"),
    "oom": ("was ended for want of memory (OOMKilled), its limit is 16Mi", "137", "kubectl replace"),
    "pinned-gpus": ("the kubelet of w1 did not give it 9 GPUs (UnexpectedAdmissionError)", "Available: 4", "delete"),
    "registry-stopped": ("the registry of docker.io/library/busybox:1.37.0 does not answer", "refused", "doctor"),
    "runtime-handler": ("means the runtime nohandler, which containerd on w2", "no runtime for", "kubectl replace"),
    "secret-missing": ("the secret absent that it mounts does not exist", "not found", "create secret generic absent"),
    "tainted": ("does not tolerate the taint", "cp1: taint node-role.kubernetes.io/control-plane", "kubectl replace"),
    "volume-missing": ("its volume claim absent does not exist", "not found", "get persistentvolumeclaims"),
    "volume-unbound": ("wants StorageClass nosuch, which does not exist", "nosuch", "delete persistentvolumeclaim"),
}


def load(name: str) -> PodView:
    case: dict[str, Any] = json.loads((PODS / f"{name}.json").read_text())
    lists = {key: tuple(value) for key, value in case.items() if isinstance(value, list)}
    return PodView(**{**case, **lists, "images": REGISTRY})


@pytest.mark.parametrize("name", BROKEN)
def test_the_cause_is_named(name: str) -> None:
    what, seen, last = BROKEN[name]
    found = diagnose_pod(load(name))
    assert found.broken is not None
    assert what in found.broken.what
    assert seen in "\n".join(found.broken.seen)
    assert last in found.broken.fixes[-1].command
    assert not found.broken.fixes[-1].sentence
    assert (found.name, found.namespace, found.exit_code) == (name, "doctor-cases", 1)


@pytest.mark.parametrize("name", ["well", "done"])
def test_a_pod_that_is_well(name: str) -> None:
    found = diagnose_pod(load(name))
    assert found.broken is None
    assert found.exit_code == 0


def test_every_pod_that_was_kept_is_used() -> None:
    assert {path.stem for path in PODS.glob("*.json")} == {*BROKEN, "well", "done", "never-made"}


def test_without_the_lock_an_image_is_not_called_unknown() -> None:
    found = diagnose_pod(replace(load("image-unknown"), images=None))
    assert found.broken is not None
    assert "can't be pulled" in found.broken.what


def test_another_tag_of_the_same_image_is_suggested() -> None:
    view = load("image-unknown")
    view.pod["spec"]["containers"][0]["image"] = "busybox:2"
    view.pod["status"]["containerStatuses"][0]["image"] = "busybox:2"
    found = diagnose_pod(view)
    assert found.broken is not None
    assert "use docker.io/library/busybox:1.37.0" in found.broken.fixes[1].command


def test_a_pod_of_a_deployment_is_changed_there() -> None:
    view = load("oom")
    view.pod["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": "web-5d4f"}]
    found = diagnose_pod(view)
    assert found.broken is not None
    assert found.broken.fixes[-1].command == "kubectl -n doctor-cases edit deployment web"


def test_a_pod_that_a_quota_forbids() -> None:
    events = json.loads((PODS / "never-made.json").read_text())
    found = never_made("doctor-cases", "over-quota", events)
    assert found is not None and found.broken is not None
    assert "may not make it: quota no-deployments is used up" in found.broken.what
    assert "limits.memory=4Gi" in found.broken.seen[0]
    assert found.broken.fixes[-1].command == "kubectl -n doctor-cases describe resourcequota no-deployments"
    assert never_made("doctor-cases", "another", events) is None


def test_a_pod_on_a_node_that_is_not_ready() -> None:
    view = load("well")
    view.pod["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    down = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped"}
    node = {"metadata": {"name": view.node}, "spec": {}, "status": {"conditions": [down]}}
    for row in view.pod["status"]["containerStatuses"]:
        row["ready"] = True
    found = diagnose_pod(replace(view, nodes=(node,)))
    assert found.broken is not None
    assert found.broken.what == f"its node {view.node} is not Ready"


def test_a_pod_that_does_not_go() -> None:
    view = load("well")
    view.pod["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.org/keep"]}
    found = diagnose_pod(view)
    assert found.broken is not None
    assert "its finalizers hold it: example.org/keep" in found.broken.what
