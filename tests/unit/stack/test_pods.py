"""What is said of pods and workloads, from objects as the API server has them."""

from __future__ import annotations

from typing import Any

import pytest

from arena_install.stack.pods import pod_state, rollout


def pod(*statuses: dict[str, Any], init: tuple[dict[str, Any], ...] = (), **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {"nodeName": "w1"},
        "status": {"containerStatuses": list(statuses), "initContainerStatuses": list(init), **status},
    }


def container(restarts: int = 0, ready: bool = False, **state: Any) -> dict[str, Any]:
    return {"name": "main", "restartCount": restarts, "ready": ready, "state": state}


READY = [{"type": "Ready", "status": "True"}]
UNSCHEDULABLE = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes fit"}]
PULL = container(waiting={"reason": "ImagePullBackOff", "message": "no such image"})
CRASH = {**container(4, waiting={"reason": "CrashLoopBackOff"}), "lastState": {"terminated": {"exitCode": 2}}}


@pytest.mark.parametrize(
    ("given", "reason", "text", "broken"),
    [
        (pod(container(ready=True, running={}), conditions=READY), "Running", "", False),
        (pod(phase="Pending", conditions=UNSCHEDULABLE), "Unschedulable", "0/2 nodes fit", False),
        (pod(PULL), "ImagePullBackOff", "no such image", False),
        (pod(CRASH), "CrashLoopBackOff", "exit code 2", True),
        (pod(container(1, waiting={"reason": "CrashLoopBackOff"})), "CrashLoopBackOff", "1 restarts", False),
        (pod(container(waiting={"reason": "CreateContainerConfigError"})), "CreateContainerConfigError", "", True),
        (pod(container(waiting={"reason": "PodInitializing"}), init=(PULL,)), "ImagePullBackOff", "such image", False),
        (pod(container(terminated={"exitCode": 3, "reason": "Error"})), "Error", "exit code 3", False),
        (pod(container(running={}), phase="Running"), "is running but not ready", "container main", False),
        (pod(phase="Pending"), "Pending", "", False),
    ],
)
def test_a_pods_state_is_that_of_the_first_thing_wrong(
    given: dict[str, Any], reason: str, text: str, broken: bool
) -> None:
    state = pod_state(given)
    assert (state.reason, state.broken) == (reason, broken)
    assert state.ready == (reason == "Running")
    assert text in str(state)
    assert str(state).startswith("pod n/p on w1")


DAEMONS = {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2}


@pytest.mark.parametrize(
    ("kind", "spec", "counts", "lack"),
    [
        ("Deployment", {"replicas": 2}, {"updatedReplicas": 2, "availableReplicas": 1}, "1 of 2 ready"),
        ("Deployment", {"replicas": 2}, {"updatedReplicas": 2, "availableReplicas": 2}, ""),
        ("Deployment", {"replicas": 1}, {"updatedReplicas": 0, "availableReplicas": 1}, "0 of 1 ready"),
        ("Deployment", {"replicas": 1}, {"replicas": 2, "updatedReplicas": 1, "availableReplicas": 1}, "1 of the old"),
        ("Deployment", {"replicas": 1}, {"observedGeneration": 0}, "not yet seen by its controller"),
        ("DaemonSet", {}, {**DAEMONS, "numberAvailable": 1}, "1 of 2 ready"),
        ("DaemonSet", {}, {"desiredNumberScheduled": 0}, ""),
        ("StatefulSet", {"replicas": 1}, {"updatedReplicas": 1, "readyReplicas": 1}, ""),
        ("Job", {"completions": 1}, {}, "0 of 1 completed"),
        ("Job", {"completions": 1}, {"succeeded": 1}, ""),
    ],
)
def test_a_rollout_counts_fresh_and_ready_pods(
    kind: str, spec: dict[str, Any], counts: dict[str, Any], lack: str
) -> None:
    status = {"observedGeneration": 1, **counts}
    said = rollout({"kind": kind, "metadata": {"generation": 1}, "spec": spec, "status": status})
    assert said.startswith(lack) if lack else said == ""
