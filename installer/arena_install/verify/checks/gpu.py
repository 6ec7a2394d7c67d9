"""Suite gpu, the part about nodes: the host's NVML, the kubelet's counts and the labels tell the same story."""

from __future__ import annotations

from arena_install.diagnosis import first_broken
from arena_install.errors import ArenaError, TimedOutError
from arena_install.verify.checks import platform
from arena_install.verify.context import Context
from arena_install.verify.kube import Object
from arena_install.verify.model import Outcome, failed, passed
from arena_install.verify.needs import GPU, allocatable, capacity
from arena_install.verify.readers import NodeView
from arena_install.verify.registry import check

#: The RuntimeClass for pods that get at GPUs without asking the scheduler: the platform's own.
RUNTIME = "nvidia"


@check(
    "gpu.device-plugin",
    "GPU nodes offer their GPUs",
    proves="the device plugin has registered on every GPU node and calls every GPU healthy",
    also=("quick",),
    severity="critical",
    needs=("cluster.nodes-ready", "fact:gpu"),
    timeout=180,
)
def device_plugin(ctx: Context) -> Outcome:
    expected = f"on every GPU node, allocatable {GPU} equals capacity and is not 0; the pods behind it are ready"

    def look() -> list[Object] | None:
        nodes = ctx.session.gpu_nodes()
        return None if _plugin_problems(nodes, platform.for_gpus(ctx)) else nodes

    # a plugin that has just started needs a moment to register; where there is none, waiting is in vain
    patience = 45 if any(platform.is_device_plugin(pod) for pod in platform.for_gpus(ctx)) else 0
    try:
        nodes = ctx.wait(look, "the device plugin to register", seconds=patience, every=2)
    except TimedOutError:
        nodes, plugin = ctx.session.gpu_nodes(), platform.for_gpus(ctx)
        problems = _plugin_problems(nodes, plugin)
        if not problems:
            raise
        ctx.save("nodes.yaml", nodes)
        platform.save(ctx, plugin)
        cause, fix = _plugin_cause(plugin, nodes, problems), _plugin_fix(plugin)
        told = _diagnosed(ctx, cause, fix) if plugin else {"cause": cause, "fix": fix}
        return failed(expected, "; ".join(problems), **told)
    return passed(expected, ", ".join(f"{n['metadata']['name']}: {capacity(n)}" for n in nodes))


def _plugin_problems(nodes: list[Object], plugin: list[Object]) -> list[str]:
    problems = []
    for node in nodes:
        name, has, gives = node["metadata"]["name"], capacity(node), allocatable(node)
        if not has:
            problems.append(f"{name} offers no {GPU}")
        elif gives != has:
            problems.append(f"{name}: {has} GPUs, but only {gives} allocatable")
    return problems + [f"pod {pod['metadata']['name']} is not ready" for pod in plugin if platform.unready(pod)]


def _plugin_cause(found: list[Object], nodes: list[Object], problems: list[str]) -> str:
    """What is wrong, as far as the API can tell."""
    plugin = [pod for pod in found if platform.is_device_plugin(pod)]
    if not plugin:
        return "no device plugin runs in this cluster"
    there = {pod["spec"].get("nodeName") for pod in plugin}
    if absent := [n["metadata"]["name"] for n in nodes if n["metadata"]["name"] not in there]:
        return f"no device plugin pod runs on {', '.join(absent)} (is the node labelled as a GPU node?)"
    if broken := [f"{pod['metadata']['name']}: {why}" for pod in found if (why := platform.unready(pod))]:
        return "\n".join(broken)
    return "the device plugin runs and reports fewer healthy GPUs: " + "; ".join(problems)


def _plugin_fix(found: list[Object]) -> str:
    if not found:
        return "arena-install up --only nvidia-device-plugin"
    meta = next((pod for pod in found if platform.unready(pod)), found[0])["metadata"]
    return f"kubectl -n {meta['namespace']} logs {meta['name']}; on the host: nvidia-smi"


@check(
    "gpu.capacity",
    "Every GPU of the host can be asked for",
    proves="capacity, allocatable and the number of GPUs that NVML lists on the host are equal on every GPU node",
    severity="critical",
    needs=("gpu.device-plugin",),
    timeout=300,
    writes=True,
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
        fix = f"on host {problems[0].split(':')[0]}: nvidia-smi -L; then restart the device plugin's pod there"
        return failed(expected, f"{len(problems)} problems", **_diagnosed(ctx, "\n".join(problems), fix))
    return passed(expected, ", ".join(f"{row['node']}: {row['nvml']}" for row in rows), data={"nodes": rows})


def _diagnosed(ctx: Context, cause: str, fix: str) -> dict[str, str]:
    """{"cause", "fix"} by the chain of each GPU node, where the readers can be asked; else as given."""
    try:
        views = _views(ctx)
    except (ArenaError, KeyError):  # the finding must be told, also where no reader starts
        return {"cause": cause, "fix": fix}
    found = [finding for node, view in views if (finding := first_broken(view.gpus(node)))]
    ctx.save("links.json", {node["metadata"]["name"]: dict(view.links) for node, view in views})
    if not found:
        return {"cause": cause, "fix": fix}
    chain = [f"{finding.cause} (first broken link: {finding.link})" for finding in found]
    return {"cause": "\n".join([*chain, *cause.splitlines()]), "fix": found[0].fix}


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
    writes=True,
)
def gpu_labels(ctx: Context) -> Outcome:
    expected = "nvidia.com/gpu.product, .count, .memory and the labels of the driver as NVML on the host has them"

    def look() -> list[str] | None:  # labels are refreshed once a minute
        return problems_of_labels(ctx) or None

    problems: list[str] = problems_of_labels(ctx)
    if problems and any("missing" in problem for problem in problems):
        try:
            ctx.wait(lambda: True if not look() else None, "the labels to appear", seconds=75, every=5)
            problems = []
        except TimedOutError:
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
            "nvidia.com/cuda.driver-version.full": view.driver,
        }
        for key, value in wanted.items():
            if key not in labels:
                problems.append(f"{node['metadata']['name']}: {key} is missing")
            elif labels[key] != value:
                problems.append(f"{node['metadata']['name']}: {key} is {labels[key]}, NVML says {value}")
    return problems


@check(
    "gpu.runtime-class",
    "Pods can ask for NVIDIA's runtime",
    proves=f"RuntimeClass {RUNTIME} exists, and containerd on every GPU node has the runtime that it names",
    needs=("cluster.nodes-ready", "fact:gpu"),
    timeout=120,
    writes=True,
)
def runtime_class(ctx: Context) -> Outcome:
    expected = f"RuntimeClass {RUNTIME} with a handler that containerd has on every GPU node"
    found = ctx.kube.find(f"/apis/node.k8s.io/v1/runtimeclasses/{RUNTIME}")
    if found is None:
        return failed(
            expected,
            f"there is no RuntimeClass {RUNTIME}",
            cause="the device plugin's pods, and jobs that name it, will be refused when they are made anew",
            fix="arena-install up --only nvidia-device-plugin",
        )
    without = [node["metadata"]["name"] for node, view in _views(ctx) if not view.links.get("runtime")]
    if without:
        return failed(
            expected,
            f"containerd on {', '.join(without)} has no runtime {found['handler']}",
            cause="/etc/containerd/config.toml there does not name it",
            fix="arena-install up (role container_runtime writes it)",
        )
    return passed(expected, f"handler {found['handler']} on {len(ctx.session.gpu_nodes())} nodes")
