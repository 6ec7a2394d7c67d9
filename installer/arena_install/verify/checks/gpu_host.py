"""Suite gpu, the part about each host's software: nvidia-smi, the driver, the toolkit, what the driver logged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arena_install.verify import xids
from arena_install.verify.context import Context
from arena_install.verify.health import Health
from arena_install.verify.model import Outcome, failed, passed, skipped
from arena_install.verify.registry import check

#: What nvidia-smi's exit codes mean (its manual page; 18 is NVML's own), and what helps. {node} is filled in.
EXIT_CODES: dict[int, tuple[str, str]] = {
    2: ("it did not understand its arguments", "on host {node}: nvidia-smi --version; is the driver very old?"),
    3: ("the GPU cannot do what was asked", "on host {node}: nvidia-smi -L"),
    4: ("it may not ask", "on host {node}: ls -l /dev/nvidia*"),
    6: ("it found no GPU", "on host {node}: lspci -d 10de: ; take the host out of group gpu if it has none"),
    8: ("a GPU's power cables are not attached", "attach the power cables of the GPUs in host {node}"),
    9: ("the driver is not loaded", "on host {node}: modprobe nvidia; dmesg | grep -i -e nvidia -e nvrm"),
    10: ("the kernel sees a problem with a GPU's interrupts", "on host {node}: dmesg | grep -i nvrm; then reboot"),
    12: ("NVML's library was not found", "arena-install up installs the driver's files on {node} again"),
    13: (
        "NVML's library lacks a function",
        "nvidia-smi and libnvidia-ml of {node} differ in version: arena-install up",
    ),
    14: ("a GPU's infoROM is corrupted", "on host {node}: nvidia-smi -q names the GPU; have it exchanged if it stays"),
    15: ("a GPU has fallen off the bus", "on host {node}: dmesg | grep -i xid; then reboot or power-cycle it"),
    18: (
        "library and kernel module differ in version",
        "reboot host {node}: its driver was changed under a loaded module",
    ),
    124: ("it did not answer in a minute", "on host {node}: dmesg | grep -i -e nvrm -e xid; then reboot"),
    127: ("there is no nvidia-smi", "arena-install up installs it on {node} (or set nvidia_driver_mode)"),
}
_OTHER = ("an error that is not in its manual", "on host {node}: nvidia-smi; dmesg | grep -i nvrm")


def healths(ctx: Context) -> dict[str, Health]:
    """Every GPU node's health by name; starts all readers before it waits for one."""
    names = ctx.session.gpu_names()
    ctx.session.readers.start(ctx, names)
    return {name: ctx.session.readers.health(ctx, name) for name in names}


def verdict(
    expected: str, problems: list[str], fix: str, observed: str, *, data: Mapping[str, Any] | None = None
) -> Outcome:
    """Passed with `observed` where there are no problems, else failed with them as the cause, one a line."""
    if not problems:
        return passed(expected, observed, data=data or {})
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return failed(expected, count, cause="\n".join(problems), fix=fix, data=data or {})


@check(
    "gpu.nvidia-smi",
    "nvidia-smi works on every GPU host",
    proves="the driver answers on every GPU host, and nvidia-smi ends with 0, which it does not for a GPU in trouble",
    severity="critical",
    needs=("cluster.nodes-ready", "fact:gpu"),
    timeout=180,
    writes=True,
)
def nvidia_smi(ctx: Context) -> Outcome:
    seen = healths(ctx)
    for node, health in seen.items():
        ctx.save(f"{node}.txt", health.smi_output + "\n")
    problems = {node: said for node, health in seen.items() if (said := smi_problem(health))}
    fix = next((EXIT_CODES.get(seen[node].smi_code, _OTHER)[1].format(node=node) for node in problems), "")
    return verdict(
        "nvidia-smi ends with 0 on every GPU host",
        [f"{node}: {said}" for node, said in problems.items()],
        fix,
        ", ".join(f"{node}: {len(health.gpus)} GPUs" for node, health in seen.items()),
    )


