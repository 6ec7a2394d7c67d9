"""Kind of job -> its flags, its values and its chart. Imports every kind: for what needs them, not for each start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from arena_cli.fields import Object
from arena_cli.flags import Flag, Given
from arena_cli.jobs import appwrapperjob, cron, etjob, mpijob, pytorchjob, rayjob, sparkjob, tfjob, volcanojob

Values = Callable[[Given, Sequence[str]], Object]


@dataclass(frozen=True)
class Recipe:
    """chart is also the label `app` and, but for cron, the type."""

    chart: str
    flags: tuple[Flag, ...]
    values: Values
    words: str = "[COMMAND]..."


RECIPES = {
    "tfjob": Recipe("tfjob", tfjob.FLAGS, tfjob.values),
    "pytorchjob": Recipe("pytorchjob", pytorchjob.FLAGS, pytorchjob.values),
    "mpijob": Recipe("mpijob", mpijob.MPI, mpijob.values),
    "horovodjob": Recipe("horovodjob", mpijob.HOROVOD, mpijob.values),
    "deepspeedjob": Recipe("deepspeedjob", mpijob.DEEPSPEED, mpijob.deepspeed),
    "etjob": Recipe("etjob", etjob.FLAGS, etjob.values),
    "volcanojob": Recipe("volcanojob", volcanojob.FLAGS, volcanojob.values),
    "appwrapperjob": Recipe("appwrapperjob", appwrapperjob.FLAGS, appwrapperjob.values),
    "rayjob": Recipe("rayjob", rayjob.FLAGS, rayjob.values),
    "sparkjob": Recipe("sparkjob", sparkjob.FLAGS, sparkjob.values, ""),
}
CRON = Recipe("cron-tfjob", cron.FLAGS, cron.values)


def elsewhere(name: str) -> dict[str, str]:
    """Flag -> the submit command that has it, for those that this one lacks."""
    mine = {spelling for flag in RECIPES[name].flags for spelling in flag.spellings}
    return {
        flag.name: f"submit {other}"
        for other, recipe in reversed(RECIPES.items())
        for flag in recipe.flags
        if f"--{flag.name}" not in mine and not flag.refused
    }
