"""What a container sees of GPUs, through NVML and in /dev: one line of JSON, then wait to be ended if asked to.

`python3 gpu_view.py` prints and ends; `python3 gpu_view.py hold` keeps the GPU until SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path


def view() -> dict[str, object]:
    """{"uuids", "names", "memory_mib", "driver", "devices": device nodes of GPUs, "error": why NVML gave nothing}."""
    seen: dict[str, object] = {
        "uuids": [],
        "names": [],
        "memory_mib": [],
        "driver": "",
        "error": "",
        "devices": sorted(str(path) for path in Path("/dev").glob("nvidia[0-9]*")),
        "visible": os.environ.get("NVIDIA_VISIBLE_DEVICES", ""),
    }
    try:
        import pynvml  # type: ignore[import-untyped]

        pynvml.nvmlInit()
        seen["driver"] = _decoded(pynvml.nvmlSystemGetDriverVersion())
        uuids, names, memory, errors = [], [], [], []
        for index in range(pynvml.nvmlDeviceGetCount()):
            try:  # one GPU that is lost does not hide the others
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                uuids.append(_decoded(pynvml.nvmlDeviceGetUUID(handle)))
                names.append(_decoded(pynvml.nvmlDeviceGetName(handle)))
                memory.append(int(pynvml.nvmlDeviceGetMemoryInfo(handle).total) // 2**20)
            except pynvml.NVMLError as error:
                errors.append(f"GPU {index}: {error}")
        pynvml.nvmlShutdown()
        seen |= {"uuids": uuids, "names": names, "memory_mib": memory}
        seen["error"] = "; ".join(errors)
    except Exception as error:  # NVML's own errors, or no library at all: both are an answer
        seen["error"] = f"{type(error).__name__}: {error}"
    return seen


def _decoded(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def text(path: Path) -> str:
    """A file's content, "" where it can't be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def report(kind: str, **fields: object) -> None:
    """One record in the log; arena_install.verify.records reads them."""
    sys.stdout.write("ARENA-VERIFY " + json.dumps({"kind": kind, **fields}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    report("gpus", **view())
    if sys.argv[1:] == ["hold"]:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        while True:
            signal.pause()
