"""The status, the end and the GPUs of a custom resource, for every kind; words are those of upstream's arena."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from arena_cli.look.model import Object

_VOLCANO = {
    "": "SUBMITTED",
    "Inqueue": "SUBMITTED",
    "Pending": "PENDING",
    "Aborting": "FAILED",
    "Aborted": "FAILED",
    "Running": "RUNNING",
    "Restarting": "RUNNING",
    "Completing": "RUNNING",
    "Completed": "SUCCEEDED",
    "Terminating": "FAILED",
    "Terminated": "FAILED",
    "Failed": "FAILED",
}
_WRAPPER = {
    "": "SUSPENDED",
    "Empty": "SUSPENDED",
    "Suspended": "SUSPENDED",
    "Suspending": "SUSPENDED",
    "Resuming": "SUSPENDED",
    "Resetting": "SUSPENDED",
    "Running": "RUNNING",
    "Succeeded": "SUCCEEDED",
    "Failed": "FAILED",
    "Terminating": "FAILED",
}
_RAY = {
    "": "PENDING",
    "PENDING": "PENDING",
    "RUNNING": "RUNNING",
    "STOPPED": "FAILED",
    "SUCCEEDED": "SUCCEEDED",
    "FAILED": "FAILED",
}
_SPARK = {
    "": "PENDING",
    "SUBMITTED": "PENDING",
    "PENDING_RERUN": "PENDING",
    "RUNNING": "RUNNING",
    "SUCCEEDING": "RUNNING",
    "COMPLETED": "SUCCEEDED",
    "FAILED": "FAILED",
    "FAILING": "FAILED",
    "SUBMISSION_FAILED": "FAILED",
    "INVALIDATING": "PENDING",
    "UNKNOWN": "UNKNOWN",
}
#: Conditions of the training operator's and the MPI operator's jobs, the last word first.
_CONDITIONS = (
    ("Failed", "FAILED"),
    ("Succeeded", "SUCCEEDED"),
    ("Suspended", "QUEUING"),
    ("Restarting", "RUNNING"),
    ("Running", "RUNNING"),
    ("Created", "PENDING"),
)


def moment(text: Any) -> float | None:
    """Unix seconds of Kubernetes' time; None where there is none."""
    if not text:
        return None
    return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()


def status_of(kind: str, obj: Object) -> str:
    """kind: as the API has it, such as PyTorchJob."""
    status = obj.get("status") or {}
    match kind:
        case "Job":
            return _VOLCANO.get(str((status.get("state") or {}).get("phase") or ""), "UNKNOWN")
        case "AppWrapper":
            found = _WRAPPER.get(str(status.get("phase") or ""), "UNKNOWN")
            return "FAILED" if found == "RUNNING" and "Unhealthy" in _true(status) else found
        case "RayJob":
            if str(status.get("jobDeploymentStatus") or "") == "Failed":
                return "FAILED"
            if str(status.get("jobDeploymentStatus") or "") == "Suspended":
                return "QUEUING"
            return _RAY.get(str(status.get("jobStatus") or ""), "UNKNOWN")
        case "SparkApplication":
            return _SPARK.get(str((status.get("applicationState") or {}).get("state") or ""), "UNKNOWN")
    held = _true(status)
    for condition, word in _CONDITIONS:
        if condition in held:
            return word
    return "QUEUING" if (obj.get("spec", {}).get("runPolicy") or {}).get("suspend") else "PENDING"


def _true(status: Object) -> dict[str, Object]:
    return {str(row["type"]): row for row in status.get("conditions") or () if row.get("status") == "True"}


def end_of(kind: str, obj: Object) -> float | None:
    """When it succeeded or failed."""
    status = obj.get("status") or {}
    if kind == "Job":
        return moment((status.get("state") or {}).get("lastTransitionTime"))
    if kind == "RayJob":
        return moment(status.get("endTime"))
    if kind == "SparkApplication":
        return moment(status.get("terminationTime"))
    if status.get("completionTime"):
        return moment(status["completionTime"])
    held = _true(status)
    row = next((held[name] for name in ("Succeeded", "Failed", "Unhealthy") if name in held), None)
    if row is None and kind == "AppWrapper":
        rows = [moment(one.get("lastTransitionTime")) for one in status.get("conditions") or ()]
        return max((one for one in rows if one), default=None)
    return moment((row or {}).get("lastTransitionTime"))


def start_of(kind: str, obj: Object) -> float | None:
    """When its operator began with it; a kind whose status does not say so began when it was made."""
    if kind in ("TFJob", "PyTorchJob", "MPIJob", "RayJob"):
        return moment((obj.get("status") or {}).get("startTime"))
    return moment(obj["metadata"].get("creationTimestamp"))


def is_gpu(resource: str) -> bool:
    return resource.endswith("/gpu") or "/mig-" in resource or "Ascend" in resource


def pod_gpus(spec: Object) -> int:
    """GPUs that a pod's containers ask for, of any vendor."""
    total = 0
    for container in spec.get("containers") or ():
        resources = container.get("resources") or {}
        asked = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
        total += sum(int(count) for name, count in asked.items() if is_gpu(name) and str(count).isdigit())
    return total


def templates(kind: str, spec: Object) -> Iterator[tuple[int, Object]]:
    """(replicas, pod template) of all that a job makes."""
    for key in ("tfReplicaSpecs", "pytorchReplicaSpecs", "mpiReplicaSpecs"):
        for role in (spec.get(key) or {}).values():
            yield int(role.get("replicas", 1)), role.get("template") or {}
    if kind == "Job":
        for task in spec.get("tasks") or ():
            yield int(task.get("replicas", 1)), task.get("template") or {}
    if kind == "AppWrapper":
        for part in spec.get("components") or ():
            inner = part.get("template") or {}
            yield from templates(str(inner.get("kind", "")), inner.get("spec") or {})
    if cluster := spec.get("rayClusterSpec"):
        yield 1, (cluster.get("headGroupSpec") or {}).get("template") or {}
        for group in cluster.get("workerGroupSpecs") or ():
            yield int(group.get("replicas", 1)) * int(group.get("numOfHosts", 1)), group.get("template") or {}


def roles(kind: str, spec: Object) -> set[str]:
    """What the pods' names have after the job's: replica types in lower case, Volcano's tasks."""
    found = {
        name.lower()
        for key in ("tfReplicaSpecs", "pytorchReplicaSpecs", "mpiReplicaSpecs")
        for name in spec.get(key) or ()
    }
    if kind == "Job":
        found |= {str(task.get("name", "")) for task in spec.get("tasks") or ()}
    if kind == "AppWrapper":
        inner = [part.get("template") or {} for part in spec.get("components") or ()]
        found |= {name for one in inner for name in roles(str(one.get("kind", "")), one.get("spec") or {})}
    return found


def gpus_of(kind: str, obj: Object) -> int:
    """GPUs of all pods that the job is to have."""
    spec = obj.get("spec") or {}
    if kind == "SparkApplication":
        executor = spec.get("executor") or {}
        return int((executor.get("gpu") or {}).get("quantity", 0)) * int(executor.get("instances", 1))
    return sum(count * pod_gpus(template.get("spec") or {}) for count, template in templates(kind, spec))


def priority_of(kind: str, obj: Object) -> str:
    named: Iterable[Any] = (
        (template.get("spec") or {}).get("priorityClassName") for _, template in templates(kind, obj.get("spec") or {})
    )
    return next((str(name) for name in named if name), "N/A")
