"""What a running step tells the world: one small record, drawn by the terminal, written to the run's events.jsonl.

Steps have ids such as "artifacts/kubelet", "role/container_runtime/lab-w1" or "component/flannel"; the part before the
first slash groups them on the screen. Every step that starts also ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["start", "progress", "waiting", "end", "log", "warning"]
Outcome = Literal["", "changed", "ok", "failed", "skipped"]


@dataclass(frozen=True)
class Event:
    kind: Kind
    step: str
    text: str = ""  # one line for people: what is being done, or waited for
    outcome: Outcome = ""  # of an "end"
    data: Mapping[str, Any] = field(default_factory=dict)
    time: float = field(default_factory=time.time)  # Unix seconds

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


Emit = Callable[[Event], None]


def ignore(_: Event) -> None:
    """An Emit for callers that want no events."""


class Step:
    """Handle inside `with step(...)`: report progress, and say how it ended."""

    def __init__(self, emit: Emit, name: str) -> None:
        self._emit, self.name = emit, name
        self.outcome: Outcome = "ok"
        self.text = ""

    def progress(self, text: str, **data: Any) -> None:
        self._emit(Event("progress", self.name, text, data=data))

    def waiting(self, text: str) -> None:
        self._emit(Event("waiting", self.name, text))

    def log(self, text: str) -> None:
        self._emit(Event("log", self.name, text))

    def end(self, outcome: Outcome, text: str = "") -> None:
        self.outcome, self.text = outcome, text


@contextmanager
def step(emit: Emit, name: str, text: str = "") -> Iterator[Step]:
    """Emit "start" now and exactly one "end" later, "failed" if the body raises."""
    emit(Event("start", name, text))
    handle = Step(emit, name)
    started = time.monotonic()
    try:
        yield handle
    except BaseException as error:
        emit(
            Event(
                "end",
                name,
                str(error).splitlines()[0] if str(error) else type(error).__name__,
                "failed",
                {"seconds": time.monotonic() - started},
            )
        )
        raise
    emit(Event("end", name, handle.text, handle.outcome, {"seconds": time.monotonic() - started}))
