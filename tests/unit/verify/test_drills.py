"""The drills on a cluster of the test: what comes back passes, what does not is told with its cause."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from arena_install.errors import TimedOutError
from arena_install.verify import pods, pytorchjob
from arena_install.verify.checks import gpu_drills, training_drill
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.model import Outcome
from arena_install.verify.registry import load
from arena_install.verify.session import Session

GPU = "GPU-0"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, session: Session) -> None:
    """One GPU node with four GPUs, no pod's; no waiting."""
    node = {"metadata": {"name": "w1"}, "status": {"allocatable": {"nvidia.com/gpu": "4"}}}
    monkeypatch.setattr(session, "gpu_nodes", lambda: [node])
    monkeypatch.setattr(session, "gpu_names", lambda: ["w1"])
    monkeypatch.setattr(gpu_drills, "free_gpus", lambda *_: 4)
    monkeypatch.setattr(gpu_drills, "_SETTLE", 0.0)
    monkeypatch.setattr(session.workspaces, "get", lambda _: "space")
    monkeypatch.setattr(session.workspaces, "payload", lambda _: "payload")
    for name in ("create", "capture", "remove", "wait_for"):
        monkeypatch.setattr(pods, name, lambda *_, **__: None)


def check(session: Session, id: str) -> Outcome:
    found = load()[id]
    return found.run(Context(session, found))


# ---- daemon-reload --------------------------------------------------------------------------------------------------


def reload(session: Session, monkeypatch: pytest.MonkeyPatch, *seen: str) -> tuple[Outcome, list[Any]]:
    """seen: what a process in the pod prints, time after time."""
    answers, asked = list(seen), []
    monkeypatch.setattr(gpu_drills, "execute", lambda *_: (0, answers.pop(0), ""))
    agents: Any = SimpleNamespace(ask_all=lambda ctx, kind, command, nodes: asked.append((kind, command("w1"), nodes)))
    monkeypatch.setattr(session, "agents", agents)
    return check(session, "gpu.survives-reload"), asked


SEES = 'ARENA-VERIFY {"kind": "gpus", "uuids": ["GPU-0"], "error": ""}'
BLIND = 'ARENA-VERIFY {"kind": "gpus", "uuids": [], "error": "NVMLError_Unknown: Unknown Error"}'


