"""What Prometheus and the API tell of a cluster for a page that people look at: nodes, GPUs, who holds them, alerts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arena_install import monitored
from arena_install.errors import ArenaError
from arena_install.monitored import Alert
from arena_install.verify.kube import Kube, when
from arena_install.verify.needs import GPU
from arena_install.verify.prometheus import Prometheus, Sample, service_of
from arena_install.verify.xids import HARMLESS, meaning

HISTORY = 3600.0  # seconds that the curves show
_STEPS = 60


#: Figure of a GPU -> what Prometheus is asked for.
_GPU_FIGURES = {
    "busy": "DCGM_FI_DEV_GPU_UTIL",
    "used": "DCGM_FI_DEV_FB_USED",
    "free": "DCGM_FI_DEV_FB_FREE",
    "reserved": "DCGM_FI_DEV_FB_RESERVED",
    "heat": "DCGM_FI_DEV_GPU_TEMP",
    "slowdown": "DCGM_FI_DEV_SLOWDOWN_TEMP",
    "power": "DCGM_FI_DEV_POWER_USAGE",
    "xid": "DCGM_FI_DEV_XID_ERRORS",
    "errors": "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL",
}
#: Figure of a node, as a part of one -> what Prometheus is asked for.
_NODE_FIGURES = {
    "cpu": '1 - avg by (node) (rate(node_cpu_seconds_total{mode="idle"}[2m]))',
    "memory": "1 - max by (node) (node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)",
    "disk": '1 - min by (node) (node_filesystem_avail_bytes{fstype=~"ext.|xfs|btrfs"} / node_filesystem_size_bytes)',
}
_CURVES = {
    "GPUs busy": "avg(DCGM_FI_DEV_GPU_UTIL) / 100",
    "GPU memory used": "sum(DCGM_FI_DEV_FB_USED) / (sum(DCGM_FI_DEV_FB_USED) + sum(DCGM_FI_DEV_FB_FREE))",
    "GPUs held": 'count(DCGM_FI_DEV_GPU_UTIL{pod!=""}) / count(DCGM_FI_DEV_GPU_UTIL) or vector(0)',
}
#: Labels of a pod that name the job it belongs to, the nearest to people first.
_JOBS = (
    "release",
    "training.kubeflow.org/job-name",
    "volcano.sh/job-name",
    "jobset.sigs.k8s.io/jobset-name",
    "batch.kubernetes.io/job-name",
)


@dataclass(frozen=True)
class Gpu(monitored.Gpu):
    """figures: see _GPU_FIGURES."""

    @property
    def trouble(self) -> str:
        """What is wrong with it, "" when it is well."""
        xid = int(self.figures.get("xid", 0))
        if "heat" not in self.figures:
            return f"does not answer{f', XID {xid}: {meaning(xid)}' if xid else ''}"
        if xid and xid not in HARMLESS:
            return f"XID {xid}: {meaning(xid)}"
        if self.figures.get("errors"):
            return "memory errors that were not corrected"
        if self.figures["heat"] >= self.figures.get("slowdown", 90.0):
            return "too hot"
        return ""


@dataclass(frozen=True)
class Job:
    """Pods of one job that hold GPUs, or wait for them. since: Unix seconds of the oldest."""

    namespace: str
    name: str
    running: int
    waiting: int
    gpus: int
    nodes: tuple[str, ...]
    since: float
    busy: float | None  # mean of its GPUs, percent; None where nobody tells


@dataclass(frozen=True)
class Curve:
    """points: (when, as a part of HISTORY; the figure, as a part of one), oldest first."""

    title: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Watched:
    """note: why there are no figures, "" when there are. nodes: name -> figures, see _NODE_FIGURES."""

    at: float
    note: str = ""
    gpus: tuple[Gpu, ...] = ()
    nodes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    jobs: tuple[Job, ...] = ()
    alerts: tuple[Alert, ...] = ()
    curves: tuple[Curve, ...] = ()


def watched(kubeconfig: Path) -> Watched:
    """Ask both. Raises UnreachableError when the API does not answer; a Prometheus that does not is a note."""
    kube = Kube(kubeconfig, read_only=True)
    now = time.time()
    pods = kube.items("/api/v1/pods", fieldSelector="status.phase!=Succeeded,status.phase!=Failed")
    service = service_of(kube)
    if not service:
        note = "there is no Prometheus in this cluster: `arena-install up --profile full` installs one"
        return Watched(now, note, jobs=jobs_of(pods, ()))
    prometheus = Prometheus(kube, service)
    try:
        gpus = gpus_of({name: prometheus.query(text) for name, text in _GPU_FIGURES.items()})
        nodes: dict[str, dict[str, float]] = {}
        for name, text in _NODE_FIGURES.items():
            for sample in prometheus.query(text):
                nodes.setdefault(sample.labels.get("node", ""), {})[name] = sample.value
        alerts = alerts_of(prometheus.alerts())
        curves = tuple(_curve(prometheus, title, text, now) for title, text in _CURVES.items())
    except ArenaError as error:
        return Watched(now, f"Prometheus does not answer: {error.why or error.what}", jobs=jobs_of(pods, ()))
    return Watched(now, "", gpus, nodes, jobs_of(pods, gpus), alerts, curves)


def gpus_of(samples: Mapping[str, Sequence[Sample]]) -> tuple[Gpu, ...]:
    """Every GPU of which anything is told, by node and index. samples: figure -> samples."""
    rows = ((figure, one.labels, one.value) for figure, found in samples.items() for one in found)
    return monitored.gpus(rows, Gpu)


def jobs_of(pods: Iterable[Mapping[str, Any]], gpus: Sequence[Gpu]) -> tuple[Job, ...]:
    """The jobs whose pods ask for GPUs, the oldest first."""
    busy = {holder: gpu.figures.get("busy") for gpu in gpus for holder in gpu.holders}
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for pod in pods:
        if _asks(pod):
            grouped.setdefault((pod["metadata"]["namespace"], _job(pod)), []).append(pod)
    jobs = []
    for (namespace, name), members in grouped.items():
        told = [value for pod in members if (value := busy.get(f"{namespace}/{pod['metadata']['name']}")) is not None]
        placed = [pod for pod in members if pod["spec"].get("nodeName")]
        jobs.append(
            Job(
                namespace=namespace,
                name=name,
                running=sum(pod["status"].get("phase") == "Running" for pod in members),
                waiting=sum(pod["status"].get("phase") != "Running" for pod in members),
                gpus=sum(map(_asks, placed)),
                nodes=tuple(sorted({str(pod["spec"]["nodeName"]) for pod in placed})),
                since=min(when(pod["metadata"]["creationTimestamp"]) for pod in members),
                busy=sum(told) / len(told) if told else None,
            )
        )
    return tuple(sorted(jobs, key=lambda job: job.since))


def _asks(pod: Mapping[str, Any]) -> int:
    containers = pod["spec"]["containers"]
    return sum(int((one.get("resources") or {}).get("limits", {}).get(GPU, 0)) for one in containers)


def _job(pod: Mapping[str, Any]) -> str:
    labels = pod["metadata"].get("labels") or {}
    return next((str(labels[key]) for key in _JOBS if labels.get(key)), str(pod["metadata"]["name"]))


def alerts_of(rows: Iterable[Mapping[str, Any]]) -> tuple[Alert, ...]:
    """What fires, the gravest first; not the one that always does."""
    return monitored.gravest_first(monitored.alert(row, Alert) for row in monitored.news(rows))


def _curve(prometheus: Prometheus, title: str, text: str, now: float) -> Curve:
    step = HISTORY / _STEPS
    rows = prometheus.ask("query_range", query=text, start=str(now - HISTORY), end=str(now), step=str(step))["result"]
    points = [(1 - (now - float(at)) / HISTORY, float(value)) for at, value in (rows[0]["values"] if rows else ())]
    return Curve(title, tuple((at, value) for at, value in points if value == value))  # not NaN, which 0 / 0 gives
