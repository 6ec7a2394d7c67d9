"""The objects that make a user, from the namespace down. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from arena_install.users.names import GPU, ID, LOCAL_QUEUE, MANAGED, ROLE, SHARED_LABEL, USER_LABEL, VIEWER, Shared
from arena_install.users.names import cluster_binding as binding_name
from arena_install.users.role import CLUSTER_RULES, VIEW_RULES, rules, token_rule

Object = dict[str, Any]

RBAC = "rbac.authorization.k8s.io"
#: What a container asks for that says nothing itself: where a quota counts a resource, pods without it are refused.
_UNSAID = {"cpu": "100m", "memory": "256Mi"}
#: The training operator's init container is not ours to shape, and keeps jobs out of `restricted`.
_POD_SECURITY = "baseline"


@dataclass(frozen=True)
class Identity:
    """name: as `user add` has it. user: who the API server takes the certificate's owner for. labels, annotations:
    further ones, on all that is made."""

    name: str
    namespace: str
    id: str
    user: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    def meta(self, name: str, namespace: str = "") -> Object:
        meta: Object = {"name": name, "labels": {**MANAGED, USER_LABEL: self.name, **self.labels}}
        if self.annotations:
            meta["annotations"] = dict(self.annotations)
        return meta | ({"namespace": namespace} if namespace else {})


def namespace(of: Identity) -> Object:
    meta = of.meta(of.namespace)
    meta["labels"] |= {f"pod-security.kubernetes.io/{mode}": _POD_SECURITY for mode in ("enforce", "audit", "warn")}
    meta["annotations"] = {**meta.get("annotations", {}), ID: of.id}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}


def _shared(of: Identity, name: str) -> Object:
    """Of all users: whoever needs it first makes it."""
    meta: Object = {"name": name, "labels": {**MANAGED, SHARED_LABEL: "true", **of.labels}}
    return meta | ({"annotations": dict(of.annotations)} if of.annotations else {})


def cluster_role(of: Identity, shared: Shared) -> Object:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": _shared(of, shared.cluster_role),
        "rules": rules(CLUSTER_RULES),
    }


def cluster_binding(of: Identity, shared: Shared) -> Object:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": of.meta(binding_name(of.name)),
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": shared.cluster_role},
        "subjects": [*_subjects(of), _viewer(of)],
    }


def role(of: Identity) -> Object:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "Role",
        "metadata": of.meta(ROLE, of.namespace),
        "rules": [*rules(), token_rule(VIEWER)],
    }


def binding(of: Identity) -> Object:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": of.meta(ROLE, of.namespace),
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": ROLE},
        "subjects": _subjects(of),
    }


def viewer(of: Identity) -> list[Object]:
    """The account whose tokens let web pages show this user's jobs, and its rights."""
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": of.meta(VIEWER, of.namespace),
            "automountServiceAccountToken": False,
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "Role",
            "metadata": of.meta(VIEWER, of.namespace),
            "rules": rules(VIEW_RULES),
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": of.meta(VIEWER, of.namespace),
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": VIEWER},
            "subjects": [_viewer(of)],
        },
    ]


def platform_binding(of: Identity, namespace: str, role: str) -> Object:
    """A right that a component gives to all users, in its own namespace."""
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": of.meta(f"{role}:{of.name}", namespace),
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": role},
        "subjects": [*_subjects(of), _viewer(of)],
    }


def _subjects(of: Identity) -> list[Object]:
    return [{"apiGroup": RBAC, "kind": "User", "name": of.user}]


def _viewer(of: Identity) -> Object:
    return {"kind": "ServiceAccount", "name": VIEWER, "namespace": of.namespace}


#: What `user add` sets -> the key of a ResourceQuota.
QUOTA = {"gpus": f"requests.{GPU}", "cpu": "requests.cpu", "memory": "requests.memory"}


def quota(of: Identity, hard: Mapping[str, str]) -> Object:
    """hard: by the keys of QUOTA's values."""
    spec = {"hard": dict(hard)}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": of.meta(ROLE, of.namespace), "spec": spec}


def limits(of: Identity, hard: Mapping[str, str]) -> Object | None:
    """What containers are taken to ask for that don't say; None where the quota counts nothing that they could leave
    out."""
    unsaid = {what: amount for what, amount in _UNSAID.items() if f"requests.{what}" in hard}
    if not unsaid:
        return None
    spec = {"limits": [{"type": "Container", "defaultRequest": unsaid}]}
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": of.meta(ROLE, of.namespace), "spec": spec}


def local_queue(of: Identity, api: str, cluster_queue: str) -> Object:
    """api: Kueue's group and version."""
    meta = of.meta(LOCAL_QUEUE, of.namespace)
    return {"apiVersion": api, "kind": "LocalQueue", "metadata": meta, "spec": {"clusterQueue": cluster_queue}}


def flavor(of: Identity, shared: Shared, api: str) -> Object:
    """Any node: no label of nodes is asked for."""
    meta = _shared(of, shared.flavor)
    return {"apiVersion": api, "kind": "ResourceFlavor", "metadata": meta, "spec": {}}


def cluster_queue(of: Identity, shared: Shared, api: str, offered: Mapping[str, str]) -> Object:
    """All that the nodes offer. Kueue never admits a job that asks for a resource which its queue does not cover:
    therefore all of them, and not only GPUs."""
    resources = [{"name": name, "nominalQuota": amount} for name, amount in offered.items()]
    group = {"coveredResources": list(offered), "flavors": [{"name": shared.flavor, "resources": resources}]}
    return {
        "apiVersion": api,
        "kind": "ClusterQueue",
        "metadata": _shared(of, shared.cluster_queue),
        "spec": {"namespaceSelector": {}, "resourceGroups": [group]},
    }
