"""Sums of Kubernetes' quantities: what the nodes that take users' pods offer together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from arena_install.users.names import GPU

_SCALE = {"": Decimal(1), "m": Decimal("0.001"), "n": Decimal("1e-9"), "u": Decimal("1e-6")}
_SCALE |= {letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", 1)}
_SCALE |= {f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)}
_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
#: Counted by the kubelet for itself; no container asks for them.
_NOT_ASKED_FOR = ("pods", "attachable-volumes-")


def parse(text: str) -> Decimal:
    """ "1500m" -> 1.5, "2Gi" -> 2147483648. Raises ValueError."""
    number = text.rstrip("mnukMGTPEKi")
    try:
        return Decimal(number) * _SCALE[text[len(number) :]]
    except (ArithmeticError, KeyError):
        raise ValueError(f"{text!r} is no quantity") from None


def write(amount: Decimal) -> str:
    """The shortest exact form: whole, in thousandths, or in powers of 1024."""
    if amount != amount.to_integral_value():
        return f"{int(amount * 1000)}m"
    whole = int(amount)
    for power, letter in reversed(list(enumerate("KMGTPE", 1))):
        if whole and whole % 1024**power == 0:
            return f"{whole // 1024**power}{letter}i"
    return str(whole)


def _open(node: Mapping[str, Any]) -> bool:
    """Whether pods of users come here: a control plane's taint keeps them away. One for GPU nodes alone is tolerated by
    the jobs that are meant for them, and a cordon passes."""
    taints = node["spec"].get("taints") or ()
    return not any(taint["key"] in _CONTROL_PLANE and taint["effect"] != "PreferNoSchedule" for taint in taints)


def offered(nodes: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Resource -> how much of it the nodes let pods have together; what no node has is left out, but GPUs."""
    total: dict[str, Decimal] = {GPU: Decimal(0), "cpu": Decimal(0), "memory": Decimal(0)}
    for node in filter(_open, nodes):
        for resource, amount in (node["status"].get("allocatable") or {}).items():
            if not resource.startswith(_NOT_ASKED_FOR):
                total[resource] = total.get(resource, Decimal(0)) + parse(str(amount))
    return {name: write(amount) for name, amount in sorted(total.items()) if amount or name in (GPU, "cpu", "memory")}


def gpus(nodes: Iterable[Mapping[str, Any]]) -> int:
    return int(parse(offered(nodes)[GPU]))
