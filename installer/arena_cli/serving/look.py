"""Serving jobs as tables, pages and JSON; columns and fields are upstream's. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from arena_cli.look import status as word
from arena_cli.look import text
from arena_cli.look.model import Object

#: servingType -> as TYPE shows it; what --type takes is one of these, its first part, or the key.
TYPES = {
    "tf-serving": "Tensorflow",
    "trt-serving": "Tensorrt",
    "triton-serving": "Triton",
    "custom-serving": "Custom",
    "kserve": "KServe",
    "kf-serving": "KFServing",
    "seldon-serving": "Seldon",
    "distributed-serving": "Distributed",
}
_PORTS = {"grpc-serving": "GRPC", "http-serving": "RESTFUL", "grpc": "GRPC", "http": "RESTFUL"}


@dataclass(frozen=True)
class Serving:
    """One version of a serving job: its Deployment, Service and pods."""

    deployment: Object
    service: Object | None
    pods: tuple[Object, ...]

    def _label(self, key: str) -> str:
        return str((self.deployment["metadata"].get("labels") or {}).get(key, ""))

    @property
    def name(self) -> str:
        return self._label("servingName")

    @property
    def version(self) -> str:
        return self._label("servingVersion")

    @property
    def type(self) -> str:
        return self._label("servingType")

    @property
    def namespace(self) -> str:
        return str(self.deployment["metadata"]["namespace"])

    @property
    def title(self) -> str:
        return TYPES.get(self.type, self.type or "N/A")

    @property
    def desired(self) -> int:
        return int(self.deployment["spec"].get("replicas", 1))

    @property
    def available(self) -> int:
        return int((self.deployment.get("status") or {}).get("availableReplicas") or 0)

    @property
    def created(self) -> float:
        return word.moment(self.deployment["metadata"].get("creationTimestamp")) or 0.0

    @property
    def address(self) -> str:
        return str(((self.service or {}).get("spec") or {}).get("clusterIP") or "N/A")

    @property
    def gpus(self) -> int:
        return word.pod_gpus(self.deployment["spec"]["template"]["spec"]) * self.desired

    @property
    def endpoints(self) -> list[dict[str, Any]]:
        rows = ((self.service or {}).get("spec") or {}).get("ports") or ()
        return [
            {
                "name": _port(row),
                "port": int(row["port"]),
                "nodePort": int(row.get("nodePort", 0)),
            }
            for row in rows
            if _port(row)
        ]

    @property
    def ports(self) -> str:
        shown = [
            f"{row['name']}:{row['nodePort']}->{row['port']}" if row["nodePort"] else f"{row['name']}:{row['port']}"
            for row in self.endpoints
        ]
        return ",".join(shown) or "N/A"


def _port(row: Object) -> str:
    """GRPC or RESTFUL, "" for another: upstream's Services, and ours, call them grpc-serving and http-serving."""
    return _PORTS.get(str(row.get("name", "")), "")


def servings(deployments: Iterable[Object], services: Iterable[Object], pods: Iterable[Object]) -> list[Serving]:
    """By the labels servingName, servingType and servingVersion; the newest first."""
    services, pods = list(services), list(pods)
    found = []
    for deployment in deployments:
        mine = _key(deployment)
        if not mine[1]:
            continue
        service = next((one for one in services if _key(one) == mine), None)
        found.append(Serving(deployment, service, tuple(one for one in pods if _key(one) == mine)))
    return sorted(found, key=lambda one: (-one.created, one.name, one.version))


def _key(obj: Object) -> tuple[str, ...]:
    labels = obj["metadata"].get("labels") or {}
    return (
        str(obj["metadata"]["namespace"]),
        *(str(labels.get(key, "")) for key in ("servingName", "servingType", "servingVersion")),
    )


def type_of(wanted: str) -> str:
    """The servingType that --type means, "" for none."""
    wanted = wanted.lower()
    return next((key for key, title in TYPES.items() if wanted in (key, title.lower(), key.partition("-")[0])), "")


