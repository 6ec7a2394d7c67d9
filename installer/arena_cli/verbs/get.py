"""`arena get JOB`."""

from __future__ import annotations

from arena_cli.command import Verb
from arena_cli.flags import Flag, Given
from arena_cli.verbs.rows import OUTPUT, TYPE, WATCH


def _run(given: Given) -> None:
    import sys
    from functools import partial

    from arena_cli.gather import page
    from arena_cli.session import Session
    from arena_cli.verbs.again import again
    from arena_cli.verbs.words import one_word

    look = partial(page, Session(given), one_word(given, "get", "JOB"))
    if given.on("watch"):
        again(look)
    else:
        sys.stdout.write(look())


verb = Verb(
    "get",
    "Show one job: its pods, why it waits or failed, its TensorBoard.",
    (
        TYPE,
        Flag("events", "switch", "Show what Kubernetes says of it.", short="e"),
        Flag("gpus", "switch", "Show how its GPUs are used, by Prometheus.", short="g"),
        OUTPUT,
        WATCH,
    ),
    _run,
    "JOB",
)
