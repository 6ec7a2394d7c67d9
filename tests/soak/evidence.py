"""docs/soak.md: what was killed, what went on afterwards, and what the next `up` made of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from victim import PATIENCE, Kill

from arena_install.artifacts import load_lock


@dataclass(frozen=True)
class End:
    """An `up` that was left to end. good: it ended 0 and the plan after it was empty."""

    what: str
    good: bool
    seconds: float


def write_page(page: Path, kills: Sequence[Kill], ends: Sequence[End], *, same_hosts: bool) -> None:
    left = sum(kill.local < 0 or kill.remote < 0 for kill in kills)
    kubernetes = load_lock().components["kubernetes"].version
    lines = [
        "# Killed and converged",
        "",
        "`up` is killed with SIGKILL at the moments below, the parent alone or its whole process group, and started",
        "again. A chain is one installation on hosts with nothing on them: each start has to mend the kill before",
        "it to get to its own moment. Written by `make soak`; nothing here was entered by hand.",
        "",
        f"Run of {time.strftime('%Y-%m-%d', time.gmtime())}, Kubernetes {kubernetes}: {len(kills)} kills, "
        f"{sum(kill.reached for kill in kills)} at their moment; {left} left something running after {PATIENCE:.0f} s; "
        f"{sum(end.good for end in ends)} of {len(ends)} last runs converged, with an empty plan after them; the hosts "
        f"{'were the same containers throughout' if same_hosts else 'DID NOT STAY the same containers'}.",
        "",
        "| killed | what | seconds into `up` | quiet here after | quiet on the hosts after |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {kill.moment.stratum} | {'process group' if kill.whole_group else 'parent alone'} | "
        f"{f'{kill.seconds:.0f}' if kill.reached else 'NOT REACHED'} | {_span(kill.local)} | {_span(kill.remote)} |"
        for kill in kills
    ]
    lines += ["", "| `up` after | ended | seconds |", "|---|---|---|"]
    lines += [f"| {end.what} | {'converged' if end.good else 'FAILED'} | {end.seconds:.0f} |" for end in ends]
    page.write_text("\n".join(lines) + "\n")


def _span(seconds: float) -> str:
    return "NEVER" if seconds < 0 else f"{seconds:.1f} s"
