"""What `down` is asked to take away, and what that comes to: the ledgers of hosts and cluster read, nothing written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from arena_install import probe, stack
from arena_install.errors import ArenaError, ErrorGroup, StepError, UnreachableError
from arena_install.events import Emit, Event, step
from arena_install.pipeline.forget import kept
from arena_install.pipeline.reach import answering
from arena_install.pipeline.setting import Setting
from arena_install.plan import ComponentRemoval, HostRemoval, Removal, named_hosts, remove_hosts
from arena_install.plan.removal import Ledgers
from arena_install.probe.facts import Facts, HostFacts, Unreachable
from arena_install.stack import nodes
from arena_install.stack.ledger import Entry


@dataclass(frozen=True)
class Request:
    """hosts, components: only these; neither: the whole cluster. drain: seconds that pods have to leave a host."""

    hosts: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    force: bool = False  # lose what can't be moved, go on where the API does not answer
    skip_unreachable: bool = False
    keep_reports: bool = False
    drain: float = 300.0


class NothingToUndo(StepError):
    """No host and nothing on the controller is known to be of this cluster."""

    def __init__(self) -> None:
        super().__init__(
            "nothing to undo: no host has a ledger of arena-install",
            why="only what the ledgers in /var/lib/arena-install record is known to be ours",
            fix="if these hosts were set up by something else, use that to reset them",
        )


def look(setting: Setting, request: Request, emit: Emit) -> Removal:
    """Read the ledgers and work out what goes.

    Raises ConfigError for a request that can't be meant, UnreachableError for hosts or an API that it needs and that do
    not answer, StepError where nothing proves to be ours.
    """
    wanted = named_hosts(setting.cluster, request.hosts)
    rows = stack.catalogue()
    with answering(setting) as api:
        if request.components:
            if api is None:
                raise no_api(setting)
            entries, _ = stack.check(api, request.components, rows)
        else:
            entries, leaving = (stack.installed(api), nodes.leaving(api)) if api else ({}, frozenset())
    if request.components:
        return _components_alone(setting, request, entries, emit)
    if setting.existing:
        if api is None:
            raise no_api(setting)
        return Removal(whole=True, components=_components([name for name in entries if name in rows], entries))
    removal = remove_hosts(setting.cluster, setting.roles, _ledgers(setting, wanted, request, emit), wanted, leaving)
    if not removal.whole:
        return removal
    if not (removal.hosts or setting.kubeconfig.exists() or setting.resolved_file.exists()):
        raise NothingToUndo()
    return replace(
        removal,
        components=_components([name for name in entries if name in rows], entries),
        controller=tuple(map(str, kept(setting.cluster.name))),
    )


def no_api(setting: Setting) -> UnreachableError:
    if setting.kubeconfig.exists():
        return UnreachableError(
            "the Kubernetes API does not answer",
            where=f"cluster {setting.cluster.name}",
            fix="see that the control plane is up: `arena-install doctor`",
        )
    return UnreachableError(
        f"cluster {setting.cluster.name} can't be asked: its kubeconfig is not here",
        where=str(setting.kubeconfig),
        fix="run this on the machine that ran `arena-install up`, or run `up` here once: it fetches the kubeconfig",
    )


def _components_alone(setting: Setting, request: Request, entries: Mapping[str, Entry], emit: Emit) -> Removal:
    found = _components(request.components, entries)
    if setting.existing or not any(row.leaves for row in found):
        return Removal(components=found)
    ledgers = _ledgers(setting, (), request, emit)
    hosts = tuple(HostRemoval(name) for name, roles in ledgers.items() if "kubernetes_node" in (roles or ()))
    return Removal(hosts=hosts, components=found)


def _components(names: Sequence[str], entries: Mapping[str, Entry]) -> tuple[ComponentRemoval, ...]:
    rows = stack.catalogue()
    return tuple(
        ComponentRemoval(name, tuple(_words(entries[name])), rows[name].leaves)
        if name in entries
        else ComponentRemoval(name)
        for name in names
    )


def _words(entry: Entry) -> list[str]:
    return [
        *map(str, entry.refs),
        *(f"label {label} of node {node}" for node, labels in entry.node_labels.items() for label in labels),
    ]


def _ledgers(setting: Setting, needed: Collection[str], request: Request, emit: Emit) -> Ledgers:
    """Every host's ledger. needed: hosts that must answer; none: all. Raises for one that does not, unless skipped."""
    cluster = setting.cluster
    with step(emit, "probe/hosts", f"{len(cluster.hosts)} hosts") as looking:
        facts = probe.probe(cluster, emit)
        looking.end("ok", f"{len(cluster.hosts)} hosts")
    _refuse(facts, needed, request, emit)
    return {name: _ledger(found) for name, found in facts.hosts.items()}


def _ledger(found: HostFacts | Unreachable) -> Mapping[str, probe.LedgerRecord] | None:
    return found.ledger if isinstance(found, HostFacts) and found.privileged else None


def _refuse(facts: Facts, needed: Collection[str], request: Request, emit: Emit) -> None:
    errors: list[ArenaError] = []
    for name, found in facts.hosts.items():
        if needed and name not in needed:
            continue
        if isinstance(found, Unreachable):
            fix = f"{found.fix}\nor leave it as it is: --skip-unreachable"
            errors.append(UnreachableError(found.what, where=found.where, why=found.why, fix=fix))
        elif not found.privileged:
            why = "its ledger is root's"
            errors.append(UnreachableError("no root's rights", where=f"host {name}", why=why, fix="let it use sudo"))
    if errors and not request.skip_unreachable:
        raise ErrorGroup(errors)
    for error in errors:
        emit(Event("warning", "probe/hosts", f"{error.where}: {error.what}; it stays as it is"))
