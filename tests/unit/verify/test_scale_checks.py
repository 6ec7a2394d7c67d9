"""Suite scale on what ranks and pods would tell: as it should be it passes, and who is wrong or slow is named."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from arena_install.verify import pods, pytorchjob
from arena_install.verify.checks import scale, scale_pods
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.model import Outcome
from arena_install.verify.payloads import podresources
from arena_install.verify.registry import load
from arena_install.verify.session import Session

PAYLOADS = Path(podresources.__file__).parent
MIB = 1 << 20


def told(
    world: int = 4, backend: str = "gloo", *, wrong: dict[int, int] | None = None, slow: dict[int, float] | None = None
) -> list[dict[str, Any]]:
    """What the ranks of a good run tell, two on a node. wrong: rank -> wrong sums. slow: rank -> factor."""
    rows: list[dict[str, Any]] = []
    for rank in range(world):
        node = f"w{rank // 2 + 1}"
        rows.append({"kind": "start", "rank": rank, "world": world, "node": node, "backend": backend})
        for size in (1024, MIB):
            bad = (wrong or {}).get(rank, 0)
            rows.append({"kind": "reduced", "rank": rank, "bytes": size, "seconds": size / 1e9, "wrong": bad})
        factor = (slow or {}).get(rank, 1.0)
        rows.append({"kind": "steps", "rank": rank, "steps": 28, "computing": 0.01 * factor, "exchanging": 0.002})
        rows.append({"kind": "end", "rank": rank})
    return rows


def pair(one: str, other: str, gbps: float) -> dict[str, Any]:
    return {"kind": "pair", "nodes": [one, other], "bytes": MIB, "seconds": MIB / gbps / 1e9}


@pytest.fixture
def run(session: Session, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """run(what the ranks told, check id) with four GPUs free on each of two nodes."""

    def one(rows: Sequence[dict[str, Any]], id: str = "scale.collective", world: int = 4, free: int = 2) -> Outcome:
        monkeypatch.setattr(session, "gpu_names", lambda: ["w1", "w2"])
        monkeypatch.setattr(pytorchjob, "free_gpus", lambda *_: free)
        monkeypatch.setattr(scale, "_run", lambda *_: scale.together(world, rows))
        if id == "scale.steps":
            session.shared["scale.collective"] = scale.together(world, rows)
        check = load()[id]
        return check.run(Context(session, check))

    return one


# ---- together -------------------------------------------------------------------------------------------------------


def test_right_sums_pass_with_their_bandwidth(run: Callable[..., Outcome]) -> None:
    outcome = run(told())
    assert outcome.status == "pass"
    assert outcome.observed == "gloo, 4 ranks: 1 MiB at 1.00 GB/s (algbw), 1.50 GB/s (busbw)"
    assert [row["bytes"] for row in outcome.data["sizes"]] == [1024, MIB]


def test_bandwidth_is_the_slowest_ranks() -> None:
    rows = told(2)
    rows[2]["seconds"] = MIB / 1e8  # rank 0's sum of a MiB takes ten times as long
    (_, last) = scale.bandwidths(scale.together(2, rows))
    assert last["algbw"] == pytest.approx(0.1) and last["busbw"] == pytest.approx(0.1)  # 2 (n - 1) / n is 1 for two


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        (told(wrong={2: 7}), "wrong elements of 256 (vector of 1024 bytes): rank 2 on w2 7"),
        ([row for row in told() if (row["kind"], row["rank"]) != ("end", 3)], "3 of 4 ranks came to their end"),
        (told()[:-5], "3 of 4 ranks summed the vector of 1024 bytes"),
        ([], "0 of 4 ranks came to their end"),
    ],
)
def test_wrong_sums_fail_and_name_the_rank(run: Callable[..., Outcome], rows: Any, cause: str) -> None:
    outcome = run(rows)
    assert outcome.status == "fail" and cause in outcome.cause and outcome.fix


def test_a_slow_node_is_found_by_its_pairs_and_judged_on_gpus_alone(run: Callable[..., Outcome]) -> None:
    pairs = [pair("w1", "w2", 10), pair("w1", "w3", 2), pair("w2", "w3", 2), pair("w1", "w4", 10), pair("w2", "w4", 10)]
    assert run([*told(), *pairs]).status == "pass"
    outcome = run([*told(backend="nccl"), *pairs])
    assert outcome.status == "fail"
    assert outcome.cause == "w3 exchanges 2.00 GB/s with the others, the median node 10.00"


def test_without_two_free_gpus_nothing_is_said(run: Callable[..., Outcome]) -> None:
    assert run(told(), free=0).status == "skip"
    assert not load()["scale.collective"].required and not load()["scale.steps"].required


@pytest.mark.parametrize(
    ("rows", "status", "cause"),
    [
        (told(), "pass", ""),
        (told(slow={3: 2.5}), "pass", ""),  # CPUs are shared
        (told(slow={2: 8.0, 3: 8.0}), "fail", "rank 3 on w2: 80.0 ms a step, the median 10.0 ms\nrank 2 on w2"),
        (told(backend="nccl", slow={3: 1.2}), "fail", "rank 3 on w2: 12.0 ms a step"),
        (told(backend="nccl", slow={3: 1.05}), "pass", ""),
        (told()[:-2], "fail", "3 of 4 ranks trained"),
    ],
)
def test_who_computes_slowly(run: Callable[..., Outcome], rows: Any, status: str, cause: str) -> None:
    outcome = run(rows, "scale.steps")
    assert outcome.status == status and cause in outcome.cause


# ---- the payload ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def payload() -> Iterator[ModuleType]:
    sys.path.insert(0, str(PAYLOADS))
    try:
        spec = importlib.util.spec_from_file_location("collective_payload", PAYLOADS / "collective.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(PAYLOADS))


@pytest.mark.parametrize("count", [3, 4, 5, 8, 9])
def test_everyone_meets_everyone_once(payload: ModuleType, count: int) -> None:
    players = [10 * i for i in range(count)]
    rounds = payload.rounds(players, 99)
    pairs = [pair for one in rounds for pair in one]
    assert len(pairs) == len(set(pairs)) == count * (count - 1) // 2
    for one in rounds:
        met = [player for pair in one for player in pair]
        assert len(met) == len(set(met)) and len(met) >= count - 1
    assert len(payload.rounds(players, 2)) == 2


@pytest.mark.parametrize(("fails", "code"), [("9", 0), ("2", 7)])
def test_a_replica_runs_a_process_for_each_rank_and_ends_as_they_do(
    payload: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str, code: int
) -> None:
    script = tmp_path / "rank.py"
    script.write_text(
        "import os, pathlib, sys, time\n"
        "rank = os.environ['RANK']\n"
        f"pathlib.Path({str(tmp_path)!r}, 'rank-' + rank).write_text(os.environ['WORLD_SIZE'])\n"
        f"if rank == {fails!r}: sys.exit(7)\n"
        f"if {fails!r} == '2': time.sleep(60)\n"
    )
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert payload.launch(2) in ((0,) if not code else (7, 15))
    assert {path.name: path.read_text() for path in tmp_path.glob("rank-*")}.items() <= {
        "rank-2": "6", "rank-3": "6"
    }.items()  # fmt: skip


def test_the_ranks_for_real() -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed here; the cluster's verify-pytorch image has it")
    done = subprocess.run(
        [sys.executable, PAYLOADS / "collective.py", "--ranks=2"], capture_output=True, text=True, check=True,
        env={"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29512"},
    )  # fmt: skip
    assert '"wrong": 0' in done.stdout


# ---- the job --------------------------------------------------------------------------------------------------------


def test_one_replica_on_each_node_with_all_its_gpus(session: Session) -> None:
    context = Context(session, load()["scale.collective"])
    job = pytorchjob.Job("j", ["true"], 2, ["a", "b"], gpus=4, memory_gib=8, apart=True)
    replicas = pytorchjob.manifest(context, job, "payload")["spec"]["pytorchReplicaSpecs"]
    assert {name: row["replicas"] for name, row in replicas.items()} == {"Master": 1, "Worker": 1}
    spec = replicas["Worker"]["template"]["spec"]
    assert spec["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "4", "memory": "8Gi"}
    assert spec["topologySpreadConstraints"][0]["whenUnsatisfiable"] == "DoNotSchedule"
    alone = pytorchjob.manifest(context, pytorchjob.Job("j", ["true"], 1, ["a"]), "payload")
    assert list(alone["spec"]["pytorchReplicaSpecs"]) == ["Master"]


# ---- many pods ------------------------------------------------------------------------------------------------------


def node(name: str, room: int = 110, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": spec, "status": {"allocatable": {"pods": str(room)}}}


def there(node: str, phase: str = "Running") -> dict[str, Any]:
    return {"spec": {"nodeName": node}, "status": {"phase": phase}}


def test_only_room_that_nobody_uses_is_taken_and_only_a_part_of_it() -> None:
    taint = {"taints": [{"key": "k", "effect": "NoSchedule"}]}
    nodes = [node("cp", **taint), node("off", unschedulable=True), node("w1", 20), node("w2"), node("full", 3)]
    running = [there("w1") for _ in range(10)] + [there("w1", "Succeeded")] + [there("full") for _ in range(2)]
    assert scale_pods.shares(nodes, running) == {"w1": 5, "w2": 15}
    assert scale_pods.shares([node("cp", **taint)], []) == {}


def test_in_a_large_cluster_each_node_gets_few() -> None:
    found = scale_pods.shares([node(f"n{i}") for i in range(200)], [])
    assert set(found.values()) == {3}
    assert sum(scale_pods.shares([node(f"n{i}") for i in range(900)], []).values()) == 600


def pod(name: str, on: str, seconds: int | None) -> dict[str, Any]:
    """seconds: from scheduled to running; None while it waits."""
    conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    status: dict[str, Any] = {"phase": "Pending", "conditions": conditions}
    if seconds is not None:
        conditions.append({"type": "Ready", "status": "True"})
        started = f"2026-01-01T00:{seconds // 60:02d}:{seconds % 60:02d}Z"
        status |= {"phase": "Running", "containerStatuses": [{"state": {"running": {"startedAt": started}}}]}
    return {"metadata": {"name": name}, "spec": {"nodeName": on, "containers": []}, "status": status}


class FakeKube:
    """Pods that are created start as the test says: the n-th after so many seconds."""

    def __init__(self, delays: Sequence[int | None], nodes: Sequence[dict[str, Any]]) -> None:
        self.delays, self.nodes = delays, nodes
        self.made: list[dict[str, Any]] = []

    def items(self, path: str, **query: Any) -> list[Any]:
        if path.endswith("/nodes"):
            return list(self.nodes)
        if path.endswith("/events"):
            about = {"involvedObject": {"name": "many-1", "kind": "Pod"}, "type": "Warning"}
            return [about | {"message": "failed to create pod sandbox: no IP addresses available"}]
        return list(self.made) if "labelSelector" in query else []

    def create(self, path: str, body: dict[str, Any]) -> None:
        (want,) = body["spec"]["affinity"]["nodeAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]["nodeSelectorTerms"][0]["matchFields"][0]["values"]  # fmt: skip
        name = body["metadata"]["name"]
        self.made.append(pod(name, want, self.delays[int(name.removeprefix("many-"))]))

    def get(self, path: str) -> dict[str, Any]:
        return {}

    def logs(self, *_: Any) -> str:
        return ""

    def delete(self, path: str, *, grace: int = 0) -> None:
        self.made = [one for one in self.made if one["metadata"]["name"] != path.rpartition("/")[2]]


@pytest.fixture
def start(session: Session, monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[int | None]], Outcome]:
    """start(delays) of six pods on two nodes; half a second stands for the patience with those that wait."""
    monkeypatch.setattr(scale_pods, "_STALL", 0.5)
    monkeypatch.setattr(scale_pods, "_SAMPLES", 1)
    monkeypatch.setattr(scale_pods, "_EVERY", 0.01)
    monkeypatch.setattr(session.workspaces, "get", lambda _: "arena-verify-abc123")

    def one(delays: Sequence[int | None]) -> Outcome:
        kube: Any = FakeKube(delays, [node("w1", 6), node("w2", 6)])
        session.kube = kube
        monkeypatch.setattr(pods, "found", lambda ctx, namespace: kube.items("pods", labelSelector="x"))
        check = load()["scale.pods"]
        return check.run(Context(session, check))

    return one


def test_pods_that_start_are_counted_and_removed(
    start: Callable[[Sequence[int | None]], Outcome], session: Session
) -> None:
    outcome = start([1, 2, 2, 3, 2, 9])
    assert outcome.status == "pass"
    assert "median 2 s, 95% within 9 s" in outcome.observed and "pods/s" in outcome.observed
    assert session.kube.made == []  # type: ignore[attr-defined]
    assert session.shared["scale.pods"].pods == 6


def test_pods_that_never_start_fail_by_node_with_the_kubelets_words(
    start: Callable[[Sequence[int | None]], Outcome],
) -> None:
    with pytest.raises(CheckFailed) as caught:
        start([1, None, 1, 1, None, 1])
    assert caught.value.what.startswith("2 of 6 pods did not start")
    assert caught.value.why.splitlines() == [
        "w1: 1 pods wait: failed to create pod sandbox: no IP addresses available",
        "w2: 1 pods wait: nobody says why",
    ]


def test_a_few_that_take_very_much_longer_fail(start: Callable[[Sequence[int | None]], Outcome]) -> None:
    outcome = start([1, 2, 2, 3, 2, 59])
    assert outcome.status == "fail" and outcome.cause.endswith("the slowest is on w2")


@pytest.mark.parametrize(
    ("milliseconds", "errors", "status", "cause"),
    [
        ({"get": [5] * 40, "list": [9] * 40}, [], "pass", ""),
        ({"get": [5] * 38 + [1700] * 2, "list": [9] * 40}, [], "pass", ""),
        ({"get": [5] * 30 + [1700] * 10, "list": [9] * 40}, [], "fail", "GET: 95% within 1700 ms, the budget is 1000"),
        ({"get": [5] * 40, "list": [6000] * 40}, [], "fail", "LIST: 95% within 6000 ms"),
        ({"get": [], "list": [9]}, [], "fail", "GET: no answer to measure"),
        ({"get": [5], "list": [9]}, ["get: 503"], "fail", "1 requests went wrong, the first: get: 503"),
    ],
)
def test_the_api_under_load(session: Session, milliseconds: Any, errors: Any, status: str, cause: str) -> None:
    session.shared["scale.pods"] = scale_pods.Load(30, milliseconds, errors)
    check = load()["scale.api"]
    outcome = check.run(Context(session, check))
    assert outcome.status == status and cause in outcome.cause
