"""What checks of Volcano share: its Jobs, queues and priorities, what its scheduler says, and who had a node when."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from arena_install.errors import TimedOutError
from arena_install.verify import pods
from arena_install.verify.checks import clusterwide, jobs
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Object, namespaced, segment
from arena_install.verify.needs import GPU, allocatable
from arena_install.verify.pytorchjob import free_gpus
from arena_install.verify.watch import Change, Watch, watching
from arena_install.verify.workspace import CHECK_LABEL

GROUP = "batch.volcano.sh/v1alpha1"
PARTITION_LABEL = "volcano.sh/partition-id"
FIX = "kubectl -n volcano-system logs deployment/volcano-scheduler"
DOWN = f"kubectl -n volcano-system get pods; {FIX}"
_JOB_LABEL = "volcano.sh/job-name"
_QUEUES = "/apis/scheduling.volcano.sh/v1beta1/queues"
_BAD = ("Failed", "Aborted", "Terminated")


def manifest(
    ctx: Context,
    name: str,
    count: int,
    command: Sequence[str],
    *,
    least: int | None = None,
    gpus: int = 1,
    queue: str = "",
    priority: str = "",
    tier: int = 0,
    partitions: int = 0,
) -> Object:
    """A Job of one task with `count` pods of `gpus` GPUs each; least: how many of them must start together, all by
    default. tier: the highest tier of HyperNodes that it may spread over, 0 for no bound. partitions: so many groups of
    pods, each on one HyperNode of tier 1."""
    limits = {GPU: str(gpus)} if gpus else {}
    task: Object = {
        "name": "worker",
        "replicas": count,
        "template": jobs.template(ctx, "worker", pods.BUSYBOX, command, limits=limits),
    }
    spec: Object = {"schedulerName": "volcano", "minAvailable": count if least is None else least, "maxRetry": 1}
    spec |= {"queue": queue} if queue else {}
    spec |= {"networkTopology": _within(tier)} if tier else {}
    if priority:
        spec["priorityClassName"] = task["template"]["spec"]["priorityClassName"] = priority
    if partitions:
        sizes = {"totalPartitions": partitions, "minPartitions": partitions, "partitionSize": count // partitions}
        task["partitionPolicy"] = {**sizes, "networkTopology": _within(1)}
    meta = {"name": name, "labels": pods.own_labels(ctx)}
    return {"apiVersion": GROUP, "kind": "Job", "metadata": meta, "spec": {**spec, "tasks": [task]}}


def _within(tier: int) -> Object:
    return {"mode": "hard", "highestTierAllowed": tier}


def submit(ctx: Context, *bodies: Object) -> None:
    for body in bodies:
        jobs.submit(ctx, "jobs", GROUP, body)


def remove(ctx: Context, *names: str) -> None:
    """Delete them, and wait until all pods of this check are gone."""
    jobs.remove(ctx, "jobs", GROUP, *names)


def remove_some(ctx: Context, *names: str) -> None:
    """Delete them, others stay: nothing is waited for."""
    namespace = ctx.session.workspaces.get("restricted")
    for name in names:
        ctx.kube.delete(namespaced("jobs", namespace, name, group=GROUP))


def cleared(ctx: Context) -> contextlib.AbstractContextManager[None]:
    """Within it jobs may be left: they go at its end, with what they hold."""
    return jobs.cleared(ctx, "jobs", GROUP)


def phase(state: Object) -> str:
    return str(((state.get("status") or {}).get("state") or {}).get("phase") or "Pending")


def ended(state: Object) -> str:
    """As jobs.finish wants it: "done", why it failed, or "" while it goes on."""
    now = phase(state)
    return "done" if now == "Completed" else f"it is {now}" if now in _BAD else ""


def complete(ctx: Context, *names: str) -> None:
    """Wait until all these jobs are completed. Raises CheckFailed for one that does not complete."""
    namespace = ctx.session.workspaces.get("restricted")

    def look() -> bool | None:
        now = {name: phase(ctx.kube.get(namespaced("jobs", namespace, name, group=GROUP))) for name in names}
        for name, one in now.items():
            if one in _BAD:
                pods.capture(ctx, namespace)
                raise CheckFailed(f"{name} is {one}", cause="its pods did not run to their end", fix=FIX)
        ctx.progress(", ".join(f"{name} {one}" for name, one in now.items()))
        return True if set(now.values()) == {"Completed"} else None

    try:
        ctx.wait(look, f"{' and '.join(names)} to complete", seconds=120, every=0.5)
    except TimedOutError as error:
        pods.capture(ctx, namespace)
        cause = "jobs wait for each other, or for a scheduler that is gone"
        raise CheckFailed(error.what, cause=cause, fix=DOWN) from error


def unschedulable(ctx: Context, name: str, tried: int = 0, seen: Watch | None = None) -> str:
    """Wait until the scheduler has looked at the job and found no room; gives its words. tried: for how many pods it
    must have looked, 0 where the job may be turned away before its pods are made. seen: a watch in which the job may be
    found to have started, against what is expected.

    It puts them into an event about the job's PodGroup, and into a condition only once its pods are made.
    """
    namespace = ctx.session.workspaces.get("restricted")

    def look() -> str | None:
        if seen and bound(list(seen.changes), name):
            return "it was started"
        events = ctx.kube.items(
            namespaced("events", namespace), fieldSelector="reason=Unschedulable,involvedObject.kind=PodGroup"
        )
        mine = [row for row in events if row["involvedObject"]["name"].startswith(f"{name}-")]
        said = sorted({str(row.get("message")) for row in mine})
        if tried:
            return next((text for text in said if text.startswith(f"{tried}/{tried} tasks")), None)
        return next((text for text in said if GPU in text), said[0] if said else None)

    try:
        return ctx.wait(look, "the scheduler to look at the job", seconds=60, every=0.5)
    except TimedOutError as error:
        raise CheckFailed(error.what, cause="Volcano's scheduler or controllers do nothing", fix=DOWN) from error


def evicted(ctx: Context, why: str) -> list[str]:
    """Names of pods that the scheduler says it evicted; why: "preempt" or "reclaim"."""
    namespace = ctx.session.workspaces.get("restricted")
    events = ctx.kube.items(namespaced("events", namespace), fieldSelector="reason=Evict,involvedObject.kind=Pod")
    return sorted({str(row["involvedObject"]["name"]) for row in events if why in str(row.get("message"))})


def configuration(ctx: Context) -> str:
    """The scheduler's, as a text; "" where it has none of its own."""
    found = ctx.kube.find(namespaced("configmaps", "volcano-system", "volcano-scheduler-configmap"))
    return str(((found or {}).get("data") or {}).get("volcano-scheduler.conf", ""))


