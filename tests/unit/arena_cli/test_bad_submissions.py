"""Bad submissions, as bad_submissions.yaml lists them: each a clear error, and the cluster as it was before."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakeapi import FakeApi

TABLE = yaml.safe_load(Path(__file__).with_name("bad_submissions.yaml").read_text())


def test_there_are_enough_of_them() -> None:
    assert len(TABLE["alone"]) + len(TABLE["cluster"]) >= 40


@pytest.mark.parametrize("name", TABLE["alone"])
def test_refused_without_asking_the_cluster(name: str, arena: Callable[..., Any], api: FakeApi) -> None:
    case = TABLE["alone"][name]
    done = arena("submit", *map(str, case["args"]))
    assert done.code == 2, done
    assert done.err.startswith("error: ") and case["says"] in done.err, done.err
    assert "Traceback" not in done.err and done.out == ""
    assert api.requests == []


@pytest.mark.parametrize("name", TABLE["cluster"])
def test_refused_by_what_the_cluster_has(name: str, arena: Callable[..., Any], api: FakeApi, helm: Path) -> None:
    case = TABLE["cluster"][name]
    api.add(*copy.deepcopy(case.get("there", [])))
    before = dict(api.objects)
    if refusal := case.get("forbids"):
        api.refuse = lambda method, path, _: (
            (403, refusal["message"]) if method == "POST" and path.endswith(refusal["path"]) else None
        )
    done = arena("submit", *map(str, case["args"]))
    assert done.code in (1, 2), done
    assert done.err.startswith("error: ") and case["says"] in done.err, done.err
    assert "Traceback" not in done.err and done.out == ""
    assert api.objects == before
    assert api.changes() == []


def test_what_fails_half_way_is_taken_back(arena: Callable[..., Any], api: FakeApi, helm: Path) -> None:
    before = dict(api.objects)
    count = iter(range(100))

    def refuse(method: str, path: str, _: Any) -> tuple[int, str] | None:
        """The dry run passes; what is made then does not."""
        return (500, "etcd is gone") if method == "POST" and path.endswith("services") and next(count) == 1 else None

    api.refuse = refuse
    done = arena("submit", "pytorch", "--name", "a", "--image", "i", "--tensorboard", "c")
    assert done.code == 1 and "etcd is gone" in done.err
    assert api.objects == before
    assert any(line.startswith("DELETE") for line in api.changes())


def test_what_was_made_without_an_answer_is_taken_back(arena: Callable[..., Any], api: FakeApi, helm: Path) -> None:
    """The API makes the job, and is gone before it says so."""
    before = dict(api.objects)
    answer = api.answer

    def silent(method: str, target: str, body: dict[str, Any]) -> tuple[int, Any]:
        found = answer(method, target, body)
        if method == "POST" and target.endswith("/pytorchjobs"):
            raise ConnectionAbortedError
        return found

    api.answer = silent  # type: ignore[method-assign]
    done = arena("submit", "pytorch", "--name", "a", "--image", "i", "c")
    assert done.code == 3 and "does not answer" in done.err
    assert api.objects == before


def test_what_may_not_be_read_is_not_asked_about(arena: Callable[..., Any], api: FakeApi, helm: Path) -> None:
    api.refuse = lambda method, path, _: (
        (403, "no") if method == "GET" and ("priorityclasses" in path or path == "/api/v1/namespaces/default") else None
    )
    done = arena("submit", "pytorch", "--name", "a", "--image", "i", "-p", "high", "c")
    assert done.code == 0, done.err
