"""A session without a cluster, and a report with one result of every kind."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arena_install.events import Event
from arena_install.inventory.cluster import Cluster, Host
from arena_install.inventory.config import Config
from arena_install.verify.model import Check, Environment, Node, Outcome, Report, Result, failed, passed, skipped
from arena_install.verify.needs import Facts
from arena_install.verify.session import Session

sys.path.insert(0, str(Path(__file__).parents[2]))
from apiserver_fixture import control_plane  # noqa: F401  # a real API server, for the tests that ask for one

Function = Callable[..., Outcome]

UUIDS = [f"GPU-0000000{i}-1111-2222-3333-444444444444" for i in range(4)]
EPOCHS = [
    {"epoch": 1, "loss": 1.102, "accuracy": 0.871},
    {"epoch": 2, "loss": 0.354, "accuracy": 0.912},
    {"epoch": 3, "loss": 0.251, "accuracy": 0.931},
    {"epoch": 4, "loss": 0.198, "accuracy": 0.943},
]


def make_check(id: str, run: Function, **more: Any) -> Check:
    fields: dict[str, Any] = {
        "title": f"Title of {id}",
        "proves": f"what {id} proves",
        "suites": (id.split(".")[0],),
        "severity": "major",
        "required": True,
        "needs": (),
        "holds": (),
        "timeout": 10.0,
        "writes": False,
        "last": False,
        "default": True,
        "alone": False,
    }
    return Check(id=id, run=run, **(fields | more))


def host(name: str, *groups: str, **variables: Any) -> Host:
    return Host(name, frozenset(groups), name, "", variables)


@pytest.fixture(name="make_check")
def make_check_fixture() -> Callable[..., Check]:
    """make_check(id, function, **fields of Check)."""
    return make_check


@pytest.fixture
def cluster() -> Cluster:
    hosts = (host("lab-cp1", "control_plane"), host("lab-w1", "worker", "gpu", nvidia_driver_mode="simulated"))
    return Cluster("lab", hosts, Config(), None)


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def session(cluster: Cluster, events: list[Event], tmp_path: Path) -> Session:
    """No API behind it: for checks that ask nothing."""
    facts = Facts(gpu_nodes=("lab-w1",), pytorchjobs=True, default_storage="local-path", lock=False)
    kube: Any = None
    return Session("abc123", cluster, kube, None, facts, tmp_path / "evidence", events.append)


def result(
    id: str, outcome: Outcome, *, required: bool = True, seconds: float = 1.25, needs: tuple[str, ...] = ()
) -> Result:
    code = 1 if outcome.status in ("fail", "error") else 0
    return Result(
        id, f"Title of {id}", f"what {id} proves", id.split(".")[0], "major", required, needs, outcome, 1_700_000_000.0,
        seconds, code,
    )  # fmt: skip


@pytest.fixture
def report() -> Report:
    replicas = [
        {"pod": "mnist-master-0", "node": "lab-w1", "seen": [UUIDS[0]], "assigned": [UUIDS[0]], "error": ""},
        {"pod": "mnist-worker-0", "node": "lab-w2", "seen": [UUIDS[1]], "assigned": [UUIDS[1]], "error": ""},
    ]
    results = (
        result(
            "cluster.api", passed("all ok", "51 parts ready, Kubernetes v1.36.3", evidence=("cluster.api/readyz.txt",))
        ),
        result(
            "cluster.dns",
            failed(
                "3 of 3",
                "lab-w2: 1 of 3",
                cause="lookups <script>alert(1)</script> went unanswered\non lab-w2 & others",
                fix="kubectl -n kube-system get pods",
            ),
        ),
        replace(result("cluster.network", skipped("needs cluster.dns, which failed")), blocked_by="cluster.dns"),
        result("gpu.labels", skipped("no node offers nvidia.com/gpu"), required=False),
        result(
            "gpu.capacity", Outcome("error", "numbers", "", "the check itself broke: KeyError: 'x'\x1b", "report this")
        ),
        result("training.learns", passed("loss falls", "accuracy 94.3%", data={"epochs": EPOCHS, "accuracy": 0.943})),
        result("training.gpu-identity", passed("as assigned", "2 replicas", data={"replicas": replicas})),
    )
    nodes = (
        Node("lab-cp1", "control plane", "10.89.0.2", "v1.36.3", "Debian GNU/Linux 13, 6.1, containerd://1.7.24", 0),
        Node("lab-w1", "GPU", "10.89.0.3", "v1.36.3", "Debian GNU/Linux 13", 4, "NVIDIA A100-SXM4-40GB", "580.95.05"),
    )
    env = Environment("https://10.89.0.2:6443", "v1.36.3", "simulated", "CPU", nodes)
    suites = ("cluster", "gpu", "training")
    return Report("abc123", "lab", "0.1.0", suites, 1_700_000_000.0, 1_700_000_083.5, env, results)
