"""Queues that checks of Kueue make: a flavor and a ClusterQueue for one check, and a LocalQueue in its namespace.

The first two belong to no namespace: they are taken away here, whatever happens, and what a killed run left is removed
by the next one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping

from arena_install.errors import ArenaError
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import ApiError, Object, namespaced, segment
from arena_install.verify.workspace import CHECK_LABEL, RUN_LABEL

GROUP = "kueue.x-k8s.io/v1beta2"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
NAME = "verify"  # of the LocalQueue
DOWN = "kubectl -n kueue-system get pods; kubectl -n kueue-system logs deployment/kueue-controller-manager"
_EXPIRES = "arena-install.local/expires"
_LIFETIME = 3600  # seconds after which a queue belongs to a run that is dead


@contextlib.contextmanager
def queue(ctx: Context, quota: Mapping[str, str]) -> Iterator[str]:
    """A ClusterQueue with exactly this quota (resource -> quantity), for the namespace "restricted"; gives its name.

    Raises CheckFailed where Kueue does not take it.
    """
    namespace = ctx.session.workspaces.get("restricted")
    name = f"arena-verify-{ctx.session.id}-{ctx.check.id.partition('.')[2]}"
    meta: Object = {
        "name": name,
        "labels": {RUN_LABEL: ctx.session.id, CHECK_LABEL: ctx.label},
        "annotations": {_EXPIRES: str(int(time.time()) + _LIFETIME)},
    }
    resources = [{"name": resource, "nominalQuota": amount} for resource, amount in quota.items()]
    group = {"coveredResources": list(quota), "flavors": [{"name": name, "resources": resources}]}
    _sweep(ctx)
    try:
        _create(ctx, "resourceflavors", {"kind": "ResourceFlavor", "metadata": meta, "spec": {}})
        spec: Object = {"namespaceSelector": {}, "resourceGroups": [group]}
        _create(ctx, "clusterqueues", {"kind": "ClusterQueue", "metadata": meta, "spec": spec})
        local: Object = {"kind": "LocalQueue", "metadata": {"name": local_name(ctx)}, "spec": {"clusterQueue": name}}
        ctx.kube.create(namespaced("localqueues", namespace, group=GROUP), {"apiVersion": GROUP, **local})
        yield name
    finally:
        problem = _remove(ctx, namespace, name)
        if problem:
            ctx.progress(problem)


def local_name(ctx: Context) -> str:
    """Checks run side by side in one namespace, each with a queue of its own."""
    return f"{NAME}-{ctx.check.id.partition('.')[2]}"


def queued(ctx: Context) -> dict[str, str]:
    """The label by which a job goes through this check's queue."""
    return {QUEUE_LABEL: local_name(ctx)}


def workload_of(ctx: Context, kind: str, name: str) -> Object | None:
    """Kueue's Workload for a job, None while there is none."""
    namespace = ctx.session.workspaces.get("restricted")
    for workload in ctx.kube.items(namespaced("workloads", namespace, group=GROUP)):
        owners = workload["metadata"].get("ownerReferences") or ()
        if any(owner["kind"] == kind and owner["name"] == name for owner in owners):
            return workload
    return None


def _create(ctx: Context, kind: str, body: Object) -> None:
    try:
        ctx.kube.create(f"/apis/{GROUP}/{kind}", {"apiVersion": GROUP, **body})
    except ApiError as error:
        raise CheckFailed(f"the API took no {body['kind']}", cause=error.why, fix=DOWN) from error


def _remove(ctx: Context, namespace: str, name: str) -> str:
    """Queue first: the flavor is in use by it until Kueue has let go of both. Returns what could not be done."""
    paths = [
        namespaced("localqueues", namespace, local_name(ctx), group=GROUP),
        *(f"/apis/{GROUP}/{kind}/{segment(name)}" for kind in ("clusterqueues", "resourceflavors")),
    ]
    try:
        for path in paths:
            ctx.kube.delete(path)
        until = time.monotonic() + 20
        while any(ctx.kube.find(path) for path in paths):
            if time.monotonic() > until:
                return f"ClusterQueue {name} is still going; the next run removes it"
            time.sleep(0.3)
    except ArenaError as error:
        return f"ClusterQueue {name} could not be removed: {error.why or error.what}"
    return ""


def _sweep(ctx: Context) -> None:
    for kind in ("clusterqueues", "resourceflavors"):
        for left in ctx.kube.items(f"/apis/{GROUP}/{kind}", labelSelector=RUN_LABEL):
            expires = (left["metadata"].get("annotations") or {}).get(_EXPIRES, "")
            if expires.isdigit() and int(expires) < time.time():
                ctx.kube.delete(f"/apis/{GROUP}/{kind}/{segment(left['metadata']['name'])}")
