"""Suite scale, the part about jobs: all free GPUs in one job, what they sum is right, how fast, and who is slow.

Bandwidths and times of real GPUs are judged against those of their neighbours in the same run. On CPUs they are told,
judged by a generous factor alone: ranks share cores there.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from arena_install.verify import pods, pytorchjob
from arena_install.verify.context import Context
from arena_install.verify.model import Outcome, failed, passed, skipped
from arena_install.verify.registry import check

_COLLECTIVE = "scale.collective"
_SIZES = (1 << 10, 1 << 20, 1 << 23)  # bytes, on CPUs; payloads/collective.py knows those for GPUs
_STEPS = 20
_NAMED = 8  # ranks that a cause lists

#: A node or rank is slow below this share of the median's speed.
SHARE = 0.9
#: On CPUs, by how much a rank's steps may take longer than the median's.
CPU_FACTOR = 5.0

Record = Mapping[str, Any]


@dataclass
class Together:
    """What the ranks of the job told. nodes: rank -> node."""

    world: int
    backend: str = ""
    nodes: dict[int, str] = field(default_factory=dict)
    told: list[Record] = field(default_factory=list)

    def all(self, kind: str) -> list[Record]:
        return [record for record in self.told if record["kind"] == kind]

    @property
    def real(self) -> bool:
        """Whether GPUs computed, so that times can be judged."""
        return self.backend == "nccl"


@check(
    _COLLECTIVE,
    "All free GPUs sum together",
    proves="one job over every free GPU sums vectors of several sizes without a wrong element; no node slows them down",
    severity="critical",
    required=False,  # where jobs hold the GPUs, or there are none
    needs=("gpu.device-plugin", "cluster.dns", "cluster.network", "component:training-operator"),
    holds=("gpu",),
    timeout=900,
    writes=True,
    default=False,
    alone=True,
)
def collective(ctx: Context) -> Outcome:
    free = {name: count for name in ctx.session.gpu_names() if (count := pytorchjob.free_gpus(ctx, name)) > 0}
    each = min(free.values(), default=0)  # replicas of one job are alike
    if each * len(free) < 2:
        return skipped(f"{sum(free.values())} GPUs are free, two are needed", fix=pytorchjob.BUSY_FIX)
    done = _run(ctx, list(free), each)
    ctx.session.shared[_COLLECTIVE] = done
    ctx.save("told.json", [dict(record) for record in done.told])
    rows = bandwidths(done)
    expected = f"{done.world} ranks on {len(free)} nodes, every element of every sum right, no node below {SHARE:.0%}"
    data = {"world": done.world, "backend": done.backend, "sizes": rows, "pairs": pair_speeds(done)}
    if problems := sum_problems(done) + (slow_nodes(pair_speeds(done)) if done.real else []):
        return failed(
            expected,
            f"{len(problems)} problems",
            cause="\n".join(problems),
            fix="see the replicas' logs in the evidence; on the nodes named: nvidia-smi, ethtool, ibstat, dmesg",
            data=data,
        )
    last = rows[-1]
    speed = f"{last['bytes'] / 2**20:g} MiB at {last['algbw']:.2f} GB/s (algbw), {last['busbw']:.2f} GB/s (busbw)"
    told = f"{done.backend}, {done.world} ranks: {speed}"
    left = sum(free.values()) - done.world
    return passed(expected, told + (f"; {left} free GPUs left out" if left else ""), data=data)


def _run(ctx: Context, nodes: Sequence[str], each: int) -> Together:
    """One replica on each node, with so many ranks each. Raises as pytorchjob.await_success does."""
    image = ctx.cluster.config.gpu.verify_image
    options = [f"--ranks={each}", f"--sizes={','.join(map(str, _SIZES))}", f"--steps={_STEPS}"]
    job = pytorchjob.Job(
        "collective",
        ["python3", "/payload/collective.py", *options],
        len(nodes),
        nodes,
        image=image or pods.PYTORCH,
        gpus=each,
        memory_gib=(8 if image else 2) * each,  # CUDA keeps gigabytes of a process's memory for each GPU
        apart=True,
    )
    namespace = ctx.session.workspaces.get("baseline")
    pytorchjob.submit(ctx, job, namespace)
    state = pytorchjob.await_success(ctx, job, namespace)
    ctx.save("pytorchjob-after.yaml", state)
    pods.capture(ctx, namespace)
    told = [record for records in pytorchjob.heard(ctx, namespace).values() for record in records]
    pytorchjob.remove(ctx, job, namespace)
    return together(len(nodes) * each, told)


def together(world: int, told: Sequence[Record]) -> Together:
    starts = [record for record in told if record["kind"] == "start"]
    backends = sorted({str(record["backend"]) for record in starts})
    nodes = {int(record["rank"]): str(record["node"]) for record in starts}
    return Together(world, "+".join(backends), nodes, list(told))


def sum_problems(done: Together) -> list[str]:
    problems = []
    sizes = sorted({int(record["bytes"]) for record in done.all("reduced")})
    for size in sizes:
        rows = [record for record in done.all("reduced") if record["bytes"] == size]
        wrong = sorted((int(row["rank"]), int(row["wrong"])) for row in rows if row["wrong"])
        if wrong:
            told = [f"rank {rank} on {done.nodes.get(rank, '?')} {count}" for rank, count in wrong[:_NAMED]]
            more = [f"{len(wrong) - _NAMED} more ranks"] if len(wrong) > _NAMED else []
            problems.append(f"wrong elements of {size // 4} (vector of {size} bytes): {', '.join(told + more)}")
        if len(rows) != done.world:
            problems.append(f"{len(rows)} of {done.world} ranks summed the vector of {size} bytes")
    ends = len(done.all("end"))
    if not sizes or ends != done.world:
        problems.append(f"{ends} of {done.world} ranks came to their end")
    return problems


def bandwidths(done: Together) -> list[dict[str, float]]:
    """Of each size, by the slowest rank: "bytes", "seconds", "algbw" and "busbw" in GB/s, as nccl-tests define them:
    https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md"""
    rows = []
    for size in sorted({int(record["bytes"]) for record in done.all("reduced")}):
        seconds = max(float(record["seconds"]) for record in done.all("reduced") if record["bytes"] == size)
        algorithm = size / max(seconds, 1e-9) / 1e9
        bus = algorithm * 2 * (done.world - 1) / done.world
        rows.append({"bytes": size, "seconds": seconds, "algbw": algorithm, "busbw": bus})
    return rows


def pair_speeds(done: Together) -> dict[str, float]:
    """Node -> GB/s each way, the median over its pairs; empty with two nodes or less."""
    speeds: dict[str, list[float]] = {}
    for record in done.all("pair"):
        for node in record["nodes"]:
            speeds.setdefault(str(node), []).append(record["bytes"] / max(float(record["seconds"]), 1e-9) / 1e9)
    return {node: statistics.median(values) for node, values in sorted(speeds.items())}


def slow_nodes(speeds: Mapping[str, float]) -> list[str]:
    """Nodes that exchange less than SHARE of what the median node does."""
    middle = statistics.median(speeds.values()) if speeds else 0.0
    return [
        f"{node} exchanges {speed:.2f} GB/s with the others, the median node {middle:.2f}"
        for node, speed in speeds.items()
        if speed < SHARE * middle
    ]


@check(
    "scale.steps",
    "No rank holds the others up",
    proves=f"ranks of a training job compute steps in like time: on GPUs none below {SHARE:.0%} of the median speed",
    required=False,  # as its job
    needs=(_COLLECTIVE,),
    timeout=30,
    default=False,
)
def steps(ctx: Context) -> Outcome:
    done: Together = ctx.session.shared[_COLLECTIVE]
    factor = 1 / SHARE if done.real else CPU_FACTOR
    times = {int(record["rank"]): float(record["computing"]) for record in done.all("steps")}
    exchange = statistics.median([float(record["exchanging"]) for record in done.all("steps")] or [0.0])
    ctx.save("steps.json", {f"{rank} {done.nodes.get(rank)}": times[rank] for rank in sorted(times)})
    expected = f"the median step of each of {done.world} ranks within {factor:.2f} times the median rank's"
    problems = step_problems(done, times, factor)
    data = {"seconds": [times[rank] for rank in sorted(times)], "exchange": exchange, "backend": done.backend}
    if problems:
        return failed(
            expected,
            f"{len(problems)} ranks are slow",
            cause="\n".join(problems[:_NAMED]),
            fix="on the nodes named: nvidia-smi -q -d PERFORMANCE,CLOCK; top; arena-install verify --suite gpu",
            data=data,
        )
    spread = max(times.values()) / max(min(times.values()), 1e-9) - 1
    observed = f"computing {statistics.median(times.values()) * 1e3:.1f} ms, exchange {exchange * 1e3:.1f} ms a step"
    return passed(expected, f"{observed}; spread {spread:.0%}", data=data)


def step_problems(done: Together, times: Mapping[int, float], factor: float) -> list[str]:
    """times: rank -> seconds of its median step."""
    if len(times) != done.world:
        return [f"{len(times)} of {done.world} ranks trained"]
    middle = statistics.median_low(times.values())  # when half of them are slow, the other half is the measure
    return [
        f"rank {rank} on {done.nodes.get(rank, '?')}: {seconds * 1e3:.1f} ms a step, the median {middle * 1e3:.1f} ms"
        for seconds, rank in sorted(((seconds, rank) for rank, seconds in times.items()), reverse=True)
        if seconds > factor * middle
    ]
