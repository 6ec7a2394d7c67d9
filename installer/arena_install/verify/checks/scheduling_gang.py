"""Suite scheduling, Volcano: all pods of a job start or none does. Told from a watch of the pods, in which nothing is
missing: looking now and then would not see a pod that ran for a moment.
"""

from __future__ import annotations

from collections.abc import Sequence

from arena_install.verify.checks import volcano
from arena_install.verify.context import Context
from arena_install.verify.model import Outcome, failed, judged, passed, skipped
from arena_install.verify.pytorchjob import BUSY_FIX
from arena_install.verify.registry import check
from arena_install.verify.watch import Change

#: Seconds for which a job without room is watched once the scheduler has said that it has none.
_HOLD = 5.0
_ROUNDS, _MANY_ROUNDS = 3, 20


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
    with volcano.watching_pods(ctx) as seen:
        try:
            volcano.submit(ctx, volcano.manifest(ctx, "too-large", free + 1, ["sleep", "0"]))
            said = volcano.unschedulable(ctx, "too-large")
            ctx.session.sleep(_HOLD, ctx.deadline)
        finally:
            volcano.remove(ctx, "too-large")
        _run(ctx, ["just-fits"], [free])
    ctx.save("bindings.txt", volcano.story(seen.changes))
    expected = f"with {free} GPUs free: of {free + 1} pods none is ever bound, of {free} all are, and they complete"
    early, fitting = volcano.bound(seen.changes, "too-large"), volcano.bound(seen.changes, "just-fits")
    problems = [seen.broken] if seen.broken else []
    if early:
        problems.append(f"{len(early)} pods of the job that has no room were bound: {', '.join(early)}")
    if len(fitting) != free:
        problems.append(f"{len(fitting)} of {free} pods of the job that has room were bound")
    observed = f"{len(early)} of {free + 1} bound ({said}), then {len(fitting)} of {free}"
    data = {"free": free, "changes": len(seen.changes)}
    return judged(expected, observed, problems, fix=volcano.FIX, data=data)


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
    with volcano.watching_pods(ctx) as seen:
        for number in range(1, count + 1):
            ctx.progress(f"round {number} of {count}")
            names = [f"round{number}-{rival}" for rival in "ab"]
            _run(ctx, names, [size, size])
            problems += crowded(seen.changes, names, size, free)
    ctx.save("bindings.txt", volcano.story(seen.changes))
    problems += [seen.broken] if seen.broken else []
    if problems:
        return failed(expected, f"{len(problems)} problems", cause="\n".join(problems), fix=volcano.FIX)
    return passed(expected, f"{count} rounds, {2 * count} jobs of {size} pods completed", data={"rounds": count})


def _free(ctx: Context) -> int:
    return sum(volcano.free(ctx).values())


def _run(ctx: Context, names: Sequence[str], sizes: Sequence[int]) -> None:
    """Submit jobs and wait until all are completed and gone. Raises CheckFailed for one that does not complete."""
    volcano.submit(ctx, *(volcano.manifest(ctx, *pair, ["sleep", "1"]) for pair in zip(names, sizes, strict=True)))
    volcano.complete(ctx, *names)
    volcano.remove(ctx, *names)


def crowded(changes: Sequence[Change], names: Sequence[str], size: int, free: int) -> list[str]:
    """What is wrong with how rivals of `size` pods ran on `free` GPUs: one that started without room for all its pods,
    or that did not get them all. One that has started needs a GPU for each pod that has not ended, bound or not."""
    ended: dict[str, set[str]] = {name: set() for name in names}
    started: set[str] = set()
    problems = []
    for change in changes:
        if (name := volcano.job_of(change)) not in ended:
            continue
        if change.over:
            ended[name].add(change.name)
        elif change.object["spec"].get("nodeName") and name not in started:
            room = free - sum(size - len(ended[other]) for other in started)
            if room < size:
                problems.append(f"{name} started with room for {room} pods, it has {size}")
            started.add(name)
    for name in names:
        if (count := len(volcano.bound(changes, name))) != size:
            problems.append(f"{count} of {size} pods of {name} were bound")
    return problems
