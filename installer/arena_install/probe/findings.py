"""Facts to findings: what is not as a cluster needs it. Pure, so that its tests are JSON cases.

An "error" would make `up` fail or harm something; a "warning" will hurt later; "info" is worth knowing. Numbers:
kubeadm's own preflight asks for 2 CPUs and 1700 MiB on a control plane and 1 GiB per node is its documented minimum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address

from arena_install.inventory.cluster import Cluster, Host
from arena_install.probe.across import across, is_node
from arena_install.probe.facts import Finding, HostFacts, Unreachable
from arena_install.probe.upkeep import upkeep

SUPPORTED = {"debian": ("12", "13"), "ubuntu": ("22.04", "24.04")}
_SUPPORTED_TEXT = "Debian 12 or 13, Ubuntu 22.04 or 24.04"

MEMORY_MIB = {"control_plane": 1700, "worker": 1000}
CPUS = {"control_plane": 2, "worker": 1}
#: path -> (groups that need it, MiB free below which it is an error, and a warning). etcd's default quota is 2 GiB.
DISKS: dict[str, tuple[frozenset[str], int, int]] = {
    "/var/lib": (frozenset({"control_plane", "worker", "registry"}), 5 * 1024, 20 * 1024),  # images and volumes
    "/var/lib/containerd": (frozenset({"control_plane", "worker"}), 5 * 1024, 20 * 1024),
    "/var/lib/kubelet": (frozenset({"control_plane", "worker"}), 1024, 5 * 1024),
    "/var/lib/etcd": (frozenset({"control_plane"}), 1024, 4 * 1024),
}

#: port -> (groups that need it, processes that may hold it, as ss names them: 15 characters)
PORTS: dict[int, tuple[frozenset[str], frozenset[str]]] = {
    6443: (frozenset({"control_plane"}), frozenset({"kube-apiserver", "haproxy"})),
    2379: (frozenset({"control_plane"}), frozenset({"etcd"})),
    2380: (frozenset({"control_plane"}), frozenset({"etcd"})),
    10257: (frozenset({"control_plane"}), frozenset({"kube-controller"})),
    10259: (frozenset({"control_plane"}), frozenset({"kube-scheduler"})),
    10250: (frozenset({"control_plane", "worker"}), frozenset({"kubelet"})),
    5000: (frozenset({"registry"}), frozenset({"docker-registry", "registry"})),
}


def find(cluster: Cluster, hosts: Mapping[str, HostFacts | Unreachable]) -> tuple[Finding, ...]:
    """Everything worth saying about the hosts that were reached, errors first, then in the inventory's order."""
    reached = [(host, facts) for host in cluster.hosts if isinstance(facts := hosts.get(host.name), HostFacts)]
    found: list[Finding] = []
    for host, facts in reached:
        found += [
            *_system(host, facts),
            *_size(host, facts),
            *_network(host, facts),
            *_ports(cluster, host, facts),
            *_gpu(cluster, host, facts),
            *_software(host, facts),
            *upkeep(host, facts),
        ]
    found += across(cluster, reached)
    order = {"error": 0, "warning": 1, "info": 2}
    return tuple(sorted(found, key=lambda finding: order[finding.severity]))


def _system(host: Host, facts: HostFacts) -> Iterator[Finding]:
    if not facts.privileged:
        yield Finding(
            "not-root",
            host.name,
            "error",
            "The probe could not become root",
            f"ran as an ordinary user ({host.user or 'the default user'})",
            "root, or sudo",
            f"remove ansible_become=false from {host.name}, and give it ansible_become_password",
        )
    if facts.os.version not in SUPPORTED.get(facts.os.id, ()):
        yield Finding(
            "os-unsupported",
            host.name,
            "error",
            "The operating system is not supported",
            facts.os.name or f"{facts.os.id} {facts.os.version}".strip() or "unknown",
            _SUPPORTED_TEXT,
            f"install a supported release on {host.name}, or take it out of the inventory",
        )
    if facts.init != "systemd":
        yield Finding(
            "init-not-systemd",
            host.name,
            "error",
            "The host is not run by systemd",
            f"process 1 is {facts.init or 'unknown'}",
            "systemd as process 1",
            "boot the host with systemd; in a container, run /sbin/init as its first process",
        )
    if facts.swap and facts.virt != "container":
        yield Finding(
            "swap-on",
            host.name,
            "warning",
            "Swap is on",
            f"{facts.swap} MiB of swap",
            "no swap",
            "swapoff -a, and remove the swap line from /etc/fstab",
        )
    if not facts.machine_id:
        yield Finding(
            "machine-id-missing",
            host.name,
            "error",
            "The host has no machine-id",
            "/etc/machine-id is empty",
            "a machine-id of its own",
            "systemd-machine-id-setup",
        )
    for module in ("overlay", "br_netfilter"):
        # A host without a list of modules (a container, or one without access to /sys) says nothing either way.
        if is_node(host) and facts.modules and module not in facts.modules:
            yield Finding(
                "kernel-module-missing",
                host.name,
                "error",
                f"The kernel has no {module}",
                f"{module} is neither loaded nor built in nor on disk for kernel {facts.kernel}",
                module,
                "install the full kernel package (linux-image-amd64 on Debian, linux-generic on Ubuntu)",
            )


