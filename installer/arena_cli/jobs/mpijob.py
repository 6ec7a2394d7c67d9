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
#: The operator says where the workers are in variables of Open MPI 4 alone. Open MPI 5, of which PRRTE is the launcher,
#: would start every rank on the launcher's pod, and the job would seem to succeed: the same in its words.
_OPEN_MPI_5 = {
    "PRTE_MCA_prte_default_hostfile": "/etc/mpi/hostfile",
    "PRTE_MCA_prte_keep_fqdn_hostnames": "1",
    "PRTE_MCA_plm_ssh_args": "-o ConnectionAttempts=10",
}
#: For images whose user is not root.
_USER = (
    Flag("ssh-home", "text", "Where SSH's keys go, if the image's user is not root (default: /root/.ssh).", ours=True),
    Flag("worker-command", "text", "What runs in the workers (default: sshd, at port 22).", ours=True),
)
MOUNTS = Flag("mounts-on-launcher", "switch", "Mount the --data volumes in the launcher too.")

MPI = training(
    *SHAPE,
    Flag("gputopology", "switch", "", refused="it is a scheduler of Alibaba's cloud; --selector chooses nodes"),
    MOUNTS,
    *_USER,
    Flag("clean-task-policy", "text", CLEAN.help, "All", choices=CLEAN.choices, old=CLEAN.old),
)
HOROVOD = training(
    Flag("ssh-port", "number", "", refused="pods have a network of their own: 22 is always free"),
    *SHAPE,
    replace(MOUNTS, ours=True),
    *_USER,
)
DEEPSPEED = training(
    *SHAPE,
    replace(MOUNTS, ours=True),
    *_USER,
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
        # Without a command the operator starts sshd, over which the launcher starts the processes.
        "Worker": made.role(
            workers, image, given.text("worker-command"), resources=made.shape(given, gpus), restartPolicy="Never"
        ),
    }
    # The launcher is only made once the workers run: a gang that waited for it too would wait for ever.
    job = made.job(
        given,
        roles,
        gpus=gpus * workers,
        writer="Worker",
        pull_secrets=pull_secrets,
        env=_OPEN_MPI_5,
        together=workers,
    )
    # The operator's default leaves the workers, whose sshd never ends, and their GPUs with them.
    job["runPolicy"] = {"cleanPodPolicy": "Running", **job.get("runPolicy", {})}
    home = given.text("ssh-home")
    keys = {"sshAuthMountPath": fields.mount("--ssh-home", home)} if home else {}
    return {"job": job, "slotsPerWorker": max(gpus, 1), **keys}


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
