"""GPUs by node, and by job: the tables of `arena top`. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arena_cli.look import build, formats, text
from arena_cli.look import status as word
from arena_cli.look.formats import Gpus
from arena_cli.look.model import Job, Object

_ROLE = "node-role.kubernetes.io/"
_LINE = "-" * 99
_GIB = 1024.0**3
_DESCRIPTION = (
    "This node is enabled gpu exclusive mode.",
    "Pods can request resource 'nvidia.com/gpu' to use gpu exclusive feature on this node",
)


@dataclass(frozen=True)
class Node:
    """total: GPUs that it has; unhealthy: of these, what it may not give away."""

    name: str
    ip: str
    role: str
    status: str
    total: int
    unhealthy: int
    pods: tuple[Object, ...] = ()

    @property
    def allocated(self) -> int:
        return sum(word.pod_gpus(pod.get("spec") or {}) for pod in self.pods)


def nodes_of(nodes: Iterable[Object], pods: Iterable[Object]) -> list[Node]:
    """Those with GPUs first, by name. Pods that have ended hold nothing."""
    held: dict[str, list[Object]] = defaultdict(list)
    for pod in pods:
        phase = (pod.get("status") or {}).get("phase")
        if phase not in ("Succeeded", "Failed") and word.pod_gpus(pod.get("spec") or {}):
            held[str((pod.get("spec") or {}).get("nodeName", ""))].append(pod)
    found = [_node(node, tuple(held.get(node["metadata"]["name"], ()))) for node in nodes]
    return sorted(found, key=lambda node: (not node.total, node.name))


def _node(node: Object, pods: tuple[Object, ...]) -> Node:
    labels, status = node["metadata"].get("labels") or {}, node.get("status") or {}
    capacity, allocatable = _gpus(status.get("capacity")), _gpus(status.get("allocatable"))
    roles = sorted(key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE))
    addresses = status.get("addresses") or ()
    ready: Object = next((row for row in status.get("conditions") or () if row.get("type") == "Ready"), {})
    state = "Ready" if ready.get("status") == "True" else "NotReady"
    if (node.get("spec") or {}).get("unschedulable"):
        state += ",SchedulingDisabled"
    address = next((row["address"] for row in addresses if row.get("type") == "InternalIP"), "")
    return Node(
        str(node["metadata"]["name"]),
        address or (str(addresses[0]["address"]) if addresses else "N/A"),
        ",".join(roles) or "<none>",
        state,
        capacity,
        max(0, capacity - allocatable),
        pods,
    )


def _gpus(resources: Mapping[str, Any] | None) -> int:
    return sum(int(count) for name, count in (resources or {}).items() if word.is_gpu(name) and str(count).isdigit())


def top(nodes: Sequence[Node], *, footer: bool = True) -> str:
    """One line a node; the sums below, unless only named nodes are shown."""
    sick = any(node.unhealthy for node in nodes)
    header = ["NAME", "IPADDRESS", "ROLE", "STATUS", "GPU(Total)", "GPU(Allocated)", *(["UNHEALTHY"] if sick else [])]
    rows = [
        [
            node.name,
            node.ip,
            node.role,
            node.status,
            str(node.total),
            str(node.allocated),
            *([str(node.unhealthy)] if sick else []),
        ]
        for node in nodes
    ]
    shown = text.table(header, rows)
    total, allocated = sum(node.total for node in nodes), sum(node.allocated for node in nodes)
    if not footer or not total:
        return shown
    title = "Allocated/Total GPUs In Cluster:"
    if all(node.total for node in nodes):
        title = "Allocated/Total GPUs of nodes which own resource nvidia.com/gpu In Cluster:"
    shown += f"{_LINE}\n{title}\n{_share(allocated, total)}\n"
    if sick:
        shown += f"Unhealthy/Total GPUs In Cluster:\n{_share(sum(node.unhealthy for node in nodes), total)}\n"
    return shown


def _share(part: int, total: int) -> str:
    return f"{part}/{total} ({100.0 * part / total:.1f}%)"


def details(nodes: Sequence[Node], gpus: Mapping[str, Gpus] | None) -> str:
    """A paragraph a node. gpus: node -> GPU -> figures, None where they were not asked for."""
    return "\n".join(_paragraph(node, None if gpus is None else gpus.get(node.name, {})) for node in nodes)


def _paragraph(node: Node, gpus: Gpus | None) -> str:
    kind = "GPUExclusive" if node.total else "Normal"
    lines = [
        f"Name:    {node.name}",
        f"Status:  {node.status}",
        f"Role:    {node.role}",
        f"Type:    {kind}",
        f"Address: {node.ip}",
    ]
    if not node.total:
        return "\n".join([*lines, ""])
    lines += ["Description:", f"  1.{_DESCRIPTION[0]}", f"  2.{_DESCRIPTION[1]}", "Instances:"]
    rows = [
        [
            str(pod["metadata"]["namespace"]),
            str(pod["metadata"]["name"]),
            build.pod_status(pod),
            str(word.pod_gpus(pod.get("spec") or {})),
        ]
        for pod in node.pods
    ]
    shown = "\n".join(lines) + "\n" + text.ruled(["NAMESPACE", "NAME", "STATUS", "GPU(Requested)"], rows)
    summary = [
        ("Total GPUs", str(node.total)),
        ("Allocated GPUs", str(node.allocated)),
        ("Unhealthy GPUs", str(node.unhealthy)),
    ]
    if gpus is not None:
        cells = [
            [
                index,
                f"{row.get('totalGPUMemory', 0) / _GIB:.1f} GiB",
                f"{row.get('usedGPUMemory', 0) / _GIB:.1f} GiB",
                f"{row.get('gpuDutyCycle', 0):.1f}%",
            ]
            for index, row in sorted(gpus.items())
        ]
        shown += "GPUs:\n" + text.ruled(["INDEX", "MEMORY(Total)", "MEMORY(Used)", "DUTY_CYCLE"], cells)
        for title, figure in (("Total GPU Memory", "totalGPUMemory"), ("Used GPU Memory", "usedGPUMemory")):
            summary.append((title, f"{sum(row.get(figure, 0.0) for row in gpus.values()) / _GIB:.1f} GiB"))
    return shown + "GPU Summary:\n" + "".join(f"  {line}\n" for line in text.pairs(summary, gap=1).splitlines())


def as_dict(nodes: Iterable[Node], gpus: Mapping[str, Gpus] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"gpuExclusiveNodes": [], "gpuShareNodes": [], "gpuTopologyNodes": [], "normalNodes": []}
    for node in nodes:
        figures = (gpus or {}).get(node.name, {})
        row = {
            "name": node.name,
            "description": " ".join(_DESCRIPTION) if node.total else "",
            "ip": node.ip,
            "status": node.status,
            "role": node.role,
            "type": "GPUExclusive" if node.total else "Normal",
            "totalGPUs": node.total,
            "allocatedGPUs": node.allocated,
            "unhealthyGPUs": node.unhealthy,
            "gpuMetrics": [{"id": index, **figure} for index, figure in sorted(figures.items())],
            "instances": [
                {
                    "name": pod["metadata"]["name"],
                    "namespace": pod["metadata"]["namespace"],
                    "status": build.pod_status(pod),
                    "requestGPUs": word.pod_gpus(pod.get("spec") or {}),
                }
                for pod in node.pods
            ],
        }
        found["gpuExclusiveNodes" if node.total else "normalNodes"].append(row)
    return found


def top_jobs(jobs: Iterable[Job], now: float, *, everywhere: bool) -> str:
    """The most GPUs first."""
    jobs = sorted(jobs, key=lambda job: -job.gpus)
    header, rows = formats.rows_of(jobs, now, "AGE", everywhere=everywhere)
    running = [job for job in jobs if job.status == "RUNNING"]
    held, asked = sum(job.allocated for job in running), sum(job.gpus for job in running)
    return f"{text.table(header, rows)}\nTotal Allocated/Requested GPUs of Training Jobs: {held}/{asked}\n"


def top_job(job: Job, now: float, gpus: Mapping[str, Gpus], instance: str = "") -> str:
    rows = [
        [one.name, one.status, str(one.gpus), one.node or "N/A", index, duty, memory]
        for one in job.instances
        if instance in ("", one.name)
        for index, duty, memory in formats.gpu_cells(gpus.get(one.name) or {})
    ]
    header = ["NAME", "STATUS", "GPU(Request)", "NODE", "GPU(DeviceIndex)", "GPU(DutyCycle)", "GPU_MEMORY(Used/Total)"]
    return (
        f"{text.pairs(formats.head(job, now))}\nInstances:\n{text.ruled(header, rows)}\n"
        f"GPUs:\n  Allocated/Requested GPUs of Job: {job.allocated}/{job.gpus}\n"
    )
