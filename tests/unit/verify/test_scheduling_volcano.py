"""Shares of Volcano's queues and places in its topology, on what a watch told."""

from __future__ import annotations

from typing import Any

import pytest

from arena_install.verify.checks import scheduling_topology as topology
from arena_install.verify.checks import scheduling_volcano as shares
from arena_install.verify.checks import volcano
from arena_install.verify.context import Context
from arena_install.verify.session import Session
from arena_install.verify.watch import Change


@pytest.mark.parametrize(
    ("nodes", "count", "each", "large"),
    [
        ([4, 4], 8, 1, 6.0),
        ([8, 8, 8], 24, 1, 18.0),
        ([8] * 8, 8, 8, 6.0),
        ([8, 8, 8, 8, 4], 9, 4, 6.75),
        ([], 0, 1, 0.0),
    ],
)
def test_all_gpus_are_split_into_not_too_many_pods(nodes: list[int], count: int, each: int, large: float) -> None:
    parts = shares.split(nodes)
    assert (parts.count, parts.gpus, parts.large) == (count, each, large)


@pytest.mark.parametrize(
    ("left", "most", "words"),
    [
        (2, 6, []),
        (2, 7, ["the queue of weight 3 got 7 pods in, it deserves 6"]),
        (1, 6, ["the queue of weight 1 was left with 1 pods, it deserves 2"]),
    ],
)
def test_shares_by_weight(left: int, most: int, words: list[str]) -> None:
    assert shares.unfair(shares.Parts(8, 1), left, most) == words


def test_shares_that_are_no_whole_pods() -> None:
    parts = shares.Parts(9, 4)  # 6.75 pods and 2.25
    assert shares.unfair(parts, 2, 7) == [] and shares.unfair(parts, 3, 6) == []
    assert len(shares.unfair(parts, 1, 8)) == 2


def pod(kind: str, name: str, job: str, at: float, *, node: str = "", phase: str = "Pending", uid: str = "") -> Change:
    meta = {"name": name, "uid": uid or name, "labels": {"volcano.sh/job-name": job}}
    return Change(kind, {"metadata": meta, "spec": {"nodeName": node}, "status": {"phase": phase}}, at)


def test_who_holds_how_many_when() -> None:
    changes = [
        pod("ADDED", "a-0", "a", 0.5),
        pod("MODIFIED", "a-0", "a", 1, node="w1"),
        pod("MODIFIED", "a-1", "a", 2, node="w1", phase="Running"),
        pod("MODIFIED", "b-0", "b", 2.5, node="w2", phase="Running"),
        pod("MODIFIED", "a-0", "a", 3, node="w1", phase="Failed"),
        pod("ADDED", "a-0", "a", 4, uid="second"),
        pod("DELETED", "a-0", "a", 4.5, node="w1", phase="Failed"),  # heard of late
        pod("MODIFIED", "a-0", "a", 5, node="w2", uid="second"),
    ]
    assert volcano.held(changes, ["a"]) == [(0.0, 0), (1, 1), (2, 2), (3, 1), (5, 2)]
    assert volcano.held(changes, ["a", "b"])[-1] == (5, 3)
    assert volcano.bound(changes, "a") == {"a-0": "w2", "a-1": "w1"}


PARTED = {"0": {"p-0": "w1", "p-1": "w1"}, "1": {"p-2": "w2", "p-3": "w2"}}


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (PARTED, ""),
        ({}, "the partitions are none"),
        ({**PARTED, "1": {"p-2": "w2", "p-3": "w1"}}, "partition 1 is not 2 pods on one node: 1 on w1, 1 on w2"),
        ({**PARTED, "1": {"p-2": "w2"}}, "partition 1 is not 2 pods on one node: 1 on w2"),
        ({**PARTED, "1": {"p-2": "w1", "p-3": "w1"}}, "both partitions are on one node"),
        ({"without a partition": {"p-0": "w1", "p-1": "w1"}}, "the partitions are without a partition"),
    ],
)
def test_partitions_that_stay_together(groups: dict[str, dict[str, str]], words: str) -> None:
    problems = topology.parted(groups, 2, {"w1", "w2"})
    assert problems[:1] == [] if not words else words in problems[0]


@pytest.fixture
def context(session: Session, make_check: Any) -> Context:
    return Context(session, make_check("scheduling.test", lambda _: None))


def test_a_job_says_how_far_it_may_spread(context: Context) -> None:
    body = volcano.manifest(context, "j", 6, ["true"], tier=2, partitions=2)["spec"]
    assert body["networkTopology"] == {"mode": "hard", "highestTierAllowed": 2} and body["minAvailable"] == 6
    (task,) = body["tasks"]
    assert task["partitionPolicy"]["partitionSize"] == 3 and task["partitionPolicy"]["minPartitions"] == 2
    plain = volcano.manifest(context, "j", 6, ["true"], least=1, queue="q", priority="high")["spec"]
    assert (plain["minAvailable"], plain["queue"], plain["priorityClassName"]) == (1, "q", "high")
    assert plain["tasks"][0]["template"]["spec"]["priorityClassName"] == "high" and "networkTopology" not in plain


@pytest.mark.parametrize(
    ("free", "strangers", "reason"),
    [
        ({"w1": 4, "w2": 4}, [], ""),
        ({"w1": 4, "w2": 3}, [], "1 GPU nodes are idle"),
        ({"w1": 4, "w2": 4}, ["rack-1"], "HyperNodes of its own (rack-1)"),
    ],
)
def test_two_idle_nodes_and_nobody_elses_topology(
    context: Context, monkeypatch: pytest.MonkeyPatch, free: dict[str, int], strangers: list[str], reason: str
) -> None:
    monkeypatch.setattr(volcano, "free", lambda _: free)
    monkeypatch.setattr(volcano, "offered", lambda _: {"w1": 4, "w2": 4})
    rows = [{"metadata": {"name": name}} for name in strangers]
    rows.append({"metadata": {"name": "ours", "labels": {"arena-install.local/verify": "x"}}})
    kube: Any = type("K", (), {"items": staticmethod(lambda *_, **__: rows)})()
    context.kube = kube
    found = topology._pair(context)
    if reason:
        assert not isinstance(found, topology.Pair) and found.status == "skip" and reason in found.cause
    else:
        assert found == topology.Pair("w1", "w2", 4, 4)
