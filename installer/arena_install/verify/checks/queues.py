"""Queues that checks of Kueue make, and what becomes of the Workloads in them.

A flavor and a ClusterQueue or two belong to one check, with a LocalQueue for each in its namespace.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from arena_install.errors import TimedOutError
from arena_install.verify import pods
from arena_install.verify.checks import clusterwide, jobs
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Object, namespaced
from arena_install.verify.watch import Change, Watch, watching

GROUP = "kueue.x-k8s.io/v1beta2"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"
NAME = "verify"  # of the LocalQueue
DOWN = "kubectl -n kueue-system get pods; kubectl -n kueue-system logs deployment/kueue-controller-manager"
JOBS = "batch/v1"


@dataclass(frozen=True)
class Share:
    """What one ClusterQueue may use. quota: resource -> quantity. preemption: its spec.preemption."""

    quota: Mapping[str, str]
    preemption: Object = field(default_factory=dict)


@contextlib.contextmanager
def queue(ctx: Context, quota: Mapping[str, str], preemption: Object | None = None) -> Iterator[str]:
    """A ClusterQueue with exactly this quota, for the namespace "restricted"; gives its name.

    Raises CheckFailed where Kueue does not take it.
    """
    with cohort(ctx, {"": Share(quota, preemption or {})}):
        yield clusterwide.name(ctx)


@contextlib.contextmanager
def cohort(ctx: Context, shares: Mapping[str, Share]) -> Iterator[None]:
    """A ClusterQueue for each share, with its LocalQueue; several are one cohort and lend each other what they have of
    the same flavor. Raises CheckFailed where Kueue does not take one."""
    namespace = ctx.session.workspaces.get("restricted")
    flavor = clusterwide.name(ctx)
    body: Object = {"apiVersion": GROUP, "kind": "ResourceFlavor", "metadata": clusterwide.metadata(ctx, flavor)}
    wanted = [(f"/apis/{GROUP}/resourceflavors", {**body, "spec": {}})]
    for part, share in shares.items():
        resources = [{"name": resource, "nominalQuota": amount} for resource, amount in share.quota.items()]
        group = {"coveredResources": list(share.quota), "flavors": [{"name": flavor, "resources": resources}]}
        spec: Object = {"namespaceSelector": {}, "resourceGroups": [group]}
        spec |= {"cohortName": flavor} if len(shares) > 1 else {}
        spec |= {"preemption": share.preemption} if share.preemption else {}
        meta = clusterwide.metadata(ctx, clusterwide.name(ctx, part))
        one: Object = {"apiVersion": GROUP, "kind": "ClusterQueue", "metadata": meta, "spec": spec}
        wanted.append((f"/apis/{GROUP}/clusterqueues", one))
    local = namespaced("localqueues", namespace, group=GROUP)
    for part in shares:
        name, of = local_name(ctx, part), clusterwide.name(ctx, part)
        wanted.append(
            (
                local,
                {"apiVersion": GROUP, "kind": "LocalQueue", "metadata": {"name": name}, "spec": {"clusterQueue": of}},
            )
        )
    with clusterwide.made(ctx, wanted, DOWN):
        yield


def priorities(ctx: Context, values: Mapping[str, int]) -> contextlib.AbstractContextManager[dict[str, str]]:
    """A WorkloadPriorityClass for each; gives their names by the keys of `values`."""
    return clusterwide.priorities(ctx, GROUP, "WorkloadPriorityClass", values, DOWN)


def cleared(ctx: Context) -> contextlib.AbstractContextManager[None]:
    """Within it Jobs may be left: they go at its end, so that a ClusterQueue can."""
    return jobs.cleared(ctx, "jobs", JOBS)


def local_name(ctx: Context, part: str = "") -> str:
    """Checks run side by side in one namespace, each with queues of its own."""
    whole = f"{NAME}-{ctx.check.id.partition('.')[2]}"
    return f"{whole}-{part}" if part else whole


def queued(ctx: Context, part: str = "", priority: str = "") -> dict[str, str]:
    """The labels by which a job goes through a queue of this check, with a priority of its own."""
    return {QUEUE_LABEL: local_name(ctx, part)} | ({PRIORITY_LABEL: priority} if priority else {})


def job(
    ctx: Context, name: str, *, count: int, cpu: int, command: Sequence[str], part: str = "", priority: str = ""
) -> Object:
    """A Job of `count` pods at once, each of `cpu` milli-CPU, for a queue of this check."""
    template = jobs.template(ctx, "main", pods.BUSYBOX, command, cpu=f"{cpu}m")
    return {
        "apiVersion": JOBS,
        "kind": "Job",
        "metadata": {"name": name, "labels": {**pods.own_labels(ctx), **queued(ctx, part, priority)}},
        "spec": {"parallelism": count, "completions": count, "backoffLimit": 0, "template": template},
    }


# ---- Workloads: Kueue's word about each job -------------------------------------------------------------------------


def workload_of(ctx: Context, kind: str, name: str) -> Object | None:
    """Kueue's Workload for a job, None while there is none."""
    namespace = ctx.session.workspaces.get("restricted")
    for workload in ctx.kube.items(namespaced("workloads", namespace, group=GROUP)):
        if owner(workload) == (kind, name):
            return workload
    return None


