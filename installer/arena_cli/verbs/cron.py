"""`arena cron ...`."""

from __future__ import annotations

from arena_cli.command import Group, Verb
from arena_cli.flags import Given
from arena_cli.jobs.cron import FLAGS
from arena_cli.verbs.rows import EVERYWHERE, OUTPUT

_V = "arena_cli.verbs.cron"


def _tfjob(given: Given) -> None:
    from arena_cli.jobs.catalogue import CRON
    from arena_cli.submit import submit

    submit(CRON, CRON.chart, given)


def _list(given: Given) -> None:
    from arena_cli.crons import show_all

    show_all(given)


def _get(given: Given) -> None:
    from arena_cli.crons import show

    show(given)


def _suspend(given: Given) -> None:
    from arena_cli.crons import suspend

    suspend(given, True)


def _resume(given: Given) -> None:
    from arena_cli.crons import suspend

    suspend(given, False)


def _delete(given: Given) -> None:
    from arena_cli.crons import delete

    delete(given)


tfjob = Verb("tfjob", "Submit a TFJob by the clock.", FLAGS, _tfjob, "[COMMAND]...")
list_ = Verb("list", "List crons.", (EVERYWHERE, OUTPUT), _list)
get = Verb("get", "Show a cron and the jobs that it made.", (OUTPUT,), _get, "NAME")
suspend = Verb("suspend", "Let crons wait.", (), _suspend, "NAME...")
resume = Verb("resume", "Let crons go on.", (), _resume, "NAME...")
delete = Verb("delete", "Delete crons and their jobs.", (), _delete, "NAME...")
group = Group(
    "cron",
    "Jobs by the clock.",
    {
        "tfjob": (f"{_V}:tfjob", tfjob.help),
        "list": (f"{_V}:list_", list_.help),
        "get": (f"{_V}:get", get.help),
        "suspend": (f"{_V}:suspend", suspend.help),
        "resume": (f"{_V}:resume", resume.help),
        "delete": (f"{_V}:delete", delete.help),
    },
    {"tf": "tfjob", "del": "delete", "ls": "list"},
    path="cron",
)
