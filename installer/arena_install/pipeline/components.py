"""The cluster components' side of a plan: what is wanted, what is there. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arena_install import stack
from arena_install.errors import UnreachableError
from arena_install.pipeline.setting import Setting
from arena_install.plan import Record
from arena_install.stack import foreign
from arena_install.stack import nodes as stack_nodes
from arena_install.stack.api import Api
from arena_install.stack.values import Wish


def wanted(setting: Setting) -> dict[str, Wish]:
    """Component -> what is wanted of it. Nothing needs to be built to know."""
    return stack.wishes(setting.cluster, setting.components, setting.lock.digest)


def found(kubeconfig: Path) -> dict[str, Record] | None:
    """Component -> what the cluster's ledger holds, with each item as it is now; None where the API does not answer."""
    if not kubeconfig.exists():
        return None
    api = Api(kubeconfig, timeout=5)
    try:
        return dict(stack.inspect(api).records)
    except UnreachableError:
        return None
    finally:
        api.close()


def left_out(kubeconfig: Path, wanted: Mapping[str, Wish]) -> dict[str, str]:
    """Component -> what an existing cluster has in its place. Raises UnreachableError."""
    api = Api(kubeconfig, timeout=10)
    try:
        return foreign.survey(api, wanted)
    finally:
        api.close()


def leaving(kubeconfig: Path) -> frozenset[str]:
    """Nodes that an interrupted `down` was taking out; none where the cluster does not answer."""
    if not kubeconfig.exists():
        return frozenset()
    api = Api(kubeconfig, timeout=5)
    try:
        return stack_nodes.leaving(api)
    except UnreachableError:
        return frozenset()
    finally:
        api.close()


def nodes(kubeconfig: Path) -> tuple[dict[str, Any], ...]:
    """name, ready, roles, version, gpus (allocatable), address of each node. Raises UnreachableError."""
    if not kubeconfig.exists():
        return ()
    api = Api(kubeconfig, timeout=10)
    try:
        return tuple(_row(node) for node in api.list_objects("v1", "Node"))
    finally:
        api.close()


def _row(node: dict[str, Any]) -> dict[str, Any]:
    status, labels = node["status"], node["metadata"].get("labels") or {}
    conditions = {row["type"]: row["status"] for row in status.get("conditions") or ()}
    prefix = "node-role.kubernetes.io/"
    return {
        "name": node["metadata"]["name"],
        "ready": conditions.get("Ready") == "True",
        "roles": ",".join(sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix))) or "worker",
        "version": status["nodeInfo"]["kubeletVersion"],
        "gpus": int((status.get("allocatable") or {}).get("nvidia.com/gpu", 0)),
        "address": next((row["address"] for row in status.get("addresses") or () if row["type"] == "InternalIP"), ""),
    }