def owner(workload: Object) -> tuple[str, str]:
    """(kind, name) of the job that a Workload stands for."""
    owners = workload["metadata"].get("ownerReferences") or ()
    return next(((str(row["kind"]), str(row["name"])) for row in owners), ("", ""))


def watching_workloads(ctx: Context) -> contextlib.AbstractContextManager[Watch]:
    """All Workloads of the namespace "restricted", other checks' too: see `mine`."""
    namespace = ctx.session.workspaces.get("restricted")
    return watching(ctx.kube, namespaced("workloads", namespace, group=GROUP))


def mine(ctx: Context, changes: Sequence[Change]) -> list[Change]:
    """Of those, the ones in this check's queues."""
    prefix = local_name(ctx)
    return [change for change in changes if str(change.object["spec"].get("queueName", "")).startswith(prefix)]


def await_condition(ctx: Context, name: str, type: str, *, seconds: float = 60, kind: str = "Job") -> Object:
    """Wait until a job's Workload has this condition; gives the Workload. Raises CheckFailed with what it has."""
    last: list[Object | None] = [None]

    def look() -> Object | None:
        last[0] = workload_of(ctx, kind, name)
        return last[0] if last[0] and jobs.condition(last[0], type) else None

    try:
        return ctx.wait(look, f"{name} to be {type}", seconds=seconds, every=0.5)
    except TimedOutError as error:
        rows: list[Object] = ((last[0] or {}).get("status") or {}).get("conditions") or []
        said = "; ".join(f"{row['type']} {row['status']}: {row.get('message')}" for row in rows)
        raise CheckFailed(error.what, cause=said or "Kueue took no notice of it", fix=DOWN) from error


def story(changes: Sequence[Change], kind: str, name: str) -> list[str]:
    """What became true of a job's Workload, in order: "Admitted", "Evicted Preempted", "Preempted InClusterQueue"..."""
    told: list[str] = []
    before: set[str] = set()
    for change in changes:
        if owner(change.object) != (kind, name) or change.type == "DELETED":
            continue
        now: dict[str, str] = {}
        for row in (change.object.get("status") or {}).get("conditions") or ():
            if row["status"] == "True":
                reasoned = row["type"] in ("Evicted", "Preempted")
                now[row["type"]] = f"{row['type']} {row.get('reason')}" if reasoned else str(row["type"])
        told += [now[type] for type in _ORDER if type in now and type not in before]
        before = set(now)
    return told


_ORDER = ["QuotaReserved", "Admitted", "Evicted", "Preempted", "Finished"]


def most_reserved(changes: Sequence[Change], queues: Sequence[str] = ()) -> int:
    """The most milli-CPU that Workloads had reserved at the same time, in these ClusterQueues (in all by default)."""
    held: dict[str, int] = {}
    most = 0
    for change in changes:
        held[change.name] = 0 if change.type == "DELETED" else _reserved(change.object, queues)
        most = max(most, sum(held.values()))
    return most


def _reserved(workload: Object, queues: Sequence[str]) -> int:
    status = workload.get("status") or {}
    if not jobs.condition(workload, "QuotaReserved") or jobs.condition(workload, "Finished"):
        return 0
    admission = status.get("admission") or {}
    if queues and admission.get("clusterQueue") not in queues:
        return 0
    used = (row.get("resourceUsage") or {} for row in admission.get("podSetAssignments") or ())
    return sum(_milli(str(row.get("cpu", "0"))) for row in used)


def _milli(amount: str) -> int:
    """A quantity of CPU as Kueue writes it."""
    return int(amount[:-1]) if amount.endswith("m") else round(float(amount) * 1000)


def history(changes: Sequence[Change]) -> str:
    """The watch as people read it: one line a change."""
    rows = []
    for change in changes:
        conditions = (change.object.get("status") or {}).get("conditions") or ()
        true = " ".join(f"{row['type']}({row.get('reason')})" for row in conditions if row["status"] == "True")
        rows.append(f"{change.at:7.2f} {change.type:8} {'/'.join(owner(change.object))} {true}\n")
    return "".join(rows) or "no Workload came up\n"
