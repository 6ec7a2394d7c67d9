"""`arena top node` and `arena top job`."""

from __future__ import annotations

from arena_cli.command import Group, Verb
from arena_cli.flags import Flag, Given
from arena_cli.verbs.rows import EVERYWHERE, OUTPUT, TYPE

REFRESH = Flag("refresh", "switch", "Again every two seconds, until interrupted.", short="r")
_MODES = {"n": "none", "e": "exclusive", "t": "topology", "s": "share"}


def _node(given: Given) -> None:
    from arena_cli.top import nodes

    nodes(given, _MODES.get(given.text("gpu-mode"), given.text("gpu-mode")))


def _job(given: Given) -> None:
    from arena_cli.top import jobs

    jobs(given)


node = Verb(
    "node",
    "GPUs of the nodes, and who has them.",
    (
        Flag("details", "switch", "A paragraph a node, with its pods.", short="d"),
        REFRESH,
        Flag(
            "gpu-mode",
            "text",
            "Only such nodes: none or exclusive.",
            short="m",
            choices=("n", "none", "e", "exclusive", "t", "topology", "s", "share"),
        ),
        OUTPUT,
        Flag("metric", "switch", "With use and memory, by Prometheus."),
    ),
    _node,
    "[NODE]...",
)
job = Verb(
    "job",
    "GPUs of the jobs, and how they use them.",
    (
        EVERYWHERE,
        OUTPUT,
        REFRESH,
        Flag("instance", "text", "Only this pod of the job.", short="i"),
        TYPE,
    ),
    _job,
    "[JOB]",
)
group = Group(
    "top",
    "Show who uses the GPUs.",
    {"node": ("arena_cli.verbs.top:node", node.help), "job": ("arena_cli.verbs.top:job", job.help)},
    {},
    path="top",
)
