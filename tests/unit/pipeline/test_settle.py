"""After roles have changed hosts, `up` gives restarted kubelets a moment before it proves anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arena_install.errors import UnreachableError
from arena_install.events import Event
from arena_install.pipeline import up

WELL = ({"name": "w1", "ready": True},)
AWAY = ({"name": "w1", "ready": False},)


def settle(monkeypatch: pytest.MonkeyPatch, *looks: Any) -> list[Event]:
    """The events, when the API gives these answers in turn, the last one for ever."""
    answers = list(looks)

    def nodes(_: Path) -> Any:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(up.components, "nodes", nodes)
    monkeypatch.setattr(up.time, "sleep", lambda _: None)
    monkeypatch.setattr(up, "_SETTLE", 0.05)
    seen: list[Event] = []
    up._settle(Path("kubeconfig"), seen.append)
    return seen


def test_nodes_that_are_well_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settle(monkeypatch, WELL) == []


def test_a_node_that_comes_back_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = settle(monkeypatch, AWAY, UnreachableError("no answer"), WELL)
    waited = [event.text for event in seen if event.kind == "waiting"]
    assert waited == ["w1 to be Ready again", "the API to be Ready again"]
    assert (seen[-1].outcome, seen[-1].text) == ("ok", "all Ready")


def test_one_that_does_not_come_back_is_left_to_the_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = settle(monkeypatch, AWAY)
    assert (seen[-1].outcome, seen[-1].text) == ("failed", "w1 not Ready")
