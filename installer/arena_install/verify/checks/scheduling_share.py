"""Suite scheduling, Kueue: who lends quota gets it back, and what is more urgent goes first. Whoever has to give way is
told why, and runs again afterwards. All of it is judged from a watch of the Workloads, in which nothing is missing.
"""

from __future__ import annotations

from collections.abc import Sequence

from arena_install.verify import pods
from arena_install.verify.checks import jobs, queues
from arena_install.verify.context import Context
from arena_install.verify.kube import namespaced
from arena_install.verify.model import Outcome, failed, passed
from arena_install.verify.registry import check
from arena_install.verify.watch import Watch

_CPU = 20  # milli-CPU of each pod
_SHARE = 2  # pods for which each ClusterQueue has quota
_HOLD = 3.0  # seconds for which who gave way is seen to wait
_AGAIN = 60.0  # seconds in which it has to be admitted again
_SLEEP = ["sleep", "600"]
#: As Kueue's API documents them; the second where an administrator has switched fair sharing on.
_RECLAIMED = ("InCohortReclamation", "InCohortFairSharing")


@check(
    "scheduling.cohort",
    "A queue borrows, and its owner gets the quota back",
    proves="a job borrows a cohort's unused quota, is evicted when the owner needs it, and runs again after that",
    needs=("scheduling.quota", "component:kueue"),
    timeout=240,
    writes=True,
)
def cohort(ctx: Context) -> Outcome:
    quota = {"cpu": f"{_SHARE * _CPU}m", "memory": "4Gi"}
    shares = {
        "owner": queues.Share(quota, {"reclaimWithinCohort": "Any"}),
        "borrower": queues.Share(quota),
    }
    with queues.cohort(ctx, shares), queues.cleared(ctx), queues.watching_workloads(ctx) as seen:
        borrower = queues.job(ctx, "borrows", count=_SHARE + 1, cpu=_CPU, command=_SLEEP, part="borrower")
        owner = queues.job(ctx, "reclaims", count=_SHARE, cpu=_CPU, command=_SLEEP, part="owner")
        jobs.submit(ctx, "jobs", queues.JOBS, borrower)
        queues.await_condition(ctx, "borrows", "Admitted")
        jobs.submit(ctx, "jobs", queues.JOBS, owner)
        _give_way(ctx, "borrows", "reclaims")
    return _judged(
        ctx, seen, "borrows", "reclaims", _RECLAIMED, 2 * _SHARE, _SHARE + 1,
        f"{_SHARE + 1} pods in a queue with quota for {_SHARE}",
    )  # fmt: skip


@check(
    "scheduling.preemption",
    "A job of higher priority goes first",
    proves="by WorkloadPriorityClass, an urgent job gets a lesser one's quota; that is evicted, and runs again later",
    needs=("scheduling.quota", "component:kueue"),
    timeout=240,
    writes=True,
)
def preemption(ctx: Context) -> Outcome:
    quota = {"cpu": f"{_SHARE * _CPU}m", "memory": "4Gi"}
    with (
        queues.priorities(ctx, {"low": 10, "high": 1000}) as classes,
        queues.queue(ctx, quota, {"withinClusterQueue": "LowerPriority"}),
        queues.cleared(ctx),
        queues.watching_workloads(ctx) as seen,
    ):
        low = queues.job(ctx, "patient", count=_SHARE, cpu=_CPU, command=_SLEEP, priority=classes["low"])
        high = queues.job(ctx, "urgent", count=_SHARE, cpu=_CPU, command=_SLEEP, priority=classes["high"])
        jobs.submit(ctx, "jobs", queues.JOBS, low)
        queues.await_condition(ctx, "patient", "Admitted")
        jobs.submit(ctx, "jobs", queues.JOBS, high)
        _give_way(ctx, "patient", "urgent")
    return _judged(
        ctx, seen, "patient", "urgent", ["InClusterQueue"], _SHARE, _SHARE,
        f"{_SHARE} pods of low priority in a queue with quota for {_SHARE}",
    )  # fmt: skip


def _give_way(ctx: Context, victim: str, other: str) -> None:
    """Wait until `other` has taken the quota of `victim`, end it, and wait until `victim` has it again; remove both."""
    namespace = ctx.session.workspaces.get("restricted")
    queues.await_condition(ctx, victim, "Evicted")
    queues.await_condition(ctx, other, "Admitted")
    ctx.session.sleep(_HOLD, ctx.deadline)
    pods.capture(ctx, namespace)
    ctx.kube.delete(namespaced("jobs", namespace, other, group=queues.JOBS))
    queues.await_condition(ctx, victim, "Admitted", seconds=_AGAIN)
    jobs.remove(ctx, "jobs", queues.JOBS, victim, other)


def _judged(
    ctx: Context, seen: Watch, victim: str, other: str, reasons: Sequence[str], room: int, first: int, who: str
) -> Outcome:
    """reasons: documented ones, any of which is right. room: pods for which there is quota in all. first: how many of
    the victim's had it, in the beginning."""
    changes = queues.mine(ctx, seen.changes)
    ctx.save("workloads.txt", queues.history(changes))
    told = queues.story(changes, "Job", victim)
    problems = [seen.broken] if seen.broken else []
    problems += gave_way(told, *reasons)
    if "Evicted Preempted" in queues.story(changes, "Job", other):
        problems.append(f"{other} was evicted too")
    most = queues.most_reserved(changes)
    if not first * _CPU <= most <= room * _CPU:
        problems.append(f"{most}m of cpu were reserved at once: one job asks for {first * _CPU}m, of {room * _CPU}m")
    expected = f"{who} are admitted, evicted ({reasons[0]}) and admitted again; never more than {room * _CPU}m reserved"
    observed = f"{' → '.join(told) or 'nothing happened'}; at most {most}m reserved"
    if problems:
        return failed(expected, observed, cause="\n".join(problems), fix=queues.DOWN)
    return passed(expected, observed, data={"story": told, "most_milli_cpu": most})


def gave_way(told: Sequence[str], *reasons: str) -> list[str]:
    """What is wrong with the story of a Workload that had to give way once, for one of these reasons."""
    had = ["QuotaReserved", "Admitted"]
    went = list(told[:-1] if told[-1:] == ["Finished"] else told)  # that when its job is removed
    if any(went == [*had, "Evicted Preempted", f"Preempted {reason}", *had] for reason in reasons):
        return []
    wanted = [*had, "Evicted Preempted", f"Preempted {reasons[0]}", *had]
    return [f"it went {' → '.join(told) or 'nowhere'}, not {' → '.join(wanted)}"]
