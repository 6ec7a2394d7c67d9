"""Objects of no namespace against a real API server: made for a check, gone after it, swept when a run died."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from arena_install.verify.checks import clusterwide
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Kube, Object
from arena_install.verify.session import Session

if TYPE_CHECKING:
    from apiserver_fixture import ControlPlane

PATH = "/apis/scheduling.k8s.io/v1/priorityclasses"


@pytest.fixture
def context(control_plane: ControlPlane, session: Session, make_check: Any, request: pytest.FixtureRequest) -> Context:
    id = f"t{abs(hash(request.node.name)) % 10**6}"
    kube = Kube(control_plane.kubeconfig)
    live = Session(id, session.cluster, kube, None, session.facts, session.evidence, session.emit)
    return Context(live, make_check("scheduling.test", lambda _: None))


def wanted(context: Context, *parts: str) -> list[tuple[str, Object]]:
    made = []
    for part in parts:
        meta = clusterwide.metadata(context, clusterwide.name(context, part))
        made.append(
            (PATH, {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": meta, "value": 7})
        )
    return made


def there(context: Context) -> list[str]:
    prefix = f"arena-verify-{context.session.id}-test"
    names = [str(item["metadata"]["name"]) for item in context.kube.items(PATH)]
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


def test_they_go_when_the_check_ends_however_it_ends(context: Context) -> None:
    with clusterwide.made(context, wanted(context, "a", "b"), "look"):
        assert there(context) == ["-a", "-b"]
    assert there(context) == []
    with pytest.raises(KeyError), clusterwide.made(context, wanted(context, "a"), "look"):
        raise KeyError
    assert there(context) == []


def test_one_that_is_refused_fails_the_check_and_takes_the_others_with_it(context: Context) -> None:
    objects = wanted(context, "a", "b")
    objects[1][1]["value"] = 2_000_000_001  # more than a user may have
    with pytest.raises(CheckFailed) as error, clusterwide.made(context, objects, "kubectl look"):
        pass
    assert error.value.what == "the API took no PriorityClass" and error.value.fix == "kubectl look"
    assert there(context) == []


def test_what_a_dead_run_left_is_removed(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 1_700_000_000.0)
        ((path, dead),) = wanted(context, "dead")
    ((_, live),) = wanted(context, "live")
    for body in (dead, live):
        context.kube.create(path, body)
    with clusterwide.made(context, wanted(context, "new"), "look"):
        assert there(context) == ["-live", "-new"]
    context.kube.delete(f"{PATH}/{live['metadata']['name']}")
