"""What a user has where JupyterHub is installed: a way in, an account with the user's rights for the notebook to work
with, and the hub's right to run it in the user's namespace. See components/jupyterhub/README.md.
"""

from __future__ import annotations

import base64
import secrets
from typing import Any

from arena_install.stack.api import Api
from arena_install.users.names import COMPONENT_LABEL, ROLE, Shared
from arena_install.users.objects import RBAC, Identity

Object = dict[str, Any]

#: As the component's chart names them: its namespace and account, and the ClusterRole that it has with each user.
HUB = "jupyterhub"
_SPAWNER = "arena-install-jupyterhub"
#: As the hub's settings name them.
ACCOUNT = "notebook"
LOGIN = "notebook-login"
_LABELS = {COMPONENT_LABEL: HUB}


def installed(api: Api) -> bool:
    return api.get(f"{RBAC}/v1", "ClusterRole", _SPAWNER, metadata_only=True) is not None


def objects(of: Identity, shared: Shared) -> list[Object]:
    """All but the password."""
    mine = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": of.namespace}
    hub = {"kind": "ServiceAccount", "name": HUB, "namespace": HUB}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _meta(of, ACCOUNT, of.namespace)}
    return [
        account | {"automountServiceAccountToken": False},
        _binding(of, ACCOUNT, "Role", ROLE, mine, of.namespace),
        _binding(of, cluster_binding(of.name), "ClusterRole", shared.cluster_role, mine),
        _binding(of, HUB, "ClusterRole", _SPAWNER, hub, of.namespace),
    ]


def cluster_binding(name: str) -> str:
    """No user's own, whose names have no colon."""
    return f"arena-user-{name}:{ACCOUNT}"


def login(of: Identity) -> Object:
    """With a password nobody has seen: the user reads it there, with the kubeconfig."""
    password = base64.b64encode(secrets.token_urlsafe(18).encode()).decode()
    meta = _meta(of, LOGIN, of.namespace)
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque", "data": {"password": password}}


def revoke(api: Api, namespace: str) -> list[str]:
    """End what the old kubeconfig led to: the password, tokens of the account, the notebook. Returns their names."""
    gone = []
    for kind, name in (("Secret", LOGIN), ("ServiceAccount", ACCOUNT)):
        if api.delete("v1", kind, name, namespace):
            gone.append(f"{kind} {name}")
    for row in api.list_metadata("v1", "Pod", namespace, labelSelector=f"{COMPONENT_LABEL}={HUB}"):
        if api.delete("v1", "Pod", row["metadata"]["name"], namespace):
            gone.append(f"Pod {row['metadata']['name']}")
    return gone


def _meta(of: Identity, name: str, namespace: str = "") -> Object:
    meta = of.meta(name, namespace)
    return meta | {"labels": {**meta["labels"], **_LABELS}}


def _binding(of: Identity, name: str, kind: str, role: str, subject: Object, namespace: str = "") -> Object:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": _meta(of, name, namespace),
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role},
        "subjects": [subject],
    }
