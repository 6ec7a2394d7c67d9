"""What checks of suite security make of recorded objects and answers, each both ways."""

from __future__ import annotations

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from arena_install import stack
from arena_install.inventory.cluster import Cluster
from arena_install.verify import powers, rbac, registry
from arena_install.verify.checks import security, security_agents, security_report
from arena_install.verify.context import Context
from arena_install.verify.model import Outcome
from arena_install.verify.session import Session

RBAC = "/apis/rbac.authorization.k8s.io/v1"
EVERYTHING = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
VIEW = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]


def role(name: str, rules: list[Any]) -> dict[str, Any]:
    return {"metadata": {"name": name}, "rules": rules}


def binding(name: str, to: str, *subjects: tuple[str, str], namespace: str = "") -> dict[str, Any]:
    rows = [{"kind": kind, "name": who, "namespace": "default"} for kind, who in subjects]
    meta = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"metadata": meta, "roleRef": {"kind": "ClusterRole", "name": to}, "subjects": rows}


class FakeKube:
    def __init__(self, *bindings: dict[str, Any], statuses: dict[str, int] | None = None, **lists: list[Any]) -> None:
        self.lists = {
            f"{RBAC}/clusterroles": [role("cluster-admin", EVERYTHING), role("view", VIEW)],
            f"{RBAC}/clusterrolebindings": [
                binding("cluster-admin", "cluster-admin", ("Group", "system:masters")),
                *(row for row in bindings if "namespace" not in row["metadata"]),
            ],
            f"{RBAC}/rolebindings": [row for row in bindings if "namespace" in row["metadata"]],
            "/api/v1/namespaces": [{"metadata": {"name": "default"}}],
        }
        self.lists |= {f"/api/v1/{name}": rows for name, rows in lists.items()}
        self.statuses = statuses or {}

    def items(self, path: str, **_: Any) -> list[Any]:
        return self.lists.get(path, [])

    def as_user(self) -> FakeKube:
        return self

    def status(self, path: str) -> int:
        return self.statuses.get(path, 200 if path in security._OPEN else 403)


def run(session: Session, id: str, kube: Any) -> Outcome:
    session.kube = kube
    check = registry.load()[id]
    return check.run(Context(session, check))


@pytest.mark.parametrize("id", ["security.anonymous", "security.admins", "security.default-accounts"])
def test_a_cluster_as_kubeadm_makes_it(session: Session, id: str) -> None:
    assert run(session, id, FakeKube()).status == "pass"


def test_nobody_may_look(session: Session) -> None:
    outcome = run(session, "security.anonymous", FakeKube(statuses={"/api/v1/pods": 200}))
    assert (outcome.status, outcome.cause) == ("fail", "GET /api/v1/pods is answered with 200")
    outcome = run(session, "security.anonymous", FakeKube(binding("open", "view", ("User", "system:anonymous"))))
    assert outcome.cause == "ClusterRoleBinding open gives view to User system:anonymous"
    assert outcome.fix == "kubectl delete clusterrolebinding open"


def test_a_strange_administrator(session: Session) -> None:
    outcome = run(session, "security.admins", FakeKube(binding("mine", "cluster-admin", ("ServiceAccount", "ci"))))
    assert outcome.cause == "ClusterRoleBinding mine gives cluster-admin to ServiceAccount default/ci"


def test_a_default_account_with_rights(session: Session) -> None:
    local = binding("loose", "cluster-admin", ("ServiceAccount", "default"), namespace="default")
    outcome = run(session, "security.default-accounts", FakeKube(local))
    assert outcome.status == "fail" and outcome.fix.startswith("kubectl delete rolebinding loose -n default")
    outcome = run(
        session, "security.default-accounts", FakeKube(binding("all", "view", ("Group", "system:serviceaccounts")))
    )
    assert outcome.status == "pass"  # it may look at pods, neither at secrets nor make any
    wide = FakeKube(binding("all", "cluster-admin", ("Group", "system:serviceaccounts")))
    assert run(session, "security.default-accounts", wide).status == "fail"


