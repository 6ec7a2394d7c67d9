"""Why a node's GPUs do not reach its pods: the links from PCI bus to scheduler.

`verify` sees them from a pod that reads the host, `doctor` by SSH; both judge by this chain. Links that a node does not
have (a simulated driver needs no PCI device and no kernel module) are left out by fact, and what was not looked at
(None) is not judged.
"""

from __future__ import annotations

from dataclasses import dataclass

from arena_install.diagnosis.model import Broken, Fix, Link, walk
from arena_install.diagnosis.xid import critical, told
from arena_install.probe.facts import Xid

PLUGIN_NAMESPACE = "nvidia-device-plugin"


@dataclass(frozen=True)
class GpuView:
    """What is known of one node's GPUs. error: what NVML, or nvidia-smi, said when it failed."""

    node: str
    host: str = ""  # as the inventory calls it
    simulated: bool = False
    recorded: bool = True  # our role put the driver's files there
    pci: int = 0
    module: str = ""  # version of the loaded kernel module
    devices: tuple[str, ...] = ()  # "nvidia0", "nvidia1", ...
    uuids: tuple[str, ...] = ()  # of the GPUs that answer NVML
    error: str = ""
    xids: tuple[Xid, ...] = ()
    toolkit: bool | None = None  # nvidia-ctk and nvidia-container-runtime are there
    cdi: tuple[str, ...] = ()  # devices that a description of kind nvidia.com/gpu names
    runtime: bool | None = None  # containerd has the runtime nvidia
    runtime_class: bool | None = None  # the API has RuntimeClass nvidia
    plugin: tuple[str, ...] = ()  # what is wrong with the device plugin's pod there
    socket: bool = True  # the kubelet has a socket of a device plugin
    capacity: int | None = None
    allocatable: int | None = None

    def on_host(self, command: str) -> Fix:
        return Fix(command, self.host or self.node)

    def restart_plugin(self) -> Fix:
        return Fix(f"kubectl -n {PLUGIN_NAMESPACE} delete pod --field-selector spec.nodeName={self.node}")

    def reboot(self) -> tuple[Fix, ...]:
        drain = Fix(f"kubectl drain {self.node} --ignore-daemonsets --delete-emptydir-data")
        return (drain, self.on_host("reboot"), Fix(f"kubectl uncordon {self.node}"))


@dataclass(frozen=True)
class Finding:
    """The first broken link of one node. cause: what is broken, with what was seen. fix: the command that mends it."""

    link: str
    cause: str
    fix: str


def first_broken(view: GpuView) -> Finding | None:
    """The first broken link of this node's chain, None when all hold as far as was looked."""
    found = walk(CHAIN, view)
    if not found:
        return None
    link, broken, _ = found[0]
    seen = f" ({'; '.join(broken.seen)})" if broken.seen else ""
    fix = "; ".join(f"on host {fix.host}: {fix.command}" if fix.host else fix.command for fix in broken.fixes)
    return Finding(link, f"{view.node}: {broken.what}{seen}", fix)


def _pci(view: GpuView) -> Broken | None:
    if view.simulated or view.pci:
        return None
    fixes = (view.on_host("lspci -d 10de: ; dmesg | grep -i -e nvrm -e xid"), *view.reboot())
    return Broken("no NVIDIA GPU is on the PCI bus", ("none of vendor 10de in /sys/bus/pci/devices",), fixes)


def _module(view: GpuView) -> Broken | None:
    if view.simulated or view.module:
        return None
    fix = view.on_host("modprobe nvidia || dmesg | grep -i nvidia")
    return Broken("the kernel module nvidia is not loaded", ("no /proc/driver/nvidia/version",), (fix,))


def _devices(view: GpuView) -> Broken | None:
    if view.devices:
        return None
    command = "systemctl restart arena-gpusim arena-nvidia-cdi" if view.simulated else "nvidia-smi -L"
    seen = ("/dev has no nvidia0, nvidia1, ...",)
    return Broken("the GPUs have no device nodes", seen, (view.on_host(command), view.restart_plugin()))


