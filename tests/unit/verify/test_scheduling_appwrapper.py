"""An AppWrapper whose job always fails, as a watch tells of it, and one that had succeeded."""

from __future__ import annotations

from typing import Any

import pytest

from arena_install.verify.checks import scheduling_appwrapper as wrapper
from arena_install.verify.watch import Change

ROUND = (("Resuming", 0.0), ("Running", 0.5), ("Unhealthy", 5.0), ("Resetting", 8.1), ("Resuming", 13.2))


def state(name: str, phase: str, at: float, *, unhealthy: bool = False) -> Change:
    conditions = [{"type": "Unhealthy", "status": "True"}] if unhealthy else []
    return Change("MODIFIED", {"metadata": {"name": name}, "status": {"phase": phase, "conditions": conditions}}, at)


def failing(rounds: int, *, grace: float = 0.0, pause: float = 0.0) -> list[Change]:
    """Rounds of failure and retry, then Failed. grace, pause: seconds by which they are longer than they should be."""
    changes = [state("fails", "Suspended", 0)]
    for number in range(rounds):
        begin = 20.0 * number
        changes += [
            state("fails", "Running", begin + 1),
            state("fails", "Running", begin + 5, unhealthy=True),
            state("fails", "Resetting", begin + 8 + grace, unhealthy=True),
            state("fails", "Resuming", begin + 13 + pause, unhealthy=False),
        ]
    end = 20.0 * rounds
    return [*changes, state("fails", "Running", end + 1), state("fails", "Failed", end + 8, unhealthy=True)]


def test_two_retries_and_no_more() -> None:
    assert wrapper.went_wrong(failing(2), 3) == []


@pytest.mark.parametrize(
    ("changes", "times", "words"),
    [
        (failing(3), 4, "not 2 times through Resetting"),
        (failing(1), 2, "not 2 times through Resetting"),
        (failing(2)[:-1], 3, "not 2 times through Resetting"),
        (failing(2), 2, "2 jobs were made, not 3"),
        (failing(2, grace=60), 3, "the grace after a failure was 63.0 s, the annotation says 3 s"),
        (failing(2, grace=-2.5), 3, "the grace after a failure was 0.5 s"),
        (failing(2, pause=90), 3, "the pause before a retry was 98.0 s, the annotation says 8 s"),
        ([], 0, "it went nowhere"),
    ],
)
def test_other_than_its_annotations_say(changes: list[Change], times: int, words: str) -> None:
    problems = wrapper.went_wrong(changes, times)
    assert any(words in problem for problem in problems), problems


def inner(at: float, kind: str = "DELETED") -> Change:
    return Change(kind, {"metadata": {"name": "ends"}, "status": {}}, at)


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ([inner(9.0)], ""),
        ([inner(12.0, "MODIFIED"), inner(17.0)], ""),
        ([inner(6.0)], "went 4.0 s after it was made"),
        ([inner(90.0)], "went 88.0 s after it was made"),
        ([inner(2.5)], "or went before it had"),
        ([], "was not seen to go"),
    ],
)
def test_success_lives_as_long_as_it_may(gone: list[Change], words: str) -> None:
    went = [state("ends", "Suspended", 1.0), state("ends", "Resuming", 2.0), state("ends", "Succeeded", 6.0)]
    problems = wrapper.early(went, gone)
    assert problems == [] if not words else words in problems[0]


def test_a_period_may_be_exceeded_by_a_look() -> None:
    assert wrapper._period("it", 3.0, 3) == wrapper._period("it", 20.0, 3) == wrapper._period("it", 2.0, 3) == []
    found: Any = wrapper._period("it", 1.0, 3)
    assert found == ["it was 1.0 s, the annotation says 3 s"]
