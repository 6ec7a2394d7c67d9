"""Suite gpu, the drills: what happens on every host some day is done on purpose, where no pod holds a GPU."""

from __future__ import annotations

import time
from typing import Any

from arena_install.errors import TimedOutError
from arena_install.verify import pods
from arena_install.verify.checks import platform
from arena_install.verify.checks.gpu_host import verdict
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Object, namespaced
from arena_install.verify.model import Outcome, passed, skipped
from arena_install.verify.needs import allocatable
from arena_install.verify.pytorchjob import BUSY_FIX, free_gpus
from arena_install.verify.records import records
from arena_install.verify.registry import check
from arena_install.verify.streams import execute

_VIEW = ["python3", "/payload/gpu_view.py"]
#: The host's systemctl, in the host's own mount namespace, by an agent of kind "host".
_RELOAD = ["busybox", "nsenter", "-t", "1", "-m", "systemctl", "daemon-reload"]
_SETTLE = 5.0  # seconds until what a reload sets off has happened
_MOST = 8  # nodes that are drilled
_BACK = 60.0  # seconds in which a device plugin has to be back


def idle_nodes(ctx: Context) -> list[str]:
    """GPU nodes on which no pod holds a GPU: a drill there is nobody's loss."""
    offered = {str(node["metadata"]["name"]): allocatable(node) for node in ctx.session.gpu_nodes()}
    return [name for name, count in offered.items() if count and free_gpus(ctx, name) == count]


@check(
    "gpu.survives-reload",
    "Running pods keep their GPUs over a daemon-reload",
    proves="after `systemctl daemon-reload` on its host, a pod that runs still gets at the GPU that it had",
    required=False,  # where pods hold GPUs on every node
    needs=("gpu.one-gpu",),
    holds=("gpu",),
    timeout=240,
    writes=True,
    default=False,
    alone=True,
)
def survives_reload(ctx: Context) -> Outcome:
    nodes = idle_nodes(ctx)[:_MOST]
    if not nodes:
        return skipped("pods hold GPUs on every GPU node, and might lose them", fix=BUSY_FIX)
    namespace = ctx.session.workspaces.get("restricted")
    payload = ctx.session.workspaces.payload(namespace)
    places = {f"reload-{i}": node for i, node in enumerate(nodes)}
    made = [
        pods.manifest(ctx, pod, pods.PYTORCH, [*_VIEW, "hold"], node=node, gpus=1, payload=payload)
        for pod, node in places.items()
    ]
    try:
        pods.create(ctx, namespace, made)
        pods.wait_for(ctx, namespace, list(places), pods.running, "pods with a GPU running")
        before = {pod: _seen(ctx, namespace, pod) for pod in places}
        ctx.session.agents.ask_all(ctx, "host", lambda _: _RELOAD, nodes=nodes)
        ctx.session.sleep(_SETTLE, ctx.deadline)
        after = {pod: _seen(ctx, namespace, pod) for pod in places}
        pods.capture(ctx, namespace)
    finally:
        pods.remove(ctx, namespace, made)
    rows = {node: {"before": before[pod], "after": after[pod]} for pod, node in places.items()}
    ctx.save("seen.json", rows)
    problems = [f"{node}: {what}" for node, row in rows.items() if (what := lost(row["before"], row["after"]))]
    host = problems[0].partition(":")[0] if problems else ""
    return verdict(
        "NVML in the pod lists the same GPU before and after",
        problems,
        f"on host {host}: GPUs by CDI and containerd's SystemdCgroup = true survive it; arena-install up sets both",
        f"{len(nodes)} pods on {', '.join(nodes)} kept their GPU",
    )


def _seen(ctx: Context, namespace: str, pod: str) -> dict[str, Any]:
    """What a new process in the pod sees: what an old one has opened says nothing."""
    _, out, err = execute(ctx.kube, namespace, pod, _VIEW)
    return next(iter(records(out, "gpus")), {"uuids": [], "error": (err or out).strip()[-300:]})


def lost(before: dict[str, Any], after: dict[str, Any]) -> str:
    """What a pod has lost, "" when it sees what it saw."""
    if not before["uuids"]:
        return f"the pod saw no GPU to begin with: {before['error'] or 'NVML lists none'}"
    if after["uuids"] == before["uuids"]:
        return ""
    return f"after the reload the pod sees {', '.join(after['uuids']) or 'no GPU'}" + (
        f" ({after['error']})" if after["error"] else ""
    )


