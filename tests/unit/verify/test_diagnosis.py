"""The chain of a GPU: the first broken link is named, and nothing after it."""

from __future__ import annotations

from typing import Any

import pytest

from arena_install.verify.diagnosis import first_broken
from arena_install.verify.readers import parse

LINKS = {
    "pci": 2,
    "module": "NVRM version: 580.95.05",
    "nodes": ["nvidia0", "nvidia1"],
    "cdi": ["nvidia.yaml"],
    "runtime": True,
    "plugin": True,
}


def view(simulated: bool = False, nvml: dict[str, Any] | None = None, **links: Any) -> Any:
    seen = {"uuids": ["GPU-1", "GPU-2"], "error": ""} if nvml is None else nvml
    return parse({"nvml": seen, "simulated": simulated, "links": LINKS | links})


def test_a_whole_chain_has_no_finding() -> None:
    assert first_broken("w1", view(), 2, 2) is None
    assert first_broken("w1", view(simulated=True, pci=0, module=""), 2, 2) is None


@pytest.mark.parametrize(
    ("broken", "capacity", "allocatable", "link"),
    [
        (view(pci=0, module="", nodes=[]), 0, 0, "PCI"),
        (view(module="", nodes=[], cdi=[]), 0, 0, "kernel module"),
        (view(simulated=True, pci=0, module="", nodes=[]), 0, 0, "device nodes"),
        (view(nvml={"uuids": [], "error": "NVMLError_LibRmVersionMismatch"}), 0, 0, "NVML"),
        (view(nvml={"uuids": ["GPU-1"], "error": ""}, plugin=False), 2, 1, "NVML"),
        (view(cdi=[], plugin=False), 0, 0, "CDI"),
        (view(runtime=False, plugin=False), 0, 0, "container runtime"),
        (view(plugin=False), 0, 0, "device plugin"),
        (view(), 1, 1, "kubelet"),
        (view(), 2, 1, "health"),
    ],
)
def test_the_first_broken_link(broken: Any, capacity: int, allocatable: int, link: str) -> None:
    finding = first_broken("w1", broken, capacity, allocatable)
    assert finding is not None
    assert finding.link == link
    assert finding.cause.startswith("w1: ")
    assert "{node}" not in finding.fix
