"""Suite observability, the part with GPUs: what Prometheus has of each is what its driver says, and whose it is.

Two witnesses again: nvidia-smi on the host, asked before and after a scrape, between which the figure must lie; and the
kubelet's PodResources for who holds which GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from arena_install.verify import pods
from arena_install.verify.checks.observability import interval, of
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Object
from arena_install.verify.model import Outcome, failed, passed, skipped
from arena_install.verify.prometheus import ARENA, Prometheus, Sample
from arena_install.verify.pytorchjob import BUSY_FIX, free_gpus
from arena_install.verify.registry import check

_HOLD = ["python3", "/payload/gpu_view.py", "hold"]
_FIELDS = ("uuid", "utilization.gpu", "memory.used", "memory.free", "temperature.gpu", "power.draw")
_SMI = ["chroot", "/host", "nvidia-smi", f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits"]
LOGS = "kubectl -n gpu-exporter logs -l app.kubernetes.io/name=gpu-exporter --prefix"
_SLACK = 3.0  # seconds beyond an interval until what was scraped can be asked for

#: DCGM's field -> (nvidia-smi's, by how much they may differ: so much, or so great a part of the larger one).
COMPARED = {
    "DCGM_FI_DEV_GPU_UTIL": ("utilization.gpu", 100.0, 0.0),  # real GPUs go from 0 to 100 % between two looks
    "DCGM_FI_DEV_FB_USED": ("memory.used", 64.0, 0.05),
    "DCGM_FI_DEV_FB_FREE": ("memory.free", 64.0, 0.05),
    "DCGM_FI_DEV_GPU_TEMP": ("temperature.gpu", 5.0, 0.0),
    "DCGM_FI_DEV_POWER_USAGE": ("power.draw", 40.0, 0.3),
}
#: The same where GPUs are simulated: nothing moves unless somebody moves it.
EXACT = {field: (name, 1.0, 0.0) for field, (name, _, _) in COMPARED.items()}

Seen = Mapping[str, Mapping[str, float]]  # UUID -> nvidia-smi's field -> figure


@dataclass(frozen=True)
class Holding:
    """A pod of this check that holds one GPU."""

    namespace: str
    pod: str
    node: str
    uuid: str


@contextmanager
def holding(ctx: Context, name: str) -> Iterator[Holding | None]:
    """Run a pod that holds a GPU while the block runs; None where no GPU is free."""
    node = next((node for node in ctx.session.gpu_names() if free_gpus(ctx, node) > 0), "")
    if not node:
        yield None
        return
    namespace = ctx.session.workspaces.get("restricted")
    payload = ctx.session.workspaces.payload(namespace)
    made = [pods.manifest(ctx, name, pods.PYTORCH, _HOLD, node=node, gpus=1, payload=payload)]
    try:
        pods.create(ctx, namespace, made)
        pods.wait_for(ctx, namespace, [name], pods.running, "pod with a GPU running")

        def assigned() -> str | None:
            return next(iter(ctx.session.readers.view(ctx, node).assigned.get((namespace, name), ())), None)

        uuid = ctx.wait(assigned, f"PodResources of {node} to name pod {name}", seconds=30)
        yield Holding(namespace, name, node, uuid)
        pods.capture(ctx, namespace)
    finally:
        pods.remove(ctx, namespace, made)


@check(
    "observability.gpu-metrics",
    "Prometheus has every GPU's figures, and whose it is",
    proves="use, memory, heat and power of every GPU are those of nvidia-smi, under the name of the pod that holds it",
    needs=("observability.targets", "gpu.one-gpu"),
    holds=("gpu",),
    timeout=300,
    writes=True,
)
def gpu_metrics(ctx: Context) -> Outcome:
    with holding(ctx, "watched") as held:
        if held is None:
            return skipped("no GPU is free", fix=BUSY_FIX)
        prometheus = of(ctx)
        await_pod(ctx, prometheus, held)
        nodes = ctx.session.gpu_names()
        first, samples, second = _moment(ctx, prometheus, nodes)
        assigned: dict[str, tuple[str, str]] = {}
        simulated = True
        for node in nodes:
            view = ctx.session.readers.view(ctx, node)
            simulated &= view.simulated
            assigned |= {uuid: holder for holder, given in view.assigned.items() for uuid in given}
    ctx.save("figures.json", [{"name": s.name, "labels": dict(s.labels), "value": s.value} for s in samples])
    problems = figure_problems(samples, first, second, EXACT if simulated else COMPARED)
    problems += holder_problems(samples, assigned)
    expected = (
        f"{', '.join(name for name, _, _ in COMPARED.values())} as nvidia-smi has them, and the holder as PodResources"
    )
    if problems:
        return failed(
            expected,
            f"{len(problems)} differences",
            cause="\n".join(problems),
            fix=f"{LOGS}; arena-install up mends drift",
        )
    return passed(
        expected,
        f"{len(first)} GPUs on {len(nodes)} nodes, {len(COMPARED)} figures each; {held.uuid[:12]}… is {held.pod}'s",
        data={"gpus": len(first)},
    )


def await_pod(ctx: Context, prometheus: Prometheus, held: Holding) -> None:
    """Until the GPU's figures carry the pod: it takes a scrape. Raises CheckFailed when they don't after three."""
    every = interval(prometheus.targets(), "gpu-exporter")
    question = f'DCGM_FI_DEV_GPU_UTIL{{UUID="{held.uuid}"}}'
    until = time.monotonic() + 3 * every + _SLACK
    while True:
        seen = prometheus.query(question)
        if any((s.labels.get("namespace"), s.labels.get("pod")) == (held.namespace, held.pod) for s in seen):
            return
        if time.monotonic() > until:
            whose = ", ".join(s.labels.get("pod") or "nobody's" for s in seen) or "not there at all"
            raise CheckFailed(
                f"Prometheus does not know that pod {held.pod} holds {held.uuid}",
                cause=f"the figures of that GPU on {held.node} are {whose}, three scrapes after the pod was given it",
                fix=f"{LOGS}; on host {held.node}: ls -l /var/lib/kubelet/pod-resources",
            )
        ctx.session.sleep(1, ctx.deadline)


def _moment(ctx: Context, prometheus: Prometheus, nodes: Sequence[str]) -> tuple[Seen, list[Sample], Seen]:
    """nvidia-smi's figures, what was scraped after that, and nvidia-smi's once more."""
    first = _smi(ctx, nodes)
    since = ctx.kube.now() + 1  # its clock ticks in seconds
    question = f'{{__name__=~"{"|".join(COMPARED)}"}}'

    def scraped() -> list[Sample] | None:
        rows = prometheus.query("timestamp(DCGM_FI_DEV_GPU_TEMP)")  # all of a GPU's figures are of one scrape
        return prometheus.query(question) if rows and min(row.value for row in rows) > since else None

    every = interval(prometheus.targets(), "gpu-exporter")
    samples = ctx.wait(scraped, "every GPU exporter to be scraped once more", seconds=4 * every + _SLACK)
    return first, samples, _smi(ctx, nodes)


def _smi(ctx: Context, nodes: Sequence[str]) -> Seen:
    said = ctx.session.agents.ask_all(ctx, "host", lambda _: _SMI, nodes=nodes)
    ctx.save("nvidia-smi.txt", "".join(f"# {node}\n{text}" for node, text in said.items()))
    return {uuid: row for text in said.values() for uuid, row in read_smi(text).items()}


def read_smi(text: str) -> dict[str, dict[str, float]]:
    """UUID -> figures, of lines of CSV. What a kind of GPU does not know ([N/A]) is left out."""
    found = {}
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == len(_FIELDS) and parts[0].startswith("GPU-"):
            pairs = zip(_FIELDS[1:], parts[1:], strict=True)
            found[parts[0]] = {name: float(value) for name, value in pairs if not value.startswith("[")}
    return found


def figure_problems(
    samples: Sequence[Sample], first: Seen, second: Seen, rules: Mapping[str, tuple[str, float, float]]
) -> list[str]:
    """What is missing, or lies outside of what nvidia-smi said before and after. rules: see COMPARED."""
    told: dict[tuple[str, str], list[Sample]] = {}
    for one in samples:
        told.setdefault((one.labels.get("UUID", ""), one.name), []).append(one)
    problems = []
    for uuid, before in first.items():
        after = second.get(uuid, before)
        for field, (name, much, part) in rules.items():
            if name not in before:
                continue
            low, high = sorted((before[name], after.get(name, before[name])))
            room = max(much, part * high)
            rows = told.get((uuid, field), [])
            if not rows:
                problems.append(f"{uuid}: Prometheus has no {field}")
            problems += [
                f"{uuid} on {one.labels.get('node')}: {field} is {one.value:g}, nvidia-smi says {low:g} to {high:g}"
                for one in rows
                if not low - room <= one.value <= high + room
            ]
    strangers = {uuid for uuid, _ in told} - set(first)
    return problems + [f"{uuid}: Prometheus has figures of a GPU that no host has" for uuid in sorted(strangers)]


def holder_problems(samples: Sequence[Sample], assigned: Mapping[str, tuple[str, str]]) -> list[str]:
    """assigned: UUID -> (namespace, pod)."""
    problems = []
    for one in samples:
        if one.name != "DCGM_FI_DEV_GPU_UTIL":
            continue
        uuid = one.labels.get("UUID", "")
        told = (one.labels.get("namespace", ""), one.labels.get("pod", ""))
        if told != (given := assigned.get(uuid, ("", ""))):
            problems.append(f"{uuid} is {_whose(given)} by PodResources, {_whose(told)} by Prometheus")
    return problems


def _whose(holder: tuple[str, str]) -> str:
    return f"{'/'.join(holder)}'s" if any(holder) else "nobody's"


@check(
    "observability.arena",
    "arena finds a job's GPU figures",
    proves="what arena asks Prometheus about a pod gives duty cycle and memory of the GPU that it holds",
    needs=("observability.targets", "gpu.one-gpu"),
    holds=("gpu",),
    timeout=300,
    writes=True,
)
def arena(ctx: Context) -> Outcome:
    with holding(ctx, "arena") as held:
        if held is None:
            return skipped("no GPU is free", fix=BUSY_FIX)
        prometheus = of(ctx)
        await_pod(ctx, prometheus, held)
        every = interval(prometheus.targets(), "gpu-exporter")
        question = f'{{__name__=~"{"|".join(ARENA)}", pod_name=~"{held.pod}"}}'
        found: list[Sample] = []

        def answered() -> list[Sample] | None:
            found[:] = [s for s in prometheus.query(question) if s.labels.get("namespace_name") == held.namespace]
            return found if {sample.name for sample in found} == set(ARENA) else None

        _patiently(ctx, answered, 4 * every + _SLACK)
    ctx.save("answer.json", [{"name": s.name, "labels": dict(s.labels), "value": s.value} for s in found])
    problems = arena_problems(found, held)
    expected = f"{', '.join(ARENA)} of the pod, with the labels that arena reads"
    if problems:
        return failed(
            expected,
            f"{len(problems)} problems",
            cause="\n".join(problems),
            fix="kubectl -n prometheus describe configmap prometheus-rules; arena-install up mends drift",
        )
    figures = {sample.name: sample.value for sample in found}
    used, total = figures[ARENA[1]] / 2**30, figures[ARENA[2]] / 2**30
    return passed(expected, f"{held.pod} on {held.node}: {figures[ARENA[0]]:g} % busy, {used:.1f} of {total:.1f} GiB")


def _patiently(ctx: Context, look: Callable[[], object | None], seconds: float) -> None:
    """Until `look` gives something, or the time is over: what is missing then is the check's to say."""
    until = time.monotonic() + seconds
    while look() is None and time.monotonic() < until:
        ctx.session.sleep(1, ctx.deadline)


def arena_problems(found: Sequence[Sample], held: Holding) -> list[str]:
    problems = [f"there is no {name} of pod {held.pod}" for name in ARENA if name not in {s.name for s in found}]
    wanted = {"node_name": held.node, "pod_name": held.pod, "container_name": "main", "uuid": held.uuid}
    for sample in found:
        for label, value in wanted.items():
            if (said := sample.labels.get(label, "")) != value:
                problems.append(f"{sample.name}: {label} is {said or 'missing'}, not {value}")
        if not sample.labels.get("minor_number", "").isdigit():
            problems.append(f"{sample.name}: minor_number is no number")
    by_name: dict[str, Object] = {sample.name: {"value": sample.value} for sample in found}
    if not problems and not 0 <= by_name[ARENA[1]]["value"] <= by_name[ARENA[2]]["value"]:
        problems.append("more memory is used than there is")
    if not problems and by_name[ARENA[2]]["value"] < 2**26:
        problems.append(f"the GPU has {by_name[ARENA[2]]['value']:g} bytes: that is no number of bytes")
    return problems
