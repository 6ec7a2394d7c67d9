"""Elastic training. Upstream's operator for it lives no more; a PyTorchJob with an elastic policy does the same:
torchrun in every worker, which go on when one is lost or added, between --min-workers and --max-workers."""

from __future__ import annotations

from collections.abc import Sequence

from arena_cli import fields
from arena_cli.fields import Object
from arena_cli.flags import Flag, Given
from arena_cli.jobs import values as made
from arena_cli.jobs.rows import NPROC, SHAPE, SHM, training
from arena_install.errors import ConfigError

_NO_LAUNCHER = "an elastic job has no launcher here: torchrun in each worker finds the others"

FLAGS = training(
    *SHAPE,
    Flag("max-workers", "number", "Most workers that it may have.", 1000),
    Flag("min-workers", "number", "Fewest workers that it goes on with.", 1),
    Flag("spot-instance", "switch", "", refused="only Alibaba's job supervisor reads it"),
    Flag("max-wait-time", "number", "", refused="only Alibaba's job supervisor reads it"),
    Flag("launcher-selector", "list", "", refused=_NO_LAUNCHER),
    Flag("job-restart-policy", "text", "", refused=f"{_NO_LAUNCHER}; --worker-restart-policy is theirs"),
    Flag(
        "worker-restart-policy",
        "text",
        "When a worker that ends is started again (default: OnFailure).",
        choices=("Never", "OnFailure", "Always", "ExitCode"),
    ),
    Flag("job-backoff-limit", "number", "How often the group of workers may be formed anew after a failure.", 6),
    Flag("ssh-secret", "text", "", refused=_NO_LAUNCHER),
    Flag("launcher-annotation", "list", "", refused=_NO_LAUNCHER),
    Flag("worker-annotation", "list", "An annotation of the workers, KEY=VALUE."),
    NPROC.__class__(NPROC.name, NPROC.sort, NPROC.help, ours=True),
    SHM.__class__(SHM.name, SHM.sort, SHM.help, SHM.default, ours=True),
)


def values(given: Given, pull_secrets: Sequence[str] = ()) -> Object:
    workers, gpus = made.workers(given), given.number("gpus")
    least = fields.at_least("--min-workers", given.number("min-workers"), 1)
    most = fields.at_least("--max-workers", given.number("max-workers"), 1)
    if not least <= workers <= most:
        raise ConfigError(
            f"--workers {workers} is not between --min-workers {least} and --max-workers {most}",
            fix="give the three so that min <= workers <= max",
        )
    worker = made.role(
        workers,
        made.image_of(given),
        made.command_of(given),
        resources=made.shape(given, gpus),
        restartPolicy=given.text("worker-restart-policy") or "OnFailure",
        annotations=fields.notes("--worker-annotation", given.many("worker-annotation")),
    )
    job = made.job(
        given, {"Worker": worker}, gpus=gpus * workers, writer="Worker", pull_secrets=pull_secrets, together=least
    )
    restarts = fields.at_least("--job-backoff-limit", given.number("job-backoff-limit"))
    elastic = {"minReplicas": least, "maxReplicas": most, "maxRestarts": restarts}
    nproc = made.nproc(given, gpus)
    return {"job": job, "elastic": elastic, **({"nprocPerNode": nproc} if nproc else {})}
