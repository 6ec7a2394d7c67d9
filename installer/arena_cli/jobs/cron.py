"""A TFJob again and again, by Kubernetes' own CronJob; upstream's has an operator for it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from arena_cli import fields
from arena_cli.fields import Object
from arena_cli.flags import Flag, Given, without
from arena_cli.jobs import tfjob
from arena_cli.jobs.rows import TENSORBOARD
from arena_install.errors import ConfigError

_MANY = "it belongs to one job, and a cron makes many"

FLAGS = (
    *without(tfjob.FLAGS, "kueue-queue", "gang", "tensorboard", "tensorboard-image", "logdir"),
    Flag("gang", "switch", "", refused=f"{_MANY}: a PodGroup holds the pods of one"),
    *(
        Flag(flag.name, flag.sort, "", old=flag.old, refused=f"{_MANY}: let them write to a --data volume")
        for flag in TENSORBOARD
    ),
    Flag("schedule", "text", "When: minute, hour, day of month, month, day of week.", required=True),
    Flag(
        "concurrency-policy",
        "text",
        "What happens when the last one still runs.",
        "Allow",
        choices=("Allow", "Forbid", "Replace"),
    ),
    Flag("suspend", "switch", "Make it, and let it wait for `arena cron resume`."),
    Flag("deadline", "text", "", refused="Kubernetes' CronJob has no last day; `arena cron suspend` ends it"),
    Flag("history-limit", "number", "How many that ended are kept.", 10),
    Flag(
        "cron-image",
        "text",
        "Image with kubectl and a shell that makes the jobs.",
        "arena-install.local/arena-tools:1.0",
        ours=True,
    ),
)
_FIELD = re.compile(r"^[\d*/,\-A-Za-z?]+$")
_ALIASES = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")


def values(given: Given, pull_secrets: Sequence[str] = ()) -> Object:
    found = tfjob.values(given.filled(tfjob.FLAGS), pull_secrets)
    schedule = given.text("schedule").strip()
    parts = schedule.split()
    if schedule not in _ALIASES and (len(parts) != 5 or not all(_FIELD.match(part) for part in parts)):
        raise ConfigError(
            f"--schedule: {schedule!r} is not a cron line",
            why="it has five parts: minute, hour, day of month, month, day of week",
            fix='write --schedule "0 3 * * *" for every night at three',
        )
    cron = {
        "schedule": schedule,
        "concurrencyPolicy": given.text("concurrency-policy"),
        "suspend": given.on("suspend"),
        "historyLimit": fields.at_least("--history-limit", given.number("history-limit"), 0, 1000),
        "image": fields.image("--cron-image", given.text("cron-image")),
    }
    return {**found, "cron": cron}
