"""`arena logviewer JOB`."""

from __future__ import annotations

from arena_cli.command import Verb
from arena_cli.flags import Given
from arena_cli.verbs.rows import TYPE


def _run(given: Given) -> None:
    from arena_cli import dashboard, find
    from arena_cli.session import Session
    from arena_cli.verbs.words import one_word

    name = one_word(given, "logviewer", "JOB")
    session = Session(given)
    job, _ = find.one(session.client, session.namespace, name, given.text("type"))
    address = session.settings.logviewer_address.rstrip("/")
    base = "" if address else dashboard.address(session.client)
    if not address and not base:
        print("No LogViewer Installed")
        return
    print("Your LogViewer will be available on:")
    for one in job.instances:
        print(f"  {address}/{job.namespace}/{one.name}" if address else f"  {dashboard.page(base, job, one.name)}")
    if not job.instances and base:
        print(f"  {dashboard.page(base, job)}")


verb = Verb("logviewer", "Print where a job's logs can be read in a browser.", (TYPE,), _run, "JOB")
