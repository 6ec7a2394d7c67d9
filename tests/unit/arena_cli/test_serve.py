"""`arena serve` against an API server on loopback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakeapi import FakeApi

Arena = Callable[..., Any]
SERVE = ("serve", "custom", "--name", "llm", "--image", "vllm:1", "--restful-port", "8000", "run")


def pod(api: FakeApi, version: str, **status: Any) -> None:
    labels = {"servingName": "llm", "servingType": "custom-serving", "servingVersion": version}
    api.add(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"llm-{version}-x",
                "namespace": "default",
                "labels": labels,
                "creationTimestamp": "2026-11-22T10:00:00Z",
            },
            "spec": {"nodeName": "gpu-1", "containers": [{"name": "custom-serving"}]},
            "status": {
                "phase": "Running",
                "containerStatuses": [{"name": "c", "ready": True, "restartCount": 2}],
                **status,
            },
        }
    )


def test_from_the_start_to_the_end(arena: Arena, api: FakeApi, helm: Path) -> None:
    before = dict(api.objects)
    done = arena(*SERVE, "--version", "v1")
    assert done.code == 0, done.err
    assert done.out.splitlines() == ["deployment.apps/llm-v1 created", "service/llm-v1 created"]
    note = api.objects["/api/v1/namespaces/default/configmaps/llm-v1-custom-serving"]
    assert note["metadata"]["labels"] == {"createdBy": "arena"} and note["metadata"]["ownerReferences"]
    pod(api, "v1")
    assert arena("serve", "list").out.splitlines() == [
        "NAME  TYPE    VERSION  DESIRED  AVAILABLE  ADDRESS  PORTS",
        "llm   Custom  v1       1        0          N/A      RESTFUL:8000",
    ]
    row = json.loads(arena("serve", "get", "llm", "-o", "json").out)
    assert row["type"] == "Custom" and row["endpoints"] == [{"name": "RESTFUL", "port": 8000, "nodePort": 0}]
    assert row["instances"][0]["restartCount"] == 2
    shown = arena("serve", "get", "llm").out
    assert "llm-v1-x  Running" in shown and "1/1" in shown
    api.logs["default/llm-v1-x/"] = "ready\n"
    assert arena("serve", "logs", "llm").out == "ready\n"
    del api.objects["/api/v1/namespaces/default/pods/llm-v1-x"]
    assert arena("serve", "delete", "llm").code == 0 and api.objects == before


def test_two_versions_want_to_be_told_apart(arena: Arena, api: FakeApi, helm: Path) -> None:
    assert arena(*SERVE, "--version", "v1").code == arena(*SERVE, "--version", "v2").code == 0
    done = arena("serve", "get", "llm")
    assert done.code == 2 and "llm --version v1" in done.err and "llm --version v2" in done.err
    assert arena("serve", "get", "llm", "-v", "v2").code == 0
    assert arena("serve", "delete", "llm", "-v", "v2", "-T", "Custom").code == 0
    assert api.names("Deployment") == ["llm-v1"]


def test_a_server_that_can_not_start_says_why(arena: Arena, api: FakeApi, helm: Path) -> None:
    arena(*SERVE, "--version", "v1")
    pod(
        api,
        "v1",
        phase="Pending",
        containerStatuses=[
            {
                "name": "c",
                "image": "vllm:1",
                "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}},
            }
        ],
    )
    out = arena("serve", "get", "llm").out
    assert "Reason:     image: vllm:1 can't be pulled: not found" in out and "ImagePullBackOff" in out


def test_update_changes_what_was_given(arena: Arena, api: FakeApi, helm: Path) -> None:
    arena(*SERVE, "--version", "v1")
    bodies: list[dict[str, Any]] = []
    api.refuse = lambda method, _, body: bodies.append(body) if method == "PATCH" else None  # type: ignore[func-returns-value]
    done = arena("serve", "update", "custom", "--name", "llm", "--replicas", "3", "--image", "vllm:2", "-e", "A=1")
    assert done.code == 0, done.err
    assert bodies == [
        {
            "spec": {
                "replicas": 3,
                "template": {
                    "spec": {
                        "containers": [
                            {"name": "custom-serving", "image": "vllm:2", "env": [{"name": "A", "value": "1"}]}
                        ]
                    }
                },
            }
        }
    ]
    assert "nothing is to be changed" in arena("serve", "update", "custom", "--name", "llm").err
    assert "there is no serving job" in arena("serve", "update", "triton", "--name", "llm", "--replicas", "1").err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["tensorflow", "--name", "a"], "either --model-path or --model-config-file"),
        (["triton", "--name", "a", "--image", "i"], "--model-repository is missing"),
        (["custom", "--name", "a.b", "--image", "i"], "write --name a-b"),
        (["custom", "--name", "1a", "--image", "i"], "begins with a digit"),
        (["custom", "--name", "a", "--image", "i", "--version", "V 1"], "can't be part of a name"),
        (["custom", "--name", "a", "--image", "i", "--gpumemory", "4"], "Alibaba"),
        (["custom", "--name", "a", "--image", "i", "--enable-istio"], "Istio"),
        (["custom", "--name", "a", "--image", "i", "--port", "1", "--restful-port", "1"], "two ports have one number"),
        (
            ["custom", "--name", "a", "--image", "i", "--liveness-probe-option", "x: 1"],
            "--liveness-probe-action is missing",
        ),
        (["custom", "--name", "a", "--image", "i", "--liveness-probe-action", "httpGet"], "has no port"),
        (["custom", "--name", "a", "--image", "i", "--max-surge", "some"], "neither a number nor a share"),
        (["custom", "--name", "a", "--image", "i", "--env-from-secret", "A"], "is not KEY=VALUE"),
        (["custom", "--name", "a", "--image", "i", "--command", "x", "y"], "there are two commands"),
        (["kserve", "--name", "a", "--model-format", "x"], "KServe is not part of the stack"),
        (["traffic-split", "--name", "a"], "needs Istio"),
        (["update", "distributed", "--name", "a"], "LeaderWorkerSet"),
        (["list", "-T", "tensor"], "is no kind of serving"),
    ],
    ids=lambda value: " ".join(value[:6]) if isinstance(value, list) else "",
)
def test_refusals(words: list[str], says: str, arena: Arena, api: FakeApi) -> None:
    done = arena("serve", *words)
    assert done.code == 2 and says in done.err, done
    assert api.changes() == []
