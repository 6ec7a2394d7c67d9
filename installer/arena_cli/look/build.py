"""From what the API lists to jobs: which pods are whose, which of them is the chief, what status that makes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from arena_cli.kinds import BY_TYPE, KINDS, Kind
from arena_cli.look import status as word
from arena_cli.look.model import ENDED, Instance, Job, Object

#: Labels that name a pod's job; upstream's `release` before those of operators, which are all that kubectl's jobs have.
_NAMES = (
    "release",
    "workload.codeflare.dev/appwrapper",  # before the name of what is in it
    "training.kubeflow.org/job-name",
    "volcano.sh/job-name",
    "ray.io/originated-from-cr-name",
    "sparkoperator.k8s.io/app-name",
    "job-name",
)
_CHIEFS = {
    "training.kubeflow.org/job-role": ("master",),
    "training.kubeflow.org/replica-type": ("master", "chief", "launcher"),
    "tf-replica-type": ("chief", "master"),
    "pytorch-replica-type": ("master",),
    "mpi_role_type": ("launcher",),
    "volcano-role": ("driver",),
    "spark-role": ("driver",),
    "ray.io/node-type": ("head",),
}
_INDEX = re.compile(r"-(\d+)$")


def resources() -> list[tuple[Kind, tuple[str, ...]]]:
    """Each custom resource once, with the types that are kept in it."""
    found: dict[tuple[str, str], list[Kind]] = defaultdict(list)
    for kind in KINDS:
        found[kind.api, kind.plural].append(kind)
    return [(rows[0], tuple(row.type for row in rows)) for rows in found.values()]


def type_of(kind: Kind, obj: Object) -> str:
    """Several types share a custom resource; the label `app` tells them apart."""
    app = str((obj["metadata"].get("labels") or {}).get("app", ""))
    named = BY_TYPE.get(app)
    return app if named is not None and named.plural == kind.plural and named.api == kind.api else kind.type


def is_part(obj: Object) -> bool:
    """Made by an AppWrapper, which is the job."""
    return any(owner.get("kind") == "AppWrapper" for owner in obj["metadata"].get("ownerReferences") or ())


def jobs_of(listed: Iterable[tuple[Kind, Iterable[Object]]], pods: Iterable[Object]) -> list[Job]:
    """All jobs, the newest first."""
    mine = by_job(pods)
    found = [
        job_of(kind, obj, mine.get((obj["metadata"]["namespace"], obj["metadata"]["name"]), ()))
        for kind, objects in listed
        for obj in objects
        if not is_part(obj)
    ]
    return sorted(found, key=lambda job: (-job.created, job.namespace, job.name))


def by_job(pods: Iterable[Object]) -> dict[tuple[str, str], list[Object]]:
    found: dict[tuple[str, str], list[Object]] = defaultdict(list)
    for pod in pods:
        labels = pod["metadata"].get("labels") or {}
        if labels.get("role") == "tensorboard" or "servingName" in labels:
            continue
        name = next((labels[key] for key in _NAMES if labels.get(key)), None)
        if name:
            found[pod["metadata"]["namespace"], name].append(pod)
    return found


def job_of(kind: Kind, obj: Object, pods: Sequence[Object]) -> Job:
    meta, type_ = obj["metadata"], type_of(kind, obj)
    # Two jobs of different types may have one name; `app` on the pods says whose they are.
    mine = [pod for pod in pods if (pod["metadata"].get("labels") or {}).get("app", type_) in (type_, *_foreign(pod))]
    mine = sorted(mine, key=_order)
    chief = _chief(mine)
    instances = tuple(instance(pod, pod is chief) for pod in mine)
    status = word.status_of(kind.resource, obj)
    if status == "RUNNING" and any(one.status == "Pending" for one in instances):
        status = "PENDING"
    return Job(
        uid=str(meta.get("uid", "")),
        name=str(meta["name"]),
        namespace=str(meta["namespace"]),
        type=type_,
        status=status,
        created=word.moment(meta.get("creationTimestamp")) or 0.0,
        start=word.start_of(kind.resource, obj),
        end=word.end_of(kind.resource, obj) if status in ENDED else None,
        gpus=word.gpus_of(kind.resource, obj),
        allocated=sum(one.gpus for one in instances if one.node and one.end is None),
        priority=word.priority_of(kind.resource, obj),
        instances=instances,
        raw=obj,
        pods=tuple(mine),
    )


def _foreign(pod: Object) -> tuple[str, ...]:
    """A label `app` that is none of arena's says nothing about the job."""
    app = str((pod["metadata"].get("labels") or {}).get("app", ""))
    return () if app in BY_TYPE else (app,)


def _order(pod: Object) -> tuple[str, int]:
    name = str(pod["metadata"]["name"])
    match = _INDEX.search(name)
    return (name[: match.start()], int(match[1])) if match else (name, 0)


def _chief(pods: Sequence[Object]) -> Object | None:
    for pod in pods:
        labels = pod["metadata"].get("labels") or {}
        if any(str(labels.get(key, "")).lower() in values for key, values in _CHIEFS.items()):
            return pod
    workers = [pod for pod in pods if "-ps-" not in pod["metadata"]["name"]]
    return next(iter(workers or pods), None)


def pod_status(pod: Object) -> str:
    """The phase, or why the pod as a whole failed (Evicted)."""
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    status = pod.get("status") or {}
    return str(status.get("reason") or status.get("phase") or "Unknown")


def ended(pod: Object) -> float | None:
    """When the last of its containers ended, once the pod is done."""
    status = pod.get("status") or {}
    if status.get("phase") not in ("Succeeded", "Failed"):
        return None
    times = [
        word.moment((row.get("state") or {}).get("terminated", {}).get("finishedAt"))
        for row in status.get("containerStatuses") or ()
    ]
    return max((time for time in times if time), default=word.moment(pod["metadata"].get("creationTimestamp")))


def instance(pod: Object, chief: bool) -> Instance:
    meta, status, spec = pod["metadata"], pod.get("status") or {}, pod.get("spec") or {}
    return Instance(
        name=str(meta["name"]),
        status=pod_status(pod),
        ip=str(status.get("podIP", "")),
        node=str(spec.get("nodeName", "")),
        node_ip=str(status.get("hostIP", "")),
        chief=chief,
        gpus=word.pod_gpus(spec),
        created=word.moment(meta.get("creationTimestamp")) or 0.0,
        end=ended(pod),
    )
