"""A PyTorchJob or a Volcano Job in an AppWrapper: admitted by Kueue as a whole, and made anew when it fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from arena_cli import fields
from arena_cli.fields import Object
from arena_cli.flags import Flag, Given
from arena_cli.jobs import pytorchjob
from arena_cli.jobs import values as made
from arena_cli.jobs.rows import CLEAN, NPROC, QUEUE, SHAPE, SHM, TIMEOUT, TTL, training
from arena_install.errors import ConfigError

_DAY = 24 * 3600  # seconds: AppWrapper's bound for each of its periods
_MASTER_PORT = 23456

#: Flag -> the annotation that AppWrapper reads.
PERIODS = {
    "admission-grace-period": "admissionGracePeriodDuration",
    "warmup-grace-period": "warmupGracePeriodDuration",
    "failure-grace-period": "failureGracePeriodDuration",
    "retry-pause-period": "retryPausePeriodDuration",
}
FLAGS = training(
    replace(QUEUE, ours=False),
    CLEAN,
    *SHAPE,
    TIMEOUT,
    TTL,
    SHM,
    NPROC,
    Flag("inner-type", "text", "What is in the AppWrapper.", "pytorch", choices=("pytorch", "volcano")),
    Flag("retry-limit", "number", "How often the job is made anew before it has failed.", 3),
    Flag("admission-grace-period", "time", "How long its pods may take to be made.", "1m"),
    Flag("warmup-grace-period", "time", "How long its pods may take to be ready.", "5m"),
    Flag("failure-grace-period", "time", "How long a failure may last before it counts.", "1m"),
    Flag("retry-pause-period", "time", "The pause before the job is made anew.", "90s"),
    Flag("success-ttl", "time", "Remove the AppWrapper so long after it succeeded.", ""),
    Flag("replicas", "number", "Pods of the Volcano Job.", 1),
    Flag("min-available", "number", "Pods that start together, or none (default: all)."),
    Flag(
        "scheduler-name",
        "text",
        "The scheduler of the Volcano Job.",
        "volcano",
        better="for the Volcano Job alone; upstream's fork gives it to PyTorchJobs too",
    ),
    Flag("task-name", "text", "The Volcano Job's task.", "worker"),
    Flag("max-retry", "number", "How often Volcano itself restarts the job.", 10000),
    Flag("master-port", "number", "The port of MASTER_ADDR.", _MASTER_PORT, better="for PyTorchJobs too"),
    Flag("use-svc-plugin", "switch", "Let Volcano give the pods their names in DNS.", True),
    Flag(
        "network-topology-mode", "text", "Keep the pods close in the network: hard or soft.", choices=("hard", "soft")
    ),
    Flag("highest-tier-allowed", "number", "How far apart they may be at most."),
    Flag("total-partitions", "number", "Split the task into so many partitions."),
    Flag("partition-size", "number", "Pods of each partition."),
    Flag("partition-topology-mode", "text", "Keep each partition close: hard or soft.", choices=("hard", "soft")),
    Flag("partition-highest-tier", "number", "How far apart a partition's pods may be at most."),
    Flag("ring-controller", "text", "The label ring-controller.atlas of Ascend devices, as ascend-1980."),
)
#: Flags that only mean something for one inner type: given for the other, they are an error.
_VOLCANO = (
    "replicas",
    "min-available",
    "scheduler-name",
    "task-name",
    "max-retry",
    "use-svc-plugin",
    "network-topology-mode",
    "highest-tier-allowed",
    "total-partitions",
    "partition-size",
    "partition-topology-mode",
    "partition-highest-tier",
    "ring-controller",
)
_PYTORCH = ("workers", "clean-task-policy", "gang", "retry")
_INSTEAD = {
    "workers": "write --replicas",
    "gang": "its pods always start together, see --min-available",
    "retry": "write --retry-limit, which makes the whole job anew",
}


def values(given: Given, pull_secrets: Sequence[str] = ()) -> Object:
    inner = given.text("inner-type")
    for flag in _PYTORCH if inner == "volcano" else _VOLCANO:
        if given.typed(flag):
            other = "volcano" if inner == "pytorch" else "pytorch"
            fix = _INSTEAD.get(flag, f"add --inner-type {other}, or leave it out")
            raise ConfigError(f"--{flag} means nothing for --inner-type {inner}", fix=fix)
    found = _volcano(given, pull_secrets) if inner == "volcano" else _pytorch(given, pull_secrets)
    return {**found, "inner": inner, "faultTolerance": _fault_tolerance(given)}


def _fault_tolerance(given: Given) -> dict[str, str]:
    found = {}
    for flag, key in PERIODS.items():
        text = given.text(flag)
        if given.seconds(flag) > _DAY:
            raise ConfigError(f"--{flag}: {text} is too long", why="AppWrapper takes at most 24h")
        if text:
            found[key] = text
    found["retryLimit"] = str(fields.at_least("--retry-limit", given.number("retry-limit")))
    if given.seconds("success-ttl"):
        found["successTTLDuration"] = given.text("success-ttl")
    return found


def _pytorch(given: Given, pull_secrets: Sequence[str]) -> Object:
    port = fields.port("--master-port", given.number("master-port"))
    roles = pytorchjob.roles_of(given, port if port != _MASTER_PORT else 0)
    gpus = given.number("gpus")
    job = made.job(given, roles, gpus=gpus * made.workers(given), writer="Master", pull_secrets=pull_secrets)
    nproc = made.nproc(given, gpus)
    return {"job": job, **({"nprocPerNode": nproc} if nproc else {})}


def _volcano(given: Given, pull_secrets: Sequence[str]) -> Object:
    name, task = fields.job_name(given.text("name")), fields.job_name(given.text("task-name"), "--task-name")
    replicas, gpus = fields.at_least("--replicas", given.number("replicas"), 1), given.number("gpus")
    least = fields.at_least("--min-available", given.number("min-available")) or replicas
    if least > replicas:
        raise ConfigError(f"--min-available {least} is more than --replicas {replicas}", fix="write at most as many")
    nproc = _processes(given, gpus)
    port = fields.port("--master-port", given.number("master-port"))
    service = given.on("use-svc-plugin")
    env = {
        # The plugin gives each pod a name in DNS; without it, a Service of ours leads to the first pod alone.
        "MASTER_ADDR": f"{name}-{task}-0.{name}" if service else name,
        "MASTER_PORT": str(port),
        "NNODES": str(replicas),
        "NPROC_PER_NODE": str(nproc),
        "LOCAL_WORLD_SIZE": str(nproc),
        "WORLD_SIZE": str(replicas * nproc),
    }
    ring = given.text("ring-controller")
    worker = made.role(
        replicas,
        made.image_of(given),
        made.command_of(given),
        resources=made.shape(given, gpus),
        restartPolicy="Never",
        port=port,
    )
    job = made.job(given, {task: worker}, gpus=gpus * replicas, writer=task, pull_secrets=pull_secrets, env=env)
    job["env"] = {**job["env"], "workers": str(replicas), **fields.env("--env", given.many("env"))}
    if ring:
        job["labels"] = {**job.get("labels", {}), "ring-controller.atlas": ring}
    job["schedulerName"] = given.text("scheduler") or given.text("scheduler-name")
    volcano: Object = {
        "minAvailable": least,
        "maxRetry": fields.at_least("--max-retry", given.number("max-retry"), 0, 1_000_000),
        "svcPlugin": service,
        "networkTopology": _topology(given, "network-topology-mode", "highest-tier-allowed"),
        "partitionPolicy": _partitions(given, replicas),
    }
    return {"job": job, "volcano": {key: value for key, value in volcano.items() if value != {}}}


def _processes(given: Given, gpus: int) -> int:
    """Of each pod. auto and gpu are one per GPU."""
    text = made.nproc(given, gpus)
    if text in ("auto", "gpu"):
        return max(gpus, 1)
    return int(text) if text.isdigit() else 1


def _topology(given: Given, mode_flag: str, tier_flag: str) -> Object:
    mode, tier = given.text(mode_flag), fields.at_least(f"--{tier_flag}", given.number(tier_flag), 0, 1000)
    if tier and not mode:
        raise ConfigError(f"--{tier_flag} needs --{mode_flag}", fix=f"add --{mode_flag} hard, or soft")
    if not mode:
        return {}
    return {"mode": mode, **({"highestTierAllowed": tier} if tier else {})}


def _partitions(given: Given, replicas: int) -> Object:
    total = fields.at_least("--total-partitions", given.number("total-partitions"))
    size = fields.at_least("--partition-size", given.number("partition-size"))
    topology = _topology(given, "partition-topology-mode", "partition-highest-tier")
    if not total and not size:
        if topology:
            raise ConfigError(
                "--partition-topology-mode needs partitions", fix="add --total-partitions and --partition-size"
            )
        return {}
    if not total or not size:
        raise ConfigError("--total-partitions and --partition-size go together", fix="give both, or neither")
    if total * size != replicas:
        raise ConfigError(
            f"{total} partitions of {size} pods are {total * size} pods, --replicas is {replicas}",
            why="Volcano wants the product to be the number of replicas",
            fix=f"write --replicas {total * size}",
        )
    return {"totalPartitions": total, "partitionSize": size, **({"networkTopology": topology} if topology else {})}
