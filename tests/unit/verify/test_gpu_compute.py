"""What only real GPUs can do, as far as it can be told without one: the payload's calls on a libcuda of the test that
computes on the CPU, and what the checks make of answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from arena_install.verify.checks import gpu_compute
from arena_install.verify.context import Context
from arena_install.verify.payloads import podresources
from arena_install.verify.records import records
from arena_install.verify.registry import load
from arena_install.verify.session import Session

PAYLOADS = Path(podresources.__file__).parent

#: The driver's calls with their real signatures, for one "GPU" whose memory is this process's.
LIBCUDA = r"""
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
typedef unsigned long long ptr;
int cuInit(unsigned flags) { return flags ? 1 : 0; }
int cuDeviceGetCount(int *out) { *out = 1; return 0; }
int cuDeviceGet(int *out, int index) { *out = index; return index ? 101 : 0; }
int cuDeviceGetName(char *out, int size, int device) { strncpy(out, "CPU of the test", size); return device; }
int cuDevicePrimaryCtxRetain(void **out, int device) { *out = (void *)0x1234; return device; }
int cuDevicePrimaryCtxRelease_v2(int device) { return device; }
int cuCtxSetCurrent(void *context) { return context == (void *)0x1234 ? 0 : 201; }
int cuModuleLoadData(void **out, const void *image) {
    *out = (void *)0x5678;
    return strstr(image, ".visible .entry add(") ? 0 : 218;
}
int cuModuleGetFunction(void **out, void *module, const char *name) {
    *out = (void *)0x9abc;
    return module == (void *)0x5678 && !strcmp(name, "add") ? 0 : 500;
}
int cuMemAlloc_v2(ptr *out, size_t size) { *out = (ptr)(uintptr_t)malloc(size); return *out ? 0 : 2; }
int cuMemFree_v2(ptr place) { free((void *)(uintptr_t)place); return 0; }
int cuMemcpyHtoD_v2(ptr to, const void *from, size_t size) { memcpy((void *)(uintptr_t)to, from, size); return 0; }
int cuMemcpyDtoH_v2(void *to, ptr from, size_t size) { memcpy(to, (void *)(uintptr_t)from, size); return 0; }
int cuCtxSynchronize(void) { return 0; }
int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **given, void **extra) {
    if (f != (void *)0x9abc || gy != 1 || gz != 1 || by != 1 || bz != 1 || shared || stream || extra) return 1;
    float *a = (float *)(uintptr_t)*(ptr *)given[0], *b = (float *)(uintptr_t)*(ptr *)given[1];
    float *c = (float *)(uintptr_t)*(ptr *)given[2];
    unsigned count = *(unsigned *)given[3];
    for (unsigned i = 0; i < gx * bx; i++)
        if (i < count && !(getenv("FAULTY") && i == 4711)) c[i] = a[i] + b[i];
    return 0;
}
int cuGetErrorName(int code, const char **out) {
    *out = code == 218 ? "CUDA_ERROR_INVALID_PTX" : "CUDA_ERROR_OTHER";
    return 0;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("cc"):
        pytest.skip("no C compiler (cc) on this machine")
    folder = tmp_path_factory.mktemp("cuda")
    (folder / "cuda.c").write_text(LIBCUDA)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "libcuda.so.1", folder / "cuda.c"], check=True)
    return folder


def added(folder: Path, **environment: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, PAYLOADS / "cuda_add.py"], capture_output=True, text=True, check=True,
        env={**os.environ, "LD_LIBRARY_PATH": str(folder), **environment},
    )  # fmt: skip
    return records(done.stdout, "added")


def test_the_payload_adds(library: Path) -> None:
    (one,) = added(library)
    assert (one["index"], one["name"], one["wrong"], one["error"]) == (0, "CPU of the test", 0, "")
    assert one["count"] == 1 << 20


def test_a_single_wrong_sum_is_seen(library: Path) -> None:
    (one,) = added(library, FAULTY="1")
    assert one["wrong"] == 1


def test_without_a_driver_the_reason_is_told(tmp_path: Path) -> None:
    (one,) = added(tmp_path)
    assert one["index"] == -1 and "libcuda.so.1" in one["error"]


def row(index: int, **more: Any) -> dict[str, Any]:
    return {"index": index, "name": "NVIDIA H100", "wrong": 0, "count": 1024, "error": "", **more}


@pytest.mark.parametrize(
    ("rows", "problems"),
    [
        ([row(0), row(1)], []),
        ([row(0), row(1, wrong=3)], ["w1: GPU 1 of the pod: 3 of 1024 sums are wrong"]),
        ([row(0)], ["w1: CUDA sees 1 GPUs, the pod was given 2"]),
        ([], ["w1: CUDA sees 0 GPUs, the pod was given 2"]),
        ([row(-1, error="cuInit: CUDA_ERROR_NO_DEVICE (100)")], ["w1: CUDA: cuInit: CUDA_ERROR_NO_DEVICE (100)"]),
    ],
)
def test_sums(rows: list[dict[str, Any]], problems: list[str]) -> None:
    assert gpu_compute.sum_problems({"w1": rows}, {"w1": 2}) == problems


@pytest.mark.parametrize("id", ["gpu.cuda", "gpu.dcgm"])
def test_simulated_gpus_are_skipped_with_the_reason(session: Session, monkeypatch: pytest.MonkeyPatch, id: str) -> None:
    view = SimpleNamespace(simulated=True)
    readers: Any = SimpleNamespace(start=lambda *_: None, view=lambda *_: view)
    monkeypatch.setattr(session, "readers", readers)
    monkeypatch.setattr(session, "gpu_names", lambda: ["w1"])
    check = load()[id]
    outcome = check.run(Context(session, check))
    assert outcome.status == "skip" and "simulated" in outcome.cause
    assert not check.required


def diag(status: str, **more: Any) -> str:
    test = {"name": "PCIe", "results": [{"gpu_ids": "0", "status": status, **more}]}
    categories = [{"category": "Deployment", "tests": [{"name": "Denylist", "results": [{"status": "Pass"}]}, test]}]
    return "Successfully ran diagnostic.\n" + json.dumps({"DCGM GPU Diagnostic": {"test_categories": categories}})


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (diag("Pass"), []),
        (diag("Skip"), []),
        (diag("Fail"), ["PCIe: failed"]),
        (diag("Fail", warnings="GPU 0's link is narrow"), ["PCIe: GPU 0's link is narrow"]),
        (diag("Fail", warnings=[{"warning": "x", "error_id": 3}]), ['PCIe: [{"warning": "x", "error_id": 3}]']),
        ("Error: unable to connect", ["dcgmi gave no report: Error: unable to connect"]),
        ("", ["dcgmi gave no report: it said nothing"]),
        ('{"DCGM Diagnostic": {"test_categories": []}}', ["dcgmi ran no test to its end"]),
    ],
)
def test_what_dcgm_says(text: str, problems: list[str]) -> None:
    assert gpu_compute.diag_problems(text) == problems
