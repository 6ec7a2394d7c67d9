"""The platform's own pods: which they are, and whether one is well."""

from __future__ import annotations

from arena_install.errors import ArenaError
from arena_install.verify.context import Context
from arena_install.verify.kube import Object
from arena_install.verify.workspace import RUN_LABEL

_FOR_GPUS = ("nvidia-device-plugin", "gpu-feature-discovery")
_LONG = 300  # characters of a runtime's message that are still worth a reader's time


def pods(ctx: Context) -> list[Object]:
    """Pods of kube-system and of the namespaces that arena-install made, but not those that verify itself makes."""
    ours = {"kube-system"}
    for space in ctx.kube.items("/api/v1/namespaces"):
        labels = space["metadata"].get("labels") or {}
        if labels.get("app.kubernetes.io/managed-by") == "arena-install" and RUN_LABEL not in labels:
            ours.add(space["metadata"]["name"])
    return [pod for pod in ctx.kube.items("/api/v1/pods") if pod["metadata"]["namespace"] in ours]


def is_for_gpus(pod: Object) -> bool:
    """Device plugin and feature discovery: they fail with the GPUs, and the gpu suite tells why."""
    return any(name in pod["metadata"]["name"] for name in _FOR_GPUS)


def fails_with_gpus(pod: Object) -> bool:
    """Those, and the exporter: suites gpu and observability say of them what is wrong."""
    return is_for_gpus(pod) or pod["metadata"]["name"].startswith("gpu-exporter-")


def is_device_plugin(pod: Object) -> bool:
    return is_for_gpus(pod) and "gpu-feature-discovery" not in pod["metadata"]["name"]


def for_gpus(ctx: Context) -> list[Object]:
    """In any namespace: the cluster may have got them from somebody else."""
    return [pod for pod in ctx.kube.items("/api/v1/pods") if is_for_gpus(pod)]


def unready(pod: Object) -> str:
    """Why a pod isn't ready, "" when it is or has done its work."""
    why = _unready(pod)
    return why if len(why) <= _LONG else why[: _LONG - 1] + "…"


def _unready(pod: Object) -> str:
    status = pod["status"]
    if status.get("phase") == "Succeeded":
        return ""
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = container["state"].get("waiting")
        if waiting and waiting.get("reason") != "PodInitializing":
            return f"{container['name']}: {waiting.get('reason')} {waiting.get('message', '')}".strip()
        ended = container["state"].get("terminated") or {}
        if ended.get("exitCode"):
            return f"{container['name']}: ended with {ended['exitCode']} ({ended.get('reason')})"
    for condition in status.get("conditions") or []:
        if condition["type"] in ("Ready", "PodScheduled") and condition["status"] != "True":
            return " ".join(filter(None, (condition.get("reason"), condition.get("message")))) or "not ready"
    return "" if status.get("conditions") else f"phase {status.get('phase')}"


def save(ctx: Context, found: list[Object]) -> None:
    """Keep these pods and the ends of their logs as the check's evidence."""
    ctx.save("pods.yaml", found)
    for pod in found:
        meta = pod["metadata"]
        for container in pod["spec"]["containers"]:
            file = f"logs/{meta['namespace']}.{meta['name']}.{container['name']}.log"
            try:
                if log := ctx.kube.logs(meta["namespace"], meta["name"], container["name"], tail=200):
                    ctx.save(file, log)
            except ArenaError as error:  # its kubelet does not answer, say: evidence must not hide the finding
                ctx.save(file, f"no log: {error}\n")
