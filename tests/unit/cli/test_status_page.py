"""The page that `status --html` writes: what is wrong stands out, nothing of it is code, and it loads nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from arena_install.cli.status_page import age, page
from arena_install.pipeline.status import Status
from arena_install.pipeline.watched import Curve, Gpu, Watched, alerts_of, gpus_of, jobs_of
from arena_install.plan import Plan
from arena_install.verify.prometheus import Sample

NOW = 1_800_000_000.0


def sample(name: str, value: float, **labels: str) -> Sample:
    return Sample(name, labels, value, NOW)


def gpu(index: int, *, pod: str = "", **figures: float) -> Gpu:
    told = {"busy": 42.0, "used": 2048.0, "free": 38000.0, "reserved": 912.0, "heat": 51.0, "power": 210.0, **figures}
    return Gpu("w1", str(index), f"GPU-{index}", "NVIDIA A100", (pod,) if pod else (), told)


def pod(name: str, namespace: str = "ml", *, gpus: int = 1, node: str = "w1", **labels: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "creationTimestamp": "2027-01-15T08:00:00Z",
        },
        "spec": {"nodeName": node, "containers": [{"resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}]},
        "status": {"phase": "Running" if node else "Pending"},
    }


NODES = (
    {"name": "cp1", "ready": True, "roles": "control-plane", "version": "v1.36.3", "gpus": 0, "address": "10.0.0.1"},
    {"name": "w1", "ready": True, "roles": "worker", "version": "v1.36.3", "gpus": 2, "address": "10.0.0.2"},
)
STATUS = Status("lab", NODES, {"prometheus": "x", "flannel": "y"}, Plan(), "")


@pytest.fixture
def watched() -> Watched:
    gpus = (gpu(0, pod="ml/train-0"), gpu(1))
    nodes = {"w1": {"cpu": 0.31, "memory": 0.5}}
    return Watched(
        NOW,
        "",
        gpus,
        nodes,
        jobs_of([pod("train-0", release="train")], gpus),
        (),
        (Curve("GPUs busy", ((0.5, 0.1), (1.0, 0.4))),),
    )


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*</style>", "", html, flags=re.S)))


def test_a_cluster_that_is_well(watched: Watched) -> None:
    html = page(STATUS, watched, simulated=True)
    said = text_of(html)
    assert "all nodes ready, all GPUs well, no alert" in said and "GPU: simulated, compute: CPU" in said
    assert "1 of 2 GPUs held" in said and "2.0 / 40 G" in said and "ml/train-0 · 210 W" in said and "nobody's" in said
    assert "train ml 1 running 1 42 % w1" in said and "cpu 31 %" in said
    assert 'class="card is-good"' in html and "simulated" not in text_of(page(STATUS, watched, simulated=False))


def test_it_loads_nothing_and_runs_nothing(watched: Watched) -> None:
    evil = replace(watched, gpus=(gpu(0, pod="ml/<script>alert(1)</script>"),))
    html = page(STATUS, evil, simulated=False)
    assert "<script" not in html and "&lt;script&gt;" in html
    assert not re.search(r"""(src|href)=|url\(|@import""", html)


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"xid": 79.0}, "XID 79: the GPU has fallen off the bus"),
        ({"errors": 2.0}, "memory errors that were not corrected"),
        ({"heat": 95.0}, "too hot"),
        ({"heat": 90.0, "slowdown": 85.0}, "too hot"),
    ],
)
def test_what_is_wrong_with_a_gpu_stands_out(watched: Watched, figures: dict[str, float], said: str) -> None:
    html = page(STATUS, replace(watched, gpus=(gpu(0, **figures), gpu(1))), simulated=False)
    assert said in text_of(html) and "1 GPU in trouble" in text_of(html) and 'class="card is-bad"' in html


def test_a_gpu_that_is_lost_is_shown_by_what_is_left_of_it() -> None:
    lost = gpus_of({"busy": [], "xid": [sample("x", 79, UUID="a", gpu="1", node="w1", pod="p", namespace="ml")]})
    assert [(one.trouble, one.holders) for one in lost] == [
        ("does not answer, XID 79: the GPU has fallen off the bus", ("ml/p",))
    ]
    well = gpus_of({"heat": [sample("t", 40, UUID="a", node="w1")], "xid": [sample("x", 31, UUID="a", node="w1")]})
    assert well[0].trouble == "", "a program's own error is no trouble of the GPU's"


def test_gpus_come_in_the_order_of_their_numbers() -> None:
    found = gpus_of({"busy": [sample("u", 1, UUID=f"u{n}", gpu=str(n), node="w1") for n in (10, 2, 1)]})
    assert [one.index for one in found] == ["1", "2", "10"]


def test_alerts_say_what_to_do_the_gravest_first(watched: Watched) -> None:
    def row(name: str, severity: str, state: str = "firing") -> dict[str, Any]:
        notes = {"summary": f"{name} & co", "action": "mend it"}
        return {"labels": {"alertname": name, "severity": severity}, "annotations": notes, "state": state,
                "activeAt": "2027-01-15T08:00:00.1Z"}  # fmt: skip

    alerts = alerts_of(
        [
            row("A", "info"),
            row("B", "warning"),
            row("C", "critical"),
            row("Watchdog", "none"),
            row("D", "critical", "pending"),
        ]
    )
    assert [one.name for one in alerts] == ["C", "B", "A", "D"]
    html = page(STATUS, replace(watched, alerts=alerts), simulated=False)
    said = text_of(html)
    assert "C &amp; co" in html and "mend it" in said and "2027-01-15 08:00:00" in said
    assert "3 alerts firing" in said and "1 more would fire" in said and "Watchdog" not in said
    assert 'class="card is-warn"' in page(STATUS, replace(watched, alerts=alerts[1:3]), simulated=False)


def test_pods_are_put_together_by_their_job() -> None:
    gpus = (gpu(0, pod="ml/a-0", busy=80.0), gpu(1, pod="ml/a-1", busy=20.0))
    label = {"training.kubeflow.org/job-name": "a"}
    jobs = jobs_of(
        [pod("a-0", **label), pod("a-1", node="w2", **label), pod("a-2", node="", **label), pod("b", gpus=0)], gpus
    )
    (job,) = jobs
    assert (job.name, job.running, job.waiting, job.gpus, job.nodes, job.busy) == ("a", 2, 1, 2, ("w1", "w2"), 50.0)


def test_without_prometheus_the_page_says_so_and_shows_the_rest(watched: Watched) -> None:
    said = text_of(page(STATUS, Watched(NOW, "there is no Prometheus", jobs=watched.jobs), simulated=False))
    assert "No figures of GPUs and no alerts: there is no Prometheus" in said and "offers 2 GPUs" in said
    assert "alerts firing" not in said and "train" in said


def test_a_node_that_is_down_is_said_first(watched: Watched) -> None:
    down = replace(STATUS, nodes=({**NODES[0], "ready": False}, NODES[1]))
    assert "1 node not ready" in text_of(page(down, watched, simulated=False))


def test_a_curve_lies_where_its_time_is(watched: Watched) -> None:
    html = page(STATUS, watched, simulated=False)
    assert "GPUs busy, last hour 40%" in text_of(html)
    assert '<polyline class="line" points="150.0,56.0 300.0,38.0"/>' in html


def test_ages() -> None:
    assert [age(seconds) for seconds in (5, 90, 7200, 200000)] == ["5 s", "2 min", "2 h", "2 d"]
