"""What the probe found, as frozen data. The same facts serve doctor, plan, drift and the report.

The JSON form (`Facts.to_json`) is what tests keep as fixtures: a missing key means the field's default, so a fixture
holds only what its case is about. Sizes are MiB, times are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from arena_install.probe.services import Package, PrivateFile, Registry, StaticPod, Unit, Upgrades

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Severity = Literal["error", "warning", "info"]

#: Why a host could not be looked at; each has its own text in probe/unreachable.py.
UnreachableKind = Literal[
    "refused",
    "timeout",
    "slow",
    "no_route",
    "dns",
    "not_ssh",
    "closed",
    "host_key_unknown",
    "host_key_changed",
    "auth",
    "key_missing",
    "key_unreadable",
    "key_unprotected",
    "key_encrypted",
    "key_invalid",
    "jump",
    "sudo_password_needed",
    "sudo_password_wrong",
    "sudo_denied",
    "sudo_missing",
    "no_shell",
    "truncated",
    "settings",
    "other",
]


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be. id: stable, kebab-case. severity "error": `up` would fail on it."""

    id: str
    host: str
    severity: Severity
    title: str
    observed: str
    expected: str
    fix: str


@dataclass(frozen=True)
class Unreachable:
    """A host that could not be looked at: what, where ("host w1 (10.0.0.3:22, user root)"), why and what to do."""

    kind: UnreachableKind
    what: str
    where: str
    why: str
    fix: str
    status: Literal["unreachable"] = "unreachable"

    def __str__(self) -> str:
        from arena_install.errors import UnreachableError

        return str(UnreachableError(self.what, where=self.where, why=self.why, fix=self.fix))


@dataclass(frozen=True)
class Os:
    id: str = ""  # "debian", "ubuntu"
    version: str = ""  # "12", "24.04"
    name: str = ""


@dataclass(frozen=True)
class Disk:
    path: str  # asked for
    mount: str  # where the file system that holds it is mounted
    size: int = 0
    free: int = 0


@dataclass(frozen=True)
class Interface:
    name: str
    mac: str = ""
    mtu: int = 0
    up: bool = True
    addresses: tuple[str, ...] = ()  # "10.0.0.3/24"

    def has(self, address: str) -> bool:
        return any(own.partition("/")[0] == address for own in self.addresses)


@dataclass(frozen=True)
class Listener:
    """A TCP port that something listens on; process is "" when it could not be told."""

    port: int
    address: str = ""
    process: str = ""


@dataclass(frozen=True)
class Nameserver:
    address: str
    answers: Literal["answers", "failing", "silent", "unknown"] = "unknown"


@dataclass(frozen=True)
class PciGpu:
    slot: str
    device: str = ""
    driver: str = ""


@dataclass(frozen=True)
class Gpu:
    """A GPU as nvidia-smi lists it; memory in MiB."""

    index: int
    uuid: str
    model: str = ""
    memory: int = 0


@dataclass(frozen=True)
class Xid:
    """An error that the driver reported of a GPU. gpu: its index, or its place on the bus. line: as it was logged."""

    code: int
    gpu: str
    line: str = ""


@dataclass(frozen=True)
class Nvidia:
    pci: tuple[PciGpu, ...] = ()
    devices: tuple[str, ...] = ()  # /dev/nvidia*
    kernel_driver: str = ""  # version of the loaded module
    driver: str = ""  # version as nvidia-smi says it
    gpus: tuple[Gpu, ...] = ()  # those that answer
    error: str = ""  # what nvidia-smi said when it failed
    simulated: bool = False
    xids: tuple[Xid, ...] = ()  # the last ones since the host started, oldest first
    cdi: tuple[str, ...] = ()  # names of the devices that descriptions of kind nvidia.com/gpu have
    plugin_socket: bool = False  # a device plugin has put its socket where the kubelet's is


@dataclass(frozen=True)
class Membership:
    """The Kubernetes cluster that the host belongs to; distribution is "" for none of the packaged ones (k3s, ...)."""

    server: str = ""
    ca: str = ""  # sha256 of the CA's PEM file
    control_plane: bool = False
    distribution: str = ""


@dataclass(frozen=True)
class LedgerItem:
    kind: str
    name: str
    recorded: str
    found: str


@dataclass(frozen=True)
class LedgerRecord:
    """What a role wrote on the host, and the same items as they are now."""

    status: str = ""  # "intent" | "done" | "leaving"
    inputs: str = ""
    at: str = ""
    items: tuple[LedgerItem, ...] = ()
    before: tuple[LedgerItem, ...] = ()  # as it was before us (recorded), and as it is now
    packages: tuple[str, ...] = ()  # that came with the role

    @property
    def drift(self) -> tuple[LedgerItem, ...]:
        return tuple(item for item in self.items if item.recorded != item.found)


