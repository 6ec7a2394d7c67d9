"""The cluster's Prometheus, asked through the API server: found as arena finds it, by the label of its Service."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arena_install.errors import StepError
from arena_install.verify.kube import Kube, Object, namespaced

#: What upstream's arena and ours look for, with the port that goes with it.
LABEL = "kubernetes.io/service-name=prometheus-server"
PORT = 9090

#: What arena asks for, and under which labels (kubeflow/arena, pkg/prometheus).
ARENA = ("nvidia_gpu_duty_cycle", "nvidia_gpu_memory_used_bytes", "nvidia_gpu_memory_total_bytes")


@dataclass(frozen=True)
class Sample:
    """labels: without the metric's name. at: Unix seconds for which it holds."""

    name: str
    labels: Mapping[str, str]
    value: float
    at: float


def service_of(kube: Kube) -> str:
    """ "namespace/name" of the first Service with the label, "" if there is none."""
    found = kube.items("/api/v1/services", labelSelector=LABEL)
    rows = sorted(f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in found)
    return rows[0] if rows else ""


class Prometheus:
    """Raises ApiError where the API server does not reach it, StepError where it refuses to answer."""

    def __init__(self, kube: Kube, service: str) -> None:
        namespace, _, name = service.partition("/")
        self._kube, self.service = kube, service
        self._base = f"{namespaced('services', namespace, name)}:{PORT}/proxy/api/v1"

    def ask(self, what: str, **query: str) -> Any:
        # A question that it can't answer comes back as 400 or 422, with the reason.
        answer: Object = json.loads(self._kube.text(f"{self._base}/{what}", despite=(400, 422), **query))
        if answer.get("status") != "success":
            raise StepError("Prometheus did not answer the question", where=what, why=str(answer.get("error", "")))
        return answer["data"]

    def query(self, expression: str) -> list[Sample]:
        """The samples of an instant query that gives a vector."""
        found = self.ask("query", query=expression)["result"]
        return [_sample(row) for row in found]

    def targets(self) -> list[Object]:
        """What is scraped: "scrapePool", "labels", "health" (up, down, unknown), "lastError", "scrapeInterval"."""
        return list(self.ask("targets", state="active")["activeTargets"])

    def jobs(self) -> set[str]:
        return set(self.ask("scrape_pools")["scrapePools"])

    def groups(self) -> list[Object]:
        """Groups of rules, each rule with "health" (ok, err, unknown) and "lastError"."""
        return list(self.ask("rules")["groups"])

    def alerts(self) -> list[Object]:
        """Alerts that fire, or are about to: "labels", "annotations", "state", "activeAt"."""
        return list(self.ask("alerts")["alerts"])


def _sample(row: Object) -> Sample:
    labels = {key: value for key, value in row["metric"].items() if key != "__name__"}
    return Sample(row["metric"].get("__name__", ""), labels, float(row["value"][1]), float(row["value"][0]))


def seconds(text: str) -> float:
    """A duration as Prometheus writes it: "1m30s" -> 90."""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}
    total, number, unit = 0.0, "", ""
    for character in [*text, "0"]:
        if character.isdigit() or character == ".":
            if unit:
                total, number, unit = total + float(number) * units[unit], "", ""
            number += character
        else:
            unit += character
    return total