def smi_problem(health: Health) -> str:
    """What nvidia-smi's exit code says, with its own last line; "" for 0."""
    if not health.smi_code:
        return ""
    said = health.smi_output.strip().splitlines()
    # the last line that is words: a table may follow
    words = next((line.strip() for line in reversed(said) if line.strip() and line.strip()[0] not in "|+"), "")
    return f"exit code {health.smi_code}: {EXIT_CODES.get(health.smi_code, _OTHER)[0]}" + (
        f" ({words})" if words else ""
    )


@check(
    "gpu.driver",
    "One driver version everywhere",
    proves="kernel module, NVML and CUDA library have one version, the same on every GPU host, and the one wanted",
    severity="critical",
    needs=("gpu.nvidia-smi",),
    timeout=120,
    writes=True,
)
def driver(ctx: Context) -> Outcome:
    seen = healths(ctx)
    wanted = {node["metadata"]["name"]: _wanted(ctx, node) for node in ctx.session.gpu_nodes()}
    ctx.save("versions.json", {node: dict(health.versions) for node, health in seen.items()})
    versions = sorted({health.versions["module"] for health in seen.values()})
    return verdict(
        "kernel module, libnvidia-ml and libcuda have one version on all GPU hosts",
        driver_problems(seen, wanted),
        "arena-install up installs one version; where it differs from the loaded module, reboot that host",
        f"{', '.join(versions)} on {len(seen)} hosts",
        data={"driver": versions},
    )


def _wanted(ctx: Context, node: dict[str, Any]) -> str:
    """The version that the inventory names for this host's driver, or the branch with which it begins; "" for none."""
    host = ctx.session.host(node)
    if host is None:
        return ""
    mode = host.vars.get("nvidia_driver_mode", ctx.cluster.config.gpu.driver)
    name = {"simulated": "nvidia_driver_simulated_driver_version", "packages": "nvidia_driver_packages_branch"}
    return str(host.vars.get(name.get(mode, ""), ""))


def driver_problems(seen: Mapping[str, Health], wanted: Mapping[str, str]) -> list[str]:
    problems = []
    names = {"nvml": "libnvidia-ml", "cuda": "libcuda"}
    for node, health in seen.items():
        module = health.versions.get("module", "")
        for key, name in names.items():
            there = health.versions.get(key, "")
            if there != module:
                problems.append(
                    f"{node}: {name} is {there or 'missing'}, the kernel module is {module or 'not loaded'}"
                )
        if (want := wanted.get(node, "")) and module != want and not module.startswith(f"{want}."):
            problems.append(f"{node}: the driver is {module}, the inventory wants {want}")
    kinds: dict[str, list[str]] = {}
    for node, health in seen.items():
        kinds.setdefault(health.versions.get("module", ""), []).append(node)
    if len(kinds) > 1:
        told = (f"{version or 'none'} on {', '.join(nodes)}" for version, nodes in sorted(kinds.items()))
        problems.append(f"drivers differ: {'; '.join(told)}")
    return problems


TURING, BLACKWELL = 6, 10  # NVML's numbers of architectures


@check(
    "gpu.module",
    "The kernel module's flavour fits the GPUs",
    proves="the open or the proprietary kernel module is loaded as the GPUs' generation needs it, one on all hosts",
    required=False,  # a module of old, and a journal that has forgotten its start, do not say which they are
    needs=("gpu.nvidia-smi",),
    timeout=120,
    writes=True,
)
def module(ctx: Context) -> Outcome:
    seen = healths(ctx)
    flavours = {node: health.flavour for node, health in seen.items()}
    ctx.save("flavours.json", flavours)
    if not any(flavours.values()):
        return skipped("no host's driver says which kernel module it is")
    return verdict(
        "the open module for Blackwell and later, the proprietary one before Turing, one flavour on all hosts",
        module_problems(seen),
        "install the other flavour on that host (packages nvidia-open, or nvidia-driver), and reboot it",
        ", ".join(f"{node}: {flavour or 'unknown'}" for node, flavour in flavours.items()),
        data={"flavours": flavours},
    )


