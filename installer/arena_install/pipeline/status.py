"""What `status` shows: nodes, GPUs and components as the API says, hosts as their ledgers say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from arena_install.events import ignore
from arena_install.pipeline import components
from arena_install.pipeline.look import look
from arena_install.pipeline.reach import reachable
from arena_install.pipeline.setting import Setting
from arena_install.pipeline.watched import Watched, watched
from arena_install.plan import Plan


@dataclass(frozen=True)
class Status:
    cluster: str
    nodes: tuple[dict[str, Any], ...]
    components: dict[str, str]  # name -> digest recorded in the cluster
    plan: Plan
    verified: str  # folder of the last full verification that passed, or ""
    watched: Watched | None = None  # only where it was asked for


def gather(setting: Setting, *, figures: bool = False) -> Status:
    """Probe the hosts and ask the API, and Prometheus for `figures`; raises UnreachableError."""
    _, plan = look(setting, ignore)
    proven = setting.state / "verified"
    with reachable(setting, must=True) as kubeconfig:
        return Status(
            setting.cluster.name,
            components.nodes(kubeconfig),
            {name: record.inputs for name, record in (components.found(kubeconfig) or {}).items()},
            plan,
            proven.read_text().strip() if proven.exists() else "",
            watched(kubeconfig) if figures else None,
        )
