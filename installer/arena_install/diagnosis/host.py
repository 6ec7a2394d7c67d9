"""The links of a host by itself: SSH, the host, its clock, disks and memory, and what of our record is not so any more.

A link says something only where the role that makes it has been at work, so that bare hosts are judged as such.
"""

from __future__ import annotations

from collections.abc import Callable

from arena_install.diagnosis.drift import drifted
from arena_install.diagnosis.model import Broken, Fix, Link
from arena_install.diagnosis.view import HostView
from arena_install.probe.facts import Disk, Unreachable

#: The probe's findings that have a link of their own, or are judged by the chain of GPUs.
_LINK_OF = {
    "clock-skew": "time",
    "disk-low": "disk",
    "memory-low": "memory",
    "certificate-expires": "certificates",
    "gpu-missing": "PCI",
    "nouveau-loaded": "kernel module",
    "driver-missing": "kernel module",
    "driver-broken": "NVML",
}
_MEMORY_LEFT = 200  # MiB available; kubelet begins to end pods there
_DISK_LEFT = 64  # MiB free, or a hundredth of it: nothing can be written any more, or soon


def found(link: str) -> Callable[[HostView], Broken | None]:
    """The first of the probe's errors that belong to this link."""

    def look(view: HostView) -> Broken | None:
        for finding in view.findings:
            if finding.severity == "error" and _LINK_OF.get(finding.id, "host") == link:
                seen = f"{finding.observed}; expected: {finding.expected}"
                return Broken(finding.title, (seen,), (Fix(finding.fix, view.host.name, sentence=True),))
        return None

    return look


def _reach(view: HostView) -> Broken | None:
    if not isinstance(view.found, Unreachable):
        return None
    return Broken(view.found.what, (f"{view.found.where}: {view.found.why}",), (Fix(view.found.fix, sentence=True),))


def _disk(view: HostView) -> Broken | None:
    disks = view.facts.disks if view.facts else ()
    full = [disk for disk in disks if disk.size and disk.free < max(_DISK_LEFT, disk.size // 100)]
    pressure = _condition(view, "DiskPressure")
    if full:
        # The path that was asked for last lies deepest: it is what fails first.
        worst = min(reversed(full), key=lambda disk: disk.free)
        seen = tuple(filter(None, (_told(worst), pressure)))
        return Broken(f"the disk that holds {worst.path} is full", seen, (_free(view, worst.mount),))
    if pressure:
        return Broken("the node reports DiskPressure", (pressure,), (_free(view, "/var/lib"),))
    return found("disk")(view)


def _told(disk: Disk) -> str:
    return f"{disk.mount}: {disk.free} of {disk.size} MiB free"


def _free(view: HostView, path: str) -> Fix:
    return Fix(f"journalctl --vacuum-size=50M; apt-get clean; du -xhd2 {path} | sort -h | tail", view.host.name)


def _memory(view: HostView) -> Broken | None:
    pressure = _condition(view, "MemoryPressure")
    facts = view.facts
    low = facts is not None and 0 < facts.memory_available < _MEMORY_LEFT
    if not low and not pressure:
        return found("memory")(view)
    available = f"{facts.memory_available} of {facts.memory} MiB available" if facts and low else ""
    fix = Fix("ps -eo rss,pid,args --sort=-rss | head", view.host.name)
    return Broken("memory is used up", tuple(filter(None, (available, pressure))), (fix,))


def _condition(view: HostView, kind: str) -> str:
    """The node's condition of this kind, "" where it is not raised."""
    for row in (view.node or {}).get("status", {}).get("conditions") or []:
        if row["type"] == kind and row["status"] == "True":
            return f"node {view.node_name}: {kind}: {row.get('message', '')}".rstrip(": ")
    return ""


LINKS: tuple[Link[HostView], ...] = (
    Link("SSH", (), _reach),
    Link("host", ("SSH",), found("host")),
    Link("time", ("SSH",), found("time")),
    Link("disk", ("host",), _disk),
    Link("memory", ("host",), _memory),
)

#: Nothing of the chain needs these; they come last.
LEAVES: tuple[Link[HostView], ...] = (
    Link("driver files", ("SSH", "NVML"), drifted("driver files")),
    Link("drift", ("SSH", "host"), drifted("drift")),
)
