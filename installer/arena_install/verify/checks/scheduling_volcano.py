"""Suite scheduling, Volcano's queues: each gets its share of the GPUs by weight, and takes it back from who had it on
loan; within a queue, the more urgent job goes first. Who had how many GPUs when is told from a watch of the pods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import ceil, gcd

from arena_install.errors import TimedOutError
from arena_install.verify import pods
from arena_install.verify.checks import volcano
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.model import Outcome, judged, skipped
from arena_install.verify.pytorchjob import BUSY_FIX
from arena_install.verify.registry import check
from arena_install.verify.watch import Watch

_WEIGHTS = {"small": 1, "large": 3}
#: Pods that share all GPUs. With fewer, the scheduler's plugin overcommit (a fifth more than there is) lets nobody
#: stand in line for GPUs that others have; with many more, a check is a burden.
_LEAST, _MANY, _MOST = 5, 32, 96
_HOLD = 4.0  # seconds for which shares are seen not to move any more
_SLEEP = ["sleep", "600"]


@dataclass(frozen=True)
class Parts:
    """All GPUs of the cluster as `count` pods of `gpus` each."""

    count: int
    gpus: int

    @property
    def large(self) -> float:
        """Pods that the queue with the larger weight deserves."""
        return self.count * _WEIGHTS["large"] / sum(_WEIGHTS.values())


@check(
    "scheduling.volcano-queues",
    "Queues get their shares, and take them back",
    proves="a queue that has all GPUs on loan gives another its share by weight (reclaim), no more, and gets it back",
    required=False,  # where somebody holds GPUs, shares of all of them can't be seen
    needs=("scheduling.gang", "component:volcano"),
    holds=("gpu",),
    timeout=240,
    writes=True,
)
def queues(ctx: Context) -> Outcome:
    parts = _parts(ctx)
    if isinstance(parts, Outcome):
        return parts
    deserved, count = int(parts.large), parts.count
    claims = [f"claim-{number}" for number in range(deserved + 1)]
    with volcano.queues(ctx, _WEIGHTS) as names, volcano.cleared(ctx), volcano.watching_pods(ctx) as seen:
        loan = volcano.manifest(ctx, "loan", count, _SLEEP, least=1, gpus=parts.gpus, queue=names["small"])
        volcano.submit(ctx, loan)
        _holding(ctx, seen, ["loan"], count, "an idle queue's GPUs to be lent")
        began = _now(seen)
        # One pod each: a gang that is larger than the plugin overcommit lets stand in line would wait for ever.
        volcano.submit(
            ctx,
            *(volcano.manifest(ctx, name, 1, _SLEEP, gpus=parts.gpus, queue=names["large"]) for name in claims),
        )
        _holding(ctx, seen, claims, deserved, f"the queue of weight {_WEIGHTS['large']} to get its share")
        ctx.session.sleep(_HOLD, ctx.deadline)
        reclaimed = volcano.evicted(ctx, "reclaim")
        pods.capture(ctx, ctx.session.workspaces.get("restricted"))
        shared = [(at, have) for at, have in volcano.held(seen.changes, ["loan"]) if at >= began]
        most = max(have for _, have in volcano.held(seen.changes, claims))
        volcano.remove_some(ctx, *claims)
        _holding(ctx, seen, ["loan"], count, "the GPUs to be lent again")
        volcano.remove(ctx, "loan")
    ctx.save("bindings.txt", volcano.story(seen.changes))
    left = min((have for _, have in shared), default=count)
    problems = [seen.broken] if seen.broken else []
    problems += unfair(parts, left, most)
    if not any(name.startswith("loan-") for name in reclaimed):
        problems.append("no pod of the queue that had too much was evicted by reclaim")
    small, large = (f"weight {weight}" for weight in _WEIGHTS.values())
    expected = f"{small}: all {count} pods, then {count - deserved}, then all again; {large}: {deserved} meanwhile"
    observed = f"{small}: {count} → {left} → {count}; {large}: {most}; {len(reclaimed)} pods reclaimed"
    data = {"pods": count, "gpus_each": parts.gpus, "deserved": deserved, "left": left, "most": most}
    return judged(expected, observed, problems, fix=volcano.FIX, data=data)


@check(
    "scheduling.volcano-preemption",
    "In a queue of Volcano the urgent job goes first",
    proves="a job of higher PriorityClass gets a pod's GPUs from a lesser one in its queue, which has them back later",
    required=False,  # where somebody holds GPUs
    needs=("scheduling.gang", "component:volcano"),
    holds=("gpu",),
    timeout=240,
    writes=True,
)
def preemption(ctx: Context) -> Outcome:
    parts = _parts(ctx)
    if isinstance(parts, Outcome):
        return parts
    count = parts.count
    with (
        volcano.priorities(ctx, {"low": 10, "high": 1000}) as classes,
        volcano.queues(ctx, {"one": 1}) as names,
        volcano.cleared(ctx),
        volcano.watching_pods(ctx) as seen,
    ):
        low = volcano.manifest(
            ctx, "patient", count, _SLEEP, least=1, gpus=parts.gpus, queue=names["one"], priority=classes["low"]
        )
        high = volcano.manifest(
            ctx, "urgent", 1, ["sleep", "5"], gpus=parts.gpus, queue=names["one"], priority=classes["high"]
        )
        volcano.submit(ctx, low)
        _holding(ctx, seen, ["patient"], count, "a job to have all GPUs")
        began = _now(seen)
        volcano.submit(ctx, high)
        _holding(ctx, seen, ["urgent"], 1, "the urgent job to get its GPUs")
        preempted = volcano.evicted(ctx, "preempt")
        pods.capture(ctx, ctx.session.workspaces.get("restricted"))
        _holding(ctx, seen, ["patient"], count, "the lesser job to have its GPUs back")
        fewest = min(have for at, have in volcano.held(seen.changes, ["patient"]) if at >= began)
        volcano.complete(ctx, "urgent")
        volcano.remove(ctx, "urgent", "patient")
    ctx.save("bindings.txt", volcano.story(seen.changes))
    problems = [seen.broken] if seen.broken else []
    if fewest != count - 1:
        problems.append(f"the lesser job was left with {fewest} pods, not {count - 1}")
    if not preempted or not all(name.startswith("patient-") for name in preempted):
        problems.append(f"evicted to make room were: {', '.join(preempted) or 'none'}")
    expected = f"of {count} pods one is evicted for the urgent job's, and comes back when that has ended"
    observed = f"{count} → {fewest} → {count} pods; evicted: {', '.join(preempted) or 'none'}"
    return judged(expected, observed, problems, fix=volcano.FIX)


def unfair(parts: Parts, left: int, most: int) -> list[str]:
    """What is wrong with the shares. left: the fewest pods that the smaller queue had after the larger one had claimed
    its share. most: the most that the larger one had."""
    problems = []
    if most > ceil(parts.large):
        problems.append(f"the queue of weight {_WEIGHTS['large']} got {most} pods in, it deserves {parts.large:g}")
    if left < parts.count - ceil(parts.large):
        problems.append(
            f"the queue of weight {_WEIGHTS['small']} was left with {left} pods, it deserves "
            f"{parts.count - parts.large:g}"
        )
    return problems


def _parts(ctx: Context) -> Parts | Outcome:
    """How to split the GPUs, or why not to."""
    if "proportion" not in (volcano.configuration(ctx) or "proportion"):
        return skipped("the scheduler was configured without the plugin proportion, by which queues have weights")
    offered, free = volcano.offered(ctx), volcano.free(ctx)
    if held := sum(offered.values()) - sum(free.values()):
        return skipped(f"{held} GPUs are in use: shares of all of them can't be seen", fix=BUSY_FIX)
    parts = split([count for count in offered.values() if count])
    if not _LEAST <= parts.count <= _MOST:
        return skipped(f"{sum(offered.values())} GPUs make {parts.count} pods; from {_LEAST} to {_MOST} can be shared")
    return parts


def split(nodes: Sequence[int]) -> Parts:
    """nodes: GPUs of each. One pod for each GPU; where these are many, pods of as many GPUs as divide every node's."""
    total = sum(nodes)
    each = 1 if total <= _MANY else reduce(gcd, nodes)
    return Parts(total // each, each) if total else Parts(0, 1)


def _now(seen: Watch) -> float:
    return seen.changes[-1].at if seen.changes else 0.0


def _holding(ctx: Context, seen: Watch, names: Sequence[str], count: int, what: str) -> None:
    """Wait until these jobs have so many pods with a node. Raises CheckFailed with how many they have."""

    def look() -> bool | None:
        have = volcano.held(list(seen.changes), names)[-1][1]
        ctx.progress(f"waiting for {what}: {have} of {count} pods")
        return True if have == count else None

    try:
        ctx.wait(look, what, seconds=90, every=0.3)
    except TimedOutError as error:
        pods.capture(ctx, ctx.session.workspaces.get("restricted"))
        ctx.save("bindings.txt", volcano.story(seen.changes))
        have = volcano.held(list(seen.changes), names)[-1][1]
        raise CheckFailed(error.what, cause=f"{have} of {count} pods have a node", fix=volcano.DOWN) from error
