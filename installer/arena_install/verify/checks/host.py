"""Suite host: each host is as a node must be, and hosts agree where they have to.

What is wrong with a host is known to the probe's findings; a check here names those that tell its claim, and adds only
what takes the ledger, the lock or the API to know.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

from arena_install.probe.across import is_node
from arena_install.probe.facts import Finding, HostFacts
from arena_install.verify.context import Context
from arena_install.verify.model import Outcome, failed, passed, skipped
from arena_install.verify.registry import check

REACHED = "host.reached"


def told(ctx: Context, ids: Collection[str], expected: str, good: str, more: Iterable[Finding] = ()) -> Outcome:
    """A pass that says `good`, or a failure that lists the probe's findings with these ids, and `more`."""
    found = [*(finding for finding in ctx.session.hosts.facts(ctx).findings if finding.id in ids), *more]
    if not found:
        return passed(expected, good)
    hosts = dict.fromkeys(finding.host for finding in found)
    lines = [f"{f.host}: {f.title}: {f.observed} (expected {f.expected})" for f in found]
    ctx.save("findings.txt", "\n".join(f"{line}\n  fix: {f.fix}" for line, f in zip(lines, found, strict=True)) + "\n")
    return failed(
        expected,
        f"{len(found)} findings on {', '.join(hosts)}",
        cause="\n".join(lines),
        fix=f"on {found[0].host}: {found[0].fix}",
    )


def finding(host: str, title: str, observed: str, expected: str, fix: str) -> Finding:
    return Finding("", host, "error", title, observed, expected, fix)


@check(
    REACHED,
    "Every host can be looked at",
    proves="each host of the inventory lets us in as root and answers within its time, run by systemd",
    severity="critical",
    timeout=90,
)
def reached(ctx: Context) -> Outcome:
    facts = ctx.session.hosts.facts(ctx)
    ctx.save("hosts.json", facts.as_dict()["hosts"])
    lost = [finding(name, host.what, host.why, "an answer", host.fix) for name, host in facts.unreachable.items()]
    systems = sorted({f"{host.os.name}, kernel {host.kernel}" for host in facts.reached.values()})
    return told(
        ctx,
        ("not-root", "init-not-systemd"),
        "every host answers, and commands run there as root",
        f"{len(facts.reached)} hosts: {'; '.join(systems)}",
        lost,
    )


@check(
    "host.fit",
    "Hosts can be nodes at all",
    proves="operating system, memory, CPUs and ports are such that Kubernetes runs, and no other cluster holds a host",
    needs=(REACHED,),
    timeout=30,
)
def fit(ctx: Context) -> Outcome:
    hosts = ctx.session.hosts.reached(ctx).values()
    cpus, memory = sum(host.cpus for host in hosts), sum(host.memory for host in hosts)
    return told(
        ctx,
        ("os-unsupported", "memory-low", "cpu-low", "port-in-use", "foreign-cluster", "node-ip-missing"),
        "a supported system, enough memory and CPUs, our ports held by us, no other cluster",
        f"{len(hosts)} hosts with {cpus} CPUs and {memory / 1024:.0f} GiB in all",
    )


@check(
    "host.clock",
    "Clocks agree",
    proves="no two hosts' clocks differ by more than a second, beyond what the measurement leaves open",
    severity="critical",
    needs=(REACHED,),
    timeout=30,
)
def clock(ctx: Context) -> Outcome:
    hosts = ctx.session.hosts.reached(ctx)
    offsets = {name: host.clock_offset for name, host in hosts.items() if host.clock_offset is not None}
    ctx.save(
        "clocks.json",
        {name: {"offset": host.clock_offset, "known_to": host.clock_error} for name, host in hosts.items()},
    )
    unread = [
        finding(name, "The clock could not be read", "no time in its answer", "a time", "date +%s.%N on the host")
        for name in hosts
        if name not in offsets
    ]
    apart = max(offsets.values()) - min(offsets.values()) if offsets else 0.0
    error = max((hosts[name].clock_error for name in offsets), default=0.0)
    return told(
        ctx,
        ("clock-skew", "clock-controller"),
        "hosts within 1 s of each other, and within 60 s of this machine",
        f"{len(offsets)} clocks within {max(apart, 0.001):.3f} s (read to {error:.3f} s)",
        unread,
    )


