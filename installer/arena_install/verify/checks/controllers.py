"""The controllers of job kinds and queues: killed by drills, and seen to come back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from arena_install.errors import TimedOutError
from arena_install.verify import pods
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Object, namespaced
from arena_install.verify.powers import workload

BACK_WITHIN = 90.0  # seconds
_SELDOM = 1.0  # seconds between looks


@dataclass(frozen=True)
class Controller:
    namespace: str
    deployment: str


TRAINING = Controller("kubeflow", "training-operator")
MPI = Controller("mpi-operator", "mpi-operator")
SCHEDULER = Controller("volcano-system", "volcano-scheduler")
VOLCANO = Controller("volcano-system", "volcano-controllers")
KUEUE = Controller("kueue-system", "kueue-controller-manager")
APPWRAPPER = Controller("appwrapper-system", "appwrapper-controller-manager")
JOBSET = Controller("jobset-system", "jobset-controller")
ALL = (TRAINING, MPI, SCHEDULER, VOLCANO, KUEUE, APPWRAPPER, JOBSET)


@dataclass
class Killed:
    """uids: of the pods that were killed. back: seconds until others stood in their place, by controller."""

    uids: dict[Controller, set[str]] = field(default_factory=dict)
    at: float = 0.0  # monotonic
    back: dict[Controller, float] = field(default_factory=dict)


def kill(ctx: Context, which: Sequence[Controller]) -> Killed:
    """End the pods of these deployments at once, all side by side. Raises CheckFailed for one that has none."""
    killed = Killed(at=time.monotonic())
    there = {one: found(ctx, one) for one in which}
    for one, running in there.items():
        if not running:
            raise CheckFailed(
                f"deployment {one.deployment} in {one.namespace} has no pod",
                cause="it did not run before anything was done to it",
                fix=f"kubectl -n {one.namespace} get pods; arena-install up mends it",
            )
    for one, running in there.items():
        killed.uids[one] = {str(pod["metadata"]["uid"]) for pod in running}
        for pod in running:
            ctx.kube.delete(namespaced("pods", one.namespace, pod["metadata"]["name"]), grace=1)
    return killed


def await_back(ctx: Context, killed: Killed) -> None:
    """Wait until each has as many ready pods again, none of them one that was killed. Raises CheckFailed."""

    def look() -> bool | None:
        for one, old in killed.uids.items():
            now = found(ctx, one)
            fresh = [pod for pod in now if str(pod["metadata"]["uid"]) not in old and pods.running(pod)]
            if one not in killed.back and len(fresh) >= len(old):
                killed.back[one] = time.monotonic() - killed.at
        away = [one.deployment for one in killed.uids if one not in killed.back]
        ctx.progress(f"waiting for {', '.join(away) or 'none'} to be back")
        return None if away else True

    try:
        ctx.wait(look, "the controllers to be back", seconds=BACK_WITHIN, every=_SELDOM)
    except TimedOutError as error:
        away = [one for one in killed.uids if one not in killed.back]
        state = ctx.kube.find(namespaced("deployments", away[0].namespace, away[0].deployment, group="apps/v1")) or {}
        raise CheckFailed(
            f"{', '.join(one.deployment for one in away)} did not come back within {BACK_WITHIN:.0f} s",
            cause=_why(ctx, away[0], state),
            fix=f"kubectl -n {away[0].namespace} get pods,events; arena-install up mends it",
        ) from error


def found(ctx: Context, one: Controller) -> list[Object]:
    """Pods of its deployment that are not on their way out."""
    there = ctx.kube.items(namespaced("pods", one.namespace))
    return [pod for pod in there if workload(pod) == one.deployment and not pod["metadata"].get("deletionTimestamp")]


def _why(ctx: Context, one: Controller, deployment: Object) -> str:
    """What the deployment's status or its pods say."""
    for row in (deployment.get("status") or {}).get("conditions") or ():
        if row["type"] == "ReplicaFailure" and row["status"] == "True":
            return str(row.get("message"))
    for pod in found(ctx, one):
        return f"its pod {pod['metadata']['name']} is {pod['status'].get('phase')} and not ready"
    return "its deployment has made no other pod"
