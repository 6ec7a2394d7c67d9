"""Cluster -> Facts -> Plan: what `plan`, `status` and `up` share. Nothing here writes anything anywhere."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from arena_install import probe
from arena_install.errors import ArenaError, ErrorGroup, StepError, UnreachableError
from arena_install.events import Emit, step
from arena_install.pipeline import components, variables
from arena_install.pipeline.reach import reachable
from arena_install.pipeline.setting import Setting
from arena_install.plan import Item, Plan, Reason, Record, RoleAction, input_digest, make_plan
from arena_install.probe.facts import Facts, HostFacts, Unreachable


def look(setting: Setting, emit: Emit) -> tuple[Facts, Plan]:
    """Probe all hosts and plan. Raises UnreachableError or StepError (grouped) when a host can't be worked with."""
    if setting.existing:
        return Facts({}), _inside(setting, emit)
    cluster = setting.cluster
    with step(emit, "probe/hosts", f"{len(cluster.hosts)} hosts") as looking:
        facts = probe.probe(cluster, emit)
        looking.end("ok", f"{len(cluster.hosts)} hosts")
    refuse(facts, emit)
    return facts, plan_from(setting, facts)


def _inside(setting: Setting, emit: Emit) -> Plan:
    """The plan for a cluster that is there already. Raises UnreachableError."""
    wanted = components.wanted(setting)
    with step(emit, "cluster/existing", setting.cluster.name) as looking:
        left_out = components.left_out(setting.kubeconfig, wanted)
        for name, why in left_out.items():
            looking.log(f"{name} is left out: {why}")
        looking.end("ok", f"{len(wanted) - len(left_out)} of {len(wanted)} components are for us to install")
    digests = {name: wish.digest for name, wish in wanted.items() if name not in left_out}
    found = components.found(setting.kubeconfig)
    return replace(make_plan(setting.cluster, (), {}, {}, digests, found), left_out=left_out)


def refuse(facts: Facts, emit: Emit) -> None:
    """Raise for hosts that can't be reached and for findings of severity error; emit warnings for the others."""
    from arena_install.events import Event

    unreachable = [
        UnreachableError(found.what, where=found.where, why=found.why, fix=found.fix)
        for found in facts.hosts.values()
        if isinstance(found, Unreachable)
    ]
    errors: list[ArenaError] = [*unreachable]
    for finding in facts.findings:
        text = f"{finding.title}: {finding.observed}" + (f", expected {finding.expected}" if finding.expected else "")
        if finding.severity == "error":
            errors.append(StepError(text, where=f"host {finding.host}", fix=finding.fix))
        elif finding.severity == "warning":
            emit(Event("warning", "probe/hosts", f"{finding.host}: {text}"))
    if errors:
        raise ErrorGroup(errors)


def plan_from(setting: Setting, facts: Facts) -> Plan:
    """The plan for facts already gathered."""
    cluster = setting.cluster
    names = setting.names()
    given = {
        **variables.defaults(cluster),
        **variables.fleet(cluster, setting.resolved_file, setting.kubeconfig),
        "arena_registry_upstreams": sorted({name.partition("/")[0] for name in names if "/" in name}),
    }
    lock_digests = {name: setting.lock.digest(name) for name in names}
    digests = {
        host.name: {
            role.name: input_digest(role, host, given, lock_digests)
            for role in setting.roles
            if host.groups.intersection(role.hosts)
        }
        for host in cluster.hosts
    }
    records = {name: _records(found) for name, found in facts.hosts.items() if isinstance(found, HostFacts)}
    wanted = {name: wish.digest for name, wish in components.wanted(setting).items()}
    with reachable(setting) as kubeconfig:
        found, leaving = components.found(kubeconfig), components.leaving(kubeconfig)
    if found is None and not any("control_plane" in record for record in records.values()):
        found = {}  # no API that could answer was ever made
    plan = make_plan(cluster, setting.roles, records, digests, wanted, found)
    return _with_leaving(setting, _with_kubeconfig(setting, plan), leaving)


def _with_leaving(setting: Setting, plan: Plan, leaving: Collection[str]) -> Plan:
    """A node that `down` cordoned before it was cut off is made one of the cluster again by the role that joins it."""
    actions = []
    for host in setting.cluster.hosts if leaving else ():
        for role in ("control_plane", "worker"):
            if role in host.groups and host.name.lower() in leaving and host.name not in plan.hosts_of(role):
                actions.append(RoleAction(role, host.name, (Reason("unfinished"),)))
    return Plan((*plan.roles, *actions), plan.components, plan.digests) if actions else plan


def _with_kubeconfig(setting: Setting, plan: Plan) -> Plan:
    """The controller's own copy of the kubeconfig is part of what the control plane leaves."""
    first = setting.cluster.group("control_plane")[0].name
    if setting.kubeconfig.exists() or first in plan.hosts_of("control_plane"):
        return plan
    reason = Reason("drift", f"file {setting.kubeconfig} on the controller", "present", "absent")
    return Plan((*plan.roles, RoleAction("control_plane", first, (reason,))), plan.components, plan.digests)


def _records(found: HostFacts) -> dict[str, Record]:
    return {
        name: Record(
            ledger.status,
            ledger.inputs,
            tuple(Item(item.kind, item.name, item.recorded, item.found) for item in ledger.items),
        )
        for name, ledger in found.ledger.items()
    }
