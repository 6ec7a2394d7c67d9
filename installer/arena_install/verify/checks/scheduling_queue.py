"""Suite scheduling, Kueue: exactly as many jobs as the quota has room for run, the next one waits and says why."""

from __future__ import annotations

from collections.abc import Sequence

from arena_install.errors import TimedOutError
from arena_install.verify import pods
from arena_install.verify.checks import jobs, queues
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Object, namespaced
from arena_install.verify.model import Outcome, failed, passed
from arena_install.verify.registry import check
from arena_install.verify.watch import Change, watching
from arena_install.verify.workspace import CHECK_LABEL

_TORCH = "kubeflow.org/v1"
_ROOM = 3  # jobs that fit
_CPU = 20  # milli-CPU of each
_HOLD = 4.0  # seconds for which the last one is seen to wait


@check(
    "scheduling.quota",
    "A queue admits what its quota has room for, and no more",
    proves=f"of {_ROOM + 1} jobs for a quota of {_ROOM}, one waits without pods, says what lacks, and follows",
    needs=("cluster.pods", "component:kueue"),
    timeout=240,
    writes=True,
)
def quota(ctx: Context) -> Outcome:
    namespace = ctx.session.workspaces.get("restricted")
    names = [f"quota-{number}" for number in range(_ROOM + 1)]
    selector = f"{CHECK_LABEL}={ctx.label}"
    with (
        queues.queue(ctx, {"cpu": f"{_ROOM * _CPU}m", "memory": "4Gi"}),
        watching(ctx.kube, namespaced("pods", namespace), labelSelector=selector) as seen,
    ):
        for name in names:
            jobs.submit(ctx, "jobs", queues.JOBS, _job(ctx, name))
        waiting, said = _last(ctx, names)
        ctx.session.sleep(_HOLD, ctx.deadline)
        pods.capture(ctx, namespace)
        most = at_once(seen.changes)
        first = next(name for name in names if name != waiting)
        ctx.kube.delete(namespaced("jobs", namespace, first, group=queues.JOBS))
        queues.await_condition(ctx, waiting, "Admitted")
        for name in names:
            ctx.kube.delete(namespaced("jobs", namespace, name, group=queues.JOBS))
        ctx.wait(lambda: None if pods.found(ctx, namespace) else True, "the check's pods to go", every=0.5)
    expected = f"{_ROOM} of {_ROOM + 1} jobs run, the last one waits for {_CPU}m of cpu, and runs when one has ended"
    problems = [seen.broken] if seen.broken else []
    if most != _ROOM:
        problems.append(f"{most} jobs had pods at once, the quota has room for {_ROOM}")
    if "insufficient unused quota for cpu" not in said or f"{_CPU}m more needed" not in said:
        problems.append(f"the one that waits says: {said}")
    observed = f"{most} had pods at once; the last: {said}"
    if problems:
        return failed(expected, observed, cause="\n".join(problems), fix=queues.DOWN)
    return passed(expected, f"{observed}; then it ran", data={"room": _ROOM, "at_once": most})


