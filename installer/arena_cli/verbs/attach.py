"""`arena attach JOB [-- COMMAND]`."""

from __future__ import annotations

from arena_cli.command import Verb
from arena_cli.flags import Given
from arena_cli.verbs.rows import CONTAINER, INSTANCE, TYPE


def _run(given: Given) -> None:
    import sys

    from arena_cli import find, logs
    from arena_cli.kube.shell import run
    from arena_cli.session import Session
    from arena_cli.verbs.words import some_words
    from arena_install.errors import StepError

    job_name, *command = some_words(given, "attach", "JOB [-- COMMAND]")
    session = Session(given)
    job, _ = find.one(session.client, session.namespace, job_name, given.text("type"))
    pod = logs.pick(job, given.text("instance"))
    name = str(pod["metadata"]["name"])
    if (pod.get("status") or {}).get("phase") != "Running":
        raise StepError(f"instance {name} is not running", fix=f"arena get {job_name} says why")
    container = given.text("container") or str(pod["spec"]["containers"][0]["name"])
    sys.exit(run(session.client, session.namespace, name, container, command or ["sh"]))


verb = Verb(
    "attach",
    "Run a shell, or a command, in a job's pod.",
    (TYPE, INSTANCE, CONTAINER),
    _run,
    "JOB [-- COMMAND]...",
)
