"""GPUs and alerts as Prometheus tells them: which GPU is in trouble, and which pod suffers from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arena_cli import prometheus
from arena_cli.kube.client import Client
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
_ORDER = ("critical", "warning", "info")


@dataclass(frozen=True)
class Gpu:
    """figures: see _FIGURES; memory in MiB, busy in percent, heat in °C. holders: "namespace/pod". trouble: "" when it
    is well."""

    node: str
    index: str
    uuid: str
    model: str
    holders: tuple[str, ...]
    figures: Mapping[str, float]
    trouble: str = ""

    @property
    def memory(self) -> float:
        return sum(self.figures.get(name, 0.0) for name in ("used", "free", "reserved"))


@dataclass(frozen=True)
class Alert:
    """state: firing, or pending: it will when it goes on so. pods: "namespace/pod" of those who suffer."""

    name: str
    severity: str
    state: str
    summary: str
    action: str
    since: str  # UTC
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
    rows = [row for row in alerts if row["labels"].get("severity") != "none"]  # one fires always
    grave = {
        row["labels"]["UUID"] for row in rows if row["labels"].get("severity") == "critical" and "UUID" in row["labels"]
    }
    gpus = _gpus(samples, grave)
    found = [_alert(row, gpus) for row in rows]
    found.sort(key=lambda one: (one.state != "firing", _place(one.severity), one.name, one.summary))
    return Monitoring("", gpus, tuple(found))


def _gpus(samples: Iterable[Mapping[str, Any]], grave: set[str]) -> tuple[Gpu, ...]:
    rows: dict[str, dict[str, Any]] = {}
    for sample in samples:
        labels = sample["metric"]
        row = rows.setdefault(labels.get("UUID", ""), {"labels": labels, "figures": {}, "holders": {}})
        row["figures"][_FIGURES[labels["__name__"]]] = float(sample["value"][1])
        if labels.get("pod"):
            row["holders"][f"{labels.get('namespace', '')}/{labels['pod']}"] = None
    found = (
        Gpu(
            node=row["labels"].get("node") or row["labels"].get("Hostname", ""),
            index=row["labels"].get("gpu", ""),
            uuid=uuid,
            model=row["labels"].get("modelName", ""),
            holders=tuple(sorted(row["holders"])),
            figures=row["figures"],
            trouble=_trouble(row["figures"], uuid in grave),
        )
        for uuid, row in rows.items()
    )
    return tuple(sorted(found, key=lambda gpu: (gpu.node, int(gpu.index) if gpu.index.isdigit() else 0)))


def _trouble(figures: Mapping[str, float], grave: bool) -> str:
    """A GPU of which nothing but its last error is told does not answer its driver."""
    xid = f"XID {figures['xid']:.0f}" if figures.get("xid") else ""
    if "heat" not in figures:
        return f"does not answer{f', {xid}' if xid else ''}"
    return (xid or "see the alert") if grave else ""


def _alert(row: Mapping[str, Any], gpus: Sequence[Gpu]) -> Alert:
    labels, notes = row["labels"], row["annotations"]
    pods: tuple[str, ...] = (f"{labels.get('namespace', '')}/{labels['pod']}",) if labels.get("pod") else ()
    name = str(labels.get("alertname", ""))
    if not pods and name.startswith("Gpu"):  # of a node: who holds those of its GPUs that are ill
        pods = tuple(pod for gpu in gpus if gpu.trouble and gpu.node == labels.get("node") for pod in gpu.holders)
    return Alert(
        name,
        str(labels.get("severity", "warning")),
        str(row["state"]),
        str(notes.get("summary", "")),
        str(notes.get("action", "")),
        str(row.get("activeAt", ""))[:19].replace("T", " "),
        pods,
    )


def _place(severity: str) -> int:
    return _ORDER.index(severity) if severity in _ORDER else 1
