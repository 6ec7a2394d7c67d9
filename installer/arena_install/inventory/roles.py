"""Which host gets which of our groups. Pure: Ansible's answer in, canonical groups out.

The rules stand in inventories/README.md; the reason for the gentle ones is that nobody should have to rewrite an
inventory that already works for the rest of a site.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from arena_install.inventory.ansible import Meaning
from arena_install.inventory.cluster import ALIASES, GROUPS
from arena_install.inventory.names import ANSIBLES_OWN, DEPLOY, canonical
from arena_install.inventory.scan import Scan


@dataclass
class Roles:
    """hosts: name -> canonical groups, control planes first, each in the inventory's order. others: left alone."""

    hosts: dict[str, set[str]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)


def assign(meaning: Meaning, scan: Scan) -> Roles:
    """Give each host its groups; what cannot be meant so is added to scan.errors."""
    ours = {name: _members(name, meaning) for name in GROUPS}
    loose = _roleless(meaning, scan, ours)
    nodes = {*ours["control_plane"], *ours["worker"]}
    ours["worker"] += [host for host in ours["gpu"] if host not in nodes]  # a GPU that is no node's could take no job
    ours["worker"] += loose
    ours["registry"] = (ours["registry"] or ours["control_plane"])[:1]  # there is one registry: the group's first host
    result = Roles()
    for name in ("control_plane", *GROUPS):
        for host in ours[name]:
            result.hosts.setdefault(host, set()).add(name)
    every = dict.fromkeys(host for hosts in meaning.groups.values() for host in hosts)
    result.others = sorted(host for host in every if host not in result.hosts)
    _check_control_planes(ours["control_plane"], scan)
    return result


def _members(name: str, meaning: Meaning) -> list[str]:
    spellings = (name, *(alias for alias, group in ALIASES.items() if group == name))
    return list(dict.fromkeys(host for spelling in spellings for host in meaning.groups.get(spelling, ())))


def _roleless(meaning: Meaning, scan: Scan, ours: dict[str, list[str]]) -> list[str]:
    """Hosts in none of our groups that are workers all the same, because the inventory has no worker group.

    A host that is only in groups of the site's own is left alone, unless the inventory lists it under `all` by name and
    has no worker group (the form of an inventory that lists its machines once and then picks the masters).
    """
    placed = {host for hosts in ours.values() for host in hosts}
    has_workers = any(canonical(group) == "worker" for group in (*scan.groups, *meaning.groups))
    foreign_groups = {group: frozenset(hosts) for group, hosts in meaning.groups.items() if group not in ANSIBLES_OWN}
    workers = []
    for host in _in_file_order(meaning, scan):
        if host in placed:
            continue
        foreign = [group for group, hosts in foreign_groups.items() if host in hosts]
        if foreign == [DEPLOY] or (foreign and (has_workers or ("all", host) not in scan.listed)):
            continue
        if not has_workers:
            workers.append(host)
        else:
            scan.wrong(
                scan.host(host),
                f"host `{host}` is in no group that says what it is for",
                why="there is a worker group, and it is not in it",
                fix=f"add {host} to [worker] or [control_plane], or to a group of your own to leave it alone",
            )
    return workers


def _in_file_order(meaning: Meaning, scan: Scan) -> list[str]:
    known = dict.fromkeys(scan.hosts)
    known.update(dict.fromkeys(meaning.vars))
    return [host for host in known if host in meaning.vars]


def _check_control_planes(planes: list[str], scan: Scan) -> None:
    where = scan.first_of("control_plane")
    if not planes:
        scan.wrong(where, "no host is a control plane", fix="list one, or three, under [control_plane]")
    elif len(planes) % 2 == 0:
        scan.wrong(
            where,
            f"{len(planes)} control planes: an odd number is needed",
            why=f"etcd needs a majority, so {len(planes)} survive the loss of no more hosts than {len(planes) - 1} do",
            fix=f"list {len(planes) - 1} or {len(planes) + 1} hosts under [control_plane]",
        )
