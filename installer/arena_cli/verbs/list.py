"""`arena list`."""

from __future__ import annotations

from arena_cli.command import Verb
from arena_cli.flags import Given
from arena_cli.verbs.rows import EVERYWHERE, OUTPUT, TYPE, WATCH


def _run(given: Given) -> None:
    import sys
    import time

    from arena_cli import find
    from arena_cli.look import formats
    from arena_cli.session import Session
    from arena_cli.verbs.again import again

    session = Session(given)
    scope = session.scope

    def look() -> str:
        form = given.text("output")
        jobs, pods = find.jobs_and_pods(session.client, scope, given.text("type"))
        boards = find.tensorboards(session.client, scope, pods) if form in ("json", "yaml") else {}
        return formats.show_list(jobs, form, time.time(), everywhere=not scope, boards=boards)

    if given.on("watch"):
        again(look)
    else:
        sys.stdout.write(look())


verb = Verb("list", "List training jobs.", (TYPE, EVERYWHERE, OUTPUT, WATCH), _run, aliases=("ls",))
