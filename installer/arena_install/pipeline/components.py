"""The cluster components' side of a plan: digests wanted, digests found. Reads only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from arena_install import artifacts
from arena_install.errors import UnreachableError
from arena_install.events import ignore
from arena_install.inventory.cluster import Cluster
from arena_install.pipeline.setting import Setting
from arena_install.stack import catalogue, ledger
from arena_install.stack.api import Api
from arena_install.stack.values import inputs_of


def wanted(setting: Setting, cluster: Cluster) -> dict[str, str]:
    """Component -> input digest; "" for one whose artifacts are not in the cache, so its bytes are not known yet."""
    rows = catalogue()
    names = setting.names()
    if artifacts.missing(setting.lock, names, cluster.config):
        return dict.fromkeys(setting.components, "")
    resolved = artifacts.resolve(setting.lock, names, cluster.config, ignore, state=setting.resolved_file)
    return {name: inputs_of(rows[name], cluster, resolved).digest for name in setting.components}


def found(kubeconfig: Path) -> dict[str, str]:
    """Component -> input digest that the cluster's ledger holds; none of those that were begun and not ended.

    A cluster that does not answer has none: its hosts are mended first, and then it answers.
    """
    if not kubeconfig.exists():
        return {}
    api = Api(kubeconfig, timeout=5)
    try:
        return {name: entry.inputs for name, entry in ledger.read(api).items() if entry.status == "done"}
    except UnreachableError:
        return {}
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
