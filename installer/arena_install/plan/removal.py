"""What `down` would take away, as data: worked out from the ledgers alone, so that nothing is in it that they do not
prove to be ours. Pure, as the planner is; its tests are JSON cases too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from arena_install.errors import ConfigError, StepError
from arena_install.inventory.cluster import GROUPS, Cluster, Host
from arena_install.plan.catalogue import Role
from arena_install.probe.facts import LedgerRecord
from arena_install.suggest import did_you_mean

#: host -> role -> its record; None for a host that could not be looked at.
Ledgers = Mapping[str, Mapping[str, LedgerRecord] | None]


@dataclass(frozen=True)
class Thing:
    """One thing on a host: "remove", because it came with us, or "restore" to how it was before us."""

    act: Literal["remove", "restore"]
    kind: str  # file, path, package, unit, sysctl, link, mount
    name: str

    def __str__(self) -> str:
        return f"{self.act} {self.kind} {self.name}"


@dataclass(frozen=True)
class HostRemoval:
    """roles: recorded on the host, in the order of their reset. reached: False for one that is passed over."""

    host: str
    roles: tuple[str, ...] = ()
    things: tuple[Thing, ...] = ()
    reached: bool = True


@dataclass(frozen=True)
class ComponentRemoval:
    """things: what the cluster's ledger lists of it, in words. leaves: what it leaves on hosts, as kind|name."""

    component: str
    things: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()


@dataclass(frozen=True)
class Removal:
    """whole: the cluster ends, with all that the controller keeps of it. keeper: else, a control plane that stays."""

    hosts: tuple[HostRemoval, ...] = ()
    components: tuple[ComponentRemoval, ...] = ()
    controller: tuple[str, ...] = ()  # paths
    whole: bool = False
    keeper: str = ""

    def hosts_of(self, role: str) -> tuple[str, ...]:
        return tuple(row.host for row in self.hosts if role in row.roles)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(row.host for row in self.hosts)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def named_hosts(cluster: Cluster, names: Sequence[str]) -> tuple[str, ...]:
    """Names as the user gave them ("w2" for a lab's "lab-w2") to names of the inventory. Raises ConfigError."""
    known = {host.name for host in cluster.hosts}
    found = []
    for name in names:
        whole = name if name in known else f"{cluster.name}-{name}"
        if whole not in known:
            raise ConfigError(f"there is no host {name!r} in the inventory", fix=did_you_mean(name, sorted(known)))
        found.append(whole)
    return tuple(dict.fromkeys(found))


def remove_hosts(
    cluster: Cluster,
    roles: Sequence[Role],
    ledgers: Ledgers,
    named: Sequence[str] = (),
    leaving: Collection[str] = (),
) -> Removal:
    """The hosts' part of a removal: those named, or all. roles: needs first, as load_roles gives them. leaving: names
    of nodes that an earlier `down` began to take out.

    Raises ConfigError where hosts that stay need one that goes, StepError for a named host that nothing proves ours.
    """
    going = set(named) or {host.name for host in cluster.hosts}
    staying = [host for host in cluster.hosts if host.name not in going and ledgers.get(host.name) != {}]
    whole = not staying
    for host in cluster.hosts if not whole else ():
        if host.name in going and ledgers.get(host.name) == {} and host.name.lower() not in leaving:
            raise StepError(
                "nothing on this host is known to be ours",
                where=f"host {host.name}",
                why="it has no ledger of arena-install",
                fix="if something else set it up, use that to reset it; else take it out of the inventory",
            )
    keeper = "" if whole else _keeper(cluster, ledgers, going, staying)
    rows = [_host(host, roles, ledgers.get(host.name)) for host in cluster.hosts if host.name in going]
    found = tuple(row for row in rows if row.roles or not whole)
    return Removal(hosts=found, whole=whole, keeper=keeper)


def _keeper(cluster: Cluster, ledgers: Ledgers, going: Collection[str], staying: Sequence[Host]) -> str:
    """A control plane that stays and answers. Raises ConfigError where what stays could not live on."""
    for role, what, user in (
        ("control_plane", "last control plane", "kubernetes_node"),
        ("registry", "image registry", "container_runtime"),
    ):
        holders = [host.name for host in cluster.hosts if _may_hold(host, role, ledgers)]
        users = [host.name for host in staying if _may_hold(host, user, ledgers)]
        if holders and users and set(holders) <= set(going):
            verb = "needs" if len(users) == 1 else "need"
            raise ConfigError(
                f"{', '.join(holders)} is the {what}, which {', '.join(users)} {verb}",
                fix="take all of the cluster down (no --host), or take the others out first",
            )
    planes = [host.name for host in staying if "control_plane" in (ledgers.get(host.name) or {})]
    return planes[0] if planes else ""


def _may_hold(host: Host, role: str, ledgers: Ledgers) -> bool:
    """As its ledger says; for a host that can't be looked at, as the inventory says."""
    ledger = ledgers.get(host.name)
    if ledger is not None:
        return role in ledger
    return bool(host.groups & ({role} if role in GROUPS else {"control_plane", "worker"}))


def _host(host: Host, roles: Sequence[Role], ledger: Mapping[str, LedgerRecord] | None) -> HostRemoval:
    if ledger is None:
        return HostRemoval(host.name, reached=False)
    known = [role.name for role in roles if role.name in ledger]
    order = [*(name for name in ledger if name not in known), *reversed(known)]
    things = [thing for name in order for thing in _things(ledger[name])]
    return HostRemoval(host.name, tuple(order), tuple(dict.fromkeys(things)))


def _things(record: LedgerRecord) -> list[Thing]:
    """Items that are not as they were before us, and packages that came."""
    rows = [
        Thing("remove" if item.recorded in ("absent", "not-found inactive") else "restore", item.kind, item.name)
        for item in record.before
        if item.recorded != item.found and item.kind != "package"
    ]
    return rows + [Thing("remove", "package", name) for name in record.packages]
