"""`arena delete JOB...`."""

from __future__ import annotations

from arena_cli.command import Verb
from arena_cli.flags import Given
from arena_cli.verbs.rows import TYPE


def _run(given: Given) -> None:
    from arena_cli.remove import delete
    from arena_cli.session import Session
    from arena_cli.verbs.words import some_words

    delete(Session(given), some_words(given, "delete", "JOB..."))


verb = Verb("delete", "Delete jobs.", (TYPE,), _run, "JOB...", aliases=("del",))
