"""Suite scheduling, the drills: controllers are killed while jobs of every kind run, and Kueue while it admits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from arena_install.errors import TimedOutError
from arena_install.verify import pods
from arena_install.verify.checks import controllers, jobs, queues
from arena_install.verify.checks.fleet import NEEDS, Fate, fleet
from arena_install.verify.checks.scheduling_queue import at_once
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import namespaced
from arena_install.verify.model import Outcome, judged
from arena_install.verify.registry import check
from arena_install.verify.watch import Change, watching
from arena_install.verify.workspace import CHECK_LABEL

_STAY = 50  # seconds for which the pods of jobs stay: longer than a controller is away
_ENDED_WITHIN = 120.0  # seconds

_JOBS, _ROOM, _CPU = 8, 3, 20  # jobs of one pod, how many of them the quota has room for, milli-CPU of each
_BRIEF = ["sleep", "3"]
_DONE_WITHIN = 150.0


@check(
    "scheduling.drill-controllers",
    "Jobs go on while their controllers are killed",
    proves="jobs of five kinds keep their pods when all controllers die; these come back, and see the jobs succeed",
    needs=NEEDS,
    timeout=300,
    writes=True,
    default=False,
    alone=True,
)
def drill_controllers(ctx: Context) -> Outcome:
    with fleet(ctx) as it:
        it.start(_STAY)
        it.strike()
        killed = controllers.kill(ctx, controllers.ALL)
        controllers.await_back(ctx, killed)
        fates = it.fates(_ENDED_WITHIN)
        broken = it.broken
    back = {one.deployment: round(seconds) for one, seconds in killed.back.items()}
    ctx.save("back.json", back)
    problems = broken + disturbed(fates)
    expected = f"{len(back)} controllers back within {controllers.BACK_WITHIN:.0f} s, no pod lost or made, all succeed"
    slowest = max(back, key=lambda name: back[name])
    observed = f"{len(back)} back, the last ({slowest}) after {back[slowest]} s; " + told(fates)
    data = {"back_s": back, "jobs": {name: vars(fate) for name, fate in fates.items()}}
    return judged(expected, observed, problems, fix="see pods.txt and the jobs in the evidence", data=data)


def disturbed(fates: Mapping[str, Fate]) -> list[str]:
    """What is wrong where nothing should have happened to jobs."""
    problems = [f"{name}: {fate.said}" for name, fate in fates.items() if fate.said != "done"]
    problems += [f"{name} lost {', '.join(fate.lost)}" for name, fate in fates.items() if fate.lost]
    problems += [f"{name} was given {', '.join(fate.fresh)} anew" for name, fate in fates.items() if fate.fresh]
    return problems


def told(fates: Mapping[str, Fate]) -> str:
    return "; ".join(f"{name} {fate.story}" for name, fate in fates.items())


@check(
    "scheduling.kueue-restart",
    "Kueue admits nothing twice when it is killed",
    proves=f"killed while it admits {_JOBS} jobs to a quota of {_ROOM}, it admits each once, and never more at once",
    needs=("scheduling.quota", "component:kueue"),
    timeout=300,
    writes=True,
    default=False,
    alone=True,
)
def kueue_restart(ctx: Context) -> Outcome:
    namespace = ctx.session.workspaces.get("restricted")
    names = [f"once-{number}" for number in range(_JOBS)]
    selector = f"{CHECK_LABEL}={ctx.label}"
    with (
        queues.queue(ctx, {"cpu": f"{_ROOM * _CPU}m", "memory": "4Gi"}),
        queues.cleared(ctx),
        queues.watching_workloads(ctx) as seen,
        watching(ctx.kube, namespaced("pods", namespace), labelSelector=selector) as there,
    ):
        for name in names:
            jobs.submit(ctx, "jobs", queues.JOBS, queues.job(ctx, name, count=1, cpu=_CPU, command=_BRIEF))
        ctx.wait(
            lambda: True if queues.most_reserved(queues.mine(ctx, list(seen.changes))) else None,
            "the first job to be admitted", seconds=60, every=0.1, fix=queues.DOWN,
        )  # fmt: skip
        killed = controllers.kill(ctx, [controllers.KUEUE])
        done_before = _done(queues.mine(ctx, list(seen.changes)), names)
        controllers.await_back(ctx, killed)
        _await_done(ctx, names)
        changes = queues.mine(ctx, seen.changes)
        most = at_once(there.changes)
        pods.capture(ctx, namespace)
        jobs.remove(ctx, "jobs", queues.JOBS, *names)
    ctx.save("workloads.txt", queues.history(changes))
    problems = [text for text in (seen.broken, there.broken) if text] + twice(changes, names, most)
    if done_before == len(names):
        problems.append("all jobs had ended before Kueue could be killed")
    reserved = queues.most_reserved(changes)
    if reserved > _ROOM * _CPU:
        problems.append(f"{reserved}m of cpu were reserved at once, the quota is {_ROOM * _CPU}m")
    seconds = killed.back[controllers.KUEUE]
    expected = f"each of {_JOBS} jobs admitted once, at most {_ROOM * _CPU}m reserved and {_ROOM} pods at once"
    observed = (
        f"killed with {done_before} done, back after {seconds:.0f} s; at most {reserved}m and {most} pods at once"
    )
    data = {"back_s": seconds, "most_milli_cpu": reserved, "most_pods": most}
    return judged(expected, observed, problems, fix=queues.DOWN, data=data)


def twice(changes: Sequence[Change], names: Sequence[str], most: int) -> list[str]:
    """What is wrong with the Workloads of jobs that each are to be admitted once. most: pods at once."""
    problems = []
    for name in names:
        uids = {str(c.object["metadata"]["uid"]) for c in changes if queues.owner(c.object) == ("Job", name)}
        told = queues.story(changes, "Job", name)
        if len(uids) != 1:
            problems.append(f"{name} has {len(uids)} Workloads")
        if told != ["QuotaReserved", "Admitted", "Finished"]:
            problems.append(f"{name} went {' → '.join(told) or 'nowhere'}")
    if most > _ROOM:
        problems.append(f"{most} pods were there at once, the quota has room for {_ROOM}")
    return problems


def _done(changes: Sequence[Change], names: Sequence[str]) -> int:
    return sum("Finished" in queues.story(changes, "Job", name) for name in names)


def _await_done(ctx: Context, names: Sequence[str]) -> None:
    namespace = ctx.session.workspaces.get("restricted")

    def look() -> bool | None:
        states = [ctx.kube.get(namespaced("jobs", namespace, name, group=queues.JOBS)) for name in names]
        ended = [state for state in states if jobs.condition(state, "Complete")]
        ctx.progress(f"{len(ended)} of {len(names)} jobs done")
        return True if len(ended) == len(names) else None

    try:
        ctx.wait(look, "all jobs to be done", seconds=_DONE_WITHIN, every=0.5)
    except TimedOutError as error:
        pods.capture(ctx, namespace)
        raise CheckFailed(error.what, cause="Kueue came back and does not admit them", fix=queues.DOWN) from error
