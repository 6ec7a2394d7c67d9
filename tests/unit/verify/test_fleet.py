"""Jobs of every kind under a drill: what became of their pods, and what that means."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from arena_install.errors import StepError, UnreachableError
from arena_install.verify.checks import controllers, fleet
from arena_install.verify.checks import scheduling_drills as drills
from arena_install.verify.checks import scheduling_nodes as nodes
from arena_install.verify.checks.fleet import KINDS, Fate
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import ApiError, Object
from arena_install.verify.registry import load
from arena_install.verify.session import Session
from arena_install.verify.watch import Change

DRILLS = ("drill-controllers", "kueue-restart", "drill-drain", "drill-restart")


@pytest.fixture
def context(session: Session, make_check: Any, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setattr(session.workspaces, "get", lambda _: "space")
    context = Context(session, make_check("scheduling.test", lambda _: None))
    monkeypatch.setattr(session, "sleep", lambda *_: None)
    return context


def pod(name: str, kind: str = "MODIFIED", *, uid: str = "", phase: str = "Running", node: str = "w2") -> Change:
    meta = {"name": name, "uid": uid or name, "labels": {}}
    return Change(kind, {"metadata": meta, "spec": {"nodeName": node}, "status": {"phase": phase}}, 1.0)


def test_they_run_only_when_asked_for_and_alone() -> None:
    for id in DRILLS:
        check = load()[f"scheduling.{id}"]
        assert not check.default and check.alone and check.writes, id


def test_every_pod_of_every_kind_is_told_apart(context: Context) -> None:
    """Also those whose templates lie deep in the job."""
    for kind in KINDS:
        body = kind.make(context, kind.job, ["sleep", "1"])
        assert body["metadata"]["name"] == kind.job
        found = list(fleet._templates(body))
        assert found and all("containers" in template["spec"] for template in found), kind.name
        assert all(template["spec"]["containers"][0]["command"] for template in found)
    assert [len(list(fleet._templates(kind.make(context, "j", ["x"])))) for kind in KINDS] == [1, 2, 2, 1, 1]


def test_pods_that_were_lost_and_made() -> None:
    before = {"a": "a", "b": "b", "c": "c"}
    changes = [
        pod("a", phase="Succeeded"),
        pod("a", "DELETED", phase="Succeeded"),  # its end, not a loss
        pod("b", phase="Failed"),
        pod("c", "DELETED"),
        pod("c", "ADDED", uid="c2", phase="Pending"),
    ]
    assert fleet.changed(changes, before) == (["b", "c"], ["c"])
    assert fleet.changed([pod("a", phase="Succeeded")], before) == ([], [])


def test_jobs_that_go_on_and_jobs_that_do_not() -> None:
    fine = Fate("done", 31.0)
    assert drills.disturbed({"MPIJob": fine}) == []
    assert drills.told({"MPIJob": fine}) == "MPIJob succeeded after 31 s, the same pods"
    worse = {"JobSet": Fate("it failed", 9.0, ["j-0"], ["j-1"]), "AppWrapper": Fate("done", 1.0, [], ["x"])}
    assert drills.disturbed(worse) == ["JobSet: it failed", "JobSet lost j-0", "JobSet was given j-1 anew",
                                       "AppWrapper was given x anew"]  # fmt: skip
    assert "it failed after 9 s, 1 pods lost, 1 made" in drills.told(worse)


@pytest.mark.parametrize(
    ("there", "fate", "words"),
    [
        (["a"], Fate("done", 1.0, ["a"], ["a"]), ""),
        (["a"], Fate("done", 1.0, ["a", "b"], ["a", "b"]), ""),  # a policy that starts all of it anew
        (["a"], Fate("did not end", 9.0, ["a"]), "MPIJob: did not end"),
        ([], Fate("done"), "no pod of the MPIJob was on the node"),
        (["a"], Fate("done", 1.0, ["a"], []), "a evicted, none made again"),
        (["a", "b"], Fate("done", 1.0, ["a"], ["a"]), "a, b evicted"),
    ],
)
def test_a_drained_node(there: list[str], fate: Fate, words: str) -> None:
    problems = nodes.unrecovered({"MPIJob": there}, {"MPIJob": fate})
    assert problems == [] if not words else words in problems[0]


def test_what_lands_on_a_cordoned_node() -> None:
    changes = [pod("old", node="w1"), pod("new", uid="n", node="w1"), pod("elsewhere", uid="e", node="w2")]
    it: Any = SimpleNamespace(before={"old": "old"}, changes=lambda: changes)
    assert nodes.landed(it, "w1") == ["new"]


def node(name: str, *, ready: str = "True", taints: list[Object] | None = None, cordoned: bool = False) -> Object:
    spec: Object = {"taints": taints or []} | ({"unschedulable": True} if cordoned else {})
    return {"metadata": {"name": name}, "spec": spec, "status": {"conditions": [{"type": "Ready", "status": ready}]}}


def test_nodes_that_take_pods() -> None:
    keeps_off, prefers = [{"effect": "NoSchedule"}], [{"effect": "PreferNoSchedule"}]
    found = [
        node("cp", taints=keeps_off),
        node("w1"),
        node("w2", ready="False"),
        node("w3", cordoned=True),
        node("w4", taints=prefers),
    ]
    assert nodes.takers(found) == ["w1", "w4"]


SHOWN = """
Id=containerd.service
ActiveState=active
InvocationID=aaa

