"""Suite gpu, the part that runs pods: each sees the GPUs that it was assigned, and no other.

Two witnesses must agree: NVML inside the pod, and the kubelet's PodResources. Neither alone would notice a wrong map.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from arena_install.verify import pods
from arena_install.verify.checks.gpu import RUNTIME
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.model import Outcome, failed, passed, skipped
from arena_install.verify.needs import allocatable
from arena_install.verify.pytorchjob import BUSY_FIX, free_gpus
from arena_install.verify.records import records
from arena_install.verify.registry import check

_VIEW = ["python3", "/payload/gpu_view.py"]


@check(
    "gpu.one-gpu",
    "A pod gets exactly the GPU it was assigned",
    proves="a pod that asks for one GPU sees that one and no other: the UUID that the kubelet's PodResources API names",
    severity="critical",
    needs=("gpu.capacity",),
    holds=("gpu",),
    timeout=240,
    writes=True,
)
def one_gpu(ctx: Context) -> Outcome:
    names = ctx.session.gpu_names()
    busy = [name for name in names if free_gpus(ctx, name) < 1]
    if busy:
        return skipped(f"no GPU is free on {', '.join(busy)}", fix=BUSY_FIX)
    seen = _hold(ctx, [(f"one-{i}", name, 1) for i, name in enumerate(names)])
    ctx.save("seen.json", seen)
    expected = "the pod's NVML lists one UUID, the one that PodResources names for it"
    good = ", ".join(f"{row['node']} {row['seen'][0][:12]}…" for row in seen if row["seen"])
    return _verdict(expected, compare(seen), f"{len(seen)} pods on {len(names)} nodes, each sees its own GPU: {good}")


@check(
    "gpu.distinct",
    "Every GPU runs a pod, each its own",
    proves="as many pods as a node has free GPUs run there at once, each with one of its own, and no GPU is left over",
    severity="critical",
    needs=("gpu.capacity",),
    holds=("gpu",),
    timeout=300,
    writes=True,
)
def distinct(ctx: Context) -> Outcome:
    nodes = ctx.session.gpu_nodes()
    wanted: list[tuple[str, str, int]] = []
    busy = []
    for node in nodes:
        name = node["metadata"]["name"]
        free = free_gpus(ctx, name)
        if free < 2 <= allocatable(node):
            busy.append(name)
        wanted += [(f"all-{len(wanted) + i}", name, 1) for i in range(free)]
    if busy:
        return skipped(f"fewer than two GPUs are free on {', '.join(busy)}", fix=BUSY_FIX)
    seen = _hold(ctx, wanted)
    ctx.save("seen.json", seen)
    problems = compare(seen)
    for node in nodes:
        name = node["metadata"]["name"]
        uuids = [uuid for row in seen if row["node"] == name for uuid in row["seen"]]
        if len(set(uuids)) != len(uuids):
            problems.append(f"{name}: {len(uuids)} pods share {len(set(uuids))} GPUs")
        view = ctx.session.readers.view(ctx, name)
        held = {uuid for given in view.assigned.values() for uuid in given}  # by these pods and by jobs
        problems += [f"{name}: {uuid} ran no pod" for uuid in view.uuids if uuid not in held | set(uuids)]
    expected = "N pods with one GPU each on a node with N free GPUs see N different UUIDs: all that the node has"
    counts = {node["metadata"]["name"]: sum(row["node"] == node["metadata"]["name"] for row in seen) for node in nodes}
    return _verdict(
        expected, problems, ", ".join(f"{name}: {count} pods, {count} UUIDs" for name, count in counts.items())
    )


def _verdict(expected: str, problems: list[str], good: str) -> Outcome:
    if not problems:
        return passed(expected, good)
    return failed(
        expected,
        f"{len(problems)} differences",
        cause="\n".join(problems),
        fix="on the host: nvidia-ctk cdi list; cat /etc/containerd/config.toml; arena-install up mends drift",
    )


def _hold(ctx: Context, wanted: list[tuple[str, str, int]]) -> list[dict[str, Any]]:
    """Run pods (name, node, GPUs) that hold their GPUs until both witnesses were heard, then remove them.

    Gives {"pod", "node", "seen": UUIDs in the pod, "assigned": UUIDs by PodResources, "error"} of each.
    """
    namespace = ctx.session.workspaces.get("restricted")
    payload = ctx.session.workspaces.payload(namespace)
    made = [
        pods.manifest(ctx, name, pods.PYTORCH, [*_VIEW, "hold"], node=node, gpus=gpus, payload=payload)
        for name, node, gpus in wanted
    ]
    try:
        pods.create(ctx, namespace, made)
        pods.wait_for(ctx, namespace, [name for name, _, _ in wanted], pods.running, "pods with a GPU running")
        rows = []
        for name, node, _ in wanted:
            heard = ctx.wait(partial(_heard, ctx, namespace, name), f"pod {name} to report what it sees", seconds=60)
            names = partial(_assigned, ctx, node, namespace, name)
            assigned = ctx.wait(names, f"PodResources of {node} to name pod {name}", seconds=30)
            rows.append(
                {
                    "pod": name,
                    "node": node,
                    "seen": heard["uuids"],
                    "assigned": list(assigned),
                    "error": heard["error"],
                    "devices": heard["devices"],
                }
            )
        pods.capture(ctx, namespace)
        return rows
    finally:
        pods.remove(ctx, namespace, made)


def _heard(ctx: Context, namespace: str, pod: str) -> dict[str, Any] | None:
    return next(iter(records(ctx.kube.logs(namespace, pod), "gpus")), None)


def _assigned(ctx: Context, node: str, namespace: str, pod: str) -> tuple[str, ...] | None:
    view = ctx.session.readers.view(ctx, node)
    if view.podresources_error:
        raise CheckFailed(
            f"PodResources of node {node} could not be read",
            cause=view.podresources_error,
            fix=f"on host {node}: ls -l /var/lib/kubelet/pod-resources/kubelet.sock; systemctl status kubelet",
        )
    return view.assigned.get((namespace, pod))


def compare(rows: list[dict[str, Any]]) -> list[str]:
    """What differs between the UUIDs that pods see and those they were assigned, one line each."""
    problems = []
    for row in rows:
        where = f"pod {row['pod']} on {row['node']}"
        if not row["seen"]:
            problems.append(f"{where} sees no GPU: {row.get('error') or 'NVML lists none'}")
        elif sorted(row["seen"]) != sorted(row["assigned"]):
            problems.append(
                f"{where} sees {', '.join(row['seen'])}, was assigned {', '.join(row['assigned']) or 'none'}"
            )
    return problems


@check(
    "gpu.none-unasked",
    "A pod that asks for no GPU gets none",
    proves="no unprivileged pod gets at a GPU without asking the scheduler, not even with NVIDIA_VISIBLE_DEVICES=all",
    also=("training",),
    severity="critical",
    needs=("gpu.device-plugin",),
    timeout=240,
    writes=True,
)
def none_unasked(ctx: Context) -> Outcome:
    namespace = ctx.session.workspaces.get("restricted")
    payload = ctx.session.workspaces.payload(namespace)
    classes = {item["metadata"]["name"] for item in ctx.kube.items("/apis/node.k8s.io/v1/runtimeclasses")}
    made, about = [], {}
    for i, node in enumerate(n["metadata"]["name"] for n in ctx.session.gpu_nodes()):
        for kind, environment, runtime in (
            ("plain", {}, ""),
            ("env", {"NVIDIA_VISIBLE_DEVICES": "all"}, ""),
            ("class", {"NVIDIA_VISIBLE_DEVICES": "all"}, RUNTIME if RUNTIME in classes else ""),
        ):
            if kind == "class" and not runtime:
                continue
            name = f"none-{kind}-{i}"
            about[name] = (
                f"{node}, "
                + {
                    "plain": "no request",
                    "env": "NVIDIA_VISIBLE_DEVICES=all",
                    "class": "the same with runtimeClassName nvidia",
                }[kind]
            )
            made.append(
                pods.manifest(
                    ctx, name, pods.PYTORCH, _VIEW, node=node, env=environment, runtime_class=runtime, payload=payload
                )
            )
    logs = pods.run_all(ctx, namespace, made)
    ctx.save("seen.json", {about[name]: records(log, "gpus") for name, log in logs.items()})
    problems = []
    for name, log in logs.items():
        heard = (records(log, "gpus") or [{"uuids": ["?"], "devices": []}])[-1]
        if heard["uuids"] or heard["devices"]:
            nodes = f" and {len(heard['devices'])} device nodes" if heard["devices"] else ""
            problems.append(f"{about[name]}: sees {len(heard['uuids'])} GPUs{nodes}")
    expected = "NVML lists no GPU and /dev has none, also with NVIDIA_VISIBLE_DEVICES=all"
    if problems:
        return failed(
            expected,
            f"{len(problems)} of {len(logs)} pods see GPUs that they did not ask for",
            cause="\n".join(problems),
            fix="on the hosts: set accept-nvidia-visible-devices-envvar-when-unprivileged = false in "
            "/etc/nvidia-container-runtime/config.toml; arena-install up",
        )
    return passed(expected, f"{len(logs)} pods on {len(ctx.session.gpu_nodes())} nodes see none")
