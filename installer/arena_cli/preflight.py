"""What a submission needs of the cluster, asked for before anything is made; a sentence for each thing that lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from arena_cli import record
from arena_cli.fields import Object, amount
from arena_cli.kinds import BY_TYPE, KINDS, Kind
from arena_cli.kube import resources
from arena_cli.kube.client import ApiError, Client, at
from arena_install.errors import ArenaError, ConfigError
from arena_install.suggest import did_you_mean

GPU = "nvidia.com/gpu"
_QUEUE = "kueue.x-k8s.io/queue-name"
_DELETE = {"Deployment": "serve delete", "CronJob": "cron delete"}
_BUILT_IN = ("rbac.authorization.k8s.io", "networking.k8s.io", "scheduling.k8s.io")


def check(
    client: Client, namespace: str, job: str, type_: str, values: Mapping[str, Any], objects: Iterable[Object]
) -> None:
    """All questions at once; raises the first error in the order below. What you may not read is not asked about."""
    objects = list(objects)
    mine = values.get("job", {})
    claims = sorted({row["claim"] for row in mine.get("claims", ())})
    sync = mine.get("sync", {}).get("secret")
    secrets = [*mine.get("imagePullSecrets", ()), *([sync] if sync else [])]
    asks: list[Callable[[], ArenaError | None]] = [
        partial(_namespace, client, namespace),
        *(partial(_served, client, obj) for obj in _custom(objects)),
        partial(_free, client, namespace, job, type_, objects[0]),
        *(partial(_claim, client, namespace, name) for name in claims),
        *(partial(_secret, client, namespace, name) for name in dict.fromkeys(secrets)),
        partial(_priority, client, mine.get("priorityClassName", "")),
        partial(_queue, client, namespace, mine.get("jobLabels", {}).get(_QUEUE, "")),
        partial(_quota, client, namespace, int(mine.get("requestGPUs", 0))),
    ]
    for error in client.together([partial(_forgiving, ask) for ask in asks]):
        if error is not None:
            raise error


def _forgiving(ask: Callable[[], ArenaError | None]) -> ArenaError | None:
    try:
        return ask()
    except ApiError as error:
        if error.status == 403:
            return None
        raise


def _custom(objects: Iterable[Object]) -> list[Object]:
    """One object of each kind that some operator brings, also of those inside an AppWrapper."""
    found: dict[str, Object] = {}
    for obj in objects:
        inner = [part["template"] for part in obj.get("spec", {}).get("components", ()) if "template" in part]
        for one in (obj, *inner):
            group = str(one["apiVersion"]).partition("/")[0]
            if "." in group and group not in _BUILT_IN:
                found.setdefault(resources.key(one), one)
    return list(found.values())


def _served(client: Client, obj: Object) -> ArenaError | None:
    api, kind = str(obj["apiVersion"]), str(obj["kind"])
    listed = client.find(f"/apis/{api}")
    if any(row.get("kind") == kind for row in (listed or {}).get("resources", ())):
        return None
    # What is no job itself is Volcano's PodGroup.
    known = next((row for row in KINDS if (row.api, row.resource) == (api, kind)), BY_TYPE["volcanojob"])
    return missing_operator(known, kind)


def missing_operator(kind: Kind, resource: str) -> ConfigError:
    if kind.needs:
        fix = f"the cluster's operator can install it: arena-install up --only {kind.needs}"
    else:
        fix = f"{kind.operator} is not part of arena-install; once it is in the cluster this works"
    return ConfigError(f"this cluster has no {resource}", why=f"{kind.operator} is not installed", fix=fix)


def _namespace(client: Client, namespace: str) -> ArenaError | None:
    if client.find(f"/api/v1/namespaces/{namespace}") is None:
        return ConfigError(f"there is no namespace {namespace}", fix="name your own with -n")
    return None


def _free(client: Client, namespace: str, job: str, type_: str, obj: Object) -> ArenaError | None:
    if not client.find(at("v1", "configmaps", namespace, record.name(job, type_))) and not client.find(
        resources.path(obj, namespace)
    ):
        return None
    return ConfigError(
        f"the job {job} is already exist, please delete it first. use 'arena delete {job}'",
        why=f"a {type_} of that name is in namespace {namespace}",
        fix=f"arena {_DELETE.get(str(obj['kind']), 'delete')} {job} -n {namespace}, or another --name",
    )


def _names(client: Client, path: str) -> list[str]:
    try:
        return [str(row["metadata"]["name"]) for row in client.items(path)]
    except ArenaError:
        return []


def _claim(client: Client, namespace: str, name: str) -> ArenaError | None:
    if client.find(at("v1", "persistentvolumeclaims", namespace, name)):
        return None
    known = _names(client, at("v1", "persistentvolumeclaims", namespace))
    fix = did_you_mean(name, known) if known else "there is none in this namespace; make one first"
    return ConfigError(f"--data: there is no volume claim {name} in namespace {namespace}", fix=fix)


def _secret(client: Client, namespace: str, name: str) -> ArenaError | None:
    if client.find(at("v1", "secrets", namespace, name)):
        return None
    return ConfigError(
        f"there is no Secret {name} in namespace {namespace}",
        why="--image-pull-secret, --sync-secret or arena's configuration names it",
        fix=f"kubectl -n {namespace} create secret docker-registry {name} ...",
    )


def _priority(client: Client, name: str) -> ArenaError | None:
    if not name or client.find(at("scheduling.k8s.io/v1", "priorityclasses", "", name)):
        return None
    every = _names(client, at("scheduling.k8s.io/v1", "priorityclasses"))
    known = [row for row in every if not row.startswith("system-")]
    return ConfigError(
        f"--priority: there is no PriorityClass {name}",
        fix=did_you_mean(name, known) if known else "the cluster has none; leave it out",
    )


def _queue(client: Client, namespace: str, name: str) -> ArenaError | None:
    if not name:
        return None
    api = client.preferred("kueue.x-k8s.io")
    if not api:
        return ConfigError(
            "--kueue-queue: this cluster has no queues",
            why="Kueue is not installed",
            fix="leave it out, or ask the cluster's operator: arena-install up --only kueue",
        )
    if client.find(at(api, "localqueues", namespace, name)):
        return None
    known = _names(client, at(api, "localqueues", namespace))
    fix = did_you_mean(name, known) if known else "there is none in this namespace; ask the cluster's operator for one"
    return ConfigError(f"--kueue-queue: there is no LocalQueue {name} in namespace {namespace}", fix=fix)


def _quota(client: Client, namespace: str, gpus: int) -> ArenaError | None:
    """More GPUs than a quota has in all can never run; more than are free now can wait."""
    if not gpus:
        return None
    for quota in client.items(at("v1", "resourcequotas", namespace)):
        hard = (quota.get("status") or {}).get("hard") or quota.get("spec", {}).get("hard") or {}
        for key in (f"requests.{GPU}", f"limits.{GPU}"):
            if key in hard and amount(key, str(hard[key])) < gpus:
                what = f"the job asks for {gpus} GPUs, and the quota of namespace {namespace} has {hard[key]}"
                return ConfigError(what, where=f"ResourceQuota {quota['metadata']['name']}", fix="ask for fewer")
    return None
