"""Taking a user away. The rights end first; the binding that says whom it was for goes last, so that a killed removal
is found and finished by the next one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from arena_install.errors import ConfigError, TimedOutError
from arena_install.stack.api import Api, ApiError
from arena_install.suggest import did_you_mean
from arena_install.users import certificate, names, notebook, queue
from arena_install.users.found import User, jobs_of, users
from arena_install.users.names import MANAGED, ROLE, SHARED, SHARED_LABEL, USER_LABEL, VIEWER, Shared
from arena_install.users.objects import RBAC

Object = dict[str, Any]

_PATIENCE = 300.0  # seconds for a namespace to go, with all jobs in it
_VOLUMES = 60.0  # seconds for a provisioner to remove what was on its volumes


@dataclass(frozen=True)
class Loss:
    """What goes with a user. jobs: kind -> how many. claims: "name (size)". kept: volumes that outlive their claims."""

    user: User
    jobs: dict[str, int]
    claims: tuple[str, ...]
    kept: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        return {
            "name": self.user.name,
            "namespace": self.user.namespace,
            "jobs": self.jobs,
            "volumes": list(self.claims),
            "kept": list(self.kept),
        }


@dataclass
class Removed:
    gone: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        return {"gone": self.gone, "left": self.left}


def find(api: Api, name: str) -> User:
    """Raises ConfigError for one that arena-install did not make."""
    names.check_name(name)
    every = users(api)
    found = next((user for user in every if user.name == name), None)
    if found is None:
        why = f"namespace {name} is none of ours" if api.get("v1", "Namespace", name, metadata_only=True) else ""
        known = [user.name for user in every]
        raise ConfigError(
            f"there is no user {name} that arena-install made",
            why=why,
            fix=did_you_mean(name, known) if known else "arena-install user add makes one",
        )
    if MANAGED.items() - dict(found.labels).items():
        raise ConfigError(
            f"user {name} is not removed: its namespace does not say that arena-install made it",
            where=f"namespace {found.namespace}",
            why="the label app.kubernetes.io/managed-by is not arena-install",
            fix=f"see what it is: kubectl get namespace {found.namespace} -o yaml",
        )
    return found


def loss(api: Api, user: User) -> Loss:
    """Reads only."""
    if not user.namespace:
        return Loss(user, {}, (), ())
    claims = [
        f"{row['metadata']['name']} ({row['spec']['resources']['requests']['storage']})"
        for row in api.list_objects("v1", "PersistentVolumeClaim", user.namespace)
    ]
    kept = [
        str(row["metadata"]["name"])
        for row in _volumes(api, user.namespace)
        if row["spec"].get("persistentVolumeReclaimPolicy") == "Retain"
    ]
    jobs = jobs_of(api, user.namespace).get(user.namespace, {})
    return Loss(user, jobs, tuple(sorted(claims)), tuple(sorted(kept)))


def remove(api: Api, user: User, shared: Shared = SHARED) -> Removed:
    """Raises TimedOutError where something is still going; the same once more goes on from there."""
    removed = Removed()
    bound = names.cluster_binding(user.name)
    rbac = f"{RBAC}/v1"
    # The rights first, both kinds. The binding itself stays: without subjects it grants nothing, and says who is going.
    if user.namespace and api.delete(rbac, "RoleBinding", ROLE, user.namespace):
        removed.gone.append(f"RoleBinding {ROLE}")
    if user.namespace and api.delete(rbac, "RoleBinding", VIEWER, user.namespace):
        removed.gone.append(f"RoleBinding {VIEWER}")
    removed.gone += _remove_bindings(api, user)
    if api.get(rbac, "ClusterRoleBinding", bound, metadata_only=True) is not None:
        api.merge(rbac, "ClusterRoleBinding", bound, {"subjects": None})
    certificate.clear(api, user.name)
    if user.namespace:
        _remove_namespace(api, user.namespace, removed)
    gone, left = queue.remove_unused(api, queue.version(api), shared)
    removed.gone += gone
    removed.left += left
    if left:
        raise TimedOutError(
            f"user {user.name} is not quite gone", why="\n".join(left), fix=f"arena-install user remove {user.name}"
        )
    others = [
        row["metadata"]["name"]
        for row in api.list_objects(rbac, "ClusterRoleBinding", labelSelector=USER_LABEL)
        if row["roleRef"]["name"] == shared.cluster_role and row["metadata"]["name"] != bound
    ]
    role = api.get(rbac, "ClusterRole", shared.cluster_role, metadata_only=True)
    if not others and role is not None and SHARED_LABEL in (role["metadata"].get("labels") or {}):
        api.delete(rbac, "ClusterRole", shared.cluster_role)
        removed.gone.append(f"ClusterRole {shared.cluster_role}")
    if api.delete(rbac, "ClusterRoleBinding", bound):
        removed.gone.append(f"ClusterRoleBinding {bound}")
    return removed


def _remove_bindings(api: Api, user: User) -> list[str]:
    """Those in the platform's namespaces, and the notebook's for the whole cluster."""
    gone = []
    bound = notebook.cluster_binding(user.name)
    if api.delete(f"{RBAC}/v1", "ClusterRoleBinding", bound):
        gone.append(f"ClusterRoleBinding {bound}")
    for row in api.list_metadata(f"{RBAC}/v1", "RoleBinding", labelSelector=f"{USER_LABEL}={user.name}"):
        space, name = row["metadata"]["namespace"], row["metadata"]["name"]
        ours = (row["metadata"].get("labels") or {}).items() >= MANAGED.items()
        if space != user.namespace and ours and api.delete(f"{RBAC}/v1", "RoleBinding", name, space):
            gone.append(f"RoleBinding {name} in {space}")
    return gone


def _remove_namespace(api: Api, namespace: str, removed: Removed) -> None:
    volumes = [
        str(row["metadata"]["name"])
        for row in _volumes(api, namespace)
        if row["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
    ]
    api.delete("v1", "Namespace", namespace)
    if not api.wait_gone("v1", "Namespace", namespace, seconds=_PATIENCE):
        raise TimedOutError(
            f"namespace {namespace} is still going after {_PATIENCE:.0f} s; its user has no rights any more",
            why=_holding(api, namespace),
            fix=f"kubectl get namespace {namespace} -o yaml says what holds it; then the same command again",
        )
    removed.gone.append(f"Namespace {namespace}")
    deadline = time.monotonic() + _VOLUMES
    for name in volumes:
        if api.wait_gone("v1", "PersistentVolume", name, seconds=max(0.0, deadline - time.monotonic())):
            removed.gone.append(f"PersistentVolume {name}")
        else:
            removed.left.append(f"PersistentVolume {name} is still going")


def _holding(api: Api, namespace: str) -> str:
    try:
        found = api.get("v1", "Namespace", namespace) or {}
    except ApiError:
        return ""
    rows = (found.get("status") or {}).get("conditions") or ()
    return "\n".join(str(row["message"]) for row in rows if row.get("status") == "True" and row.get("message"))


def _volumes(api: Api, namespace: str) -> list[Object]:
    return [
        row
        for row in api.list_objects("v1", "PersistentVolume")
        if ((row["spec"].get("claimRef") or {}).get("namespace")) == namespace
    ]
