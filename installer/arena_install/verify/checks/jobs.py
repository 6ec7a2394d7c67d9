"""What checks of job controllers share: pods of jobs that an ordinary user submits, waiting for a job's end, its why.

Jobs of custom kinds are plain objects here; their pods carry this check's label, so that evidence finds them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from arena_install.errors import ArenaError, TimedOutError
from arena_install.verify import pods
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import ApiError, Object, namespaced
from arena_install.verify.workspace import CHECK_LABEL

#: Seconds until a controller has made the pods of a job that it may start.
PODS_WITHIN = 60.0
_CLEARED_WITHIN = 30.0


def template(
    ctx: Context,
    name: str,
    image: str,
    command: Sequence[str],
    *,
    limits: Mapping[str, str] | None = None,
    cpu: str = "10m",
    payload: str = "",
    labels: Mapping[str, str] | None = None,
) -> Object:
    """A pod template of one container for the namespace "restricted"; no restarts."""
    pod = pods.manifest(ctx, name, image, command, payload=payload, labels=labels)
    container = pod["spec"]["containers"][0]
    container["name"] = name
    container["resources"] = {
        "requests": {"cpu": cpu, "memory": "32Mi", **(limits or {})},
        "limits": {"memory": "512Mi", **(limits or {})},
    }
    return {"metadata": {"labels": pod["metadata"]["labels"]}, "spec": pod["spec"]}


def submit(ctx: Context, kind: str, group: str, body: Object) -> Object:
    """Create a job as an ordinary user of the namespace "restricted". Raises CheckFailed where the API refuses it."""
    namespace = ctx.session.workspaces.get("restricted")
    user = ctx.session.workspaces.user(namespace)
    name = body["metadata"]["name"]
    ctx.save(f"{name}.yaml", body)
    try:
        return user.create(namespaced(kind, namespace, group=group), body)
    except ApiError as error:
        raise CheckFailed(
            f"the API took no {body['kind']} from an ordinary user",
            cause=error.why,
            fix="kubectl get pods -A shows whether the controller's pod runs; arena-install up mends it",
        ) from error


def condition(state: Object, type: str) -> Object | None:
    """A condition that holds."""
    rows: list[Object] = (state.get("status") or {}).get("conditions") or []
    return next((row for row in rows if row.get("type") == type and row.get("status") == "True"), None)


def finish(
    ctx: Context,
    kind: str,
    group: str,
    name: str,
    *,
    ended: Callable[[Object], str],
    controller: str,
    waits: bool = False,
) -> Object:
    """Wait until `ended` says "done"; gives the job's last state.

    ended: of the job's state, "" while it goes on, "done", or why it failed. controller: "namespace/deployment", named
    where no pods are made. waits: whether having no pods is right for a while, as in a queue. Raises CheckFailed.
    """
    namespace = ctx.session.workspaces.get("restricted")
    path = namespaced(kind, namespace, name, group=group)
    since: dict[str, float] = {}
    started = time.monotonic()

    def look() -> Object | None:
        state = ctx.kube.get(path)
        said = ended(state)
        there = pods.found(ctx, namespace)
        if said == "done":
            return state
        if said:
            raise CheckFailed(f"{name} failed", cause=_last_words(ctx, namespace) or said, fix=_LOOK)
        for pod in there:
            if not pod["metadata"].get("deletionTimestamp"):  # one of an earlier job, told to end
                pods.judge(ctx, pod, since)
        if not there and not waits and time.monotonic() > started + PODS_WITHIN:
            raise TimedOutError(f"waited {PODS_WITHIN:.0f} s for pods of {name}")
        phases = [pod["status"].get("phase") for pod in there]
        ctx.progress(f"{name}: {phases.count('Running')} of {len(there)} pods running")
        return None

    try:
        return ctx.wait(look, f"{name} to end", every=1.0)
    except TimedOutError as error:
        home, _, deployment = controller.partition("/")
        none = not pods.found(ctx, namespace)
        raise CheckFailed(
            error.what,
            cause="its controller made no pods" if none else _last_words(ctx, namespace) or "it did not end",
            fix=f"kubectl -n {home} logs deployment/{deployment}" if none else _LOOK,
        ) from error
    finally:
        pods.capture(ctx, namespace)
        if (state := ctx.kube.find(path)) is not None:
            ctx.save(f"{name}-after.yaml", state)


_LOOK = "see the pods' logs and events in the evidence"


def _last_words(ctx: Context, namespace: str) -> str:
    """The last line of a pod that ended badly."""
    for pod in pods.found(ctx, namespace):
        if pod["status"].get("phase") == "Failed":
            lines = ctx.kube.logs(namespace, pod["metadata"]["name"]).strip().splitlines()
            return f"{pod['metadata']['name']}: {lines[-1] if lines else 'ended without a word'}"
    return ""


@contextlib.contextmanager
def cleared(ctx: Context, kind: str, group: str) -> Iterator[None]:
    """At the end, however it ends, none of this check's jobs is left to hold what others need; what takes long to go is
    left to the end of the run."""
    try:
        yield
    finally:
        namespace = ctx.session.workspaces.get("restricted")
        with contextlib.suppress(ArenaError):
            selector = f"{CHECK_LABEL}={ctx.label}"
            for one in ctx.kube.items(namespaced(kind, namespace, group=group), labelSelector=selector):
                ctx.kube.delete(namespaced(kind, namespace, one["metadata"]["name"], group=group))
            until = time.monotonic() + _CLEARED_WITHIN
            while pods.found(ctx, namespace) and time.monotonic() < until:
                time.sleep(0.5)


def remove(ctx: Context, kind: str, group: str, *names: str) -> None:
    """Delete all jobs of this check, and wait until they and their pods are gone."""
    namespace = ctx.session.workspaces.get("restricted")
    paths = [namespaced(kind, namespace, name, group=group) for name in names]
    for path in paths:
        ctx.kube.delete(path)
    ctx.wait(
        lambda: True if not any(map(ctx.kube.find, paths)) and not pods.found(ctx, namespace) else None,
        f"{' and '.join(names)} and their pods to go",
        every=0.5,
    )
