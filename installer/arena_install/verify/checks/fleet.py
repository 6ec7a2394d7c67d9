"""Jobs of every kind side by side, while something is done to the cluster: what drills of the scheduling suite share.

Each is small and does nothing but stay: what becomes of its pods is the point. All of it is told from a watch.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from arena_install.errors import ArenaError, TimedOutError
from arena_install.verify import pods
from arena_install.verify.checks import jobs, queues, scheduling_jobset, scheduling_mpi, scheduling_wrapped, volcano
from arena_install.verify.checks.scheduling_queue import torch_ended
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Object, namespaced
from arena_install.verify.watch import Change, Watch, watching
from arena_install.verify.workspace import CHECK_LABEL

_KIND_LABEL = "arena-install.local/kind"
_HOST = "kubernetes.io/hostname"
_TORCH, _JOBSET = "kubeflow.org/v1", "jobset.x-k8s.io/v1alpha2"
_WRAPPER = "workload.codeflare.dev/v1beta2"
_ANNOTATION = "workload.codeflare.dev.appwrapper/"
#: What drills with such jobs need: that each kind works by itself.
NEEDS = (
    *(f"scheduling.{name}" for name in ("mpi", "jobset", "wrapped-pytorchjob", "wrapped-volcano-job")),
    *(
        f"component:{name}"
        for name in ("training-operator", "mpi-operator", "jobset", "volcano", "kueue", "appwrapper")
    ),
)


@dataclass(frozen=True)
class Kind:
    """plural: as paths have it. count: of its pods. ended: of its state, as jobs.finish wants it. make: (check, name,
    command of its pods that work) -> the job."""

    name: str
    plural: str
    group: str
    count: int
    ended: Callable[[Object], str]
    make: Callable[[Context, str, Sequence[str]], Object]

    @property
    def job(self) -> str:
        return f"drill-{self.name.lower().replace(' ', '-')}"


@dataclass
class Fate:
    """What became of one job. said: "done", or why it failed, or that it did not end. seconds: from the disturbance to
    its end. lost, fresh: pods that were there before it and went, and pods that came after."""

    said: str = ""
    seconds: float = 0.0
    lost: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)

    @property
    def story(self) -> str:
        pods_ = f"{len(self.lost)} pods lost, {len(self.fresh)} made" if self.lost or self.fresh else "the same pods"
        return f"{'succeeded' if self.said == 'done' else self.said} after {self.seconds:.0f} s, {pods_}"


class Fleet:
    def __init__(self, ctx: Context, seen: Watch) -> None:
        self._ctx, self._seen = ctx, seen
        self._namespace = ctx.session.workspaces.get("restricted")
        self._struck = 0.0  # monotonic
        self.before: dict[str, str] = {}  # uid -> pod's name
        self.at = 0.0  # in the watch's seconds

    def start(self, seconds: int, node: str = "") -> None:
        """Submit all, and wait until all of their pods run. seconds: how long these stay. node: where they would rather
        be. Raises CheckFailed."""
        ctx = self._ctx
        for kind in KINDS:
            body = kind.make(ctx, kind.job, ["sleep", str(seconds)])
            for template in _templates(body):
                template.setdefault("metadata", {}).setdefault("labels", {})[_KIND_LABEL] = kind.job
                if node:
                    template["spec"].setdefault("affinity", {})["nodeAffinity"] = _rather(node)
            jobs.submit(ctx, kind.plural, kind.group, body)
        since: dict[str, float] = {}

        def look() -> bool | None:
            there = pods.found(ctx, self._namespace)
            up = [pod for pod in there if pods.running(pod)]
            waits = [kind.name for kind in KINDS if len(_of(kind, up)) < kind.count]
            for pod in there:
                if not pods.running(pod) and pod["status"].get("phase") != "Failed":
                    pods.judge(ctx, pod, since)
            ctx.progress(f"{len(up)} pods running; waiting for {', '.join(waits) or 'none'}")
            return None if waits else True

        try:
            ctx.wait(look, "jobs of every kind to run", seconds=90, every=0.5)
        except TimedOutError as error:
            pods.capture(ctx, self._namespace)
            raise CheckFailed(error.what, cause="not all of them have all their pods", fix=_FIX) from error

    def on(self, node: str) -> dict[str, list[str]]:
        """kind -> names of its pods on that node that have not ended."""
        there = [pod for pod in pods.found(self._ctx, self._namespace) if pod["spec"].get("nodeName") == node]
        alive = [pod for pod in there if pod["status"].get("phase") in ("Pending", "Running")]
        return {kind.name: [str(pod["metadata"]["name"]) for pod in _of(kind, alive)] for kind in KINDS}

    def strike(self) -> None:
        """Note that it begins now: what the pods are."""
        there = pods.found(self._ctx, self._namespace)
        self.before = {str(pod["metadata"]["uid"]): str(pod["metadata"]["name"]) for pod in there}
        self._struck = time.monotonic()
        self.at = max((change.at for change in self._seen.changes), default=0.0)

    def fates(self, seconds: float) -> dict[str, Fate]:
        """Wait until all jobs have ended, or so many seconds have gone; what became of each, by its kind."""
        ctx = self._ctx
        found = {kind.name: Fate() for kind in KINDS}

        def look() -> bool | None:
            for kind in KINDS:
                fate = found[kind.name]
                if not fate.said:
                    fate.said = kind.ended(ctx.kube.get(self._path(kind)))
                    fate.seconds = time.monotonic() - self._struck
            waits = [name for name, fate in found.items() if not fate.said]
            ctx.progress(f"waiting for {', '.join(waits) or 'none'} to end")
            return None if waits else True

        with contextlib.suppress(TimedOutError):
            ctx.wait(look, "the jobs to end", seconds=seconds, every=1.0)
        pods.capture(ctx, self._namespace)
        for kind in KINDS:
            fate = found[kind.name]
            fate.said = fate.said or "did not end"
            fate.lost, fate.fresh = changed(self.changes(kind), self.before)
            if (state := ctx.kube.find(self._path(kind))) is not None:
                ctx.save(f"{kind.job}-after.yaml", state)
        ctx.save("pods.txt", volcano.story(list(self._seen.changes)))
        ctx.save("fates.json", {name: vars(fate) for name, fate in found.items()})
        return found

    def changes(self, kind: Kind | None = None) -> list[Change]:
        """Of this kind's pods, since it began; of all, where none is named."""
        since = [change for change in list(self._seen.changes) if change.at > self.at]
        return since if kind is None else [change for change in since if _label(change.object) == kind.job]

    @property
    def broken(self) -> list[str]:
        return [self._seen.broken] if self._seen.broken else []

    def _path(self, kind: Kind) -> str:
        return namespaced(kind.plural, self._namespace, kind.job, group=kind.group)

    def end(self) -> None:
        """Remove them all; pods are waited for, within bounds."""
        ctx = self._ctx
        with contextlib.suppress(ArenaError):
            for kind in KINDS:
                ctx.kube.delete(self._path(kind))
            until = time.monotonic() + 30
            while pods.found(ctx, self._namespace) and time.monotonic() < until:
                time.sleep(0.5)


