"""The plan, as data: what would be done, on which host, and why. Printed by `plan`, carried out by `up`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Why = Literal["new", "unfinished", "changed", "drift", "unseen"]


@dataclass(frozen=True)
class Reason:
    """why: "new" no record of ours, "unfinished" it was begun and not ended, "changed" other inputs, "drift" host or
    cluster is not as recorded, "unseen" the cluster does not answer. item: what drifted ("file /etc/fstab", "Service
    kubeflow/training-operator"), with recorded and found states."""

    why: Why
    item: str = ""
    recorded: str = ""
    found: str = ""

    def __str__(self) -> str:
        text = {
            "new": "not installed by us yet",
            "unfinished": "was begun and not finished",
            "changed": "its inputs changed",
            "unseen": "can't be seen: the Kubernetes API does not answer",
        }
        if self.why != "drift":
            return text[self.why]
        return f"{self.item}: recorded {self.recorded or 'nothing'}, found {self.found or 'nothing'}"


@dataclass(frozen=True)
class RoleAction:
    role: str
    host: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class ComponentAction:
    component: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Plan:
    roles: tuple[RoleAction, ...] = ()
    components: tuple[ComponentAction, ...] = ()
    digests: Mapping[str, Mapping[str, str]] | None = None  # host -> role -> input digest, for the ledger
    left_out: Mapping[str, str] = field(default_factory=dict)  # component -> what an existing cluster has in its place

    @property
    def empty(self) -> bool:
        return not self.roles and not self.components

    def hosts_of(self, role: str) -> tuple[str, ...]:
        return tuple(action.host for action in self.roles if action.role == role)

    def touched_hosts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(action.host for action in self.roles))

    def as_dict(self) -> dict[str, Any]:
        return {
            "changes": not self.empty,
            "roles": _dicts(self.roles),
            "components": _dicts(self.components),
            "left_out": dict(self.left_out),
        }


def _dicts(rows: Iterable[Any]) -> list[dict[str, Any]]:
    return [asdict(row) for row in rows]
