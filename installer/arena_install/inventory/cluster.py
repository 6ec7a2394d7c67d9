"""What is wanted, as data: the hosts of an inventory and the configuration, frozen and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arena_install.inventory import ssh
from arena_install.inventory.config import Config
from arena_install.inventory.source import NOWHERE, Source

__all__ = ["ALIASES", "API_PORT", "GROUPS", "Cluster", "Host", "Source"]

#: Groups that mean something to us, in the order in which their roles run.
GROUPS = ("registry", "load_balancer", "nfs_server", "control_plane", "worker", "gpu")

#: Other people's names for our groups (kubespray's old and new ones, seed inventories), read as if they were ours.
ALIASES = {
    "kube_control_plane": "control_plane",
    "kube-master": "control_plane",
    "master": "control_plane",
    "kube_node": "worker",
    "kube-node": "worker",
    "nodes": "worker",
}

API_PORT = 6443


@dataclass(frozen=True)
class Host:
    """One machine. Its typed properties say how to reach it; every other variable stays in `vars`."""

    name: str
    groups: frozenset[str]  # canonical names out of GROUPS
    address: str  # what SSH connects to (ansible_host, else the name)
    node_ip: str  # the node's address in the cluster (`ip=`, else the address when it is one, else "")
    vars: Mapping[str, Any] = field(default_factory=dict, repr=False)  # as Ansible resolves them; may hold secrets
    source: Source = NOWHERE

    @property
    def port(self) -> int:
        return int(ssh.pick(self.vars, ssh.PORT)[1] or 22)

    @property
    def user(self) -> str | None:
        """None: whoever ssh itself would log in as."""
        return ssh.text(self.vars, ssh.USER)

    @property
    def password(self) -> str | None:
        """For SSH password login. A secret: never log it, never put it into an argument list."""
        return ssh.text(self.vars, ssh.PASSWORD)

    @property
    def key_file(self) -> Path | None:
        """Absolute after load(); None: the keys that ssh itself would try."""
        value = ssh.text(self.vars, ssh.KEY_FILE)
        return Path(value).expanduser() if value else None

    @property
    def key_passphrase(self) -> str | None:
        return ssh.text(self.vars, ssh.KEY_PASSPHRASE)

    @property
    def connection(self) -> str:
        """ "ssh", or "local" where the inventory says that the host is this machine."""
        return "local" if self.vars.get("ansible_connection") == "local" else "ssh"

    @property
    def ssh_args(self) -> tuple[str, ...]:
        """Arguments that the inventory adds to ssh's command line (ansible_ssh_args, _common_args, _extra_args)."""
        return ssh.arguments(self.vars)

    @property
    def ssh_options(self) -> dict[str, str]:
        """The OpenSSH options among ssh_args: lower-case name ("proxyjump") -> value."""
        return ssh.options(self.ssh_args)

    @property
    def proxy_jump(self) -> str | None:
        """ "[user@]host[:port][,...]" as ssh -J takes it."""
        return self.ssh_options.get("proxyjump")

    @property
    def proxy_command(self) -> str | None:
        return self.ssh_options.get("proxycommand")

    @property
    def host_key_checking(self) -> bool:
        """False only where the inventory itself turns the check off."""
        value = ssh.pick(self.vars, ssh.HOST_KEY_CHECKING)[1]
        strict = self.ssh_options.get("stricthostkeychecking", "").lower()
        return not (value is not None and ssh.boolean(value) is False) and strict not in ("no", "off")

    @property
    def become(self) -> bool:
        """Whether root is reached by become: ansible_become, else true unless the login is root itself."""
        value = ssh.pick(self.vars, ssh.BECOME)[1]
        return self.user != "root" if value is None else bool(ssh.boolean(value))

    @property
    def become_method(self) -> str:
        """ "sudo" (default), "su" or "doas"."""
        return ssh.text(self.vars, ssh.BECOME_METHOD) or "sudo"

    @property
    def become_user(self) -> str:
        return ssh.text(self.vars, ssh.BECOME_USER) or "root"

    @property
    def become_password(self) -> str | None:
        """A secret: it goes to sudo's stdin and nowhere else."""
        return ssh.text(self.vars, ssh.BECOME_PASSWORD)

    @property
    def python(self) -> str | None:
        """Path of the target's Python where the inventory names one; None: Ansible's own discovery."""
        value = ssh.text(self.vars, ssh.PYTHON)
        return None if value is None or value.startswith("auto") else value


@dataclass(frozen=True)
class Cluster:
    """hosts: those with a role, each group's in the inventory's order; control planes first."""

    name: str
    hosts: tuple[Host, ...]
    config: Config
    inventory: Path | None  # the file that Ansible is given; None for the cluster scope alone
    others: tuple[str, ...] = ()  # hosts of the inventory that have no role here and are left alone

    def group(self, name: str) -> tuple[Host, ...]:
        return tuple(host for host in self.hosts if name in host.groups)

    def host(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    @property
    def rehearsal(self) -> bool:
        """Whether all GPUs are simulated: little hardware, on which controllers ask for little."""
        modes = {host.vars.get("nvidia_driver_mode", self.config.gpu.driver) for host in self.group("gpu")}
        return (modes or {self.config.gpu.driver}) == {"simulated"}

    @property
    def taint_control_plane(self) -> bool:
        """Whether control planes refuse jobs: as configured, else only if there are workers that are nothing else."""
        if (wanted := self.config.kubernetes.taint_control_plane) is not None:
            return wanted
        both = any({"control_plane", "worker"} <= host.groups for host in self.hosts)
        return bool(self.group("worker")) and not both

    @property
    def api_endpoint(self) -> str:
        """host:port of the API for nodes and people: as configured, else the load balancer of several control planes,
        else the first control plane; "" when its address is not known before the probe."""
        if self.config.kubernetes.api_endpoint:
            return self.config.kubernetes.api_endpoint
        planes = self.group("control_plane")
        front = self.group("load_balancer") if len(planes) > 1 else ()
        address = next((host.node_ip for host in (front or planes)), "")
        return f"{address}:{API_PORT}" if address else ""
