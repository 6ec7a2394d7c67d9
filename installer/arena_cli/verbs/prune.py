"""`arena prune`."""

from __future__ import annotations

from arena_cli.command import Verb
from arena_cli.flags import Flag, Given
from arena_cli.verbs.rows import EVERYWHERE


def _run(given: Given) -> None:
    from arena_cli.remove import prune
    from arena_cli.session import Session

    prune(Session(given))


verb = Verb(
    "prune",
    "Delete jobs that succeeded or failed some time ago.",
    (
        EVERYWHERE,
        Flag(
            "since",
            "time",
            "Those that ended longer ago than this.",
            "",
            short="s",
            required=True,
            better="jobs that wait are left alone; upstream deletes them",
        ),
        Flag("dry-run", "switch", "Only say which.", ours=True),
    ),
    _run,
)
