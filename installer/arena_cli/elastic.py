"""More workers for an elastic job, or fewer, within its bounds."""

from __future__ import annotations

import time

from arena_cli import fields, find
from arena_cli.flags import Given
from arena_cli.kinds import BY_TYPE
from arena_cli.kube.client import at
from arena_cli.session import Session
from arena_install.errors import ConfigError, TimedOutError

_POLL = 1.0  # seconds


def scale(given: Given, sign: int) -> None:
    """Raises TimedOutError when the workers are not as many in time; they may still become so."""
    session, name, kind = Session(given), given.text("name"), BY_TYPE["etjob"]
    count = fields.at_least("--count", given.number("count"), 1)
    job, _ = find.one(session.client, session.namespace, name, "etjob")
    spec = job.raw["spec"]
    bounds, before = spec.get("elasticPolicy") or {}, int(spec["pytorchReplicaSpecs"]["Worker"].get("replicas", 1))
    wanted = before + sign * count
    least, most = int(bounds.get("minReplicas", 1)), int(bounds.get("maxReplicas", before))
    if not least <= wanted <= most:
        raise ConfigError(
            f"{name} would have {wanted} workers",
            why=f"it has {before}, and may have {least} to {most}",
            fix="choose another --count; --min-workers and --max-workers are given at submit",
        )
    body = {"spec": {"pytorchReplicaSpecs": {"Worker": {"replicas": wanted}}}}
    session.client.patch(at(kind.api, kind.plural, session.namespace, name), body)
    deadline = time.monotonic() + given.seconds("timeout")
    while True:
        job, _ = find.one(session.client, session.namespace, name, "etjob")
        running = sum(one.status == "Running" for one in job.instances)
        if running == wanted:
            print(f"The job {name} has {wanted} workers")
            return
        if time.monotonic() > deadline:
            raise TimedOutError(
                f"{name} is to have {wanted} workers, {running} of them run yet",
                fix=f"arena get {name} says what they wait for; it goes on by itself",
            )
        time.sleep(_POLL)