@check(
    "gpu.plugin-restart",
    "The device plugin comes back",
    proves=f"within {_BACK:.0f} s of its pod's end the plugin has registered anew, and a pod gets all GPUs of the node",
    required=False,  # where pods hold GPUs on every node
    needs=("gpu.capacity",),
    holds=("gpu",),
    timeout=240,
    writes=True,
    default=False,
    alone=True,
)
def plugin_restart(ctx: Context) -> Outcome:
    nodes = idle_nodes(ctx)
    if not nodes:
        return skipped("pods hold GPUs on every GPU node: none is to be disturbed", fix=BUSY_FIX)
    node = nodes[0]
    old = [pod for pod in _plugins(ctx, node) if any(o["kind"] == "DaemonSet" for o in _owners(pod))]
    if not old:
        return skipped(f"no DaemonSet's device plugin runs on {node}")
    count = free_gpus(ctx, node)
    for pod in old:
        meta = pod["metadata"]
        ctx.kube.delete(namespaced("pods", meta["namespace"], meta["name"]))
    began = time.monotonic()
    try:
        ctx.wait(
            lambda: True if not _uids(old) & _uids(_plugins(ctx, node)) else None, "the old plugin to go", seconds=45
        )
        seen = _take_all(ctx, node, count, began)
    except TimedOutError as error:
        now = _plugins(ctx, node)
        platform.save(ctx, now)
        meta = (now or old)[0]["metadata"]
        raise CheckFailed(
            f"on {node}, no pod got {count} GPUs within {_BACK:.0f} s of the plugin's restart",
            cause=_plugin_state(now) or error.what,
            fix=f"kubectl -n {meta['namespace']} describe pod {meta['name']}; on host {node}: journalctl -u kubelet",
        ) from error
    seconds = time.monotonic() - began
    return passed(
        f"all {count} GPUs of a node in a pod within {_BACK:.0f} s of the deletion of its device plugin's pod",
        f"{node}: {seconds:.0f} s, {len(seen)} GPUs",
        data={"seconds": seconds, "node": node},
    )


def _plugins(ctx: Context, node: str) -> list[Object]:
    every = platform.for_gpus(ctx)
    return [pod for pod in every if platform.is_device_plugin(pod) and pod["spec"].get("nodeName") == node]


def _owners(pod: Object) -> list[Object]:
    return list(pod["metadata"].get("ownerReferences") or ())


def _uids(found: list[Object]) -> set[str]:
    return {str(pod["metadata"]["uid"]) for pod in found}


def _plugin_state(found: list[Object]) -> str:
    if not found:
        return "its DaemonSet has made no other pod"
    return "\n".join(f"{pod['metadata']['name']}: {why}" for pod in found if (why := platform.unready(pod)))


def _take_all(ctx: Context, node: str, count: int, began: float) -> list[str]:
    """Have a pod get all GPUs of the node; gives the UUIDs that it sees. The kubelet turns pods away until the plugin
    has registered, so another one tries. Raises TimedOutError, and CheckFailed when the pod sees other than it got."""
    namespace = ctx.session.workspaces.get("restricted")
    payload = ctx.session.workspaces.payload(namespace)
    made: list[Object] = []

    def look() -> str | None:
        there = {pod["metadata"]["name"]: pod for pod in pods.found(ctx, namespace)}
        if made and (pod := there.get(made[-1]["metadata"]["name"])) is not None:
            if pods.done(pod):
                return str(pod["metadata"]["name"])
            if pod["status"].get("phase") != "Failed":
                return None
        if made:
            pods.remove(ctx, namespace, made[-1:], wait=False)
        name = f"again-{len(made)}"
        made.append(pods.manifest(ctx, name, pods.PYTORCH, _VIEW, node=node, gpus=count, payload=payload))
        pods.create(ctx, namespace, made[-1:])
        return None

    try:
        left = _BACK - (time.monotonic() - began)
        name = ctx.wait(look, f"a pod to get {count} GPUs of {node}", seconds=left)
        seen = next(iter(records(ctx.kube.logs(namespace, name), "gpus")), {"uuids": [], "error": "it said nothing"})
        uuids = [str(uuid) for uuid in seen["uuids"]]
    finally:
        pods.capture(ctx, namespace)
        pods.remove(ctx, namespace, made)
    if len(set(uuids)) != count:
        raise CheckFailed(
            f"the pod was given {count} GPUs and sees {len(set(uuids))}",
            cause=str(seen["error"]) or "NVML lists no more",
            fix=f"on host {node}: nvidia-ctk cdi list; arena-install verify --suite gpu",
        )
    return uuids
