"""Everything that the page of one job needs, asked for side by side; what is costly only when it can matter."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from arena_cli import find, prometheus
from arena_cli.kube.client import ApiError, Client, at
from arena_cli.look import formats, reason, show, text
from arena_cli.look.formats import Gpus
from arena_cli.look.model import Job, Object
from arena_cli.session import Session

_LOG_LINES = 10


@dataclass(frozen=True)
class Details:
    """why: it waits or failed, "" where there is nothing to explain; log: the last lines of what failed first. events:
    all of its own where they were asked for, else only where they tell why."""

    why: str
    log: Sequence[str]
    tensorboard: str
    events: Sequence[Object]


def page(session: Session, name: str) -> str:
    """As `arena get` prints it, in the form that was asked for."""
    given, client, namespace = session.given, session.client, session.namespace
    job, pods = find.one(client, namespace, name, given.text("type"))
    form, now = given.text("output"), time.time()
    if form == "name":
        return f"{formats.name(job)}\n"
    asks: list[Any] = [
        partial(details, client, job, pods, events=given.on("events")),
        partial(gpus, session, [job]) if given.on("gpus") else dict,
    ]
    more, figures = client.together(asks)
    if form in ("json", "yaml"):
        row = formats.as_dict(job, now, more.tensorboard, figures, more.why)
        return text.as_json(row) if form == "json" else text.as_yaml(row)
    return show.page(
        job,
        now,
        show.Page(
            more.why,
            more.log,
            more.tensorboard,
            more.events if given.on("events") else None,
            figures if given.on("gpus") else None,
        ),
    )


def details(client: Client, job: Job, pods: Sequence[Object], *, events: bool) -> Details:
    """pods: of everything that belongs to the job. events: whether they are wanted whatever its status."""
    waits = job.status in reason.WAITS
    asks: list[Any] = [
        partial(client.find, at("v1", "services", job.namespace, f"{job.name}-tensorboard")),
        partial(client.items, at("v1", "events", job.namespace)) if events or waits else list,
        partial(workloads, client, job.namespace) if waits else list,
    ]
    service, happened, queued = client.together(asks)
    mine = show.events_of(job, happened)
    why, failed = reason.why(job, mine, queued)
    log = _log(client, job.namespace, failed) if failed else []
    return Details(why, log, show.tensorboard(service, pods, job.name), mine)


def gpus(session: Session, jobs: Sequence[Job]) -> Mapping[str, Gpus]:
    """Pod -> figures of its GPUs, of one namespace."""
    pods = [one.name for job in jobs for one in job.instances if one.gpus]
    return prometheus.of_pods(session, session.namespace, pods)


def workloads(client: Client, namespace: str) -> list[Object]:
    """Kueue's, of a namespace, "" for all."""
    try:
        api = client.preferred("kueue.x-k8s.io")
        return list(client.items(at(api, "workloads", namespace))) if api else []
    except ApiError:  # a user need not be allowed to see them
        return []


def _log(client: Client, namespace: str, failed: reason.Failure) -> list[str]:
    path = at("v1", "pods", namespace, failed.pod, "log")
    query = {"container": failed.container or None, "tailLines": _LOG_LINES}
    try:
        said = client.text(path, previous="true" if failed.previous else None, **query)
    except ApiError:
        return []
    return [line for line in said.splitlines() if line.strip()]
