"""What the checks of one run share: the API, the namespaces made for them, the evidence folder, the stop signal."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena_install.events import Emit
from arena_install.verify.cordons import Cordons
from arena_install.verify.kube import Kube, Object
from arena_install.verify.needs import Facts
from arena_install.verify.workspace import Workspaces

if TYPE_CHECKING:
    from arena_install.inventory.cluster import Cluster, Host
    from arena_install.verify.agents import Agents
    from arena_install.verify.hosts import Hosts
    from arena_install.verify.readers import Readers


class Interrupted(BaseException):
    """The run was told to stop; a check must not swallow it, therefore no Exception."""


class Session:
    """id: names the run. evidence: folder, made on first use. only: names of the nodes to look at, None for all.
    folders: where the run writes anything, to be searched for secrets."""

    def __init__(
        self,
        id: str,
        cluster: Cluster,
        kube: Kube,
        resolved: Any | None,
        facts: Facts,
        evidence: Path,
        emit: Emit,
        only: Sequence[str] | None = None,
        folders: Sequence[Path] = (),
    ) -> None:
        from arena_install.verify.agents import Agents
        from arena_install.verify.hosts import Hosts
        from arena_install.verify.readers import Readers

        self.id, self.cluster, self.kube, self.resolved, self.facts = id, cluster, kube, resolved, facts
        self.evidence, self.emit, self.folders = evidence, emit, tuple(folders)
        self.only = frozenset(only) if only is not None else None
        self.cancelled = threading.Event()
        self.workspaces = Workspaces(kube, id)
        self.cordons = Cordons(kube, id)
        self.readers: Readers = Readers(self)
        self.agents: Agents = Agents(self)
        self.hosts: Hosts = Hosts(self)
        self.shared: dict[str, Any] = {}  # what one check leaves for those that need it, by check id

    def nodes(self) -> list[Object]:
        """The nodes to look at, as the API has them now, by name."""
        found = self.kube.items("/api/v1/nodes")
        chosen = [node for node in found if self.only is None or node["metadata"]["name"] in self.only]
        return sorted(chosen, key=lambda node: str(node["metadata"]["name"]))

    def gpu_nodes(self) -> list[Object]:
        return [node for node in self.nodes() if node["metadata"]["name"] in self.facts.gpu_nodes]

    def gpu_names(self) -> list[str]:
        return [str(node["metadata"]["name"]) for node in self.gpu_nodes()]

    def host(self, node: Object) -> Host | None:
        """The host of the inventory that this node is, by its name or an address."""
        known = {node["metadata"]["name"], *(a["address"] for a in node["status"].get("addresses") or [])}
        return next((host for host in self.cluster.hosts if {host.name, host.address, host.node_ip} & known), None)

    def sleep(self, seconds: float, deadline: float) -> None:
        """Sleep, but not past the deadline (monotonic) nor past the end of the run."""
        if self.cancelled.wait(max(0.0, min(seconds, deadline - time.monotonic()))):
            raise Interrupted