@contextlib.contextmanager
def fleet(ctx: Context) -> Iterator[Fleet]:
    """Jobs of every kind, gone at the end; the AppWrapper goes by a queue of Kueue. Nothing is started yet."""
    namespace = ctx.session.workspaces.get("restricted")
    selector = f"{CHECK_LABEL}={ctx.label}"
    with (
        queues.queue(ctx, {"cpu": "1", "memory": "4Gi"}),
        watching(ctx.kube, namespaced("pods", namespace), labelSelector=selector) as seen,
    ):
        it = Fleet(ctx, seen)
        try:
            yield it
        finally:
            it.end()


def changed(changes: Sequence[Change], before: dict[str, str]) -> tuple[list[str], list[str]]:
    """(pods of before that failed or were taken away, pods that came after); before: uid -> name."""
    lost: dict[str, str] = {}
    fresh: dict[str, str] = {}
    for change in changes:
        meta = change.object["metadata"]
        uid, name = str(meta["uid"]), change.name
        if uid not in before:
            fresh[uid] = name
        elif change.object["status"].get("phase") != "Succeeded" and (
            change.type == "DELETED"
            or meta.get("deletionTimestamp")
            or change.object["status"].get("phase") == "Failed"
        ):
            lost[uid] = name
    return sorted(lost.values()), sorted(fresh.values())


