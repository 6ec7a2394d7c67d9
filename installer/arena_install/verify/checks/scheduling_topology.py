"""Suite scheduling, Volcano's network topology: a job that must stay together does, or waits.

Two GPU nodes are described by HyperNodes of the check's own, each near itself and far from the other. Where the cluster
has HyperNodes already nothing is added to them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from arena_install.verify import pods
from arena_install.verify.checks import clusterwide, volcano
from arena_install.verify.context import Context
from arena_install.verify.kube import Object
from arena_install.verify.model import Outcome, judged, skipped
from arena_install.verify.pytorchjob import BUSY_FIX
from arena_install.verify.registry import check
from arena_install.verify.workspace import RUN_LABEL

_GROUP = "topology.volcano.sh/v1alpha1"
_PATH = f"/apis/{_GROUP}/hypernodes"
_HOLD = 5.0  # seconds for which a job without room is watched, once the scheduler has said that it has none
_SETTLE = 3.0  # seconds in which the scheduler takes notice of HyperNodes


@dataclass(frozen=True)
class Pair:
    """Two GPU nodes whose GPUs are all free, and how many each has."""

    near: str
    far: str
    near_gpus: int
    far_gpus: int


@check(
    "scheduling.topology",
    "A job that must stay together does, or waits",
    proves="within tier 1 (mode hard), all pods land on one HyperNode, and a job too large for one never has a pod",
    required=False,  # where there are no two idle GPU nodes, or HyperNodes of the cluster's own
    needs=("scheduling.gang", "component:volcano"),
    holds=("gpu",),
    timeout=240,
    writes=True,
)
def topology(ctx: Context) -> Outcome:
    pair = _pair(ctx)
    if isinstance(pair, Outcome):
        return pair
    size = pair.far_gpus
    with _hypernodes(ctx, pair), volcano.cleared(ctx), volcano.watching_pods(ctx) as seen:
        # One GPU is left on the near node: a scheduler that packs puts the first pod there, and the rest finds no room.
        blocker = _blocker(ctx, pair)
        try:
            volcano.submit(ctx, volcano.manifest(ctx, "together", size, ["sleep", "1"], tier=1))
            volcano.complete(ctx, "together")
            volcano.submit(ctx, volcano.manifest(ctx, "too-wide", size + 1, ["sleep", "1"], tier=1))
            said = volcano.unschedulable(ctx, "too-wide", size + 1, seen)
            ctx.session.sleep(_HOLD, ctx.deadline)
            volcano.remove_some(ctx, "together", "too-wide")
            volcano.submit(ctx, volcano.manifest(ctx, "apart", size + 1, ["sleep", "1"], tier=2))
            volcano.complete(ctx, "apart")
            volcano.remove_some(ctx, "apart")
        finally:
            pods.capture(ctx, ctx.session.workspaces.get("restricted"))
            pods.remove(ctx, ctx.session.workspaces.get("restricted"), blocker)
    ctx.save("bindings.txt", volcano.story(seen.changes))
    together, wide, apart = (volcano.bound(seen.changes, name) for name in ("together", "too-wide", "apart"))
    problems = [seen.broken] if seen.broken else []
    if len(together) != size or set(together.values()) != {pair.far}:
        problems.append(f"{size} pods that fit on {pair.far} alone: {_told(together)}")
    if wide:
        problems.append(f"of {size + 1} pods, which fit on no HyperNode of tier 1, were bound: {_told(wide)}")
    if len(apart) != size + 1 or set(apart.values()) != {pair.near, pair.far}:
        problems.append(f"{size + 1} pods that may spread over tier 2: {_told(apart)}")
    expected = f"{size} pods on {pair.far}; of {size + 1} within tier 1 none ever, within tier 2 all"
    observed = f"{_told(together)}; {len(wide)} of {size + 1} ({said}); {_told(apart)}"
    return judged(expected, observed, problems, fix=volcano.FIX)


@check(
    "scheduling.partitions",
    "Each partition of a job stays together",
    proves="by partitionPolicy, a task's pods are split in two groups, and each lands on one HyperNode as a whole",
    required=False,  # as above
    needs=("scheduling.gang", "component:volcano"),
    holds=("gpu",),
    timeout=180,
    writes=True,
)
def partitions(ctx: Context) -> Outcome:
    pair = _pair(ctx)
    if isinstance(pair, Outcome):
        return pair
    size = min(pair.near_gpus, pair.far_gpus) // 2 + 1  # two of them do not fit on one node
    size = min(size, pair.near_gpus, pair.far_gpus)
    with _hypernodes(ctx, pair), volcano.cleared(ctx), volcano.watching_pods(ctx) as seen:
        volcano.submit(ctx, volcano.manifest(ctx, "parted", 2 * size, ["sleep", "1"], tier=2, partitions=2))
        volcano.complete(ctx, "parted")
        pods.capture(ctx, ctx.session.workspaces.get("restricted"))
        volcano.remove(ctx, "parted")
    ctx.save("bindings.txt", volcano.story(seen.changes))
    groups: dict[str, dict[str, str]] = {}
    for change in seen.changes:
        if node := str(change.object["spec"].get("nodeName") or ""):
            group = str(change.object["metadata"]["labels"].get(volcano.PARTITION_LABEL, "without a partition"))
            groups.setdefault(group, {})[change.name] = node
    expected = f"2 partitions of {size} pods, one on {pair.near} and one on {pair.far}"
    observed = "; ".join(f"partition {group}: {_told(where)}" for group, where in sorted(groups.items()))
    problems = ([seen.broken] if seen.broken else []) + parted(groups, size, {pair.near, pair.far})
    return judged(expected, observed, problems, fix=volcano.FIX)


def parted(groups: Mapping[str, Mapping[str, str]], size: int, nodes: set[str]) -> list[str]:
    """What is wrong with partitions. groups: partition -> pod -> node."""
    problems = [] if set(groups) == {"0", "1"} else [f"the partitions are {', '.join(sorted(groups)) or 'none'}"]
    for group, where in sorted(groups.items()):
        if len(where) != size or len(set(where.values())) != 1:
            problems.append(f"partition {group} is not {size} pods on one node: {_told(where)}")
    if not problems and {node for where in groups.values() for node in where.values()} != nodes:
        problems.append("both partitions are on one node, which has no room for them")
    return problems


def _told(where: Mapping[str, str]) -> str:
    nodes = sorted(where.values())
    return ", ".join(f"{nodes.count(node)} on {node}" for node in dict.fromkeys(nodes)) or "none"


def _pair(ctx: Context) -> Pair | Outcome:
    """The nodes to use, or why there are none."""
    strangers = [
        one["metadata"]["name"]
        for one in ctx.kube.items(_PATH)
        if RUN_LABEL not in (one["metadata"].get("labels") or {})
    ]
    if strangers:
        return skipped(f"the cluster has HyperNodes of its own ({', '.join(strangers[:3])}), to which none is added")
    free, offered = volcano.free(ctx), volcano.offered(ctx)
    idle = sorted(node for node, count in offered.items() if count and free[node] == count)
    if len(idle) < 2:
        return skipped(f"{len(idle)} GPU nodes are idle, two are needed", fix=BUSY_FIX)
    return Pair(idle[0], idle[1], free[idle[0]], free[idle[1]])


@contextlib.contextmanager
def _hypernodes(ctx: Context, pair: Pair) -> Iterator[None]:
    names = {node: clusterwide.name(ctx, f"near-{node}") for node in (pair.near, pair.far)}
    wanted = [_hypernode(ctx, name, 1, "Node", [node]) for node, name in names.items()]
    wanted.append(_hypernode(ctx, clusterwide.name(ctx, "both"), 2, "HyperNode", list(names.values())))
    with clusterwide.made(ctx, [(_PATH, body) for body in wanted], volcano.DOWN):
        ctx.session.sleep(_SETTLE, ctx.deadline)
        yield


def _hypernode(ctx: Context, name: str, tier: int, type: str, members: list[str]) -> Object:
    rows = [{"type": type, "selector": {"exactMatch": {"name": member}}} for member in members]
    meta = clusterwide.metadata(ctx, name)
    return {"apiVersion": _GROUP, "kind": "HyperNode", "metadata": meta, "spec": {"tier": tier, "members": rows}}


def _blocker(ctx: Context, pair: Pair) -> list[Object]:
    """A pod that holds all GPUs of the near node but one, once it runs; none where there is but one."""
    if pair.near_gpus < 2:
        return []
    namespace = ctx.session.workspaces.get("restricted")
    made = [pods.manifest(ctx, "blocker", pods.BUSYBOX, ["sleep", "600"], node=pair.near, gpus=pair.near_gpus - 1)]
    pods.create(ctx, namespace, made)
    pods.wait_for(ctx, namespace, ["blocker"], pods.running, "a pod that takes GPUs away running")
    return made