def _size(host: Host, facts: HostFacts) -> Iterator[Finding]:
    for group in ("control_plane", "worker"):
        if group not in host.groups:
            continue
        title = f"for a {group.replace('_', ' ')}"
        if 0 < facts.memory < MEMORY_MIB[group]:
            yield Finding(
                "memory-low",
                host.name,
                "error",
                f"Too little memory {title}",
                f"{facts.memory} MiB",
                f"at least {MEMORY_MIB[group]} MiB",
                "give the host more memory, or another group",
            )
        if 0 < facts.cpus < CPUS[group]:
            yield Finding(
                "cpu-low",
                host.name,
                "error",
                f"Too few CPUs {title}",
                f"{facts.cpus}",
                f"at least {CPUS[group]}",
                "give the host more CPUs, or another group",
            )
    yield from _disks(host, facts)


def _disks(host: Host, facts: HostFacts) -> Iterator[Finding]:
    """Each file system once, by the path that asks most of it."""
    known: set[str] = set()
    for path, (groups, error, warning) in DISKS.items():
        disk = facts.disk(path) or (facts.disk("/") if path == "/var/lib" else None)
        if disk is None or not disk.size or disk.mount in known or not (groups & host.groups or path == "/var/lib"):
            continue
        known.add(disk.mount)
        if disk.free < warning:
            yield Finding(
                "disk-low",
                host.name,
                "error" if disk.free < error else "warning",
                "Too little disk space",
                f"{disk.free / 1024:.1f} GiB free on {disk.mount}, which holds {disk.path}",
                f"{warning // 1024} GiB free (at least {error // 1024})",
                f"free some, e.g. journalctl --vacuum-size=200M; apt-get clean; du -xhd1 {disk.mount}",
            )


def _network(host: Host, facts: HostFacts) -> Iterator[Finding]:
    known = any(interface.addresses for interface in facts.interfaces)  # not without iproute2
    if host.node_ip and known and facts.interface_of(host.node_ip) is None:
        own = ", ".join(
            address for interface in facts.interfaces for address in interface.addresses if not _local(address)
        )
        yield Finding(
            "node-ip-missing",
            host.name,
            "error",
            "The node's address is not an address of the host",
            f"the host has {own or 'no address'}",
            host.node_ip,
            f"correct ip= of {host.name} in the inventory" + (f" ({host.source})" if host.source.path else ""),
        )
    if not facts.nameservers:
        yield Finding(
            "dns-none",
            host.name,
            "warning",
            "No DNS server is set",
            "/etc/resolv.conf names none",
            "at least one nameserver",
            "set one in /etc/resolv.conf; pods use it too, through CoreDNS",
        )
    for server in facts.nameservers:
        if server.answers in ("silent", "failing"):
            yield Finding(
                "dns-not-answering",
                host.name,
                "warning",
                "A DNS server does not answer",
                f"{server.address} " + ("gave no reply in 3 s" if server.answers == "silent" else "answers SERVFAIL"),
                "an answer",
                f"correct /etc/resolv.conf on {host.name}, or mend {server.address}",
            )


def _local(address: str) -> bool:
    try:
        return ip_address(address.partition("/")[0]).is_link_local
    except ValueError:
        return False


