"""Suite observability on what Prometheus, nvidia-smi and the kubelet told: as it should be it passes, and each way in
which it is not is named."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from arena_install.errors import StepError
from arena_install.verify import images_for, pods, suites_for
from arena_install.verify.checks import observability as watch
from arena_install.verify.checks import observability_drill as drill
from arena_install.verify.checks import observability_gpu as gpus
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.needs import Facts, unmet
from arena_install.verify.prometheus import ARENA, Prometheus, Sample, seconds, service_of
from arena_install.verify.registry import load
from arena_install.verify.session import Session

NOW = 1_800_000_000.0


def target(job: str, node: str = "", health: str = "up", **more: Any) -> dict[str, Any]:
    labels = {"instance": node or "localhost:9090", **({"node": node} if node else {})}
    return {"scrapePool": job, "labels": labels, "health": health, "lastError": "", "scrapeInterval": "5s", **more}


def node(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {}}


WELL = [target("prometheus"), *(target(job, name) for job in ("node-exporter", "kubelet") for name in ("cp1", "w1"))]
GPU_TARGET = target("gpu-exporter", "w1")
WANTED = {"node-exporter": {"cp1", "w1"}, "kubelet": {"cp1", "w1"}, "gpu-exporter": {"w1"}}


def test_all_that_is_watched_answers() -> None:
    assert watch.target_problems([*WELL, GPU_TARGET], WANTED) == []


@pytest.mark.parametrize(
    ("seen", "cause"),
    [
        (WELL, "w1 has no gpu-exporter"),
        ([*WELL[:-1], GPU_TARGET], "w1 has no kubelet"),
        ([*WELL, target("gpu-exporter", "w1", "down", lastError="connection refused")], "of w1: connection refused"),
        ([*WELL, target("gpu-exporter", "w1", "unknown")], "w1 has not been scraped yet"),
        ([target("prometheus", health="down"), *WELL[1:], GPU_TARGET], "prometheus of localhost:9090: down"),
    ],
)
def test_what_does_not_answer_is_named(seen: list[Any], cause: str) -> None:
    assert any(cause in problem for problem in watch.target_problems(seen, WANTED))
    assert watch.target_problems([], {}) == ["nothing is scraped"]


def test_what_prometheus_is_not_told_to_scrape_is_not_missed() -> None:
    nodes = [node("cp1"), node("w1")]
    assert watch.wanted_nodes(["prometheus", "kubelet"], nodes, ["w1"]) == {"kubelet": {"cp1", "w1"}}
    assert watch.wanted_nodes(["gpu-exporter"], nodes, ["w1"]) == {"gpu-exporter": {"w1"}}


def group(*rules: tuple[str, str], at: str = "2027-01-15T08:00:00.123456789Z") -> dict[str, Any]:
    named = [{"name": name, "health": health, "lastError": "many-to-many"} for name, health in rules]
    return {"name": "g", "interval": 5, "lastEvaluation": at, "rules": named}


def test_rules_that_are_evaluated() -> None:
    assert watch.rule_problems([group(("A", "ok"), ("mine", "ok"))], {"A"}, NOW + 3) == []


@pytest.mark.parametrize(
    ("found", "cause"),
    [
        (group(("B", "ok")), "A is not loaded"),
        (group(("A", "err")), "A (g) fails: many-to-many"),
        (group(("A", "unknown")), "A (g) has not been evaluated yet"),
        (group(("A", "ok"), at="2027-01-15T07:59:00Z"), "group g was evaluated 63 s ago"),
    ],
)
def test_rules_that_are_not(found: dict[str, Any], cause: str) -> None:
    assert any(cause in problem for problem in watch.rule_problems([found], {"A"}, NOW + 3))


def test_an_alert_that_always_fires_is_missed() -> None:
    firing = {"labels": {"alertname": "Watchdog"}, "state": "firing"}
    assert watch.watchdog_problems([firing]) == []
    assert watch.watchdog_problems([{**firing, "state": "pending"}]) and watch.watchdog_problems([])


def test_times_as_prometheus_writes_them() -> None:
    assert [seconds(text) for text in ("5s", "1m30s", "1h", "500ms")] == [5, 90, 3600, 0.5]
    assert watch.unix("2027-01-15T08:00:00.5Z") == NOW + 0.5 == watch.unix("2027-01-15T09:00:00.5+01:00")
    assert watch.unix("0001-01-01T00:00:00Z") == 0 == watch.unix("")


# ---- GPUs -----------------------------------------------------------------------------------------------------------

SMI = "GPU-a, 40, 1000, 39000, 55, 210.50\nGPU-b, 0, 0, [N/A], 30, 60.00\nGPU 2: lost\n"


def told(uuid: str, pod: str = "", **figures: float) -> list[Sample]:
    labels = {"UUID": uuid, "node": "w1", **({"pod": pod, "namespace": "ml"} if pod else {})}
    values = {"GPU_UTIL": 40.0, "FB_USED": 1000.0, "FB_FREE": 39000.0, "GPU_TEMP": 55.0, "POWER_USAGE": 210.5} | figures
    return [Sample(f"DCGM_FI_DEV_{name}", labels, value, NOW) for name, value in values.items()]


FIRST = gpus.read_smi(SMI.splitlines()[0])


def test_nvidia_smis_lines_are_read() -> None:
    both = gpus.read_smi(SMI)
    assert both["GPU-a"] == {
        "utilization.gpu": 40, "memory.used": 1000, "memory.free": 39000, "temperature.gpu": 55, "power.draw": 210.5,
    }  # fmt: skip
    assert "memory.free" not in both["GPU-b"] and len(both) == 2


def test_figures_as_nvidia_smi_has_them() -> None:
    assert gpus.figure_problems(told("GPU-a"), FIRST, FIRST, gpus.EXACT) == []


@pytest.mark.parametrize(
    ("samples", "cause"),
    [
        (told("GPU-a", GPU_TEMP=58.0), "DCGM_FI_DEV_GPU_TEMP is 58, nvidia-smi says 55 to 55"),
        (told("GPU-a", FB_USED=0.0), "DCGM_FI_DEV_FB_USED is 0"),
        (told("GPU-a")[1:], "Prometheus has no DCGM_FI_DEV_GPU_UTIL"),
        (told("GPU-a") + told("GPU-x"), "GPU-x: Prometheus has figures of a GPU that no host has"),
        ([], "GPU-a: Prometheus has no"),
    ],
)
def test_figures_that_differ(samples: list[Sample], cause: str) -> None:
    assert any(cause in problem for problem in gpus.figure_problems(samples, FIRST, FIRST, gpus.EXACT))


def test_figures_of_real_gpus_may_move_between_two_looks() -> None:
    later = {"GPU-a": {**FIRST["GPU-a"], "temperature.gpu": 62.0, "power.draw": 390.0}}
    moved = told("GPU-a", GPU_UTIL=97.0, GPU_TEMP=60.0, POWER_USAGE=300.0, FB_USED=1030.0)
    assert gpus.figure_problems(moved, FIRST, later, gpus.COMPARED) == []
    assert gpus.figure_problems(told("GPU-a", GPU_TEMP=80.0), FIRST, later, gpus.COMPARED)
    assert gpus.figure_problems(told("GPU-a", FB_USED=9000.0), FIRST, later, gpus.COMPARED)


def test_holders_are_those_that_the_kubelet_names() -> None:
    assert gpus.holder_problems(told("GPU-a", "train"), {"GPU-a": ("ml", "train")}) == []
    assert gpus.holder_problems(told("GPU-a"), {"GPU-a": ("ml", "train")}) == [
        "GPU-a is ml/train's by PodResources, nobody's by Prometheus"
    ]
    assert gpus.holder_problems(told("GPU-a", "old"), {}) == [
        "GPU-a is nobody's by PodResources, ml/old's by Prometheus"
    ]


HELD = gpus.Holding("ml", "train", "w1", "GPU-a")


def answer(**labels: str) -> list[Sample]:
    own = {"node_name": "w1", "pod_name": "train", "namespace_name": "ml", "container_name": "main", "uuid": "GPU-a",
           "minor_number": "0", **labels}  # fmt: skip
    return [Sample(name, own, value, NOW) for name, value in zip(ARENA, (40.0, 2.0**30, 40 * 2.0**30), strict=True)]


def test_what_arena_reads() -> None:
    assert gpus.arena_problems(answer(), HELD) == []


@pytest.mark.parametrize(
    ("found", "cause"),
    [
        ([], "there is no nvidia_gpu_duty_cycle of pod train"),
        (answer()[:2], "there is no nvidia_gpu_memory_total_bytes"),
        (answer(node_name=""), "node_name is missing, not w1"),
        (answer(uuid="GPU-b"), "uuid is GPU-b, not GPU-a"),
        (answer(minor_number="nvidia0"), "minor_number is no number"),
        ([*answer()[:2], Sample(ARENA[2], answer()[0].labels, 40960.0, NOW)], "more memory is used than there is"),
    ],
)
def test_what_arena_could_not_read(found: list[Sample], cause: str) -> None:
    assert any(cause in problem for problem in gpus.arena_problems(found, HELD))


# ---- the drill ------------------------------------------------------------------------------------------------------


class Told(Prometheus):
    """Answers in turn with what it was given."""

    def __init__(self, values: list[float], states: list[str], pod: str = "drill") -> None:
        self.values, self.states, self.pod = values, states, pod

    def query(self, expression: str) -> list[Sample]:
        value = self.values.pop(0) if len(self.values) > 1 else self.values[0]
        return [Sample("x", {"gpu": "1"}, value, NOW)]

    def alerts(self) -> list[dict[str, Any]]:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        labels = {"alertname": "GpuProgramError", "UUID": "GPU-a", "pod": self.pod}
        return [{"labels": labels, "state": state, "activeAt": "2027-01-15T08:00:00Z"}] if state else []


@pytest.fixture
def context(session: Session) -> Context:
    kube: Any = SimpleNamespace(now=lambda: NOW)
    session.kube = kube
    return Context(session, load()["observability.gpu-error"])


def test_an_error_that_arrives(context: Context) -> None:
    held = gpus.Holding("ml", "drill", "w1", "GPU-a")
    prometheus = Told([0.0, 31.0], ["", "pending", "firing"])
    began = drill.time.monotonic()
    assert drill._metric(context, prometheus, held, 31, began, 5) < 5
    assert drill._alert(context, prometheus, held, began, 5) < 5


@pytest.mark.parametrize(
    ("step", "prometheus", "cause"),
    [
        (lambda c, p, h: drill._metric(c, p, h, 31, drill.time.monotonic(), 0), Told([0.0], [""]), "is [0.0]"),
        (lambda c, p, h: drill._alert(c, p, h, drill.time.monotonic(), 0), Told([0.0], ["pending"]), "['pending']"),
        (lambda c, p, h: drill._alert(c, p, h, drill.time.monotonic(), 0), Told([0.0], ["firing"], "x"), "no alert"),
    ],
)
def test_an_error_that_does_not(context: Context, step: Callable[..., float], prometheus: Told, cause: str) -> None:
    with pytest.raises(CheckFailed) as error:
        step(context, prometheus, gpus.Holding("ml", "drill", "w1", "GPU-a"))
    assert cause in error.value.why and error.value.fix


def test_an_xid_that_is_news_is_chosen() -> None:
    assert [drill.choose(Told([value], [""]), HELD) for value in (0.0, 31.0)] == [("1", 31), ("1", 43)]
    silent: Any = SimpleNamespace(query=lambda _: [])
    with pytest.raises(CheckFailed, match="are not published"):
        drill.choose(silent, HELD)


def test_the_drill_disturbs_and_waits_to_be_asked_for() -> None:
    found = load()["observability.gpu-error"]
    assert not found.default and found.alone and not found.required


# ---- the suite ------------------------------------------------------------------------------------------------------


def test_the_suite_belongs_to_clusters_with_prometheus() -> None:
    assert "observability" in suites_for(["prometheus"]) and "observability" not in suites_for(["gpu-exporter"])
    assert set(images_for(["observability"])) == {pods.BUSYBOX, pods.PYTORCH}
    lacking = unmet("component:prometheus", Facts((), False, "", False))
    assert lacking is not None and "prometheus-server" in lacking[0]
    assert unmet("component:prometheus", Facts((), False, "", False, prometheus="a/b")) is None


def test_prometheus_is_found_as_arena_finds_it() -> None:
    asked: list[Any] = []

    def items(path: str, **query: str) -> list[Any]:
        asked.append((path, query))
        return [{"metadata": {"namespace": "p", "name": "prometheus"}}]

    text = '{{"status": "success", "data": {{"alerts": ["{}"]}}}}'
    kube: Any = SimpleNamespace(items=items, text=lambda path, **_: text.format(path))
    assert service_of(kube) == "p/prometheus"
    assert asked == [("/api/v1/services", {"labelSelector": "kubernetes.io/service-name=prometheus-server"})]
    base = "/api/v1/namespaces/p/services/prometheus:9090/proxy/api/v1"
    assert Prometheus(kube, "p/prometheus").alerts() == [f"{base}/alerts"]
    text = '{{"status": "error", "error": "many-to-many at {}"}}'
    with pytest.raises(StepError) as error:
        Prometheus(kube, "p/prometheus").query("up * up")
    assert error.value.why.startswith("many-to-many at /api")
