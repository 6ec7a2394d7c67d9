"""The chain of GPUs as links of a host, seen by SSH and through the API."""

from __future__ import annotations

from collections.abc import Callable

from arena_install.diagnosis import gpu
from arena_install.diagnosis.daemons import daemon
from arena_install.diagnosis.drift import drifted
from arena_install.diagnosis.gpu import PLUGIN_NAMESPACE, GpuView
from arena_install.diagnosis.host import found
from arena_install.diagnosis.model import Broken, Link
from arena_install.diagnosis.view import GPU, HostView

_PLUGIN = "nvidia-device-plugin"
_BESIDE_PLUGIN = ("gpu-feature-discovery", "mps-control-daemon")

#: Link -> what must have been at work before it says anything: a role, or a component of the cluster.
_MADE_BY = {
    "device nodes": "nvidia_driver",
    "NVML": "nvidia_driver",
    "container toolkit": "nvidia_container_toolkit",
    "CDI": "nvidia_container_toolkit",
    "container runtime": "nvidia_container_toolkit",
    "runtime class": _PLUGIN,
    "device plugin": _PLUGIN,
    "capacity": _PLUGIN,
    "health": _PLUGIN,
}
#: What a link needs of the host, beside the links of its own chain.
_NEEDS = {
    "PCI": ("SSH",),
    "container toolkit": ("SSH",),
    "container runtime": ("containerd",),
    "runtime class": ("API",),
    "device plugin": ("node", "services"),
}


def gpu_view(view: HostView) -> GpuView | None:
    """None for a host that has no GPUs to look for, or could not be looked at."""
    if view.facts is None or "gpu" not in view.host.groups:
        return None
    nvidia, node = view.facts.nvidia, view.node if view.api.answers else None
    status = node["status"] if node else {}
    mode = view.host.vars.get("nvidia_driver_mode") or view.cluster.config.gpu.driver
    return GpuView(
        node=view.node_name,
        host=view.host.name,
        simulated=nvidia.simulated or mode == "simulated",
        recorded=view.facts.owns("file", "/usr/bin/nvidia-smi"),
        pci=len(nvidia.pci),
        module=nvidia.kernel_driver,
        devices=tuple(path for path in nvidia.devices if path.removeprefix("/dev/nvidia").isdecimal()),
        uuids=tuple(gpu.uuid for gpu in nvidia.gpus),
        error=nvidia.error,
        xids=nvidia.xids,
        toolkit="nvidia-ctk" in view.facts.versions,
        cdi=nvidia.cdi,
        runtime="nvidia" in view.facts.runtimes,
        runtime_class=view.api.runtime_class if view.api.answers else None,
        plugin=daemon(view, PLUGIN_NAMESPACE, _PLUGIN, _BESIDE_PLUGIN),
        socket=nvidia.plugin_socket,
        capacity=int(status.get("capacity", {}).get(GPU, 0)) if node else None,
        allocatable=int(status.get("allocatable", {}).get(GPU, 0)) if node else None,
    )


def _link(link: Link[GpuView]) -> Link[HostView]:
    return Link(link.name, (*link.needs, *_NEEDS.get(link.name, ())), _look(link))


def _look(link: Link[GpuView]) -> Callable[[HostView], Broken | None]:
    """A link that nobody has set up yet is judged by the probe's findings: whether it could be."""
    maker = _MADE_BY.get(link.name, "")

    def look(view: HostView) -> Broken | None:
        seen = gpu_view(view)
        if seen is None:
            return None
        if (view.has(maker) or maker in view.api.components) if maker else _expected(link.name, view):
            return link.look(seen) or drifted(link.name)(view)
        return found(link.name)(view)

    return look


def _expected(link: str, view: HostView) -> bool:
    """A GPU is always expected of a host in group gpu, the module once its driver is there."""
    return link == "PCI" or view.has("nvidia_driver")


LINKS = tuple(_link(link) for link in gpu.CHAIN)
