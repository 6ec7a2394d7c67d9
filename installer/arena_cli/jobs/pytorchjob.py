"""PyTorchJob: one master and the other workers."""

from __future__ import annotations

from collections.abc import Sequence

from arena_cli.fields import Object
from arena_cli.flags import Given
from arena_cli.jobs import values as made
from arena_cli.jobs.rows import CLEAN, NPROC, SHAPE, SHM, TIMEOUT, TTL, training

FLAGS = training(CLEAN, *SHAPE, TIMEOUT, TTL, SHM, NPROC)


def values(given: Given, pull_secrets: Sequence[str] = ()) -> Object:
    roles = roles_of(given)
    gpus = given.number("gpus")
    job = made.job(given, roles, gpus=gpus * made.workers(given), writer="Master", pull_secrets=pull_secrets)
    nproc = made.nproc(given, gpus)
    return {"job": job, **({"nprocPerNode": nproc} if nproc else {})}


def roles_of(given: Given, port: int = 0) -> dict[str, Object]:
    """port: what the master listens on, where it is not the operator's."""
    workers, command, image = made.workers(given), made.command_of(given), made.image_of(given)
    resources = made.shape(given, given.number("gpus"))
    # A worker that dies is started again by itself; a master only when --retry says so, as upstream has it.
    master = "OnFailure" if given.number("retry") else "Never"
    roles = {"Master": made.role(1, image, command, resources=resources, restartPolicy=master, port=port)}
    if workers > 1:
        roles["Worker"] = made.role(workers - 1, image, command, resources=resources, restartPolicy="OnFailure")
    return roles
