"""Findings that only show when hosts are seen together: clocks, identities, MTUs, clusters. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from arena_install.inventory.cluster import Cluster, Host
from arena_install.probe.facts import Finding, HostFacts, Interface, Severity

SKEW_SECONDS = 1.0  # between hosts: etcd and certificates
CONTROLLER_SKEW_SECONDS = 60.0  # certificates made a moment ago on a host must be valid here

Reached = list[tuple[Host, HostFacts]]


def across(cluster: Cluster, reached: Reached) -> Iterator[Finding]:
    for check in (_clocks, _twins, _mtus, _clusters):
        yield from check(cluster, reached)


def is_node(host: Host) -> bool:
    return bool(host.groups & {"control_plane", "worker"})


def _clocks(_: Cluster, reached: Reached) -> Iterator[Finding]:
    known = [(host, facts, facts.clock_offset) for host, facts in reached if facts.clock_offset is not None]
    if not known:
        return
    ordered = sorted(known, key=lambda row: row[2])
    middle, middle_facts, middle_offset = ordered[(len(ordered) - 1) // 2]
    fix = "start time synchronisation (apt-get install systemd-timesyncd, or chrony), then: timedatectl"
    for host, facts, offset in known:
        apart = offset - middle_offset
        # Counted only as far as it is sure: the two measurements' errors could hide in it.
        if abs(apart) - facts.clock_error - middle_facts.clock_error > SKEW_SECONDS:
            yield Finding(
                "clock-skew",
                host.name,
                "error",
                "The clock differs from the other hosts'",
                f"{abs(apart):.1f} s {'ahead of' if apart > 0 else 'behind'} {middle.name}",
                f"at most {SKEW_SECONDS:g} s",
                fix,
            )
    if abs(middle_offset) - middle_facts.clock_error > CONTROLLER_SKEW_SECONDS:
        yield Finding(
            "clock-controller",
            middle.name,
            "warning",
            "The hosts' clocks differ from this machine's",
            f"{abs(middle_offset):.0f} s {'ahead' if middle_offset > 0 else 'behind'}",
            f"at most {CONTROLLER_SKEW_SECONDS:g} s",
            "synchronise this machine's clock, or theirs: timedatectl",
        )


def _twins(_: Cluster, reached: Reached) -> Iterator[Finding]:
    yield from _same(
        reached,
        "machine-id-duplicate",
        "machine-id",
        lambda _, facts: facts.machine_id,
        "rm /etc/machine-id /var/lib/dbus/machine-id; systemd-machine-id-setup; reboot",
    )
    yield from _same(
        reached, "hostname-duplicate", "host name", lambda _, facts: facts.hostname, "hostnamectl set-hostname NAME"
    )
    yield from _same(
        reached,
        "mac-duplicate",
        "MAC address",
        _mac,
        "give each virtual machine a MAC address of its own, in its hypervisor",
    )
    yield from _same(
        reached,
        "product-uuid-duplicate",
        "product UUID",
        lambda _, facts: "" if facts.virt == "container" else facts.product_uuid,
        "make each virtual machine anew rather than by copying its definition",
        "warning",
    )


def _mac(host: Host, facts: HostFacts) -> str:
    interface = _node_interface(host, facts)
    return interface.mac if interface and interface.mac != "00:00:00:00:00:00" else ""


def _node_interface(host: Host, facts: HostFacts) -> Interface | None:
    if host.node_ip and (interface := facts.interface_of(host.node_ip)):
        return interface
    return next((interface for interface in facts.interfaces if interface.name == facts.default_interface), None)


def _same(
    reached: Reached,
    id_: str,
    noun: str,
    value: Callable[[Host, HostFacts], str],
    fix: str,
    severity: Severity = "error",
) -> Iterator[Finding]:
    owners: dict[str, list[Host]] = defaultdict(list)
    for host, facts in reached:
        if own := value(host, facts):
            owners[own].append(host)
    for own, hosts in owners.items():
        for host in hosts[1:]:
            yield Finding(
                id_,
                host.name,
                severity,
                f"Two hosts have the same {noun}",
                f"{own}, as {hosts[0].name}",
                f"a {noun} of its own",
                fix,
            )


def _mtus(_: Cluster, reached: Reached) -> Iterator[Finding]:
    """The most frequent MTU is taken to be meant; the pod network is made for one."""
    sizes: dict[int, list[tuple[Host, str]]] = defaultdict(list)
    for host, facts in reached:
        if is_node(host) and (interface := _node_interface(host, facts)) and interface.mtu:
            sizes[interface.mtu].append((host, interface.name))
    if len(sizes) < 2:
        return
    usual = max(sizes, key=lambda mtu: (len(sizes[mtu]), mtu))
    for mtu, members in sizes.items():
        for host, name in members if mtu != usual else ():
            yield Finding(
                "mtu-differs",
                host.name,
                "warning",
                "The MTU differs from the other hosts'",
                f"{mtu} on {name}, {usual} on {sizes[usual][0][0].name}",
                f"{usual} everywhere",
                f"ip link set {name} mtu {usual}, and in the network's configuration",
            )


def _clusters(cluster: Cluster, reached: Reached) -> Iterator[Finding]:
    """Ours is the cluster of the first control plane that our ledger says we made."""
    ours = next(
        (
            facts.kubernetes.ca
            for host, facts in reached
            if "control_plane" in host.groups and "control_plane" in facts.ledger and facts.kubernetes
        ),
        "",
    )
    fix = "take it out of the inventory, or out of that cluster: kubectl drain there, then kubeadm reset on it"
    for host, facts in reached:
        member = facts.kubernetes
        if member is None or not is_node(host):
            continue
        if member.distribution:
            yield Finding(
                "foreign-cluster",
                host.name,
                "error",
                "The host belongs to another cluster",
                f"{member.distribution} is installed",
                "no cluster, or this one",
                fix,
            )
        elif not facts.ledger.keys() & {"control_plane", "worker", "kubernetes_node"}:
            if facts.privileged:
                yield Finding(
                    "foreign-cluster",
                    host.name,
                    "error",
                    "The host belongs to another cluster",
                    f"its kubelet reports to {member.server or 'an unknown server'}, and we did not set it up",
                    "no cluster, or this one",
                    fix,
                )
        elif ours and member.ca and member.ca != ours:
            yield Finding(
                "foreign-cluster",
                host.name,
                "error",
                "The host belongs to another cluster",
                f"its kubelet reports to {member.server}, whose CA is not that of {cluster.name}",
                f"the CA of {cluster.name} ({ours[:12]}...)",
                fix,
            )
