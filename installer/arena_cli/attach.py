"""A shell, or a command, in one of a job's pods."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from arena_cli import logs
from arena_cli.kube.shell import run
from arena_cli.look.model import Job
from arena_cli.session import Session
from arena_install.errors import StepError


def attach(session: Session, job: Job, command: Sequence[str]) -> NoReturn:
    """Ends with the command's exit status. Raises StepError where the pod does not run."""
    given = session.given
    pod = logs.pick(job, given.text("instance"))
    name = str(pod["metadata"]["name"])
    if (pod.get("status") or {}).get("phase") != "Running":
        raise StepError(f"instance {name} is not running", fix=f"arena get {job.name} says why")
    container = given.text("container") or str(pod["spec"]["containers"][0]["name"])
    sys.exit(run(session.client, job.namespace, name, container, list(command) or ["sh"]))
