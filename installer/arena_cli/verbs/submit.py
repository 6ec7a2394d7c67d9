"""`arena submit KIND`."""

from __future__ import annotations

from functools import partial

from arena_cli.command import Group, Verb
from arena_cli.flags import Given

ALIASES = {
    "tfjob": ("tf",),
    "pytorchjob": ("pytorch",),
    "mpijob": ("mpi", "mj"),
    "horovodjob": ("horovod", "hj"),
    "deepspeedjob": ("dp",),
    "etjob": ("et", "elastic"),
    "volcanojob": ("vj",),
    "appwrapperjob": ("appwrapper", "aw"),
    "rayjob": ("rj",),
    "sparkjob": ("spark",),
}

TITLES = {
    "tfjob": "TensorFlow: parameter servers, workers, chief, evaluator.",
    "pytorchjob": "PyTorch: a master and workers.",
    "mpijob": "MPI: mpirun in a launcher, over all workers.",
    "horovodjob": "Horovod: horovodrun in a launcher.",
    "deepspeedjob": "DeepSpeed: its runner in a launcher.",
    "etjob": "Elastic: torchrun in workers that may come and go.",
    "volcanojob": "A Volcano Job: tasks that start together.",
    "appwrapperjob": "PyTorch or Volcano in an AppWrapper: quota by Kueue, made anew on failure.",
    "rayjob": "Ray (where KubeRay is installed).",
    "sparkjob": "Spark (where its operator is installed).",
}


def _verb(type_: str) -> Verb:
    from arena_cli.jobs.catalogue import RECIPES, elsewhere

    recipe = RECIPES[type_]
    return Verb(type_, TITLES[type_], recipe.flags, partial(_run, type_), recipe.words, elsewhere=elsewhere(type_))


def _run(type_: str, given: Given) -> None:
    from arena_cli.jobs.catalogue import RECIPES
    from arena_cli.submit import submit

    submit(RECIPES[type_], type_, given)


def __getattr__(name: str) -> Verb:
    """One Verb for each kind, made when it is asked for."""
    if name in ALIASES:
        return _verb(name)
    raise AttributeError(name)


group = Group(
    "submit",
    "Submit a training job.",
    {name: (f"arena_cli.verbs.submit:{name}", title) for name, title in TITLES.items()},
    {alias: name for name, others in ALIASES.items() for alias in others},
    path="submit",
)