def _of(kind: Kind, there: Sequence[Object]) -> list[Object]:
    return [pod for pod in there if _label(pod) == kind.job]


def _label(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(_KIND_LABEL, ""))


def _rather(node: str) -> Object:
    expression = {"key": _HOST, "operator": "In", "values": [node]}
    term = {"weight": 100, "preference": {"matchExpressions": [expression]}}
    return {"preferredDuringSchedulingIgnoredDuringExecution": [term]}


def _templates(part: object) -> Iterator[Object]:
    """The pod templates in a job, wherever they are."""
    if isinstance(part, dict):
        if "containers" in (part.get("spec") or {}):
            yield part
        for value in part.values():
            yield from _templates(value)
    elif isinstance(part, list):
        for value in part:
            yield from _templates(value)


# ---- the kinds ------------------------------------------------------------------------------------------------------


def _torch(ctx: Context, name: str, command: Sequence[str]) -> Object:
    part = jobs.template(ctx, "pytorch", pods.BUSYBOX, command)
    part["spec"].pop("restartPolicy")
    master = {"replicas": 1, "restartPolicy": "OnFailure", "template": part}
    spec = {"runPolicy": {"cleanPodPolicy": "None", "backoffLimit": 6}, "pytorchReplicaSpecs": {"Master": master}}
    return {"apiVersion": _TORCH, "kind": "PyTorchJob", "metadata": _meta(ctx, name), "spec": spec}


def _mpi(ctx: Context, name: str, command: Sequence[str]) -> Object:
    body = scheduling_mpi.manifest(ctx, name, command, retries=6)
    worker = body["spec"]["mpiReplicaSpecs"]["Worker"]["template"]["spec"]
    worker.pop("topologySpreadConstraints", None)  # a drill chooses their node
    return body


def _jobset(ctx: Context, name: str, command: Sequence[str]) -> Object:
    def job(part: str, count: int) -> Object:
        template = jobs.template(ctx, part, pods.BUSYBOX, command)
        spec = {"parallelism": count, "completions": count, "backoffLimit": 3, "template": template}
        return {"name": part, "replicas": 1, "template": {"spec": spec}}

    spec = {"failurePolicy": {"maxRestarts": 3}, "replicatedJobs": [job("leader", 1), job("workers", 2)]}
    return {"apiVersion": _JOBSET, "kind": "JobSet", "metadata": _meta(ctx, name), "spec": spec}


def _volcano(ctx: Context, name: str, command: Sequence[str]) -> Object:
    body = volcano.manifest(ctx, name, 2, command, gpus=0)
    body["spec"] |= {"maxRetry": 5, "policies": [{"event": "PodEvicted", "action": "RestartJob"}]}
    return body


def _wrapper(ctx: Context, name: str, command: Sequence[str]) -> Object:
    part = jobs.template(ctx, "main", pods.BUSYBOX, command)
    spec: Object = {"parallelism": 1, "completions": 1, "backoffLimit": 0, "template": part}
    inner = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}
    meta = _meta(ctx, name)
    meta["labels"] |= queues.queued(ctx)
    periods = {"failureGracePeriodDuration": "1s", "retryPausePeriodDuration": "1s", "retryLimit": "3"}
    meta["annotations"] = {f"{_ANNOTATION}{key}": value for key, value in periods.items()}
    return {
        "apiVersion": _WRAPPER,
        "kind": "AppWrapper",
        "metadata": meta,
        "spec": {"components": [{"template": inner}]},
    }


def _meta(ctx: Context, name: str) -> Object:
    return {"name": name, "labels": pods.own_labels(ctx)}


_FIX = "see the pods and events in the evidence; arena-install verify --suite scheduling shows which kind does not work"

KINDS = (
    Kind("PyTorchJob", "pytorchjobs", _TORCH, 1, torch_ended, _torch),
    Kind("MPIJob", "mpijobs", scheduling_mpi.GROUP, 3, scheduling_mpi.ended, _mpi),
    Kind("JobSet", "jobsets", _JOBSET, 3, scheduling_jobset.ended, _jobset),
    Kind("Volcano Job", "jobs", volcano.GROUP, 2, volcano.ended, _volcano),
    Kind("AppWrapper", "appwrappers", _WRAPPER, 1, scheduling_wrapped.ended, _wrapper),
)
