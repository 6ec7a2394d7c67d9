"""Rules between hosts, and between the inventory and cluster.yaml: what each file alone cannot show to be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network

from arena_install.errors import ArenaError, ConfigError
from arena_install.inventory.cluster import Cluster, Host
from arena_install.inventory.config import NODE_PREFIX, split_endpoint
from arena_install.inventory.names import address
from arena_install.inventory.source import Source
from arena_install.inventory.yamlfile import Document


def one_address_each(hosts: Sequence[Host]) -> list[ArenaError]:
    """Two names for one machine: the same SSH address and port, or the same node address."""
    errors: list[ArenaError] = []
    endpoints: dict[tuple[str, int], Host] = {}
    nodes: dict[str, Host] = {}
    for host in hosts:
        first = endpoints.setdefault((host.address.lower(), host.port), host)
        if first is not host:
            what = f"hosts `{first.name}` and `{host.name}` have one address, {host.address} port {host.port}"
            errors.append(
                ConfigError(
                    what,
                    where=str(host.source),
                    why=f"`{first.name}` is in {first.source}",
                    fix="give each host its own address, or take one of the names out",
                )
            )
            continue
        other = nodes.setdefault(host.node_ip, host) if host.node_ip else host
        if other is not host:
            what = f"hosts `{other.name}` and `{host.name}` have one node address, {host.node_ip}"
            errors.append(
                ConfigError(
                    what,
                    where=str(host.source),
                    why=f"`{other.name}` is in {other.source}",
                    fix="give each host its own ip=",
                )
            )
    return errors


def together(cluster: Cluster, document: Document | None, planes: Source) -> list[ArenaError]:
    """Rules over both files. document: cluster.yaml with its lines. planes: where the control planes are listed."""
    where = _Where(document)
    errors = _networks(cluster, where)
    errors += _endpoint(cluster, where, planes)
    wanted = cluster.config.kubernetes.taint_control_plane
    if wanted and not cluster.group("worker"):
        what = "kubernetes.taint_control_plane is true, but there is no worker: no host could take a job"
        errors.append(
            ConfigError(
                what, where=where.key("taint_control_plane", planes), fix="leave it out, or add hosts to [worker]"
            )
        )
    return errors


class _Where:
    def __init__(self, document: Document | None) -> None:
        self._document = document

    def written(self, key: str) -> bool:
        return self._document is not None and ("kubernetes", key) in self._document.lines

    def key(self, key: str, otherwise: Source) -> str:
        """The line of kubernetes.<key> in cluster.yaml, or, where it is a default, the place that disagrees."""
        if self._document is None or not self.written(key):
            return str(otherwise)
        return str(self._document.source(("kubernetes", key)))


def _networks(cluster: Cluster, where: _Where) -> list[ArenaError]:
    errors: list[ArenaError] = []
    kubernetes = cluster.config.kubernetes
    networks = (("pod_cidr", kubernetes.pod_cidr), ("service_cidr", kubernetes.service_cidr))
    for key, network in networks:
        for host in cluster.hosts:
            if taken := _inside(host, network):
                default = "" if where.written(key) else " (the default)"
                errors.append(
                    ConfigError(
                        f"kubernetes.{key} {network}{default} contains the address {taken} of host `{host.name}`",
                        where=where.key(key, host.source),
                        why="traffic to that host would go into the cluster's own network",
                        fix=f"set kubernetes.{key} in cluster.yaml to a network that no host is in",
                    )
                )
                break
    nodes = sum(1 for host in cluster.hosts if host.groups & {"control_plane", "worker"})
    room = 2 ** (NODE_PREFIX - kubernetes.pod_cidr.prefixlen)
    if nodes > room:
        first = cluster.hosts[0].source
        what = f"kubernetes.pod_cidr {kubernetes.pod_cidr} has room for {room} nodes, the inventory has {nodes}"
        errors.append(
            ConfigError(
                what,
                where=where.key("pod_cidr", first),
                why=f"each node gets a /{NODE_PREFIX}",
                fix="choose a larger network",
            )
        )
    return errors


def _inside(host: Host, network: IPv4Network) -> str:
    for text in (host.node_ip, host.address):
        found = address(text)
        if isinstance(found, IPv4Address) and found in network:
            return text
    return ""


def _endpoint(cluster: Cluster, where: _Where, planes: Source) -> list[ArenaError]:
    kubernetes = cluster.config.kubernetes
    count = len(cluster.group("control_plane"))
    if not kubernetes.api_endpoint:
        if count > 1 and not cluster.group("load_balancer"):
            return [
                ConfigError(
                    f"{count} control planes need an address in front of them",
                    where=str(planes),
                    why="nodes would otherwise lose the API with the first control plane",
                    fix="set kubernetes.api_endpoint: HOST:PORT in cluster.yaml, or add a host to [load_balancer]",
                )
            ]
        return []
    host, _ = split_endpoint(kubernetes.api_endpoint)
    found = address(host)
    for key, network in (("pod_cidr", kubernetes.pod_cidr), ("service_cidr", kubernetes.service_cidr)):
        if isinstance(found, IPv4Address) and found in network:
            return [
                ConfigError(
                    f"kubernetes.api_endpoint {kubernetes.api_endpoint} lies in {key} {network}",
                    where=where.key("api_endpoint", planes),
                    why="no node can reach it before the cluster runs",
                    fix="use the address of the load balancer on the hosts' own network",
                )
            ]
    for worker in cluster.hosts:
        serves = bool(worker.groups & {"control_plane", "load_balancer"})
        if not serves and host in (worker.node_ip, worker.address):
            what = f"kubernetes.api_endpoint {kubernetes.api_endpoint} is host `{worker.name}`, which runs no API"
            return [
                ConfigError(
                    what,
                    where=where.key("api_endpoint", planes),
                    why=f"`{worker.name}` is in {worker.source}",
                    fix="name a control plane or a load balancer",
                )
            ]
    return []
