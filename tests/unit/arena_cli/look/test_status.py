"""Custom resources to the words that arena shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arena_cli.look import status

CASES = json.loads(Path(__file__).with_name("statuses.json").read_text())
GPU = {"resources": {"limits": {"nvidia.com/gpu": "2"}}}


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case['kind']}-{case['status']}-{json.dumps(case['obj'])[:60]}"
)
def test_case(case: dict[str, Any]) -> None:
    assert status.status_of(case["kind"], case["obj"]) == case["status"]
    if "end" in case:
        assert status.end_of(case["kind"], case["obj"]) == status.moment(case["end"])


@pytest.mark.parametrize(
    ("resources", "gpus"),
    [
        ({}, 0),
        ({"limits": {"cpu": "4", "memory": "16Gi"}}, 0),
        ({"limits": {"nvidia.com/gpu": "2"}, "requests": {"nvidia.com/gpu": "2"}}, 2),
        ({"requests": {"nvidia.com/gpu": 1}}, 1),
        ({"limits": {"nvidia.com/mig-1g.10gb": "3"}}, 3),
        ({"limits": {"amd.com/gpu": "1"}}, 1),
        ({"limits": {"huawei.com/Ascend910": "8"}}, 8),
    ],
)
def test_gpus_of_a_pod(resources: dict[str, Any], gpus: int) -> None:
    assert status.pod_gpus({"containers": [{"resources": resources}]}) == gpus


def template(**more: Any) -> dict[str, Any]:
    return {"template": {"spec": {"containers": [GPU]}}, **more}


@pytest.mark.parametrize(
    ("kind", "spec", "gpus"),
    [
        ("PyTorchJob", {"pytorchReplicaSpecs": {"Master": template(), "Worker": template(replicas=3)}}, 8),
        ("TFJob", {"tfReplicaSpecs": {"PS": {"replicas": 4}, "Worker": template(replicas=2)}}, 4),
        ("MPIJob", {"mpiReplicaSpecs": {"Launcher": {"replicas": 1}, "Worker": template(replicas=2)}}, 4),
        ("Job", {"tasks": [template(replicas=2), template(replicas=1)]}, 6),
        (
            "AppWrapper",
            {
                "components": [
                    {"template": {"kind": "Job", "spec": {"tasks": [template(replicas=2)]}}},
                    {"template": {"kind": "Service", "spec": {}}},
                ]
            },
            4,
        ),
        (
            "RayJob",
            {"rayClusterSpec": {"headGroupSpec": template(), "workerGroupSpecs": [template(replicas=2, numOfHosts=2)]}},
            10,
        ),
        ("SparkApplication", {"executor": {"instances": 3, "gpu": {"name": "nvidia.com/gpu", "quantity": 1}}}, 3),
    ],
)
def test_gpus_of_a_job(kind: str, spec: dict[str, Any], gpus: int) -> None:
    assert status.gpus_of(kind, {"spec": spec}) == gpus
