"""A Volcano Job: one task per image, started together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from arena_cli import fields
from arena_cli.command import command_line
from arena_cli.fields import Object
from arena_cli.flags import Flag, Given, only
from arena_cli.jobs import values as made
from arena_cli.jobs.rows import COMMON, OWN, SHM, TRAINING
from arena_install.errors import ConfigError

_THEIRS = ("name", "annotation", "label")
#: Of the common flags, what upstream's volcanojob lacks and a job needs.
_ADDED = (
    "gpus",
    "device",
    "retry",
    "working-dir",
    "env",
    "data",
    "data-dir",
    "rdma",
    "priority",
    "toleration",
    "selector",
    "config-file",
    "image-pull-secret",
    "image-pull-policy",
    "shell",
    "hostNetwork",
    "hostIPC",
    "hostPID",
)

FLAGS = (
    *only(COMMON, *_THEIRS),
    Flag("min-available", "number", "How many pods start together, or none.", 1, old=("minAvailable",)),
    Flag("queue", "text", "The queue of Volcano.", "default"),
    Flag("scheduler-name", "text", "The scheduler.", "volcano", old=("schedulerName",)),
    Flag("task-name", "text", "Tasks are called so, with a number.", "task", old=("taskName",)),
    Flag(
        "task-images",
        "commas",
        "Images, one task each, with commas or again.",
        ("ubuntu", "nginx", "busybox"),
        old=("taskImages",),
    ),
    Flag("task-replicas", "number", "Pods of each task.", 1, old=("taskReplicas",)),
    Flag("task-cpu", "text", "CPUs of each pod.", "250m", old=("taskCPU",)),
    Flag("task-memory", "text", "Memory of each pod.", "128Mi", old=("taskMemory",)),
    Flag("task-port", "number", "Port of each pod.", 2222, old=("taskPort",)),
    *(replace(flag, ours=True, better="") for flag in only(COMMON, *_ADDED)),
    replace(SHM, default="", ours=True),
    *OWN,
)


def values(given: Given, pull_secrets: Sequence[str] = ()) -> Object:
    full = given.filled(TRAINING)
    replicas = fields.at_least("--task-replicas", given.number("task-replicas"), 1)
    images = [name for item in given.many("task-images") for name in item.split(",") if name]
    if not images:
        raise ConfigError("--task-images is empty", fix="name at least one image")
    gpus = given.number("gpus")
    resources = made.resources(
        cpu=fields.cpu("--task-cpu", given.text("task-cpu")),
        memory=fields.memory("--task-memory", given.text("task-memory")),
        gpus=gpus,
        devices=fields.devices(given.many("device"), gpus),
        rdma=given.on("rdma"),
    )
    task = fields.job_name(given.text("task-name"), "--task-name")
    # Without a command the image's own runs, as upstream has it.
    command = command_line(given.words) if given.words else ""
    roles = {
        f"{task}-{number}": made.role(
            replicas,
            fields.image("--task-images", image),
            command,
            resources=resources,
            restartPolicy="OnFailure",
            port=fields.port("--task-port", given.number("task-port")),
        )
        for number, image in enumerate(images)
    }
    pods = replicas * len(images)
    least = fields.at_least("--min-available", given.number("min-available"), 1)
    if least > pods:
        raise ConfigError(f"--min-available {least} is more than all {pods} pods", fix=f"write at most {pods}")
    job = made.job(full, roles, gpus=gpus * pods, writer="", pull_secrets=pull_secrets)
    job["env"] = {key: value for key, value in job["env"].items() if key != "workers"}
    job["schedulerName"] = given.text("scheduler-name")
    return {"job": job, "minAvailable": least, "queue": fields.object_name("--queue", given.text("queue"))}
