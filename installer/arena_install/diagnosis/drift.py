"""What roles recorded on a host and is not so any more, told at the link that it belongs to."""

from __future__ import annotations

import re
from collections.abc import Callable

from arena_install.diagnosis.model import Broken, Fix
from arena_install.diagnosis.view import HostView
from arena_install.probe.facts import LedgerItem

UP = Fix("arena-install up")

#: (role, names, link): the first row that fits an item says where it belongs; one that none fits is plain "drift".
_PLACES = (
    ("container_runtime", r".*/certs\.d/.*|.*/registry-ca\.crt", "registry"),
    ("container_runtime", r".*cni.*", "CNI"),
    ("container_runtime", r".*", "containerd"),
    ("registry", r".*", "registry"),
    ("kubernetes_node", r".*", "kubelet"),
    ("worker", r".*", "kubelet"),
    ("control_plane", r"/var/lib/kubelet/.*|kubelet\.service|/etc/kubernetes/kubelet\.conf", "kubelet"),
    ("control_plane", r".*", "control plane"),
    ("nvidia_driver", r".*", "driver files"),
    ("nvidia_container_toolkit", r"/run/cdi/.*|arena-nvidia-cdi\.service", "CDI"),
    ("nvidia_container_toolkit", r".*", "container toolkit"),
)
_SHOWN = 3


def drifted(link: str) -> Callable[[HostView], Broken | None]:
    """Items of this link that are not as recorded."""

    def look(view: HostView) -> Broken | None:
        if not (items := drift_of(view, link)):
            return None
        return Broken("what was set up is not as recorded any more", told(items), (UP,))

    return look


def drift_of(view: HostView, link: str) -> list[LedgerItem]:
    ledger = view.facts.ledger if view.facts else {}
    return [item for role, record in ledger.items() for item in record.drift if _place(role, item) == link]


def told(items: list[LedgerItem]) -> tuple[str, ...]:
    """A line an item, few of them."""
    lines = [_told(item) for item in items[:_SHOWN]]
    return (*lines, f"and {len(items) - _SHOWN} more: arena-install plan") if len(items) > _SHOWN else tuple(lines)


def _told(item: LedgerItem) -> str:
    name = f"{item.kind} {item.name}"
    recorded, now = item.recorded.split(), item.found.split()
    if item.found.startswith(("absent", "not-found")):
        return f"{name} is gone"
    if item.kind == "file" and len(recorded) == len(now) == 3 and len(now[0]) == 64:
        content = "" if recorded[0] == now[0] else " has been changed"
        owner = "" if recorded[1:] == now[1:] else f" is {' '.join(now[1:])}, was {' '.join(recorded[1:])}"
        return f"{name}{content}{' and' if content and owner else ''}{owner}"
    return f"{name} is {item.found or 'unknown'}, was {item.recorded}"


def _place(role: str, item: LedgerItem) -> str:
    return next((link for owner, names, link in _PLACES if owner == role and re.fullmatch(names, item.name)), "drift")
