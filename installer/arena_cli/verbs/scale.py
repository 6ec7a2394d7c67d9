"""`arena scaleout etjob` and `arena scalein etjob`."""

from __future__ import annotations

from functools import partial

from arena_cli.command import Group, Verb
from arena_cli.flags import Flag, Given

_SCRIPT = "torchrun in the workers notices by itself; there is no script to run"
FLAGS = (
    Flag("name", "text", "The elastic job.", required=True),
    Flag("count", "number", "How many workers more, or fewer.", 1),
    Flag("timeout", "time", "How long to wait until they run, or are gone.", "60s", short="t"),
    Flag("retry", "number", "", refused="the operator itself tries again until the workers are there"),
    Flag("script", "text", "", refused=_SCRIPT),
    Flag("env", "list", "", short="e", refused=_SCRIPT),
)


def _run(sign: int, given: Given) -> None:
    from arena_cli.elastic import scale

    scale(given, sign)


more = Verb("etjob", "Give an elastic job more workers.", FLAGS, partial(_run, 1))
fewer = Verb("etjob", "Give an elastic job fewer workers.", FLAGS, partial(_run, -1))
out = Group(
    "scaleout", more.help, {"etjob": ("arena_cli.verbs.scale:more", more.help)}, {"et": "etjob"}, path="scaleout"
)
into = Group(
    "scalein", fewer.help, {"etjob": ("arena_cli.verbs.scale:fewer", fewer.help)}, {"et": "etjob"}, path="scalein"
)
