"""Looks at one node's GPUs as its own tools do, from a privileged pod: every GPU's state by NVML, what nvidia-smi and
nvidia-ctk answer, the driver's versions and flavour, the XIDs in the journal, what joins GPUs by switches. A line of
JSON twice a minute.

The host's root is mounted read-only at /host; its programs run with that as their root.
"""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpu_view  # type: ignore[import-not-found]  # mounted beside this file
from node_reader import HOST, LIBRARIES, in_root  # type: ignore[import-not-found]

EVERY = 30.0  # seconds
UNCORRECTED, SINCE_BOOT = 1, 0  # NVML's numbers
SLOWDOWN = 1
LINKS = 18
CRC_COUNTERS = (2, 3)


def gpus() -> dict[str, Any]:
    """{"gpus": what NVML says of each GPU, "error": why it says nothing}. A value that this kind of GPU doesn't have is
    None."""
    import pynvml as nvml  # type: ignore[import-untyped]

    try:
        nvml.nvmlInit()
        found = [_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
        nvml.nvmlShutdown()
        return {"gpus": found, "error": ""}
    except Exception as error:  # NVML's own errors, or no library at all: both are an answer
        return {"gpus": [], "error": f"{type(error).__name__}: {error}"}


def _gpu(nvml: Any, index: int) -> dict[str, Any]:
    def ask(call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            value = call(gpu, *arguments)
        except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound, nvml.NVMLError_InvalidArgument):
            return None
        return value.decode() if isinstance(value, bytes) else value

    try:
        gpu = nvml.nvmlDeviceGetHandleByIndex(index)
        rows = ask(nvml.nvmlDeviceGetRemappedRows)
        ecc = ask(nvml.nvmlDeviceGetEccMode)
        states = [ask(nvml.nvmlDeviceGetNvLinkState, link) for link in range(LINKS)]
        links = [link for link, state in enumerate(states) if state is not None]
        memory = nvml.nvmlDeviceGetMemoryInfo(gpu)
        return {
            "index": index,
            "uuid": ask(nvml.nvmlDeviceGetUUID),
            "serial": ask(nvml.nvmlDeviceGetSerial),
            "name": ask(nvml.nvmlDeviceGetName),
            "vbios": ask(nvml.nvmlDeviceGetVbiosVersion),
            "memory_mib": int(memory.total) // 2**20,
            "memory_used_mib": int(memory.used) // 2**20,
            "ecc": None if ecc is None else bool(ecc[0]),
            "uncorrected": ask(nvml.nvmlDeviceGetTotalEccErrors, UNCORRECTED, SINCE_BOOT),
            "remap_pending": None if rows is None else bool(rows[2]),
            "remap_failure": None if rows is None else bool(rows[3]),
            "retired_pending": ask(nvml.nvmlDeviceGetRetiredPagesPendingStatus),
            "persistence": ask(nvml.nvmlDeviceGetPersistenceMode),
            "throttle": ask(nvml.nvmlDeviceGetCurrentClocksThrottleReasons),
            "temperature": ask(nvml.nvmlDeviceGetTemperature, 0),
            "slowdown_at": ask(nvml.nvmlDeviceGetTemperatureThreshold, SLOWDOWN),
            "links": [bool(states[link]) for link in links],
            "link_errors": sum(
                ask(nvml.nvmlDeviceGetNvLinkErrorCounter, link, counter) or 0
                for link in links
                if states[link]
                for counter in CRC_COUNTERS
            ),
            "architecture": ask(nvml.nvmlDeviceGetArchitecture),
            "pcie": {
                "gen": ask(nvml.nvmlDeviceGetCurrPcieLinkGeneration),
                "gen_max": ask(nvml.nvmlDeviceGetMaxPcieLinkGeneration),
                "width": ask(nvml.nvmlDeviceGetCurrPcieLinkWidth),
                "width_max": ask(nvml.nvmlDeviceGetMaxPcieLinkWidth),
            },
            "fabric": _fabric(nvml, gpu),
            "processes": [process.pid for process in ask(nvml.nvmlDeviceGetComputeRunningProcesses) or ()],
        }
    except nvml.NVMLError as error:  # one GPU that is lost does not hide the others
        return {"index": index, "error": str(error)}


def _fabric(nvml: Any, gpu: Any) -> int | None:
    """How far the GPU has come into the switches' fabric, by NVML's numbers (3: all the way); None for one that has no
    business there, or an NVML that doesn't tell."""
    try:
        info = nvml.c_nvmlGpuFabricInfo_t()
        nvml.nvmlDeviceGetGpuFabricInfo(gpu, ctypes.byref(info))
    except (AttributeError, nvml.NVMLError):
        return None
    return int(info.state) or None


def run(*command: str, seconds: float = 60) -> tuple[int, str]:
    """(exit code, output) of a program of the host, its root as root; 127 where there is none."""
    try:
        done = subprocess.run(
            ["chroot", HOST, *command], capture_output=True, text=True, errors="replace", timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return 124, f"no answer in {seconds:.0f} s"
    return done.returncode, (done.stdout + done.stderr).strip()


def toolkit() -> dict[str, Any]:
    """{"version", "devices": names of CDI devices of kind nvidia.com/gpu, "error"}."""
    code, said = run("nvidia-ctk", "--version")
    version = re.search(r"version v?(\d[\w.~-]*)", said)
    if code or not version:
        return {"version": "", "devices": [], "error": said[:400] or f"nvidia-ctk ended with {code}"}
    code, listed = run("nvidia-ctk", "cdi", "list")
    devices = re.findall(r"^nvidia\.com/gpu=(\S+)$", listed, re.MULTILINE)
    return {"version": version.group(1), "devices": devices, "error": listed[:400] if code else ""}


def versions(driver: str) -> dict[str, str]:
    """Versions of the kernel module (by /proc, or as NVML has it where there is none) and of the two libraries."""
    module = re.search(r"Kernel Module[^\n]*?\s(\d+\.[\d.]+)", gpu_view.text(Path("/proc/driver/nvidia/version")))
    return {
        "module": module.group(1) if module and not driver else driver,
        "nvml": _library("libnvidia-ml.so.1"),
        "cuda": _library("libcuda.so.1"),
    }


def flavour(loads: list[str]) -> str:
    """ "open" or "proprietary", as the kernel module says of itself when it is loaded; "" where it does not.
    loads: such lines of the journal, for a module without /proc."""
    said = gpu_view.text(Path("/proc/driver/nvidia/version")).split("\n")[0] or (loads[-1] if loads else "")
    if "Kernel Module" not in said:
        return ""
    return "open" if "Open Kernel Module" in said else "proprietary"


def switches() -> dict[str, Any]:
    """{"count": NVSwitches on the PCI bus, "running": whether the fabric manager does, "version": its version}."""
    bus = (
        path.parent
        for path in Path("/sys/bus/pci/devices").glob("*/class")
        if gpu_view.text(path).startswith("0x0680") and gpu_view.text(path.parent / "vendor").strip() == "0x10de"
    )
    count = max(len(list(bus)), len(list(Path(HOST, "dev").glob("nvidia-nvswitch[0-9]*"))))
    if not count:
        return {"count": 0, "running": False, "version": ""}
    names = (gpu_view.text(path) for path in Path("/proc").glob("[0-9]*/comm"))
    _, said = run("nv-fabricmanager", "--version")
    version = re.search(r"\d+\.\d+[\d.]*", said)
    running = any(name.startswith("nv-fabricmanage") for name in names)  # the kernel keeps 15 characters of a name
    return {"count": count, "running": running, "version": version.group() if version else ""}


def _library(name: str) -> str:
    """The version in the name of the file that this link of the host leads to, "" if there is none."""
    for folder in LIBRARIES:
        link = Path(HOST + folder, name)
        if link.is_symlink():
            return str(link.readlink()).rpartition(".so.")[2]
    return ""


def journal() -> dict[str, Any]:
    """{"lines": what names an XID since the driver was last loaded, "loads": what it says when it is, "error"}."""
    code, said = run(
        "journalctl", "--boot", "--no-pager", "--quiet", "--output=short-iso", "--identifier=kernel",
        "--grep=NVRM: (Xid|loading)",
    )  # fmt: skip
    lines = [line for line in said.splitlines() if "NVRM:" in line]
    if code and said and not lines:
        return {"lines": [], "loads": [], "error": said[:400]}
    loads = [number for number, line in enumerate(lines) if "NVRM: loading" in line]
    since = loads[-1] + 1 if loads else 0
    return {
        "lines": [line for line in lines[since:] if "NVRM: Xid" in line],
        "loads": [lines[number] for number in loads],
        "error": "",
    }


def look() -> dict[str, Any]:
    seen = in_root(gpus)
    code, said = run("nvidia-smi")
    driver = str(in_root(gpu_view.view).get("driver") or "")
    log = journal()
    return {
        **seen,
        "smi": {"code": code, "output": said if len(said) < 8000 else f"{said[:4000]}\n...\n{said[-4000:]}"},
        "versions": versions(driver),
        "toolkit": toolkit(),
        "journal": log,
        "flavour": flavour(log["loads"]),
        "switches": switches(),
    }


def main() -> None:
    while True:
        gpu_view.report("health", **look())
        time.sleep(EVERY)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
