"""PyTorchJobs that checks run: one master and workers, one GPU each, submitted by a user without other rights."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from arena_install.errors import TimedOutError
from arena_install.verify import pods
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import ApiError, Kube, Object, namespaced, when
from arena_install.verify.needs import GPU, allocatable
from arena_install.verify.records import records

KIND = "kubeflow.org/v1"
CONTAINER = "pytorch"
#: Seconds until the operator has made pods; and, once the master runs, until the others have found its name.
_PODS_WITHIN, _NAME_WITHIN = 60.0, 60.0

BUSY_FIX = "run verify when jobs have ended: kubectl get pods -A -o wide"


@dataclass(frozen=True)
class Job:
    """command: of every replica. world: replicas, the master among them. nodes: names of those it may run on. restart:
    the replicas' restartPolicy. retries: how often they may be started again in all. gpus, memory_gib: of each replica.
    apart: no two replicas on one node."""

    name: str
    command: Sequence[str]
    world: int
    nodes: Sequence[str]
    image: str = pods.PYTORCH
    restart: str = "Never"
    retries: int = 0
    gpus: int = 1
    memory_gib: int = 2
    apart: bool = False

    @property
    def master(self) -> str:
        return f"{self.name}-master-0"


def submit(ctx: Context, job: Job, namespace: str) -> None:
    """Make it, as an ordinary user of this namespace. Raises CheckFailed when the API does not take it."""
    body = manifest(ctx, job, ctx.session.workspaces.payload(namespace))
    ctx.save("pytorchjob.yaml", body)
    user: Kube = ctx.session.workspaces.user(namespace)
    try:
        user.create(namespaced("pytorchjobs", namespace, group=KIND), body)
    except ApiError as error:
        raise CheckFailed(
            "the API took no PyTorchJob from an ordinary user",
            cause=error.why,
            fix="kubectl -n kubeflow get pods; kubectl -n kubeflow logs deployment/training-operator",
        ) from error


def remove(ctx: Context, job: Job, namespace: str) -> None:
    """With its pods, and wait for these: what they held is free again."""
    ctx.kube.delete(namespaced("pytorchjobs", namespace, job.name, group=KIND))
    ctx.wait(lambda: True if not pods.found(ctx, namespace) else None, "the job's pods to go", every=1)


def await_success(
    ctx: Context,
    job: Job,
    namespace: str,
    *,
    watch: Callable[[list[Object]], None] | None = None,
    judged: bool = True,
) -> Object:
    """Wait for the job's end; gives the PyTorchJob. watch: is shown the pods at every look. judged: whether a pod in
    trouble, or one that is long in starting, means that the job is lost.

    Raises CheckFailed or TimedOutError with evidence saved.
    """
    since: dict[str, float] = {}
    times = {"job": time.monotonic()}

    def look() -> Object | None:
        state = ctx.kube.get(namespaced("pytorchjobs", namespace, job.name, group=KIND))
        if ended("Succeeded", state):
            return state
        if condition := ended("Failed", state):
            raise CheckFailed(
                "the job failed",
                cause=why(ctx, namespace) or str(condition.get("message")),
                fix="see the replicas' logs in the evidence",
            )
        there = pods.found(ctx, namespace)
        for pod in there if judged else ():
            pods.judge(ctx, pod, since)
        if watch:
            watch(there)
        if judged and _overdue(job, there, times):
            seconds = time.monotonic() - times["job"]
            raise TimedOutError(f"waited {seconds:.0f} s for the PyTorchJob's replicas to start")
        phases = [pod["status"].get("phase") for pod in there]
        running, done = phases.count("Running"), phases.count("Succeeded")
        ctx.progress(f"{len(there)} of {job.world} replicas, {running} running, {done} done")
        return None

    try:
        return ctx.wait(look, "the PyTorchJob to succeed", every=1.5)
    except TimedOutError as error:
        there = pods.found(ctx, namespace)
        pods.capture(ctx, namespace)
        if not there:
            raise CheckFailed(
                error.what,
                cause="the training operator made no pods",
                fix="kubectl -n kubeflow logs deployment/training-operator",
            ) from error
        raise CheckFailed(
            error.what,
            cause=_stuck(there) or why(ctx, namespace) or error.what,
            fix="see the replicas' logs and events in the evidence",
        ) from error
    except Exception:
        pods.capture(ctx, namespace)
        raise


def ended(kind: str, state: Object) -> Object | None:
    """The job's condition of this kind, None while it is not true."""
    conditions = state.get("status", {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == kind and c["status"] == "True"), None)


