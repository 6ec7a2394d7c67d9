"""The chain of a GPU: the first broken link is named, and nothing after it; the same from both sources."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from arena_install.diagnosis.gpu import GpuView, first_broken
from arena_install.probe.facts import Xid
from arena_install.verify.readers import parse

WELL = GpuView(
    node="w1",
    pci=2,
    module="580.95.05",
    devices=("nvidia0", "nvidia1"),
    uuids=("GPU-1", "GPU-2"),
    toolkit=True,
    cdi=("0", "1", "GPU-1", "GPU-2", "all"),
    runtime=True,
    runtime_class=True,
    capacity=2,
    allocatable=2,
)
LOST = "Unable to determine the device handle for GPU1: GPU is lost.  Reboot the system to recover this GPU"
NO_LIBRARY = "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system."
ECC = Xid(48, "1", "simulated GPU 1: Xid 48")


def test_a_whole_chain_has_no_finding() -> None:
    assert first_broken(WELL) is None
    assert first_broken(replace(WELL, simulated=True, pci=0, module="")) is None


def test_what_was_not_looked_at_is_not_judged() -> None:
    unknown = replace(WELL, toolkit=None, runtime=None, runtime_class=None, capacity=None, allocatable=None)
    assert first_broken(unknown) is None


@pytest.mark.parametrize(
    ("changes", "link", "words"),
    [
        ({"pci": 0, "module": "", "devices": ()}, "PCI", "no NVIDIA GPU"),
        ({"module": "", "devices": (), "cdi": ()}, "kernel module", "modprobe"),
        ({"simulated": True, "pci": 0, "module": "", "devices": ()}, "device nodes", "arena-gpusim"),
        ({"uuids": (), "error": "NVMLError_LibRmVersionMismatch"}, "NVML", "mismatch"),
        ({"uuids": (), "error": NO_LIBRARY}, "NVML", "libnvidia-ml.so.1 is missing"),
        ({"uuids": ("GPU-1",), "error": LOST}, "NVML", "1 of 2 GPUs has been lost"),
        ({"uuids": (), "error": "Unknown Error"}, "NVML", "does not work"),
        ({"uuids": ()}, "NVML", "lists no GPU"),
        ({"uuids": ("GPU-1",), "socket": False}, "NVML", "lists 1 GPUs, /dev has 2"),
        ({"toolkit": False, "cdi": ()}, "container toolkit", "not installed"),
        ({"cdi": (), "socket": False}, "CDI", "no CDI description"),
        ({"cdi": ("0", "GPU-1", "all")}, "CDI", "names 1 GPUs, NVML 2"),
        ({"runtime": False, "socket": False}, "container runtime", "no runtime nvidia"),
        ({"runtime_class": False}, "runtime class", "RuntimeClass nvidia is missing"),
        ({"plugin": ("no pod of it is on w1",), "capacity": 0}, "device plugin", "no pod of it"),
        ({"socket": False}, "device plugin", "not registered"),
        ({"capacity": 1, "allocatable": 1}, "capacity", "counts 1 GPUs, NVML lists 2"),
        ({"allocatable": 1}, "health", "1 of 2 GPUs is unhealthy"),
        ({"allocatable": 1, "xids": (ECC,)}, "health", "XID 48 (double-bit ECC error) on GPU 1"),
        ({"allocatable": 1, "xids": (Xid(43, "0"),)}, "health", "the device plugin says"),
    ],
)
def test_the_first_broken_link(changes: dict[str, Any], link: str, words: str) -> None:
    finding = first_broken(replace(WELL, **changes))
    assert finding is not None
    assert finding.link == link
    assert finding.cause.startswith("w1: ")
    assert words in f"{finding.cause} {finding.fix}"
    assert finding.fix


@pytest.mark.parametrize("simulated", [True, False])
def test_a_simulated_gpu_is_mended_otherwise_than_a_real_one(simulated: bool) -> None:
    view = replace(WELL, simulated=simulated, uuids=("GPU-1",), error=LOST, host="w1")
    finding = first_broken(view)
    assert finding is not None
    assert ("gpusim" in finding.fix, "reboot" in finding.fix) == (simulated, not simulated)


TWO = {"nvidia.com/gpu": "2"}
NODE = {"metadata": {"name": "w1"}, "status": {"capacity": TWO, "allocatable": TWO}}
LINKS = {
    "pci": 2,
    "module": "NVRM version: 580.95.05",
    "nodes": ["nvidia0", "nvidia1"],
    "cdi": ["nvidia.yaml"],
    "runtime": True,
    "plugin": True,
}


@pytest.mark.parametrize(
    ("links", "link"),
    [({}, None), ({"cdi": []}, "CDI"), ({"runtime": False}, "container runtime"), ({"plugin": False}, "device plugin")],
)
def test_a_readers_view_is_judged_by_the_same_chain(links: dict[str, Any], link: str | None) -> None:
    view = parse({"nvml": {"uuids": ["GPU-1", "GPU-2"], "error": ""}, "simulated": False, "links": LINKS | links})
    finding = first_broken(view.gpus(NODE))
    assert (finding.link if finding else None) == link
