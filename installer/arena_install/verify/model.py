"""What a check is and what a run of checks found: frozen data, no behaviour but counting.

A skip says why and is never a pass; a required check that was skipped fails the run. That rule lives in
`Report.exit_code` alone, so that no format can tell another story than the exit code does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from arena_install.verify.context import Context

Status = Literal["pass", "fail", "skip", "error"]
Severity = Literal["minor", "major", "critical"]

#: Suites in the order in which reports show them.
SUITES = (
    "quick",
    "host",
    "cluster",
    "gpu",
    "storage",
    "training",
    "scheduling",
    "serving",
    "observability",
    "notebooks",
    "security",
    "scale",
)


@dataclass(frozen=True)
class Outcome:
    """How one check ended.

    expected, observed: one line each where possible. cause: why it is not as expected, as far as known; of a skip, the
    reason. fix: the command or step that mends it. evidence: file names below the report's evidence/ folder.
    data: figures for machines (CTRF `extra`) and for the report's charts.
    """

    status: Status
    expected: str = ""
    observed: str = ""
    cause: str = ""
    fix: str = ""
    evidence: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)


def passed(expected: str, observed: str, **more: Any) -> Outcome:
    return Outcome("pass", expected, observed, **more)


def failed(expected: str, observed: str, *, cause: str, fix: str, **more: Any) -> Outcome:
    return Outcome("fail", expected, observed, cause, fix, **more)


def judged(expected: str, observed: str, problems: Sequence[str], *, fix: str, **more: Any) -> Outcome:
    """Failed with the problems as its cause, one in a line; passed where there are none."""
    if problems:
        return failed(expected, observed, cause="\n".join(problems), fix=fix, **more)
    return passed(expected, observed, **more)


def skipped(reason: str, *, fix: str = "") -> Outcome:
    return Outcome("skip", cause=reason, fix=fix)


@dataclass(frozen=True)
class Check:
    """One thing that can be proved about a cluster.

    id: "<suite>.<name>", unique. suites: those that run it, its home first. needs: ids of checks that must pass before,
    and conditions "fact:NAME" or "component:NAME" (see arena_install.verify.needs). holds: names of things that only
    one check may use at a time ("gpu"). timeout: seconds from its start. writes: whether it has to create something in
    the cluster to find out; what doesn't is what `verify --read-only` runs. last: whether it judges the run itself, and
    waits for all others. default: whether it runs when nobody named its suite; those that take long wait for that.
    alone: whether nothing may run beside it, because it measures, or disturbs for a moment; it comes after what may.
    """

    id: str
    title: str
    proves: str
    suites: tuple[str, ...]
    severity: Severity
    required: bool
    needs: tuple[str, ...]
    holds: tuple[str, ...]
    timeout: float
    writes: bool
    last: bool
    default: bool
    alone: bool
    run: Callable[[Context], Outcome]

    @property
    def suite(self) -> str:
        return self.suites[0]


@dataclass(frozen=True)
class Result:
    """A check's outcome in one run. started: Unix seconds. required: as it counted in this run. exit_code: what the run
    should end with if nothing else failed (the exit code of the error met, 0 when fine). blocked_by: id of the check
    that had to pass first and did not, "" if it was not that."""

    id: str
    title: str
    proves: str
    suite: str
    severity: Severity
    required: bool
    needs: tuple[str, ...]
    outcome: Outcome
    started: float
    seconds: float
    exit_code: int = 0
    blocked_by: str = ""

    @property
    def status(self) -> Status:
        return self.outcome.status

    @property
    def unmet(self) -> bool:
        """Whether this result keeps the run from passing."""
        return self.status in ("fail", "error") or (self.status == "skip" and self.required)


@dataclass(frozen=True)
class Node:
    """One row of the report's environment table."""

    name: str
    roles: str
    address: str
    version: str  # kubelet
    system: str  # operating system, kernel and container runtime, for people
    gpus: int  # what the node offers as nvidia.com/gpu
    gpu_model: str = ""
    driver: str = ""


@dataclass(frozen=True)
class Environment:
    """gpu: "simulated", "real", "none" or "unknown". compute: what training ran on ("CPU", "CUDA"), "" if none ran."""

    server: str = ""  # URL of the API
    kubernetes: str = ""  # version of the API server
    gpu: str = "unknown"
    compute: str = ""
    nodes: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Report:
    """The proof. started, finished: Unix seconds. id names the run (and its namespaces in the cluster)."""

    id: str
    cluster: str
    tool_version: str
    suites: tuple[str, ...]
    started: float
    finished: float
    environment: Environment
    results: tuple[Result, ...]
    interrupted: bool = False
    remarks: tuple[str, ...] = ()  # what went wrong around the checks, such as a namespace that would not go

    def count(self, status: Status) -> int:
        return Counter(result.status for result in self.results)[status]

    @property
    def unmet(self) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.unmet)

    @property
    def roots(self) -> tuple[Result, ...]:
        """The unmet results to look into. Not among them: what was skipped because of one of them (see `blocked`), and
        what an interruption kept from running."""
        cut_off = self.interrupted and "skip"
        return tuple(result for result in self.unmet if not result.blocked_by and result.status != cut_off)

    @property
    def blocked(self) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.blocked_by)

    @property
    def exit_code(self) -> int:
        """0 all proved; 1 a check failed, a required one was skipped, or nothing was proved; 3 only the API went away;
        5 only bounded waits ran out; 130 interrupted."""
        if self.interrupted:
            return 130
        broken = [result for result in self.results if result.status in ("fail", "error")]
        codes = {result.exit_code or 1 for result in broken}
        if broken:
            return codes.pop() if len(codes) == 1 else 1
        return 1 if self.unmet or not self.count("pass") else 0

    @property
    def headline(self) -> str:
        """One line: "passed: 14 of 14 checks", or what is missing."""
        total = len(self.results)
        parts = [f"{self.count('pass')} of {total} checks passed"]
        for status, word in (("fail", "failed"), ("error", "could not be run"), ("skip", "skipped")):
            if number := self.count(status):  # type: ignore[arg-type]
                parts.append(f"{number} {word}")
        return ", ".join(parts)

    @property
    def gpu_line(self) -> str:
        """What every screen and page says about the GPUs, "" when nothing is known."""
        env = self.environment
        if env.gpu == "simulated":
            return "GPU: simulated, compute: CPU"
        if env.gpu == "real":
            return "GPU: real" + (f", compute: {env.compute}" if env.compute else "")
        return {"none": "GPU: none"}.get(env.gpu, "")

    def ctrf(self) -> dict[str, Any]:
        """The report as CTRF JSON: what `verify --json` prints."""
        from arena_install.verify.formats import ctrf

        return ctrf.document(self)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"exit_code": self.exit_code, "headline": self.headline}
