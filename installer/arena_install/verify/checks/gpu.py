"""Suite gpu: the chain from the host's NVML to what a container sees, link by link.

Three witnesses are asked and must agree: NVML on the host, the kubelet (node status and PodResources), and NVML inside
the pod. None of them alone would notice a wrong mapping.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from arena_install.verify import pods
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Object
from arena_install.verify.model import Outcome, failed, passed, skipped
from arena_install.verify.needs import GPU, allocatable, capacity
from arena_install.verify.readers import NodeView
from arena_install.verify.records import records
from arena_install.verify.registry import check

_VIEW = ["python3", "/payload/gpu_view.py"]
_RUNTIME = "nvidia"


@check(
    "gpu.device-plugin",
    "GPU nodes offer their GPUs",
    proves="the device plugin has registered on every GPU node and calls every GPU healthy",
    also=("quick",),
    severity="critical",
    needs=("cluster.nodes-ready", "fact:gpu"),
    timeout=90,
)
def device_plugin(ctx: Context) -> Outcome:
    expected = f"on every GPU node, allocatable {GPU} equals capacity and is not 0"

    def bad(node: Object) -> str:
        name, has, gives = node["metadata"]["name"], capacity(node), allocatable(node)
        if not has:
            return f"{name} offers no {GPU}"
        return f"{name}: {has} GPUs, but only {gives} allocatable" if gives != has else ""

    def look() -> list[Object] | None:
        nodes = ctx.session.gpu_nodes()
        return None if any(bad(node) for node in nodes) else nodes

    try:  # a plugin that has just started needs a moment to register
        nodes = ctx.wait(look, "the device plugin to register", seconds=45, every=2)
    except Exception:
        nodes = ctx.session.gpu_nodes()
        problems = [problem for node in nodes if (problem := bad(node))]
        if not problems:
            raise
        ctx.save("nodes.yaml", nodes)
        plugin = _plugin_pods(ctx)
        ctx.save("device-plugin-pods.yaml", plugin)
        for pod in plugin:
            meta = pod["metadata"]
            ctx.save(f"logs/{meta['name']}.log", ctx.kube.logs(meta["namespace"], meta["name"], tail=200))
        return failed(
            expected, "; ".join(problems), cause=_plugin_cause(plugin, nodes, problems), fix=_plugin_fix(plugin)
        )
    return passed(expected, ", ".join(f"{n['metadata']['name']}: {capacity(n)}" for n in nodes))


def _plugin_pods(ctx: Context) -> list[Object]:
    return [pod for pod in ctx.kube.items("/api/v1/pods") if "nvidia-device-plugin" in pod["metadata"]["name"]]


def _plugin_cause(plugin: list[Object], nodes: list[Object], problems: list[str]) -> str:
    """The first link that is broken, as far as the API can tell."""
    if not plugin:
        return "no device plugin runs in this cluster"
    there = {pod["spec"].get("nodeName") for pod in plugin}
    if absent := [n["metadata"]["name"] for n in nodes if n["metadata"]["name"] not in there]:
        return f"no device plugin pod runs on {', '.join(absent)} (is the node labelled as a GPU node?)"
    if broken := [pod for pod in plugin if not pods.running(pod)]:
        return f"device plugin pod {broken[0]['metadata']['name']} on {broken[0]['spec'].get('nodeName')} is not ready"
    return "the device plugin runs and reports fewer healthy GPUs: " + "; ".join(problems)


def _plugin_fix(plugin: list[Object]) -> str:
    if not plugin:
        return "arena-install up --only nvidia-device-plugin"
    meta = plugin[0]["metadata"]
    return f"kubectl -n {meta['namespace']} logs {meta['name']}; on the host: nvidia-smi"


@check(
    "gpu.capacity",
    "Every GPU of the host can be asked for",
    proves="capacity, allocatable and the number of GPUs that NVML lists on the host are equal on every GPU node",
    severity="critical",
    needs=("gpu.device-plugin",),
    timeout=300,
)
def gpu_capacity(ctx: Context) -> Outcome:
    rows, problems = [], []
    for node, view in _views(ctx):
        name = node["metadata"]["name"]
        row = {"node": name, "nvml": len(view.uuids), "capacity": capacity(node), "allocatable": allocatable(node)}
        rows.append(row | {"uuids": list(view.uuids), "driver": view.driver, "nvml_error": view.nvml_error})
        if not row["nvml"] == row["capacity"] == row["allocatable"] or not row["nvml"]:
            problems.append(
                f"{name}: NVML {row['nvml']}, capacity {row['capacity']}, allocatable {row['allocatable']}"
                + (f" ({view.nvml_error})" if view.nvml_error else "")
            )
    ctx.save("gpus.json", rows)
    everything = [uuid for row in rows for uuid in row["uuids"]]
    if len(everything) != len(set(everything)):
        problems.append("two GPUs have the same UUID")
    expected = "NVML on the host = capacity = allocatable on every GPU node, all UUIDs different"
    if problems:
        return failed(
            expected,
            f"{len(problems)} nodes disagree",
            cause="\n".join(problems),
            fix=f"on host {problems[0].split(':')[0]}: nvidia-smi -L; then restart the device plugin's pod there",
        )
    return passed(expected, ", ".join(f"{row['node']}: {row['nvml']}" for row in rows), data={"nodes": rows})


def _views(ctx: Context) -> list[tuple[Object, NodeView]]:
    """Each GPU node with what its reader says."""
    nodes = ctx.session.gpu_nodes()
    ctx.session.readers.start(ctx, [node["metadata"]["name"] for node in nodes])
    return [(node, ctx.session.readers.view(ctx, node["metadata"]["name"])) for node in nodes]


@check(
    "gpu.labels",
    "Feature discovery describes the GPUs",
    proves="the labels by which jobs choose GPUs (product, count, memory, driver) say what NVML on the host says",
    severity="minor",
    needs=("gpu.capacity",),
    timeout=120,
)
def gpu_labels(ctx: Context) -> Outcome:
    expected = "nvidia.com/gpu.product, .count, .memory and nvidia.com/cuda.driver.major as NVML on the host has them"

    def look() -> list[str] | None:  # labels are refreshed once a minute
        return problems_of_labels(ctx) or None

    problems: list[str] = problems_of_labels(ctx)
    if problems and any("missing" in problem for problem in problems):
        try:
            ctx.wait(lambda: True if not look() else None, "the labels to appear", seconds=75, every=5)
            problems = []
        except Exception:
            problems = problems_of_labels(ctx)
    labels = {
        node["metadata"]["name"]: {
            k: v for k, v in (node["metadata"].get("labels") or {}).items() if k.startswith("nvidia.com/")
        }
        for node in ctx.session.gpu_nodes()
    }
    ctx.save("labels.json", labels)
    if problems:
        return failed(
            expected,
            f"{len(problems)} labels are wrong or missing",
            cause="\n".join(problems),
            fix="kubectl get pods -A shows gpu-feature-discovery and nfd; arena-install up --only nvidia-device-plugin",
        )
    first = next(iter(labels.values()), {})
    return passed(
        expected,
        ", ".join(f"{key} {first.get('nvidia.com/gpu.' + key)}" for key in ("product", "count", "memory")) + " MiB",
    )


def problems_of_labels(ctx: Context) -> list[str]:
    problems = []
    for node, view in _views(ctx):
        labels = node["metadata"].get("labels") or {}
        wanted = {
            "nvidia.com/gpu.product": view.names[0].replace(" ", "-") if view.names else "",
            "nvidia.com/gpu.count": str(len(view.uuids)),
            "nvidia.com/gpu.memory": str(view.memory_mib[0]) if view.memory_mib else "",
            "nvidia.com/cuda.driver.major": view.driver.split(".")[0],
        }
        for key, value in wanted.items():
            if key not in labels:
                problems.append(f"{node['metadata']['name']}: {key} is missing")
            elif labels[key] != value:
                problems.append(f"{node['metadata']['name']}: {key} is {labels[key]}, NVML says {value}")
    return problems


@check(
    "gpu.one-gpu",
    "A pod gets exactly the GPU it was assigned",
    proves="a pod that asks for one GPU sees that one and no other: the UUID that the kubelet's PodResources API names",
    severity="critical",
    needs=("gpu.capacity",),
    holds=("gpu",),
    timeout=240,
)
def one_gpu(ctx: Context) -> Outcome:
    names = [node["metadata"]["name"] for node in ctx.session.gpu_nodes()]
    busy = [name for name in names if free_gpus(ctx, name) < 1]
    if busy:
        return skipped(
            f"no GPU is free on {', '.join(busy)}", fix="run verify when jobs have ended: kubectl get pods -A -o wide"
        )
    seen = _hold(ctx, [(f"one-{i}", name, 1) for i, name in enumerate(names)])
    ctx.save("seen.json", seen)
    expected = "the pod's NVML lists one UUID, the one that PodResources names for it"
    good = ", ".join(f"{row['node']} {row['seen'][0][:12]}…" for row in seen if row["seen"])
    return _verdict(expected, compare(seen), f"{len(seen)} pods on {len(names)} nodes, each sees its own GPU: {good}")


@check(
    "gpu.distinct",
    "Pods beside each other get different GPUs",
    proves="as many pods as a node has GPUs run there at once, each with a GPU of its own, none left over",
    severity="critical",
    needs=("gpu.one-gpu",),
    holds=("gpu",),
    timeout=300,
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
        return skipped(
            f"fewer than two GPUs are free on {', '.join(busy)}",
            fix="run verify when jobs have ended: kubectl get pods -A -o wide",
        )
    seen = _hold(ctx, wanted)
    ctx.save("seen.json", seen)
    problems = compare(seen)
    for node in nodes:
        name = node["metadata"]["name"]
        uuids = [uuid for row in seen if row["node"] == name for uuid in row["seen"]]
        if len(set(uuids)) != len(uuids):
            problems.append(f"{name}: {len(uuids)} pods share {len(set(uuids))} GPUs")
    expected = "N pods with one GPU each on a node with N free GPUs see N different UUIDs"
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


def free_gpus(ctx: Context, node: str) -> int:
    """Allocatable GPUs of a node that no pod holds."""
    offered = next((allocatable(n) for n in ctx.session.gpu_nodes() if n["metadata"]["name"] == node), 0)
    held = 0
    for pod in ctx.kube.items("/api/v1/pods", fieldSelector=f"spec.nodeName={node}"):
        if pod["status"].get("phase") not in ("Succeeded", "Failed"):
            held += sum(int(c.get("resources", {}).get("limits", {}).get(GPU, 0)) for c in pod["spec"]["containers"])
    return offered - held


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
            ("class", {"NVIDIA_VISIBLE_DEVICES": "all"}, _RUNTIME if _RUNTIME in classes else ""),
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
    problems = []
    for name, log in logs.items():
        heard = (records(log, "gpus") or [{"uuids": ["?"], "devices": []}])[-1]
        if heard["uuids"] or heard["devices"]:
            problems.append(f"{about[name]}: sees {', '.join([*heard['uuids'], *heard['devices']])}")
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
