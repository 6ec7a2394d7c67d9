"""Pods that checks make: manifests that Pod Security "restricted" lets in, waiting, and why one does not start."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from arena_install.errors import ArenaError
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Object, namespaced
from arena_install.verify.needs import GPU
from arena_install.verify.workspace import CHECK_LABEL, RUN_LABEL

BUSYBOX = "docker.io/library/busybox:1.37.0"
PYTORCH = "arena-install.local/verify-pytorch:2.6.0"
MPI = "arena-install.local/verify-mpi:5.0.7"
TENSORFLOW = "arena-install.local/verify-tensorflow:2.21.0"
SERVING = "arena-install.local/arena-serving:1.0"

USER = 65532  # "nonroot" of distroless images: in no host's passwd

#: Seconds for which a pod may be in such a state before it counts as stuck.
_STUCK = {
    "ImagePullBackOff": 30.0,
    "ErrImagePull": 45.0,
    "CrashLoopBackOff": 0.0,
    "CreateContainerConfigError": 10.0,
    "CreateContainerError": 10.0,
    "RunContainerError": 10.0,
    "InvalidImageName": 0.0,
    "ErrImageNeverPull": 0.0,
}
_UNSCHEDULABLE = 20.0


def manifest(
    ctx: Context,
    name: str,
    image: str,
    command: Sequence[str],
    *,
    node: str = "",
    gpus: int = 0,
    env: Mapping[str, str] | None = None,
    runtime_class: str = "",
    payload: str = "",
    volumes: Sequence[tuple[Object, str]] = (),
    labels: Mapping[str, str] | None = None,
    port: int = 0,
) -> Object:
    """A pod that runs once. node: must run there, whatever its taints. payload: ConfigMap mounted at /payload.
    volumes: (volume source, mount path) pairs. port: where it answers HTTP once it is ready."""
    pairs = [*volumes, *([({"configMap": {"name": payload}}, "/payload")] if payload else [])]
    limits = {"memory": "512Mi"} | ({GPU: str(gpus)} if gpus else {})
    container: Object = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        "env": [{"name": key, "value": value} for key, value in (env or {}).items()],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": limits},
        "securityContext": container_security(),
        "volumeMounts": [{"name": f"v{i}", "mountPath": path} for i, (_, path) in enumerate(pairs)],
    }
    if port:
        container["readinessProbe"] = {"httpGet": {"path": "/", "port": port}, "periodSeconds": 1}
    spec: Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": pod_security(),
        "containers": [container],
        "volumes": [{"name": f"v{i}", **source} for i, (source, _) in enumerate(pairs)],
    }
    if runtime_class:
        spec["runtimeClassName"] = runtime_class
    if node:
        spec |= pinned(node)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {**own_labels(ctx), **(labels or {})}},
        "spec": spec,
    }


def on_host(pod: Object) -> Object:
    """Make a pod of manifest() a privileged one that sees its node's root, read-only, at /host. For the namespace
    "privileged" alone."""
    spec = pod["spec"]
    spec["volumes"].append({"name": "host", "hostPath": {"path": "/", "type": "Directory"}})
    spec["securityContext"] = {"runAsUser": 0}
    for container in spec["containers"]:
        container["securityContext"] = {"privileged": True}
        container["volumeMounts"].append({"name": "host", "mountPath": "/host", "readOnly": True})
    return pod


def own_labels(ctx: Context) -> dict[str, str]:
    return {RUN_LABEL: ctx.session.id, CHECK_LABEL: ctx.label}


def claim(ctx: Context, namespace: str, name: str, mebibytes: int) -> None:
    """Ask for a volume of the default StorageClass."""
    body = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "labels": own_labels(ctx)},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": f"{mebibytes}Mi"}}},
    }
    ctx.kube.create(namespaced("persistentvolumeclaims", namespace), body)


def pod_security() -> Object:
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> Object:
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def pinned(node: str) -> Object:
    """Spec fields that bring a pod to this node by way of the scheduler, as a DaemonSet's are."""
    terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"affinity": {"nodeAffinity": required}, "tolerations": [{"operator": "Exists"}]}


def create(ctx: Context, namespace: str, pods: Sequence[Object]) -> None:
    for pod in pods:
        ctx.kube.create(namespaced("pods", namespace), pod)


def remove(ctx: Context, namespace: str, pods: Sequence[Object], *, wait: bool = True) -> None:
    """Delete at once; `wait` until they are gone, so that what they held is free again."""
    names = {str(pod["metadata"]["name"]) for pod in pods}
    for name in names:
        ctx.kube.delete(namespaced("pods", namespace, name), grace=1)
    if wait:
        ctx.wait(
            lambda: True if not names & {p["metadata"]["name"] for p in found(ctx, namespace)} else None,
            "the check's own pods to go",
            every=0.5,
        )


def found(ctx: Context, namespace: str) -> list[Object]:
    """The pods of this check, as they are now."""
    return ctx.kube.items(namespaced("pods", namespace), labelSelector=f"{CHECK_LABEL}={ctx.label}")


