"""Workloads of Kueue as a watch tells of them: who reserved how much when, and who had to give way."""

from __future__ import annotations

from typing import Any

import pytest

from arena_install.verify.checks import queues
from arena_install.verify.checks import scheduling_drills as drills
from arena_install.verify.checks import scheduling_share as share
from arena_install.verify.watch import Change

GAVE_WAY = [
    {},
    {"QuotaReserved": "", "Admitted": ""},
    {"Evicted": "Preempted", "Preempted": "InCohortReclamation", "QuotaReserved": "", "Admitted": ""},
    {"Evicted": "Preempted", "Preempted": "InCohortReclamation", "Requeued": ""},
    {"QuotaReserved": "", "Admitted": ""},
]
TOLD = [
    "QuotaReserved", "Admitted", "Evicted Preempted", "Preempted InCohortReclamation", "QuotaReserved", "Admitted",
]  # fmt: skip


def workload(name: str, conditions: dict[str, str], cpu: str = "20m", *, uid: str = "", queue: str = "q") -> Any:
    owner = {"kind": "Job", "name": name}
    reserved = {"clusterQueue": queue, "podSetAssignments": [{"resourceUsage": {"cpu": cpu, "memory": "1Gi"}}]}
    return {
        "metadata": {"name": f"job-{name}", "uid": uid or name, "ownerReferences": [owner]},
        "spec": {"queueName": "verify-test"},
        "status": {
            "conditions": [{"type": type, "status": "True", "reason": why} for type, why in conditions.items()],
            **({"admission": reserved} if "QuotaReserved" in conditions else {}),
        },
    }


def life(name: str, *states: dict[str, str], **more: Any) -> list[Change]:
    return [Change("MODIFIED", workload(name, state, **more), float(at)) for at, state in enumerate(states)]


def test_the_story_of_one_that_gave_way() -> None:
    changes = [*life("a", *GAVE_WAY), *life("b", {"Admitted": ""})]
    told = queues.story(changes, "Job", "a")
    assert told == TOLD
    assert share.gave_way(told, "InCohortReclamation") == []
    assert share.gave_way([*told, "Finished"], "InCohortReclamation") == []  # its job was removed
    assert queues.story([], "Job", "a") == []


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (TOLD, "InClusterQueue"),  # evicted, but for another reason
        (TOLD[:4], "InCohortReclamation"),  # never admitted again
        (TOLD[:2], "InCohortReclamation"),
        ([*TOLD, *TOLD[2:]], "InCohortReclamation"),  # twice
        ([*TOLD[:2], "Finished", *TOLD[2:]], "InCohortReclamation"),
        ([], "InCohortReclamation"),
    ],
)
def test_one_that_gave_way_otherwise(told: list[str], reason: str) -> None:
    (problem,) = share.gave_way(told, reason)
    assert problem.startswith("it went ") and reason in problem


def test_what_is_reserved_at_once() -> None:
    held, done = {"QuotaReserved": ""}, {"QuotaReserved": "", "Finished": ""}
    a, b, c = (life(name, held, done) for name in "abc")
    assert queues.most_reserved([a[0], a[1], b[0], b[1], c[0]]) == 20
    assert queues.most_reserved([a[0], b[0], c[0], a[1]]) == 60
    assert queues.most_reserved([a[0], b[0], Change("DELETED", a[0].object, 1.0), c[0]]) == 40
    assert queues.most_reserved(life("a", held, cpu="2")) == 2000
    assert queues.most_reserved(life("a", held, queue="other"), ["q"]) == 0
    assert queues.most_reserved([]) == 0
    assert "Job/a QuotaReserved()" in queues.history(a)


ONCE = ({}, {"QuotaReserved": "", "Admitted": ""}, {"QuotaReserved": "", "Admitted": "", "Finished": ""})


def test_each_job_is_admitted_once() -> None:
    changes = [*life("a", *ONCE), *life("b", *ONCE)]
    assert drills.twice(changes, ["a", "b"], 3) == []
    assert drills.twice(changes, ["a", "b"], 4) == ["4 pods were there at once, the quota has room for 3"]
    assert drills.twice(changes, ["a", "b", "c"], 3) == ["c has 0 Workloads", "c went nowhere"]
    again = [*changes, *life("b", *ONCE, uid="another")]
    assert drills.twice(again, ["a", "b"], 3)[0] == "b has 2 Workloads"
    evicted = life("a", ONCE[1], {"Evicted": "Deactivated"}, ONCE[1], ONCE[2])
    (problem,) = drills.twice(evicted, ["a"], 3)
    assert "Evicted Deactivated → QuotaReserved" in problem