def test_rules_for_named_objects_are_no_right_to_all() -> None:
    named: dict[str, Any] = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["one"]}
    grant = rbac.Grant("b", "", "r", (), (named,))
    assert not grant.allows("get", "secrets")
    assert not rbac.Grant("b", "", "r", (), tuple(VIEW)).everything


# ---- namespaces and pods --------------------------------------------------------------------------------------------


def space(name: str, level: str = "", ours: bool = True) -> dict[str, Any]:
    labels = {"app.kubernetes.io/managed-by": "arena-install"} if ours else {}
    labels |= {"pod-security.kubernetes.io/enforce": level} if level else {}
    return {"metadata": {"name": name, "labels": labels}}


def test_levels_of_pod_security(session: Session) -> None:
    system = space("kube-system", "privileged", ours=False)
    good = [system, space("kubeflow", "baseline"), space("users-own", ours=False)]
    assert run(session, "security.pod-security", FakeKube(namespaces=good)).status == "pass"
    outcome = run(session, "security.pod-security", FakeKube(namespaces=[system, space("kubeflow")]))
    assert outcome.cause == "kubeflow enforces no level" and outcome.fix.endswith("kubeflow --overwrite "
        "pod-security.kubernetes.io/enforce=baseline")  # fmt: skip
    outcome = run(session, "security.pod-security", FakeKube(namespaces=[space("kubeflow", "privileged")]))
    assert outcome.cause == "kubeflow enforces privileged, its component declares baseline"


def pod(name: str, kind: str = "DaemonSet", owner: str = "flannel", **spec: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "kube-flannel", "ownerReferences": [{"kind": kind, "name": owner}]}
    return {"metadata": meta, "spec": {"containers": [{"name": "c"}], **spec}}


def test_what_pods_have_is_named() -> None:
    strong = pod(
        "p",
        hostNetwork=True,
        volumes=[{"hostPath": {"path": "/run/flannel"}}, {"emptyDir": {}}],
        containers=[
            {"name": "c", "securityContext": {"privileged": True, "capabilities": {"add": ["NET_ADMIN", "CHOWN"]}}},
        ],
    )
    assert powers.powers(strong) == {"hostNetwork", "privileged", "hostPath /run/flannel", "capability NET_ADMIN"}
    assert powers.powers(pod("p", containers=[{"name": "c", "ports": [{"hostPort": 80}]}])) == {"hostPort 80"}
    assert powers.powers(pod("p")) == set()


def test_the_workload_of_a_pod() -> None:
    deployed = pod("coredns-abc-xyz", "ReplicaSet", "coredns-abc")
    deployed["metadata"]["labels"] = {"pod-template-hash": "abc"}
    assert powers.workload(deployed) == "coredns"
    assert powers.workload(pod("etcd-cp1", "Node", "cp1")) == "etcd"
    assert powers.workload({"metadata": {"name": "lonely"}, "spec": {}}) == "lonely"


def test_pods_with_more_than_was_declared(session: Session) -> None:
    spaces = [space("kube-flannel", "privileged")]
    declared = pod("flannel-1", hostNetwork=True, volumes=[{"hostPath": {"path": "/run/flannel"}}])
    outcome = run(session, "security.privileges", FakeKube(namespaces=spaces, pods=[declared]))
    assert (outcome.status, outcome.observed) == ("pass", "1 pods, 1 of them with declared powers")
    more = pod("flannel-2", hostPID=True)
    outcome = run(session, "security.privileges", FakeKube(namespaces=spaces, pods=[declared, more]))
    assert (outcome.status, outcome.cause) == ("fail", "kube-flannel/flannel-2: hostPID")