def _ports(cluster: Cluster, host: Host, facts: HostFacts) -> Iterator[Finding]:
    groups = set(host.groups)
    if _registry_host(cluster) == host.name:
        groups.add("registry")
    for listener in facts.listening:
        needing, allowed = PORTS.get(listener.port, (frozenset(), frozenset()))
        if not groups & needing or listener.process in allowed:
            continue
        if not listener.process and facts.ledger:
            continue  # who listens is not known, and we have been here before
        holder = listener.process or "a process that could not be named"
        yield Finding(
            "port-in-use",
            host.name,
            "error",
            f"Port {listener.port} is taken",
            f"{holder} listens on it",
            f"free, or held by {' or '.join(sorted(allowed))}",
            f"find it with: ss -ltnp 'sport = :{listener.port}', and stop or move it",
        )


def _registry_host(cluster: Cluster) -> str:
    hosts = cluster.group("registry") or cluster.group("control_plane")
    return hosts[0].name if hosts else ""


def _driver_mode(cluster: Cluster, host: Host) -> str:
    return str(host.vars.get("nvidia_driver_mode") or cluster.config.gpu.driver)


def _gpu(cluster: Cluster, host: Host, facts: HostFacts) -> Iterator[Finding]:
    mode = _driver_mode(cluster, host)
    if "gpu" not in host.groups or mode == "simulated":
        return
    if not facts.nvidia.pci:
        yield Finding(
            "gpu-missing",
            host.name,
            "error",
            "No NVIDIA GPU is on the PCI bus",
            "none of vendor 10de, class 0300 or 0302",
            "at least one, as the host is in group gpu",
            f"take {host.name} out of group gpu, seat the card (lspci -d 10de:), or set nvidia_driver_mode=simulated",
        )
        return
    if facts.modules.get("nouveau") == "loaded" or any(gpu.driver == "nouveau" for gpu in facts.nvidia.pci):
        yield Finding(
            "nouveau-loaded",
            host.name,
            "error",
            "The nouveau driver holds the GPU",
            "module nouveau is loaded",
            "the NVIDIA driver",
            "echo 'blacklist nouveau' > /etc/modprobe.d/nouveau.conf; update-initramfs -u; reboot",
        )
    if facts.secure_boot and not facts.nvidia.kernel_driver:
        yield Finding(
            "secure-boot",
            host.name,
            "warning",
            "Secure Boot may refuse the NVIDIA module",
            "Secure Boot is on and no NVIDIA module is loaded",
            "a signed module, or Secure Boot off",
            "enrol the module's key (mokutil --import), use the distribution's signed driver, or switch it off",
        )
    if mode == "preinstalled" and not facts.nvidia.kernel_driver:
        yield Finding(
            "driver-missing",
            host.name,
            "error",
            "The NVIDIA driver is not loaded",
            "no /proc/driver/nvidia/version",
            "a loaded driver, as nvidia_driver_mode is preinstalled",
            "install the driver, or set nvidia_driver_mode=packages",
        )
    elif facts.nvidia.kernel_driver and facts.nvidia.error:
        yield Finding(
            "driver-broken",
            host.name,
            "error",
            "nvidia-smi fails",
            facts.nvidia.error,
            "a list of GPUs",
            "reboot the host if the driver was upgraded: the loaded module and the library must be of one version",
        )
    elif facts.nvidia.gpus and len(facts.nvidia.gpus) < len(facts.nvidia.pci):
        yield Finding(
            "gpu-lost",
            host.name,
            "warning",
            "The driver sees fewer GPUs than the PCI bus",
            f"{len(facts.nvidia.gpus)} of {len(facts.nvidia.pci)}",
            f"{len(facts.nvidia.pci)}",
            "look for XID errors: dmesg | grep -i -e NVRM -e xid",
        )


def _software(host: Host, facts: HostFacts) -> Iterator[Finding]:
    path = "/etc/containerd/config.toml"
    if is_node(host) and path in facts.config_digests and not facts.owns("file", path):
        yield Finding(
            "containerd-foreign",
            host.name,
            "info",
            "containerd was set up by someone else",
            f"{path} is not in our ledger",
            "ours, or none",
            "nothing: it is kept as a backup, and put back by `down`",
        )
