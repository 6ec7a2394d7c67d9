"""Gathers what `arena top` shows."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from arena_cli import find, gather, prometheus
from arena_cli.flags import Given
from arena_cli.kube.client import ApiError, at
from arena_cli.look import formats, text
from arena_cli.look import nodes as rows
from arena_cli.look.formats import Gpus
from arena_cli.look.model import Object
from arena_cli.session import Session
from arena_cli.verbs.again import again
from arena_install.errors import ConfigError
from arena_install.suggest import did_you_mean


def nodes(given: Given, mode: str) -> None:
    """mode: "", none, exclusive, or one of the modes that only Alibaba's scheduler has."""
    if mode in ("topology", "share"):
        raise ConfigError(
            f"--gpu-mode {mode} shows nothing here",
            why="GPUs are shared so by Alibaba's scheduler alone",
            fix="--gpu-mode exclusive shows the nodes with GPUs",
        )
    if given.on("refresh") and not (given.on("details") and len(given.words) == 1):
        raise ConfigError("--refresh needs --details and one node", fix="arena top node NODE -d -r")
    session = Session(given)
    look = partial(_nodes, session, mode)
    if given.on("refresh"):
        again(look, ruler=True)
    else:
        sys.stdout.write(look())


def _nodes(session: Session, mode: str) -> str:
    given, client = session.given, session.client
    asks: list[Any] = [
        partial(client.items, at("v1", "nodes")),
        partial(_pods, session),
        partial(prometheus.of_nodes, session) if given.on("metric") else dict,
    ]
    found, pods, gpus = client.together(asks)
    every = rows.nodes_of(found, pods)
    for name in given.words:
        if name not in [node.name for node in every]:
            raise ConfigError(f"there is no node {name}", fix=did_you_mean(name, [node.name for node in every]))
    shown = [node for node in every if not given.words or node.name in given.words]
    shown = [node for node in shown if not mode or (mode == "exclusive") == bool(node.total)]
    form = given.text("output")
    figures: Mapping[str, Gpus] | None = gpus if given.on("metric") else None
    if form == "name":
        return "".join(f"node/{node.name}\n" for node in shown)
    if form != "wide":
        row = rows.as_dict(shown, figures)
        return text.as_json(row) if form == "json" else text.as_yaml(row)
    return rows.details(shown, figures) if given.on("details") else rows.top(shown, footer=not given.words)


def _pods(session: Session) -> list[Object]:
    """Of all namespaces, as far as one may see them."""
    try:
        return list(
            session.client.items(at("v1", "pods"), fieldSelector="status.phase!=Succeeded,status.phase!=Failed")
        )
    except ApiError as error:
        if error.status != 403:
            raise
        print(
            f"note: only pods of namespace {session.namespace} are counted: you may not see the others", file=sys.stderr
        )
        return list(session.client.items(at("v1", "pods", session.namespace)))


def jobs(given: Given) -> None:
    if len(given.words) > 1:
        raise ConfigError(f"{given.words[1]!r} is one word too many", fix="arena top job [JOB]")
    if given.on("refresh") and not given.words:
        raise ConfigError("--refresh needs a job", fix="arena top job JOB -r")
    session = Session(given)
    look = partial(_job, session, given.words[0]) if given.words else partial(_jobs, session)
    if given.on("refresh"):
        again(look, ruler=True)
    else:
        sys.stdout.write(look())


def _jobs(session: Session) -> str:
    given, now = session.given, time.time()
    found = find.jobs(session.client, session.scope, given.text("type"))
    if given.text("output") != "wide":
        return formats.show_list(found, given.text("output"), now, everywhere=not session.scope)
    return rows.top_jobs(found, now, everywhere=not session.scope)


def _job(session: Session, name: str) -> str:
    given, now = session.given, time.time()
    job, _ = find.one(session.client, session.namespace, name, given.text("type"))
    instance = given.text("instance")
    if instance and instance not in [one.name for one in job.instances]:
        raise ConfigError(
            f"the job {name} has no instance {instance}",
            fix=did_you_mean(instance, [one.name for one in job.instances]),
        )
    gpus = gather.gpus(session, [job]) if job.status == "RUNNING" else {}
    form = given.text("output")
    if form == "name":
        return f"{formats.name(job)}\n"
    if form != "wide":
        row = formats.as_dict(job, now, gpus=gpus)
        return text.as_json(row) if form == "json" else text.as_yaml(row)
    return rows.top_job(job, now, gpus, instance)
