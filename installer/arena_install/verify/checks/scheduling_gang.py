"""Suite scheduling, Volcano: all pods of a job start or none does. Told from a watch of the pods, in which nothing is
missing: looking now and then would not see a pod that ran for a moment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from arena_install.errors import TimedOutError
from arena_install.verify import pods
from arena_install.verify.checks import jobs
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Object, namespaced
from arena_install.verify.model import Outcome, failed, passed, skipped
from arena_install.verify.needs import GPU
from arena_install.verify.pytorchjob import BUSY_FIX, free_gpus
from arena_install.verify.registry import check
from arena_install.verify.watch import Change, Watch, watching
from arena_install.verify.workspace import CHECK_LABEL

_GROUP = "batch.volcano.sh/v1alpha1"
_JOB_LABEL = "volcano.sh/job-name"
#: Seconds for which a job without room is watched once the scheduler has said that it has none.
_HOLD = 5.0
_ROUNDS, _MANY_ROUNDS = 3, 20
_FIX = "kubectl -n volcano-system logs deployment/volcano-scheduler"
_DOWN = f"kubectl -n volcano-system get pods; {_FIX}"


@check(
    "scheduling.gang",
    "A job without room for all its pods starts none",
    proves="for N free GPUs, a gang of N+1 never has a pod bound, and a gang of N gets all of its pods and completes",
    needs=("gpu.device-plugin", "component:volcano"),
    holds=("gpu",),
    timeout=240,
    writes=True,
)
def gang(ctx: Context) -> Outcome:
    free = _free(ctx)
    if free < 1:
        return skipped("no GPU is free", fix=BUSY_FIX)
    with _watch(ctx) as seen:
        try:
            _submit(ctx, "too-large", free + 1, 0)
            said = _unschedulable(ctx, "too-large")
            ctx.session.sleep(_HOLD, ctx.deadline)
        finally:
            jobs.remove(ctx, "jobs", _GROUP, "too-large")
        _run(ctx, ["just-fits"], [free])
    ctx.save("bindings.txt", story(seen.changes))
    expected = f"with {free} GPUs free: of {free + 1} pods none is ever bound, of {free} all are, and they complete"
    early, fitting = bound(seen.changes, "too-large"), bound(seen.changes, "just-fits")
    problems = [seen.broken] if seen.broken else []
    if early:
        problems.append(f"{len(early)} pods of the job that has no room were bound: {', '.join(early)}")
    if len(fitting) != free:
        problems.append(f"{len(fitting)} of {free} pods of the job that has room were bound")
    observed = f"{len(early)} of {free + 1} bound ({said}), then {len(fitting)} of {free}"
    data = {"free": free, "changes": len(seen.changes)}
    if problems:
        return failed(expected, observed, cause="\n".join(problems), fix=_FIX, data=data)
    return passed(expected, observed, data=data)


@check(
    "scheduling.gang-rivals",
    "Two jobs never hold each other's last GPU",
    proves=f"two gangs of 60 % of the free GPUs each, submitted at once, both complete, {_ROUNDS} times over",
    needs=("gpu.device-plugin", "component:volcano"),
    holds=("gpu",),
    timeout=300,
    writes=True,
)
def rivals(ctx: Context) -> Outcome:
    return _rounds(ctx, _ROUNDS)


@check(
    "scheduling.gang-rounds",
    "Two jobs never hold each other's last GPU, in many rounds",
    proves=f"two gangs of 60 % of the free GPUs each, submitted at once, both complete, {_MANY_ROUNDS} times over",
    needs=("gpu.device-plugin", "component:volcano"),
    holds=("gpu",),
    timeout=1200,
    writes=True,
    default=False,
)
def many_rounds(ctx: Context) -> Outcome:
    return _rounds(ctx, _MANY_ROUNDS)


def _rounds(ctx: Context, count: int) -> Outcome:
    free = _free(ctx)
    size = -(-free * 6 // 10)
    if size * 2 <= free:
        return skipped(f"{free} GPUs are free, too few for two jobs that do not fit together")
    expected = f"{count} rounds of two jobs of {size} pods on {free} GPUs: each starts when all of it fits, and ends"
    problems: list[str] = []
    with _watch(ctx) as seen:
        for number in range(1, count + 1):
            ctx.progress(f"round {number} of {count}")
            names = [f"round{number}-{rival}" for rival in "ab"]
            _run(ctx, names, [size, size])
            problems += crowded(seen.changes, names, size, free)
    ctx.save("bindings.txt", story(seen.changes))
    problems += [seen.broken] if seen.broken else []
    if problems:
        return failed(expected, f"{len(problems)} problems", cause="\n".join(problems), fix=_FIX)
    return passed(expected, f"{count} rounds, {2 * count} jobs of {size} pods completed", data={"rounds": count})


def _free(ctx: Context) -> int:
    """GPUs that a pod without tolerations can get."""
    open_ = [n for n in ctx.session.gpu_nodes() if not n["spec"].get("taints") and not n["spec"].get("unschedulable")]
    return sum(free_gpus(ctx, str(node["metadata"]["name"])) for node in open_)


def _watch(ctx: Context) -> contextlib.AbstractContextManager[Watch]:
    namespace = ctx.session.workspaces.get("restricted")
    return watching(ctx.kube, namespaced("pods", namespace), labelSelector=f"{CHECK_LABEL}={ctx.label}")


def _submit(ctx: Context, name: str, count: int, seconds: int) -> None:
    part = jobs.template(ctx, "worker", pods.BUSYBOX, ["sleep", str(seconds)], limits={GPU: "1"})
    body: Object = {
        "apiVersion": _GROUP,
        "kind": "Job",
        "metadata": {"name": name, "labels": pods.own_labels(ctx)},
        "spec": {
            "schedulerName": "volcano",
            "minAvailable": count,
            "maxRetry": 1,
            "tasks": [{"name": "worker", "replicas": count, "template": part}],
        },
    }
    jobs.submit(ctx, "jobs", _GROUP, body)


def _unschedulable(ctx: Context, name: str) -> str:
    """Wait until the scheduler has looked at the job and found no room; gives its words.

    It puts them into an event about the job's PodGroup, and into a condition only once its pods are made.
    """
    namespace = ctx.session.workspaces.get("restricted")

    def look() -> str | None:
        events = ctx.kube.items(
            namespaced("events", namespace), fieldSelector="reason=Unschedulable,involvedObject.kind=PodGroup"
        )
        mine = [row for row in events if row["involvedObject"]["name"].startswith(f"{name}-")]
        said = sorted({str(row.get("message")) for row in mine})
        return next((text for text in said if GPU in text), said[0] if said else None)

    try:
        return ctx.wait(look, "the scheduler to look at the job", seconds=60, every=0.5)
    except TimedOutError as error:
        raise CheckFailed(error.what, cause="Volcano's scheduler or controllers do nothing", fix=_DOWN) from error


def _run(ctx: Context, names: Sequence[str], sizes: Sequence[int]) -> None:
    """Submit jobs and wait until all are completed and gone. Raises CheckFailed for one that does not complete."""
    namespace = ctx.session.workspaces.get("restricted")
    for name, size in zip(names, sizes, strict=True):
        _submit(ctx, name, size, 1)

    def look() -> bool | None:
        phases = {name: _phase(ctx, namespace, name) for name in names}
        for name, phase in phases.items():
            if phase in ("Failed", "Aborted", "Terminated"):
                pods.capture(ctx, namespace)
                raise CheckFailed(f"{name} is {phase}", cause="its pods did not run to their end", fix=_FIX)
        ctx.progress(", ".join(f"{name} {phase}" for name, phase in phases.items()))
        return True if set(phases.values()) == {"Completed"} else None

    try:
        ctx.wait(look, f"{' and '.join(names)} to complete", seconds=120, every=0.5)
    except TimedOutError as error:
        pods.capture(ctx, namespace)
        cause = "gangs wait for each other, or for a scheduler that is gone"
        raise CheckFailed(error.what, cause=cause, fix=_DOWN) from error
    jobs.remove(ctx, "jobs", _GROUP, *names)


def _phase(ctx: Context, namespace: str, name: str) -> str:
    state = ctx.kube.get(namespaced("jobs", namespace, name, group=_GROUP))
    return str(((state.get("status") or {}).get("state") or {}).get("phase") or "Pending")


def _job(change: Change) -> str:
    return str((change.object["metadata"].get("labels") or {}).get(_JOB_LABEL, ""))


def bound(changes: Sequence[Change], job: str) -> list[str]:
    """Pods of a job that ever had a node, in that order."""
    found: dict[str, None] = {}
    for change in changes:
        if _job(change) == job and change.object["spec"].get("nodeName"):
            found[change.name] = None
    return list(found)


def crowded(changes: Sequence[Change], names: Sequence[str], size: int, free: int) -> list[str]:
    """What is wrong with how rivals of `size` pods ran on `free` GPUs: one that started without room for all its pods,
    or that did not get them all. One that has started needs a GPU for each pod that has not ended, bound or not."""
    ended: dict[str, set[str]] = {name: set() for name in names}
    started: set[str] = set()
    problems = []
    for change in changes:
        if (name := _job(change)) not in ended:
            continue
        over = change.type == "DELETED" or change.object["status"].get("phase") in ("Succeeded", "Failed")
        if over:
            ended[name].add(change.name)
        elif change.object["spec"].get("nodeName") and name not in started:
            room = free - sum(size - len(ended[other]) for other in started)
            if room < size:
                problems.append(f"{name} started with room for {room} pods, it has {size}")
            started.add(name)
    for name in names:
        if (count := len(bound(changes, name))) != size:
            problems.append(f"{count} of {size} pods of {name} were bound")
    return problems


def story(changes: Sequence[Change]) -> str:
    """The watch as people read it: one line a change."""
    rows = (
        f"{change.at:7.2f} {change.type:8} {change.name} {change.object['status'].get('phase', '')} "
        f"{change.object['spec'].get('nodeName', '-')}\n"
        for change in changes
    )
    return "".join(rows) or "no pod came up\n"
