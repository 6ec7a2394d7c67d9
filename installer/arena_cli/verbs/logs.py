"""`arena logs JOB`."""

from __future__ import annotations

from arena_cli.command import Verb
from arena_cli.flags import Flag, Given
from arena_cli.verbs.rows import CONTAINER, INSTANCE, TYPE

LOGS = (
    Flag(
        "follow",
        "switch",
        "Go on as lines come; a pod that has not started yet is waited for.",
        short="f",
        better="waits for a pod that has not started",
    ),
    Flag("since", "time", "Only what is newer than this.", ""),
    Flag("since-time", "text", "Only what came after this moment (RFC 3339)."),
    Flag("tail", "number", "Only so many lines of the end.", -1, short="t"),
    Flag("timestamps", "switch", "Each line with its time."),
    INSTANCE,
    CONTAINER,
)


def _run(given: Given) -> None:
    from arena_cli import logs
    from arena_cli.session import Session
    from arena_cli.verbs.words import one_word

    logs.show(Session(given), one_word(given, "logs", "JOB"))


verb = Verb("logs", "Print a job's log.", (TYPE, *LOGS), _run, "JOB", aliases=("log",))