def _nvml(view: GpuView) -> Broken | None:
    error = view.error.lower()
    seen = tuple(filter(None, (view.error, *(xid.line for xid in view.xids[-2:]))))
    again = view.on_host("gpusim clear")
    if "mismatch" in error:
        fixes = (view.on_host("gpusim set init=ok"),) if view.simulated else view.reboot()
        return Broken("NVML: driver and library are of different versions (mismatch)", (view.error,), fixes)
    if "libnvidia-ml" in error or "librarynotfound" in error or "library not found" in error:
        reinstall = "apt-get install --reinstall $(dpkg -S libnvidia-ml.so.1 | cut -d: -f1 | sort -u)"
        fix = Fix("arena-install up") if view.recorded else view.on_host(reinstall)
        return Broken("NVML's library libnvidia-ml.so.1 is missing", (view.error,), (fix,))
    if "lost" in error or "device handle" in error:
        lost = max(1, len(view.devices) - len(view.uuids))
        has = "have" if lost > 1 else "has"
        what = f"NVML: {lost} of {len(view.devices)} GPUs {has} been lost (fallen off the bus)"
        return Broken(what, seen, (again, view.restart_plugin()) if view.simulated else view.reboot())
    if view.error:
        fix = again if view.simulated else view.on_host("dmesg | grep -i -e nvrm -e xid | tail; reboot")
        return Broken("NVML does not work", seen, (fix,))
    if not view.uuids:
        fix = Fix("arena-install up") if view.recorded else view.on_host("nvidia-smi -L")
        return Broken("NVML lists no GPU", ("nvidia-smi is missing, or gives no answer",), (fix,))
    if len(view.uuids) != len(view.devices):
        fixes = (view.on_host("gpusim nodes"),) if view.simulated else view.reboot()
        return Broken(f"NVML lists {len(view.uuids)} GPUs, /dev has {len(view.devices)}", seen, fixes)
    return None


def _toolkit(view: GpuView) -> Broken | None:
    if view.toolkit is not False:
        return None
    seen = ("nvidia-ctk or nvidia-container-runtime is missing",)
    return Broken("the container toolkit is not installed", seen, (Fix("arena-install up"),))


def _cdi(view: GpuView) -> Broken | None:
    mend = (view.on_host("systemctl restart arena-nvidia-cdi"),)
    if not view.cdi:
        seen = ("no file in /etc/cdi or /var/run/cdi is of kind nvidia.com/gpu",)
        return Broken("no CDI description of the GPUs", seen, mend)
    named = [name for name in view.cdi if name.startswith("GPU-")] or [name for name in view.cdi if name.isdecimal()]
    if named and len(named) != len(view.uuids):
        counted = f"it names {len(named)} GPUs, NVML {len(view.uuids)}"
        return Broken("the CDI description is out of date", (counted,), mend)
    return None


def _runtime(view: GpuView) -> Broken | None:
    if view.runtime is not False:
        return None
    seen = ("no runtimes.nvidia in /etc/containerd/config.toml",)
    return Broken("containerd has no runtime nvidia", seen, (Fix("arena-install up"),))


def _runtime_class(view: GpuView) -> Broken | None:
    if view.runtime_class is not False:
        return None
    seen = ("the API has no RuntimeClass nvidia",)
    return Broken("RuntimeClass nvidia is missing", seen, (Fix("arena-install up"),))


def _plugin(view: GpuView) -> Broken | None:
    if view.plugin:
        return Broken("the device plugin does not run", view.plugin, (Fix("arena-install up"),))
    if not view.socket:
        seen = ("no nvidia-*.sock in /var/lib/kubelet/device-plugins",)
        return Broken("the device plugin has not registered with the kubelet", seen, (view.restart_plugin(),))
    return None


def _capacity(view: GpuView) -> Broken | None:
    if view.capacity is None or view.capacity == len(view.uuids):
        return None
    what = f"the kubelet counts {view.capacity} GPUs, NVML lists {len(view.uuids)}"
    return Broken(what, (f"node {view.node}: capacity nvidia.com/gpu {view.capacity}",), (view.restart_plugin(),))


def _health(view: GpuView) -> Broken | None:
    """The device plugin calls a GPU unhealthy once it has heard of a grave XID, and never well again by itself."""
    if view.capacity is None or view.allocatable is None or view.allocatable == view.capacity:
        return None
    sick = view.capacity - view.allocatable
    what = f"{sick} of {view.capacity} GPUs {'are' if sick > 1 else 'is'} unhealthy"
    seen = (f"node {view.node}: capacity nvidia.com/gpu {view.capacity}, allocatable {view.allocatable}",)
    grave = critical(view.xids)
    if not grave:
        ask = view.on_host("nvidia-smi -q -d ECC,ROW_REMAPPER,PERFORMANCE")
        return Broken(f"the device plugin says that {what}", seen, (ask, view.restart_plugin()))
    last = grave[-1]
    reset = "gpusim clear" if view.simulated else f"nvidia-smi --gpu-reset -i {last.gpu}"
    lines = (*(xid.line for xid in grave[-2:]), *seen)
    return Broken(f"XID {told(last)}; {what}", lines, (view.on_host(reset), view.restart_plugin()))


CHAIN: tuple[Link[GpuView], ...] = (
    Link("PCI", (), _pci),
    Link("kernel module", ("PCI",), _module),
    Link("device nodes", ("kernel module",), _devices),
    Link("NVML", ("device nodes",), _nvml),
    Link("container toolkit", (), _toolkit),
    Link("CDI", ("NVML", "container toolkit"), _cdi),
    Link("container runtime", (), _runtime),
    Link("runtime class", (), _runtime_class),
    Link("device plugin", ("CDI", "container runtime", "runtime class"), _plugin),
    Link("capacity", ("device plugin",), _capacity),
    Link("health", ("capacity",), _health),
)
