"""What checks of suite cluster make of recorded answers, each both ways."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from arena_install.verify import registry
from arena_install.verify.agents import Agents
from arena_install.verify.checks import cluster_hosts, cluster_network, cluster_state
from arena_install.verify.context import Context
from arena_install.verify.kube import ApiError
from arena_install.verify.model import Outcome
from arena_install.verify.session import Session

NOW = 1_700_000_000.0
NODES = ["lab-cp1", "lab-w1"]


class FakeKube:
    """Answers GETs from a table of paths; a dry run is refused with the status that is set."""

    server = "https://127.0.0.1:1"

    def __init__(self, lists: dict[str, list[Any]] | None = None, **more: Any) -> None:
        self.lists, self.statuses, self.refuses = lists or {}, more.get("statuses", {}), more.get("refuses", 422)

    def items(self, path: str, **_: Any) -> list[Any]:
        if path == "/api/v1/nodes" and path not in self.lists:
            return [node(name) for name in NODES]
        return self.lists.get(path, [])

    def find(self, path: str, **_: Any) -> Any:
        return next((row for row in self.lists.get("found", []) if row == path), None)

    def status(self, path: str) -> int:
        return int(self.statuses.get(path, 200))

    def now(self) -> float:
        return NOW

    def create(self, path: str, body: Any, **_: Any) -> Any:
        if self.refuses:
            raise ApiError(f"the API refused POST {path}", self.refuses, f"{self.refuses}: spec must be an object")
        return body


def node(name: str, *taints: dict[str, str]) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"taints": list(taints)},
        "status": {"addresses": [{"type": "InternalIP", "address": f"10.0.0.{NODES.index(name) + 1}"}]},
    }


def run(session: Session, id: str, kube: Any) -> Outcome:
    session.kube = kube
    check = registry.load()[id]
    return check.run(Context(session, check))


# ---- leases, taints, restarts ---------------------------------------------------------------------------------------


def lease(name: str, *, age: float = 5.0, ahead: float = 0.4) -> dict[str, Any]:
    taken = int(NOW - age)
    return {
        "metadata": {"name": name, "managedFields": [{"time": iso(taken)}]},
        "spec": {"renewTime": iso(taken + ahead), "leaseDurationSeconds": 40},
    }


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


def test_leases_that_are_renewed_in_time(session: Session) -> None:
    outcome = run(session, "cluster.leases", FakeKube({LEASES: [lease(name) for name in NODES]}))
    assert outcome.status == "pass" and outcome.observed.startswith("2 leases, the oldest 5 s old")


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        ([lease("lab-cp1")], "lab-w1: it has no lease"),
        ([lease("lab-cp1"), lease("lab-w1", age=120)], "lab-w1: renewed 120 s ago, it is good for 40 s"),
        ([lease("lab-cp1"), lease("lab-w1", ahead=8.5)], "lab-w1: its clock is 7.5 s ahead of the API server's"),
        ([lease("lab-cp1"), lease("lab-w1", ahead=-9.0)], "lab-w1: its clock is 9.0 s behind the API server's"),
    ],
)
def test_leases_that_are_not(session: Session, rows: list[Any], cause: str) -> None:
    assert run(session, "cluster.leases", FakeKube({LEASES: rows})).cause == cause


def test_taints_of_kubernetes_fail_and_those_of_the_site_do_not(session: Session) -> None:
    own = {"key": "dedicated", "value": "ml", "effect": "NoSchedule"}
    outcome = run(session, "cluster.taints", FakeKube({"/api/v1/nodes": [node("lab-cp1", own)]}))
    assert (outcome.status, outcome.observed) == ("pass", "1 nodes take pods; taints dedicated:NoSchedule")
    cordoned = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    outcome = run(session, "cluster.taints", FakeKube({"/api/v1/nodes": [node("lab-w1", own, cordoned)]}))
    assert (outcome.status, outcome.fix) == ("fail", "kubectl uncordon lab-w1")


def died(seconds_ago: float) -> dict[str, Any]:
    state = {"terminated": {"finishedAt": iso(NOW - seconds_ago), "exitCode": 137}}
    status = {"name": "c", "restartCount": 3, "lastState": state}
    return {"metadata": {"namespace": "kube-system", "name": "p"}, "status": {"containerStatuses": [status]}}


def test_restarts_count_for_a_minute() -> None:
    assert cluster_state.recent_restarts(died(70), NOW) == []
    assert cluster_state.recent_restarts(died(10), NOW) == [
        "kube-system/p: c ended with 137 10 s ago, 3 restarts in all"
    ]


# ---- webhooks and kinds ---------------------------------------------------------------------------------------------

HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/kubeflow/endpointslices"
SERVICE = "/api/v1/namespaces/kubeflow/services/operator"
PROXY = "/api/v1/namespaces/kubeflow/services/https:operator:443/proxy/validate"


def authority(days: int) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    end = datetime.now(UTC) + timedelta(days=days)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, end - timedelta(days=99), end)
    return base64.b64encode(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)).decode()


def hooks(bundle: str, *, ready: bool = True, service: bool = True, status: int = 400) -> FakeKube:
    client = {
        "service": {"namespace": "kubeflow", "name": "operator", "path": "/validate"},
        "caBundle": bundle,
    }
    lists = {
        HOOKS: [{"metadata": {"name": "v"}, "webhooks": [{"name": "jobs", "clientConfig": client}]}],
        SLICES: [{"endpoints": [{"conditions": {"ready": ready}}]}],
        "found": [SERVICE] if service else [],
    }
    return FakeKube(lists, statuses={PROXY: status})


def test_a_webhook_that_answers(session: Session) -> None:
    outcome = run(session, "cluster.webhooks", hooks(authority(30)))
    assert (outcome.status, outcome.observed) == ("pass", "1 webhooks of operator answer")


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"service": False}, "does not exist"),
        ({"ready": False}, "no ready endpoint"),
        ({"status": 503}, "does not answer (the API's proxy says 503)"),
        ({"bundle": ""}, "no CA bundle"),
        ({"bundle": base64.b64encode(b"rubbish").decode()}, "not readable"),
        ({"bundle": authority(-1)}, "its CA expired"),
    ],
)
def test_a_webhook_that_does_not(session: Session, changes: dict[str, Any], cause: str) -> None:
    outcome = run(session, "cluster.webhooks", hooks(**({"bundle": authority(30)} | changes)))
    assert outcome.status == "fail" and cause in outcome.cause


CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def crd(established: str = "True", **properties: Any) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"properties": properties}}
    return {
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "storage": True, "schema": schema}],
        },
        "status": {"conditions": [{"type": "Established", "status": established, "message": "names conflict"}]},
    }  # fmt: skip


def test_kinds_that_refuse_a_bad_object(session: Session) -> None:
    outcome = run(session, "cluster.crds", FakeKube({CRDS: [crd(spec={"type": "object"})]}))
    assert (outcome.status, outcome.observed) == ("pass", "1 CRDs, 1 of them refused a bad object")


def test_kinds_that_take_anything_or_are_not_served(session: Session) -> None:
    outcome = run(session, "cluster.crds", FakeKube({CRDS: [crd()]}, refuses=0))
    assert outcome.cause == "things.example.com takes an object whose spec is no object"
    outcome = run(session, "cluster.crds", FakeKube({CRDS: [crd("False")]}))
    assert outcome.cause == "things.example.com is not established: names conflict"


def test_what_a_bad_object_breaks() -> None:
    rules = {"metadata": {"type": "object"}, "value": {"type": "integer"}, "data": {"type": "object"}}
    row = crd(**rules)
    assert cluster_state.bad_object(row, row["spec"]["versions"][0])["data"] == 1
    row = crd(**rules, spec={"type": "object"})
    assert cluster_state.bad_object(row, row["spec"]["versions"][0])["spec"] == 1


# ---- what agents say ------------------------------------------------------------------------------------------------


def test_lookups_are_counted_and_timed() -> None:
    said = {"a": "lookup x 20 right\nlookup x 30 wrong\nsearch x right\n", "b": "lookup x 10 right\nsearch x wrong\n"}
    assert cluster_network.lookups(said) == ({"a": 1, "b": 1}, [20, 30, 10])
    assert cluster_network.percentile([10, 20, 30], 95) == 30
    assert cluster_network.percentile(list(range(100)), 95) == 94
    assert cluster_network.percentile([], 95) == 0


def test_answers_of_the_network_are_judged() -> None:
    right = {"a": "get a a\nget b b\nget any-service c\nget a/by-service a\n"}
    assert cluster_network.ways(right) == (4, [])
    wrong = {"a": "get b\nget b c\nget any-service\nget a/by-service b\n"}
    assert cluster_network.ways(wrong) == (
        4,
        [
            "a -> b: no answer",
            "a -> b: answered by c",
            "a -> any-service: no answer",
            "a -> a/by-service: answered by b",
        ],
    )


def test_every_pair_of_few_nodes_and_a_ring_of_many() -> None:
    assert cluster_network.partners("b", ["a", "b", "c"]) == ["a", "b", "c"]
    names = [f"n{i}" for i in range(50)]
    assert cluster_network.partners("n49", names) == ["n49", "n0", "n1", "n2", "n3", "n4", "n5"]


def test_pings_of_full_size() -> None:
    assert cluster_network.pings({"a": "ping b 1450 full\n"}) == (1, [1450], [])
    tried, sizes, lost = cluster_network.pings({"a": "ping b 1450 small\nping c 1350 lost\n"})
    assert (tried, sizes) == (2, [1350, 1450])
    assert lost == [
        "a -> b: a packet of 1450 bytes is lost; only small ones arrive",
        "a -> c: a packet of 1350 bytes is lost; not even small ones arrive",
    ]


ETCD = """\
health {"health":"true","reason":""}
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.001"} 500
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.002"} 1995
etcd_disk_wal_fsync_duration_seconds_bucket{le="+Inf"} 2000
etcd_disk_wal_fsync_duration_seconds_count 2000
etcd_mvcc_db_total_size_in_bytes 9.216e+06
etcd_server_has_leader 1
etcd_server_quota_backend_bytes 2.147483648e+09
"""


def test_an_etcd_member_that_is_well() -> None:
    state = cluster_hosts.etcd_state(ETCD)
    assert state.problems() == []
    assert (state.size, state.quota, state.fsync_ms) == (9216000, 2147483648, 2.0)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"true"', '"false"', "does not say true"),
        ('health {"health":"true","reason":""}\n', "health wget: can't connect\n", "does not say true: wget: can't"),
        ("has_leader 1", "has_leader 0", "follows no leader"),
        ("9.216e+06", "2.0e+09", "1907 MiB of data, the quota is 2048 MiB"),
        ('{le="0.002"} 1995', '{le="2.048"} 1995', "more than 2048 ms"),
    ],
)
def test_an_etcd_member_that_is_not(old: str, new: str, problem: str) -> None:
    problems = cluster_hosts.etcd_state(ETCD.replace(old, new)).problems()
    assert len(problems) == 1 and problem in problems[0]


def test_what_a_node_asks_its_registry() -> None:
    image = SimpleNamespace(manifest="sha256:m", blobs=({"digest": "sha256:c", "size": 7},))
    images = {"docker.io/library/busybox:1": image, "example.com/x:1": image}
    mirrors = "mirror|docker.io|https://10.0.0.1:5000/v2/docker.io|/etc/ca.crt\n"
    problems: list[str] = []
    asked = cluster_hosts.requests(images, mirrors, problems, "w1")
    wanted = [
        ("/v2/docker.io/library/busybox/manifests/sha256:m", 0),
        ("/v2/docker.io/library/busybox/blobs/sha256:c", 7),
    ]
    assert asked == {("10.0.0.1:5000", "/etc/ca.crt"): wanted}
    assert problems == ["w1: containerd has no mirror for example.com, which example.com/x:1 comes from"]

    def judged(said: str) -> list[str]:
        return cluster_hosts.answer_problems(wanted, said, "r")

    assert judged("answer 200 500 sha256:m\nanswer 200 7 sha256:c\n") == []
    assert judged("answer 200 500 sha256:m\nanswer 404\n") == [
        "r/v2/docker.io/library/busybox/blobs/sha256:c is answered with 404"
    ]
    assert judged("answer 200 500\nanswer 200 6\n")[0].endswith("has 6 bytes, the lock says 7")
    assert judged("error verify error:num=20\n") == ["r: verify error:num=20"]
    assert judged("answer 200 500\n") == ["r answered 1 of 2 requests"]


# ---- agents ---------------------------------------------------------------------------------------------------------


def test_agents_that_do_not_start_are_told_alike_to_all(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    from arena_install.verify.context import CheckFailed

    calls = []

    def broken(self: Agents, ctx: Context, kind: str) -> Any:
        calls.append(kind)
        raise CheckFailed("pod agent-pod-0 is stuck", cause="no image", fix="see")

    monkeypatch.setattr(Agents, "_start", broken)
    context = Context(session, registry.load()["cluster.pods"])
    for _ in range(2):
        with pytest.raises(CheckFailed, match="is stuck"):
            session.agents.start(context, "pod")
    assert calls == ["pod"]


def test_scripts_of_agents_are_shell_and_are_shipped() -> None:
    from arena_install.verify.workspace import scripts

    for name in ("agent_pod.sh", "agent_host.sh"):
        assert scripts()[name].rstrip().endswith('"$@"')
        path = Path(cluster_state.__file__).parents[1] / "payloads" / name
        import subprocess

        assert subprocess.run(["sh", "-n", str(path)], capture_output=True).returncode == 0