def wait_for(
    ctx: Context, namespace: str, names: Sequence[str], ready: Callable[[Object], bool], what: str
) -> dict[str, Object]:
    """Wait until `ready` holds for each of these pods. Returns them by name.

    Raises CheckFailed as soon as one is known to be stuck or has failed, with cause and fix.
    """
    since: dict[str, float] = {}
    last: dict[str, Object] = {}

    def look() -> dict[str, Object] | None:
        pods = {pod["metadata"]["name"]: pod for pod in found(ctx, namespace)}
        last.clear()
        last.update(pods)
        waiting = [name for name in names if name not in pods or not ready(pods[name])]
        if not waiting:
            return {name: pods[name] for name in names}
        for name in waiting:
            if name in pods:
                judge(ctx, pods[name], since)
        ctx.progress(f"{len(names) - len(waiting)} of {len(names)} {what}; waiting for {waiting[0]}")
        return None

    try:
        return ctx.wait(look, what)
    except Exception:
        capture(ctx, namespace)
        raise


def done(pod: Object) -> bool:
    return bool(pod["status"].get("phase") == "Succeeded")


def running(pod: Object) -> bool:
    conditions = pod["status"].get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def run_all(ctx: Context, namespace: str, pods: Sequence[Object], what: str = "pods done") -> dict[str, str]:
    """Create pods, wait until all succeeded, give their logs by pod name, capture evidence and remove them."""
    create(ctx, namespace, pods)
    names = [str(pod["metadata"]["name"]) for pod in pods]
    wait_for(ctx, namespace, names, done, what)
    logs = {name: ctx.kube.logs(namespace, name) for name in names}
    capture(ctx, namespace)
    remove(ctx, namespace, pods, wait=False)
    return logs


def capture(ctx: Context, namespace: str) -> None:
    """Save this check's pods, their logs and the events about them. What can't be read is left out: evidence must not
    hide the finding."""
    try:
        pods = found(ctx, namespace)
        ctx.save("pods.yaml", pods)
        for pod in pods:
            name = pod["metadata"]["name"]
            spec = pod["spec"]
            for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
                if log := ctx.kube.logs(namespace, name, container["name"]):
                    suffix = (
                        ""
                        if len(spec["containers"]) == 1 and container in spec["containers"]
                        else f".{container['name']}"
                    )
                    ctx.save(f"logs/{name}{suffix}.log", log)
        mine = {pod["metadata"]["name"] for pod in pods}
        events = [e for e in ctx.kube.items(namespaced("events", namespace)) if e["involvedObject"].get("name") in mine]
        ctx.save("events.txt", "".join(event_line(event) for event in events) or "no events\n")
    except ArenaError as error:
        ctx.save("capture-error.txt", f"{error}\n")


def event_line(event: Object) -> str:
    """One line about an event, as `kubectl get events` has it."""
    when = event.get("lastTimestamp") or event.get("eventTime") or ""
    about = event["involvedObject"]
    who = f"{about.get('kind')}/{about.get('name')}"
    return f"{when} {event.get('type')} {who} {event.get('reason')}: {event.get('message')}\n"


def judge(ctx: Context, pod: Object, since: dict[str, float]) -> None:
    """Raise CheckFailed for a pod that will not get better; remember since when it has been in a bad state."""
    name, node = pod["metadata"]["name"], pod["spec"].get("nodeName", "")
    trouble = _trouble(pod)
    if trouble is None:
        since.pop(name, None)
        return
    state, message, patience = trouble
    key_since = since.setdefault(name, time.monotonic())
    if time.monotonic() - key_since < patience:
        return
    where = f"pod {name}" + (f" on node {node}" if node else "")
    raise CheckFailed(f"{where} is {state}", cause=message or state, fix=_fix(state, message, node))


def _trouble(pod: Object) -> tuple[str, str, float] | None:
    """(state, message, seconds of patience) of a pod that is not getting on, None for one that may be."""
    status = pod["status"]
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("reason")), str(condition.get("message")), _UNSCHEDULABLE
    containers: list[Any] = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    for container in containers:
        waiting = container["state"].get("waiting") or {}
        if waiting.get("reason") in _STUCK:
            return waiting["reason"], str(waiting.get("message", "")), _STUCK[waiting["reason"]]
    if status.get("phase") == "Failed":
        for container in containers:
            ended = container["state"].get("terminated") or {}
            if ended.get("exitCode"):
                why = f"container {container['name']} ended with {ended['exitCode']} ({ended.get('reason')})"
                return "Failed", " ".join([why, ended.get("message", "")]).strip(), 0.0
        return "Failed", str(status.get("message") or status.get("reason") or ""), 0.0
    return None


def _fix(state: str, message: str, node: str) -> str:
    if "Image" in state:
        return "arena-install up puts the images into the registry again; arena-install doctor shows whether it answers"
    if state == "Unschedulable" and GPU in message:
        return "kubectl get pods -A -o wide shows who holds the GPUs; kubectl describe node shows what each node offers"
    if state == "Unschedulable":
        return "kubectl describe nodes shows taints and free resources"
    return (
        f"see the pod's log and events in the evidence folder; kubectl describe node {node}"
        if node
        else ("see the pod's log and events in the evidence folder")
    )
