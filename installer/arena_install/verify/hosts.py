"""What the hosts say of themselves: one look at all of them per run, by the probe that `doctor` and `plan` use too.

Over SSH where there is an inventory; with nothing but a kubeconfig, by the same script through a pod on each node.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from arena_install import probe
from arena_install.inventory.cluster import Cluster, Host
from arena_install.probe.facts import Facts, HostFacts, Unreachable
from arena_install.verify.context import Context
from arena_install.verify.kube import Object
from arena_install.verify.needs import CONTROL_PLANE, capacity

if TYPE_CHECKING:
    from arena_install.verify.session import Session


class Hosts:
    """Thread-safe. cluster: the inventory, or one made of the nodes where there is none."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._facts: Facts | None = None
        self.cluster = session.cluster

    def facts(self, ctx: Context) -> Facts:
        """Facts and findings; an Unreachable for each host that could not be looked at."""
        with self._lock:
            if self._facts is None:
                only = self._session.only
                if self.cluster.hosts:
                    chosen = tuple(host for host in self.cluster.hosts if only is None or host.name in only)
                    self.cluster = replace(self.cluster, hosts=chosen)
                    self._facts = probe.probe(self.cluster, lambda _: None)
                else:
                    self.cluster = replace(self.cluster, hosts=tuple(map(_host, self._session.nodes())))
                    self._facts = _through_pods(ctx, self.cluster)
            return self._facts

    def reached(self, ctx: Context) -> dict[str, HostFacts]:
        return self.facts(ctx).reached


def _host(node: Object) -> Host:
    """A node as a host of an inventory."""
    name = str(node["metadata"]["name"])
    groups = {"control_plane" if CONTROL_PLANE in (node["metadata"].get("labels") or {}) else "worker"}
    groups |= {"gpu"} if capacity(node) else set()
    addresses = [entry["address"] for entry in node["status"].get("addresses") or [] if entry["type"] == "InternalIP"]
    return Host(name, frozenset(groups), name, addresses[0] if addresses else "", {})


def _through_pods(ctx: Context, cluster: Cluster) -> Facts:
    from arena_install.probe.findings import find
    from arena_install.probe.parse import parse
    from arena_install.probe.runner import script

    text = script().replace("@NONCE@", "verify") + "\nexit 0\n"
    hosts: dict[str, HostFacts | Unreachable] = {}
    for host in cluster.hosts:  # one after the other: a busy machine would blur the clocks
        sent = time.time()
        answer = ctx.session.agents.ask(ctx, "host", host.name, ["chroot", "/host", "sh", "-s"], stdin=text)
        began = answer.partition("\n")[0].rpartition(" ")[2]
        hosts[host.name] = parse(answer, [(began, sent, time.time())])
    return Facts(hosts, find(cluster, hosts))
