"""TFJob: parameter servers, workers, a chief, an evaluator."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from arena_cli import fields
from arena_cli.fields import Object
from arena_cli.flags import Flag, Given
from arena_cli.jobs import values as made
from arena_cli.jobs.rows import CLEAN, SHM, TIMEOUT, TTL, training

_AFFINITY = ("none", "spread", "binpack")
_ALIBABA = "only Alibaba's TF operator reads it"


def _shape(role: str, title: str, old: str) -> tuple[Flag, ...]:
    return (
        Flag(f"{role}-cpu", "text", f"CPUs of {title}.", old=(f"{old}Cpu",)),
        Flag(f"{role}-cpu-limit", "text", f"Most CPUs of {title}."),
        Flag(f"{role}-memory", "text", f"Memory of {title}.", old=(f"{old}Memory",)),
        Flag(f"{role}-memory-limit", "text", f"Most memory of {title}."),
        Flag(f"{role}-selector", "list", f"A label that the nodes of {title} must have; replaces --selector."),
    )


def _affinity(role: str, title: str) -> tuple[Flag, ...]:
    return (
        Flag(
            f"{role}-affinity-policy",
            "text",
            f"Where {title} go: spread over nodes, or packed.",
            "none",
            choices=_AFFINITY,
        ),
        Flag(
            f"{role}-affinity-constraint",
            "text",
            "Whether that must hold.",
            "preferred",
            choices=("preferred", "required"),
        ),
    )


OWN = (
    Flag("worker-image", "text", "Image of the workers.", old=("workerImage",)),
    Flag("ps-image", "text", "Image of the parameter servers.", old=("psImage",)),
    Flag("ps", "number", "How many parameter servers."),
    Flag("ps-gpus", "number", "GPUs of each parameter server."),
    Flag("ps-port", "number", "Port of the parameter servers.", old=("psPort",)),
    Flag("worker-port", "number", "Port of the workers.", old=("workerPort",)),
    Flag("chief-port", "number", "Port of the chief.", old=("chiefPort",)),
    Flag("chief", "switch", "Have a chief beside the workers."),
    Flag("evaluator", "switch", "Have an evaluator."),
    *_shape("worker", "a worker", "worker"),
    *_shape("ps", "a parameter server", "ps"),
    *_shape("chief", "the chief", "Chief"),
    *_shape("evaluator", "the evaluator", "evaluator"),
    *_affinity("worker", "workers"),
    *_affinity("ps", "parameter servers"),
    Flag("success-policy", "text", "When the job has succeeded.", "ChiefWorker", choices=("ChiefWorker", "AllWorkers")),
    CLEAN,
    TIMEOUT,
    Flag("starting-timeout", "time", "", refused=f"{_ALIBABA}; --running-timeout bounds the whole job"),
    TTL,
    Flag("role-sequence", "text", "", refused=f"{_ALIBABA}; --gang starts all roles together"),
    SHM,
)
FLAGS = training(*OWN)


def values(given: Given, pull_secrets: Sequence[str] = ()) -> Object:
    workers, ps, gpus = made.workers(given), fields.at_least("--ps", given.number("ps")), given.number("gpus")
    ps_gpus = fields.at_least("--ps-gpus", given.number("ps-gpus"), 0, 1024)
    # One worker by itself is a chief: nothing is distributed, and TF_CONFIG would only mislead it.
    alone = ps == 0 and workers == 1 and not given.on("chief")
    command = made.command_of(given)
    roles: dict[str, Object] = {}
    if alone:
        roles["Chief"] = _role(given, "worker", 1, gpus, command)
    elif given.on("chief"):
        roles["Chief"] = _role(given, "chief", 1, gpus, command)
    if not alone:
        roles["Worker"] = _role(given, "worker", workers, gpus, command)
    if ps:
        roles["PS"] = _role(given, "ps", ps, ps_gpus, command)
    if given.on("evaluator"):
        roles["Evaluator"] = _role(given, "evaluator", 1, 0, command)
    total = gpus * (workers + (1 if given.on("chief") else 0)) + ps_gpus * ps
    job = made.job(
        given, roles, gpus=total, writer="Chief" if "Chief" in roles else "Worker", pull_secrets=pull_secrets
    )
    if alone:
        job["annotations"] = {"arena.kubeflow.org/disable-tf-config": "true", **job.get("annotations", {})}
    policy = given.text("success-policy")
    return {"job": job, **({"successPolicy": policy} if policy == "AllWorkers" else {})}


def _role(given: Given, role: str, replicas: int, gpus: int, command: str) -> Object:
    own_image = f"{role}-image" if role in ("worker", "ps") else "image"
    image = made.image_of(given, own_image, given.text("image") or given.text("worker-image"))
    cpu, cpu_limit = (fields.cpu(f"--{role}-{part}", given.text(f"{role}-{part}")) for part in ("cpu", "cpu-limit"))
    memory, most = (
        fields.memory(f"--{role}-{part}", given.text(f"{role}-{part}")) for part in ("memory", "memory-limit")
    )
    fields.not_more(f"--{role}-cpu", cpu, f"--{role}-cpu-limit", cpu_limit)
    fields.not_more(f"--{role}-memory", memory, f"--{role}-memory-limit", most)
    devices = fields.devices(given.many("device"), gpus) if role in ("worker", "chief") else {}
    resources = made.resources(
        cpu=cpu,
        cpu_limit=cpu_limit,
        memory=memory,
        memory_limit=most,
        gpus=gpus,
        devices=devices,
        rdma=given.on("rdma") and role != "evaluator",
    )
    affinity = _policy(given, role) if role in ("worker", "ps") else {}
    return made.role(
        replicas,
        image,
        command,
        resources=resources,
        affinity=affinity,
        port=_port(given, role),
        restartPolicy="OnFailure" if given.number("retry") else "Never",
        nodeSelector=fields.labels(f"--{role}-selector", given.many(f"{role}-selector")),
    )


def _policy(given: Given, role: str) -> Object:
    policy = given.text(f"{role}-affinity-policy")
    if policy == "none":
        return {}
    return {"policy": policy, "required": given.text(f"{role}-affinity-constraint") == "required"}


def _port(given: Given, role: str) -> int:
    """0: the operator's own. On the nodes' network each job and role gets another, so that jobs can share a node."""
    flag = f"{role}-port"
    number = given.number(flag) if given.has(flag) else 0
    if number:
        return fields.port(f"--{flag}", number)
    return 20000 + zlib.crc32(f"{given.text('name')}/{role}".encode()) % 10000 if given.on("hostNetwork") else 0