@check(
    "host.time-sync",
    "Something keeps the clocks right",
    proves="a time service runs and has found the time on every host that has a clock of its own",
    needs=(REACHED,),
    timeout=30,
)
def time_sync(ctx: Context) -> Outcome:
    hosts = ctx.session.hosts.reached(ctx)
    own = [name for name, host in hosts.items() if host.virt != "container"]
    kernels = len({host.boot_id for host in hosts.values()})
    good = f"kept on {len(own)} hosts" if own else ""
    if len(own) < len(hosts):
        inside = f"{len(hosts) - len(own)} containers have the clock of the {kernels} machines under them"
        good = f"{good}; {inside}" if good else inside
    return told(ctx, ("time-not-kept",), "chrony, ntpsec or systemd-timesyncd, running and synchronised", good)


@check(
    "host.identity",
    "No host is a copy of another",
    proves="machine-id, product UUID, MAC address and name are each host's own, as kubeadm and the network need",
    needs=(REACHED,),
    timeout=30,
)
def identity(ctx: Context) -> Outcome:
    hosts = ctx.session.hosts.reached(ctx)
    ids = {
        name: {"machine_id": host.machine_id, "product_uuid": host.product_uuid, "hostname": host.hostname}
        for name, host in hosts.items()
    }
    ctx.save("identities.json", ids)
    wanted = (
        "machine-id-missing",
        *(f"{what}-duplicate" for what in ("machine-id", "hostname", "mac", "product-uuid")),
    )
    return told(
        ctx, wanted, "all different", f"{len({host.machine_id for host in hosts.values()})} machine-ids, all different"
    )


@check(
    "host.kernel",
    "The kernel forwards and filters for pods",
    proves="modules and settings that pods' packets need are in effect, and no swap upsets the kubelet",
    needs=(REACHED,),
    timeout=30,
)
def kernel(ctx: Context) -> Outcome:
    hosts = nodes(ctx)
    wrong = [
        finding(name, "A kernel setting is off", f"{setting} is {host.sysctls[setting]}", "1", f"sysctl -w {setting}=1")
        for name, host in hosts.items()
        for setting in ("net.ipv4.ip_forward", "net.bridge.bridge-nf-call-iptables")
        if host.sysctls.get(setting, "1") != "1"
    ]
    wrong += [
        finding(name, "A kernel setting is off", f"{setting} cannot be read", "1", "modprobe br_netfilter")
        for name, host in hosts.items()
        for setting in ("net.ipv4.ip_forward", "net.bridge.bridge-nf-call-iptables")
        if setting not in host.sysctls
    ]
    return told(
        ctx,
        ("swap-on", "kernel-module-missing"),
        "overlay and br_netfilter there, ip_forward and bridge-nf-call-iptables 1, no swap",
        f"as expected on {len(hosts)} nodes",
        wrong,
    )


@check(
    "host.limits",
    "Enough files can be watched",
    proves="inotify's limits suffice for a node full of pods: kubelet and containerd stop working without",
    severity="minor",
    needs=(REACHED,),
    timeout=30,
)
def limits(ctx: Context) -> Outcome:
    names = ("fs.inotify.max_user_instances", "fs.inotify.max_user_watches")
    least = [
        min((int(host.sysctls[name]) for host in nodes(ctx).values() if name in host.sysctls), default=0)
        for name in names
    ]
    return told(
        ctx,
        ("limits-low",),
        "512 instances and 131072 watches",
        f"at least {least[0]} instances and {least[1]} watches",
    )


@check(
    "host.mtu",
    "Hosts send packets of one size",
    proves="the interfaces that carry the cluster have the same MTU: the pod network is made for one",
    needs=(REACHED,),
    timeout=30,
)
def mtu(ctx: Context) -> Outcome:
    sizes = {
        interface.mtu
        for host in nodes(ctx).values()
        for interface in host.interfaces
        if interface.name == host.default_interface
    }
    return told(
        ctx, ("mtu-differs",), "one MTU on all nodes", f"MTU {', '.join(map(str, sorted(sizes)))} on every node"
    )


@check(
    "host.dns",
    "Hosts resolve names",
    proves="every nameserver that a host asks answers, and its own name means an address of its own",
    needs=(REACHED,),
    timeout=30,
)
def dns(ctx: Context) -> Outcome:
    hosts = ctx.session.hosts.reached(ctx)
    nameless = [
        finding(
            name,
            "The host's own name means nothing to it",
            f"{host.hostname} does not resolve",
            "an address of the host",
            f"add it to /etc/hosts: ADDRESS {host.hostname}",
        )
        for name, host in hosts.items()
        if not host.own_name
    ]
    servers = sorted({server.address for host in hosts.values() for server in host.nameservers})
    good = f"{len(hosts)} hosts know their own names; nameservers {', '.join(servers)} answer"
    return told(ctx, ("dns-none", "dns-not-answering"), "all nameservers answer, own names resolve", good, nameless)


