"""Suite training, the drill: a worker of a running job is killed, and the job gets over it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from arena_install.verify import pods, pytorchjob
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Object, namespaced
from arena_install.verify.model import Outcome, failed, passed, skipped
from arena_install.verify.records import records
from arena_install.verify.registry import check

_WORLD = 2
_STEPS = 150  # of a tenth of a second: time enough to be killed in
_RETRIES = 6
_AGAIN = 60.0  # seconds in which the operator has to make the worker again


@dataclass
class _Victim:
    """The worker that is killed: what it was, and since when it is gone."""

    name: str
    uid: str = ""
    killed: float = 0.0
    seconds: float = 0.0  # until another one was there
    fresh: str = ""  # its uid


@check(
    "training.recovers",
    "A job survives the loss of a worker",
    proves="a worker's pod that is killed is made again, the others start over (OnFailure), and the job succeeds",
    required=False,  # where jobs hold the GPUs
    needs=("training.job",),
    holds=("gpu",),
    timeout=420,
    writes=True,
    default=False,
    alone=True,
)
def recovers(ctx: Context) -> Outcome:
    nodes = ctx.session.gpu_names()
    free = sum(pytorchjob.free_gpus(ctx, node) for node in nodes)
    if free < _WORLD:
        return skipped(f"{free} GPUs are free, {_WORLD} are needed", fix=pytorchjob.BUSY_FIX)
    namespace = ctx.session.workspaces.get("baseline")
    command = ["python3", "/payload/drill.py", f"--steps={_STEPS}"]
    job = pytorchjob.Job("drill", command, _WORLD, nodes, restart="OnFailure", retries=_RETRIES)
    pytorchjob.submit(ctx, job, namespace)
    victim = _Victim(f"{job.name}-worker-0")
    state = pytorchjob.await_success(
        ctx, job, namespace, watch=lambda there: _strike(ctx, namespace, victim, there), judged=False
    )
    ctx.save("pytorchjob-after.yaml", state)
    pods.capture(ctx, namespace)
    finals = [row for rows in pytorchjob.heard(ctx, namespace).values() for row in rows if row["kind"] == "final"]
    pytorchjob.remove(ctx, job, namespace)
    expected = f"{victim.name} is made again within {_AGAIN:.0f} s of its end, and all {_WORLD} replicas finish"
    if not victim.fresh or len(finals) != _WORLD:
        told = "the job ended before its worker could be killed" if not victim.uid else ""
        return failed(
            expected,
            f"{len(finals)} of {_WORLD} replicas finished",
            cause=told or "the job says that it succeeded, and not every replica does",
            fix="see the replicas' logs in the evidence; kubectl -n kubeflow logs deployment/training-operator",
        )
    return passed(
        expected,
        f"made again after {victim.seconds:.0f} s, the job succeeded in {pytorchjob.seconds(state)}",
        data={"again_s": victim.seconds},
    )


def _strike(ctx: Context, namespace: str, victim: _Victim, there: list[Object]) -> None:
    """Kill the worker once all replicas work, and see that another one comes. Raises CheckFailed if none does."""
    uid = next((str(pod["metadata"]["uid"]) for pod in there if pod["metadata"]["name"] == victim.name), "")
    if not victim.killed:
        names = [str(pod["metadata"]["name"]) for pod in there]
        working = [name for name in names if records(ctx.kube.logs(namespace, name, pytorchjob.CONTAINER), "working")]
        if uid and len(working) == _WORLD:
            pods.capture(ctx, namespace)
            ctx.kube.delete(namespaced("pods", namespace, victim.name), grace=1)
            victim.uid, victim.killed = uid, time.monotonic()
    elif uid and uid != victim.uid and not victim.fresh:
        victim.fresh, victim.seconds = uid, time.monotonic() - victim.killed
    elif not victim.fresh and time.monotonic() > victim.killed + _AGAIN:
        raise CheckFailed(
            f"{victim.name} was not made again within {_AGAIN:.0f} s",
            cause="the training operator did not replace a pod that was lost",
            fix="kubectl -n kubeflow get pods; kubectl -n kubeflow logs deployment/training-operator",
        )
