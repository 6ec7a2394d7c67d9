"""What a lab is, as data: hosts with fixed names and addresses, and how they are reached."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from arena_install.errors import ConfigError
from arena_install.inventory.config import Lab
from arena_install.paths import state_home

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,30}[a-z0-9])?")
_USER = re.compile(r"[a-z_][-a-z0-9_]{0,30}")
#: Last byte of the first control plane's and the first worker's address, so that a lab can grow and keep its addresses.
_FIRST = {"control_plane": 11, "worker": 21}


@dataclass(frozen=True)
class Access:
    """How the controller reaches the hosts; the default is the simplest, the others are what sites really have.

    user: logs in by key. sudo_password: sudo asks that user for a password (made at random, in host_vars).
    port: where sshd listens. jump: all hosts but the first control plane refuse SSH from the controller, which goes
    through that one.
    """

    user: str = "root"
    sudo_password: bool = False
    port: int = 22
    jump: bool = False

    def checked(self) -> Access:
        """Raises ConfigError where the parts make no sense."""
        if not _USER.fullmatch(self.user):
            raise ConfigError(f"a lab's user can't be called {self.user!r}", fix="use letters, digits, - and _")
        if self.sudo_password and self.user == "root":
            raise ConfigError("a sudo password needs a user other than root", fix="name one: --user arena")
        if not 1 <= self.port <= 65535:
            raise ConfigError(f"port {self.port} does not exist", fix="use one between 1 and 65535")
        return self


@dataclass(frozen=True)
class LabHost:
    name: str
    role: str  # control_plane or worker
    address: str  # IPv4
    status: str = ""  # of its container: running, exited, created, missing; "" when not asked

    @property
    def volumes(self) -> dict[str, str]:
        """Volume -> where it is mounted. overlayfs can't lie on overlayfs, and etcd wants a plain file system."""
        return {f"{self.name}-{part}": f"/var/lib/{part}" for part in ("containerd", "kubelet", "etcd")}


@dataclass(frozen=True)
class LabInfo:
    """A lab. hosts: control planes first. subnet: IPv4 CIDR of its podman network, "" while it has none."""

    name: str
    subnet: str
    hosts: tuple[LabHost, ...]
    access: Access = Access()

    @property
    def folder(self) -> Path:
        return folder(self.name)

    @property
    def inventory(self) -> Path:
        return inventory_file(self.name)

    @property
    def network(self) -> str:
        """Name of the podman network."""
        return f"arena-lab-{self.name}"

    @property
    def gateway(self) -> str:
        """The controller's address in the lab's network."""
        return str(IPv4Network(self.subnet)[1])

    @property
    def running(self) -> bool:
        return bool(self.hosts) and all(host.status == "running" for host in self.hosts)

    def host(self, name: str) -> LabHost:
        """By its name or the part behind the lab's ("w1"). Raises ConfigError."""
        for host in self.hosts:
            if name in (host.name, host.name.removeprefix(f"{self.name}-")):
                return host
        raise ConfigError(
            f"lab {self.name} has no host {name}", why="it has " + ", ".join(host.name for host in self.hosts)
        )

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "inventory": str(self.inventory)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LabInfo:
        hosts = tuple(LabHost(host["name"], host["role"], host["address"]) for host in data["hosts"])
        return cls(str(data["name"]), str(data["subnet"]), hosts, Access(**data["access"]))


def check_name(name: str) -> str:
    """Raises ConfigError unless hosts and containers can be called so."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"a lab can't be named {name!r}", why="hosts are named after it",
            fix="use 1-32 lower-case letters, digits and dashes, beginning with a letter",
        )
    return name


def shape(given: Lab, control_planes: int | None = None, workers: int | None = None) -> Lab:
    """The topology with these numbers in place of its own where they are given. Raises ConfigError."""
    wanted = {"control_planes": control_planes, "workers": workers}
    try:
        return Lab.model_validate({**given.model_dump(), **{key: n for key, n in wanted.items() if n is not None}})
    except ValidationError as error:
        causes = [f"{'.'.join(map(str, one['loc'])) or 'lab'}: {one['msg']}" for one in error.errors()]
        raise ConfigError("no lab can have that shape", why="\n".join(causes)) from error


def folder(name: str) -> Path:
    return state_home() / "labs" / check_name(name)


def inventory_file(name: str) -> Path:
    """Where that lab's hosts.ini is, or would be."""
    return folder(name) / "hosts.ini"


def wanted_hosts(name: str, topology: Lab, subnet: str) -> tuple[LabHost, ...]:
    """The hosts of that shape: NAME-cp1..., NAME-w1..., each with an address that depends on its number alone."""
    net = IPv4Network(subnet)
    counts = (("control_plane", "cp", topology.control_planes), ("worker", "w", topology.workers))
    return tuple(
        LabHost(f"{name}-{short}{number}", role, str(net[_FIRST[role] + number - 1]))
        for role, short, count in counts
        for number in range(1, count + 1)
    )


def joined(known: LabInfo, wanted: tuple[LabHost, ...]) -> LabInfo:
    """The lab with the wanted hosts added; hosts that are there and not wanted stay."""
    hosts = {host.name: host for host in (*known.hosts, *wanted)}
    return replace(known, hosts=tuple(sorted(hosts.values(), key=_order)))


def _order(host: LabHost) -> tuple[bool, int]:
    return host.role != "control_plane", int(host.address.rsplit(".", 1)[1])


def saved(name: str) -> LabInfo | None:
    """What the state folder says, None if it says nothing."""
    try:
        return LabInfo.from_dict(json.loads((folder(name) / "lab.json").read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # cut short by a full disk; the containers' labels say the same