# ---- what belongs to no namespace -----------------------------------------------------------------------------------


@contextlib.contextmanager
def queues(ctx: Context, weights: Mapping[str, int]) -> Iterator[dict[str, str]]:
    """A Queue of each weight, open; gives their names by the keys of `weights`. Raises CheckFailed."""
    names = {key: clusterwide.name(ctx, key) for key in weights}
    wanted: list[tuple[str, Object]] = []
    for key, weight in weights.items():
        meta = clusterwide.metadata(ctx, names[key])
        body: Object = {"apiVersion": "scheduling.volcano.sh/v1beta1", "kind": "Queue", "metadata": meta}
        wanted.append((_QUEUES, {**body, "spec": {"weight": weight, "reclaimable": True}}))

    def open_() -> bool | None:
        states = [ctx.kube.get(f"{_QUEUES}/{segment(name)}").get("status") or {} for name in names.values()]
        return True if all(state.get("state") == "Open" for state in states) else None

    with clusterwide.made(ctx, wanted, DOWN):
        ctx.wait(open_, "the queues to be open", seconds=30, every=0.3, fix=DOWN)
        yield names


def priorities(ctx: Context, values: Mapping[str, int]) -> contextlib.AbstractContextManager[dict[str, str]]:
    """A PriorityClass of each value; gives their names by the keys of `values`."""
    return clusterwide.priorities(ctx, "scheduling.k8s.io/v1", "PriorityClass", values, DOWN)


# ---- GPUs and pods --------------------------------------------------------------------------------------------------


def open_nodes(ctx: Context) -> list[Object]:
    """GPU nodes that a pod without tolerations can get."""
    nodes = ctx.session.gpu_nodes()
    return [node for node in nodes if not node["spec"].get("taints") and not node["spec"].get("unschedulable")]


def free(ctx: Context) -> dict[str, int]:
    """node -> GPUs there that a pod without tolerations can get."""
    names = [str(node["metadata"]["name"]) for node in open_nodes(ctx)]
    return {name: free_gpus(ctx, name) for name in names}


def offered(ctx: Context) -> dict[str, int]:
    """node -> GPUs there that a pod without tolerations could get if nobody held any."""
    return {str(node["metadata"]["name"]): allocatable(node) for node in open_nodes(ctx)}


def watching_pods(ctx: Context) -> contextlib.AbstractContextManager[Watch]:
    """This check's pods."""
    namespace = ctx.session.workspaces.get("restricted")
    return watching(ctx.kube, namespaced("pods", namespace), labelSelector=f"{CHECK_LABEL}={ctx.label}")


def job_of(change: Change) -> str:
    return str((change.object["metadata"].get("labels") or {}).get(_JOB_LABEL, ""))


def bound(changes: Sequence[Change], job: str) -> dict[str, str]:
    """Pods of a job that ever had a node, in that order, with it."""
    found: dict[str, str] = {}
    for change in changes:
        if job_of(change) == job and change.object["spec"].get("nodeName"):
            found[change.name] = str(change.object["spec"]["nodeName"])
    return found


def held(changes: Sequence[Change], jobs: Sequence[str]) -> list[tuple[float, int]]:
    """(seconds, how many pods of these jobs have a node from then on), whenever that changes."""
    now: dict[str, str] = {}  # pod -> uid
    counts = [(0.0, 0)]
    for change in changes:
        if job_of(change) not in jobs:
            continue
        uid = str(change.object["metadata"].get("uid"))
        if change.over:
            if now.get(change.name) == uid:
                del now[change.name]
        elif change.object["spec"].get("nodeName"):
            now[change.name] = uid
        if len(now) != counts[-1][1]:
            counts.append((change.at, len(now)))
    return counts


def story(changes: Sequence[Change]) -> str:
    """The watch as people read it: one line a change."""
    rows = (
        f"{change.at:7.2f} {change.type:8} {change.name} {change.object['status'].get('phase', '')} "
        f"{change.object['spec'].get('nodeName', '-')}\n"
        for change in changes
    )
    return "".join(rows) or "no pod came up\n"
