"""Who may do what, by the cluster's own RBAC objects: evaluated here, so that a read-only run can tell too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from arena_install.verify.kube import Kube, Object

_API = "/apis/rbac.authorization.k8s.io/v1"


@dataclass(frozen=True)
class Grant:
    """One binding: its rules for its subjects. namespace: where it holds, "" for everywhere."""

    binding: str
    namespace: str
    role: str
    subjects: tuple[tuple[str, str, str], ...]  # (kind, namespace of an account or "", name)
    rules: tuple[Object, ...]

    @property
    def where(self) -> str:
        return (
            f"RoleBinding {self.namespace}/{self.binding}" if self.namespace else f"ClusterRoleBinding {self.binding}"
        )

    def allows(self, verb: str, resource: str, group: str = "") -> bool:
        """Whether it allows this for every object of that kind: a rule for named ones alone does not count."""
        return any(
            _has(rule.get("verbs"), verb)
            and _has(rule.get("apiGroups"), group)
            and _has(rule.get("resources"), resource)
            and not rule.get("resourceNames")
            for rule in self.rules
        )

    @property
    def everything(self) -> bool:
        """Whether it is as much as cluster-admin."""
        return self.allows("*", "*", "*")


def _has(wanted: Any, one: str) -> bool:
    return bool(wanted) and ("*" in wanted or one in wanted)


def read(kube: Kube) -> list[Grant]:
    """Every binding of the cluster with the rules of its role; one whose role is missing grants nothing."""
    cluster = {role["metadata"]["name"]: role for role in kube.items(f"{_API}/clusterroles")}
    local = {(role["metadata"]["namespace"], role["metadata"]["name"]): role for role in kube.items(f"{_API}/roles")}
    grants = []
    for binding in [*kube.items(f"{_API}/clusterrolebindings"), *kube.items(f"{_API}/rolebindings")]:
        meta, reference = binding["metadata"], binding["roleRef"]
        namespace = str(meta.get("namespace", ""))
        name = reference["name"]
        role = cluster.get(name) if reference["kind"] == "ClusterRole" else local.get((namespace, name))
        subjects = tuple(
            (str(s["kind"]), str(s.get("namespace", "")) if s["kind"] == "ServiceAccount" else "", str(s["name"]))
            for s in binding.get("subjects") or ()
        )
        rules = tuple((role or {}).get("rules") or ())
        grants.append(Grant(str(meta["name"]), namespace, name, subjects, rules))
    return grants


def of_account(grants: Sequence[Grant], namespace: str, account: str) -> Iterator[Grant]:
    """The grants that a service account has: by name, as a user, or by one of the groups of every account."""
    mine = {
        ("ServiceAccount", namespace, account),
        ("User", "", f"system:serviceaccount:{namespace}:{account}"),
        *(("Group", "", group) for group in ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")),
        ("Group", "", "system:authenticated"),
    }
    return (grant for grant in grants if mine & set(grant.subjects))


def people(grant: Grant) -> str:
    """Its subjects, for people: "Group a, ServiceAccount ns/b"."""
    return ", ".join(f"{kind} {namespace + '/' if namespace else ''}{name}" for kind, namespace, name in grant.subjects)
