"""Nodes that leave, on a real API server with real disruption budgets."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from shelf import deployment

from apiserver_fixture import ControlPlane, HollowNode
from arena_install.errors import StepError, TimedOutError
from arena_install.events import Event, ignore
from arena_install.stack import nodes
from arena_install.stack.api import Api

NODE, IMAGE = "leaver", "docker.io/library/busybox:1.37.0"


@pytest.fixture
def api(control_plane: ControlPlane) -> Iterator[Api]:
    with HollowNode(control_plane.kubeconfig, NODE):
        api = Api(control_plane.kubeconfig)
        yield api
        api.close()


@pytest.fixture
def home(api: Api, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own."""
    name = request.node.name.replace("_", "-")[:60].strip("-")
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    api.delete("v1", "Namespace", name)
    api.wait_gone("v1", "Namespace", name)


def spec(api: Api) -> dict[str, Any]:
    node = api.get("v1", "Node", NODE)
    assert node
    return {"unschedulable": node["spec"].get("unschedulable"), "leaving": NODE in nodes.leaving(api)}


def running(api: Api, namespace: str) -> list[str]:
    rows = api.list_objects("v1", "Pod", namespace)
    return [row["metadata"]["name"] for row in rows if row.get("status", {}).get("phase") == "Running"]


def run(api: Api, namespace: str, *, budget: bool = False) -> None:
    """A deployment of one pod, which its budget (with budget) never lets go."""
    api.create(deployment(namespace, "app", IMAGE))
    if budget:
        rule = {"minAvailable": 1, "selector": {"matchLabels": {"app": "app"}}}
        metadata = {"name": "always-one", "namespace": namespace}
        api.create({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": rule})
    until(lambda: running(api, namespace))
    if budget:
        until(lambda: (api.get("policy/v1", "PodDisruptionBudget", "always-one", namespace) or {})["status"]
              .get("currentHealthy") == 1)


def until(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_drained_node_is_empty_cordoned_and_says_why(api: Api, home: str) -> None:
    run(api, home)
    events: list[Event] = []
    nodes.drain(api, [NODE], events.append, limit=30)
    assert running(api, home) == []
    assert spec(api) == {"unschedulable": True, "leaving": True}
    # Other tests' deployments, on the same server, get pods on this node too.
    assert re.fullmatch(r"drained: [1-9]\d* pods", events[-1].text)
    nodes.drain(api, [NODE], ignore, limit=30)
    nodes.stay(api, [NODE])
    assert spec(api) == {"unschedulable": None, "leaving": False}
    until(lambda: running(api, home))


def test_a_budget_is_respected_and_the_node_then_stays(api: Api, home: str) -> None:
    run(api, home, budget=True)
    with pytest.raises(TimedOutError, match="1 pods did not leave the node in time") as caught:
        nodes.drain(api, [NODE], ignore, limit=2)
    assert "always-one needs 1 healthy pods" in caught.value.why and "--force" in caught.value.fix
    assert spec(api) == {"unschedulable": None, "leaving": False}
    assert running(api, home)
    nodes.drain(api, [NODE], ignore, limit=2, force=True)
    assert running(api, home) == []


def test_what_would_be_lost_is_named_before_anything_is_done(api: Api, home: str) -> None:
    pod = {"nodeName": NODE, "containers": [{"name": "main", "image": IMAGE}]}
    api.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "alone", "namespace": home}, "spec": pod})
    place = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
    volume = {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/opt/x"},
        "claimRef": {"namespace": home, "name": "data"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [place]}]}},
    }
    api.create({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": home}, "spec": volume})
    try:
        with pytest.raises(StepError, match="2 things would be lost with leaver") as caught:
            nodes.drain(api, [NODE], ignore, limit=2)
        assert f"pod {home}/alone: nothing would start it elsewhere" in caught.value.why
        assert f"claim {home}/data: the data of {home} is on {NODE}" in caught.value.why
        assert spec(api) == {"unschedulable": None, "leaving": False}
        nodes.drain(api, [NODE], ignore, limit=30, force=True)
        assert running(api, home) == []
    finally:
        api.delete("v1", "PersistentVolume", home)
        api.merge("v1", "PersistentVolume", home, {"metadata": {"finalizers": None}})  # no controller does it here


def test_somebody_elses_cordon_stays(api: Api) -> None:
    api.merge("v1", "Node", NODE, {"spec": {"unschedulable": True}})
    nodes.drain(api, [NODE], ignore, limit=30)
    nodes.stay(api, [NODE])
    assert spec(api) == {"unschedulable": True, "leaving": False}


def test_a_mark_alone_stops_nothing(api: Api, home: str) -> None:
    nodes.mark(api, [NODE, "no-such-node"])
    assert spec(api) == {"unschedulable": None, "leaving": True}
    run(api, home)
    nodes.drain(api, [NODE], ignore, limit=30)
    assert spec(api) == {"unschedulable": True, "leaving": True}
    nodes.stay(api, [NODE, "no-such-node"])
    assert spec(api) == {"unschedulable": None, "leaving": False}
