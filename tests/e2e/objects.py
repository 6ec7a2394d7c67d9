"""Everything that is in a cluster, as lines to compare: what was added, and what was changed in what was there."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

Kubectl = Callable[..., str]

#: Come and go by themselves, or say how things are and not how they should be.
_PASSING = frozenset({"Event", "Lease", "Pod", "ReplicaSet", "ControllerRevision", "EndpointSlice", "Endpoints"})
#: What the installer notes of all components; the annotation by which a controller counts its own steps; the Kubelet's.
_BOOKS = ("arena-install-ledger",)
_NODE_NOTES = re.compile(r"^(node\.alpha\.kubernetes\.io|volumes\.kubernetes\.io|kubeadm\.alpha\.kubernetes\.io)/")


def take(kubectl: Kubectl, namespace: str = "") -> set[str]:
    """One line an object: kind, name and digest of all that somebody wanted of it. Pods count by what makes them.

    namespace: of that one alone, and its pods by their names.
    """
    words = ("--verbs=list", "--output=name", *(("--namespaced",) if namespace else ()))
    names = sorted({*kubectl("api-resources", *words).split()} - {"events.events.k8s.io", "events"})
    where = ("--namespace", namespace) if namespace else ("--all-namespaces",)
    items = json.loads(kubectl("get", ",".join(names), *where, "--output=json"))["items"]
    pods = {f"Pod {namespace}/{obj['metadata']['name']}" for obj in items if namespace and obj["kind"] == "Pod"}
    return pods | {
        f"{obj['kind']} {obj['metadata'].get('namespace', '-')}/{obj['metadata']['name']} {_digest(obj)}"
        for obj in items
        if obj["kind"] not in _PASSING and obj["metadata"]["name"] not in _BOOKS
    }


def _digest(obj: dict[str, Any]) -> str:
    meta = obj["metadata"]
    notes = {key: value for key, value in meta.get("annotations", {}).items() if not _NODE_NOTES.search(key)}
    if obj["kind"] == "NodeFeature":  # what a host is found to have, from minute to minute
        return ""
    kept = {key: value for key, value in obj.items() if key not in ("metadata", "status")}
    if obj["kind"] == "Node":  # what a device plugin offers; the rest of a status is the kubelet's word
        kept["resources"] = sorted(key for key in obj["status"]["capacity"] if "/" in key)
    text = json.dumps([kept, meta.get("labels", {}), notes, meta.get("finalizers", [])], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
