"""Watches one node from a privileged pod: what its kubelet says it gave to whom (PodResources), what NVML on the host
lists, whether the host's GPUs are simulated, and the links between a GPU and a container. Prints a line of JSON
whenever something changed.

The host's root is mounted read-only at /host. NVML is asked in a child process that changes its root there, with the
host's own library: what the node has, not what a container was given.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import gpu_view  # type: ignore[import-not-found]  # mounted beside this file
import podresources  # type: ignore[import-not-found]

HOST = "/host"
SIMULATED = "/var/lib/arena-gpusim/state"
LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib")


def in_root(view: Callable[[], dict[str, object]]) -> dict[str, object]:
    """What `view` gives where the host's root is root and the host's own NVML is loaded: {"error": ...} if it can't."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        seen: dict[str, object] = {"error": "the host could not be asked"}
        try:
            import pynvml  # type: ignore[import-untyped]  # noqa: F401  # before the root changes: the host has none

            os.chroot(HOST)
            os.chdir("/")
            for folder in LIBRARIES:
                if Path(folder, "libnvidia-ml.so.1").exists():
                    ctypes.CDLL(f"{folder}/libnvidia-ml.so.1", mode=ctypes.RTLD_GLOBAL)
                    break
            seen = view()
        except Exception as error:
            seen = {"error": f"{type(error).__name__}: {error}"}
        finally:
            os.write(writing, json.dumps(seen).encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        content = pipe.read()
    os.waitpid(child, 0)
    return dict(json.loads(content or b"{}"))


def links() -> dict[str, object]:
    """What lies between a GPU and a container on this host; arena_install.diagnosis.gpu judges it."""
    host = Path(HOST)
    devices = (
        path.parent for path in Path("/sys/bus/pci/devices").glob("*/vendor") if gpu_view.text(path).strip() == "0x10de"
    )
    specs = (path for folder in ("etc/cdi", "run/cdi") for path in (host / folder).glob("*"))
    containerd = (host / "etc/containerd/config.toml", *(host / "etc/containerd").glob("conf.d/*.toml"))
    return {
        "pci": sum(gpu_view.text(device / "class").startswith("0x03") for device in devices),
        "module": gpu_view.text(Path("/proc/driver/nvidia/version")).split("\n")[0],
        "nodes": sorted(path.name for path in (host / "dev").glob("nvidia[0-9]*")),
        "cdi": sorted(path.name for path in specs if "nvidia.com/gpu" in gpu_view.text(path)),
        "runtime": any("runtimes.nvidia" in gpu_view.text(path) for path in containerd),
        "plugin": any((host / "var/lib/kubelet/device-plugins").glob("nvidia-*.sock")),
    }


def assignments() -> tuple[list[dict[str, object]], str]:
    try:
        return podresources.assignments(HOST + podresources.SOCKET), ""
    except (OSError, podresources.CallError) as error:
        return [], f"{type(error).__name__}: {error}"


def main() -> None:
    last: dict[str, object] = {}
    nvml: dict[str, object] = {}
    between: dict[str, object] = {}
    asked = 0.0
    while True:
        if time.monotonic() - asked > 5 or not nvml:
            nvml, between, asked = in_root(gpu_view.view), links(), time.monotonic()
        rows, error = assignments()
        now = {
            "nvml": nvml,
            "links": between,
            "assignments": rows,
            "podresources_error": error,
            "simulated": Path(HOST + SIMULATED).exists(),
        }
        if now != last:
            gpu_view.report("node", **now)
            last = now
        time.sleep(0.5)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
