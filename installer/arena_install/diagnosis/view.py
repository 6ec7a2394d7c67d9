"""What a diagnosis is made from: the probe's facts, and what the API said. Plain data, so that tests are JSON cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from arena_install.inventory.cluster import Cluster, Host
from arena_install.probe.facts import Finding, HostFacts, Unreachable
from arena_install.stack.pods import PodState, event_text, pod_state
from arena_install.stack.ready import node_of

Object = dict[str, Any]
GPU = "nvidia.com/gpu"


@dataclass(frozen=True)
class ClusterView:
    """What the API said, objects as it has them. asked: False where there is no cluster yet. error: why it gave no
    answer. pods, workloads and warnings are those of the system's and of our components' namespaces."""

    asked: bool = True
    error: str = ""
    nodes: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    workloads: tuple[Object, ...] = ()  # Deployments and DaemonSets, with their kind
    warnings: tuple[Object, ...] = ()  # events, oldest first
    logs: Mapping[str, str] = field(default_factory=dict)  # "namespace/pod" of one that is not ready -> its last words
    dns_service: bool = True
    dns_endpoints: int = 0  # addresses that are ready
    runtime_class: bool = False
    components: Mapping[str, str] = field(default_factory=dict)  # of our ledger: name -> "intent", "done", "failed"
    component_of: Mapping[str, str] = field(default_factory=dict)  # namespace -> component

    @property
    def answers(self) -> bool:
        return self.asked and not self.error

    @cached_property
    def unready(self) -> dict[str, PodState]:
        """Pods that are not as they should be, by "namespace/name"; those that are going away are left out."""
        states = (pod_state(pod) for pod in self.pods)
        bad = (state for state in states if not state.ready and state.reason != "Terminating")
        return {f"{state.namespace}/{state.name}": state for state in bad}

    def told(self, state: PodState) -> tuple[str, ...]:
        """A pod's state, the last warning about it, and the last line of its log."""
        log = self.logs.get(f"{state.namespace}/{state.name}", "").strip().splitlines()
        warned = self.warned(state.namespace, state.name)
        return (str(state), *warned, *(f"its log: {line}" for line in log[-1:]))

    def warned(self, namespace: str, prefix: str) -> tuple[str, ...]:
        """The last warning about an object whose name starts so; () if there is none."""
        for event in reversed(self.warnings):
            about = event["involvedObject"]
            if about.get("namespace") == namespace and str(about.get("name", "")).startswith(prefix):
                return (event_text(event),)
        return ()


@dataclass(frozen=True)
class HostView:
    """One host, as seen from all sides."""

    host: Host
    cluster: Cluster
    found: HostFacts | Unreachable
    findings: tuple[Finding, ...]  # the probe's, about this host
    api: ClusterView
    registry: str = ""  # name of the host that serves the images
    now: float = 0.0  # Unix seconds

    @property
    def facts(self) -> HostFacts | None:
        return self.found if isinstance(self.found, HostFacts) else None

    @cached_property
    def node(self) -> Object | None:
        return node_of(self.host, self.api.nodes)

    @property
    def node_name(self) -> str:
        return str(self.node["metadata"]["name"]) if self.node else self.host.name

    @property
    def pods(self) -> list[Object]:
        """Of the platform, on this host's node."""
        return [pod for pod in self.api.pods if pod["spec"].get("nodeName") == self.node_name]

    def has(self, role: str) -> bool:
        """Whether a role of ours has been at work on the host."""
        return self.facts is not None and role in self.facts.ledger


def not_ready(node: Object) -> str:
    """Why a node is not Ready, in its own words; "" if it is."""
    for row in node["status"].get("conditions") or []:
        if row["type"] == "Ready" and row["status"] != "True":
            return f"node {node['metadata']['name']}: {row.get('reason', '')}: {row.get('message', '')}"
    return ""


def is_member(view: HostView) -> bool:
    """Whether the host was made a node; of one that could not be looked at, the API knows."""
    if view.facts is None:
        return view.node is not None
    return view.has("control_plane") or view.has("worker")
