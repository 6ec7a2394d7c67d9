"""Logs of a job's pod: which pod, which container, and waiting for it to start when they are followed."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from arena_cli import find
from arena_cli.flags import Given
from arena_cli.kube.client import ApiError, at
from arena_cli.look import reason
from arena_cli.look.model import ENDED, Job, Object
from arena_cli.look.show import events_of
from arena_cli.session import Session
from arena_install.errors import ConfigError, StepError
from arena_install.suggest import did_you_mean

_RFC3339 = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")
_POLL = 1.0  # seconds
#: Types whose pods are told by these labels which of them launches the others.
_LAUNCHED = ("mpijob", "horovodjob", "deepspeedjob")
_ROLES = ("training.kubeflow.org/job-role", "training.kubeflow.org/replica-type")


def show(session: Session, name: str) -> None:
    """Raises ConfigError for what can't be meant, StepError for a pod that can't speak yet."""
    query(session.given)
    job, _ = find.one(session.client, session.namespace, name, session.given.text("type"))
    show_job(session, job)


def show_job(session: Session, job: Job) -> None:
    given = session.given
    options = query(given)
    if given.on("follow") and not given.text("instance"):
        job = _launched(session, job)
    pod = pick(job, given.text("instance"))
    if given.on("follow"):
        pod = _started(session, job, pod)
    elif not started(pod):
        job_reason = reason.pending(job, _events(session, job)) or "it waits for its start"
        raise StepError(
            f"instance {pod['metadata']['name']} is not running",
            why=job_reason,
            fix=f"arena logs -f {job.name} waits for it; arena get {job.name} -e says more",
        )
    container = given.text("container") or speaking(pod)
    path = at("v1", "pods", session.namespace, pod["metadata"]["name"], "log")
    if given.on("follow"):
        names = [container] if given.text("container") else _one_after_the_other(session, pod)
        for name in names:
            # What fetches the code is not the job: whoever keeps the log wants the job's own.
            to = sys.stderr if name in _init_states(pod) and not given.text("container") else sys.stdout
            for line in session.client.lines(path, **options, container=name or None, follow="true"):
                print(line, flush=True, file=to)
        return
    sys.stdout.write(session.client.text(path, **options, container=container or None))


def query(given: Given) -> dict[str, Any]:
    """The API's parameters."""
    options: dict[str, Any] = {}
    if given.text("since") and given.text("since-time"):
        raise ConfigError("--since and --since-time exclude each other", fix="give one of them")
    if given.seconds("since"):
        options["sinceSeconds"] = given.seconds("since")
    if moment := given.text("since-time"):
        if not _RFC3339.match(moment):
            raise ConfigError(f"--since-time: {moment!r} is not a moment", fix="write 2026-11-22T10:00:00Z")
        options["sinceTime"] = moment
    if given.number("tail") >= 0:
        options["tailLines"] = given.number("tail")
    elif given.typed("tail") and given.number("tail") != -1:
        raise ConfigError(f"--tail: {given.number('tail')} lines are none", fix="write 0 or more, -1 for all")
    if given.on("timestamps"):
        options["timestamps"] = "true"
    return options


def pick(job: Job, instance: str) -> Object:
    """The pod of that name, or the chief. Raises ConfigError with all names where neither is there."""
    names = [one.name for one in job.instances]
    if not names:
        raise StepError(f"the job {job.name} has no pods", why=f"it is {job.status}", fix=f"arena get {job.name} -e")
    if instance:
        if instance not in names:
            raise ConfigError(f"the job {job.name} has no instance {instance}", fix=did_you_mean(instance, names))
        return job.pods[names.index(instance)]
    if len(names) == 1:
        return job.pods[0]
    if job.chief is None:
        raise ConfigError(
            f"There is {len(names)} instances have been found:\n" + "\n".join(names),
            fix="please use '-i' or '--instance' to filter.",
        )
    return job.pods[names.index(job.chief.name)]


def started(pod: Object) -> bool:
    """Whether any of its containers, the init containers too, has something to say."""
    status = pod.get("status") or {}
    if status.get("phase") not in ("Pending", None):
        return True
    rows = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return any({"running", "terminated"} & set(row.get("state") or ()) for row in rows)


def speaking(pod: Object) -> str:
    """The init container that works now (it fetches the code), else the job's own container, "" for the only one."""
    status = pod.get("status") or {}
    for row in status.get("initContainerStatuses") or ():
        state = row.get("state") or {}
        if "running" in state or (state.get("terminated") or {}).get("exitCode"):
            return str(row["name"])
    containers: Sequence[Object] = (pod.get("spec") or {}).get("containers") or ()
    return str(containers[0]["name"]) if len(containers) > 1 else ""


def _started(session: Session, job: Job, pod: Object) -> Object:
    """Waits, and says once what for."""
    told = ""
    path = at("v1", "pods", session.namespace, pod["metadata"]["name"])
    while not started(pod):
        why = reason.pending(job, _events(session, job))
        if why and why != told:
            print(f"note: {why}", file=sys.stderr)
            told = why
        time.sleep(_POLL)
        pod = session.client.get(path)
    return pod


def _launched(session: Session, job: Job) -> Job:
    """The job when its launcher is there, which comes after the workers and speaks for all."""
    told = False
    while job.type in _LAUNCHED and job.status not in ENDED and not any(map(_is_launcher, job.pods)):
        if not told:
            print("note: it waits for the launcher, which starts when the workers are ready", file=sys.stderr)
            told = True
        time.sleep(_POLL)
        job, _ = find.one(session.client, session.namespace, job.name, job.type)
    return job


def _is_launcher(pod: Object) -> bool:
    return "launcher" in ((pod["metadata"].get("labels") or {}).get(key) for key in _ROLES)


def _one_after_the_other(session: Session, pod: Object) -> Iterator[str]:
    """Names of the containers to listen to: init containers from the one that works now, then the job's own."""
    path = at("v1", "pods", session.namespace, pod["metadata"]["name"])
    heard: str | None = None
    while (name := speaking(pod)) != heard:
        if _has_begun(pod, name):
            yield name
            heard = name
        if name == heard and name not in _init_states(pod):
            return
        pod = session.client.get(path)
        while not _has_begun(pod, speaking(pod)) or "running" in _init_states(pod).get(str(heard), ()):
            time.sleep(_POLL)  # until its kubelet says that the one has ended, and the next one has begun
            pod = session.client.get(path)


def _init_states(pod: Object) -> dict[str, Object]:
    rows = (pod.get("status") or {}).get("initContainerStatuses") or ()
    return {str(row["name"]): row.get("state") or {} for row in rows}


def _has_begun(pod: Object, name: str) -> bool:
    states = _init_states(pod)
    if name in states:
        return bool({"running", "terminated"} & set(states[name]))
    return (pod.get("status") or {}).get("phase") not in ("Pending", None)


def _events(session: Session, job: Job) -> list[Object]:
    try:
        return events_of(job, session.client.items(at("v1", "events", session.namespace)))
    except ApiError:
        return []
