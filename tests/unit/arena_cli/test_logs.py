"""Following a job's logs: from the container that fetches its code to the one that trains, and by the launcher."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from arena_cli import logs
from arena_cli.look.model import Job


def pod(phase: str, **init: Any) -> dict[str, Any]:
    """init: name -> state of init containers, in order."""
    rows = [{"name": name, "state": state} for name, state in init.items()]
    return {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "main"}, {"name": "other"}]},
        "status": {"phase": phase, "initContainerStatuses": rows},
    }


DONE, FAILED = {"terminated": {"exitCode": 0}}, {"terminated": {"exitCode": 1}}
WORKS: dict[str, Any] = {"running": {}}
WAITS: dict[str, Any] = {"waiting": {}}


@pytest.mark.parametrize(
    ("pods", "names"),
    [
        ([pod("Running")], ["main"]),
        ([pod("Running", code=DONE)], ["main"]),
        (
            [
                pod("Pending", code=WORKS),
                pod("Pending", code=WORKS),
                pod("Pending", code=DONE),
                pod("Running", code=DONE),
            ],
            ["code", "main"],
        ),
        (
            [
                pod("Pending", code=WORKS, data=WAITS),
                pod("Pending", code=DONE, data=WAITS),
                pod("Pending", code=DONE, data=WORKS),
                pod("Running", code=DONE, data=DONE),
            ],
            ["code", "data", "main"],
        ),
        ([pod("Pending", code=WORKS), pod("Failed", code=FAILED)], ["code"]),
        ([pod("Pending", code=WORKS), pod("Succeeded", code=DONE)], ["code", "main"]),
    ],
)
def test_containers_are_heard_one_after_the_other(
    pods: Sequence[dict[str, Any]], names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs.time, "sleep", lambda _: None)
    rest: Iterator[dict[str, Any]] = iter(pods[1:])
    session: Any = SimpleNamespace(namespace="n", client=SimpleNamespace(get=lambda _: next(rest)))
    assert list(logs._one_after_the_other(session, pods[0])) == names


def test_an_mpi_jobs_launcher_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def job(*roles: str) -> Job:
        found = [{"metadata": {"name": role, "labels": {"training.kubeflow.org/job-role": role}}} for role in roles]
        return Job("u", "ring", "n", "mpijob", "RUNNING", 0.0, None, 0, 0, pods=tuple(found))

    monkeypatch.setattr(logs.time, "sleep", lambda _: None)
    seen = iter([job("worker", "worker"), job("worker", "worker", "launcher")])
    monkeypatch.setattr(logs.find, "one", lambda *_: (next(seen), []))
    session: Any = SimpleNamespace(namespace="n", client=None)
    assert len(logs._launched(session, job("worker")).pods) == 3
