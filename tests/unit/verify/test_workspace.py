"""Namespaces and pods against a real API server on loopback: what Pod Security lets in, what a user may, what stays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from arena_install.verify import pods, pytorchjob, readers
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import ApiError, Kube, namespaced
from arena_install.verify.leftovers import capture_rest
from arena_install.verify.session import Session
from arena_install.verify.workspace import Workspaces

if TYPE_CHECKING:
    from apiserver_fixture import ControlPlane


@pytest.fixture
def kube(control_plane: ControlPlane) -> Kube:
    return Kube(control_plane.kubeconfig)


@pytest.fixture
def context(kube: Kube, session: Session, make_check: Any, request: pytest.FixtureRequest) -> Iterator[Context]:
    id = f"t{abs(hash(request.node.name)) % 10**6}"
    live = Session(id, session.cluster, kube, None, session.facts, session.evidence, session.emit)
    yield Context(live, make_check("gpu.test", lambda _: None, timeout=20.0))
    live.workspaces.close(0)  # removing a namespace takes seconds: one test waits for it


def test_what_checks_run_is_let_in_by_pod_security(context: Context) -> None:
    work = context.session.workspaces
    restricted, baseline, privileged = work.get("restricted"), work.get("baseline"), work.get("privileged")
    plain = pods.manifest(
        context, "plain", pods.BUSYBOX, ["true"], node="n", gpus=1, payload=work.payload(restricted),
        volumes=[({"emptyDir": {}}, "/www")],
    )  # fmt: skip
    pods.create(context, restricted, [plain])
    job = pytorchjob.manifest(context, pytorchjob.Job("j", ["true"], 4, ["a", "b"]), work.payload(baseline))
    template = job["spec"]["pytorchReplicaSpecs"]["Master"]["template"]
    template["metadata"] |= {"name": "replica"}
    for namespace in (baseline, restricted):  # the replicas themselves would do with restricted
        context.kube.create(namespaced("pods", namespace), {"apiVersion": "v1", "kind": "Pod", **template})
    reader = readers._manifest(context, "reader", "n", work.payload(privileged))
    pods.create(context, privileged, [reader])
    for namespace in (baseline, restricted):
        with pytest.raises(ApiError, match="refused") as caught:
            pods.create(context, namespace, [reader])
        assert caught.value.status == 403
    assert context.kube.get(namespaced("configmaps", privileged, "payload"))["data"].keys() >= {
        "mnist.py",
        "node_reader.py",
    }


def test_the_user_may_train_in_the_runs_namespace_and_nothing_else(context: Context) -> None:
    namespace = context.session.workspaces.get("baseline")
    user = context.session.workspaces.user(namespace)
    assert context.session.workspaces.user(namespace) is user

    def may(verb: str, resource: str, group: str = "", space: str = namespace) -> bool:
        attributes = {"verb": verb, "resource": resource, "group": group, "namespace": space}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = user.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        return bool(answer["status"]["allowed"])

    assert may("create", "pytorchjobs", "kubeflow.org")
    assert may("get", "pods")
    assert not may("create", "pods")
    assert not may("list", "secrets")
    assert not may("create", "pytorchjobs", "kubeflow.org", "default")
    assert not may("list", "nodes")


def test_a_dead_runs_namespaces_are_swept(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    dead, live = Workspaces(kube, "dead"), Workspaces(kube, "live")
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 1_700_000_000.0)
        dead.get("restricted")
    live.get("restricted")
    assert Workspaces(kube, "next").sweep() == ["arena-verify-dead"]
    dead.close(0)
    assert live.close(30) == []
    assert kube.find("/api/v1/namespaces/arena-verify-live") is None


def test_pods_are_waited_for_and_removed(context: Context, control_plane: ControlPlane) -> None:
    namespace = context.session.workspaces.get("restricted")
    made = [pods.manifest(context, f"p{i}", pods.BUSYBOX, ["sleep", "9"]) for i in range(2)]
    from apiserver_fixture import HollowNode

    with HollowNode(control_plane.kubeconfig, f"node-{context.session.id}"):
        pods.create(context, namespace, made)
        there = pods.wait_for(context, namespace, ["p0", "p1"], pods.running, "pods running")
        assert there["p0"]["status"]["podIP"]
        pods.remove(context, namespace, made)
        assert pods.found(context, namespace) == []


def test_a_stuck_pod_is_explained_with_evidence(
    context: Context,
    control_plane: ControlPlane,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(pods._STUCK, "ImagePullBackOff", 0.5)
    namespace = context.session.workspaces.get("restricted")
    from apiserver_fixture import HollowNode

    with HollowNode(control_plane.kubeconfig, f"node-{context.session.id}"):
        pods.create(context, namespace, [pods.manifest(context, "p", "example.com/broken:1", ["true"])])
        with pytest.raises(CheckFailed) as caught:
            pods.wait_for(context, namespace, ["p"], pods.running, "pods running")
    assert "ImagePullBackOff" in caught.value.what
    assert "no such image example.com/broken:1" in caught.value.why
    assert "gpu.test/pods.yaml" in context.evidence
    assert "ImagePullBackOff" in (context.session.evidence / "gpu.test/pods.yaml").read_text()


def test_what_is_left_is_saved_before_it_goes(context: Context) -> None:
    namespace = context.session.workspaces.get("baseline")
    pod = pods.manifest(context, "p", pods.BUSYBOX, ["true"], env={"DB_PASSWORD": "hunter2"})
    pods.create(context, namespace, [pod])
    context.session.facts = replace(context.facts, pytorchjobs=False)
    capture_rest(context.session)
    saved = (context.session.evidence / "run" / namespace / "pods.yaml").read_text()
    assert "arena-install.local/check: gpu.test" in saved
    assert "hunter2" not in saved


def test_gpus_that_jobs_hold_are_not_free(context: Context, control_plane: ControlPlane) -> None:
    name = f"node-{context.session.id}"
    context.facts = context.session.facts = replace(context.facts, gpu_nodes=(name,))
    namespace = context.session.workspaces.get("restricted")
    from apiserver_fixture import HollowNode

    with HollowNode(control_plane.kubeconfig, name, {"nvidia.com/gpu": "4"}):
        assert pytorchjob.free_gpus(context, name) == 4
        pods.create(context, namespace, [pods.manifest(context, "p", pods.BUSYBOX, ["sleep", "9"], gpus=3)])
        pods.wait_for(context, namespace, ["p"], pods.running, "pods running")
        assert pytorchjob.free_gpus(context, name) == 1
