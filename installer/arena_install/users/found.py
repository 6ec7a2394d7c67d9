"""Users that are there: by their namespaces, and by the binding that goes last when one is removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from arena_install.stack.api import Api
from arena_install.users import names
from arena_install.users.names import GPU, ID, LOCAL_QUEUE, ROLE, UNTIL, USER_LABEL
from arena_install.users.objects import RBAC
from arena_install.users.quantity import parse
from arena_install.users.queue import version
from arena_install.users.role import JOBS

Object = dict[str, Any]


@dataclass(frozen=True)
class User:
    """name, and the namespace's name, "" where it has gone already; whether it is going; its id and annotations."""

    name: str
    namespace: str
    id: str = ""
    until: str = ""
    going: bool = False
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def identity(self) -> str:
        return names.identity(self.name, self.id)


@dataclass(frozen=True)
class Row:
    """What `user list` shows. gpus, used: of the quota; -1 where there is none. jobs: by kind."""

    user: User
    gpus: int
    used: int
    jobs: dict[str, int]
    queue: str

    def as_dict(self) -> dict[str, object]:
        return {
            "name": self.user.name,
            "namespace": self.user.namespace,
            "gpus": {"used": max(self.used, 0), "quota": self.gpus if self.gpus >= 0 else None},
            "jobs": self.jobs,
            "queue": self.queue,
            "certificate_until": self.user.until,
            "state": state(self.user),
        }


def state(user: User) -> str:
    if not user.namespace or user.going:
        return "being removed"
    return "ready" if user.until else "half made"


def users(api: Api) -> list[User]:
    """By name."""
    found = {
        str(space["metadata"]["labels"][USER_LABEL]): _user(space)
        for space in api.list_metadata("v1", "Namespace", labelSelector=USER_LABEL)
    }
    for row in api.list_metadata(f"{RBAC}/v1", "ClusterRoleBinding", labelSelector=USER_LABEL):
        labels = row["metadata"]["labels"]
        found.setdefault(labels[USER_LABEL], User(labels[USER_LABEL], "", labels=tuple(sorted(labels.items()))))
    return [found[name] for name in sorted(found)]


def _user(space: Object) -> User:
    meta = space["metadata"]
    notes = meta.get("annotations") or {}
    return User(
        str(meta["labels"][USER_LABEL]),
        str(meta["name"]),
        str(notes.get(ID, "")),
        str(notes.get(UNTIL, "")),
        bool(meta.get("deletionTimestamp")),
        tuple(sorted(meta["labels"].items())),
    )


def rows(api: Api) -> list[Row]:
    """Every user with what it uses: one list for each kind, whatever the number of users."""
    every = users(api)
    if not every:
        return []
    quotas = {
        row["metadata"]["namespace"]: row
        for row in api.list_objects("v1", "ResourceQuota", labelSelector=USER_LABEL)
        if row["metadata"]["name"] == ROLE
    }
    kueue = version(api)
    queues = {
        row["metadata"]["namespace"]: str(row["spec"]["clusterQueue"])
        for row in (api.list_objects(kueue, "LocalQueue", labelSelector=USER_LABEL) if kueue else ())
        if row["metadata"]["name"] == LOCAL_QUEUE
    }
    jobs = jobs_of(api)
    return [
        Row(user, *_gpus(quotas.get(user.namespace)), jobs.get(user.namespace, {}), queues.get(user.namespace, ""))
        for user in every
    ]


def _gpus(quota: Object | None) -> tuple[int, int]:
    """(quota, used)"""
    key = f"requests.{GPU}"
    hard = ((quota or {}).get("spec") or {}).get("hard") or {}
    used = ((quota or {}).get("status") or {}).get("used") or {}
    return (int(parse(str(hard[key]))) if key in hard else -1, int(parse(str(used.get(key, 0)))))


def jobs_of(api: Api, namespace: str = "") -> dict[str, dict[str, int]]:
    """namespace -> kind -> how many jobs; what belongs to another job (its TensorBoard, an AppWrapper's inside) is a
    part of that one."""
    found: dict[str, dict[str, int]] = {}
    for version_, kind, called in JOBS:
        for row in api.list_metadata(version_, kind, namespace):
            meta = row["metadata"]
            if not meta.get("ownerReferences"):
                mine = found.setdefault(str(meta["namespace"]), {})
                mine[called] = mine.get(called, 0) + 1
    return found
