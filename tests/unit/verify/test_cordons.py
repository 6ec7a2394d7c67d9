"""Cordoned nodes against a real API server: whoever did it, it is undone, and nobody else's is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from arena_install.errors import StepError
from arena_install.events import ignore
from arena_install.verify.cordons import MARK, Cordons
from arena_install.verify.kube import Kube, Object
from arena_install.verify.run import _clean_up
from arena_install.verify.session import Session

if TYPE_CHECKING:
    from apiserver_fixture import ControlPlane


@pytest.fixture
def kube(control_plane: ControlPlane) -> Kube:
    return Kube(control_plane.kubeconfig)


@pytest.fixture
def node(kube: Kube, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"cordon-{abs(hash(request.node.name)) % 10**6}"
    kube.create("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    yield name
    kube.delete(f"/api/v1/nodes/{name}")


def state(kube: Kube, node: str) -> tuple[bool, str]:
    """(whether it is cordoned, our mark)."""
    found = kube.get(f"/api/v1/nodes/{node}")
    return bool(found["spec"].get("unschedulable")), (found["metadata"].get("annotations") or {}).get(MARK, "")


def by_hand(kube: Kube, node: str, spec: Object) -> None:
    kube.patch(f"/api/v1/nodes/{node}", {"spec": spec})


def test_a_node_takes_pods_again(kube: Kube, node: str) -> None:
    cordons = Cordons(kube, "abc")
    cordons.cordon(node)
    cordoned, mark = state(kube, node)
    assert cordoned and mark.startswith("abc ")
    cordons.uncordon(node)
    assert state(kube, node) == (False, "")
    by_hand(kube, node, {"unschedulable": True})
    cordons.uncordon(node)  # not ours any more
    assert cordons.close() == [] and state(kube, node) == (True, "")


def test_the_end_of_a_run_undoes_what_a_check_left_and_lets_nothing_begin(kube: Kube, node: str) -> None:
    cordons = Cordons(kube, "abc")
    cordons.cordon(node)
    assert cordons.close() == []
    assert state(kube, node) == (False, "")
    with pytest.raises(StepError, match="not cordoned") as error:
        cordons.cordon(node)
    assert error.value.why == "this run is ending" and state(kube, node) == (False, "")


def test_a_run_that_is_interrupted_undoes_it_too(kube: Kube, node: str, session: Session) -> None:
    """As run() ends it: a check that was cut off has not come to its own end."""
    live = Session("abc", session.cluster, kube, None, session.facts, session.evidence, session.emit)
    live.cordons.cordon(node)
    assert _clean_up(live, ignore) == []
    assert state(kube, node) == (False, "")


def test_a_dead_runs_nodes_are_swept(kube: Kube, node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 1_700_000_000.0)
        Cordons(kube, "dead").cordon(node)
    assert Cordons(kube, "next").sweep() == [node]
    assert state(kube, node) == (False, "")
    live = Cordons(kube, "live")
    live.cordon(node)
    assert Cordons(kube, "next").sweep() == [] and state(kube, node)[0]
    live.close()


def test_a_node_that_somebody_else_has_cordoned_is_left_alone(kube: Kube, node: str) -> None:
    by_hand(kube, node, {"unschedulable": True})
    cordons = Cordons(kube, "abc")
    with pytest.raises(StepError) as error:
        cordons.cordon(node)
    assert error.value.why == "somebody else has done that already"
    cordons.uncordon(node)
    assert cordons.close() == [] and cordons.sweep() == [] and state(kube, node) == (True, "")


def test_what_can_not_be_undone_is_told_with_its_command(
    kube: Kube, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cordons = Cordons(kube, "abc")
    cordons.cordon(node)

    def refuse(*_: Any) -> Object:
        raise StepError("no", why="403: may not")

    with monkeypatch.context() as patch:
        patch.setattr(kube, "patch", refuse)
        assert cordons.close() == [f"node {node} is still cordoned: 403: may not; kubectl uncordon {node}"]
    assert cordons.close() == [] and state(kube, node) == (False, "")