Id=kubelet.service
ActiveState=activating
InvocationID=bbb
"""


def test_services_by_their_invocations() -> None:
    assert nodes.invocations(SHOWN) == {"containerd.service": "aaa", "kubelet.service": ""}
    assert nodes.invocations("") == {"": ""}


@pytest.mark.parametrize(
    ("answers", "cause"),
    [
        ([None], ""),
        ([429, 429, None], ""),
        ([404], ""),
        ([403], "403: a policy says no"),
    ],
)
def test_an_eviction_waits_for_budgets_and_tells_a_refusal(
    context: Context, answers: list[int | None], cause: str
) -> None:
    asked: list[str] = []

    def create(path: str, body: Object) -> Object:
        asked.append(f"{path} {body['kind']}")
        if (status := answers.pop(0)) is not None:
            raise ApiError("the API refused", status, f"{status}: a policy says no")
        return {}

    context.kube = SimpleNamespace(create=create)  # type: ignore[assignment]
    if cause:
        with pytest.raises(CheckFailed, match="may not be evicted") as error:
            nodes._evict(context, "p")
        assert error.value.why == cause
    else:
        nodes._evict(context, "p")
    assert not answers and set(asked) == {"/api/v1/namespaces/space/pods/p/eviction Eviction"}


def test_a_node_is_uncordoned_when_an_eviction_is_refused(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    cordons: Any = SimpleNamespace(
        cordon=lambda name: done.append(f"cordon {name}"), uncordon=lambda name: done.append(f"uncordon {name}")
    )

    class Fleet:
        broken: tuple[str, ...] = ()

        def __enter__(self) -> Any:
            return SimpleNamespace(start=lambda *_: None, on=lambda _: {"JobSet": ["j"]}, strike=lambda: None)

        def __exit__(self, *_: object) -> None:
            done.append("jobs removed")

    def refuse(*_: object) -> None:
        raise StepError("no")

    monkeypatch.setattr(session, "cordons", cordons)
    monkeypatch.setattr(session, "nodes", lambda: [node("w1"), node("w2")])
    monkeypatch.setattr(nodes, "fleet", lambda _: Fleet())
    monkeypatch.setattr(nodes, "_evict", refuse)
    check = load()["scheduling.drill-drain"]
    with pytest.raises(StepError):
        check.run(Context(session, check))
    assert done == ["cordon w1", "uncordon w1", "jobs removed"]


def test_one_node_is_not_drained(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "nodes", lambda: [node("w1"), node("w2", cordoned=True)])
    check = load()["scheduling.drill-drain"]
    outcome = check.run(Context(session, check))
    assert outcome.status == "skip" and "nowhere to go" in outcome.cause and not check.required


# ---- controllers ----------------------------------------------------------------------------------------------------


def controller(uid: str, *, ready: bool = True, name: str = "kueue-controller-manager", going: bool = False) -> Object:
    meta: Object = {
        "name": f"{name}-x-{uid}",
        "uid": uid,
        "labels": {"pod-template-hash": "x"},
        "ownerReferences": [{"kind": "ReplicaSet", "name": f"{name}-x"}],
    }
    meta |= {"deletionTimestamp": "now"} if going else {}
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": meta, "spec": {}, "status": {"phase": "Running", "conditions": conditions}}


def api(context: Context, lists: list[list[Object]], deployment: Object | None = None) -> list[str]:
    """lists: what each look at the pods shows; the last one stays. Gives the paths that are deleted."""
    gone: list[str] = []

    def items(path: str, **_: Any) -> list[Object]:
        return lists.pop(0) if len(lists) > 1 else lists[0]

    context.kube = SimpleNamespace(  # type: ignore[assignment]
        items=items, delete=lambda path, grace: gone.append(path), find=lambda _: deployment
    )
    return gone


def test_a_controller_that_comes_back(context: Context) -> None:
    looks = [
        [controller("old"), controller("other", name="kueue-viz")],
        [controller("old", going=True)],
        [controller("old", going=True), controller("new", ready=False)],
        [controller("new")],
    ]
    gone = api(context, looks)
    killed = controllers.kill(context, [controllers.KUEUE])
    assert gone == ["/api/v1/namespaces/kueue-system/pods/kueue-controller-manager-x-old"]
    controllers.await_back(context, killed)
    assert set(killed.back) == {controllers.KUEUE}


def test_a_controller_that_does_not(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controllers, "BACK_WITHIN", 0.0)
    refused = {"status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]}}
    api(context, [[controller("old")], []], refused)
    with pytest.raises(CheckFailed, match="kueue-controller-manager did not come back") as error:
        controllers.await_back(context, controllers.kill(context, [controllers.KUEUE]))
    assert error.value.why == "exceeded quota"
    api(context, [[controller("old")], [controller("new", ready=False)]])
    with pytest.raises(CheckFailed) as error:
        controllers.await_back(context, controllers.kill(context, [controllers.KUEUE]))
    assert error.value.why == "its pod kueue-controller-manager-x-new is Running and not ready"
    api(context, [[]])
    with pytest.raises(CheckFailed, match="has no pod"):
        controllers.kill(context, [controllers.KUEUE])


@pytest.mark.parametrize(
    ("active", "lost", "words"),
    [
        ({"containerd.service": "b", "kubelet.service": "b"}, True, ""),  # the connection goes with the services
        ({"containerd.service": "b", "kubelet.service": ""}, False, "not active again: kubelet.service"),
        ({"containerd.service": "a", "kubelet.service": "b"}, False, "not active again: containerd.service"),
    ],
)
def test_services_that_restart_under_running_jobs(
    session: Session, monkeypatch: pytest.MonkeyPatch, active: dict[str, str], lost: bool, words: str
) -> None:
    shown = [dict.fromkeys(nodes._UNITS, "a"), active]

    def ask(ctx: Context, kind: str, at: str, command: list[str], *, seconds: float) -> str:
        if "restart" in command and lost:
            raise UnreachableError("the Kubernetes API does not answer", why="Connection to remote host was lost.")
        return ""

    class Fleet:
        def __enter__(self) -> Any:
            there = {kind.name: [kind.job] for kind in KINDS}
            fates = {kind.name: Fate("done", 40.0) for kind in KINDS}
            return SimpleNamespace(
                start=lambda *_: None, on=lambda _: there, strike=lambda: None, fates=lambda _: fates,
                changes=list, broken=[],
            )  # fmt: skip

        def __exit__(self, *_: object) -> None: ...

    agents: Any = SimpleNamespace(ask=ask, start=lambda *_: {})
    monkeypatch.setattr(session, "agents", agents)
    monkeypatch.setattr(session, "nodes", lambda: [node("w1")])
    monkeypatch.setattr(session, "sleep", lambda *_: None)
    monkeypatch.setattr(nodes, "fleet", lambda _: Fleet())
    monkeypatch.setattr(nodes, "_units", lambda *_: shown.pop(0) if len(shown) > 1 else shown[0])
    monkeypatch.setattr(nodes, "_new_pod", lambda *_: None)
    monkeypatch.setattr(nodes, "_BACK_WITHIN", 0.1)
    check = load()["scheduling.drill-restart"]
    if words:
        with pytest.raises(CheckFailed) as error:
            check.run(Context(session, check))
        assert error.value.why == words
    else:
        outcome = check.run(Context(session, check))
        assert outcome.status == "pass" and "the same pods" in outcome.observed
