"""A network per lab that overlaps nothing: not the cluster's ranges, not the machine's routes, not another lab's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network
from pathlib import Path

from arena_install.errors import StepError
from arena_install.inventory.config import Kubernetes
from arena_install.lab import podman
from arena_install.lab.model import LabInfo

_CLUSTER = Kubernetes()


def candidates() -> Iterator[IPv4Network]:
    """Private /24 networks in the order in which they are tried."""
    for block in ("10.89.0.0/16", "172.30.0.0/16", "10.201.0.0/16", "192.168.0.0/16"):
        yield from IPv4Network(block).subnets(new_prefix=24)


def choose_subnet(taken: Iterable[IPv4Network]) -> IPv4Network:
    """The first candidate that overlaps none of `taken`. Raises StepError when there is none."""
    used = tuple(taken)
    for net in candidates():
        if not any(net.overlaps(other) for other in used):
            return net
    raise StepError("no private /24 network is left for the lab", fix="remove labs or networks: arena-install lab list")


def taken_subnets() -> list[IPv4Network]:
    """What the machine routes, what podman's networks have, and the cluster's default pod and service ranges."""
    found = [_CLUSTER.pod_cidr, _CLUSTER.service_cidr, *parse_routes(_ip_route("table", "all"))]
    for net in podman.objects("network", "ls"):
        found += [IPv4Network(part["subnet"]) for part in net.get("subnets") or () if ":" not in part["subnet"]]
    return found


def parse_routes(text: str) -> list[IPv4Network]:
    """Destinations in the JSON of `ip route`; the default route covers everything and so says nothing."""
    destinations = (str(route.get("dst", "default")) for route in json.loads(text))
    return [IPv4Network(dst, strict=False) for dst in destinations if dst not in ("default", "0.0.0.0/0")]


def uplink_mtu() -> int:
    """MTU in bytes of the device that leads out of this machine: larger packets of a host would be lost there."""
    device = next((str(route["dev"]) for route in json.loads(_ip_route("default")) if "dev" in route), "")
    path = Path("/sys/class/net") / device / "mtu"
    return min(int(path.read_text()), 1500) if device and path.is_file() else 1500


def _ip_route(*what: str) -> str:
    command = ["ip", "-json", "-4", "route", "show", *what]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout or "[]"


def create(lab: LabInfo) -> bool:
    """Make the lab's network unless it is there; False if its subnet was taken by somebody in the meantime."""
    if podman.exists("network", lab.network):
        return True
    # No DNS of podman's: it would put `search dns.podman` into every host, and from there into every pod.
    done = podman.attempt(
        "network", "create", "--label", f"{podman.LABEL}={lab.name}", "--disable-dns", "--subnet", lab.subnet,
        "--gateway", lab.gateway, "--opt", f"mtu={uplink_mtu()}", lab.network,
    )
    if done.returncode == 0 or podman.exists("network", lab.network):
        return True
    if "already" in done.stderr:
        return False
    raise StepError("podman could not make the lab's network", why=podman.reason(done))


def subnet_of(name: str) -> str:
    """Of the existing network of that lab, "" without one."""
    for net in podman.networks(name):
        for part in net.get("subnets") or ():
            return str(part["subnet"])
    return ""
