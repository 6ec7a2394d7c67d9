"""`up`: the whole pipeline, and the one place that changes anything."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from arena_install import artifacts, lab, stack, verify
from arena_install.apply.ansible import Outcome, run_playbook
from arena_install.apply.lockfile import exclusive
from arena_install.artifacts import Resolved
from arena_install.errors import UnreachableError
from arena_install.events import Emit, step
from arena_install.inventory.config import Config
from arena_install.pipeline import components, variables
from arena_install.pipeline.look import look
from arena_install.pipeline.reach import reachable
from arena_install.pipeline.setting import Setting, Wishes, lab_names, prepare, read_config
from arena_install.plan import Plan
from arena_install.verify import Report

Suites = Literal["auto", "all", "quick", "none"]

_SETTLE = 60.0  # seconds that nodes have to be Ready again


@dataclass(frozen=True)
class Result:
    setting: Setting
    plan: Plan
    changed: dict[str, int]  # host -> tasks that changed something
    components: tuple[str, ...]  # installed, upgraded or mended
    report: Report | None
    report_folder: Path | None
    run: Path


def run_folder(state: Path, verb: str) -> Path:
    """A new private folder for what this run says; `last` points at it. Makes the cluster's own too, and one for this
    run's temporary files, apart from what people hand on: the API client writes a key there.
    """
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = state / "runs" / f"{time.strftime('%Y%m%dT%H%M%S')}-{verb}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    last = state / "runs" / "last"
    last.unlink(missing_ok=True)
    last.symlink_to(folder.name)
    # In the cluster's state, so that those of a run that is killed go when it does.
    scratch = state / "tmp" / folder.name
    scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    tempfile.tempdir = str(scratch)
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    return folder


def up(wishes: Wishes, emit: Emit, run: Path, suites: Suites = "auto") -> Result:
    """Make it so. Raises ArenaError; whatever was done stays done, and the same call goes on from there."""
    config = read_config(wishes)
    if wishes.inventory is None:
        make_lab(config, wishes, emit)
    setting = prepare(wishes)
    with exclusive(setting.state / "lock", emit) as held:
        _, plan = look(setting, emit)
        resolved = _resolve(setting, emit)
        outcome = _apply_roles(setting, plan, run, emit, held)
        with reachable(setting, must=True) as kubeconfig:
            # Also with an empty plan, to see that everything is ready; what is due it works out as the plan does.
            results = stack.install(
                setting.cluster, kubeconfig, resolved, components.wanted(setting), emit, evidence=run / "evidence"
            )
            installed = tuple(name for name, result in results.items() if result.changed)
            idle = plan.empty and not installed
            if outcome.changed and suites != "none":
                _settle(kubeconfig, emit)
            report, folder = _verify(setting, kubeconfig, resolved, run, emit, suites, idle)
    return Result(setting, plan, outcome.changed, installed, report, folder, run)


def make_lab(config: Config, wishes: Wishes, emit: Emit) -> None:
    """Hosts and artifacts at the same time: building needs the cores, making hosts mostly waits."""
    names = lab_names(config, wishes, emit)
    _side_by_side(
        lambda: lab.up(wishes.lab, config.lab, emit),
        lambda: artifacts.resolve(artifacts.load_lock(), names, config, emit),
    )


def _side_by_side(*works: Callable[[], Any]) -> None:
    """Run each in a thread; wait for all; raise the first error."""
    errors: list[BaseException] = []

    def guarded(work: Callable[[], Any]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(timeout=0.2)
    except BaseException:
        # An interrupt reaches this thread alone; the builds that the others wait for would go on to their end.
        artifacts.stop_all()
        raise
    if errors:
        raise errors[0]


def _resolve(setting: Setting, emit: Emit) -> Resolved:
    resolved = artifacts.resolve(
        setting.lock, setting.names(), setting.cluster.config, emit, state=setting.resolved_file
    )
    resolved.save(setting.resolved_file)
    return resolved


def _apply_roles(setting: Setting, plan: Plan, run: Path, emit: Emit, held: int) -> Outcome:
    if not plan.roles:
        return Outcome()
    extra: dict[str, Any] = variables.fleet(setting.cluster, setting.resolved_file, setting.kubeconfig)
    extra["arena_hosts"] = {role.name: list(plan.hosts_of(role.name)) for role in setting.roles}
    extra["arena_input_digests"] = plan.digests
    return run_playbook(
        setting.cluster, "site.yml", extra, variables.defaults(setting.cluster), run / "ansible", emit, inherit=(held,)
    )


def _settle(kubeconfig: Path, emit: Emit) -> None:
    """Wait for nodes whose kubelet a role has restarted: they are not Ready for some seconds, and checks would say so
    of a cluster that is well. What does not become Ready is for the checks to name."""
    if not (away := _away(kubeconfig)):
        return
    with step(emit, "nodes", "waiting for kubelets that were restarted") as handle:
        deadline = time.monotonic() + _SETTLE
        while away and time.monotonic() < deadline:
            handle.waiting(f"{', '.join(away)} to be Ready again")
            time.sleep(1)
            away = _away(kubeconfig)
        handle.end("failed" if away else "ok", f"{', '.join(away)} not Ready" if away else "all Ready")


def _away(kubeconfig: Path) -> list[str]:
    try:
        return [str(node["name"]) for node in components.nodes(kubeconfig) if not node["ready"]]
    except UnreachableError:
        return ["the API"]


def _verify(
    setting: Setting, kubeconfig: Path, resolved: Resolved, run: Path, emit: Emit, wanted: Suites, idle: bool
) -> tuple[Report | None, Path | None]:
    if wanted == "none":
        return None, None
    proven = setting.state / "verified"
    everything = wanted == "all" or (wanted == "auto" and (not idle or not proven.exists()))
    if everything:
        proven.unlink(missing_ok=True)
    folder = run / "report"
    report = verify.run(
        setting.cluster,
        kubeconfig,
        resolved,
        verify.suites_for(setting.components, setting.cluster.config.profile) if everything else ("quick",),
        folder,
        emit,
        folder=run,
        thorough=wanted == "all",
    )
    if everything and report.exit_code == 0:
        proven.write_text(f"{folder}\n")
    return report, folder