@dataclass(frozen=True)
class HostFacts:
    status: Literal["ok"] = "ok"
    privileged: bool = True  # looked at as root
    os: Os = Os()
    kernel: str = ""
    arch: str = ""  # as uname -m says it
    virt: Literal["bare", "vm", "container"] = "bare"
    virt_kind: str = ""  # "podman", "kvm", ...
    init: str = "systemd"
    cgroup: Literal["", "v1", "hybrid", "v2"] = "v2"
    cpus: int = 0
    memory: int = 0
    memory_available: int = 0
    swap: int = 0
    disks: tuple[Disk, ...] = ()
    modules: Mapping[str, Literal["loaded", "builtin", "available"]] = field(default_factory=dict)
    filesystems: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    clock_offset: float | None = None  # the host's clock less the controller's
    clock_error: float = 0.0  # the offset is known to +- this
    time_synced: bool | None = None  # None: not known
    hostname: str = ""
    machine_id: str = ""
    product_uuid: str = ""
    product_name: str = ""
    interfaces: tuple[Interface, ...] = ()
    default_gateway: str = ""
    default_interface: str = ""
    nameservers: tuple[Nameserver, ...] = ()
    dns_search: tuple[str, ...] = ()
    listening: tuple[Listener, ...] = ()
    nvidia: Nvidia = Nvidia()
    secure_boot: bool | None = None  # None: not known
    versions: Mapping[str, str] = field(default_factory=dict)  # program -> version
    config_digests: Mapping[str, str] = field(default_factory=dict)  # path -> sha256
    kubernetes: Membership | None = None
    boot_id: str = ""  # of the running kernel; hosts that share it share a clock
    own_name: str = ""  # address that the host's own name resolves to
    units: Mapping[str, Unit] = field(default_factory=dict)  # "containerd.service" -> its state; only those there
    packages: Mapping[str, Package] = field(default_factory=dict)  # those whose move would take pods or GPUs along
    upgrades: Upgrades = field(default_factory=Upgrades)
    drivers: Mapping[str, str] = field(default_factory=dict)  # way an NVIDIA driver was installed -> what shows it
    certificates: Mapping[str, float] = field(default_factory=dict)  # path -> Unix seconds at which it expires
    private: Mapping[str, PrivateFile] = field(default_factory=dict)  # what only its owner may read, by path
    kubelet_arguments: Mapping[str, str] = field(default_factory=dict)  # of the running one: "config", "kubeconfig"
    static_pods: Mapping[str, StaticPod] = field(default_factory=dict)
    cni: tuple[str, ...] = ()  # configurations of pod networks, in the order in which containerd looks
    flannel_subnet: bool = False  # flannel has written down which addresses pods of this host get
    registry: Registry = field(default_factory=Registry)
    runtimes: tuple[str, ...] = ()  # handlers in containerd's configuration
    changed: Mapping[str, float] = field(default_factory=dict)  # configuration file -> Unix seconds of its last change
    ledger: Mapping[str, LedgerRecord] = field(default_factory=dict)  # role -> record

    def disk(self, path: str) -> Disk | None:
        return next((disk for disk in self.disks if disk.path == path), None)

    def interface_of(self, address: str) -> Interface | None:
        return next((interface for interface in self.interfaces if interface.has(address)), None)

    def owns(self, kind: str, name: str) -> bool:
        """Whether a role of ours recorded that item, e.g. ("file", "/etc/containerd/config.toml")."""
        return any((item.kind, item.name) == (kind, name) for record in self.ledger.values() for item in record.items)


@dataclass(frozen=True)
class Facts:
    hosts: Mapping[str, HostFacts | Unreachable] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def reached(self) -> dict[str, HostFacts]:
        return {name: host for name, host in self.hosts.items() if isinstance(host, HostFacts)}

    @property
    def unreachable(self) -> dict[str, Unreachable]:
        return {name: host for name, host in self.hosts.items() if isinstance(host, Unreachable)}

    def to_json(self) -> str:
        return _adapter().dump_json(self, indent=2).decode()

    def as_dict(self) -> dict[str, Any]:
        result: dict[str, Any] = _adapter().dump_python(self, mode="json")
        return result

    @staticmethod
    def from_json(text: str | bytes) -> Facts:
        """Raises pydantic.ValidationError where the text is not of this shape."""
        return _adapter().validate_json(text)

    @staticmethod
    def from_dict(value: Mapping[str, Any]) -> Facts:
        return _adapter().validate_python(value)


@cache
def _adapter() -> TypeAdapter[Facts]:
    # Imported late: the child process shares this package and has no use for pydantic.
    from pydantic import TypeAdapter

    return TypeAdapter(Facts)
