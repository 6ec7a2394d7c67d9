"""A job and its instances, as every kind of job is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Object = Mapping[str, Any]

ENDED = ("SUCCEEDED", "FAILED")


@dataclass(frozen=True)
class Instance:
    """One pod. Times are Unix seconds; end: when it ended, None while it has not."""

    name: str
    status: str
    ip: str
    node: str
    node_ip: str
    chief: bool
    gpus: int
    created: float
    end: float | None = None


@dataclass(frozen=True)
class Job:
    """type: as --type. allocated: GPUs that its pods hold now. start: when its operator began with it, None before.
    raw: the custom resource. pods: of the instances."""

    uid: str
    name: str
    namespace: str
    type: str
    status: str
    created: float
    end: float | None
    gpus: int
    allocated: int
    priority: str = "N/A"
    start: float | None = None
    instances: tuple[Instance, ...] = ()
    raw: Object = field(default_factory=dict)
    pods: tuple[Object, ...] = ()

    @property
    def chief(self) -> Instance | None:
        return next((one for one in self.instances if one.chief), None)

    def duration(self, now: float) -> float:
        """Seconds, 0 while it has not started."""
        if self.start is None:
            return 0.0
        return max(0.0, (self.end if self.end is not None else now) - self.start)
