"""A small cluster at one moment: jobs of ours, of upstream's arena and of kubectl's, with their pods and nodes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

Object = dict[str, Any]
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def ago(**time: int) -> str:
    return (NOW - timedelta(**time)).strftime("%Y-%m-%dT%H:%M:%SZ")


def template(gpus: int, **spec: Any) -> Object:
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    return {"spec": {"containers": [{"name": "main", "resources": {"limits": limits}}], **spec}}


def job(
    api: str,
    kind: str,
    name: str,
    spec: Object,
    *,
    age: str,
    app: str = "",
    namespace: str = "default",
    conditions: list[Object] | None = None,
    **status: Any,
) -> Object:
    labels = {"app": app, "release": name} if app else {}
    told = {"conditions": conditions} if conditions else {}
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{name}",
            "labels": labels,
            "creationTimestamp": age,
        },
        "spec": spec,
        "status": {**told, **status, **({"startTime": age} if kind in ("TFJob", "PyTorchJob", "MPIJob") else {})},
    }


def true(kind: str, when: str = "") -> Object:
    return {"type": kind, "status": "True", "lastTransitionTime": when}


def pod(
    name: str,
    gpus: int,
    labels: dict[str, str],
    *,
    node: str = "",
    phase: str = "Running",
    age: str = ago(minutes=10),
    namespace: str = "default",
    **status: Any,
) -> Object:
    number = {"gpu-1": 11, "gpu-2": 12, "cp-1": 1}.get(node, 0)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "creationTimestamp": age},
        "spec": {**template(gpus)["spec"], **({"nodeName": node} if node else {})},
        "status": {"phase": phase, **({"hostIP": f"10.0.0.{number}", "podIP": "10.244.0.9"} if node else {}), **status},
    }


def node(
    name: str, number: int, gpus: int, *, lost: int = 0, roles: tuple[str, ...] = (), ready: str = "True", **spec: Any
) -> Object:
    def amount(count: int) -> dict[str, str]:
        return {"cpu": "8", **({"nvidia.com/gpu": str(count)} if gpus else {})}

    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {f"node-role.kubernetes.io/{role}": "" for role in roles}},
        "spec": spec,
        "status": {
            "addresses": [{"type": "InternalIP", "address": f"10.0.0.{number}"}],
            "capacity": amount(gpus),
            "allocatable": amount(gpus - lost),
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


KUBEFLOW, MPI, VOLCANO = "kubeflow.org/v1", "kubeflow.org/v2beta1", "batch.volcano.sh/v1alpha1"
WRAPPER = "workload.codeflare.dev/v1beta2"

JOBS = [
    job(
        KUBEFLOW,
        "PyTorchJob",
        "pt-run",
        {
            "pytorchReplicaSpecs": {
                "Master": {"replicas": 1, "template": template(2, priorityClassName="high")},
                "Worker": {"replicas": 1, "template": template(2)},
            }
        },
        age=ago(minutes=10),
        app="pytorchjob",
        conditions=[true("Created"), true("Running")],
    ),
    job(
        KUBEFLOW,
        "TFJob",
        "tf-old",
        {"tfReplicaSpecs": {"Chief": {"replicas": 1, "template": template(1)}}},
        age=ago(days=3),
        app="tfjob",
        conditions=[true("Succeeded", ago(days=1))],
        completionTime=ago(days=1),
    ),
    job(
        VOLCANO,
        "Job",
        "vj-wait",
        {"tasks": [{"name": "task-0", "replicas": 3, "template": template(4)}]},
        age=ago(seconds=45),
        app="volcanojob",
        state={"phase": "Pending"},
    ),
    job(
        MPI,
        "MPIJob",
        "mpi-kubectl",
        {
            "mpiReplicaSpecs": {
                "Launcher": {"template": template(0)},
                "Worker": {"replicas": 2, "template": template(1)},
            }
        },
        age=ago(hours=2),
        conditions=[true("Running")],
    ),
    job(
        WRAPPER,
        "AppWrapper",
        "aw",
        {
            "components": [
                {
                    "template": {
                        "apiVersion": KUBEFLOW,
                        "kind": "PyTorchJob",
                        "spec": {"pytorchReplicaSpecs": {"Master": {"template": template(1)}}},
                    }
                }
            ]
        },
        age=ago(hours=1),
        app="appwrapperjob",
        phase="Suspended",
    ),
    job(
        KUBEFLOW,
        "PyTorchJob",
        "elastic",
        {
            "elasticPolicy": {"minReplicas": 1, "maxReplicas": 4},
            "pytorchReplicaSpecs": {"Worker": {"replicas": 2, "template": template(1)}},
        },
        age=ago(minutes=30),
        app="etjob",
        conditions=[true("Running")],
    ),
    job(
        KUBEFLOW,
        "PyTorchJob",
        "theirs",
        {"pytorchReplicaSpecs": {"Master": {"template": template(1)}}},
        age=ago(minutes=5),
        app="pytorchjob",
        namespace="team",
        conditions=[true("Failed", ago(minutes=1))],
    ),
]
_INNER = job(
    KUBEFLOW,
    "PyTorchJob",
    "aw",
    {"pytorchReplicaSpecs": {"Master": {"template": template(1)}}},
    age=ago(hours=1),
    app="appwrapperjob",
    conditions=[true("Running")],
)
_INNER["metadata"]["ownerReferences"] = [{"kind": "AppWrapper", "name": "aw", "uid": "uid-aw"}]
JOBS.append(_INNER)

_PT = {"release": "pt-run", "app": "pytorchjob", "training.kubeflow.org/job-name": "pt-run"}
_MPI = {"training.kubeflow.org/job-name": "mpi-kubectl"}
_ET = {"release": "elastic", "app": "etjob"}
PODS = [
    pod("pt-run-master-0", 2, {**_PT, "training.kubeflow.org/replica-type": "master"}, node="gpu-1"),
    pod(
        "pt-run-worker-0", 2, {**_PT, "training.kubeflow.org/replica-type": "worker"}, node="gpu-2", age=ago(minutes=9)
    ),
    pod("pt-run-tensorboard-1", 0, {"release": "pt-run", "app": "pytorchjob", "role": "tensorboard"}, node="gpu-1"),
    pod("mpi-kubectl-launcher-x", 0, {**_MPI, "training.kubeflow.org/replica-type": "launcher"}, node="cp-1"),
    pod("mpi-kubectl-worker-0", 1, _MPI, node="gpu-1"),
    pod("mpi-kubectl-worker-1", 1, _MPI, node="gpu-1"),
    pod("elastic-worker-0", 1, _ET, node="gpu-2"),
    pod("elastic-worker-1", 1, _ET, phase="Pending"),
    pod(
        "theirs-master-0",
        1,
        {"release": "theirs", "app": "pytorchjob"},
        node="gpu-2",
        phase="Failed",
        namespace="team",
        containerStatuses=[{"name": "main", "state": {"terminated": {"exitCode": 1, "finishedAt": ago(minutes=1)}}}],
    ),
]
NODES = [
    node("gpu-2", 12, 8, lost=1),
    node("gpu-1", 11, 8),
    node("cp-1", 1, 0, roles=("control-plane",), unschedulable=True),
]
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "pt-run-tensorboard", "namespace": "default"},
    "spec": {"ports": [{"port": 6006, "nodePort": 31234}]},
}
EVENTS = [
    {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e1", "namespace": "default"},
        "type": "Normal",
        "reason": "Scheduled",
        "message": "Successfully assigned default/pt-run-master-0 to gpu-1",
        "lastTimestamp": ago(minutes=10),
        "involvedObject": {"kind": "Pod", "name": "pt-run-master-0"},
    },
    {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e2", "namespace": "default"},
        "type": "Normal",
        "reason": "Scheduled",
        "message": "of another job",
        "lastTimestamp": ago(minutes=10),
        "involvedObject": {"kind": "Pod", "name": "pt-run-2-master-0"},
    },
]
