"""The API server's audit log as evidence: who wrote what in the cluster since a moment.

The policy (roles/control_plane/files/audit-policy.yaml) leaves out events, leases and what kubelets report of their
own node and pods, so all that is left was done by somebody for a reason.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass

LOGS = "/var/log/kubernetes/audit/audit*.log"
INSTALLER = "kubernetes-admin"
WRITES = ("create", "update", "patch", "delete", "deletecollection")
#: Questions that are asked by creating an object which is never stored.
QUESTIONS = ("authentication.k8s.io", "authorization.k8s.io")


@dataclass(frozen=True)
class Write:
    user: str
    verb: str
    resource: str  # pods, or with its subresource: pods/status
    namespace: str
    name: str

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.user}: {self.verb} {self.resource} {where}"

    @property
    def kind(self) -> str:
        return self.resource.partition("/")[0]

    @property
    def of_a_check(self) -> bool:
        """In a namespace that verify made for itself, or that namespace."""
        return (self.namespace or self.name).startswith("arena-verify-")

    @property
    def of_the_books(self) -> bool:
        """What the installer keeps for itself, and what it applies again of a component: a pod that this replaced is
        seen by its own deletion."""
        return (
            (self.resource == "secrets" and self.name.startswith(("bootstrap-token-", "sh.helm.release.v1.")))
            or (self.resource == "configmaps" and self.name == "arena-install-ledger")
            or (self.verb == "patch" and self.resource in ("namespaces", "runtimeclasses", "daemonsets"))
        )


def writes(lines: Iterable[str], since: str) -> list[Write]:
    """Every write, also one that was refused; since: UTC as in the log, 2026-01-31T10:20:30.123456Z."""
    found = []
    for line in lines:
        event = json.loads(line)
        target = event.get("objectRef")
        if not target or event["verb"] not in WRITES or event["requestReceivedTimestamp"] < since:
            continue
        if target.get("apiGroup") in QUESTIONS or "dryRun=All" in event["requestURI"]:
            continue
        resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
        where = target.get("namespace", "") if target["resource"] != "namespaces" else ""
        found.append(Write(event["user"]["username"], event["verb"], resource, where, target.get("name", "")))
    return found


def beyond(found: Iterable[Write], host: str, pods: Collection[str]) -> list[str]:
    """Writes that adding this host does not explain. pods: names of the pods that ran on other hosts before.

    Whoever it was: no other Node and no pod of another host is written to. The installer itself writes that Node, its
    own books and what checks use; the kubelets of other hosts write nothing but requests for their pods' tokens.
    """
    return [
        str(write)
        for write in found
        if not write.of_a_check
        and (
            (write.kind == "nodes" and write.name != host)
            or (write.kind == "pods" and write.name in pods)
            or (write.user == INSTALLER and write.name != host and not write.of_the_books)
            or (_another_kubelet(write.user, host) and write.resource != "serviceaccounts/token")
        )
    ]


def _another_kubelet(user: str, host: str) -> bool:
    return user.startswith("system:node:") and user != f"system:node:{host}"
