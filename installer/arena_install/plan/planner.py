"""Facts and wishes in, Plan out. Pure: no host, no file and no clock is asked, so tests are JSON cases.

A role is due on a host when the host holds no record of it, when the record was never finished, when the digest of
the role's inputs differs from the recorded one, or when something recorded is not as recorded (drift, item by item).
The same four make a component due in the cluster, whose record is the cluster's ledger.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arena_install.inventory.cluster import Cluster, Host
from arena_install.plan.catalogue import Role
from arena_install.plan.model import ComponentAction, Plan, Reason, RoleAction


@dataclass(frozen=True)
class Item:
    """One thing that a role left on a host or a component in the cluster: kind ("file", "unit", "Deployment", ...),
    name, and its state as text."""

    kind: str
    name: str
    recorded: str
    found: str


@dataclass(frozen=True)
class Record:
    """What a ledger says of one role or component, with each item as found now."""

    status: str
    inputs: str
    items: tuple[Item, ...] = ()


def input_digest(role: Role, host: Host, variables: Mapping[str, Any], lock_digests: Mapping[str, str]) -> str:
    """sha256 of everything that decides what `role` leaves on `host`.

    variables: what Ansible is given for every host; the host's own win. lock_digests: entry name -> digest of the
    lock entry (version and recipe), so that nothing needs to be built to know.
    """
    merged = {**variables, **host.vars}
    prefix = f"{role.name}_"
    seen = {key: value for key, value in merged.items() if key.startswith(prefix) or key in role.inputs}
    return hashlib.sha256(
        json.dumps(
            {
                "code": role.code_digest(),
                "variables": seen,
                "node_ip": host.node_ip,
                "gpu": "gpu" in host.groups,  # decides containerd's runtimes too
                "lock": {name: lock_digests[name] for name in sorted(lock_digests) if _uses(role, name)},
            },
            sort_keys=True,
            default=str,
        ).encode()
    ).hexdigest()


def make_plan(
    cluster: Cluster,
    roles: Sequence[Role],
    records: Mapping[str, Mapping[str, Record]],
    digests: Mapping[str, Mapping[str, str]],
    components_wanted: Mapping[str, str],
    components_found: Mapping[str, Record] | None,
) -> Plan:
    """records: host -> role -> Record. digests: host -> role -> wanted input digest. components_wanted: name -> digest;
    components_found: name -> Record, None when the cluster does not answer."""
    actions = []
    renewed: set[str] = set()  # roles whose hosts hold copies of what an earlier role makes anew
    for role in roles:
        for host in cluster.hosts:
            if not host.groups.intersection(role.hosts):
                continue
            why = reasons(records.get(host.name, {}).get(role.name), digests[host.name][role.name])
            if not why and role.name in renewed:
                why = (Reason("changed"),)
            if why:
                actions.append(RoleAction(role.name, host.name, why))
                renewed.update(name for name, items in role.renews.items() if _lost(why, items))
    components = []
    for name, digest in components_wanted.items():
        why = (Reason("unseen"),) if components_found is None else reasons(components_found.get(name), digest)
        if why:
            components.append(ComponentAction(name, why))
    return Plan(tuple(actions), tuple(components), digests)


def reasons(record: Record | None, wanted: str) -> tuple[Reason, ...]:
    """Why something is due, () when it is not. wanted: digest of its inputs. Of roles and components alike."""
    if record is None:
        return (Reason("new"),)
    if record.status != "done":
        return (Reason("unfinished"),)
    changed = (Reason("changed"),) if record.inputs != wanted else ()
    drift = tuple(
        Reason("drift", f"{item.kind} {item.name}", item.recorded, item.found)
        for item in record.items
        if item.recorded != item.found
    )
    return changed + drift


def _lost(why: Sequence[Reason], items: Collection[str]) -> bool:
    """Whether one of the items is gone or has another content: more than a mode or an owner."""
    return any(row.item in items and row.recorded.split()[0] != row.found.split()[0] for row in why)


def _uses(role: Role, entry: str) -> bool:
    """Whether a lock entry is among the role's images or files; an image entry may carry its tag."""
    for names in (role.images, role.files):
        if names == "all" or entry in names or entry.rpartition(":")[0] in names:
            return True
    return False
