"""The values that every job chart shares (key `job`, of the library chart arena-common), made of flags. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from arena_cli import fields
from arena_cli.command import command_line
from arena_cli.fields import Object
from arena_cli.flags import Given
from arena_install.errors import ConfigError

#: What GPU frameworks read to see no GPU at all, where a node's runtime would show them all.
_NO_GPU = {"NVIDIA_VISIBLE_DEVICES": "void"}


def command_of(given: Given) -> str:
    line = command_line(given.words)
    if not line.strip():
        raise ConfigError("there is no command to run", fix='put it at the end, in quotes: "python train.py"')
    if "\0" in line:
        raise ConfigError("the command has a NUL character")
    return line


def resources(
    *,
    cpu: str = "",
    memory: str = "",
    cpu_limit: str = "",
    memory_limit: str = "",
    gpus: int = 0,
    devices: Mapping[str, str] | None = None,
    rdma: bool = False,
) -> Object:
    """A container's resources. A cpu or memory without a limit of its own is both, as upstream's charts have it."""
    extended = {
        **({"nvidia.com/gpu": str(gpus)} if gpus else {}),
        **(devices or {}),
        **({"rdma/hca": "1"} if rdma else {}),
    }
    requests = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    limits = {key: value for key, value in (("cpu", cpu_limit or cpu), ("memory", memory_limit or memory)) if value}
    return {key: value for key, value in (("requests", requests), ("limits", {**limits, **extended})) if value}


def role(replicas: int, image: str, command: str, **more: Any) -> Object:
    """One replica type: what differs between the pods of a job. Empty entries are left out."""
    return {"replicas": replicas, "image": image} | {k: v for k, v in {"command": command, **more}.items() if v}


def image_of(given: Given, flag: str = "image", fallback: str = "") -> str:
    text = given.text(flag) or fallback
    if not text:
        raise ConfigError("--image is missing", why="every container needs an image", fix="add --image NAME:TAG")
    return fields.image(f"--{flag}", text)


def job(
    given: Given,
    roles: Mapping[str, Object],
    *,
    gpus: int,
    writer: str,
    pull_secrets: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    together: int = 0,
) -> Object:
    """The shared values. gpus: of the whole job. writer: the role that writes TensorBoard's logs.

    pull_secrets: arena's configuration adds them to the flag's. together: how many pods --gang waits for, if not all.
    """
    pods = together or sum(int(row["replicas"]) for row in roles.values())
    name = fields.job_name(given.text("name"))
    labels = fields.own_labels(given.many("label"))
    if given.has("kueue-queue") and given.text("kueue-queue"):
        queue = {"kueue.x-k8s.io/queue-name": fields.object_name("--kueue-queue", given.text("kueue-queue"))}
    else:
        queue = {}
    mine = fields.env("--env", given.many("env"))
    per_worker = fields.at_least("--gpus", given.number("gpus"), 0, 1024)
    known = {"workers": str(given.number("workers")), "gpus": str(per_worker), **(env or {})}
    values: Object = {
        "labels": labels,
        "jobLabels": queue,
        "annotations": fields.notes("--annotation", given.many("annotation")),
        "requestGPUs": gpus,
        "env": {**(_NO_GPU if not gpus else {}), **known, **mine},
        "workingDir": fields.mount("--working-dir", given.text("working-dir")),
        "shell": given.text("shell"),
        "imagePullPolicy": given.text("image-pull-policy"),
        "imagePullSecrets": list(dict.fromkeys([*pull_secrets, *given.many("image-pull-secret")])),
        "nodeSelector": fields.labels("--selector", given.many("selector")),
        "tolerations": fields.tolerations(given.many("toleration")),
        "priorityClassName": given.text("priority") and fields.object_name("--priority", given.text("priority")),
        "schedulerName": given.text("scheduler"),
        "hostNetwork": given.on("hostNetwork"),
        "hostIPC": given.on("hostIPC"),
        "hostPID": given.on("hostPID"),
        "rdma": given.on("rdma"),
        "sharedMemory": _shm(given),
        "claims": fields.claims(given.many("data")),
        "hostPaths": fields.host_paths(given.many("data-dir")),
        "configFiles": fields.config_files(given.many("config-file")),
        "gang": _gang(given, name, pods),
        "sync": _sync(given, mine),
        "tensorboard": _tensorboard(given, writer),
        "runPolicy": _run_policy(given),
        "roles": dict(roles),
    }
    return {key: value for key, value in values.items() if value not in ("", None, {}, [], False)}


def _shm(given: Given) -> str:
    return fields.memory("--share-memory", given.text("share-memory")) if given.has("share-memory") else ""


def _gang(given: Given, name: str, pods: int) -> Object:
    """Volcano's PodGroup, or the labels of the coscheduling plugin where another scheduler is named."""
    if not given.on("gang"):
        return {}
    scheduler = given.text("scheduler") or "volcano"
    return {"scheduler": scheduler, "minMember": pods, "name": name}


