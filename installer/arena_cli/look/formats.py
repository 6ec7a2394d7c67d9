"""Jobs as tables, JSON, YAML and names. The fields of JSON and the columns are upstream's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arena_cli.kinds import BY_TYPE
from arena_cli.look import text
from arena_cli.look.model import Job

FORMATS = ("wide", "json", "yaml", "name")
#: Figures of a GPU by its index: gpuDutyCycle (percent), usedGPUMemory, totalGPUMemory (bytes).
Gpus = Mapping[str, Mapping[str, float]]


def as_dict(
    job: Job, now: float, tensorboard: str = "", gpus: Mapping[str, Gpus] | None = None, reason: str = ""
) -> Any:
    """gpus: pod -> its figures. reason: why it waits or failed; only there when there is something to say."""
    labels = job.raw.get("metadata", {}).get("labels") or {}
    found: dict[str, Any] = {
        "uuid": job.uid,
        "name": job.name,
        "namespace": job.namespace,
        "duration": f"{int(job.duration(now))}s",
        "status": job.status,
        "trainer": job.type,
        "tensorboard": tensorboard,
        "chiefName": job.chief.name if job.chief else "",
        "instances": [
            {
                "ip": one.ip,
                "status": one.status,
                "name": one.name,
                "age": f"{int((one.end or now) - one.created)}s",
                "node": one.node,
                "nodeIP": one.node_ip,
                "chief": one.chief,
                "requestGPUs": one.gpus,
                "gpuMetrics": {index: dict(row) for index, row in ((gpus or {}).get(one.name) or {}).items()},
                "creationTimestamp": int(one.created),
            }
            for one in job.instances
        ],
        "priority": job.priority,
        "requestGPUs": job.gpus,
        "allocatedGPUs": job.allocated,
        "creationTimestamp": int(job.created),
        "modelName": str(labels.get("modelName", "")),
        "modelVersion": str(labels.get("modelVersion", "")),
        "modelSource": str(labels.get("modelSource", "")),
    }
    return found | ({"reason": reason} if reason else {})


def name(job: Job) -> str:
    """As `kubectl -o name` has it."""
    return f"{BY_TYPE[job.type].info}/{job.name}"


def show_list(
    jobs: Sequence[Job],
    form: str,
    now: float,
    *,
    everywhere: bool,
    boards: Mapping[tuple[str, str], str] | None = None,
) -> str:
    """boards: (namespace, job) -> address of its TensorBoard, for JSON and YAML."""
    if form == "name":
        return "".join(f"{name(job)}\n" for job in jobs)
    if form in ("json", "yaml"):
        rows = [as_dict(job, now, (boards or {}).get((job.namespace, job.name), "")) for job in jobs]
        return text.as_json(rows) if form == "json" else text.as_yaml(rows)
    return text.table(*rows_of(jobs, now, "DURATION", everywhere=everywhere))


def rows_of(jobs: Sequence[Job], now: float, time: str, *, everywhere: bool) -> tuple[list[str], list[list[str]]]:
    """Header and rows of jobs, as `list` and `top job` have them. time: what the column of their duration is called."""
    header = ["NAME", "STATUS", "TRAINER", time, "GPU(Requested)", "GPU(Allocated)", "NODE"]
    rows = [
        [
            job.name,
            job.status,
            job.type.upper(),
            text.age(job.duration(now)),
            str(job.gpus),
            allocated(job),
            node(job),
        ]
        for job in jobs
    ]
    if everywhere:
        header, rows = ["NAMESPACE", *header], [[job.namespace, *row] for job, row in zip(jobs, rows, strict=True)]
    return header, rows


def allocated(job: Job) -> str:
    return str(job.allocated) if job.status in ("PENDING", "RUNNING") else "N/A"


def node(job: Job) -> str:
    """Of the chief, while the job runs."""
    return (job.chief.node_ip if job.chief and job.status == "RUNNING" else "") or "N/A"


def head(job: Job, now: float) -> list[tuple[str, str]]:
    """The first lines of `get` and of `top job NAME`."""
    labels = job.raw.get("metadata", {}).get("labels") or {}
    model = [
        (title, str(labels[key]))
        for title, key in (("ModelName", "modelName"), ("ModelVersion", "modelVersion"), ("ModelSource", "modelSource"))
        if key in labels
    ]
    return [
        ("Name", job.name),
        ("Status", job.status),
        ("Namespace", job.namespace),
        ("Priority", job.priority),
        ("Trainer", job.type.upper()),
        ("Duration", text.age(job.duration(now))),
        ("CreateTime", text.local(job.created)),
        ("EndTime", text.local(job.end)),
        *model,
    ]


def instances(job: Job, now: float) -> str:
    rows = [
        [
            one.name,
            one.status,
            text.age((one.end or now) - one.created),
            str(one.chief).lower(),
            str(one.gpus),
            one.node or "N/A",
        ]
        for one in job.instances
    ]
    return "Instances:\n" + text.ruled(["NAME", "STATUS", "AGE", "IS_CHIEF", "GPU(Requested)", "NODE"], rows)


def gpu_cells(gpus: Gpus) -> list[tuple[str, str, str]]:
    """(index, duty cycle, memory) of each GPU of a pod; one row of N/A where nothing is known."""
    rows = [(index, *figures(row)) for index, row in sorted(gpus.items())]
    return rows or [("N/A", "N/A", "N/A")]


def figures(row: Mapping[str, float]) -> tuple[str, str]:
    """("98.0%", "15641.0/16276.0(MiB)")"""
    mib = 1024 * 1024
    used, total = row.get("usedGPUMemory", 0.0) / mib, row.get("totalGPUMemory", 0.0) / mib
    return f"{row.get('gpuDutyCycle', 0.0):.1f}%", f"{used:.1f}/{total:.1f}(MiB)"
