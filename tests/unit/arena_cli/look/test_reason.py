"""Why a job waits or failed, in one line: from pods as a real cluster had them, and from what its makers say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arena_cli.kinds import BY_TYPE
from arena_cli.look import build, reason
from arena_cli.look.model import Job

RECORDED = Path(__file__).resolve().parents[2] / "diagnosis" / "pods"
CASES = json.loads(Path(__file__).with_name("reasons.json").read_text())


def job(pods: list[dict[str, Any]], **more: Any) -> Job:
    obj = {
        "metadata": {"name": "train", "namespace": "team", "uid": "u-1", "creationTimestamp": "2026-11-22T10:00:00Z"},
        "spec": {},
        **more,
    }
    return build.job_of(BY_TYPE["pytorchjob"], obj, pods)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("affinity", "node: no node has no=such (--selector)"),
        ("cpu-too-much", "node: not enough cpu left"),
        ("gpus-too-many", "GPU: no node has 5 free"),
        ("hunger-2", "GPU: no node has 1 free"),
        ("tainted", "or those that do have a taint"),
        ("volume-missing", "volume: there is no volume claim"),
        ("volume-unbound", "volume: "),
        ("image-unknown", "image: "),
        ("image-unknown-registry", "image: "),
        ("registry-stopped", "image: "),
        ("secret-missing", "volume: the secret"),
        ("env-missing", "can't start"),
        ("bad-command", ""),
        ("no-network", "node: "),
        ("runtime-handler", "node: "),
        ("init-waits", "waiting: "),
    ],
)
def test_a_recorded_pod(name: str, says: str) -> None:
    found = json.loads((RECORDED / f"{name}.json").read_text())
    line = reason.pending(job([found["pod"]]), found["events"])
    assert says in line and "\n" not in line and len(line) < 400
    assert bool(line) == bool(says)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("oom", "memory: "),
        ("failed", "ended with exit code"),
        ("crashes", "ended with exit code"),
        ("init-crashes", "ended with exit code"),
        ("pinned-gpus", "UnexpectedAdmissionError"),
    ],
)
def test_a_recorded_failure(name: str, says: str) -> None:
    found = json.loads((RECORDED / f"{name}.json").read_text())
    failed = reason.failure(job([found["pod"]]))
    assert failed is not None and says in failed.text
    assert failed.pod == found["pod"]["metadata"]["name"]


@pytest.mark.parametrize("name", ["done", "well"])
def test_nothing_is_said_of_a_pod_that_is_well(name: str) -> None:
    found = json.loads((RECORDED / f"{name}.json").read_text())
    mine = job([found["pod"]], status={"conditions": [{"type": "Running", "status": "True"}]})
    assert reason.pending(mine, found["events"]) == "" and reason.failure(mine) is None


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["case"]))
def test_case(case: dict[str, Any]) -> None:
    mine = job(case.get("pods", []), status=case.get("status", {}))
    if "failure" in case:
        failed = reason.failure(mine)
        assert failed is not None
        assert [failed.pod, failed.container, failed.text, failed.previous] == case["failure"]
    else:
        assert reason.pending(mine, case.get("events", []), case.get("workloads", [])) == case["says"]
