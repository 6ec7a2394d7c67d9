"""GPUs and alerts as Prometheus tells them: which GPU is in trouble, and which pod suffers from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from arena_cli import prometheus
from arena_cli.kube.client import Client
from arena_install import monitored
from arena_install.errors import ArenaError

#: DCGM's field -> figure.
_FIGURES = {
    "DCGM_FI_DEV_GPU_UTIL": "busy",
    "DCGM_FI_DEV_FB_USED": "used",
    "DCGM_FI_DEV_FB_FREE": "free",
    "DCGM_FI_DEV_FB_RESERVED": "reserved",
    "DCGM_FI_DEV_GPU_TEMP": "heat",
    "DCGM_FI_DEV_XID_ERRORS": "xid",
}
_QUERY = f'{{__name__=~"{"|".join(_FIGURES)}"}}'


@dataclass(frozen=True)
class Gpu(monitored.Gpu):
    """figures: see _FIGURES; busy in percent, heat in °C. trouble: "" when it is well."""

    trouble: str = ""


@dataclass(frozen=True)
class Alert(monitored.Alert):
    """pods: "namespace/pod" of those who suffer."""

    pods: tuple[str, ...]


@dataclass(frozen=True)
class Monitoring:
    """note: why nothing is known, "" when it is."""

    note: str = ""
    gpus: tuple[Gpu, ...] = ()
    alerts: tuple[Alert, ...] = ()

    @property
    def firing(self) -> int:
        return sum(one.state == "firing" for one in self.alerts)


def look(client: Client) -> Monitoring:
    """Where Prometheus can't be asked, the rest of a page is none the worse."""
    try:
        samples, alerts = prometheus.query_and_alerts(client, _QUERY)
    except ArenaError as error:
        return Monitoring(f"{error.what}{f': {error.why}' if error.why else ''}")
    return read(samples, alerts)


def read(samples: Iterable[Mapping[str, Any]], alerts: Iterable[Mapping[str, Any]]) -> Monitoring:
    """samples: as an instant query has them. alerts: as /api/v1/alerts has them."""
    rows = monitored.news(alerts)
    grave = {
        row["labels"]["UUID"] for row in rows if row["labels"].get("severity") == "critical" and "UUID" in row["labels"]
    }
    gpus = _gpus(samples, grave)
    return Monitoring("", gpus, monitored.gravest_first(_alert(row, gpus) for row in rows))


def _gpus(samples: Iterable[Mapping[str, Any]], grave: set[str]) -> tuple[Gpu, ...]:
    rows = ((_FIGURES[one["metric"]["__name__"]], one["metric"], float(one["value"][1])) for one in samples)
    return tuple(
        replace(gpu, holders=tuple(sorted(gpu.holders)), trouble=_trouble(gpu.figures, gpu.uuid in grave))
        for gpu in monitored.gpus(rows, Gpu)
    )


def _trouble(figures: Mapping[str, float], grave: bool) -> str:
    """A GPU of which nothing but its last error is told does not answer its driver."""
    xid = f"XID {figures['xid']:.0f}" if figures.get("xid") else ""
    if "heat" not in figures:
        return f"does not answer{f', {xid}' if xid else ''}"
    return (xid or "see the alert") if grave else ""


def _alert(row: Mapping[str, Any], gpus: Sequence[Gpu]) -> Alert:
    labels = row["labels"]
    pods: tuple[str, ...] = (f"{labels.get('namespace', '')}/{labels['pod']}",) if labels.get("pod") else ()
    # Of a node: who holds those of its GPUs that are ill.
    if not pods and labels.get("alertname", "").startswith("Gpu"):
        pods = tuple(pod for gpu in gpus if gpu.trouble and gpu.node == labels.get("node") for pod in gpu.holders)
    return monitored.alert(row, Alert, pods=pods)
