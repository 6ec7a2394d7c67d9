"""The report's header: which cluster this was, from the API and from what the readers saw on the GPU nodes."""

from __future__ import annotations

from typing import Any

from arena_install.verify.kube import Object
from arena_install.verify.model import Environment, Node
from arena_install.verify.needs import CONTROL_PLANE, capacity
from arena_install.verify.session import Session


def describe(session: Session) -> Environment:
    """Raises UnreachableError when the API has gone away."""
    version = session.kube.get("/version").get("gitVersion", "")
    nodes = session.nodes()
    return Environment(
        server=session.kube.server,
        kubernetes=str(version),
        gpu=_gpu(session),
        compute=str(session.shared.get("compute", "")),
        nodes=tuple(_node(session, node) for node in nodes),
    )


def _gpu(session: Session) -> str:
    """Seen by the readers where they ran, else as the inventory says."""
    if not session.facts.gpu_nodes:
        return "none"
    if seen := [view.simulated for view in session.readers.seen.values()]:
        return "simulated" if any(seen) else "real"
    default = session.cluster.config.gpu.driver
    modes = {host.vars.get("nvidia_driver_mode", default) for host in session.cluster.group("gpu")}
    if "simulated" in modes:
        return "simulated"
    return "real" if modes else "unknown"


def _node(session: Session, node: Object) -> Node:
    meta, status = node["metadata"], node["status"]
    info: dict[str, Any] = status.get("nodeInfo") or {}
    labels = meta.get("labels") or {}
    view = session.readers.seen.get(meta["name"])
    gpus = capacity(node)
    roles = [role for role, there in (("control plane", CONTROL_PLANE in labels), ("GPU", gpus > 0)) if there]
    addresses = [entry["address"] for entry in status.get("addresses") or [] if entry["type"] == "InternalIP"]
    system = (info.get("osImage"), info.get("kernelVersion"), info.get("containerRuntimeVersion"))
    return Node(
        name=meta["name"],
        roles=", ".join(roles) or "worker",
        address=addresses[0] if addresses else "",
        version=str(info.get("kubeletVersion", "")),
        system=", ".join(str(part) for part in system if part),
        gpus=gpus,
        gpu_model=view.names[0] if view and view.names else str(labels.get("nvidia.com/gpu.product", "")),
        driver=view.driver if view else "",
    )
