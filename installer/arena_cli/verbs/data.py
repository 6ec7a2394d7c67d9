"""`arena data list`."""

from __future__ import annotations

from dataclasses import replace

from arena_cli.command import Group, Verb
from arena_cli.flags import Given
from arena_cli.verbs.rows import EVERYWHERE


def _run(given: Given) -> None:
    import sys
    import time

    from arena_cli.kube.client import at
    from arena_cli.look.claims import table
    from arena_cli.session import Session

    session = Session(given)
    found = session.client.items(at("v1", "persistentvolumeclaims", session.scope))
    sys.stdout.write(table(found, time.time(), everywhere=not session.scope))


list_ = Verb("list", "List volume claims: what --data takes.", (replace(EVERYWHERE, ours=True),), _run)
group = Group(
    "data",
    "Volume claims that jobs can use.",
    {"list": ("arena_cli.verbs.data:list_", list_.help)},
    {"ls": "list"},
    path="data",
)