def test_declared_powers_are_words_that_exist() -> None:
    known = ("hostNetwork", "hostPID", "hostIPC", "privileged")
    for workloads in security.declarations().values():
        for words in workloads.values():
            for word in words:
                assert word in known or word.startswith(("hostPath ", "hostPort ", "capability ")), word
    assert {"etcd", "kube-proxy"} <= security.declarations()["kube-system"].keys()
    assert set(security.declarations()) > {row.namespace.name for row in stack.catalogue().values()}


# ---- what agents say ------------------------------------------------------------------------------------------------


def test_kubelets_that_refuse_and_that_do_not() -> None:
    names = {"10.0.0.1": "cp1", "10.0.0.2": "w1"}
    good = "kubelet 10.0.0.1 401 closed\nkubelet 10.0.0.2 401 closed\n"
    assert security_agents.kubelet_problems(good, names) == []
    assert security_agents.kubelet_problems("kubelet 10.0.0.1 200 open\n", names) == [
        "cp1: an anonymous GET /pods is answered with 200",
        "cp1: the read-only port 10255 is open",
        "w1: its kubelet was not heard",
    ]


def test_what_etcd_wrote() -> None:
    good = {"cp1": "log ./1.wal 0 1 k8s:enc:secretbox:v1:key1:\nlog ./0.wal 0 0 \n"}
    assert security_agents.at_rest(good) == ([], {"secretbox"})
    assert security_agents.at_rest({"cp1": "log ./1.wal 1 1 \n"})[0] == [
        "cp1: the Secret's value is in etcd's log in clear"
    ]
    assert "nothing can be said" in security_agents.at_rest({"cp1": "log ./1.wal 0 0 \n"})[0][0]


def test_what_is_a_refusal() -> None:
    assert security_agents.refused("answer 405 78") and security_agents.refused("answer 401")
    assert not security_agents.refused("answer 202 0")
    assert not security_agents.refused("error connect:errno=111") and not security_agents.refused("")


# ---- the report -----------------------------------------------------------------------------------------------------


def secret(value: bytes, type: str = "Opaque") -> dict[str, Any]:
    data = {"key": base64.b64encode(value).decode()}
    return {"metadata": {"namespace": "n", "name": "s"}, "type": type, "data": data}


def test_values_worth_looking_for() -> None:
    rows = [secret(b"correct horse battery"), secret(b"short"), secret(b"x" * 99, "helm.sh/release.v1")]
    rows.append(secret(b"-----BEGIN CERTIFICATE-----\nabcdefghijklmnop\n-----END CERTIFICATE-----"))
    known = security_report.cluster_secrets(rows)
    assert known.keys() == {b"correct horse battery", base64.b64encode(b"correct horse battery")}
    assert set(known.values()) == {"the value of key in Secret n/s"}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("GREETING=correct horse battery\n", "the value of key in Secret n/s"),
        ("-----BEGIN EC PRIVATE KEY-----\n", "a private key"),
        ("Bearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2lnbmF0dXJlc2lnbmF0dXJl", "a service account's token"),
        (f"    client-key-data: {'QUJD' * 20}", "a private key of a kubeconfig"),
    ],
)
def test_a_report_with_a_secret(session: Session, cluster: Cluster, tmp_path: Path, text: str, what: str) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("users: [{name: a, user: {token: abcdefghijklmnop}}]")
    out = tmp_path / "out"
    (out / "evidence").mkdir(parents=True)
    session.folders = (out,)
    kube: Any = SimpleNamespace(items=lambda _: [secret(b"correct horse battery")], file=kubeconfig)
    (out / "evidence" / "pods.yaml").write_text("nothing of note\n")
    outcome = run(session, "security.report", kube)
    assert (outcome.status, outcome.observed) == ("pass", "1 files read")
    (out / "evidence" / "log.txt").write_text(text)
    outcome = run(session, "security.report", kube)
    assert outcome.status == "fail" and outcome.cause == f"{out}/evidence/log.txt holds {what}"
    assert "battery" not in outcome.cause
    (out / "evidence" / "log.txt").write_text("token: abcdefghijklmnop")
    assert "the kubeconfig's token" in run(session, "security.report", kube).cause
