"""What is wanted, as data: the hosts of an inventory and the configuration, frozen and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arena_install.inventory.config import Config

#: Groups that mean something to us, in the order in which their roles run.
GROUPS = ("registry", "load_balancer", "nfs_server", "control_plane", "worker", "gpu")


@dataclass(frozen=True)
class Source:
    """Where the user wrote something; line counts from 1, 0 when the file as a whole is meant."""

    path: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path


@dataclass(frozen=True)
class Host:
    name: str
    groups: frozenset[str]  # canonical names out of GROUPS
    address: str  # what SSH connects to (ansible_host, else the name)
    node_ip: str  # the node's address in the cluster (`ip=`, else the address when it is one, else "")
    vars: Mapping[str, Any] = field(default_factory=dict)  # as ansible-inventory resolves them
    source: Source = Source("")

    @property
    def port(self) -> int:
        return int(self.vars.get("ansible_port") or 22)

    @property
    def user(self) -> str | None:
        return self.vars.get("ansible_user")


@dataclass(frozen=True)
class Cluster:
    name: str
    hosts: tuple[Host, ...]
    config: Config
    inventory: Path | None  # the file that Ansible is given; None for the cluster scope alone

    def group(self, name: str) -> tuple[Host, ...]:
        return tuple(host for host in self.hosts if name in host.groups)

    def host(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)
