"""The list of checks: a module below arena_install.verify.checks registers each with the decorator `check`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from arena_install.errors import ConfigError
from arena_install.suggest import did_you_mean
from arena_install.verify.model import SUITES, Check, Outcome, Severity

if TYPE_CHECKING:
    from arena_install.verify.context import Context

    Function = Callable[[Context], Outcome]

#: Modules below arena_install.verify.checks, in the order in which reports show their checks within a suite.
_MODULES = (
    "host",
    "host_software",
    "cluster",
    "cluster_state",
    "cluster_network",
    "cluster_hosts",
    "gpu",
    "gpu_host",
    "gpu_health",
    "gpu_pods",
    "gpu_compute",
    "gpu_drills",
    "storage",
    "scratch",
    "training",
    "training_drill",
    "training_tensorflow",
    "scheduling_mpi",
    "scheduling_jobset",
    "scheduling_gang",
    "scheduling_volcano",
    "scheduling_topology",
    "scheduling_queue",
    "scheduling_share",
    "scheduling_wrapped",
    "scheduling_appwrapper",
    "scheduling_drills",
    "scheduling_nodes",
    "serving",
    "observability",
    "observability_gpu",
    "observability_drill",
    "dashboard",
    "notebooks",
    "security",
    "security_agents",
    "security_users",
    "security_report",
    "scale",
    "scale_pods",
)

CHECKS: dict[str, Check] = {}


def check(
    id: str,
    title: str,
    *,
    proves: str,
    also: tuple[str, ...] = (),
    severity: Severity = "major",
    required: bool = True,
    needs: tuple[str, ...] = (),
    holds: tuple[str, ...] = (),
    timeout: float = 60,
    writes: bool = False,
    last: bool = False,
    default: bool = True,
    alone: bool = False,
) -> Callable[[Function], Function]:
    """Register a function `(Context) -> Outcome`. Its home suite is the id's first part; `also` names further ones.

    Say `writes=True` for one that makes pods or anything else: a read-only run refuses what it does otherwise. Say
    `default=False` for one that takes more than a few seconds and proves what few clusters lack, or that disturbs; and
    `alone=True` for one that measures or disturbs, so that it has the cluster to itself.
    """

    def register(function: Function) -> Function:
        if id in CHECKS:
            raise ValueError(f"two checks are called {id}")
        suites = (id.split(".")[0], *also)
        CHECKS[id] = Check(
            id,
            title,
            proves,
            suites,
            severity,
            required,
            needs,
            holds,
            timeout,
            writes,
            last,
            default,
            alone,
            function,
        )
        return function

    return register


def load() -> dict[str, Check]:
    """Every check that the program has, by id, in the order of the reports: suite by suite, module by module."""
    for module in _MODULES:
        importlib.import_module(f"arena_install.verify.checks.{module}")
    modules = {f"arena_install.verify.checks.{module}": i for i, module in enumerate(_MODULES)}
    # a module that another one needs is imported before its turn
    ordered = sorted(CHECKS.values(), key=lambda check: (SUITES.index(check.suite), modules[check.run.__module__]))
    return {check.id: check for check in ordered}


def reading(checks: Sequence[Check]) -> list[Check]:
    """Those that a read-only run can do: they create nothing, and need none that does."""
    out = {check.id for check in checks if check.writes}
    while more := {check.id for check in checks if check.id not in out and out.intersection(check.needs)}:
        out |= more
    return [check for check in checks if check.id not in out]


def select(
    suites: Iterable[str], checks: dict[str, Check], ids: Iterable[str] = (), *, thorough: bool = True
) -> list[Check]:
    """The checks of these suites, those with these ids, and every check that they need, in the order of `checks`.

    thorough: those too that are not run by default. Raises ConfigError for a suite or a check that does not exist.
    """
    wanted = list(suites)
    for suite in wanted:
        if suite not in SUITES:
            raise ConfigError(
                f"there is no suite {suite!r}",
                why=f"the suites are {', '.join(SUITES)}",
                fix="arena-install verify --suite " + SUITES[0],
            )
    offered = (check for check in checks.values() if thorough or check.default)
    chosen = {check.id for check in offered if set(check.suites) & set(wanted)}
    for id in ids:
        if id not in checks:
            raise ConfigError(
                f"there is no check {id!r}", why=did_you_mean(id, checks), fix="the report of a run lists them all"
            )
        chosen.add(id)
    frontier = list(chosen)
    while frontier:
        for need in checks[frontier.pop()].needs:
            if need in checks and need not in chosen:
                chosen.add(need)
                frontier.append(need)
    return [check for check in checks.values() if check.id in chosen]
