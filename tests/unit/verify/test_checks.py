"""Judgements that checks make from what the cluster says, case by case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from arena_install.errors import StepError
from arena_install.verify.checks import cluster, gpu, gpu_pods, platform
from arena_install.verify.context import Context
from arena_install.verify.model import Check, passed
from arena_install.verify.session import Session


def pod(
    name: str, *, ready: bool = True, node: str = "w1", waiting: str = "", phase: str = "Running"
) -> dict[str, Any]:
    state = {"waiting": {"reason": waiting, "message": "m" * 1000}} if waiting else {"running": {}}
    return {
        "metadata": {"name": name, "namespace": "n"},
        "spec": {"nodeName": "w1", "containers": [{"name": "c", "image": "i"}]},
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": str(ready), "reason": "" if ready else "ContainersNotReady"}],
            "containerStatuses": [{"name": "c", "state": state}],
        },
    }


def node(name: str, has: int, gives: int) -> dict[str, Any]:
    amounts = {"capacity": {"nvidia.com/gpu": str(has)}, "allocatable": {"nvidia.com/gpu": str(gives)}}
    return {"metadata": {"name": name}, "status": amounts}


def test_why_a_pod_is_not_ready() -> None:
    assert platform.unready(pod("a")) == ""
    assert platform.unready(pod("a", ready=False, phase="Succeeded")) == ""
    assert platform.unready(pod("a", ready=False)) == "ContainersNotReady"
    stuck = platform.unready(pod("a", ready=False, waiting="CrashLoopBackOff"))
    assert stuck.startswith("c: CrashLoopBackOff") and len(stuck) <= 300
    dead = pod("a", ready=False)
    dead["status"]["initContainerStatuses"] = [
        {"name": "i", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}
    ]
    assert platform.unready(dead) == "i: ended with 1 (Error)"


def test_gpu_pods_are_told_apart() -> None:
    plugin, discovery = pod("nvidia-device-plugin-x"), pod("nvidia-device-plugin-gpu-feature-discovery-y")
    assert platform.is_device_plugin(plugin) and not platform.is_device_plugin(discovery)
    assert platform.is_for_gpus(discovery) and not platform.is_for_gpus(pod("coredns-z"))


@pytest.mark.parametrize(
    ("nodes", "plugin", "cause"),
    [
        ([node("w1", 0, 0)], [], "no device plugin runs"),
        ([node("w1", 4, 4), node("w2", 0, 0)], [pod("nvidia-device-plugin-x")], "runs on w2"),
        (
            [node("w1", 0, 0)],
            [pod("nvidia-device-plugin-x", ready=False, waiting="CrashLoopBackOff")],
            "CrashLoopBackOff",
        ),
        ([node("w1", 4, 3)], [pod("nvidia-device-plugin-x")], "only 3 allocatable"),
    ],
)
def test_why_gpus_are_not_offered(nodes: list[Any], plugin: list[Any], cause: str) -> None:
    problems = gpu._plugin_problems(nodes, plugin)
    assert problems
    assert cause in gpu._plugin_cause(plugin, nodes, problems)
    assert gpu._plugin_fix(plugin)


def test_gpus_seen_and_assigned_are_compared() -> None:
    def row(seen: list[str], assigned: list[str]) -> dict[str, Any]:
        return {"pod": "p", "node": "w1", "seen": seen, "assigned": assigned, "error": "NVML is silent"}

    assert gpu_pods.compare([row(["a"], ["a"]), row(["a", "b"], ["b", "a"])]) == []
    assert gpu_pods.compare([row(["a"], ["b"])]) == ["pod p on w1 sees a, was assigned b"]
    assert gpu_pods.compare([row([], ["b"])]) == ["pod p on w1 sees no GPU: NVML is silent"]
    assert gpu_pods.compare([row(["a", "b"], ["a"])]) == ["pod p on w1 sees a, b, was assigned a"]


def test_the_digests_by_which_an_image_may_be_known() -> None:
    blobs = [
        {"digest": "sha256:c", "media_type": "application/vnd.oci.image.config.v1+json"},
        {"digest": "sha256:l", "media_type": "application/vnd.oci.image.layer.v1.tar+zstd"},
    ]
    assert cluster._digests({"manifest": "sha256:m", "blobs": blobs}) == {"sha256:m", "sha256:c"}


def test_versions_are_compared_by_minor() -> None:
    assert [cluster._minor(version) for version in ("v1.36.3", "1.9", "rubbish")] == [36, 9, 0]


def test_an_unreadable_log_does_not_hide_the_finding(session: Session, make_check: Callable[..., Check]) -> None:
    class Kube:
        def logs(self, *_: object, **__: object) -> str:
            raise StepError("the kubelet does not answer")

    session.kube = Kube()  # type: ignore[assignment]
    context = Context(session, make_check("cluster.system-pods", lambda _: passed("", "")))
    platform.save(context, [pod("a", ready=False)])
    assert context.evidence == ("cluster.system-pods/pods.yaml", "cluster.system-pods/logs/n.a.c.log")
