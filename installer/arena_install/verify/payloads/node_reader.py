"""Watches one node from a privileged pod: what its kubelet says it gave to whom (PodResources), what NVML on the host
lists, and whether the host's GPUs are simulated. Prints a line of JSON whenever something changed.

The host's root is mounted read-only at /host. NVML is asked in a child process that changes its root there, with the
host's own library: what the node has, not what a container was given.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from pathlib import Path

import gpu_view  # type: ignore[import-not-found]  # mounted beside this file
import podresources  # type: ignore[import-not-found]

HOST = "/host"
SIMULATED = "/var/lib/arena-gpusim/state"
LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib")


def host_view() -> dict[str, object]:
    """gpu_view.view() of the host."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        seen: dict[str, object] = {"uuids": [], "error": "the host could not be asked"}
        try:
            import pynvml  # type: ignore[import-untyped]  # noqa: F401  # before the root changes: the host has none

            os.chroot(HOST)
            os.chdir("/")
            for folder in LIBRARIES:
                if Path(folder, "libnvidia-ml.so.1").exists():
                    ctypes.CDLL(f"{folder}/libnvidia-ml.so.1", mode=ctypes.RTLD_GLOBAL)
                    break
            seen = gpu_view.view()
        except Exception as error:
            seen["error"] = f"{type(error).__name__}: {error}"
        finally:
            os.write(writing, json.dumps(seen).encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        content = pipe.read()
    os.waitpid(child, 0)
    return dict(json.loads(content or b"{}"))


def assignments() -> tuple[list[dict[str, object]], str]:
    try:
        return podresources.assignments(HOST + podresources.SOCKET), ""
    except (OSError, podresources.CallError) as error:
        return [], f"{type(error).__name__}: {error}"


def main() -> None:
    last: dict[str, object] = {}
    nvml: dict[str, object] = {}
    asked = 0.0
    while True:
        if time.monotonic() - asked > 5 or not nvml:
            nvml, asked = host_view(), time.monotonic()
        rows, error = assignments()
        now = {
            "nvml": nvml,
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