def heard(ctx: Context, namespace: str) -> dict[str, list[dict[str, Any]]]:
    """Pod name -> what it reported, of this check's pods."""
    names = [str(pod["metadata"]["name"]) for pod in pods.found(ctx, namespace)]
    return {name: records(ctx.kube.logs(namespace, name, CONTAINER)) for name in names}


def why(ctx: Context, namespace: str) -> str:
    """The last line of the first replica's log that ended badly."""
    for pod in pods.found(ctx, namespace):
        if pod["status"].get("phase") == "Failed":
            lines = ctx.kube.logs(namespace, pod["metadata"]["name"], CONTAINER).strip().splitlines()
            return f"{pod['metadata']['name']}: {lines[-1] if lines else 'ended without a word'}"
    return ""


def seconds(state: Object) -> str:
    """How long it took by its status, for people."""
    status = state.get("status", {})
    try:
        start, end = (when(status[key]) for key in ("startTime", "completionTime"))
    except (KeyError, ValueError):
        return "unknown time"
    return f"{end - start:.0f} s"


def free_gpus(ctx: Context, node: str) -> int:
    """Allocatable GPUs of a node that no pod holds."""
    offered = next((allocatable(n) for n in ctx.session.gpu_nodes() if n["metadata"]["name"] == node), 0)
    held = 0
    for pod in ctx.kube.items("/api/v1/pods", fieldSelector=f"spec.nodeName={node}"):
        if pod["status"].get("phase") not in ("Succeeded", "Failed"):
            held += sum(int(c.get("resources", {}).get("limits", {}).get(GPU, 0)) for c in pod["spec"]["containers"])
    return offered - held


def _overdue(job: Job, there: list[Object], times: dict[str, float]) -> bool:
    """Whether replicas should long have started. times: since when the job is there, and ("master") its master runs."""
    now = time.monotonic()
    if not there:
        return now > times["job"] + _PODS_WITHIN
    if any(pod["metadata"]["name"] == job.master and pods.running(pod) for pod in there):
        times.setdefault("master", now)
    return bool(_stuck(there)) and now > times.get("master", now) + _NAME_WITHIN


def _stuck(there: list[Object]) -> str:
    """Replicas that wait in an init container wait for the master's name to resolve."""
    initial = [
        p["metadata"]["name"]
        for p in there
        if any(s["state"].get("running") for s in p["status"].get("initContainerStatuses") or [])
    ]
    return f"{', '.join(initial)} still wait for the master's name to resolve (init container)" if initial else ""


def manifest(ctx: Context, job: Job, payload: str) -> Object:
    """payload: the ConfigMap that is mounted at /payload."""
    labels = pods.own_labels(ctx)
    host = "kubernetes.io/hostname"
    terms = [{"matchExpressions": [{"key": host, "operator": "In", "values": list(job.nodes)}]}]
    env: list[Object] = [
        {"name": "USE_LIBUV", "value": "0"},  # Debian's torch is built without libuv
        {"name": "OMP_NUM_THREADS", "value": "1"},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    ]

    def replica(count: int) -> Object:
        template = {
            "metadata": {"labels": dict(labels)},
            "spec": {
                "automountServiceAccountToken": False,
                "securityContext": pods.pod_security(),
                "affinity": {
                    "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
                },
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 1,
                        "topologyKey": host,
                        "whenUnsatisfiable": "DoNotSchedule" if job.apart else "ScheduleAnyway",
                        "labelSelector": {"matchLabels": labels},
                    }
                ],
                "containers": [
                    {
                        "name": CONTAINER,
                        "image": job.image,
                        "imagePullPolicy": "IfNotPresent",
                        "command": list(job.command),
                        "env": env,
                        "resources": {
                            "requests": {"cpu": "100m", "memory": "256Mi"},
                            "limits": {GPU: str(job.gpus), "memory": f"{job.memory_gib}Gi"},
                        },
                        "securityContext": pods.container_security(),
                        "volumeMounts": [
                            {"name": "payload", "mountPath": "/payload"},
                            {"name": "shm", "mountPath": "/dev/shm"},  # processes of one pod exchange data by it
                        ],
                    }
                ],
                "volumes": [
                    {"name": "payload", "configMap": {"name": payload}},
                    {"name": "shm", "emptyDir": {"medium": "Memory"}},
                ],
            },
        }
        return {"replicas": count, "restartPolicy": job.restart, "template": template}

    return {
        "apiVersion": KIND,
        "kind": "PyTorchJob",
        "metadata": {"name": job.name, "labels": labels},
        "spec": {
            "runPolicy": {"cleanPodPolicy": "None", "backoffLimit": job.retries},
            "pytorchReplicaSpecs": {
                "Master": replica(1),
                **({"Worker": replica(job.world - 1)} if job.world > 1 else {}),
            },
        },
    }