def module_problems(seen: Mapping[str, Health]) -> list[str]:
    problems = []
    kinds: dict[str, list[str]] = {}
    for node, health in seen.items():
        if not health.flavour:
            continue
        kinds.setdefault(health.flavour, []).append(node)
        generations = [gpu.architecture for gpu in health.known if gpu.architecture is not None]
        if health.flavour == "proprietary" and max(generations, default=0) >= BLACKWELL:
            problems.append(f"{node}: the proprietary kernel module does not drive GPUs of this generation")
        if health.flavour == "open" and min(generations, default=TURING) < TURING:
            problems.append(f"{node}: the open kernel module does not drive GPUs older than Turing")
    if len(kinds) > 1 and not problems:
        told = (f"{flavour} on {', '.join(nodes)}" for flavour, nodes in sorted(kinds.items()))
        problems.append(f"kernel modules differ: {'; '.join(told)}")
    return problems


@check(
    "gpu.toolkit",
    "The container toolkit describes every GPU",
    proves="the toolkit has the version of the lock, and its CDI description names exactly the GPUs that NVML lists",
    needs=("gpu.nvidia-smi",),
    timeout=120,
    writes=True,
)
def toolkit(ctx: Context) -> Outcome:
    seen = healths(ctx)
    files = getattr(ctx.session.resolved, "files", None) or {}
    locked = str(getattr(files.get("nvidia-ctk"), "version", "")).lstrip("v")
    ctx.save("cdi.json", {node: {"version": h.toolkit, "devices": h.cdi} for node, h in seen.items()})
    versions = sorted({health.toolkit for health in seen.values()})
    return verdict(
        f"nvidia-ctk {locked or 'of one version'}, and a CDI device for each GPU that NVML lists",
        [problem for node, health in seen.items() for problem in toolkit_problems(node, health, locked)],
        "on that host: systemctl restart arena-nvidia-cdi; nvidia-ctk cdi list. A wrong version: arena-install up",
        f"{', '.join(versions)}; " + ", ".join(f"{node}: {len(h.gpus)} GPUs described" for node, h in seen.items()),
    )


def toolkit_problems(node: str, health: Health, locked: str) -> list[str]:
    """locked: the version of the lock, "" if that is not at hand."""
    if health.toolkit_error:
        return [f"{node}: {health.toolkit_error}"]
    problems = []
    if locked and health.toolkit != locked:
        problems.append(f"{node}: nvidia-ctk is {health.toolkit}, the lock says {locked}")
    described = {name for name in health.cdi if name.startswith("GPU-")}
    numbers = [name for name in health.cdi if name.isdigit()]
    real = {gpu.uuid for gpu in health.known}
    if len(numbers) != len(health.gpus):
        problems.append(f"{node}: CDI describes {len(numbers)} GPUs, NVML lists {len(health.gpus)}")
    elif described and described != real:
        problems.append(f"{node}: CDI describes {', '.join(sorted(described - real))}, which NVML does not list")
    return problems


@check(
    "gpu.xid",
    "The driver has reported no GPU error",
    proves="since the driver was loaded, no XID was logged that calls for a reset, a reboot or an exchange",
    severity="critical",
    needs=("cluster.nodes-ready", "fact:gpu"),
    timeout=120,
    writes=True,
)
def xid(ctx: Context) -> Outcome:
    seen = healths(ctx)
    every = [(node, one) for node, health in seen.items() for one in health.xids]
    ctx.save("xids.txt", "".join(f"{n} {x.when} {x.bus} {x.number} {x.text}\n" for n, x in every) or "none\n")
    serious = [(node, one) for node, one in every if one.number not in xids.HARMLESS]
    unread = [f"{node}: {health.journal_error}" for node, health in seen.items() if health.journal_error]
    lines = {f"{node}: XID {one.number} of GPU {one.bus}, {xids.meaning(one.number)}" for node, one in serious}
    fix = f"on host {serious[0][0]}: {xids.remedy(serious[0][1].number)}" if serious else "journalctl -t kernel"
    harmless = len(every) - len(serious)
    return verdict(
        "no XID since the driver was loaded, but for those that a program causes",
        unread + sorted(lines),
        fix,
        f"none on {len(seen)} hosts" + (f", {harmless} that programs caused" if harmless else ""),
        data={"xids": [{"node": node, "xid": one.number, "bus": one.bus} for node, one in every]},
    )
