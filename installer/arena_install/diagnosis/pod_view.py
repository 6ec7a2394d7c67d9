"""What is known of one pod, and of what it needs to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from arena_install.diagnosis.model import Fix
from arena_install.diagnosis.view import GPU, Object

_DONE = ("Succeeded", "Failed")


@dataclass(frozen=True)
class PodView:
    """Objects as the API has them. events: about the pod, oldest first. claims: the PersistentVolumeClaims that it
    names, None for one that is missing. logs: container -> its last lines. images: what the cluster's registry has,
    None if that is not known here."""

    pod: Object
    events: tuple[Object, ...] = ()
    nodes: tuple[Object, ...] = ()
    gpu_pods: tuple[Object, ...] = ()  # of all namespaces: those that ask for GPUs
    claims: Mapping[str, Object | None] = field(default_factory=dict)
    claim_events: tuple[Object, ...] = ()
    storage_classes: tuple[str, ...] = ()
    logs: Mapping[str, str] = field(default_factory=dict)
    images: frozenset[str] | None = None

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.pod["metadata"]["namespace"])

    @property
    def node(self) -> str:
        return str(self.pod["spec"].get("nodeName", ""))

    @property
    def status(self) -> Object:
        found: Object = self.pod.get("status", {})
        return found

    def last(self, *reasons: str) -> str:
        """The message of the last warning with one of these reasons, "" if there is none."""
        for event in reversed(self.events):
            if event.get("type") == "Warning" and event.get("reason") in reasons:
                return " ".join(str(event.get("message", "")).split())
        return ""

    def edit(self, what: str) -> tuple[Fix, ...]:
        """How to change what the pod is made from; most of a pod itself can't be changed."""
        owner = next(iter(self.pod["metadata"].get("ownerReferences") or ()), None)
        if owner is None:
            file = f"{self.name}.yaml"
            return (
                Fix(f"kubectl -n {self.namespace} get pod {self.name} -o yaml > {file}"),
                Fix(f"in {file}: {what}", sentence=True),
                Fix(f"kubectl replace --force -f {file}"),
            )
        kind, name = owner["kind"], owner["name"]
        if kind == "ReplicaSet":  # a Deployment's, which names them after itself
            kind, name = "Deployment", name.rpartition("-")[0]
        edit = Fix(f"kubectl -n {self.namespace} edit {kind.lower()} {name}")
        return (Fix(f"{what}, in its {kind}:", sentence=True), edit)

    def make(self, kind: str, name: str) -> Fix:
        """A Secret or ConfigMap ("secret", "configmap") that is missing."""
        word = "secret generic" if kind == "secret" else kind
        return Fix(f"kubectl -n {self.namespace} create {word} {name} --from-literal=KEY=VALUE")


def requested(pod: Object, resource: str) -> int:
    """How much of an extended resource all containers of a pod ask for."""
    total = 0
    for container in pod["spec"].get("containers") or ():
        limits: dict[str, Any] = container.get("resources", {}).get("limits") or {}
        total += int(limits.get(resource, 0))
    return total


def holders(view: PodView, node: str) -> list[tuple[str, int]]:
    """("namespace/pod", GPUs) of the pods that hold GPUs of a node now."""
    return [
        (f"{pod['metadata']['namespace']}/{pod['metadata']['name']}", requested(pod, GPU))
        for pod in view.gpu_pods
        if pod["spec"].get("nodeName") == node and pod.get("status", {}).get("phase") not in _DONE
    ]
