"""What the pages show, asked for with the rights of who is logged in."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from arena_cli import find, gather
from arena_cli.kube.client import ApiError, Client, at
from arena_cli.look import nodes, reason, show
from arena_cli.look.model import Job, Object
from arena_cli.look.nodes import Node
from arena_dashboard import monitoring
from arena_dashboard.monitoring import Monitoring
from arena_dashboard.people import Person


@dataclass(frozen=True)
class Overview:
    """reasons: uid of a job -> why it waits or failed. at: Unix seconds. partial: whether GPUs of pods that one may not
    see are held too."""

    at: float
    jobs: Sequence[Job]
    reasons: Mapping[str, str]
    nodes: Sequence[Node]
    partial: bool
    monitoring: Monitoring

    @property
    def held(self) -> int:
        """By the pods that one may see; by all where Prometheus tells."""
        if self.monitoring.gpus:
            return sum(bool(gpu.holders) for gpu in self.monitoring.gpus)
        return sum(node.allocated for node in self.nodes)


@dataclass(frozen=True)
class JobPage:
    at: float
    job: Job
    details: gather.Details
    monitoring: Monitoring


def overview(person: Person) -> Overview:
    client, scope = person.client, person.namespace
    asks: list[Any] = [
        partial(find.jobs, client, scope),
        partial(_nodes, client),
        partial(client.items, at("v1", "pods", scope), fieldSelector="status.phase!=Succeeded,status.phase!=Failed"),
        partial(monitoring.look, client),
    ]
    jobs, listed, pods, watched = client.together(asks)
    return Overview(
        time.time(), jobs, _reasons(client, scope, jobs), nodes.nodes_of(listed, pods), bool(scope), watched
    )


def _nodes(client: Client) -> list[Object]:
    try:
        return list(client.items(at("v1", "nodes")))
    except ApiError:  # not everybody may see them
        return []


def _reasons(client: Client, scope: str, jobs: Sequence[Job]) -> dict[str, str]:
    """Events and queues are asked for only where a job waits."""
    events: list[Object] = []
    queued: list[Object] = []
    if any(job.status in reason.WAITS for job in jobs):
        asks: list[Any] = [
            partial(client.items, at("v1", "events", scope)),
            partial(gather.workloads, client, scope),
        ]
        events, queued = client.together(asks)
    by_space: dict[str, list[Object]] = {}
    for event in events:
        by_space.setdefault(event["metadata"]["namespace"], []).append(event)
    return {
        job.uid: reason.why(job, show.events_of(job, by_space.get(job.namespace, ())), queued)[0]
        for job in jobs
        if job.status in (*reason.WAITS, "FAILED")
    }


def job_page(person: Person, namespace: str, name: str, type_: str) -> JobPage:
    """Raises ConfigError where there is no such job, ApiError where one may not see it."""
    client = person.client
    job, pods = find.one(client, namespace, name, type_)
    asks: list[Any] = [
        partial(gather.details, client, job, pods, events=True),
        partial(monitoring.look, client),
    ]
    details, watched = client.together(asks)
    return JobPage(time.time(), job, details, watched)
