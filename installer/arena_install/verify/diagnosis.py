"""Why a node's GPUs do not reach its pods: the chain from PCI bus to scheduler, walked to the first broken link.

Everything after a broken link fails too, so only the first is worth naming. Links that a node does not have (a
simulated driver needs no PCI device and no kernel module) are left out by fact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from arena_install.verify.readers import NodeView


@dataclass(frozen=True)
class Finding:
    """The first broken link of one node. cause: what is broken, with what was seen. fix: the command that mends it."""

    link: str
    cause: str
    fix: str


@dataclass(frozen=True)
class _Link:
    name: str
    broken: Callable[[NodeView, int, int], str]  # (view, capacity, allocatable) -> what is wrong, "" if nothing
    fix: str  # {node} is filled in
    real_only: bool = False


_CHAIN = (
    _Link(
        "PCI",
        lambda view, *_: "" if view.links.get("pci") else "no NVIDIA device on the PCI bus",
        "on host {node}: lspci -d 10de: ; a GPU that was there has fallen off the bus: look at dmesg, then reboot",
        real_only=True,
    ),
    _Link(
        "kernel module",
        lambda view, *_: "" if view.links.get("module") else "the kernel module nvidia is not loaded",
        "on host {node}: modprobe nvidia; dmesg | grep -i nvidia",
        real_only=True,
    ),
    _Link(
        "device nodes",
        lambda view, *_: "" if view.links.get("nodes") else "/dev has no nvidia0, nvidia1, ...",
        "on host {node}: nvidia-smi makes them with a real driver; arena-install up with a simulated one",
    ),
    _Link(
        "NVML",
        lambda view, *_: f"NVML does not work: {view.nvml_error}" if "mismatch" in view.nvml_error.lower() else "",
        "on host {node}: the driver was changed under a loaded module; reboot the host",
    ),
    _Link(
        "NVML",
        lambda view, *_: view.nvml_error if "lost" in view.nvml_error.lower() else "",
        "on host {node}: dmesg | grep -i xid; a lost GPU comes back with a reset or a reboot, or never",
    ),
    _Link(
        "NVML",
        lambda view, *_: f"NVML does not work: {view.nvml_error}" if view.nvml_error else "",
        "on host {node}: nvidia-smi; dmesg | grep -i -e nvrm -e xid",
    ),
    _Link(
        "NVML",
        lambda view, *_: (
            f"NVML lists {len(view.uuids)} GPUs, /dev has {len(view.links['nodes'])}"
            if len(view.uuids) != len(view.links["nodes"])
            else ""
        ),
        "on host {node}: nvidia-smi; ls /dev/nvidia*; dmesg | grep -i xid",
    ),
    _Link(
        "CDI",
        lambda view, *_: "" if view.links.get("cdi") else "no CDI description names nvidia.com/gpu",
        "on host {node}: systemctl restart arena-nvidia-cdi; nvidia-ctk cdi list",
    ),
    _Link(
        "container runtime",
        lambda view, *_: "" if view.links.get("runtime") else "containerd's configuration has no runtime nvidia",
        "arena-install up (role container_runtime writes it)",
    ),
    _Link(
        "device plugin",
        lambda view, *_: "" if view.links.get("plugin") else "the kubelet has no socket of the device plugin",
        "kubectl -n nvidia-device-plugin get pods -o wide --field-selector spec.nodeName={node}; then its log",
    ),
    _Link(
        "kubelet",
        lambda view, has, _: (
            "" if has == len(view.uuids) else f"the kubelet counts {has} GPUs, NVML lists {len(view.uuids)}"
        ),
        "kubectl -n nvidia-device-plugin delete pod --field-selector spec.nodeName={node}  (it registers anew)",
    ),
    _Link(
        "health",
        lambda _, has, gives: "" if gives == has else f"the device plugin calls {has - gives} of {has} GPUs unhealthy",
        "on host {node}: nvidia-smi -q -d ECC,ROW_REMAPPER; dmesg | grep -i xid",
    ),
)


def first_broken(node: str, view: NodeView, capacity: int, allocatable: int) -> Finding | None:
    """The first broken link of this node's chain, None when all hold as far as can be seen from outside a pod."""
    for link in _CHAIN:
        if link.real_only and view.simulated:
            continue
        if what := link.broken(view, capacity, allocatable):
            return Finding(link.name, f"{node}: {what}", link.fix.format(node=node))
    return None