@check(
    "scheduling.queued-training",
    "A PyTorchJob waits in a queue and then runs",
    proves="a PyTorchJob whose queue is full is suspended without pods, and is admitted and runs once there is room",
    needs=("cluster.pods", "component:kueue", "component:training-operator"),
    timeout=300,
    writes=True,
)
def queued_training(ctx: Context) -> Outcome:
    namespace = ctx.session.workspaces.get("restricted")
    path = namespaced("pytorchjobs", namespace, "queued", group=_TORCH)
    with queues.queue(ctx, {"cpu": f"{2 * _CPU}m", "memory": "4Gi"}):
        jobs.submit(ctx, "jobs", queues.JOBS, _job(ctx, "holder", count=2))
        queues.await_condition(ctx, "holder", "Admitted")
        jobs.submit(ctx, "pytorchjobs", _TORCH, _torch(ctx))
        said = _why_waiting(ctx, "PyTorchJob", "queued")
        ctx.session.sleep(_HOLD, ctx.deadline)
        state = ctx.kube.get(path)
        suspended = bool(state["spec"].get("runPolicy", {}).get("suspend"))
        names = [str(pod["metadata"]["name"]) for pod in pods.found(ctx, namespace)]
        early = [name for name in names if name.startswith("queued")]
        ctx.kube.delete(namespaced("jobs", namespace, "holder", group=queues.JOBS))
        jobs.finish(
            ctx, "pytorchjobs", _TORCH, "queued",
            ended=torch_ended, controller="kubeflow/training-operator", waits=True,
        )  # fmt: skip
        workload = queues.workload_of(ctx, "PyTorchJob", "queued")
        ctx.save("workload.yaml", workload or {})
        jobs.remove(ctx, "pytorchjobs", _TORCH, "queued")
    expected = "suspended without pods while another job holds the quota, then admitted and succeeded"
    problems = [] if suspended else ["it was not suspended while it waited"]
    problems += [f"it had pods while it waited: {', '.join(early)}"] if early else []
    if workload is None or not jobs.condition(workload, "Admitted"):
        problems.append("Kueue has no admitted Workload for it")
    if problems:
        return failed(expected, said, cause="\n".join(problems), fix=queues.DOWN)
    return passed(expected, f"waited ({said}), then succeeded")


def at_once(changes: Sequence[Change]) -> int:
    """The most pods that were there and not finished at the same time."""
    there: set[str] = set()
    most = 0
    for change in changes:
        if change.over:
            there.discard(change.name)
        else:
            there.add(change.name)
        most = max(most, len(there))
    return most


def torch_ended(state: Object) -> str:
    if jobs.condition(state, "Succeeded"):
        return "done"
    bad = jobs.condition(state, "Failed")
    return str(bad.get("message") or "failed") if bad else ""


def _last(ctx: Context, names: Sequence[str]) -> tuple[str, str]:
    """(the job that waits, what its Workload says), once all others are admitted."""

    def look() -> tuple[str, str] | None:
        found = {name: queues.workload_of(ctx, "Job", name) for name in names}
        waiting = [name for name, workload in found.items() if not (workload and jobs.condition(workload, "Admitted"))]
        ctx.progress(f"{len(names) - len(waiting)} of {len(names)} jobs admitted")
        if len(waiting) == 1 and (said := _message(found[waiting[0]])):
            return waiting[0], said
        return None

    try:
        return ctx.wait(look, f"{_ROOM} jobs to be admitted and one to wait", seconds=90, every=0.5)
    except TimedOutError as error:
        raise CheckFailed(error.what, cause="Kueue admits otherwise than the quota says", fix=queues.DOWN) from error


def _why_waiting(ctx: Context, kind: str, name: str) -> str:
    try:
        return ctx.wait(
            lambda: _message(queues.workload_of(ctx, kind, name)), f"{name} to wait in its queue", seconds=60, every=0.5
        )
    except TimedOutError as error:
        raise CheckFailed(error.what, cause="Kueue took no notice of it", fix=queues.DOWN) from error


def _message(workload: Object | None) -> str | None:
    """Why a workload waits; None where it does not, or nothing is known yet."""
    rows: list[Object] = ((workload or {}).get("status") or {}).get("conditions") or []
    for row in rows:
        if row["type"] == "QuotaReserved" and row["status"] == "False":
            return str(row.get("message"))
    return None


def _job(ctx: Context, name: str, *, count: int = 1) -> Object:
    return queues.job(ctx, name, count=count, cpu=_CPU, command=["sleep", "600"])


def _torch(ctx: Context) -> Object:
    part = jobs.template(ctx, "pytorch", pods.BUSYBOX, ["sh", "-c", "echo rank $RANK of $WORLD_SIZE"], cpu=f"{_CPU}m")
    part["spec"].pop("restartPolicy")
    return {
        "apiVersion": _TORCH,
        "kind": "PyTorchJob",
        "metadata": {"name": "queued", "labels": {**pods.own_labels(ctx), **queues.queued(ctx)}},
        "spec": {
            "runPolicy": {"cleanPodPolicy": "None", "backoffLimit": 0},
            "pytorchReplicaSpecs": {"Master": {"replicas": 1, "restartPolicy": "Never", "template": part}},
        },
    }
