"""Suite gpu, the part about the GPUs themselves, by NVML: alike, healthy, cool, idle, connected."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Mapping

from arena_install.errors import TimedOutError
from arena_install.verify.checks.gpu_host import healths, verdict
from arena_install.verify.context import Context
from arena_install.verify.health import Gpu, Health
from arena_install.verify.model import Outcome, skipped
from arena_install.verify.registry import check

#: Bits of NVML's mask that mean that hardware holds the clocks down: nvmlClocksEventReasons.
HELD_DOWN = {0x8: "hardware slowdown", 0x20: "software thermal slowdown", 0x40: "hardware thermal slowdown"}
HELD_DOWN |= {0x80: "power brake"}

#: Seconds after which a process on a GPU can't be one whose pod has just ended.
PATIENCE = 45

_IDLE = 0x1  # of the same mask: nothing runs
_JOINED_FABRIC = 3  # NVML_GPU_FABRIC_STATE_COMPLETED

#: Products whose NVLinks are on the board: there, none being active is an error. Elsewhere bridges are optional.
_ON_BOARD = re.compile(r"SXM|HBM3|GB\d00|B[23]00|H200(?! NVL)")


def _lines(seen: Mapping[str, Health]) -> list[tuple[str, Gpu]]:
    """(where, GPU) of every GPU that answers."""
    return [(f"{node}: GPU {gpu.index}", gpu) for node, health in seen.items() for gpu in health.known]


@check(
    "gpu.uniform",
    "GPUs of one kind are alike",
    proves="hosts with one model have as many GPUs, with as much memory and the same VBIOS, and no GPU is known twice",
    needs=("gpu.nvidia-smi",),
    timeout=120,
    writes=True,
)
def uniform(ctx: Context) -> Outcome:
    seen = healths(ctx)
    ctx.save(
        "gpus.json",
        {
            node: [
                {"index": g.index, "uuid": g.uuid, "serial": g.serial, "name": g.name, "vbios": g.vbios,
                 "memory_mib": g.memory_mib}
                for g in health.known
            ]
            for node, health in seen.items()
        },
    )  # fmt: skip
    kinds = Counter(gpu.name for _, gpu in _lines(seen))
    return verdict(
        "one model in each host; hosts of one model agree in number, memory and VBIOS; no UUID or serial number twice",
        uniform_problems(seen),
        "compare the hosts: nvidia-smi --query-gpu=name,serial,uuid,vbios_version,memory.total --format=csv",
        ", ".join(f"{count} x {name}" for name, count in sorted(kinds.items())),
        data={"kinds": dict(kinds)},
    )


def uniform_problems(seen: Mapping[str, Health]) -> list[str]:
    problems = []
    models: dict[str, dict[str, tuple[Gpu, ...]]] = {}  # model -> node -> its GPUs
    for node, health in seen.items():
        names = sorted({gpu.name for gpu in health.known})
        if len(names) > 1:
            problems.append(f"{node}: has GPUs of several models: {', '.join(names)}")
        elif names:
            models.setdefault(names[0], {})[node] = health.known
    for name, hosts in sorted(models.items()):
        counts = {node: len(gpus) for node, gpus in hosts.items()}
        if len(set(counts.values())) > 1:
            problems.append(f"{name}: " + ", ".join(f"{node} has {count}" for node, count in counts.items()))
        for what, key in (("MiB of memory", "memory_mib"), ("VBIOS versions", "vbios")):
            values = {node: sorted({getattr(gpu, key) for gpu in gpus}) for node, gpus in hosts.items()}
            if len({value for here in values.values() for value in here}) > 1:
                told = (f"{node} {' and '.join(map(str, here))}" for node, here in values.items())
                problems.append(f"{name}: {what}: {', '.join(told)}")
    return problems + [twice for key in ("uuid", "serial") for twice in _twice(seen, key)]


def _twice(seen: Mapping[str, Health], key: str) -> list[str]:
    places: dict[str, list[str]] = {}
    for where, gpu in _lines(seen):
        if (value := str(getattr(gpu, key))).strip("0"):  # consumer cards have no serial number, or one of zeros
            places.setdefault(value, []).append(where)
    return [f"{' and '.join(found)} have one {key}: {value}" for value, found in places.items() if len(found) > 1]


@check(
    "gpu.memory",
    "GPU memory is without errors",
    proves="ECC is on where there is any, no error went uncorrected, no row or page waits for a reset to be replaced",
    severity="critical",
    needs=("gpu.nvidia-smi",),
    timeout=120,
    writes=True,
)
def memory(ctx: Context) -> Outcome:
    seen = healths(ctx)
    problems = [f"{where}: {what}" for where, gpu in _lines(seen) for what in memory_problems(gpu)]
    without = sum(gpu.ecc is None for _, gpu in _lines(seen))
    first = problems[0] if problems else ""
    host, index = first.partition(":")[0], first.partition("GPU ")[2].partition(":")[0]
    fix = f"drain {host}, then there: nvidia-smi -i {index} -r (or reboot); have the GPU exchanged if it comes again"
    if "ECC is off" in first:
        fix = f"on host {host}: nvidia-smi -i {index} -e 1, then reboot it"
    observed = f"{len(_lines(seen))} GPUs: no uncorrected error, nothing pending"
    return verdict(
        "ECC on, 0 uncorrected errors, no failed or pending remapping of rows, no page pending retirement",
        problems,
        fix,
        observed + (f"; {without} have no ECC" if without else ""),
    )


def memory_problems(gpu: Gpu) -> list[str]:
    found = {
        "ECC is off": gpu.ecc is False,
        f"{gpu.uncorrected} uncorrected memory errors since the host started": bool(gpu.uncorrected),
        "a faulty row could not be remapped": gpu.remap_failure,
        "a remapped row waits for a reset": gpu.remap_pending,
        "a retired page waits for a reset": gpu.retired_pending,
    }
    return [what for what, there in found.items() if there]


@check(
    "gpu.clocks",
    "No GPU is held down by heat or power",
    proves="no GPU reports a slowdown by hardware, and each is cooler than where that begins",
    needs=("gpu.nvidia-smi",),
    timeout=120,
    writes=True,
)
def clocks(ctx: Context) -> Outcome:
    seen = healths(ctx)
    problems = [f"{where}: {what}" for where, gpu in _lines(seen) for what in clock_problems(gpu)]
    heat = [gpu.temperature for _, gpu in _lines(seen) if gpu.temperature is not None]
    host = problems[0].partition(":")[0] if problems else ""
    return verdict(
        "no hardware slowdown, and a temperature below the threshold of each GPU",
        problems,
        f"on host {host}: nvidia-smi -q -d PERFORMANCE,TEMPERATURE,POWER; look at fans, air flow and power supplies",
        f"{len(_lines(seen))} GPUs, the hottest has {max(heat, default=0)} °C",
        data={"temperature": heat},
    )


def clock_problems(gpu: Gpu) -> list[str]:
    problems = [what for bit, what in HELD_DOWN.items() if gpu.throttle & bit]
    if gpu.temperature is not None and gpu.slowdown_at is not None and gpu.temperature >= gpu.slowdown_at:
        problems.append(f"{gpu.temperature} °C, slows down at {gpu.slowdown_at} °C")
    return problems


@check(
    "gpu.pcie",
    "PCIe links are as wide as they can be",
    proves="every GPU has the lanes that it and its slot can use, and full speed at work; those of a model are alike",
    required=False,  # not every virtual machine shows its GPUs' links
    needs=("gpu.nvidia-smi",),
    timeout=120,
    writes=True,
)
def pcie(ctx: Context) -> Outcome:
    seen = healths(ctx)
    told = [(where, gpu) for where, gpu in _lines(seen) if gpu.pcie.get("width")]
    if not told:
        return skipped("no driver here tells how its GPUs are connected")
    ctx.save("links.json", {where: dict(gpu.pcie) for where, gpu in told})
    problems = [f"{where}: {what}" for where, gpu in told for what in pcie_problems(gpu)] + narrow_slots(seen)
    host = problems[0].partition(":")[0] if problems else ""
    widths = Counter(f"x{gpu.pcie.get('width')}" for _, gpu in told)
    return verdict(
        "width at its maximum; generation too, but for a GPU that rests; one maximum for all GPUs of a model",
        problems,
        f"on host {host}: lspci -vv -d 10de: | grep -e LnkCap: -e LnkSta: ; seat the card anew, look at riser and slot",
        ", ".join(f"{count} GPUs {width}" for width, count in sorted(widths.items())),
    )


def pcie_problems(gpu: Gpu) -> list[str]:
    problems = []
    for key, what, rests in (("width", "lanes", False), ("gen", "generation", bool(gpu.throttle & _IDLE))):
        now, most = gpu.pcie.get(key), gpu.pcie.get(f"{key}_max")
        if now and most and now < most and not rests:  # a link slows down to save power, it does not get narrower
            problems.append(f"its PCIe link has {what} {now} of {most}")
    return problems


def narrow_slots(seen: Mapping[str, Health]) -> list[str]:
    """GPUs whose slot gives less than that of others of their model: for NVML, that is their maximum."""
    most: dict[str, int] = {}
    for _, gpu in _lines(seen):
        most[gpu.name] = max(most.get(gpu.name, 0), gpu.pcie.get("width_max") or 0)
    return [
        f"{where}: its slot has {width} PCIe lanes, that of others of this model {most[gpu.name]}"
        for where, gpu in _lines(seen)
        if (width := gpu.pcie.get("width_max")) and width < most[gpu.name]
    ]


@check(
    "gpu.persistence",
    "The driver stays loaded",
    proves="persistence mode is on: GPUs need no seconds to wake up for each job, and keep their settings",
    severity="minor",
    needs=("gpu.nvidia-smi",),
    timeout=120,
    writes=True,
)
def persistence(ctx: Context) -> Outcome:
    seen = healths(ctx)
    off = [where for where, gpu in _lines(seen) if gpu.persistence is False]
    host = off[0].partition(":")[0] if off else ""
    return verdict(
        "persistence mode on, on every GPU",
        [f"{where}: persistence mode is off" for where in off],
        f"on host {host}: systemctl enable --now nvidia-persistenced, or nvidia-smi -pm 1",
        f"on, on {len(_lines(seen))} GPUs",
    )


@check(
    "gpu.nvlink",
    "NVLinks are up",
    proves="where GPUs are joined by NVLink, all are active without CRC errors, and switches have their fabric manager",
    required=False,
    needs=("gpu.nvidia-smi",),
    timeout=120,
    writes=True,
)
def nvlink(ctx: Context) -> Outcome:
    seen = healths(ctx)
    joined = [(where, gpu) for where, gpu in _lines(seen) if _joined(gpu)]
    if not joined:
        return skipped("no GPU here is joined by NVLink")
    problems = [f"{node}: {what}" for node, health in seen.items() for what in fabric_problems(health)]
    problems += [f"{where}: {what}" for where, gpu in joined for what in link_problems(gpu)]
    host = problems[0].partition(":")[0] if problems else ""
    return verdict(
        "every NVLink active, no CRC errors; beside NVSwitches a fabric manager of the driver's version",
        problems,
        f"on host {host}: nvidia-smi nvlink -s -e; systemctl status nvidia-fabricmanager; dmesg | grep -i nvlink",
        f"{sum(len(gpu.links) for _, gpu in joined)} links of {len(joined)} GPUs active",
    )


def fabric_problems(health: Health) -> list[str]:
    """Of a host with NVSwitches: without the fabric manager no CUDA program starts there."""
    problems = []
    module = health.versions.get("module", "")
    if health.switches and not health.manager:
        problems.append(f"{health.switches} NVSwitches, and no fabric manager runs for them")
    elif health.switches and health.manager != module:
        problems.append(f"the fabric manager is {health.manager}, the driver {module}")
    away = [str(gpu.index) for gpu in health.known if gpu.fabric not in (None, _JOINED_FABRIC)]
    if away:
        problems.append(f"GPU {', '.join(away)} has not joined the fabric of its switches")
    return problems


def _joined(gpu: Gpu) -> bool:
    return any(gpu.links) or (bool(gpu.links) and _ON_BOARD.search(gpu.name) is not None)


def link_problems(gpu: Gpu) -> list[str]:
    down = [str(number) for number, active in enumerate(gpu.links) if not active]
    problems = [f"{len(down)} of {len(gpu.links)} links are down: {', '.join(down)}"] if down else []
    return problems + ([f"{gpu.link_errors} CRC errors on its links"] if gpu.link_errors else [])


@check(
    "gpu.idle",
    "GPUs that nobody was given are idle",
    proves="no process uses a GPU behind the scheduler's back: what checks and jobs measure is theirs",
    needs=("gpu.nvidia-smi",),
    holds=("gpu",),
    timeout=120,
    writes=True,
)
def idle(ctx: Context) -> Outcome:
    seen = healths(ctx)
    problems: list[str] = []

    def look() -> bool | None:
        nonlocal seen, problems
        seen = healths(ctx)
        problems = idle_problems(seen, _given(ctx))
        return None if problems else True

    # what NVML said may be half a minute old: a process of a check that has just ended does not count
    with contextlib.suppress(TimedOutError):
        ctx.wait(look, "processes on GPUs that no pod holds to end", seconds=PATIENCE, every=3)
    given = _given(ctx)
    host = problems[0].partition(":")[0] if problems else ""
    return verdict(
        "no process on a GPU that no pod holds",
        problems,
        f"on host {host}: nvidia-smi; ps -fp PID shows whose it is; end it, or let its owner ask the scheduler",
        f"{sum(gpu.uuid not in given for _, gpu in _lines(seen))} GPUs are free and idle",
    )


def _given(ctx: Context) -> set[str]:
    """UUIDs that the kubelets gave to pods."""
    nodes = ctx.session.gpu_names()
    views = [ctx.session.readers.view(ctx, node) for node in nodes]
    return {uuid for view in views for uuids in view.assigned.values() for uuid in uuids}


def idle_problems(seen: Mapping[str, Health], given: set[str]) -> list[str]:
    """given: UUIDs that the kubelets gave to pods."""
    return [
        f"{where}: in use by process {', '.join(map(str, gpu.processes))} ({gpu.memory_used_mib} MiB), held by no pod"
        for where, gpu in _lines(seen)
        if gpu.processes and gpu.uuid not in given
    ]
