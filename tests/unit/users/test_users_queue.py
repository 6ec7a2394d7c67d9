"""What the nodes offer, what a selector takes, and which queue a user gets."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from arena_install.errors import ConfigError
from arena_install.users import quantity, queue
from arena_install.users.names import LOCAL_QUEUE, SHARED, SHARED_LABEL, Shared

KUEUE = "kueue.x-k8s.io/v1beta2"


class FakeApi:
    """ClusterQueues by name -> namespaceSelector."""

    def __init__(self, local: str = "", flavor: Any = None, **queues: Any) -> None:
        self.local, self.flavor = local, flavor
        self.queues = [{"metadata": {"name": name}, "spec": {"namespaceSelector": row}} for name, row in queues.items()]

    def get(self, version: str, kind: str, name: str, namespace: str = "", **_: Any) -> Any:
        if kind == "LocalQueue":
            assert name == LOCAL_QUEUE
            return {"spec": {"clusterQueue": self.local}} if self.local else None
        return self.flavor

    def list_objects(self, version: str, kind: str) -> list[Any]:
        return self.queues


def choose(api: FakeApi, wanted: str = "", shared: Shared = SHARED) -> str:
    return queue.choose(api, KUEUE, "alice", {"team": "a"}, wanted, shared)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("api", "wanted", "chosen"),
    [
        (FakeApi(), "", "whole-cluster"),
        (FakeApi(one={}), "", "one"),
        (FakeApi(one={}, two={}), "two", "two"),
        (FakeApi(one={}, two={}, local="one"), "", "one"),
        (FakeApi(**{"one": {}, "whole-cluster": {}}), "", "whole-cluster"),
        (FakeApi(one={"matchLabels": {"team": "a"}}), "", "one"),
    ],
)
def test_the_queue_that_is_meant(api: FakeApi, wanted: str, chosen: str) -> None:
    assert choose(api, wanted) == chosen


def test_a_run_of_verify_has_its_own(  # and does not take other people's
) -> None:
    mine = Shared("r", "arena-verify-1", "arena-verify-1", own=True)
    assert choose(FakeApi(one={}), shared=mine) == "arena-verify-1"
    passing = FakeApi(other={})
    passing.queues[0]["metadata"]["labels"] = {"arena-install.local/verify": "x"}
    assert choose(passing) == "whole-cluster"


@pytest.mark.parametrize(
    ("api", "wanted", "what"),
    [
        (FakeApi(one={}, two={}), "", "2 ClusterQueues"),
        (FakeApi(gold={}), "golf", "did you mean `gold`"),
        (FakeApi(), "gold", "the cluster has none"),
        (FakeApi(one={}, two={}, local="one"), "two", "go to one"),
        (FakeApi(one=None), "", "takes no jobs"),
        (FakeApi(one={"matchLabels": {"team": "b"}}), "", "takes no jobs"),
        (FakeApi(flavor={"metadata": {"name": "any-node"}}), "", "did not make"),
    ],
)
def test_what_can_not_be_chosen(api: FakeApi, wanted: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choose(api, wanted)
    assert what in str(caught.value)


def test_our_own_flavor_is_used_again() -> None:
    assert choose(FakeApi(flavor={"metadata": {"labels": {SHARED_LABEL: "true"}}})) == "whole-cluster"


@pytest.mark.parametrize(
    ("operator", "values", "takes"),
    [
        ("In", ["a", "b"], True), ("In", ["b"], False), ("NotIn", ["b"], True), ("NotIn", ["a"], False),
        ("Exists", [], True), ("DoesNotExist", [], False),
    ],
)  # fmt: skip
def test_selectors(operator: str, values: list[str], takes: bool) -> None:
    row = {"key": "team", "operator": operator, "values": values}
    assert queue.takes({"matchExpressions": [row]}, {"team": "a"}) is takes
    without = operator in ("NotIn", "DoesNotExist")
    assert queue.takes({"matchExpressions": [row]}, {}) is without


@pytest.mark.parametrize(
    ("text", "amount", "written"),
    [("4", 4, "4"), ("1500m", 1.5, "1500m"), ("2Gi", 2**31, "2Gi"), ("1k", 1000, "1000"), ("1536Mi", 1536 * 2**20,
      "1536Mi"), ("0", 0, "0"), ("7812Ki", 7812 * 1024, "7812Ki")],
)  # fmt: skip
def test_quantities(text: str, amount: float, written: str) -> None:
    assert quantity.parse(text) == Decimal(str(amount)) and quantity.write(quantity.parse(text)) == written


@pytest.mark.parametrize("text", ["", "x", "4Zi", "Gi"])
def test_no_quantities(text: str) -> None:
    with pytest.raises(ValueError):
        quantity.parse(text)


def node(taint: str = "", **offers: str) -> dict[str, Any]:
    taints = [{"key": taint, "effect": "NoSchedule"}] if taint else []
    return {"spec": {"taints": taints}, "status": {"allocatable": offers}}


def test_what_workers_offer_together() -> None:
    gpu = {"nvidia.com/gpu": "4"}
    nodes = [
        node("node-role.kubernetes.io/control-plane", cpu="8", memory="8Gi"),
        node(cpu="15800m", memory="64Gi", pods="110", **{"hugepages-2Mi": "0"}, **gpu),
        node("nvidia.com/gpu", cpu="16", memory="64Gi", **{"rdma/hca": "2"}, **gpu),
        node("node.kubernetes.io/unschedulable", cpu="1"),
    ]
    assert quantity.offered(nodes) == {"cpu": "32800m", "memory": "128Gi", "nvidia.com/gpu": "8", "rdma/hca": "2"}
    assert quantity.gpus(nodes) == 8 and quantity.gpus([]) == 0