def test_a_pod_that_keeps_its_gpu(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, asked = reload(session, monkeypatch, SEES, SEES)
    assert outcome.status == "pass"
    ((kind, command, nodes),) = asked
    assert (kind, command[-2:], nodes) == ("host", ["systemctl", "daemon-reload"], ["w1"])


def test_a_pod_that_loses_it(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, _ = reload(session, monkeypatch, SEES, BLIND)
    assert outcome.status == "fail" and "SystemdCgroup" in outcome.fix
    assert outcome.cause == "w1: after the reload the pod sees no GPU (NVMLError_Unknown: Unknown Error)"
    outcome, _ = reload(session, monkeypatch, BLIND, BLIND)
    assert "the pod saw no GPU to begin with" in outcome.cause


@pytest.mark.parametrize("id", ["gpu.survives-reload", "gpu.plugin-restart"])
def test_nobody_who_holds_a_gpu_is_disturbed(session: Session, monkeypatch: pytest.MonkeyPatch, id: str) -> None:
    monkeypatch.setattr(gpu_drills, "free_gpus", lambda *_: 3)
    outcome = check(session, id)
    assert outcome.status == "skip" and not load()[id].required
    assert not load()[id].default and load()[id].alone, "it disturbs: only who asks for it gets it"


# ---- the device plugin ----------------------------------------------------------------------------------------------


def plugin(uid: str, *, owner: str = "DaemonSet", waiting: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": waiting, "message": "back-off"}} if waiting else {"running": {}}
    status = {"conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [{"name": "c", "state": state}]}
    meta = {"name": "nvidia-device-plugin-x", "namespace": "plugins", "uid": uid, "ownerReferences": [{"kind": owner}]}
    return {"metadata": meta, "spec": {"nodeName": "w1", "containers": []}, "status": status}


@pytest.fixture
def restart(session: Session, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Outcome, list[str]]]:
    """restart(plugin before, plugin after, what becomes of the pod): the outcome, and what was deleted."""

    def one(before: dict[str, Any], after: dict[str, Any], seen: list[str] | None) -> tuple[Outcome, list[str]]:
        deleted: list[str] = []
        kube: Any = SimpleNamespace(
            items=lambda path: [after if deleted else before],
            delete=lambda path: deleted.append(path),
            logs=lambda *_, **__: "",
        )
        session.kube = kube

        def take(*_: Any) -> list[str]:
            if seen is None:
                raise TimedOutError("waited 60 s for a pod to get 4 GPUs of w1")
            return seen

        monkeypatch.setattr(gpu_drills, "_take_all", take)
        return check(session, "gpu.plugin-restart"), deleted

    return one


def test_a_plugin_that_comes_back(restart: Callable[..., tuple[Outcome, list[str]]]) -> None:
    outcome, deleted = restart(plugin("1"), plugin("2"), ["a", "b", "c", "d"])
    assert outcome.status == "pass" and outcome.observed.endswith("4 GPUs")
    assert deleted == ["/api/v1/namespaces/plugins/pods/nvidia-device-plugin-x"]


def test_a_plugin_that_does_not(restart: Callable[..., tuple[Outcome, list[str]]]) -> None:
    with pytest.raises(CheckFailed) as caught:
        restart(plugin("1"), plugin("2", waiting="CrashLoopBackOff"), None)
    assert caught.value.why == "nvidia-device-plugin-x: c: CrashLoopBackOff back-off"
    assert "kubectl -n plugins describe pod nvidia-device-plugin-x" in caught.value.fix


def test_a_plugin_that_nobody_would_make_again_is_left_alone(
    restart: Callable[..., tuple[Outcome, list[str]]],
) -> None:
    outcome, deleted = restart(plugin("1", owner="Node"), plugin("2"), [])
    assert outcome.status == "skip" and not deleted


def take(session: Session, monkeypatch: pytest.MonkeyPatch, phases: list[str], uuids: str) -> tuple[list[str], int]:
    """phases: of one pod after the other, as long as they fail."""
    made: list[str] = []
    monkeypatch.setattr(pods, "create", lambda ctx, space, new: made.extend(p["metadata"]["name"] for p in new))
    monkeypatch.setattr(
        pods, "found",
        lambda *_: [{"metadata": {"name": name}, "status": {"phase": phases[i]}} for i, name in enumerate(made)],
    )  # fmt: skip
    kube: Any = SimpleNamespace(logs=lambda *_: f'ARENA-VERIFY {{"kind": "gpus", "uuids": {uuids}, "error": ""}}')
    session.kube = kube
    monkeypatch.setattr(session, "sleep", lambda *_: None)
    context = Context(session, load()["gpu.plugin-restart"])
    import time

    return gpu_drills._take_all(context, "w1", 2, time.monotonic()), len(made)


def test_a_pod_that_the_kubelet_turned_away_is_tried_again(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    assert take(session, monkeypatch, ["Failed", "Failed", "Succeeded"], '["a", "b"]') == (["a", "b"], 3)
    with pytest.raises(CheckFailed, match="was given 2 GPUs and sees 1"):
        take(session, monkeypatch, ["Succeeded"], '["a"]')


# ---- a worker -------------------------------------------------------------------------------------------------------


def replica(name: str, uid: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": uid}, "status": {"phase": "Running"}}


@pytest.fixture
def drill(session: Session, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Outcome, list[str]]]:
    """drill(looks): the pods that the check sees, look after look; gives the outcome and what was deleted."""

    def one(*looks: list[dict[str, Any]], finals: int = 2) -> tuple[Outcome, list[str]]:
        deleted: list[str] = []
        working = 'ARENA-VERIFY {"kind": "working"}'
        kube: Any = SimpleNamespace(logs=lambda *_: working, delete=lambda path, grace=0: deleted.append(path))
        session.kube = kube
        state = {"status": {"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:40Z"}}

        def await_success(*_: Any, watch: Callable[[Any], None], judged: bool) -> Any:
            assert not judged, "pods that end badly are what this is about"
            for look in looks:
                watch(look)
            return state

        monkeypatch.setattr(pytorchjob, "free_gpus", lambda *_: 4)
        monkeypatch.setattr(pytorchjob, "submit", lambda *_: None)
        monkeypatch.setattr(pytorchjob, "remove", lambda *_: None)
        monkeypatch.setattr(pytorchjob, "await_success", await_success)
        monkeypatch.setattr(pytorchjob, "heard", lambda *_: {"p": [{"kind": "final"}] * finals})
        return check(session, "training.recovers"), deleted

    return one


MASTER = replica("drill-master-0", "m")


def test_a_worker_that_is_made_again(drill: Callable[..., tuple[Outcome, list[str]]]) -> None:
    both = [MASTER, replica("drill-worker-0", "1")]
    outcome, deleted = drill([MASTER], both, [MASTER], [MASTER, replica("drill-worker-0", "2")])
    assert outcome.status == "pass" and "succeeded in 40 s" in outcome.observed
    assert deleted == ["/api/v1/namespaces/space/pods/drill-worker-0"]


def test_a_worker_that_is_not(
    drill: Callable[..., tuple[Outcome, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_drill, "_AGAIN", -1.0)
    with pytest.raises(CheckFailed, match="drill-worker-0 was not made again"):
        drill([MASTER, replica("drill-worker-0", "1")], [MASTER])


def test_a_job_that_was_not_disturbed_proves_nothing(drill: Callable[..., tuple[Outcome, list[str]]]) -> None:
    outcome, _ = drill([MASTER])
    assert outcome.status == "fail" and outcome.cause == "the job ended before its worker could be killed"
    both = [MASTER, replica("drill-worker-0", "1")]
    outcome, _ = drill(both, [MASTER, replica("drill-worker-0", "2")], finals=1)
    assert outcome.status == "fail" and "1 of 2 replicas finished" in outcome.observed
