"""docs/soak.md: what was killed, what went on afterwards, and what the next `up` made of it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from victim import PATIENCE, Kill, Moment

from arena_install.artifacts import load_lock

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "build/soak"


@dataclass(frozen=True)
class End:
    """An `up` that was left to end. good: it ended 0 and the plan after it was empty."""

    what: str
    good: bool
    seconds: float


@dataclass
class Seen:
    """What one part saw in one of the two ways to kill."""

    kills: list[Kill] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    same_hosts: bool = True
    day: str = field(default_factory=lambda: time.strftime("%Y-%m-%d", time.gmtime()))

    @property
    def good(self) -> bool:
        return self.same_hosts and all(each.good for each in (*self.kills, *self.ends))

    def save(self, part: str, whole_group: bool) -> None:
        RESULTS.mkdir(parents=True, exist_ok=True)
        _file(part, whole_group).write_text(json.dumps({"code": code_digest(), **asdict(self)}, indent=1) + "\n")

    @staticmethod
    def load(part: str, whole_group: bool) -> Seen | None:
        """What was seen with today's code, None where there is nothing."""
        try:
            data = json.loads(_file(part, whole_group).read_text())
        except FileNotFoundError:
            return None
        if data["code"] != code_digest():
            return None
        kills = [Kill(**{**row, "moment": Moment(**row["moment"])}) for row in data["kills"]]
        return Seen(kills, [End(**row) for row in data["ends"]], data["same_hosts"], data["day"])


def _file(part: str, whole_group: bool) -> Path:
    return RESULTS / f"{part}-{'group' if whole_group else 'parent'}.json"


@cache
def code_digest() -> str:
    """Of what is killed: roles, playbooks and the command."""
    total = hashlib.sha256()
    for folder in ("roles", "playbooks", "installer/arena_install"):
        for file in sorted((ROOT / folder).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                total.update(f"{file.relative_to(ROOT)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:16]


def write_page(page: Path, seen: Sequence[Seen]) -> None:
    kills, ends = [kill for each in seen for kill in each.kills], [end for each in seen for end in each.ends]
    same_hosts = all(each.same_hosts for each in seen)
    days = sorted({each.day for each in seen})
    left = sum(kill.local < 0 or kill.remote < 0 for kill in kills)
    kubernetes = load_lock().components["kubernetes"].version
    lines = [
        "# Killed and converged",
        "",
        "`up` is killed with SIGKILL at the moments below, the parent alone or its whole process group, and started",
        "again. A chain is one installation on hosts with nothing on them: each start has to mend the kill before",
        "it to get to its own moment. Written by `make soak`; nothing here was entered by hand.",
        "",
        f"Run of {' to '.join(dict.fromkeys((days[0], days[-1])))}, Kubernetes {kubernetes}: {len(kills)} kills, "
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
