"""Deleting jobs: what the ConfigMap lists, the job, the ConfigMap. Jobs without one, as kubectl makes them, too."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import partial

from arena_cli import find, record
from arena_cli.kinds import BY_TYPE, KINDS, kind_of
from arena_cli.kube import resources
from arena_cli.kube.client import Client, at
from arena_cli.look import build, text
from arena_cli.look.model import ENDED
from arena_cli.session import Session
from arena_install.errors import ArenaError, ConfigError, ErrorGroup


def delete(session: Session, names: Sequence[str]) -> None:
    """Every name is tried; those that could not be deleted are told at the end, and the exit code says so."""
    wanted = session.given.text("type")
    errors: list[ArenaError] = []
    for name in dict.fromkeys(names):
        try:
            type_ = _type(session, name, wanted)
            remove(session.client, session.namespace, name, type_)
            print(f"The training job {name} has been deleted successfully")
        except ArenaError as error:
            errors.append(error)
    if errors:
        raise errors[0] if len(errors) == 1 else ErrorGroup(errors)


def _type(session: Session, name: str, wanted: str) -> str:
    """By the ConfigMaps and the custom resources of that name; either may be all that is left of a job."""
    client, namespace = session.client, session.namespace
    kinds = [kind_of(wanted)] if wanted else list(KINDS)
    notes = [at("v1", "configmaps", namespace, record.name(name, kind.type)) for kind in kinds]
    maps = client.together([partial(client.find, path) for path in notes])
    found = [kind.type for kind, there in zip(kinds, maps, strict=True) if there is not None]
    rows = build.resources()
    there = client.each([at(kind.api, kind.plural, namespace, name) for kind, _ in rows], client.find)
    for (kind, _), obj in zip(rows, there, strict=True):
        if obj is not None and not build.is_part(obj):
            found.append(build.type_of(kind, obj))
    found = [type_ for type_ in dict.fromkeys(found) if type_ in {kind.type for kind in kinds}]
    if not found:
        raise find.missing(client, namespace, name, wanted)
    if len(found) > 1:
        raise ConfigError(
            f"there are {len(found)} jobs called {name}",
            why=f"they are of type {' and '.join(found)}",
            fix=f"add --type {found[0]}",
        )
    return found[0]


def remove(client: Client, namespace: str, name: str, type_: str) -> None:
    """The job first: what it owns goes with it, and nothing makes pods anew meanwhile."""
    path = at("v1", "configmaps", namespace, record.name(name, type_))
    note = client.find(path)
    listed = str(((note or {}).get("data") or {}).get("app", "")).splitlines()
    if type_ in BY_TYPE:
        kind = BY_TYPE[type_]
        client.delete(at(kind.api, kind.plural, namespace, name))
    for info in listed:
        where = resources.named(info, namespace)
        if where is None:
            print(f"warning: {info} is of a kind that is not known here and stays", file=sys.stderr)
        else:
            client.delete(where)
    if note is not None:
        client.delete(path)


def prune(session: Session) -> None:
    given = session.given
    since, now = given.seconds("since"), time.time()
    old = [job for job in find.jobs(session.client, session.scope) if job.status in ENDED]
    old = [job for job in old if now - (job.end or job.created) >= since]
    if not old:
        print("No job need to be deleted")
        return
    for job in old:
        where = f"{job.namespace}/{job.name}" if not session.scope else job.name
        ago = text.age(now - (job.end or job.created))
        if given.on("dry-run"):
            print(f"{where} ({job.type}, {job.status}, ended {ago} ago)")
            continue
        remove(session.client, job.namespace, job.name, job.type)
        print(f"The training job {where} has been deleted successfully")
