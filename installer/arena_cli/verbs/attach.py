"""`arena attach JOB [-- COMMAND]`."""

from __future__ import annotations

from arena_cli.command import Verb
from arena_cli.flags import Given
from arena_cli.verbs.rows import CONTAINER, INSTANCE, TYPE


def _run(given: Given) -> None:
    from arena_cli import find
    from arena_cli.attach import attach
    from arena_cli.session import Session
    from arena_cli.verbs.words import some_words

    name, *command = some_words(given, "attach", "JOB [-- COMMAND]")
    session = Session(given)
    job, _ = find.one(session.client, session.namespace, name, given.text("type"))
    attach(session, job, command)


verb = Verb(
    "attach",
    "Run a shell, or a command, in a job's pod.",
    (TYPE, INSTANCE, CONTAINER),
    _run,
    "JOB [-- COMMAND]...",
)
