"""Nodes that leave: cordoned, emptied with respect for disruption budgets, deleted.

What `down` is about to do to a node stands on the node itself, as an annotation, before anything else is done: an `up`
after a run that was cut off finds it there and takes the node back (roles/ledger/library/kube_node.py).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from arena_install.errors import ArenaError, StepError, TimedOutError
from arena_install.events import Emit, Step, step
from arena_install.stack.api import Api, ApiError, Object

LEAVING = "arena-install.local/leaving"  # annotation; its value says who cordoned the node
_BY_US, _BY_OTHERS, _NOBODY = "cordoned", "was-cordoned", "not-cordoned"

_POLL = 1.0  # seconds between looks
_FORCED = 60.0  # seconds that pods have to end once they are deleted and no longer asked


def leaving(api: Api) -> frozenset[str]:
    """Names of the nodes that a `down` began to take out."""
    nodes = api.list_metadata("v1", "Node")
    return frozenset(row["metadata"]["name"] for row in nodes if LEAVING in (row["metadata"].get("annotations") or {}))


def mark(api: Api, names: Iterable[str]) -> None:
    """Note on these nodes, where there are such, that their hosts are being reset."""
    for name in names:
        node = api.get("v1", "Node", name, metadata_only=True)
        if node and LEAVING not in (node["metadata"].get("annotations") or {}):
            _annotate(api, name, _NOBODY)


def drain(api: Api, names: Sequence[str], emit: Emit, *, limit: float, force: bool = False) -> None:
    """Cordon these nodes and evict their pods, but those of DaemonSets and the kubelet's own.

    limit: seconds for each node. Unless forced, refuses (StepError) pods that nothing would start elsewhere and
    volumes whose data lies on these nodes, and gives up (TimedOutError) on pods that a disruption budget holds longer
    than that; the nodes are then as they were before. Forced: such pods are deleted.
    """
    if not force:
        _refuse_losses(api, names)
    for name in names:
        _cordon(api, name)
    try:
        for name in names:
            with step(emit, f"node/{name}", "draining") as now:
                gone = _empty(api, name, now, time.monotonic() + limit, force)
                now.end("changed", f"drained: {gone} pods")
    except ArenaError:
        stay(api, names)
        raise


def stay(api: Api, names: Iterable[str]) -> None:
    """Take back `mark` and `drain`'s cordon; a node that others had cordoned stays so."""
    for name in names:
        node = api.get("v1", "Node", name, metadata_only=True)
        how = ((node or {}).get("metadata", {}).get("annotations") or {}).get(LEAVING)
        if how:
            change: dict[str, Any] = {"metadata": {"annotations": {LEAVING: None}}}
            if how == _BY_US:
                change["spec"] = {"unschedulable": None}
            api.merge("v1", "Node", name, change)


def delete(api: Api, names: Iterable[str]) -> None:
    """Delete the node objects; the cluster itself then forgets the pods that were bound to them."""
    for name in names:
        api.delete("v1", "Node", name)


def _cordon(api: Api, name: str) -> None:
    node = api.get("v1", "Node", name)
    if node is None:
        return
    known, cordoned = LEAVING in (node["metadata"].get("annotations") or {}), bool(node["spec"].get("unschedulable"))
    if not (known and cordoned):
        _annotate(api, name, _BY_OTHERS if cordoned else _BY_US, {"unschedulable": True})


def _annotate(api: Api, name: str, value: str, spec: dict[str, Any] | None = None) -> None:
    change: dict[str, Any] = {"metadata": {"annotations": {LEAVING: value}}}
    api.merge("v1", "Node", name, {**change, "spec": spec} if spec else change)


def _empty(api: Api, name: str, now: Step, deadline: float, force: bool) -> int:
    """Evict until no pod is left; returns how many there were."""
    seen: set[str] = set()
    forced_at = 0.0
    while pods := _pods(api, name):
        seen |= {pod["metadata"]["uid"] for pod in pods}
        held = [why for pod in pods if (why := _let_go(api, pod, bool(forced_at)))]
        first = held[0] if held else f"{_title(pods[0])} is ending"
        now.waiting(first + (f", and {len(pods) - 1} more" if len(pods) > 1 else ""))
        if time.monotonic() >= deadline and not forced_at:
            if not force:
                raise TimedOutError(
                    f"{len(pods)} pods did not leave the node in time",
                    where=f"node {name}",
                    why="\n".join(held or [f"{_title(pod)} has not ended" for pod in pods]),
                    fix="wait until they can go and run the same command again, or add --force to delete them",
                )
            forced_at = time.monotonic()
        elif forced_at and time.monotonic() >= forced_at + _FORCED:
            now.log(f"{len(pods)} pods did not end; they go with the host")
            break
        time.sleep(_POLL)
    return len(seen)


def _let_go(api: Api, pod: Object, force: bool) -> str:
    """Evict one pod, or delete it; returns what holds it, or ""."""
    metadata = pod["metadata"]
    if metadata.get("deletionTimestamp"):
        return ""
    name, namespace = metadata["name"], metadata["namespace"]
    if force:
        api.delete("v1", "Pod", name, namespace)
        return ""
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    try:
        api.request("POST", api.path("v1", "Pod", namespace, name) + "/eviction", body=eviction)
    except ApiError as error:
        if error.code == 429:  # a disruption budget, or the server is busy
            return f"{_title(pod)}: {error.message}"
        if error.code != 404:
            raise
    return ""


def _refuse_losses(api: Api, names: Collection[str]) -> None:
    """Raises StepError where taking out these nodes loses what nobody can bring back."""
    bare = [
        f"{_title(pod)}: nothing would start it elsewhere"
        for name in names
        for pod in _pods(api, name)
        if not any(row.get("controller") for row in pod["metadata"].get("ownerReferences") or ())
    ]
    volumes = [
        f"claim {claim['namespace']}/{claim['name']}: the data of {row['metadata']['name']} is on {', '.join(on)}"
        for row in api.list_objects("v1", "PersistentVolume")
        if (on := sorted(_only_on(row) & set(names))) and (claim := row["spec"].get("claimRef"))
    ]
    if lost := bare + volumes:
        raise StepError(
            f"{len(lost)} things would be lost with {', '.join(names)}",
            why="\n".join(lost),
            fix="move or delete them first, or add --force; nothing has been changed",
        )


def _pods(api: Api, node: str) -> list[Object]:
    """Pods that have to leave: not those that have ended, not the kubelet's own, not those of a DaemonSet."""
    rows = api.list_objects("v1", "Pod", fieldSelector=f"spec.nodeName={node}")
    return [pod for pod in rows if not (_has_ended(pod) or _is_mirror(pod) or _is_of_daemon_set(pod))]


def _has_ended(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _is_mirror(pod: Object) -> bool:
    return "kubernetes.io/config.mirror" in (pod["metadata"].get("annotations") or {})


def _is_of_daemon_set(pod: Object) -> bool:
    owners = pod["metadata"].get("ownerReferences") or ()
    return any(row["kind"] == "DaemonSet" and row.get("controller") for row in owners)


def _only_on(volume: Object) -> set[str]:
    """Nodes that a volume is bound to by name."""
    required = (volume["spec"].get("nodeAffinity") or {}).get("required") or {}
    return {
        value
        for term in required.get("nodeSelectorTerms") or ()
        for row in term.get("matchExpressions") or ()
        if row["key"] == "kubernetes.io/hostname" and row["operator"] == "In"
        for value in row.get("values") or ()
    }


def _title(pod: Object) -> str:
    return f"pod {pod['metadata']['namespace']}/{pod['metadata']['name']}"
