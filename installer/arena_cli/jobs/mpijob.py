"""MPIJob v2beta1, and what else starts its workers over SSH from a launcher: Horovod and DeepSpeed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from arena_cli import fields
from arena_cli.fields import Object
from arena_cli.flags import Flag, Given
from arena_cli.jobs import values as made
from arena_cli.jobs.rows import CLEAN, SHAPE, training

_KEYS = "the MPI operator makes a key pair for each job by itself"
MOUNTS = Flag("mounts-on-launcher", "switch", "Mount the --data volumes in the launcher too.")

MPI = training(
    *SHAPE,
    Flag("gputopology", "switch", "", refused="it is a scheduler of Alibaba's cloud; --selector chooses nodes"),
    MOUNTS,
    Flag("clean-task-policy", "text", CLEAN.help, "All", choices=CLEAN.choices, old=CLEAN.old),
)
HOROVOD = training(
    Flag("ssh-port", "number", "", refused="pods have a network of their own: 22 is always free"),
    *SHAPE,
    replace(MOUNTS, ours=True),
)
DEEPSPEED = training(
    *SHAPE,
    replace(MOUNTS, ours=True),
    Flag("launcher-selector", "list", "A label that the launcher's node must have, KEY=VALUE."),
    Flag("job-restart-policy", "text", "When a launcher that ends is started again.", choices=("Never", "OnFailure")),
    Flag("job-backoff-limit", "number", "How often the launcher is tried again.", 6),
    Flag("ssh-secret", "text", "", refused=_KEYS),
    Flag("launcher-annotation", "list", "An annotation of the launcher, KEY=VALUE."),
    Flag("worker-annotation", "list", "An annotation of the workers, KEY=VALUE."),
)


def values(given: Given, pull_secrets: Sequence[str] = ()) -> Object:
    gpus, workers, image = given.number("gpus"), made.workers(given), made.image_of(given)
    roles = {
        "Launcher": made.role(
            1,
            image,
            made.command_of(given),
            restartPolicy="Never",
            noGpu=True,
            noData=not (given.has("mounts-on-launcher") and given.on("mounts-on-launcher")),
        ),
        # No command: the operator starts sshd, over which the launcher starts the processes.
        "Worker": made.role(workers, image, "", resources=made.shape(given, gpus), restartPolicy="Never"),
    }
    # The launcher is only made once the workers run: a gang that waited for it too would wait for ever.
    job = made.job(given, roles, gpus=gpus * workers, writer="Worker", pull_secrets=pull_secrets, together=workers)
    return {"job": job, "slotsPerWorker": max(gpus, 1)}


def deepspeed(given: Given, pull_secrets: Sequence[str] = ()) -> Object:
    found = values(given, pull_secrets)
    roles = found["job"]["roles"]
    selector = fields.labels("--launcher-selector", given.many("launcher-selector"))
    if selector:
        roles["Launcher"]["nodeSelector"] = selector
    roles["Launcher"]["restartPolicy"] = given.text("job-restart-policy") or "Never"
    for role in ("Launcher", "Worker"):
        flag = f"{role.lower()}-annotation"
        if mine := fields.notes(f"--{flag}", given.many(flag)):
            roles[role]["annotations"] = mine
    limit = fields.at_least("--job-backoff-limit", given.number("job-backoff-limit"))
    found["job"]["runPolicy"] = {"backoffLimit": limit, **found["job"].get("runPolicy", {})}
    return found
