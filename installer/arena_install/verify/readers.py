"""One reader pod on each GPU node, started when the first check asks, for the rest of the run. Its container "main"
follows what the kubelet gives to whom, "health" what the node's own tools say of the GPUs.

It is the only privileged thing that verify makes, in a namespace of its own: the kubelet's PodResources socket and the
host's NVML can be reached in no other way from inside the cluster.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arena_install.diagnosis import GpuView
from arena_install.verify import pods
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.health import Health
from arena_install.verify.health import parse as parse_health
from arena_install.verify.kube import Object, namespaced
from arena_install.verify.needs import GPU, allocatable, capacity
from arena_install.verify.records import records

if TYPE_CHECKING:
    from arena_install.verify.session import Session


@dataclass(frozen=True)
class NodeView:
    """What a reader saw last. uuids, names, memory_mib: of every GPU that the host's NVML lists. assigned: (namespace,
    pod) -> UUIDs, as the kubelet's PodResources names them."""

    uuids: tuple[str, ...]
    names: tuple[str, ...]
    memory_mib: tuple[int, ...]
    driver: str
    nvml_error: str
    assigned: dict[tuple[str, str], tuple[str, ...]]
    podresources_error: str
    simulated: bool
    links: Mapping[str, Any]  # what node_reader.links() found on the host

    def gpus(self, node: Object) -> GpuView:
        """The same as the chain of GPUs reads it, with what the API says of the node."""
        return GpuView(
            node=str(node["metadata"]["name"]),
            simulated=self.simulated,
            pci=int(self.links.get("pci", 0)),
            module=str(self.links.get("module", "")),
            devices=tuple(self.links.get("nodes", ())),
            uuids=self.uuids,
            error=self.nvml_error,
            cdi=tuple(self.links.get("cdi", ())),
            runtime=bool(self.links.get("runtime")),
            socket=bool(self.links.get("plugin")),
            capacity=capacity(node),
            allocatable=allocatable(node),
        )


class Readers:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._pods: dict[str, str] = {}  # node -> pod
        self.seen: dict[str, NodeView] = {}  # node -> last view taken

    def start(self, ctx: Context, nodes: Sequence[str]) -> None:
        """Have a reader running on each of these nodes. Raises CheckFailed when one does not start."""
        with self._lock:
            new = [node for node in nodes if node not in self._pods]
            if not new:
                return
            namespace = self._session.workspaces.get("privileged")
            payload = self._session.workspaces.payload(namespace)
            made = {node: f"reader-{len(self._pods) + i}" for i, node in enumerate(new)}
            for node, name in made.items():
                pod = _manifest(ctx, name, node, payload)
                ctx.kube.create(namespaced("pods", namespace), pod)
                self._pods[node] = name
            pods.wait_for(
                ctx,
                namespace,
                list(made.values()),
                lambda pod: bool(self._log(ctx, str(pod["metadata"]["name"])) if pods.running(pod) else ""),
                "readers running, one on each GPU node",
            )

    def view(self, ctx: Context, node: str) -> NodeView:
        """What the node's reader says now (at most a second old); starts it if it isn't there."""
        self.start(ctx, [node])
        log = self._log(ctx, self._pods[node])
        seen = [parse(record) for record in records(log, "node")]
        if not seen:
            raise CheckFailed(
                f"the reader on node {node} says nothing",
                cause=log.strip()[-400:] or "its log is empty",
                fix=f"kubectl describe node {node}",
            )
        self.seen[node] = seen[-1]
        return seen[-1]

    def health(self, ctx: Context, node: str) -> Health:
        """What the node's tools said last of its GPUs (at most half a minute ago); starts the reader if need be."""
        self.start(ctx, [node])

        def look() -> Health | None:
            said = records(self._log(ctx, self._pods[node], "health"), "health")
            return parse_health(said[-1]) if said else None

        return ctx.wait(look, f"the tools of node {node} to answer", seconds=90, fix=f"on host {node}: nvidia-smi")

    def history(self, ctx: Context, node: str) -> list[NodeView]:
        """Everything the node's reader has seen, in order."""
        log = self._log(ctx, self._pods[node]) if node in self._pods else ""
        return [parse(record) for record in records(log, "node")]

    def _log(self, ctx: Context, pod: str, container: str = "main") -> str:
        return ctx.kube.logs(self._session.workspaces.get("privileged"), pod, container)


def parse(record: dict[str, Any]) -> NodeView:
    nvml = record.get("nvml") or {}
    assigned: dict[tuple[str, str], tuple[str, ...]] = {}
    for row in record.get("assignments") or []:
        if row["resource"] == GPU:
            key = (row["namespace"], row["pod"])
            assigned[key] = (*assigned.get(key, ()), *row["ids"])
    return NodeView(
        uuids=tuple(nvml.get("uuids") or ()),
        names=tuple(nvml.get("names") or ()),
        memory_mib=tuple(nvml.get("memory_mib") or ()),
        driver=str(nvml.get("driver") or ""),
        nvml_error=str(nvml.get("error") or ""),
        assigned=assigned,
        podresources_error=str(record.get("podresources_error") or ""),
        simulated=bool(record.get("simulated")),
        links=dict(record.get("links") or {}),
    )


def _manifest(ctx: Context, name: str, node: str, payload: str) -> Object:
    command = ["python3", "/payload/node_reader.py"]
    pod = pods.on_host(pods.manifest(ctx, name, pods.PYTORCH, command, node=node, payload=payload))
    pod["spec"]["hostPID"] = True  # NVML names no process that its caller could not see
    (container,) = pod["spec"]["containers"]
    pod["spec"]["containers"].append({**container, "name": "health", "command": ["python3", "/payload/node_health.py"]})
    return pod
