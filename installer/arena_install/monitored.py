"""GPUs and alerts as Prometheus tells them, as rows of pages: of the operator's and of the dashboard. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

_ORDER = ("critical", "warning", "info")


@dataclass(frozen=True)
class Gpu:
    """figures: by the page's own names, memory in MiB; one that its exporter does not tell is missing. holders:
    "namespace/pod"."""

    node: str
    index: str
    uuid: str
    model: str
    holders: tuple[str, ...]
    figures: Mapping[str, float]

    @property
    def memory(self) -> float:
        """In MiB, all of it."""
        return sum(self.figures.get(name, 0.0) for name in ("used", "free", "reserved"))


@dataclass(frozen=True)
class Alert:
    """state: firing, or pending: it will when it goes on so. since: UTC."""

    name: str
    severity: str
    state: str
    summary: str
    action: str
    since: str


G = TypeVar("G", bound=Gpu)
A = TypeVar("A", bound=Alert)


def gpus(samples: Iterable[tuple[str, Mapping[str, str], float]], make: type[G]) -> tuple[G, ...]:
    """Every GPU of which anything is told, by node and index. samples: (figure, labels, value)."""
    rows: dict[str, dict[str, Any]] = {}
    for figure, labels, value in samples:
        row = rows.setdefault(labels.get("UUID", ""), {"labels": labels, "figures": {}, "holders": {}})
        row["figures"][figure] = value
        if labels.get("pod"):
            row["holders"][f"{labels.get('namespace', '')}/{labels['pod']}"] = None
    found = (
        make(
            node=row["labels"].get("node") or row["labels"].get("Hostname", ""),
            index=row["labels"].get("gpu", ""),
            uuid=uuid,
            model=row["labels"].get("modelName", ""),
            holders=tuple(row["holders"]),
            figures=row["figures"],
        )
        for uuid, row in rows.items()
    )
    return tuple(sorted(found, key=lambda gpu: (gpu.node, int(gpu.index) if gpu.index.isdigit() else 0)))


def news(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Alerts as /api/v1/alerts has them, without the one that always fires."""
    return [row for row in rows if row["labels"].get("severity") != "none"]


def alert(row: Mapping[str, Any], make: type[A], **more: Any) -> A:
    return make(
        name=str(row["labels"].get("alertname", "")),
        severity=str(row["labels"].get("severity", "warning")),
        state=str(row["state"]),
        summary=str(row["annotations"].get("summary", "")),
        action=str(row["annotations"].get("action", "")),
        since=str(row.get("activeAt", ""))[:19].replace("T", " "),
        **more,
    )


def gravest_first(alerts: Iterable[A]) -> tuple[A, ...]:
    """What fires before what may."""

    def place(one: A) -> tuple[bool, int, str, str]:
        grade = _ORDER.index(one.severity) if one.severity in _ORDER else 1
        return one.state != "firing", grade, one.name, one.summary

    return tuple(sorted(alerts, key=place))