def table(found: Sequence[Serving], *, everywhere: bool) -> str:
    gpus = any(one.gpus for one in found)
    header = [
        *(["NAMESPACE"] if everywhere else []),
        "NAME",
        "TYPE",
        "VERSION",
        "DESIRED",
        "AVAILABLE",
        "ADDRESS",
        "PORTS",
        *(["GPU"] if gpus else []),
    ]
    rows = [
        [
            *([one.namespace] if everywhere else []),
            one.name,
            one.title,
            one.version or "N/A",
            str(one.desired),
            str(one.available),
            one.address,
            one.ports,
            *([str(one.gpus)] if gpus else []),
        ]
        for one in found
    ]
    return text.table(header, rows)


def page(one: Serving, now: float, reason: str = "") -> str:
    labels = one.deployment["metadata"].get("labels") or {}
    head = [
        ("Name", one.name),
        ("Namespace", one.namespace),
        ("Type", one.title),
        ("Version", one.version),
        ("Desired", str(one.desired)),
        ("Available", str(one.available)),
        ("Age", text.age(now - one.created)),
        ("Address", one.address),
        ("Port", one.ports),
    ]
    head += [
        (title, str(labels[key]))
        for title, key in (("ModelName", "modelName"), ("ModelVersion", "modelVersion"), ("ModelSource", "modelSource"))
        if key in labels
    ]
    if one.gpus:
        head.append(("GPU", str(one.gpus)))
    if reason:
        head.append(("Reason", reason))
    rows = [
        [
            row["name"],
            row["status"],
            text.age(now - row["creationTimestamp"]),
            f"{row['readyContainers']}/{row['totalContainers']}",
            str(row["restartCount"]),
            *([str(row["requestGPUs"])] if one.gpus else []),
            row["nodeName"] or "N/A",
        ]
        for row in map(_instance, one.pods)
    ]
    header = ["NAME", "STATUS", "AGE", "READY", "RESTARTS", *(["GPU"] if one.gpus else []), "NODE"]
    return f"{text.pairs(head)}\nInstances:\n{text.ruled(header, rows)}"


def _instance(pod: Object) -> dict[str, Any]:
    status, rows = pod.get("status") or {}, (pod.get("status") or {}).get("containerStatuses") or ()
    waiting = [(row.get("state") or {}).get("waiting", {}).get("reason") for row in rows]
    return {
        "name": str(pod["metadata"]["name"]),
        "status": next((str(one) for one in waiting if one), str(status.get("phase", "Unknown"))),
        "readyContainers": sum(bool(row.get("ready")) for row in rows),
        "totalContainers": len((pod.get("spec") or {}).get("containers") or ()),
        "restartCount": sum(int(row.get("restartCount") or 0) for row in rows),
        "nodeIP": str(status.get("hostIP", "")),
        "nodeName": str((pod.get("spec") or {}).get("nodeName", "")),
        "ip": str(status.get("podIP", "")),
        "requestGPUs": word.pod_gpus(pod.get("spec") or {}),
        "creationTimestamp": int(word.moment(pod["metadata"].get("creationTimestamp")) or 0),
    }


def as_dict(one: Serving, now: float) -> dict[str, Any]:
    instances = [
        {**row, "age": f"{int(now - row['creationTimestamp'])}s", "requestGPUMemory": 0, "requestGPUCore": 0}
        for row in map(_instance, one.pods)
    ]
    limits = [
        (row.get("resources") or {}).get("limits") or {}
        for row in one.deployment["spec"]["template"]["spec"]["containers"]
    ]
    return {
        "uuid": str(one.deployment["metadata"].get("uid", "")),
        "name": one.name,
        "namespace": one.namespace,
        "type": one.title,
        "version": one.version,
        "age": f"{int(now - one.created)}s",
        "desiredInstances": one.desired,
        "availableInstances": one.available,
        "endpoints": one.endpoints,
        "ip": one.address,
        "instances": instances,
        "requestCPUs": next((str(row["cpu"]) for row in limits if "cpu" in row), ""),
        "requestGPUs": one.gpus,
        "requestGPUMemory": 0,
        "requestGPUCore": 0,
        "creationTimestamp": int(one.created),
    }