@check(
    "host.uniform",
    "Hosts of a group are alike",
    proves="operating system, kernel, architecture and containerd are the same within each group of the inventory",
    severity="minor",
    needs=(REACHED,),
    timeout=30,
)
def uniform(ctx: Context) -> Outcome:
    hosts = ctx.session.hosts.reached(ctx)
    rows = {name: _kind(host) for name, host in hosts.items()}
    ctx.save("systems.json", rows)
    groups: dict[str, list[str]] = defaultdict(list)
    for host in ctx.session.hosts.cluster.hosts:
        for group in host.groups & {"control_plane", "worker", "gpu"} if host.name in rows else ():
            groups[group].append(host.name)
    differences = [
        difference
        for group, names in sorted(groups.items())
        for difference in odd(group, {name: rows[name] for name in names}, rows)
    ]
    kinds = sorted({", ".join(filter(None, row.values())) for row in rows.values()})
    return told(ctx, (), "no difference within control_plane, worker and gpu", "; ".join(kinds), differences)


def _kind(host: HostFacts) -> dict[str, str]:
    return {
        "system": f"{host.os.id} {host.os.version}",
        "kernel": host.kernel,
        "architecture": host.arch,
        "containerd": host.versions.get("containerd", ""),
    }


def odd(group: str, rows: dict[str, dict[str, str]], others: dict[str, dict[str, str]] | None = None) -> list[Finding]:
    """The value that is most frequent in the group, or else among all hosts (others), is taken to be meant."""
    found = []
    everywhere = {what: [row[what] for row in (others or {}).values()] for what in next(iter(rows.values()), {})}
    for what in next(iter(rows.values()), {}):
        values = [row[what] for row in rows.values()]
        usual = max(dict.fromkeys(values), key=lambda value: (values.count(value), everywhere[what].count(value)))
        found += [
            finding(
                name,
                f"Its {what} differs from the other hosts' in group {group}",
                row[what] or "none",
                usual,
                "upgrade or reinstall the host so that it is as the others, or give it a group of its own",
            )
            for name, row in rows.items()
            if row[what] != usual
        ]
    return found


@check(
    "host.driver",
    "One NVIDIA driver, and it works",
    proves="GPU hosts have their driver from one source only, without nouveau, and it sees every GPU of the PCI bus",
    required=False,
    needs=(REACHED,),
    timeout=30,
)
def driver(ctx: Context) -> Outcome:
    gpu = {host.name for host in ctx.session.hosts.cluster.group("gpu")}
    if not gpu:
        return skipped("no host is in group gpu", fix="add the GPU hosts to group [gpu] of the inventory")
    rows = {name: host.drivers for name, host in ctx.session.hosts.reached(ctx).items() if name in gpu}
    names = (
        "driver-twice",
        "driver-missing",
        "driver-broken",
        "nouveau-loaded",
        "secure-boot",
        "gpu-missing",
        "gpu-lost",
    )
    ways = sorted({way for drivers in rows.values() for way in drivers} or {"preinstalled"})
    return told(ctx, names, "one driver on each GPU host", f"{', '.join(ways)} on {len(rows)} GPU hosts")


@check(
    "host.upgrades",
    "Nothing upgrades itself under pods and GPUs",
    proves="automatic upgrades are off, or leave containerd, kubelet and the NVIDIA driver alone",
    severity="minor",
    needs=(REACHED,),
    timeout=30,
)
def upgrades(ctx: Context) -> Outcome:
    hosts = ctx.session.hosts.reached(ctx).values()
    on = sum(host.upgrades.automatic for host in hosts)
    good = f"automatic on {on} of {len(hosts)} hosts" + (", and our packages are kept" if on else "")
    return told(ctx, ("upgrades-loose",), "off, or our packages held or on their blacklist", good)


def nodes(ctx: Context) -> dict[str, HostFacts]:
    names = {host.name for host in ctx.session.hosts.cluster.hosts if is_node(host)}
    return {name: host for name, host in ctx.session.hosts.reached(ctx).items() if name in names}