def _sync(given: Given, env: Mapping[str, str]) -> Object:
    mode, source = given.text("sync-mode"), given.text("sync-source")
    if not mode:
        if source:
            raise ConfigError("--sync-source needs --sync-mode", fix="add --sync-mode git, or rsync")
        return {}
    if not source:
        raise ConfigError("--sync-mode needs --sync-source", fix="add --sync-source URL")
    if any(c.isspace() for c in source) or source.startswith("-"):
        raise ConfigError(f"--sync-source: {source!r} is no place", why="it begins with '-' or has a blank in it")
    secret = given.text("sync-secret")
    project = PurePosixPath(source.rstrip("/").replace(":", "/")).name.removesuffix(".git")
    return {
        "mode": mode,
        "source": source,
        "project": project,
        **({"image": fields.image("--sync-image", given.text("sync-image"))} if given.text("sync-image") else {}),
        **({"secret": fields.object_name("--sync-secret", secret)} if secret else {}),
        "env": {key: value for key, value in env.items() if key.startswith("GIT_SYNC_")},
    }


def _tensorboard(given: Given, writer: str) -> Object:
    if not given.on("tensorboard"):
        if given.typed("tensorboard-image"):
            raise ConfigError("--tensorboard-image needs --tensorboard", fix="add --tensorboard")
        return {}
    logs = fields.mount("--logdir", given.text("logdir"))
    shared = [row for row in fields.claims(given.many("data")) if _under(logs, row["path"])]
    image = given.text("tensorboard-image")
    return {
        "logdir": logs,
        "writer": writer,
        "ownVolume": not shared,
        **({"image": fields.image("--tensorboard-image", image)} if image else {}),
    }


def _under(path: str, parent: str) -> bool:
    return path == parent or path.startswith(f"{parent}/")


def _run_policy(given: Given) -> Object:
    found: Object = {}
    if given.has("clean-task-policy"):
        found["cleanPodPolicy"] = given.text("clean-task-policy")
    for flag, key in (("running-timeout", "activeDeadlineSeconds"), ("ttl-after-finished", "ttlSecondsAfterFinished")):
        if given.has(flag) and given.seconds(flag):
            found[key] = given.seconds(flag)
    if given.number("retry"):
        found["backoffLimit"] = fields.at_least("--retry", given.number("retry"))
    return found


def workers(given: Given) -> int:
    return fields.at_least("--workers", given.number("workers"), 1)


def shape(given: Given, gpus: int) -> Object:
    """Resources of a worker, where all workers have one shape."""
    return resources(
        cpu=fields.cpu("--cpu", given.text("cpu")),
        memory=fields.memory("--memory", given.text("memory")),
        gpus=gpus,
        devices=fields.devices(given.many("device"), gpus),
        rdma=given.on("rdma"),
    )


def nproc(given: Given, gpus: int) -> str:
    text = given.text("nproc-per-node")
    if text and text not in ("auto", "cpu", "gpu") and not (text.isdigit() and int(text) > 0):
        raise ConfigError(
            f"--nproc-per-node: {text!r} is no number of processes", fix="write auto, cpu, gpu or 1, 2, ..."
        )
    if text == "gpu" and not gpus:
        raise ConfigError("--nproc-per-node gpu, and no GPU", fix="add --gpus N")
    return text
