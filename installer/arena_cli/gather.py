"""Everything that the page of one job needs, asked for side by side; what is costly only when it can matter."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from arena_cli import find, prometheus
from arena_cli.kube.client import ApiError, at
from arena_cli.look import formats, reason, show, text
from arena_cli.look.formats import Gpus
from arena_cli.look.model import Job, Object
from arena_cli.session import Session

_LOG_LINES = 10
_WAITS = ("PENDING", "QUEUING", "SUSPENDED", "SUBMITTED")


def page(session: Session, name: str) -> str:
    """As `arena get` prints it, in the form that was asked for."""
    given, client, namespace = session.given, session.client, session.namespace
    job, pods = find.one(client, namespace, name, given.text("type"))
    form, now = given.text("output"), time.time()
    if form == "name":
        return f"{formats.name(job)}\n"
    needs_events = given.on("events") or job.status in _WAITS
    asks: list[Any] = [
        partial(client.find, at("v1", "services", namespace, f"{name}-tensorboard")),
        partial(client.items, at("v1", "events", namespace)) if needs_events else list,
        partial(_workloads, session) if job.status in _WAITS else list,
        partial(gpus, session, [job]) if given.on("gpus") else dict,
    ]
    service, events, workloads, figures = client.together(asks)
    mine = show.events_of(job, events)
    why, log = _why(session, job, mine, workloads)
    board = show.tensorboard(service, pods, name)
    if form in ("json", "yaml"):
        row = formats.as_dict(job, now, board, figures, why)
        return text.as_json(row) if form == "json" else text.as_yaml(row)
    return show.page(
        job,
        now,
        show.Page(why, log, board, mine if given.on("events") else None, figures if given.on("gpus") else None),
    )


def gpus(session: Session, jobs: Sequence[Job]) -> Mapping[str, Gpus]:
    """Pod -> figures of its GPUs, of one namespace."""
    pods = [one.name for job in jobs for one in job.instances if one.gpus]
    return prometheus.of_pods(session, session.namespace, pods)


def _workloads(session: Session) -> list[Object]:
    try:
        api = session.client.preferred("kueue.x-k8s.io")
        return list(session.client.items(at(api, "workloads", session.namespace))) if api else []
    except ApiError:  # a user need not be allowed to see them
        return []


def _why(session: Session, job: Job, events: Sequence[Object], workloads: Sequence[Object]) -> tuple[str, list[str]]:
    """(one line, the log's last lines)"""
    if job.status in _WAITS:
        found = reason.pending(job, events, workloads)
        if found and not found.startswith("crash:"):
            return found, []
    elif job.status != "FAILED":
        return "", []
    failed = reason.failure(job)
    if failed is None:
        return "" if job.status != "FAILED" else _said(job), []
    return failed.text, _log(session, failed)


def _said(job: Job) -> str:
    """What the operator says of a failure whose pods are gone."""
    rows = (job.raw.get("status") or {}).get("conditions") or ()
    return next((str(row.get("message", "")) for row in rows if row.get("type") == "Failed"), "")


def _log(session: Session, failed: reason.Failure) -> list[str]:
    path = at("v1", "pods", session.namespace, failed.pod, "log")
    query = {"container": failed.container or None, "tailLines": _LOG_LINES}
    try:
        said = session.client.text(path, previous="true" if failed.previous else None, **query)
    except ApiError:
        return []
    return [line for line in said.splitlines() if line.strip()]
