"""Which ClusterQueue a user's jobs go to, and the one that is made where a cluster has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arena_install.errors import ConfigError
from arena_install.stack.api import Api, ApiError
from arena_install.suggest import did_you_mean
from arena_install.users import quantity
from arena_install.users.names import LOCAL_QUEUE, SHARED_LABEL, Shared
from arena_install.users.objects import Identity, cluster_queue, flavor

Object = dict[str, Any]

_VERSIONS = ("kueue.x-k8s.io/v1beta2", "kueue.x-k8s.io/v1beta1")
_GONE = 30.0  # seconds that Kueue has to let go of a queue
#: On queues that a run of verify made for itself.
_PASSING = "arena-install.local/verify"


def version(api: Api) -> str:
    """Kueue's group and version, "" where it is not installed."""
    return next((one for one in _VERSIONS if api.knows(one, "ClusterQueue")), "")


def choose(api: Api, kueue: str, namespace: str, labels: Mapping[str, str], wanted: str, shared: Shared) -> str:
    """The ClusterQueue for this namespace, whose labels will be these: the one that was asked for, the one that it has,
    the only one there is, or else ours, which may be still to be made; "" without Kueue. Writes nothing.

    Raises ConfigError for one that is not there, does not take this namespace, or differs from what the user has; and
    where there are several to choose from.
    """
    if not kueue:
        if wanted:
            raise ConfigError(
                f"--queue {wanted}: this cluster has no queues",
                why="Kueue is not installed",
                fix="leave it out, or arena-install up --only kueue",
            )
        return ""
    local = api.get(kueue, "LocalQueue", LOCAL_QUEUE, namespace)
    has = str(local["spec"]["clusterQueue"]) if local else ""
    if has and wanted not in ("", has):
        raise ConfigError(
            f"--queue {wanted}: the jobs of namespace {namespace} go to {has}",
            why="Kueue lets no LocalQueue change its ClusterQueue",
            fix=f"once no job waits there: kubectl -n {namespace} delete localqueue {LOCAL_QUEUE}, then the same again",
        )
    there = {str(row["metadata"]["name"]): row for row in api.list_objects(kueue, "ClusterQueue")}
    lasting = [name for name, row in there.items() if _PASSING not in (row["metadata"].get("labels") or {})]
    name = wanted or has or (shared.cluster_queue if shared.own or shared.cluster_queue in there else "")
    if not name and len(lasting) > 1:
        raise ConfigError(
            f"this cluster has {len(lasting)} ClusterQueues",
            why=", ".join(sorted(lasting)),
            fix="say which one with --queue",
        )
    name = name or (lasting[0] if lasting else shared.cluster_queue)
    if wanted and wanted not in there:
        raise ConfigError(
            f"--queue: there is no ClusterQueue {wanted}",
            fix=did_you_mean(wanted, sorted(lasting)) if lasting else "the cluster has none; leave it out",
        )
    if name in there and not takes(there[name]["spec"].get("namespaceSelector"), labels):
        raise ConfigError(
            f"ClusterQueue {name} takes no jobs from namespace {namespace}",
            why="its namespaceSelector does not match the namespace's labels",
            fix=f"kubectl edit clusterqueue {name}, or another one with --queue",
        )
    if name not in there:
        _check_flavor(api, kueue, shared)
    return name


def _check_flavor(api: Api, kueue: str, shared: Shared) -> None:
    found = api.get(kueue, "ResourceFlavor", shared.flavor)
    if found and SHARED_LABEL not in (found["metadata"].get("labels") or {}):
        raise ConfigError(
            f"there is a ResourceFlavor {shared.flavor} that arena-install did not make",
            why="a ClusterQueue is to be made, with a flavor of that name for any node",
            fix="make a ClusterQueue of your own with it, and name that with --queue",
        )


def wanted(api: Api, kueue: str, of: Identity, shared: Shared, name: str) -> list[Object]:
    """Flavor and ClusterQueue as they are to be; none where the queue is somebody else's."""
    if not kueue or name != shared.cluster_queue:
        return []
    found = api.get(kueue, "ClusterQueue", name)
    if found and SHARED_LABEL not in (found["metadata"].get("labels") or {}):
        return []
    offered = quantity.offered(api.list_objects("v1", "Node"))
    return [flavor(of, shared, kueue), cluster_queue(of, shared, kueue, offered)]


def takes(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches, by Kubernetes' rules: none at all matches nothing, an empty one everything."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(row, labels) for row in selector.get("matchExpressions") or ())


def _holds(row: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = row["key"], row.get("values") or ()
    has = key in labels
    return {
        "In": has and labels.get(key) in values,
        "NotIn": not has or labels[key] not in values,
        "Exists": has,
        "DoesNotExist": not has,
    }[row["operator"]]


def remove_unused(api: Api, kueue: str, shared: Shared) -> tuple[list[str], list[str]]:
    """Remove the queue and the flavor if we made them and nobody uses them; (what went, what stays and why)."""
    if not kueue:
        return [], []
    queue = _ours(api, kueue, "ClusterQueue", shared.cluster_queue)
    users = [
        f"{row['metadata']['namespace']}/{row['metadata']['name']}"
        for row in api.list_objects(kueue, "LocalQueue")
        if row["spec"].get("clusterQueue") == shared.cluster_queue
    ]
    if users:
        return [], []
    gone, left = [], []
    if queue:
        api.delete(kueue, "ClusterQueue", shared.cluster_queue)
        if not api.wait_gone(kueue, "ClusterQueue", shared.cluster_queue, seconds=_GONE):
            return [], [f"ClusterQueue {shared.cluster_queue} is still going: a job of it has not ended"]
        gone.append(f"ClusterQueue {shared.cluster_queue}")
    if _ours(api, kueue, "ResourceFlavor", shared.flavor) and not _uses_flavor(api, kueue, shared.flavor):
        api.delete(kueue, "ResourceFlavor", shared.flavor)
        if api.wait_gone(kueue, "ResourceFlavor", shared.flavor, seconds=_GONE):
            gone.append(f"ResourceFlavor {shared.flavor}")
        else:
            left.append(f"ResourceFlavor {shared.flavor} is still going")
    return gone, left


def _ours(api: Api, kueue: str, kind: str, name: str) -> bool:
    found = api.get(kueue, kind, name, metadata_only=True)
    return found is not None and SHARED_LABEL in (found["metadata"].get("labels") or {})


def _uses_flavor(api: Api, kueue: str, name: str) -> bool:
    return any(
        row["name"] == name
        for queue in api.list_objects(kueue, "ClusterQueue")
        for group in queue["spec"].get("resourceGroups") or ()
        for row in group["flavors"]
    )


def changed_by_others(error: ApiError) -> str:
    """Who holds what we would change, of a conflict's text."""
    return error.message.partition(":")[0] or error.reason
