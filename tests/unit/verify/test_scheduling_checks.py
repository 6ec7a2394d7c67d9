"""Suite scheduling on what clusters told: as it was it passes, and each broken promise is found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from arena_install.verify import images_for, pods, suites_for
from arena_install.verify.checks import scheduling_gang as gang
from arena_install.verify.checks import scheduling_mpi as mpi
from arena_install.verify.checks import scheduling_queue as queue
from arena_install.verify.checks import scheduling_wrapped as wrapped
from arena_install.verify.checks import volcano
from arena_install.verify.needs import Facts, unmet
from arena_install.verify.registry import load
from arena_install.verify.watch import Change

NODES = {"allreduce-worker-0": "w1", "allreduce-worker-1": "w2"}


def rank(number: int, pod: str = "", **more: Any) -> dict[str, Any]:
    pod = pod or f"allreduce-worker-{number // 2}"
    return {"kind": "rank", "rank": number, "size": 4, "pod": pod, "wrong": 0, "sum": 1.0, **more}


GOOD = [rank(number) for number in range(4)]


def test_ranks_in_the_workers_pass() -> None:
    outcome = mpi.judged(GOOD, NODES, 2)
    assert outcome.status == "pass"
    assert outcome.data["pods"] == {"allreduce-worker-0": 2, "allreduce-worker-1": 2}


@pytest.mark.parametrize(
    ("ranks", "nodes", "cause"),
    [
        ([rank(number, "allreduce-launcher-x7") for number in range(4)], NODES, "allreduce-launcher-x7, which is no"),
        (GOOD[:3], NODES, "3 ranks reported"),
        ([], NODES, "0 ranks reported"),
        ([*GOOD[:3], rank(3, "allreduce-worker-0")], NODES, "allreduce-worker-0 ran 3 ranks"),
        ([*GOOD[:3], rank(3, wrong=7)], NODES, "rank 3: 7 wrong sums"),
        ([rank(number, size=1) for number in range(4)], NODES, "rank 0: 0 wrong sums"),
        (GOOD, dict.fromkeys(NODES, "w1"), "all workers ran on w1"),
    ],
)
def test_ranks_elsewhere_or_wrong_sums_fail(ranks: list[Any], nodes: dict[str, str], cause: str) -> None:
    outcome = mpi.judged(ranks, nodes, 2)
    assert outcome.status == "fail" and cause in outcome.cause


def test_one_node_is_enough_where_there_is_one() -> None:
    assert mpi.judged(GOOD, dict.fromkeys(NODES, "w1"), 1).status == "pass"


def change(kind: str, name: str, job: str, *, node: str = "", phase: str = "Pending", at: float = 0.0) -> Change:
    meta = {"name": name, "labels": {"volcano.sh/job-name": job}}
    return Change(kind, {"metadata": meta, "spec": {"nodeName": node}, "status": {"phase": phase}}, at)


def life(name: str, job: str) -> list[Change]:
    return [
        change("ADDED", name, job),
        change("MODIFIED", name, job, node="w1"),
        change("MODIFIED", name, job, node="w1", phase="Running"),
        change("MODIFIED", name, job, node="w1", phase="Succeeded"),
        change("DELETED", name, job, node="w1", phase="Succeeded"),
    ]


def test_a_pod_that_was_bound_for_a_moment_is_seen() -> None:
    seen = [change("ADDED", "a-0", "a"), *life("a-1", "a"), change("DELETED", "a-0", "a"), *life("b-0", "b")]
    assert list(volcano.bound(seen, "a")) == ["a-1"]
    assert volcano.bound(seen, "b") == {"b-0": "w1"}
    assert "a-1 Running w1" in volcano.story(seen)


def test_rivals_one_after_the_other() -> None:
    assert gang.crowded([*life("a-0", "a"), *life("b-0", "b")], ["a", "b"], 1, 1) == []
    assert gang.crowded([*life("a-0", "a"), *life("c-0", "c")], ["a", "b"], 1, 1) == ["0 of 1 pods of b were bound"]


def test_a_rival_that_starts_without_room_for_all_of_it() -> None:
    a, b = life("a-0", "a"), life("b-0", "b")
    assert gang.crowded([*a[:2], *b, *a[2:]], ["a", "b"], 1, 1) == ["b started with room for 0 pods, it has 1"]
    ends_as_the_other_starts = [*a[:4], *b, *a[4:]]
    assert gang.crowded(ends_as_the_other_starts, ["a", "b"], 1, 1) == []


def test_a_rival_may_start_while_the_last_pods_of_the_other_run() -> None:
    """Two of three on four GPUs: when two of the first have ended there is room for all of the second."""
    first, second = ([life(f"{job}-{number}", job) for number in range(3)] for job in "ab")
    begun = [change for pod in first for change in pod[:3]]
    ended = [change for pod in first[:2] for change in pod[3:]]
    rest = [*[change for pod in second for change in pod], *first[2][3:]]
    assert gang.crowded([*begun, *ended, *rest], ["a", "b"], 3, 4) == []
    assert gang.crowded([*begun, *ended[:2], *rest], ["a", "b"], 3, 4) == ["b started with room for 2 pods, it has 3"]
    # Half of each, as a scheduler of single pods does it.
    halves = [change for pod in (*first[:2], *second[:2]) for change in pod[:3]]
    assert gang.crowded(halves, ["a", "b"], 3, 4)[0] == "b started with room for 1 pods, it has 3"


def test_most_pods_at_once() -> None:
    ones = [life(f"a-{number}", "a") for number in range(3)]
    assert queue.at_once([*ones[0], *ones[1], *ones[2]]) == 1
    assert queue.at_once([ones[0][0], ones[1][0], *ones[0][3:], *ones[2]]) == 2
    assert queue.at_once([]) == 0


def appwrapper(*phases: str) -> list[dict[str, Any]]:
    return [{"status": {"phase": phase}} if phase else {} for phase in phases]


@pytest.mark.parametrize(
    ("states", "went", "right"),
    [
        (("", "Suspended", "Suspended", "Resuming", "Running", "Succeeded"), 4, True),
        (("Suspended", "Resuming", "Running", "Resetting", "Resuming", "Running", "Succeeded"), 7, True),
        (("Running", "Succeeded"), 2, False),
        (("Suspended", "Running", "Resuming", "Succeeded"), 4, False),
        ((), 0, False),
    ],
)
def test_phases_in_their_order(states: tuple[str, ...], went: int, right: bool) -> None:
    seen = wrapped.phases(appwrapper(*states))
    assert len(seen) == went
    assert wrapped.in_order(seen, wrapped.PHASES) is right


def test_the_suite_is_for_clusters_that_have_one_of_its_components() -> None:
    assert "scheduling" not in suites_for(["flannel", "training-operator"])
    assert "scheduling" in suites_for(["flannel", "kueue"])
    assert pods.MPI in images_for(["scheduling"]) and pods.MPI not in images_for(["training"])


def test_each_of_its_checks_is_skipped_where_its_component_is_missing() -> None:
    checks = [check for check in load().values() if check.suite == "scheduling"]
    bare = Facts((), False, "", False)
    crds = frozenset({"clusterqueues.kueue.x-k8s.io", "mpijobs.kubeflow.org"})
    assert checks
    for check in checks:
        needs = [need for need in check.needs if need.startswith("component:")]
        assert needs and all(unmet(need, bare) for need in needs), check.id
    assert unmet("component:kueue", Facts((), False, "", False, crds)) is None
    reason, fix = unmet("component:volcano", Facts((), False, "", False, crds)) or ("", "")
    assert "jobs.batch.volcano.sh is missing" in reason and fix == "arena-install up --only volcano"


MPI4PY = """
class World:
    def Get_rank(self): return 0
    def Get_size(self): return 2
    def Barrier(self): pass
    def Allreduce(self, mine, total):
        for place, value in enumerate(mine[0]): total[0][place] = value * 3
        total[0][5] += 1
class MPI: COMM_WORLD, DOUBLE = World(), None
"""


def test_a_rank_counts_wrong_sums(tmp_path: Path) -> None:
    """The payload itself, on a stand-in for MPI whose sum is wrong in one place."""
    (tmp_path / "mpi4py.py").write_text(MPI4PY)
    script = Path(mpi.__file__).parents[1] / "payloads/allreduce.py"
    done = subprocess.run(
        [sys.executable, str(script)], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    (line,) = (line for line in done.stdout.splitlines() if line)
    record = json.loads(line.removeprefix("ARENA-VERIFY "))
    assert (record["rank"], record["size"], record["wrong"]) == (0, 2, 1)
