"""Suite scheduling, drills of a node: it is drained, or its containerd and kubelet are restarted, while jobs of every
kind run on it. Only the check's own pods are evicted, and the node takes pods again however it ends (see cordons.py).
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping

from arena_install.errors import ArenaError, TimedOutError, UnreachableError
from arena_install.verify import pods
from arena_install.verify.checks.fleet import NEEDS, Fate, Fleet, fleet
from arena_install.verify.checks.scheduling_drills import disturbed, told
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import ApiError, Object, namespaced, segment
from arena_install.verify.model import Outcome, failed, judged, passed, skipped
from arena_install.verify.registry import check

_STAY = 40  # seconds for which pods of jobs stay
_RECOVERED_WITHIN = 190.0  # seconds; an AppWrapper notices a failed job up to a minute later
_UNITS = ("containerd.service", "kubelet.service")
_BACK_WITHIN = 60.0  # seconds for the services, the node and a new pod on it
#: The host's systemctl, in the host's own mount namespace, by an agent of kind "host".
_SYSTEMCTL = ["busybox", "nsenter", "-t", "1", "-m", "systemctl"]


@check(
    "scheduling.drill-drain",
    "Jobs get over a node that is drained",
    proves="jobs of five kinds whose pods are evicted from a cordoned node recover by their policies, and all succeed",
    required=False,  # where there is but one node for them
    needs=NEEDS,
    timeout=330,
    writes=True,
    default=False,
    alone=True,
)
def drain(ctx: Context) -> Outcome:
    nodes = takers(ctx.session.nodes())
    if len(nodes) < 2:
        return skipped(f"{len(nodes)} nodes take pods: what is evicted would have nowhere to go")
    node = nodes[0]
    with fleet(ctx) as it:
        it.start(_STAY, node)
        there = it.on(node)
        it.strike()
        try:
            ctx.session.cordons.cordon(node)
            for name in (name for names in there.values() for name in names):
                _evict(ctx, name)
            fates = it.fates(_RECOVERED_WITHIN)
        finally:
            ctx.session.cordons.uncordon(node)
        late = landed(it, node)
        broken = it.broken
    still = bool(ctx.kube.get(f"/api/v1/nodes/{segment(node)}")["spec"].get("unschedulable"))
    ctx.save("evicted.json", there)
    problems = broken + unrecovered(there, fates) + [f"{name} was put on {node}, which is cordoned" for name in late]
    problems += [f"{node} is still cordoned: kubectl uncordon {node}"] if still else []
    count = sum(map(len, there.values()))
    expected = f"pods of {len(there)} kinds of jobs evicted from {node}, made again elsewhere, and all jobs succeed"
    observed = f"{count} pods evicted; {told(fates)}"
    data = {"node": node, "evicted": there, "jobs": {name: vars(fate) for name, fate in fates.items()}}
    fix = "see pods.txt and the jobs in the evidence; a job needs a restart policy to get over a drain"
    return judged(expected, observed, problems, fix=fix, data=data)


@check(
    "scheduling.drill-restart",
    "Jobs go on while containerd and kubelet restart",
    proves="pods of jobs of five kinds run on while both services of their node restart, and it takes new pods soon",
    required=False,  # where services are not systemd's
    needs=NEEDS,
    timeout=300,
    writes=True,
    default=False,
    alone=True,
)
def restart(ctx: Context) -> Outcome:
    nodes = takers(ctx.session.nodes())
    if not nodes:
        return skipped("no node takes pods without tolerations")
    node = nodes[0]
    ctx.session.agents.start(ctx, "host")
    before = _units(ctx, node)
    if missing := [unit for unit in _UNITS if not before.get(unit)]:
        return skipped(f"{' and '.join(missing)} does not run under systemd on {node}")
    with fleet(ctx) as it:
        it.start(_STAY, node)
        there = it.on(node)
        it.strike()
        began = time.monotonic()
        # The connection leads through both services: that it is lost is no failure, and whether they restarted is seen.
        with contextlib.suppress(UnreachableError, ApiError, TimedOutError):
            ctx.session.agents.ask(ctx, "host", node, [*_SYSTEMCTL, "restart", "--no-block", *_UNITS], seconds=10)
        after = _await_units(ctx, node, before)
        units_s = time.monotonic() - began
        _new_pod(ctx, node, began)
        pod_s = time.monotonic() - began
        fates = it.fates(_RECOVERED_WITHIN)
        restarted = again(it)
        broken = it.broken
    ctx.save("services.json", {"before": before, "after": after, "pods": there})
    problems = broken + disturbed(fates) + [f"a container of {name} was started again" for name in restarted]
    problems += [f"no pod of the {name} was on {node}" for name, names in there.items() if not names]
    count = sum(map(len, there.values()))
    expected = f"both services of {node} back within {_BACK_WITHIN:.0f} s, {count} pods there run on, a new one starts"
    observed = f"services back after {units_s:.0f} s, a new pod done after {pod_s:.0f} s; {told(fates)}"
    if problems:
        return failed(
            expected, observed, cause="\n".join(problems),
            fix=f"on host {node}: systemctl status containerd kubelet; containerd's unit needs KillMode=process",
        )  # fmt: skip
    return passed(expected, observed, data={"node": node, "services_s": units_s, "pod_s": pod_s})


def takers(nodes: list[Object]) -> list[str]:
    """Nodes that a pod without tolerations can get: ready, schedulable, without a taint that keeps pods off."""
    found = []
    for node in nodes:
        effects = {taint.get("effect") for taint in node["spec"].get("taints") or ()}
        ready = any(
            row["type"] == "Ready" and row["status"] == "True" for row in node["status"].get("conditions") or ()
        )
        if ready and not node["spec"].get("unschedulable") and not effects & {"NoSchedule", "NoExecute"}:
            found.append(str(node["metadata"]["name"]))
    return found


def unrecovered(there: Mapping[str, list[str]], fates: Mapping[str, Fate]) -> list[str]:
    """What is wrong with how jobs got over it. there: kind -> pods that were evicted."""
    problems = [f"{name}: {fate.said}" for name, fate in fates.items() if fate.said != "done"]
    for name, names in there.items():
        if not names:
            problems.append(f"no pod of the {name} was on the node: nothing is proven for it")
        elif fates[name].said == "done" and (not fates[name].fresh or not set(names) <= set(fates[name].lost)):
            problems.append(f"{name}: {', '.join(names)} evicted, {', '.join(fates[name].fresh) or 'none'} made again")
    return problems


def landed(it: Fleet, node: str) -> list[str]:
    """Pods that were made and put on a node while it was cordoned."""
    before = it.before
    return sorted(
        {
            change.name
            for change in it.changes()
            if change.object["spec"].get("nodeName") == node and str(change.object["metadata"]["uid"]) not in before
        }
    )


def again(it: Fleet) -> list[str]:
    """Pods of which a container was started more than once."""
    return sorted(
        {
            change.name
            for change in it.changes()
            for row in change.object["status"].get("containerStatuses") or ()
            if row.get("restartCount")
        }
    )


def _evict(ctx: Context, name: str) -> None:
    """By the API that `kubectl drain` uses, so that budgets count. Raises CheckFailed where it is refused for long."""
    namespace = ctx.session.workspaces.get("restricted")
    body: Object = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    path = f"{namespaced('pods', namespace, name)}/eviction"
    last = [""]

    def ask() -> bool | None:
        try:
            ctx.kube.create(path, body)
        except ApiError as error:
            if error.status == 404:  # gone by itself, such as the others of a job that restarts
                return True
            if error.status != 429:
                raise CheckFailed(
                    f"pod {name} may not be evicted", cause=error.why,
                    fix="kubectl get validatingadmissionpolicies,validatingwebhookconfigurations,pdb -A",
                ) from error  # fmt: skip
            last[0] = error.why
            return None
        return True

    try:
        ctx.wait(ask, f"pod {name} to be evicted", seconds=30, every=1.0)
    except TimedOutError as error:
        raise CheckFailed(error.what, cause=last[0], fix="kubectl get pdb -A") from error


def _units(ctx: Context, node: str) -> dict[str, str]:
    """unit -> the invocation that is active, "" for one that is not."""
    said = ctx.session.agents.ask(
        ctx, "host", node, [*_SYSTEMCTL, "show", "-p", "Id,ActiveState,InvocationID", *_UNITS], seconds=10
    )
    return invocations(said)


def invocations(said: str) -> dict[str, str]:
    """From `systemctl show`: a paragraph of KEY=VALUE lines for each unit."""
    found = {}
    for part in re.split(r"\n\s*\n", said.strip()):
        row = dict(line.partition("=")[::2] for line in part.splitlines())
        found[row.get("Id", "")] = row.get("InvocationID", "") if row.get("ActiveState") == "active" else ""
    return found


def _await_units(ctx: Context, node: str, before: Mapping[str, str]) -> dict[str, str]:
    """Wait until both services are other invocations, and active. Raises CheckFailed."""
    last: dict[str, str] = {}

    def look() -> dict[str, str] | None:
        try:
            last.update(_units(ctx, node))
        except ArenaError:  # the way to the agent leads through both
            return None
        return last if all(last.get(unit) not in ("", before[unit], None) for unit in _UNITS) else None

    try:
        return ctx.wait(look, "containerd and kubelet to be back", seconds=_BACK_WITHIN, every=1.0)
    except TimedOutError as error:
        away = [unit for unit in _UNITS if last.get(unit) in ("", before[unit])]
        known = f"not active again: {' and '.join(away)}"
        raise CheckFailed(
            error.what, cause=known if last else f"nothing answers on {node}: the way there leads through both",
            fix=f"on host {node}: systemctl status containerd kubelet; journalctl -u kubelet -u containerd -n 50",
        ) from error  # fmt: skip


def _new_pod(ctx: Context, node: str, began: float) -> None:
    """Have a pod run there. Raises CheckFailed where none does within the time since `began`."""
    namespace = ctx.session.workspaces.get("restricted")
    made = [pods.manifest(ctx, "newcomer", pods.BUSYBOX, ["true"], node=node)]
    pods.create(ctx, namespace, made)
    path = namespaced("pods", namespace, "newcomer")
    try:
        left = max(1.0, _BACK_WITHIN - (time.monotonic() - began))
        ctx.wait(lambda: True if pods.done(ctx.kube.get(path)) else None, "a new pod to run", seconds=left, every=0.5)
    except TimedOutError as error:
        raise CheckFailed(
            f"no new pod ran on {node} within {_BACK_WITHIN:.0f} s of the restart", cause=error.what,
            fix=f"on host {node}: journalctl -u kubelet -u containerd -n 50",
        ) from error  # fmt: skip
    finally:
        pods.remove(ctx, namespace, made, wait=False)
