"""Suite scheduling, AppWrapper: with either kind of training job in it, it goes through Kueue, runs, leaves nothing."""

from __future__ import annotations

from collections.abc import Sequence

from arena_install.errors import TimedOutError
from arena_install.verify import pods
from arena_install.verify.checks import jobs, queues
from arena_install.verify.context import Context
from arena_install.verify.kube import Object, namespaced
from arena_install.verify.model import Outcome, failed, passed
from arena_install.verify.registry import check
from arena_install.verify.watch import watching

_GROUP = "workload.codeflare.dev/v1beta2"
_TORCH, _VOLCANO = "kubeflow.org/v1", "batch.volcano.sh/v1alpha1"
_CONTROLLER = "appwrapper-system/appwrapper-controller-manager"
#: The phases of one that Kueue admits and that runs to its end; each must be seen, in this order.
PHASES = ("Suspended", "Resuming", "Running", "Succeeded")
_FIX = "kubectl -n appwrapper-system logs deployment/appwrapper-controller-manager"
_QUOTA = {"cpu": "1", "memory": "4Gi"}


@check(
    "scheduling.wrapped-pytorchjob",
    "An AppWrapper runs a PyTorchJob through a queue",
    proves="an AppWrapper with a PyTorchJob is admitted by Kueue, goes through its phases, and is deleted whole",
    needs=("cluster.pods", "component:appwrapper", "component:kueue", "component:training-operator"),
    timeout=240,
    writes=True,
)
def pytorchjob(ctx: Context) -> Outcome:
    part = jobs.template(ctx, "pytorch", pods.BUSYBOX, ["sleep", "3"])
    part["spec"].pop("restartPolicy")
    inner: Object = {
        "apiVersion": _TORCH,
        "kind": "PyTorchJob",
        "metadata": {"name": "wrapped"},
        "spec": {
            "runPolicy": {"backoffLimit": 0},
            "pytorchReplicaSpecs": {"Master": {"replicas": 1, "restartPolicy": "Never", "template": part}},
        },
    }
    return _through(ctx, inner, "pytorchjobs", [])


@check(
    "scheduling.wrapped-volcano-job",
    "An AppWrapper runs a Volcano Job through a queue",
    proves="an AppWrapper with a Volcano Job is admitted by Kueue, its gang runs, and deletion takes all that is in it",
    needs=("cluster.pods", "component:appwrapper", "component:kueue", "component:volcano"),
    timeout=240,
    writes=True,
)
def volcano_job(ctx: Context) -> Outcome:
    part = jobs.template(ctx, "worker", pods.BUSYBOX, ["sleep", "3"])
    inner: Object = {
        "apiVersion": _VOLCANO,
        "kind": "Job",
        "metadata": {"name": "wrapped"},
        "spec": {
            "schedulerName": "volcano",
            "minAvailable": 2,
            "maxRetry": 1,
            "tasks": [{"name": "worker", "replicas": 2, "template": part}],
        },
    }
    # Unlike a PyTorchJob's, its pods are not known to AppWrapper: where their template stands, and how many they are.
    return _through(ctx, inner, "jobs", [{"path": "template.spec.tasks[0].template", "replicas": 2}])


def _through(ctx: Context, inner: Object, kind: str, pod_sets: list[Object]) -> Outcome:
    namespace = ctx.session.workspaces.get("restricted")
    name = ctx.check.id.partition(".")[2]
    group = inner["apiVersion"]
    component: Object = {"template": inner, **({"podSets": pod_sets} if pod_sets else {})}
    body: Object = {
        "apiVersion": _GROUP,
        "kind": "AppWrapper",
        "metadata": {"name": name, "labels": {**pods.own_labels(ctx), **queues.queued(ctx)}},
        "spec": {"components": [component]},
    }
    path = namespaced("appwrappers", namespace, group=_GROUP)
    inner_path = namespaced(kind, namespace, "wrapped", group=group)
    with queues.queue(ctx, _QUOTA), watching(ctx.kube, path, fieldSelector=f"metadata.name={name}") as seen:
        jobs.submit(ctx, "appwrappers", _GROUP, body)
        jobs.finish(ctx, "appwrappers", _GROUP, name, ended=ended, controller=_CONTROLLER, waits=True)
        workload = queues.workload_of(ctx, "AppWrapper", name)
        made = ctx.kube.find(inner_path) is not None
        jobs.remove(ctx, "appwrappers", _GROUP, name)
        try:
            ctx.wait(lambda: True if ctx.kube.find(inner_path) is None else None, "what was wrapped to go", seconds=30)
            orphan = ""
        except TimedOutError:
            orphan = f"{inner['kind']} wrapped is left after its AppWrapper was deleted"
        went = phases(seen.named(name))
    ctx.save("phases.json", went)
    expected = f"{' → '.join(PHASES)}, admitted by Kueue, and nothing left after deletion"
    problems = [text for text in (seen.broken, orphan) if text]
    if not in_order(went, PHASES):
        problems.append(f"its phases were {' → '.join(went) or 'none'}")
    if not made:
        problems.append(f"no {inner['kind']} was made")
    if workload is None or not jobs.condition(workload, "Admitted"):
        problems.append("Kueue has no admitted Workload for it")
    if problems:
        return failed(expected, " → ".join(went), cause="\n".join(problems), fix=_FIX)
    return passed(expected, f"{' → '.join(went)}, nothing left", data={"phases": went})


def ended(state: Object) -> str:
    phase = (state.get("status") or {}).get("phase", "")
    return {"Succeeded": "done", "Failed": "it is Failed"}.get(phase, "")


def phases(states: Sequence[Object]) -> list[str]:
    """The phases of an AppWrapper in order, each once while it lasts."""
    found: list[str] = []
    for state in states:
        phase = (state.get("status") or {}).get("phase") or ""
        if phase and found[-1:] != [phase]:
            found.append(phase)
    return found


def in_order(went: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether all of `wanted` came, in that order, whatever came between."""
    rest = iter(went)
    return all(phase in rest for phase in wanted)
