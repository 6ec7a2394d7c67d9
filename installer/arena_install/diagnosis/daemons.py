"""The pod that a DaemonSet keeps on a node, and what is wrong with it."""

from __future__ import annotations

from arena_install.diagnosis.view import HostView, Object


def daemon(view: HostView, namespace: str, name: str, but: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Lines that say why the pod whose name starts so is not at work on this node, () if it is.

    but: parts of names that are others'. Says nothing where the API or the node is missing.
    """
    if not view.api.answers or view.node is None:
        return ()

    def ours(row: Object) -> bool:
        meta = row["metadata"]
        named = meta["name"].startswith(name) and not any(part in meta["name"] for part in but)
        return bool(meta["namespace"] == namespace and named)

    pods = [pod for pod in view.pods if ours(pod)]
    if not pods:
        sets = [row for row in view.api.workloads if row["kind"] == "DaemonSet" and ours(row)]
        told = _wants(sets[0]) if sets else f"there is no DaemonSet {name} in namespace {namespace}"
        return (f"no pod of {name} is on node {view.node_name}", told)
    for pod in pods:
        if found := view.api.unready.get(f"{namespace}/{pod['metadata']['name']}"):
            return view.api.told(found)
    return ()


def _wants(daemons: Object) -> str:
    number = daemons.get("status", {}).get("desiredNumberScheduled", 0)
    selector = daemons["spec"]["template"]["spec"].get("nodeSelector")
    where = f", only on nodes with {' '.join(f'{key}={value}' for key, value in selector.items())}" if selector else ""
    return f"DaemonSet {daemons['metadata']['name']} wants {number} pods{where}"
