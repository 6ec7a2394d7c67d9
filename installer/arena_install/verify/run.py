"""The package's one public function: select checks, run them, clean up, describe the cluster, write the report."""

from __future__ import annotations

import secrets
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from arena_install import __version__
from arena_install.errors import ArenaError, UnreachableError
from arena_install.events import Emit, Event, step
from arena_install.verify import environment, made_user, needs, pods, registry
from arena_install.verify.kube import ApiError, Kube
from arena_install.verify.leftovers import capture_rest
from arena_install.verify.model import SUITES, Check, Environment, Report
from arena_install.verify.runner import Runner
from arena_install.verify.session import Session

if TYPE_CHECKING:
    from arena_install.inventory.cluster import Cluster


def suites_for(components: Iterable[str], profile: str = "minimal") -> tuple[str, ...]:
    """The suites that prove a cluster with these components, the quick one's checks among them. profile: what serves
    models is an image of `full` that no component has."""
    names = set(components)
    suites = {"quick", "host", "cluster", "security", "scale"}
    if "nvidia-device-plugin" in names:
        suites |= {"gpu", "training"} if "training-operator" in names else {"gpu"}
    if "local-path-provisioner" in names:
        suites |= {"storage", "serving"} if profile == "full" else {"storage"}
    if names & {"mpi-operator", "jobset", "kueue", "appwrapper", "volcano"}:
        suites.add("scheduling")
    if "prometheus" in names:
        suites.add("observability")
    if "jupyterhub" in names:
        suites.add("notebooks")
    return tuple(suite for suite in SUITES if suite in suites)


def images_for(suites: Iterable[str], profile: str = "minimal") -> tuple[str, ...]:
    """Image references that the checks of these suites run, beside those of the components. What a profile leaves out,
    checks find missing (condition "image:..." in needs.py) and are not run."""
    wanted = set(suites)
    users = {
        pods.BUSYBOX: {"host", "cluster", "storage", "scheduling", "observability", "security", "scale"},
        pods.PYTORCH: {"gpu", "training", "observability"},  # what suite scale runs of it needs both
        pods.MPI: {"scheduling"},
        pods.TENSORFLOW: {"training"} if profile == "full" else set(),
        pods.SERVING: {"serving"} if profile == "full" else set(),
    }
    return tuple(image for image, suites in users.items() if wanted & suites)


def run(
    cluster: Cluster,
    kubeconfig: Path,
    resolved: Any | None,
    suites: Sequence[str],
    out: Path,
    emit: Emit,
    hosts: Sequence[str] | None = None,
    only: Sequence[str] = (),
    *,
    read_only: bool = False,
    folder: Path | None = None,
    thorough: bool = True,
) -> Report:
    """Run these suites, or the checks `only` (ids) and what they need; write the report's files into `out`:
    report.html, ctrf.json, junit.xml, evidence/ and MANIFEST.sha256.

    resolved: the artifacts' Resolved (its `images` are compared with what runs), None when it is not at hand. hosts:
    names of the nodes to look at, None for all. read_only: nothing is created in the cluster, and the checks that would
    are left out, as skips that say so. folder: where else this run writes (logs), to be searched for secrets too.
    thorough: all checks of the suites, also those that are not run by default.
    Gives a Report also when the API does not answer (exit code 3) and when interrupted (Ctrl-C, SIGTERM, SIGHUP: exit
    code 130), after the run's namespaces are gone. Raises ConfigError for an unknown suite or check, or a bad
    kubeconfig.
    """
    from arena_install.verify import formats

    checks = registry.select(suites, registry.load(), only, thorough=thorough)
    kube = Kube(kubeconfig, read_only=read_only)
    started = time.time()
    with step(emit, "verify", f"checks {', '.join(only)}" if only else f"suites {', '.join(suites)}") as handle:
        facts = _facts(kube, cluster, resolved)
        checks = [_as_wanted(check, suites, facts) for check in checks if _is_meant(check, only, facts)]
        out.mkdir(parents=True, exist_ok=True, mode=0o700)
        id = secrets.token_hex(3)
        folders = [out, folder] if folder else [out]
        session = Session(id, cluster, kube, resolved, facts, out / "evidence", emit, hosts, folders)
        can = registry.reading(checks) if read_only else checks
        left = [check for check in checks if check not in can]
        runner = Runner(session, can)
        remarks = [f"read-only: {len(left)} checks that would create something were left out"] if left else []
        interrupted = False
        env = Environment(server=kube.server)
        with _signals():
            try:
                if facts is not needs.UNKNOWN and not read_only:
                    session.workspaces.sweep()
                    session.cordons.sweep()
                    made_user.sweep(kube)
                runner.run()
                runner.leave_out(left, "left out: it creates something in the cluster, and this run is read-only")
            except KeyboardInterrupt:
                interrupted = True
                emit(Event("warning", "verify", "interrupted: removing what this run made in the cluster"))
                runner.abandon("the run was interrupted")
            try:
                if facts is not needs.UNKNOWN:  # what did not answer would be waited for in vain
                    env = environment.describe(session)
            except (ArenaError, KeyboardInterrupt) as error:
                remarks.append(f"the cluster could not be described: {error}")
            remarks += _clean_up(session, emit)
        report = Report(
            id, cluster.name, __version__, tuple(suites), started, time.time(), env,
            tuple(runner.results[check.id] for check in checks if check.id in runner.results),
            interrupted, tuple(remarks),
        )  # fmt: skip
        formats.write(report, out)
        handle.end("ok" if report.exit_code == 0 else "failed", report.headline)
    return report


def _facts(kube: Kube, cluster: Cluster, resolved: Any | None) -> needs.Facts:
    """UNKNOWN where the API does not answer, or can't: check cluster.api then says so, and every other needs it."""
    try:
        return needs.read(kube, cluster, resolved)
    except UnreachableError:
        return needs.UNKNOWN
    except ApiError as error:
        if error.status < 500:
            raise
        return needs.UNKNOWN


def _is_meant(check: Check, only: Sequence[str], facts: needs.Facts) -> bool:
    """Whether a check is for clusters like this: one that trains with an image that this cluster was set up without is
    run only if asked for by name, and then says so."""
    images = [need for need in check.needs if need.startswith("image:")]
    return not facts.lock or check.id in only or not any(needs.unmet(need, facts) for need in images)


def _as_wanted(check: Check, suites: Sequence[str], facts: needs.Facts) -> Check:
    """A check about GPUs is required in the quick suite only where there are GPUs; in its own suite it always is."""
    named = set(check.suites) & set(suites)
    if (
        named == {"quick"}
        and check.suite != "quick"
        and any(n.startswith("fact:") and needs.unmet(n, facts) for n in check.needs)
    ):
        return replace(check, required=False)
    return check


def _clean_up(session: Session, emit: Emit) -> list[str]:
    """Let nodes take pods again and remove the run's namespaces, also if it is interrupted once more; gives what could
    not be done."""
    try:
        left = session.cordons.close()
    except KeyboardInterrupt:
        left = session.cordons.close()
    if not session.workspaces.made:
        return left
    with step(emit, "verify/cleanup", "removing " + ", ".join(session.workspaces.made)) as handle:
        session.cancelled.set()
        try:
            capture_rest(session)
            problems = session.workspaces.close()
        except KeyboardInterrupt:
            problems = [f"cleaning up was interrupted; kubectl delete namespace {' '.join(session.workspaces.made)}"]
        if problems:
            handle.end("failed", problems[0])
    return left + problems


@contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the run as Ctrl-C does, so that namespaces go. Only the main thread can set that up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
