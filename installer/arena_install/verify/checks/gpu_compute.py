"""Suite gpu, the part that computes: only real GPUs can, so these are skipped where they are simulated.

Written to CUDA's and DCGM's documentation, and not yet run on a real GPU.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from arena_install.verify import pods
from arena_install.verify.checks.gpu_host import verdict
from arena_install.verify.context import Context
from arena_install.verify.model import Outcome, skipped
from arena_install.verify.pytorchjob import BUSY_FIX, free_gpus
from arena_install.verify.records import records
from arena_install.verify.registry import check

_LEVEL = 1  # of dcgmi diag: seconds; 2 takes minutes, 3 a quarter of an hour
_DIAG_SECONDS = 280


def simulated(ctx: Context) -> list[str]:
    """Names of the GPU nodes whose GPUs compute nothing."""
    names = ctx.session.gpu_names()
    ctx.session.readers.start(ctx, names)
    return [name for name in names if ctx.session.readers.view(ctx, name).simulated]


@check(
    "gpu.cuda",
    "Every free GPU computes",
    proves="the driver translates a kernel for every free GPU, runs it, and all of its million sums are right",
    severity="critical",
    required=False,  # simulated GPUs compute nothing
    needs=("gpu.capacity",),
    holds=("gpu",),
    timeout=300,
    writes=True,
)
def cuda(ctx: Context) -> Outcome:
    if unreal := simulated(ctx):
        return skipped(f"the GPUs of {', '.join(unreal)} are simulated: they compute nothing")
    free = {name: count for name in ctx.session.gpu_names() if (count := free_gpus(ctx, name))}
    if not free:
        return skipped("no GPU is free", fix=BUSY_FIX)
    namespace = ctx.session.workspaces.get("restricted")
    payload = ctx.session.workspaces.payload(namespace)
    command = ["python3", "/payload/cuda_add.py"]
    places = {f"cuda-{i}": name for i, name in enumerate(free)}
    made = [
        pods.manifest(ctx, pod, pods.PYTORCH, command, node=node, gpus=free[node], payload=payload)
        for pod, node in places.items()
    ]
    logs = pods.run_all(ctx, namespace, made)
    told = {places[pod]: records(log, "added") for pod, log in logs.items()}
    ctx.save("sums.json", told)
    problems = sum_problems(told, free)
    host = problems[0].partition(":")[0] if problems else ""
    return verdict(
        "one result from each free GPU, without a wrong sum",
        problems,
        f"on host {host}: nvidia-smi; dmesg | grep -i -e nvrm -e xid; then drain it and run dcgmi diag -r 3",
        ", ".join(f"{node}: {len(rows)} x {rows[0]['name']}" for node, rows in told.items()),
    )


def sum_problems(told: Mapping[str, list[dict[str, Any]]], free: Mapping[str, int]) -> list[str]:
    """told: node -> records "added". free: node -> GPUs that were asked for."""
    problems = []
    for node, rows in told.items():
        for row in rows:
            which = f"{node}: GPU {row['index']} of the pod" if row["index"] >= 0 else f"{node}: CUDA"
            if row["error"]:
                problems.append(f"{which}: {row['error']}")
            elif row["wrong"]:
                problems.append(f"{which}: {row['wrong']} of {row['count']} sums are wrong")
        good = sum(row["index"] >= 0 for row in rows)
        if good != free[node] and not any(row["error"] for row in rows):
            problems.append(f"{node}: CUDA sees {good} GPUs, the pod was given {free[node]}")
    return problems


@check(
    "gpu.dcgm",
    "NVIDIA's own diagnosis finds nothing",
    proves=f"dcgmi diag -r {_LEVEL} passes on every GPU host that has DCGM",
    required=False,
    needs=("gpu.nvidia-smi",),
    holds=("gpu",),
    timeout=300,
    writes=True,
    default=False,
    alone=True,
)
def dcgm(ctx: Context) -> Outcome:
    if unreal := simulated(ctx):
        return skipped(f"the GPUs of {', '.join(unreal)} are simulated: there is nothing to diagnose")
    names = ctx.session.gpu_names()
    look = ["sh", "-c", "chroot /host sh -c 'command -v dcgmi' || true"]
    there = [
        node for node, path in ctx.session.agents.ask_all(ctx, "host", lambda _: look, nodes=names).items() if path
    ]
    if not there:
        return skipped("no GPU host has dcgmi", fix="install datacenter-gpu-manager there")
    run = ["sh", "-c", f"chroot /host dcgmi diag -r {_LEVEL} --json 2>&1 || true"]
    said = ctx.session.agents.ask_all(ctx, "host", lambda _: run, nodes=there, seconds=_DIAG_SECONDS)
    for node, text in said.items():
        ctx.save(f"{node}.json.txt", text)
    problems = [f"{node}: {problem}" for node, text in said.items() for problem in diag_problems(text)]
    host = problems[0].partition(":")[0] if problems else ""
    return verdict(
        "no test fails, and at least one passes",
        problems,
        f"on host {host}: dcgmi diag -r 3, with no job on its GPUs; dcgmi discovery -l",
        f"level {_LEVEL} passed on {len(there)} of {len(names)} GPU hosts",
    )


def diag_problems(text: str) -> list[str]:
    """What `dcgmi diag --json` reports as failed. Its layout differs between versions of DCGM: whatever has a status
    counts, by the name next to it or above it."""
    start = text.find("{")
    try:
        report, _ = json.JSONDecoder().raw_decode(text[start:] if start >= 0 else text)
    except ValueError:
        return [f"dcgmi gave no report: {(text.strip().splitlines() or ['it said nothing'])[0][:300]}"]
    found = list(_statuses(report, ""))
    problems = [f"{name}: {words or 'failed'}" for name, status, words in found if status.lower().startswith("fail")]
    if not problems and not any(status.lower().startswith("pass") for _, status, _ in found):
        problems.append("dcgmi ran no test to its end")
    return list(dict.fromkeys(problems))


def _statuses(part: Any, name: str) -> Iterator[tuple[str, str, str]]:
    """(name, status, what it says) of every object below that has a status."""
    if isinstance(part, list):
        for one in part:
            yield from _statuses(one, name)
    if not isinstance(part, dict):
        return
    name = str(part.get("name") or part.get("category") or name)
    if isinstance(part.get("status"), str):
        words = part.get("warnings") or part.get("warning") or part.get("info") or ""
        yield name, part["status"], words if isinstance(words, str) else json.dumps(words)[:300]
    for key, value in part.items():
        if key not in ("warnings", "warning", "info"):
            yield from _statuses(value, name)
